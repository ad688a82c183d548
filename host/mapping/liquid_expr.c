/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_expr.c - expressions of @liquid: read, and turned into values.
 *
 * Operators bind as in liquidjs: comparisons, then not, then and / or, which
 * are of one rank and group from the right. */
#include "base/text.h"
#include "mapping/jsvalue.h"
#include "mapping/liquid.h"

#include <math.h>

#define PATH_STEP 8

struct operator {
    const char *text;
    enum l_operator op;
    unsigned rank;
};

/* Longer ones before those they begin with. */
static const struct operator operators[] = {
    { "==", OP_EQ, 2 },   { "!=", OP_NE, 2 },  { ">=", OP_GE, 2 },
    { "<=", OP_LE, 2 },   { ">", OP_GT, 2 },   { "<", OP_LT, 2 },
    { "contains", OP_CONTAINS, 2 },            { "not", OP_NOT, 1 },
    { "and", OP_AND, 0 }, { "or", OP_OR, 0 },
};

static const struct {
    const char *word;
    enum lv_type type;
    bool truth;
} literals[] = {
    { "true", LV_BOOL, true },   { "false", LV_BOOL, false },
    { "nil", LV_NIL, false },    { "null", LV_NIL, false },
    { "empty", LV_EMPTY, false }, { "blank", LV_BLANK, false },
};

/* ---- scanning ---- */

static bool word_char(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '?' ||
           c >= 0x80;
}

static bool digit(int c)
{
    return c >= '0' && c <= '9';
}

int l_peek(const struct l_scan *s, size_t n)
{
    return s->at + n < s->end ? (unsigned char)s->p->text.ptr[s->at + n] : -1;
}

void l_skip_blank(struct l_scan *s)
{
    while ((l_peek(s, 0) >= 9 && l_peek(s, 0) <= 13) || l_peek(s, 0) == ' ')
        s->at++;
}

bool l_read_to(struct l_scan *s, char c)
{
    while (s->at < s->end)
        if (s->p->text.ptr[s->at++] == c)
            return true;
    return false;
}

mf_str l_identifier(struct l_scan *s)
{
    size_t from;

    l_skip_blank(s);
    for (from = s->at; word_char(l_peek(s, 0));)
        s->at++;
    return (mf_str){ s->p->text.ptr + from, s->at - from };
}

static void put_escape(struct buf *b, const char **p, const char *end)
{
    static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
    char c = *(*p)++;
    const char *at = memchr(from, c, sizeof from - 1);
    uint32_t v = 0;
    int n = 0;

    if (at) {
        buf_char(b, to[at - from]);
        return;
    }
    if (c != 'u' && c != 'x') {
        buf_char(b, c);
        return;
    }
    for (; n < (c == 'u' ? 4 : 2) && *p < end; n++, (*p)++) {
        const char *hex = "0123456789abcdef0123456789ABCDEF";
        const char *d = **p ? strchr(hex, **p) : NULL;

        if (!d)
            break;
        v = v * 16 + (uint32_t)((d - hex) & 15);
    }
    utf8_put(b, v >= 0xD800 && v < 0xE000 ? 0xFFFD : v);
}

bool l_quoted(struct l_scan *s, mf_str *text)
{
    const char *p, *end, *stop;
    struct buf b;
    int quote;

    l_skip_blank(s);
    quote = l_peek(s, 0);
    if (quote != '"' && quote != '\'')
        return false;
    p = s->p->text.ptr + s->at + 1;
    end = s->p->text.ptr + s->end;
    for (stop = p; stop < end && *stop != quote; stop++)
        if (*stop == '\\' && stop + 1 < end)
            stop++;
    s->at = (size_t)(stop - s->p->text.ptr) + (stop < end);
    *text = (mf_str){ p, (size_t)(stop - p) };
    if (!memchr(p, '\\', text->len ? text->len : 1))
        return true;
    b = (struct buf){ arena_alloc(s->p->a, text->len + 4), 0, text->len + 4,
                      text->len + 4, false };
    while (p < stop)
        if (*p == '\\' && p + 1 < stop)
            p++, put_escape(&b, &p, stop);
        else
            buf_char(&b, *p++);
    *text = buf_view(&b);
    return true;
}

/* ---- reading values ---- */

static struct lx *new_lx(struct l_scan *s, enum lx_kind kind)
{
    struct lx *x = arena_zalloc(s->p->a, sizeof *x);

    x->kind = kind;
    return x;
}

static struct lx *named(struct l_scan *s, mf_str name)
{
    struct lx *x = new_lx(s, LX_NAME);

    x->value = lv_text(name);
    return x;
}

static struct lx *read_literal(struct l_scan *s)
{
    for (size_t i = 0; i < COUNT_OF(literals); i++) {
        size_t n = strlen(literals[i].word);
        struct lx *x;

        if (s->end - s->at < n || word_char(l_peek(s, n)) ||
            memcmp(s->p->text.ptr + s->at, literals[i].word, n) != 0)
            continue;
        s->at += n;
        x = new_lx(s, LX_VALUE);
        x->value = LV(literals[i].type);
        if (literals[i].type == LV_BOOL)
            x->value.u.truth = literals[i].truth;
        return x;
    }
    return NULL;
}

static struct lx *read_number(struct l_scan *s)
{
    bool point = false, digits = false;
    size_t n = l_peek(s, 0) == '-' || l_peek(s, 0) == '+';
    struct lx *x;
    char *text;

    for (;; n++) {
        if (digit(l_peek(s, n))) {
            digits = true;
        } else if (l_peek(s, n) == '.' && l_peek(s, n + 1) != '.') {
            if (point || !digits)
                return NULL;
            point = true;
        } else {
            break;
        }
    }
    if (!digits || word_char(l_peek(s, n)))
        return NULL;
    text = (char *)arena_copy(s->p->a,
                              (mf_str){ s->p->text.ptr + s->at, n }).ptr;
    s->at += n;
    x = new_lx(s, LX_VALUE);
    x->value = lv_number(js_to_number((mf_str){ text, n }));
    return x;
}

static const struct lx *range_end(struct l_scan *s)
{
    const struct lx *x = l_value_token(s);
    mf_str rest = { s->p->text.ptr + s->at, s->end - s->at };

    if (!x)
        liquid_fault(s->p, s->at, "unexpected token \"%.*s\", value expected",
                     (int)rest.len, rest.ptr);
    l_skip_blank(s);
    return x;
}

static struct lx *read_range(struct l_scan *s)
{
    struct lx *x;

    if (l_peek(s, 0) != '(')
        return NULL;
    s->at++;
    x = new_lx(s, LX_RANGE);
    x->base = range_end(s);
    if (l_peek(s, 0) != '.' || l_peek(s, 1) != '.')
        liquid_fault(s->p, s->at, "invalid range syntax");
    s->at += 2;
    if (!s->p->failed)
        x->to = range_end(s);
    if (l_peek(s, 0) != ')')
        liquid_fault(s->p, s->at, "invalid range syntax");
    s->at++;
    return x;
}

/* [value], .name, and at the start a bare name. */
static const struct lx *read_property(struct l_scan *s, bool bare)
{
    const struct lx *x;
    mf_str name;

    if (l_peek(s, 0) == '[') {
        s->at++;
        x = l_value_token(s);
        if (!l_read_to(s, ']'))
            liquid_fault(s->p, s->at, "[ not closed");
        return x ? x : named(s, MF_STR(""));
    }
    if (!bare && (l_peek(s, 0) != '.' || l_peek(s, 1) == '.'))
        return NULL;
    if (!bare)
        s->at++;
    name = l_identifier(s);
    return name.len ? named(s, name) : NULL;
}

static void add_to_path(struct l_scan *s, struct lx *x, const struct lx *part)
{
    const struct lx **path = x->path;

    if (x->count % PATH_STEP == 0) {
        path = arena_alloc(s->p->a, (x->count + PATH_STEP) * sizeof *path);
        if (x->count)
            memcpy(path, x->path, x->count * sizeof *path);
        x->path = path;
    }
    path[x->count++] = part;
}

const struct lx *l_value_token(struct l_scan *s)
{
    const struct lx *base, *x;
    struct lx *access;
    mf_str text;

    l_skip_blank(s);
    if (s->p->failed || s->at >= s->end)
        return NULL;
    if (++s->p->depth > LIQUID_DEPTH_MAX) {
        liquid_fault(s->p, s->at, "values are nested too deep");
        return NULL;
    }
    base = read_literal(s);
    if (!base && l_quoted(s, &text)) {
        struct lx *quoted = new_lx(s, LX_VALUE);

        quoted->value = lv_text(text);
        base = quoted;
    }
    if (!base)
        base = read_range(s);
    if (!base)
        base = read_number(s);
    access = new_lx(s, LX_ACCESS);
    access->base = base;
    while (!s->p->failed &&
           (x = read_property(s, !base && access->count == 0 &&
                                     l_peek(s, 0) != '[')))
        add_to_path(s, access, x);
    s->p->depth--;
    return access->count ? access : base;
}

static const struct operator *read_operator(struct l_scan *s)
{
    l_skip_blank(s);
    for (size_t i = 0; i < COUNT_OF(operators); i++) {
        size_t n = strlen(operators[i].text);

        if (s->end - s->at < n ||
            memcmp(s->p->text.ptr + s->at, operators[i].text, n) != 0 ||
            (word_char(operators[i].text[0]) && word_char(l_peek(s, n))))
            continue;
        s->at += n;
        return &operators[i];
    }
    return NULL;
}

static void add_step(struct l_value *v, enum l_operator op, const struct lx *x)
{
    v->steps[v->count++] = (struct l_step){ op, x };
}

static void read_expression(struct l_scan *s, struct l_value *v)
{
    const struct operator **waiting, *op;
    size_t most = s->end - s->at + 1, n = 0;
    const struct lx *x;

    v->steps = arena_alloc(s->p->a, most * sizeof *v->steps);
    waiting = arena_alloc(s->p->a, most * sizeof *waiting);
    while (!s->p->failed && s->at < s->end) {
        op = read_operator(s);
        if (op) {
            while (n && waiting[n - 1]->rank > op->rank)
                add_step(v, waiting[--n]->op, NULL);
            waiting[n++] = op;
            continue;
        }
        x = l_value_token(s);
        if (!x)
            break;
        add_step(v, OP_NONE, x);
    }
    while (n)
        add_step(v, waiting[--n]->op, NULL);
}

static void read_arguments(struct l_scan *s, struct l_filter *f)
{
    do {
        const struct lx *x;
        mf_str key = MF_STR("");
        size_t from;

        s->at++; /* : or , */
        l_skip_blank(s);
        from = s->at;
        x = l_value_token(s);
        if (x && l_peek(s, 0) == ':') {
            key = (mf_str){ s->p->text.ptr + from, s->at - from };
            s->at++;
            x = l_value_token(s);
        }
        if (x && f->count == LIQUID_ARGS_MAX)
            liquid_fault(s->p, from, "a filter has at most %d arguments",
                         LIQUID_ARGS_MAX);
        else if (x)
            f->args[f->count++] = (struct l_argument){ key, x };
        l_skip_blank(s);
        if (s->at < s->end && l_peek(s, 0) != ',' && l_peek(s, 0) != '|')
            liquid_fault(s->p, s->at, "unexpected character \"%.*s\"",
                         (int)(s->end - s->at), s->p->text.ptr + s->at);
    } while (!s->p->failed && l_peek(s, 0) == ',');
}

void l_filtered(struct l_scan *s, struct l_value *v)
{
    struct l_filter **place = &v->filters, *f;
    size_t from = s->at;

    memset(v, 0, sizeof *v);
    read_expression(s, v);
    if (v->count == 0)
        liquid_fault(s->p, s->at, "invalid value expression: \"%.*s\"",
                     (int)(s->end - from), s->p->text.ptr + from);
    for (;; place = &f->next) {
        l_skip_blank(s);
        if (s->p->failed || s->at >= s->end)
            return;
        if (l_peek(s, 0) != '|') {
            liquid_fault(s->p, s->at, "expected \"|\" before filter");
            return;
        }
        s->at++;
        f = arena_zalloc(s->p->a, sizeof *f);
        f->name = l_identifier(s);
        l_skip_blank(s);
        if (f->name.len == 0) {
            if (s->at < s->end)
                liquid_fault(s->p, s->at, "expected filter name");
            return;
        }
        *place = f;
        if (l_peek(s, 0) == ':')
            read_arguments(s, f);
        else if (s->at < s->end && l_peek(s, 0) != '|')
            liquid_fault(s->p, s->at, "expected \":\" after filter name");
    }
}

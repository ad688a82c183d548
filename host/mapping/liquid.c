/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid.c - @liquid: from text to nodes.
 *
 * The text is cut into plain text, outputs and tags first, white space
 * control applied; then tags take what belongs to them. */
#include "mapping/liquid.h"

#include "base/unicase.h"

#include <stdarg.h>
#include <stdio.h>

enum token_kind { T_TEXT, T_OUTPUT, T_TAG };

struct token {
    enum token_kind kind;
    size_t at, end;     /* with the delimiters */
    size_t from, to;    /* text; content of an output; arguments of a tag */
    mf_str name;        /* of a tag */
    bool trim_left, trim_right;
};

struct stream {
    struct l_parser *p;
    struct token *list;
    uint32_t count, next, cap;
};

#define TOKENS_FIRST 32

static bool blank(char c)
{
    return (c >= 9 && c <= 13) || c == ' ';
}

static mf_str part(const struct l_parser *p, size_t from, size_t to)
{
    return (mf_str){ p->text.ptr + from, to > from ? to - from : 0 };
}

static bool here(const struct l_parser *p, size_t at, const char *two)
{
    return at + 2 <= p->text.len && memcmp(p->text.ptr + at, two, 2) == 0;
}

/* ---- errors ---- */

void liquid_place(struct err *e, mf_str text, size_t at)
{
    size_t n = strlen(e->text), line_start = 0;
    unsigned line = 1;

    for (size_t i = 0; i < at && i < text.len; i++)
        if (text.ptr[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    snprintf(e->text + n, sizeof e->text - n, ", line:%u, col:%zu", line,
             utf16_length((mf_str){ text.ptr + line_start, at - line_start }) +
                 1);
}

void liquid_fault(struct l_parser *p, size_t at, const char *format, ...)
{
    char text[MAPPING_FAULT_TEXT];
    va_list ap;

    if (p->failed)
        return;
    p->failed = true;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    err_set(p->e, "%s", text);
    if (p->e)
        liquid_place(p->e, p->text, at);
}

/* ---- tokens ---- */

static struct token *add_token(struct stream *s, enum token_kind kind,
                               size_t at, size_t end)
{
    struct token *t;

    if (s->count == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : TOKENS_FIRST;
        struct token *list = arena_alloc(s->p->a, cap * sizeof *list);

        if (s->count)
            memcpy(list, s->list, s->count * sizeof *list);
        s->list = list;
        s->cap = cap;
    }
    t = &s->list[s->count++];
    memset(t, 0, sizeof *t);
    t->kind = kind;
    t->at = t->from = at;
    t->end = t->to = end;
    return t;
}

/* The place after the closing delimiter, 0 if there is none. */
static size_t closing(struct l_parser *p, size_t at, const char *two,
                      bool quotes)
{
    struct l_scan s = { p, at + 2, p->text.len };
    mf_str ignored;

    while (s.at < s.end) {
        if (quotes && l_quoted(&s, &ignored))
            continue;
        if (here(p, s.at, two))
            return s.at + 2;
        s.at++;
    }
    return 0;
}

static int shown(mf_str s)
{
    return s.len > 32 ? 29 : (int)s.len;
}

static void not_closed(struct l_parser *p, size_t at, const char *what)
{
    mf_str rest = part(p, at, p->text.len);

    liquid_fault(p, at, "%s \"%.*s%s\" not closed", what, shown(rest),
                 rest.ptr, rest.len > 32 ? "..." : "");
}

/* Name and arguments of a tag whose content stands at from. */
static void read_name(struct l_parser *p, struct token *t)
{
    struct l_scan s = { p, t->from, t->to };

    l_skip_blank(&s);
    if (l_peek(&s, 0) == '#') {
        t->name = part(p, s.at, s.at + 1);
        s.at++;
    } else {
        t->name = l_identifier(&s);
    }
    if (t->name.len == 0)
        liquid_fault(p, s.at, "illegal tag syntax, tag name expected");
    l_skip_blank(&s);
    t->from = s.at;
}

static size_t read_delimited(struct stream *s, size_t at, bool tag)
{
    struct l_parser *p = s->p;
    size_t end = closing(p, at, tag ? "%}" : "}}", !tag);
    struct token *t;

    if (!end) {
        not_closed(p, at, tag ? "tag" : "output");
        return p->text.len;
    }
    t = add_token(s, tag ? T_TAG : T_OUTPUT, at, end);
    t->from = at + 2;
    t->to = end - 2;
    if (t->to > t->from && p->text.ptr[t->from] == '-') {
        t->trim_left = true;
        t->from++;
    }
    if (t->to > t->from && p->text.ptr[t->to - 1] == '-') {
        t->trim_right = true;
        t->to--;
    }
    if (tag)
        read_name(p, t);
    return end;
}

/* After {% raw %}: text up to {% endraw %}. */
static size_t read_raw(struct stream *s, size_t at)
{
    struct l_parser *p = s->p;
    size_t start = s->list[s->count - 1].at;

    for (size_t i = at; i < p->text.len; i++) {
        struct l_scan scan = { p, i + 2, p->text.len };

        if (!here(p, i, "{%"))
            continue;
        if (l_peek(&scan, 0) == '-')
            scan.at++;
        if (!mf_eq(l_identifier(&scan), MF_STR("endraw")))
            continue;
        if (i > at)
            add_token(s, T_TEXT, at, i);
        return read_delimited(s, i, true);
    }
    not_closed(p, start, "raw");
    return p->text.len;
}

static void tokenize(struct stream *s)
{
    struct l_parser *p = s->p;
    size_t at = 0;

    while (at < p->text.len && !p->failed) {
        size_t from = at;

        if (here(p, at, "{%")) {
            at = read_delimited(s, at, true);
            if (!p->failed &&
                mf_eq(s->list[s->count - 1].name, MF_STR("raw")))
                at = read_raw(s, at);
            continue;
        }
        if (here(p, at, "{{")) {
            at = read_delimited(s, at, false);
            continue;
        }
        while (at < p->text.len && !here(p, at, "{%") && !here(p, at, "{{"))
            at++;
        add_token(s, T_TEXT, from, at);
    }
}

static void trim(struct stream *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct token *t = &s->list[i], *text;

        if (t->trim_left && i > 0 && s->list[i - 1].kind == T_TEXT) {
            text = &s->list[i - 1];
            while (text->to > text->from &&
                   blank(s->p->text.ptr[text->to - 1]))
                text->to--;
        }
        if (t->trim_right && i + 1 < s->count &&
            s->list[i + 1].kind == T_TEXT) {
            text = &s->list[i + 1];
            while (text->from < text->to && blank(s->p->text.ptr[text->from]))
                text->from++;
        }
    }
}

/* ---- tags ---- */

static struct l_node *new_node(struct stream *s, enum l_kind kind,
                               const struct token *t)
{
    struct l_node *n = arena_zalloc(s->p->a, sizeof *n);

    n->kind = kind;
    n->at = t->at;
    return n;
}

static struct l_scan scan_of(struct stream *s, const struct token *t)
{
    return (struct l_scan){ s->p, t->from, t->to };
}

static void unclosed(struct stream *s, const struct token *t)
{
    mf_str text = part(s->p, t->at, t->end);

    liquid_fault(s->p, t->at, "tag %.*s not closed", (int)text.len, text.ptr);
}

/* Tokens up to the tag that ends t, not looked at. */
static void skip_comment(struct stream *s, const struct token *t)
{
    while (s->next < s->count) {
        const struct token *x = &s->list[s->next++];

        if (x->kind == T_TAG && mf_eq(x->name, MF_STR("endcomment")))
            return;
    }
    unclosed(s, t);
}

static struct l_branch *add_branch(struct stream *s, struct l_branch **last,
                                   const struct token *t, bool always)
{
    struct l_branch *b = arena_zalloc(s->p->a, sizeof *b);
    struct l_scan scan = scan_of(s, t);

    b->always = always;
    if (!always)
        l_filtered(&scan, &b->when);
    *last = b;
    return b;
}

static struct l_node *read_if(struct stream *s, const struct token *t,
                              bool unless)
{
    mf_str end = unless ? MF_STR("endunless") : MF_STR("endif");
    struct l_node *n = new_node(s, LN_IF, t), **place;
    struct l_branch *b = add_branch(s, &n->branches, t, false);
    const struct token *x;

    b->negated = unless;
    place = &b->nodes;
    while (!s->p->failed && s->next < s->count) {
        x = &s->list[s->next];
        if (x->kind == T_TAG && mf_eq(x->name, end)) {
            s->next++;
            return n;
        }
        if (x->kind == T_TAG && (mf_eq(x->name, MF_STR("elsif")) ||
                                 mf_eq(x->name, MF_STR("else")))) {
            s->next++;
            if (b->always)
                liquid_fault(s->p, x->at, "unexpected %.*s after else",
                             (int)x->name.len, x->name.ptr);
            b = add_branch(s, &b->next, x, x->name.len == 4);
            place = &b->nodes;
            continue;
        }
        place = l_read_node(s, place);
    }
    unclosed(s, t);
    return n;
}

static struct l_node *read_capture(struct stream *s, const struct token *t)
{
    struct l_node *n = new_node(s, LN_CAPTURE, t), **place = &n->inner;
    struct l_scan scan = scan_of(s, t);

    n->text = l_identifier(&scan);
    if (n->text.len == 0 && !l_quoted(&scan, &n->text))
        liquid_fault(s->p, scan.at, "invalid capture name");
    while (!s->p->failed && s->next < s->count) {
        const struct token *x = &s->list[s->next];

        if (x->kind == T_TAG && mf_eq(x->name, MF_STR("endcapture"))) {
            s->next++;
            return n;
        }
        place = l_read_node(s, place);
    }
    unclosed(s, t);
    return n;
}

static struct l_node *read_assign(struct stream *s, const struct token *t)
{
    struct l_node *n = new_node(s, LN_ASSIGN, t);
    struct l_scan scan = scan_of(s, t);

    n->text = l_identifier(&scan);
    if (n->text.len == 0)
        liquid_fault(s->p, scan.at, "expected variable name");
    l_skip_blank(&scan);
    if (l_peek(&scan, 0) != '=')
        liquid_fault(s->p, scan.at, "expected \"=\"");
    scan.at++;
    if (!s->p->failed)
        l_filtered(&scan, &n->value);
    return n;
}

static struct l_node *read_counter(struct stream *s, const struct token *t,
                                   enum l_kind kind)
{
    struct l_node *n = new_node(s, kind, t);
    struct l_scan scan = scan_of(s, t);

    n->text = l_identifier(&scan);
    return n;
}

static struct l_node *read_cycle(struct stream *s, const struct token *t)
{
    struct l_node *n = new_node(s, LN_CYCLE, t);
    struct l_scan scan = scan_of(s, t);
    const struct lx *x = l_value_token(&scan);

    n->list = arena_alloc(s->p->a, (t->to - t->from + 2) * sizeof *n->list);
    n->text = part(s->p, t->from, t->to);
    l_skip_blank(&scan);
    if (x && l_peek(&scan, 0) == ':') {
        n->group = x;
        scan.at++;
    } else if (x) {
        n->list[n->count++] = x;
        l_read_to(&scan, ',');
    }
    while (!s->p->failed && scan.at < scan.end) {
        x = l_value_token(&scan);
        if (x)
            n->list[n->count++] = x;
        if (!l_read_to(&scan, ','))
            break;
    }
    if (n->count == 0)
        liquid_fault(s->p, t->from, "empty candidates: \"%.*s\"",
                     (int)(t->end - t->at), s->p->text.ptr + t->at);
    return n;
}

static struct l_node *read_output(struct stream *s, const struct token *t)
{
    struct l_node *n = new_node(s, LN_OUTPUT, t);
    struct l_scan scan = scan_of(s, t);

    l_filtered(&scan, &n->value);
    return n;
}

static void check_remark(struct stream *s, const struct token *t)
{
    mf_str text = part(s->p, t->from, t->to);

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\n')
            continue;
        while (i < text.len && blank(text.ptr[i]))
            i++;
        if (i < text.len && text.ptr[i] != '#')
            liquid_fault(s->p, t->at, "every line of an inline comment must "
                                      "start with a '#' character");
    }
}

/* {% liquid %}: every line is a tag. */
static struct l_node **read_lines(struct stream *s, const struct token *t,
                                  struct l_node **place)
{
    struct stream in = { .p = s->p };
    size_t at = t->from;

    while (at < t->to && !s->p->failed) {
        const char *line = s->p->text.ptr + at;
        const char *stop = memchr(line, '\n', t->to - at);
        size_t end = stop ? at + (size_t)(stop - line) : t->to;
        struct token *x;

        while (at < end && blank(s->p->text.ptr[at]))
            at++;
        if (at < end) {
            x = add_token(&in, T_TAG, at, end);
            read_name(s->p, x);
        }
        at = end + 1;
    }
    while (!s->p->failed && in.next < in.count)
        place = l_read_node(&in, place);
    return place;
}

static struct l_node *read_tag(struct stream *s, const struct token *t)
{
    static const char *const disabled[] = { "case", "for", "include", "layout",
                                            "render", "tablerow" };
    mf_str name = t->name;

    if (mf_eq(name, MF_STR("if")))
        return read_if(s, t, false);
    if (mf_eq(name, MF_STR("unless")))
        return read_if(s, t, true);
    if (mf_eq(name, MF_STR("assign")))
        return read_assign(s, t);
    if (mf_eq(name, MF_STR("capture")))
        return read_capture(s, t);
    if (mf_eq(name, MF_STR("increment")))
        return read_counter(s, t, LN_INCREMENT);
    if (mf_eq(name, MF_STR("decrement")))
        return read_counter(s, t, LN_DECREMENT);
    if (mf_eq(name, MF_STR("cycle")))
        return read_cycle(s, t);
    if (mf_eq(name, MF_STR("echo")))
        return t->from < t->to ? read_output(s, t) : NULL;
    if (mf_eq(name, MF_STR("break")) || mf_eq(name, MF_STR("continue")))
        return new_node(s, LN_STOP, t);
    for (size_t i = 0; i < COUNT_OF(disabled); i++)
        if (mf_eq(name, mf_cstr(disabled[i])))
            liquid_fault(s->p, t->at, "tag \"%s\" is disabled", disabled[i]);
    liquid_fault(s->p, t->at, "tag \"%.*s\" not found", (int)name.len,
                 name.ptr);
    return NULL;
}

struct l_node **l_read_node(struct stream *s, struct l_node **place)
{
    const struct token *t = &s->list[s->next++];
    struct l_node *n = NULL;

    if (++s->p->depth > LIQUID_DEPTH_MAX) {
        liquid_fault(s->p, t->at, "tags are nested too deep");
    } else if (t->kind == T_TEXT) {
        n = new_node(s, LN_TEXT, t);
        n->text = part(s->p, t->from, t->to);
    } else if (t->kind == T_OUTPUT) {
        n = read_output(s, t);
    } else if (mf_eq(t->name, MF_STR("comment"))) {
        skip_comment(s, t);
    } else if (mf_eq(t->name, MF_STR("#"))) {
        check_remark(s, t);
    } else if (mf_eq(t->name, MF_STR("liquid"))) {
        place = read_lines(s, t, place);
    } else if (mf_eq(t->name, MF_STR("raw"))) {
        if (s->next < s->count && s->list[s->next].kind == T_TEXT)
            place = l_read_node(s, place);
        s->next++; /* endraw */
    } else {
        n = read_tag(s, t);
    }
    s->p->depth--;
    if (!n)
        return place;
    *place = n;
    return &n->next;
}

/* ---- public ---- */

struct liquid *liquid_parse(mf_str text, struct arena *a, struct err *e)
{
    struct l_parser p = { .text = text, .a = a, .e = e };
    struct stream s = { .p = &p };
    struct liquid *l = arena_zalloc(a, sizeof *l);
    struct l_node **place = &l->nodes;

    l->text = text;
    tokenize(&s);
    trim(&s);
    while (!p.failed && s.next < s.count)
        place = l_read_node(&s, place);
    return p.failed ? NULL : l;
}

int liquid_render(mf_str text, mf_val root, struct arena *a, mf_str *out,
                  struct err *e)
{
    struct liquid *l;

    if (utf16_length(text) > LIQUID_TEMPLATE_MAX)
        return err_set(e, "liquid template values are limited to %d characters",
                       LIQUID_TEMPLATE_MAX);
    l = liquid_parse(arena_copy(a, text), a, e);
    return l ? liquid_run(l, root, a, out, e) : -1;
}

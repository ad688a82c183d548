/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_filter.c - reads and runs the documented language of filters.
 *
 *   or         = and { "or" and }
 *   and        = unary { "and" unary }
 *   unary      = "!" unary | "(" or ")" | comparison
 *   comparison = operand [ ("=" | "!=" | ">" | ">=" | "<" | "<=" | "in")
 *                          operand ]
 *   operand    = string | number | true | false | null | list | call | path
 *   list       = "[" [ operand { "," operand } ] "]"
 *   call       = name "(" [ or { "," or } ] ")"
 *   path       = name { "." name }
 *
 * or the one word `all`. Strings stand in either quotes and have no escapes;
 * in names \ takes any character. A path that leads nowhere is null. and, or
 * and ! take bools and nulls, null standing for false. = and != never mind
 * types; the other operators and the functions do, and what they cannot take
 * makes the whole evaluation a fault, unless and/or never came to it. */
#include "mapping/fql_filter.h"

#include "base/text.h"
#include "mapping/glob.h"

#include <stdlib.h>

struct parser {
    /* Operands hold operands and whole expressions: the way down the file.
     * Gives a node, or NOTHING after a fault. */
    uint32_t (*inner)(struct parser *p, bool operand);
    struct fql_filter *f;
    const char *text, *p, *end;
    unsigned depth;
    const char *fault; /* what is wrong */
    const char *at;    /* and where */
    const char *guess; /* what was meant, or NULL */
};

#define NOTHING 0 /* node 0 is no child of any */

static const struct {
    const char *name;
    uint32_t arguments;
} functions[F_COUNT] = {
    [F_CONTAINS] = { "contains", 2 },   [F_LENGTH] = { "length", 1 },
    [F_LOWERCASE] = { "lowercase", 1 }, [F_UPPERCASE] = { "uppercase", 1 },
    [F_SNAKECASE] = { "snakecase", 1 }, [F_KEBABCASE] = { "kebabcase", 1 },
    [F_TITLECASE] = { "titlecase", 1 }, [F_TYPEOF] = { "typeof", 1 },
    [F_MATCH] = { "match", 2 },         [F_BOOL] = { "bool", 1 },
    [F_STRING] = { "string", 1 },       [F_NUMBER] = { "number", 1 },
};

/* ---- letters and words ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '\\';
}

static bool in_name(char c)
{
    return starts_name(c) || is_digit(c) || c == '-';
}

static uint32_t fault(struct parser *p, const char *at, const char *what)
{
    if (!p->fault) {
        p->fault = what;
        p->at = at;
    }
    return NOTHING;
}

static void skip_space(struct parser *p)
{
    while (p->p < p->end && is_space(*p->p))
        p->p++;
}

/* The next character that is no space, 0 at the end. */
static char look(struct parser *p)
{
    skip_space(p);
    return p->p < p->end ? *p->p : 0;
}

static bool take(struct parser *p, char c)
{
    if (look(p) != c)
        return false;
    p->p++;
    return true;
}

/* A keyword counts only where a word ends after it. */
static bool take_word(struct parser *p, mf_str word)
{
    const char *after;

    skip_space(p);
    if ((size_t)(p->end - p->p) < word.len ||
        memcmp(p->p, word.ptr, word.len) != 0)
        return false;
    after = p->p + word.len;
    if (after < p->end && !is_space(*after) && !strchr(",])", *after))
        return false;
    p->p = after;
    return true;
}

/* ---- building ---- */

static mf_str put(struct parser *p, mf_str text)
{
    char *to = p->f->strings + p->f->strings_len;

    memcpy(to, text.ptr, text.len);
    p->f->strings_len += text.len;
    return (mf_str){ to, text.len };
}

static uint32_t add_node(struct parser *p, enum filter_kind kind)
{
    struct fql_filter *f = p->f;

    if (f->count == f->room) {
        f->room = f->room * 2 + 8;
        f->nodes = xrealloc(f->nodes, f->room * sizeof *f->nodes);
    }
    memset(&f->nodes[f->count], 0, sizeof *f->nodes);
    f->nodes[f->count].kind = kind;
    return f->count++;
}

static void add_segment(struct parser *p, mf_str name)
{
    struct fql_filter *f = p->f;

    if (f->segment_count == f->segment_room) {
        f->segment_room = f->segment_room * 2 + 8;
        f->segments = xrealloc(f->segments,
                               f->segment_room * sizeof *f->segments);
    }
    f->segments[f->segment_count++] = name;
}

/* Appends child to the children of parent, after *last. */
static void add_child(struct parser *p, uint32_t parent, uint32_t *last,
                      uint32_t child)
{
    if (*last == NOTHING)
        p->f->nodes[parent].first = child;
    else
        p->f->nodes[*last].next = child;
    p->f->nodes[parent].children++;
    *last = child;
}

/* ---- operands ---- */

static uint32_t string(struct parser *p)
{
    const char *from = p->p, *close;
    uint32_t n;

    close = memchr(from + 1, *from, (size_t)(p->end - from - 1));
    if (!close)
        return fault(p, from, "this string does not end");
    n = add_node(p, FILTER_STRING);
    p->f->nodes[n].s =
        put(p, (mf_str){ from + 1, (size_t)(close - from) - 1 });
    p->p = close + 1;
    return n;
}

static bool digits(struct parser *p)
{
    if (p->p == p->end || !is_digit(*p->p))
        return false;
    while (p->p < p->end && is_digit(*p->p))
        p->p++;
    return true;
}

static uint32_t number(struct parser *p)
{
    const char *from = p->p;
    uint32_t n;
    char *text;

    p->p += *p->p == '+' || *p->p == '-';
    if (!digits(p))
        return fault(p, p->p, "a digit was expected");
    if (p->p < p->end && *p->p == '.') {
        p->p++;
        if (!digits(p))
            return fault(p, p->p, "a digit must follow the point");
    }
    if (p->p < p->end && in_name(*p->p))
        return fault(p, p->p, "a number cannot go on with this");
    text = xstrndup(from, (size_t)(p->p - from));
    n = add_node(p, FILTER_NUMBER);
    p->f->nodes[n].number = strtod(text, NULL);
    free(text);
    return n;
}

/* A name, its escapes taken off. */
static bool name(struct parser *p, mf_str *out)
{
    size_t at = p->f->strings_len;

    if (p->p == p->end || !starts_name(*p->p)) {
        fault(p, p->p, "a value, a field or a function was expected");
        return false;
    }
    while (p->p < p->end && in_name(*p->p)) {
        if (*p->p == '\\' && ++p->p == p->end) {
            fault(p, p->p, "a character must follow \\");
            return false;
        }
        do
            put(p, (mf_str){ p->p++, 1 });
        while (p->p < p->end && ((unsigned char)*p->p & 0xC0) == 0x80);
    }
    *out = (mf_str){ p->f->strings + at, p->f->strings_len - at };
    return true;
}

static bool deeper(struct parser *p)
{
    if (p->depth == FQL_DEPTH_MAX) {
        fault(p, p->p, "this is nested too deep");
        return false;
    }
    p->depth++;
    return true;
}

/* What stands between an opening bracket just taken and `close`. */
static uint32_t items(struct parser *p, uint32_t n, char close, bool operands)
{
    uint32_t last = NOTHING, item;

    if (!deeper(p))
        return NOTHING;
    while (!take(p, close)) {
        if (last != NOTHING && !take(p, ','))
            return fault(p, p->p, close == ']' ? "a comma or ] was expected"
                                               : "a comma or ) was expected");
        item = p->inner(p, operands);
        if (p->fault)
            return NOTHING;
        add_child(p, n, &last, item);
    }
    p->depth--;
    return n;
}

static bool write_literal(const struct filter_node *n, struct json_out *w)
{
    switch (n->kind) {
    case FILTER_NULL:
        json_null(w);
        return true;
    case FILTER_TRUE: case FILTER_FALSE:
        json_bool(w, n->kind == FILTER_TRUE);
        return true;
    case FILTER_NUMBER:
        json_num(w, n->number);
        return true;
    case FILTER_STRING:
        json_str(w, n->s);
        return true;
    default:
        return false;
    }
}

/* A list that is the same for every event becomes JSON once and for all. */
static uint32_t list(struct parser *p)
{
    uint32_t n = add_node(p, FILTER_LIST);
    bool literal = true;
    struct json_out w;
    struct buf b;

    if (items(p, n, ']', true) == NOTHING)
        return NOTHING;
    buf_init(&b, FQL_LENGTH_MAX * 8);
    json_out_init(&w, &b);
    json_begin_array(&w);
    for (uint32_t i = p->f->nodes[n].first; i && literal;
         i = p->f->nodes[i].next)
        literal = write_literal(&p->f->nodes[i], &w);
    json_end_array(&w);
    if (literal && !b.full) {
        p->f->nodes[n].json = xstrndup(b.data, b.len);
        p->f->nodes[n].s = (mf_str){ p->f->nodes[n].json, b.len };
    }
    buf_deinit(&b);
    return n;
}

static uint32_t call(struct parser *p, mf_str function, const char *at)
{
    const char *known[F_COUNT + 1] = { NULL };
    uint32_t n, f;
    char *text;

    for (f = 0; f < F_COUNT; f++)
        known[f] = functions[f].name;
    for (f = 0; f < F_COUNT; f++)
        if (mf_eq(function, mf_cstr(known[f])))
            break;
    if (f == F_COUNT) {
        text = xstrndup(function.ptr, function.len);
        p->guess = nearest(text, known);
        free(text);
        return fault(p, at, "there is no such function");
    }
    n = add_node(p, FILTER_CALL);
    p->f->nodes[n].function = (enum filter_function)f;
    if (items(p, n, ')', false) == NOTHING)
        return NOTHING;
    if (p->f->nodes[n].children != functions[f].arguments)
        return fault(p, at, functions[f].arguments == 1
                                ? "this function takes one argument"
                                : "this function takes two arguments");
    return n;
}

static uint32_t path(struct parser *p, mf_str first)
{
    uint32_t n = add_node(p, FILTER_PATH);
    mf_str segment;

    p->f->nodes[n].s = first;
    p->f->nodes[n].root = fql_root_named(first);
    p->f->nodes[n].path = p->f->segment_count;
    while (p->p < p->end && *p->p == '.') {
        p->p++;
        if (!name(p, &segment))
            return NOTHING;
        add_segment(p, segment);
    }
    p->f->nodes[n].path_len = p->f->segment_count - p->f->nodes[n].path;
    if (p->p < p->end && !is_space(*p->p) && !strchr(",])=!<>", *p->p))
        return fault(p, p->p, "a name cannot go on with this; \\ takes any "
                              "character into it");
    return n;
}

static uint32_t operand(struct parser *p)
{
    const char *at;
    mf_str first;
    char c = look(p);

    at = p->p;
    if (c == '"' || c == '\'')
        return string(p);
    if (is_digit(c) || c == '+' || c == '-')
        return number(p);
    if (take(p, '['))
        return list(p);
    if (take_word(p, MF_STR("null")))
        return add_node(p, FILTER_NULL);
    if (take_word(p, MF_STR("true")))
        return add_node(p, FILTER_TRUE);
    if (take_word(p, MF_STR("false")))
        return add_node(p, FILTER_FALSE);
    if (!name(p, &first))
        return NOTHING;
    if (p->p < p->end && *p->p == '(') {
        p->p++;
        return call(p, first, at);
    }
    return path(p, first);
}

/* ---- expressions ---- */

static bool take_op(struct parser *p, enum filter_op *op)
{
    static const char *const words[] = { "=", "!=", "<=", ">=", "<", ">" };

    skip_space(p);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        size_t n = strlen(words[i]);

        if ((size_t)(p->end - p->p) >= n &&
            memcmp(p->p, words[i], n) == 0) {
            p->p += n;
            *op = (enum filter_op)i;
            return true;
        }
    }
    *op = FILTER_IN;
    return take_word(p, MF_STR("in"));
}

/* A pattern that is written out is judged here, not event by event. */
static bool pattern_is_valid(struct parser *p, uint32_t n, const char *at)
{
    const struct filter_node *c = &p->f->nodes[n], *second;

    if (c->kind != FILTER_CALL || c->function != F_MATCH)
        return true;
    second = &p->f->nodes[p->f->nodes[c->first].next];
    if (second->kind != FILTER_STRING || glob_valid(second->s))
        return true;
    fault(p, at, "the pattern has a [ that is not closed, a range that runs "
                 "backwards, or ends in \\");
    return false;
}

static uint32_t checked_operand(struct parser *p)
{
    const char *at;
    uint32_t n;

    skip_space(p);
    at = p->p;
    n = operand(p);
    return n != NOTHING && pattern_is_valid(p, n, at) ? n : NOTHING;
}

static uint32_t comparison(struct parser *p)
{
    uint32_t left = checked_operand(p), right, n, last = NOTHING;
    enum filter_op op;

    if (p->fault || !take_op(p, &op))
        return left;
    right = checked_operand(p);
    if (p->fault)
        return NOTHING;
    n = add_node(p, FILTER_COMPARE);
    p->f->nodes[n].op = op;
    add_child(p, n, &last, left);
    add_child(p, n, &last, right);
    return n;
}

/* ! stands directly before what it denies: a name or (. */
static uint32_t unary(struct parser *p)
{
    uint32_t n, outer, last = NOTHING;
    bool denied = take(p, '!');

    if (denied && (p->p == p->end || (!starts_name(*p->p) && *p->p != '(')))
        return fault(p, p->p, "after ! comes a name or (");
    if (take(p, '(')) {
        if (!deeper(p))
            return NOTHING;
        n = p->inner(p, false);
        if (p->fault)
            return NOTHING;
        if (!take(p, ')'))
            return fault(p, p->p, "a ) was expected");
        p->depth--;
    } else {
        n = comparison(p);
    }
    if (!denied || p->fault)
        return n;
    outer = add_node(p, FILTER_NOT);
    add_child(p, outer, &last, n);
    return outer;
}

/* a { word a }, or a alone: under `or` each a is a chain of `and`, under `and`
 * each is a unary. */
static uint32_t chain(struct parser *p, enum filter_kind kind)
{
    mf_str word = kind == FILTER_AND ? MF_STR("and") : MF_STR("or");
    uint32_t n, group = NOTHING, last = NOTHING;

    n = kind == FILTER_OR ? chain(p, FILTER_AND) : unary(p);
    while (!p->fault && take_word(p, word)) {
        if (group == NOTHING) {
            group = add_node(p, kind);
            add_child(p, group, &last, n);
        }
        n = kind == FILTER_OR ? chain(p, FILTER_AND) : unary(p);
        if (!p->fault)
            add_child(p, group, &last, n);
    }
    return group == NOTHING ? n : group;
}

static uint32_t inner(struct parser *p, bool operand_only)
{
    return operand_only ? checked_operand(p) : chain(p, FILTER_OR);
}

/* ---- the interface ---- */

struct fql_filter *fql_filter_compile(mf_str text, struct err *e,
                                      size_t *offset)
{
    struct fql_filter *f = xcalloc(1, sizeof *f);
    struct parser p = { inner, f, text.ptr, text.ptr, text.ptr + text.len,
                        0, NULL, NULL, NULL };

    f->strings = xmalloc(text.len + 1);
    add_node(&p, FILTER_ALL);
    if (text.len && memchr(text.ptr, 0, text.len))
        fault(&p, memchr(text.ptr, 0, text.len), "a NUL has no meaning here");
    else if (look(&p) == 0)
        fault(&p, p.p, "there is no condition here");
    else if (!mf_eq(str_trim(text), MF_STR("all")))
        f->root = chain(&p, FILTER_OR);
    else
        p.p = p.end;
    if (!p.fault && look(&p) != 0)
        fault(&p, p.p, "and, or, or the end was expected");
    if (!p.fault)
        return f;
    *offset = (size_t)(p.at - text.ptr);
    err_set(e, p.guess ? "%s; did you mean \"%s\"?" : "%s", p.fault, p.guess);
    fql_filter_free(f);
    return NULL;
}

void fql_filter_free(struct fql_filter *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; i < f->count; i++)
        free(f->nodes[i].json);
    free(f->nodes);
    free(f->segments);
    free(f->strings);
    free(f);
}

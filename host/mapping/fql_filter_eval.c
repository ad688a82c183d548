/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_filter_eval.c - runs a compiled filter on an event in place.
 *
 * Values are borrowed from the event, the filter or the scratch arena. A value
 * that an operator or a function cannot take becomes a fault, which goes up
 * to the top unless an `and` or `or` was decided before it was reached. */
#include "mapping/fql_filter.h"

#include "base/text.h"
#include "base/unicase.h"
#include "mapping/glob.h"
#include "mapping/jsvalue.h"

#include <math.h>

enum value_type {
    VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_STRING, VALUE_LIST,
    VALUE_OBJECT, VALUE_FAULT
};

struct value {
    enum value_type type;
    bool b;
    double n;
    mf_str s;
    mf_val json; /* of a list or object */
};

struct run {
    const struct fql_filter *f;
    const struct fql_view *view;
    struct arena *a;
};

/* ---- values ---- */

static struct value of_type(enum value_type type)
{
    return (struct value){ .type = type };
}

static struct value of_bool(bool b)
{
    return (struct value){ .type = VALUE_BOOL, .b = b };
}

static struct value of_number(double n)
{
    return (struct value){ .type = VALUE_NUMBER, .n = n };
}

static struct value of_text(mf_str s)
{
    return (struct value){ .type = VALUE_STRING, .s = s };
}

static struct value of_json(mf_val v, struct arena *a)
{
    switch (v.type) {
    case MF_BOOL:
        return of_bool(json_is_true(v));
    case MF_NUMBER:
        return of_number(json_number(v, 0));
    case MF_STRING:
        return of_text(fql_text(v, a));
    case MF_ARRAY:
        return (struct value){ .type = VALUE_LIST, .json = v };
    case MF_OBJECT:
        return (struct value){ .type = VALUE_OBJECT, .json = v };
    default:
        return of_type(VALUE_NULL);
    }
}

static mf_val to_json(struct value v, struct arena *a)
{
    switch (v.type) {
    case VALUE_BOOL:
        return json_from_bool(v.b);
    case VALUE_NUMBER:
        return json_from_number(a, v.n);
    case VALUE_STRING:
        return json_from_text(a, v.s);
    case VALUE_LIST: case VALUE_OBJECT:
        return v.json;
    default:
        return JSON_NULL;
    }
}

static bool equal(struct value a, struct value b, struct arena *arena)
{
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case VALUE_BOOL:
        return a.b == b.b;
    case VALUE_NUMBER:
        return a.n == b.n;
    case VALUE_STRING:
        return mf_eq(a.s, b.s);
    case VALUE_LIST: case VALUE_OBJECT:
        return json_equal(a.json, b.json, arena);
    default:
        return true;
    }
}

static int text_order(mf_str a, mf_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

    return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

/* Numbers by size, texts by their bytes, which puts ISO dates in order.
 * Nothing is before or after null. */
static struct value ordered(enum filter_op op, struct value a, struct value b)
{
    double d;

    if (a.type == VALUE_NULL || b.type == VALUE_NULL)
        return of_bool(false);
    if (a.type == VALUE_NUMBER && b.type == VALUE_NUMBER)
        d = a.n < b.n ? -1 : a.n > b.n;
    else if (a.type == VALUE_STRING && b.type == VALUE_STRING)
        d = text_order(a.s, b.s);
    else
        return of_type(VALUE_FAULT);
    return of_bool(op == FILTER_LT   ? d < 0
                   : op == FILTER_LE ? d <= 0
                   : op == FILTER_GT ? d > 0
                                     : d >= 0);
}

static struct value in_json(struct value v, mf_val list, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val x;

    while (json_next(list, &it, &key, &x))
        if (equal(v, of_json(x, a), a))
            return of_bool(true);
    return of_bool(false);
}

/* ---- functions ---- */

static struct value fault_unless_null(struct value v)
{
    return of_type(v.type == VALUE_NULL ? VALUE_NULL : VALUE_FAULT);
}

static struct value contains(struct value s, struct value part)
{
    if (s.type == VALUE_NULL)
        return of_bool(false);
    if (s.type != VALUE_STRING || part.type != VALUE_STRING)
        return of_type(VALUE_FAULT);
    return of_bool(part.s.len == 0 ||
                   memmem(s.s.ptr, s.s.len, part.s.ptr, part.s.len));
}

static struct value length(struct value v)
{
    if (v.type == VALUE_NULL)
        return of_number(0);
    if (v.type == VALUE_STRING)
        return of_number((double)v.s.len);
    if (v.type == VALUE_LIST)
        return of_number((double)json_count(v.json));
    return of_type(VALUE_FAULT);
}

static struct value cased(struct value v, bool upper, struct arena *a)
{
    struct buf b;

    if (v.type != VALUE_STRING)
        return fault_unless_null(v);
    buf_init(&b, v.s.len * UNICASE_GROWTH);
    (upper ? utf8_upper : utf8_lower)(&b, v.s);
    v.s = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return v;
}

static struct value spaces_to(struct value v, char c, struct arena *a)
{
    char *to;

    if (v.type != VALUE_STRING)
        return fault_unless_null(v);
    to = arena_alloc(a, v.s.len + 1);
    for (size_t i = 0; i < v.s.len; i++)
        to[i] = v.s.ptr[i] == ' ' ? c : v.s.ptr[i];
    return of_text((mf_str){ to, v.s.len });
}

/* A letter that follows no letter, digit or _ becomes upper case. */
static struct value titlecase(struct value v, struct arena *a)
{
    const char *p = v.s.ptr, *end = p + v.s.len;
    bool inside = false;
    struct buf b;

    if (v.type != VALUE_STRING)
        return fault_unless_null(v);
    buf_init(&b, v.s.len * UNICASE_GROWTH);
    while (p < end) {
        uint32_t c = utf8_next(&p, end);

        utf8_put(&b, inside ? c : unicase_upper(c));
        inside = c >= 0x80 || c == '_' || (c >= '0' && c <= '9') ||
                 ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    }
    v.s = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return v;
}

static struct value type_of(struct value v)
{
    static const char *const words[] = { "null", "bool",   "number",
                                         "string", "list", "object" };

    return of_text(mf_cstr(words[v.type]));
}

static struct value match(struct value s, struct value pattern)
{
    int result;

    if (s.type == VALUE_NULL)
        return of_bool(false);
    if (s.type != VALUE_STRING || pattern.type != VALUE_STRING)
        return of_type(VALUE_FAULT);
    result = glob_match(pattern.s, s.s);
    return result < 0 ? of_type(VALUE_FAULT) : of_bool(result);
}

static struct value to_bool(struct value v)
{
    if (v.type == VALUE_BOOL)
        return v;
    if (v.type == VALUE_NUMBER)
        return of_bool(v.n != 0);
    if (v.type == VALUE_STRING && mf_eq(v.s, MF_STR("true")))
        return of_bool(true);
    if (v.type == VALUE_STRING && mf_eq(v.s, MF_STR("false")))
        return of_bool(false);
    return fault_unless_null(v);
}

static struct value to_text(struct value v, struct arena *a)
{
    char number[NUMBER_TEXT];

    if (v.type == VALUE_STRING)
        return v;
    if (v.type == VALUE_BOOL)
        return of_text(v.b ? MF_STR("true") : MF_STR("false"));
    if (v.type == VALUE_NUMBER)
        return of_text(arena_copy(
            a, (mf_str){ number, number_text(v.n, number) }));
    return fault_unless_null(v);
}

static struct value to_number(struct value v)
{
    double d;

    if (v.type == VALUE_NUMBER)
        return v;
    if (v.type == VALUE_BOOL)
        return of_number(v.b);
    if (v.type != VALUE_STRING)
        return fault_unless_null(v);
    d = js_trim(v.s).len ? js_to_number(v.s) : NAN;
    return isnan(d) ? of_type(VALUE_FAULT) : of_number(d);
}

static struct value apply(enum filter_function f, struct value x,
                          struct value y, struct arena *a)
{
    if (x.type == VALUE_FAULT || y.type == VALUE_FAULT)
        return of_type(VALUE_FAULT);
    switch (f) {
    case F_CONTAINS:
        return contains(x, y);
    case F_LENGTH:
        return length(x);
    case F_LOWERCASE:
        return cased(x, false, a);
    case F_UPPERCASE:
        return cased(x, true, a);
    case F_SNAKECASE:
        return spaces_to(x, '_', a);
    case F_KEBABCASE:
        return spaces_to(x, '-', a);
    case F_TITLECASE:
        return titlecase(x, a);
    case F_TYPEOF:
        return type_of(x);
    case F_MATCH:
        return match(x, y);
    case F_BOOL:
        return to_bool(x);
    case F_STRING:
        return to_text(x, a);
    default:
        return to_number(x);
    }
}

static struct value compare(enum filter_op op, struct value x, struct value y,
                            struct arena *a)
{
    if (x.type == VALUE_FAULT || y.type == VALUE_FAULT)
        return of_type(VALUE_FAULT);
    switch (op) {
    case FILTER_EQ: case FILTER_NE:
        return of_bool(equal(x, y, a) == (op == FILTER_EQ));
    case FILTER_IN:
        if (y.type == VALUE_NULL)
            return of_bool(false);
        return y.type == VALUE_LIST ? in_json(x, y.json, a)
                                    : of_type(VALUE_FAULT);
    default:
        return ordered(op, x, y);
    }
}

/* ---- nodes ---- */

static struct value path_value(const struct run *r,
                               const struct filter_node *n)
{
    mf_val v = n->root != ROOT_NONE ? r->view->root[n->root]
                                    : json_get(r->view->event, n->s);

    for (uint32_t i = 0; i < n->path_len; i++)
        v = json_get(v, r->f->segments[n->path + i]);
    return of_json(v, r->a);
}

static struct value truth(struct value v)
{
    if (v.type == VALUE_NULL)
        return of_bool(false);
    return v.type == VALUE_BOOL ? v : of_type(VALUE_FAULT);
}

static struct value list_value(mf_str json)
{
    return (struct value){ .type = VALUE_LIST,
                           .json = { json.ptr, (uint32_t)json.len,
                                     MF_ARRAY } };
}

static struct value leaf(const struct run *r, const struct filter_node *n)
{
    switch (n->kind) {
    case FILTER_ALL: case FILTER_TRUE:
        return of_bool(true);
    case FILTER_FALSE:
        return of_bool(false);
    case FILTER_NUMBER:
        return of_number(n->number);
    case FILTER_STRING:
        return of_text(n->s);
    case FILTER_LIST:
        return list_value(n->s);
    case FILTER_PATH:
        return path_value(r, n);
    default:
        return of_type(VALUE_NULL);
    }
}

/* The compiled depth is bounded, and so is this recursion. */
static struct value eval(const struct run *r, uint32_t at)
{
    const struct filter_node *n = &r->f->nodes[at];
    const struct filter_node *nodes = r->f->nodes;
    struct value x = of_type(VALUE_NULL), y = of_type(VALUE_NULL);
    struct json_out w;
    struct buf b;

    switch (n->kind) {
    case FILTER_OR: case FILTER_AND:
        for (uint32_t i = n->first; i; i = nodes[i].next) {
            x = truth(eval(r, i));
            if (x.type == VALUE_FAULT || x.b == (n->kind == FILTER_OR))
                break;
        }
        return x;
    case FILTER_NOT:
        x = truth(eval(r, n->first));
        x.b = !x.b;
        return x;
    case FILTER_COMPARE: case FILTER_CALL:
        x = eval(r, n->first);
        if (n->children > 1)
            y = eval(r, nodes[n->first].next);
        return n->kind == FILTER_CALL ? apply(n->function, x, y, r->a)
                                      : compare(n->op, x, y, r->a);
    case FILTER_LIST:
        if (n->json)
            return leaf(r, n);
        buf_init(&b, r->a->soft);
        json_out_init(&w, &b);
        json_begin_array(&w);
        for (uint32_t i = n->first; i && x.type != VALUE_FAULT;
             i = nodes[i].next) {
            x = eval(r, i);
            json_val(&w, to_json(x, r->a));
        }
        json_end_array(&w);
        y = list_value(arena_copy(r->a, buf_view(&b)));
        buf_deinit(&b);
        return x.type == VALUE_FAULT ? x : y;
    default:
        return leaf(r, n);
    }
}

enum fql_verdict fql_filter_eval(const struct fql_filter *f,
                                 const struct fql_view *view,
                                 struct arena *scratch)
{
    struct run r = { f, view, scratch };
    struct value v = truth(eval(&r, f->root));

    if (v.type == VALUE_FAULT)
        return FQL_FAULT;
    return v.b ? FQL_YES : FQL_NO;
}

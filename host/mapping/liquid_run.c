/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_run.c - from nodes of @liquid to text.
 *
 * What is assigned hides the event; counters stand in for the event's members
 * of the same name, which liquidjs would overwrite. Steps and bytes are
 * counted in place of the original's clock and memory limit. */
#include "base/unicase.h"
#include "mapping/liquid.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define OUT_FIRST 256

void liquid_fail(struct l_run *r, const char *format, ...)
{
    char text[MAPPING_FAULT_TEXT];
    va_list ap;

    if (r->failed)
        return;
    r->failed = true;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    err_set(r->e, "%s", text);
    if (r->e)
        liquid_place(r->e, r->l->text, r->at);
}

void *liquid_alloc(struct l_run *r, size_t size)
{
    if (r->a->used + size <= r->a->soft)
        return arena_alloc(r->a, size);
    liquid_fail(r, "memory alloc limit exceeded");
    return NULL;
}

bool liquid_step(struct l_run *r)
{
    if (++r->steps > LIQUID_STEPS_MAX)
        liquid_fail(r, "template render limit exceeded");
    if (r->a->used > r->a->soft)
        liquid_fail(r, "memory alloc limit exceeded");
    return !r->failed;
}

/* ---- variables ---- */

static struct l_variable *variable(struct l_variable *list, mf_str name)
{
    while (list && !mf_eq(list->name, name))
        list = list->next;
    return list;
}

static struct l_variable *make_variable(struct l_run *r,
                                        struct l_variable **list, mf_str name)
{
    struct l_variable *v = variable(*list, name);

    if (v)
        return v;
    v = arena_zalloc(r->a, sizeof *v);
    v->name = name;
    v->next = *list;
    return *list = v;
}

static struct lv global(struct l_run *r, mf_str name)
{
    struct l_variable *v = variable(r->assigned, name);

    if (!v)
        v = variable(r->counters, name);
    return v ? v->value : lv_json(r, json_get(r->root, name));
}

/* ---- expressions ---- */

static struct lv range_value(struct l_run *r, const struct lx *x)
{
    double from = lv_or_zero(r, lx_value(r, x->base));
    double to = lv_or_zero(r, lx_value(r, x->to));
    double n = to >= from ? floor(to - from) + 1 : 0;
    struct lv *list, v;

    v = lv_array(r, n > LIQUID_LIST_MAX ? LIQUID_LIST_MAX + 1 : (uint32_t)n,
                 &list);
    for (uint32_t i = 0; i < v.u.array.count; i++)
        list[i] = lv_number(from + i);
    return v;
}

struct lv lx_value(struct l_run *r, const struct lx *x)
{
    struct lv v;
    uint32_t i = 0;

    if (x->kind == LX_RANGE)
        return range_value(r, x);
    if (x->kind != LX_ACCESS)
        return x->value;
    if (x->base) {
        v = lx_value(r, x->base);
    } else {
        v = lx_value(r, x->path[0]);
        v = global(r, v.type == LV_UNDEFINED ? MF_STR("undefined")
                                             : lv_string(r, v));
        i = 1;
    }
    for (; i < x->count && !r->failed; i++)
        v = lv_member(r, v, lx_value(r, x->path[i]));
    return v;
}

static int order_of(mf_str x, mf_str y)
{
    const char *p = x.ptr, *q = y.ptr;

    while (p < x.ptr + x.len && q < y.ptr + y.len) {
        uint32_t a = utf8_next(&p, x.ptr + x.len);
        uint32_t b = utf8_next(&q, y.ptr + y.len);

        if (a != b)
            return a < b ? -1 : 1;
    }
    return (p < x.ptr + x.len) - (q < y.ptr + y.len);
}

/* < and the like: false for whatever is not comparable. */
static bool compare(struct l_run *r, enum l_operator op, struct lv x,
                    struct lv y)
{
    double a, b;

    if (x.type >= LV_NIL || y.type >= LV_NIL)
        return false;
    if (x.type == LV_STRING && y.type == LV_STRING) {
        a = order_of(x.u.text, y.u.text);
        b = 0;
    } else { /* NaN compares false */
        a = lv_to_number(r, x);
        b = lv_to_number(r, y);
    }
    return op == OP_GT   ? a > b
           : op == OP_LT ? a < b
           : op == OP_GE ? a >= b
                         : a <= b;
}

static bool contains(struct l_run *r, struct lv x, struct lv y)
{
    const struct lv *list;
    mf_str part;
    uint32_t n;

    if (x.type == LV_STRING) {
        part = y.type == LV_UNDEFINED ? MF_STR("undefined")
               : lv_nil(y)            ? MF_STR("null")
                                      : lv_string(r, y);
        return part.len == 0 || (x.u.text.len && memmem(x.u.text.ptr,
                                                        x.u.text.len, part.ptr,
                                                        part.len));
    }
    if (x.type != LV_ARRAY)
        return false;
    list = lv_list(r, &x, &n);
    for (uint32_t i = 0; i < n; i++)
        if (lv_equal(r, list[i], y))
            return true;
    return false;
}

static struct lv operate(struct l_run *r, enum l_operator op, struct lv x,
                         struct lv y)
{
    switch (op) {
    case OP_EQ:
        return lv_bool(lv_equal(r, x, y));
    case OP_NE:
        return lv_bool(!lv_equal(r, x, y));
    case OP_CONTAINS:
        return lv_bool(contains(r, x, y));
    case OP_NOT:
        return lv_bool(!lv_truthy(y));
    case OP_AND:
        return lv_bool(lv_truthy(x) && lv_truthy(y));
    case OP_OR:
        return lv_bool(lv_truthy(x) || lv_truthy(y));
    default:
        return lv_bool(compare(r, op, x, y));
    }
}

static struct lv expression(struct l_run *r, const struct l_value *v)
{
    struct lv *stack = liquid_alloc(r, (v->count + 2) * sizeof *stack);
    uint32_t n = 0;

    if (!stack)
        return LV(LV_UNDEFINED);
    stack[0] = LV(LV_UNDEFINED);
    for (uint32_t i = 0; i < v->count && liquid_step(r); i++) {
        enum l_operator op = v->steps[i].op;
        struct lv x = LV(LV_UNDEFINED), y = x;

        if (op == OP_NONE) {
            stack[n++] = lx_value(r, v->steps[i].operand);
            continue;
        }
        if (n)
            y = stack[--n];
        if (n && op != OP_NOT)
            x = stack[--n];
        stack[n++] = operate(r, op, x, y);
    }
    return stack[0];
}

struct lv l_evaluate(struct l_run *r, const struct l_value *v)
{
    struct lv value = expression(r, v);

    for (const struct l_filter *f = v->filters; f && liquid_step(r);
         f = f->next) {
        struct l_call c = { .r = r, .count = f->count };

        for (uint32_t i = 0; i < f->count; i++) {
            c.keys[i] = f->args[i].key;
            c.args[i] = lx_value(r, f->args[i].value);
        }
        value = liquid_filter(&c, f->name, value);
    }
    return value;
}

/* ---- nodes ---- */

static void count(struct l_run *r, struct out *o, const struct l_node *n)
{
    struct l_variable *v = variable(r->counters, n->text);
    double value;
    mf_str s;

    if (!v) {
        v = make_variable(r, &r->counters, n->text);
        v->value = lv_json(r, json_get(r->root, n->text));
    }
    value = v->value.type == LV_NUMBER ? v->value.u.number.value : 0;
    v->value = lv_number(n->kind == LN_INCREMENT ? value + 1 : value - 1);
    s = lv_string(r, n->kind == LN_INCREMENT ? lv_number(value) : v->value);
    out_add(o, s.ptr, s.len);
}

static void cycle(struct l_run *r, struct out *o, const struct l_node *n)
{
    mf_str group = n->group ? lv_string(r, lx_value(r, n->group)) : n->text;
    struct l_variable *v = make_variable(r, &r->cycles, group);
    uint32_t at = v->value.type == LV_NUMBER
                      ? (uint32_t)v->value.u.number.value
                      : 0;
    mf_str s = lv_string(r, lx_value(r, n->list[at % n->count]));

    v->value = lv_number((at + 1) % n->count);
    out_add(o, s.ptr, s.len);
}

static const struct l_branch *taken(struct l_run *r, const struct l_node *n)
{
    const struct l_branch *b = n->branches;

    for (; b && !r->failed; b = b->next)
        if (b->always || lv_truthy(l_evaluate(r, &b->when)) != b->negated)
            return r->failed ? NULL : b;
    return NULL;
}

void liquid_nodes(struct l_run *r, const struct l_node *n, struct out *o)
{
    const struct l_branch *b;
    struct l_variable *v;
    struct out inner;
    struct lv value;
    mf_str s;

    for (; n && !r->stopped && liquid_step(r); n = n->next) {
        r->at = n->at;
        switch (n->kind) {
        case LN_TEXT:
            out_add(o, n->text.ptr, n->text.len);
            break;
        case LN_OUTPUT:
            s = lv_string(r, l_evaluate(r, &n->value));
            out_add(o, s.ptr, s.len);
            break;
        case LN_IF:
            b = taken(r, n);
            if (b)
                liquid_nodes(r, b->nodes, o);
            break;
        case LN_ASSIGN:
            value = l_evaluate(r, &n->value);
            make_variable(r, &r->assigned, n->text)->value = value;
            break;
        case LN_CAPTURE:
            out_init(&inner, r->a, OUT_FIRST);
            liquid_nodes(r, n->inner, &inner);
            v = make_variable(r, &r->assigned, n->text);
            v->value = lv_text(out_str(&inner));
            break;
        case LN_INCREMENT:
        case LN_DECREMENT:
            count(r, o, n);
            break;
        case LN_CYCLE:
            cycle(r, o, n);
            break;
        case LN_STOP:
            r->stopped = true;
            break;
        }
        if (o->b.len > LIQUID_OUTPUT_MAX || o->b.full)
            liquid_fail(r, "memory alloc limit exceeded");
    }
}

int liquid_run(const struct liquid *l, mf_val root, struct arena *a,
               mf_str *out, struct err *e)
{
    struct l_run r = { .l = l, .root = root, .a = a, .e = e };
    struct out o;

    out_init(&o, a, OUT_FIRST);
    liquid_nodes(&r, l->nodes, &o);
    *out = out_str(&o);
    return r.failed ? -1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_list.c - filters of @liquid that take or give lists. */
#include "base/unicase.h"
#include "mapping/liquid.h"

#include <math.h>

/* As Array.join() has it: nested lists by commas, nothing for nil. */
static void join_to(struct l_run *r, struct out *o, const struct lv *list,
                    uint32_t n, mf_str separator)
{
    for (uint32_t i = 0; i < n && !o->b.full; i++) {
        uint32_t inner;
        mf_str s;

        if (i)
            out_add(o, separator.ptr, separator.len);
        if (list[i].type == LV_ARRAY) {
            const struct lv *x = lv_list(r, &list[i], &inner);

            join_to(r, o, x, inner, MF_STR(","));
            continue;
        }
        s = lv_string(r, list[i]);
        out_add(o, s.ptr, s.len);
    }
    if (o->b.full || o->b.len > LIQUID_OUTPUT_MAX)
        liquid_fail(r, "memory alloc limit exceeded");
}

static struct lv f_join(struct l_call *c, struct lv v)
{
    struct lv by = l_arg(c, 0);
    struct out o;
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);

    out_init(&o, c->r->a, 64);
    join_to(c->r, &o, list, n,
            lv_nil(by) ? MF_STR(" ") : lv_string(c->r, by));
    return lv_text(out_str(&o));
}

static struct lv f_first(struct l_call *c, struct lv v)
{
    if (v.type != LV_ARRAY)
        return lv_text(MF_STR(""));
    return lv_member(c->r, v, lv_text(MF_STR("first")));
}

static struct lv f_last(struct l_call *c, struct lv v)
{
    if (v.type != LV_ARRAY)
        return lv_text(MF_STR(""));
    return lv_member(c->r, v, lv_text(MF_STR("last")));
}

static struct lv f_size(struct l_call *c, struct lv v)
{
    (void)c;
    return lv_number(v.type == LV_ARRAY    ? v.u.array.count
                     : v.type == LV_STRING ? (double)utf16_length(v.u.text)
                                           : 0);
}

/* Those of v's elements that keep[] names. */
static struct lv kept(struct l_call *c, const struct lv *list, uint32_t n,
                      const bool *keep)
{
    uint32_t count = 0, to = 0;
    struct lv *out, v;

    for (uint32_t i = 0; i < n; i++)
        count += keep[i];
    v = lv_array(c->r, count, &out);
    for (uint32_t i = 0; out && i < n; i++)
        if (keep[i])
            out[to++] = list[i];
    return v;
}

static struct lv f_compact(struct l_call *c, struct lv v)
{
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);
    bool *keep = liquid_alloc(c->r, n + 1);

    for (uint32_t i = 0; keep && i < n; i++)
        keep[i] = !lv_nil(list[i]);
    return keep ? kept(c, list, n, keep) : v;
}

static struct lv at_path(struct l_call *c, struct lv v, mf_str path)
{
    while (path.len && !c->r->failed) {
        const char *dot = memchr(path.ptr, '.', path.len);
        size_t n = dot ? (size_t)(dot - path.ptr) : path.len;

        v = lv_member(c->r, v, lv_text((mf_str){ path.ptr, n }));
        n += dot != NULL;
        path = (mf_str){ path.ptr + n, path.len - n };
    }
    return v;
}

static struct lv f_where(struct l_call *c, struct lv v)
{
    mf_str path = lv_string(c->r, l_arg(c, 0));
    struct lv want = l_arg(c, 1);
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);
    bool *keep = liquid_alloc(c->r, n + 1);

    for (uint32_t i = 0; keep && i < n; i++) {
        struct lv x = at_path(c, list[i], path);

        keep[i] = want.type == LV_UNDEFINED ? lv_truthy(x)
                                            : lv_equal(c->r, x, want);
    }
    return keep ? kept(c, list, n, keep) : v;
}

static struct lv f_sum(struct l_call *c, struct lv v)
{
    mf_str path = lv_string(c->r, l_arg(c, 0));
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += lv_or_zero(c->r, at_path(c, list[i], path));
    return lv_number(sum);
}

/* A copy of elements [from, to) with room for one more at either end. */
static struct lv copied(struct l_call *c, const struct lv *list, uint32_t from,
                        uint32_t to, bool before, bool after)
{
    struct lv *out, v;

    v = lv_array(c->r, to - from + before + after, &out);
    if (out) {
        memcpy(out + before, list + from, (to - from) * sizeof *out);
        if (before)
            out[0] = l_arg(c, 0);
        if (after)
            out[before + to - from] = l_arg(c, 0);
    }
    return v;
}

static struct lv f_push(struct l_call *c, struct lv v)
{
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);

    return copied(c, list, 0, n, false, true);
}

static struct lv f_unshift(struct l_call *c, struct lv v)
{
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);

    return copied(c, list, 0, n, true, false);
}

static struct lv f_pop(struct l_call *c, struct lv v)
{
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);

    return copied(c, list, 0, n ? n - 1 : 0, false, false);
}

static struct lv f_shift(struct l_call *c, struct lv v)
{
    uint32_t n;
    const struct lv *list = lv_list(c->r, &v, &n);

    return copied(c, list, n ? 1 : 0, n, false, false);
}

static double clamp(double x, double most)
{
    return !(x > 0) ? 0 : x > most ? most : trunc(x);
}

/* Where begin and length of slice() lie in something of size. */
static void span(struct l_call *c, double size, double *from, double *to)
{
    double begin = lv_or_zero(c->r, l_arg(c, 0));
    double length = c->count > 1 ? lv_or_zero(c->r, c->args[1]) : 1;

    if (begin < 0)
        begin += size;
    *to = begin + length < 0 ? begin + length + size : begin + length;
    *from = begin < 0 ? begin + size : begin;
    *from = clamp(*from, size);
    *to = clamp(*to, size);
    if (*to < *from)
        *to = *from;
}

static size_t offset_of(mf_str s, double units)
{
    const char *p = s.ptr, *end = s.ptr + s.len;

    while (p < end && units >= 1)
        units -= utf8_next(&p, end) > 0xFFFF ? 2 : 1;
    return (size_t)(p - s.ptr);
}

static struct lv f_slice(struct l_call *c, struct lv v)
{
    const struct lv *list;
    double from, to;
    size_t at;
    uint32_t n;
    mf_str s;

    if (v.type == LV_ARRAY || lv_nil(v)) {
        list = lv_list(c->r, &v, &n);
        span(c, n, &from, &to);
        return copied(c, list, (uint32_t)from, (uint32_t)to, false, false);
    }
    s = lv_string(c->r, v);
    span(c, (double)utf16_length(s), &from, &to);
    at = offset_of(s, from);
    return lv_text((mf_str){ s.ptr + at, offset_of(s, to) - at });
}

/* Pieces of s between by; with an empty by, its characters. */
static uint32_t pieces(mf_str s, mf_str by, struct lv *to)
{
    uint32_t n = 0;

    for (;;) {
        const char *at = NULL;
        size_t len;

        if (by.len == 0 && s.len)
            at = s.ptr + offset_of(s, 1);
        else if (s.len >= by.len && by.len)
            at = memmem(s.ptr, s.len, by.ptr, by.len);
        if (by.len == 0 && s.len == 0)
            return n;
        len = at ? (size_t)(at - s.ptr) : s.len;
        if (to)
            to[n] = lv_text((mf_str){ s.ptr, len });
        if (++n > LIQUID_LIST_MAX || !at)
            return n;
        len += by.len;
        s = (mf_str){ s.ptr + len, s.len - len };
    }
}

static struct lv f_split(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v), by = lv_string(c->r, l_arg(c, 0));
    struct lv *list, out = lv_array(c->r, pieces(s, by, NULL), &list);

    if (list)
        pieces(s, by, list);
    while (out.u.array.count && list[out.u.array.count - 1].u.text.len == 0)
        out.u.array.count--; /* as Ruby does */
    return out;
}

const struct l_filter_entry liquid_list_filters[] = {
    { "join", f_join },
    { "first", f_first },
    { "last", f_last },
    { "size", f_size },
    { "compact", f_compact },
    { "where", f_where },
    { "sum", f_sum },
    { "push", f_push },
    { "unshift", f_unshift },
    { "pop", f_pop },
    { "shift", f_shift },
    { "slice", f_slice },
    { "split", f_split },
    { "array_to_sentence_string", NULL },
    { "concat", NULL },
    { "find", NULL },
    { "find_exp", NULL },
    { "find_index", NULL },
    { "find_index_exp", NULL },
    { "group_by", NULL },
    { "group_by_exp", NULL },
    { "has", NULL },
    { "has_exp", NULL },
    { "map", NULL },
    { "reject", NULL },
    { "reject_exp", NULL },
    { "reverse", NULL },
    { "sample", NULL }, /* ours: the same event must give the same payload */
    { "sort", NULL },
    { "sort_natural", NULL },
    { "uniq", NULL },
    { "where_exp", NULL },
    { NULL, NULL },
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * members.c - objects as JavaScript has them, and text grown in an arena.
 *
 * Of equal keys the first keeps the place and the last gives the value; keys
 * that are array indices come first, in rising order. */
#include "base/unicase.h"
#include "mapping/kit.h"

#include <stdlib.h>

#define OUT_LEAST 16
#define MEMBERS_FIRST 8
#define MEMBERS_TABLE 16 /* from here on a hash table finds keys */

/* ---- out ---- */

void out_init(struct out *o, struct arena *a, size_t first)
{
    if (a->used + first > a->soft) { /* full at once, see out_grow() */
        a->overflowed = true;
        first = 0;
    }
    if (first < OUT_LEAST)
        first = OUT_LEAST;
    o->a = a;
    o->b = (struct buf){ arena_alloc(a, first), 0, first, first, false };
}

bool out_grow(struct out *o, size_t n)
{
    size_t cap = o->b.cap * 2;
    char *data;

    while (cap < o->b.len + n)
        cap *= 2;
    if (o->a->used + cap > o->a->soft) {
        o->a->overflowed = true;
        o->b.full = true;
        return false;
    }
    data = arena_alloc(o->a, cap);
    memcpy(data, o->b.data, o->b.len);
    o->b.data = data;
    o->b.cap = o->b.max = cap;
    return true;
}

static bool plain_text(mf_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80)
            return false;
    }
    return true;
}

void out_escaped(struct out *o, mf_str s)
{
    if (plain_text(s))
        out_add(o, s.ptr, s.len);
    else if (out_need(o, s.len * 6 + 8)) /* \u00xx and printf's NUL */
        json_escape(&o->b, s);
}

mf_val out_val(const struct out *o)
{
    return json_root(out_str(o));
}

mf_val text_val(struct arena *a, mf_str s)
{
    struct out o;

    out_init(&o, a, s.len + 2);
    out_char(&o, '"');
    out_escaped(&o, s);
    out_char(&o, '"');
    if (o.b.full)
        return ABSENT;
    return (mf_val){ o.b.data, (uint32_t)o.b.len, MF_STRING };
}

/* ---- members ---- */

uint32_t array_index(mf_str key)
{
    uint64_t v = 0;

    if (key.len == 0 || key.len > 10 || (key.ptr[0] == '0' && key.len > 1))
        return INDEX_NONE;
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] < '0' || key.ptr[i] > '9')
            return INDEX_NONE;
        v = v * 10 + (uint64_t)(key.ptr[i] - '0');
    }
    return v < INDEX_NONE ? (uint32_t)v : INDEX_NONE;
}

static mf_str shortest(mf_str raw_key, struct arena *a)
{
    struct out o;

    if (raw_key.len == 0 || !memchr(raw_key.ptr, '\\', raw_key.len))
        return raw_key;
    out_init(&o, a, raw_key.len + 8);
    out_escaped(&o, json_unescape(raw_key, a));
    return out_str(&o);
}

static uint32_t hash(mf_str key)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.ptr[i]) * 16777619u;
    return h;
}

static void put_in_table(struct members *m, uint32_t place)
{
    uint32_t at = hash(m->list[place].key) & m->mask;

    while (m->table[at])
        at = (at + 1) & m->mask;
    m->table[at] = place + 1;
}

static struct member *find(struct members *m, mf_str key)
{
    uint32_t at;

    if (!m->table) {
        for (uint32_t i = 0; i < m->count; i++)
            if (mf_eq(m->list[i].key, key))
                return &m->list[i];
        return NULL;
    }
    at = hash(key) & m->mask;
    for (; m->table[at]; at = (at + 1) & m->mask)
        if (mf_eq(m->list[m->table[at] - 1].key, key))
            return &m->list[m->table[at] - 1];
    return NULL;
}

/* False, and the arena overflowed, where the event's share is used up. */
static bool grow(struct members *m)
{
    uint32_t cap = m->cap ? m->cap * 2 : MEMBERS_FIRST;
    size_t size = cap * (sizeof(struct member) + 2 * sizeof *m->table);
    struct member *list;

    if (m->a->used + size > m->a->soft) {
        m->a->overflowed = true;
        return false;
    }
    list = arena_alloc(m->a, cap * sizeof *list);
    if (m->count)
        memcpy(list, m->list, m->count * sizeof *list);
    m->list = list;
    m->cap = cap;
    if (cap < MEMBERS_TABLE * 2)
        return true;
    m->mask = cap * 2 - 1;
    m->table = arena_zalloc(m->a, (size_t)cap * 2 * sizeof *m->table);
    for (uint32_t i = 0; i < m->count; i++)
        put_in_table(m, i);
    return true;
}

static int by_index(const void *x, const void *y)
{
    const struct member *a = x, *b = y;

    return a->index < b->index ? -1 : a->index > b->index;
}

void members_init(struct members *m, struct arena *a)
{
    memset(m, 0, sizeof *m);
    m->a = a;
}

void members_set(struct members *m, mf_str raw_key, mf_val value)
{
    mf_str key = shortest(raw_key, m->a);
    struct member *old = find(m, key);

    if (old) {
        old->value = value;
        return;
    }
    if (m->count == m->cap && !grow(m))
        return;
    m->list[m->count] = (struct member){ key, value, array_index(key) };
    if (m->list[m->count].index != INDEX_NONE)
        m->indices = true;
    if (m->table)
        put_in_table(m, m->count);
    m->count++;
}

void members_of(struct members *m, struct arena *a, mf_val object)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    members_init(m, a);
    while (json_next(object, &it, &key, &v))
        members_set(m, key, v);
    members_order(m);
}

/* One UTF-16 unit that is half a character: there is no other way to write
 * it. */
static void set_half(struct members *m, uint32_t index, uint32_t unit)
{
    mf_str s = arena_printf(m->a, "\"\\u%04x\"", unit);

    members_set(m, arena_printf(m->a, "%u", index),
                (mf_val){ s.ptr, (uint32_t)s.len, MF_STRING });
}

static void spread_text(struct members *m, mf_str s)
{
    const char *p = s.ptr, *from = p, *end = s.ptr + s.len;
    uint32_t index = 0;

    for (; p < end && !m->a->overflowed; from = p) {
        uint32_t c = utf8_next(&p, end);

        if (c > 0xFFFF) {
            set_half(m, index++, 0xD800 + ((c - 0x10000) >> 10));
            set_half(m, index++, 0xDC00 + ((c - 0x10000) & 0x3FF));
            continue;
        }
        members_set(m, arena_printf(m->a, "%u", index++),
                    text_val(m->a, (mf_str){ from, (size_t)(p - from) }));
    }
}

void members_spread(struct members *m, mf_val v)
{
    mf_iter it = { { 0 } };
    uint32_t index = 0;
    mf_str key;
    mf_val x;

    if (v.type == MF_STRING)
        spread_text(m, json_text(v, m->a));
    while (json_next(v, &it, &key, &x) && !m->a->overflowed) {
        if (v.type == MF_ARRAY)
            key = arena_printf(m->a, "%u", index++);
        members_set(m, key, x);
    }
}

struct member *members_find(struct members *m, mf_str raw_key)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (mf_eq(m->list[i].key, raw_key))
            return &m->list[i];
    return NULL;
}

void members_order(struct members *m)
{
    struct member *list;
    uint32_t n = 0;

    m->table = NULL;
    if (!m->indices)
        return;
    list = arena_alloc(m->a, m->cap * sizeof *list);
    for (uint32_t i = 0; i < m->count; i++)
        if (m->list[i].index != INDEX_NONE)
            list[n++] = m->list[i];
    qsort(list, n, sizeof *list, by_index);
    for (uint32_t i = 0; i < m->count; i++)
        if (m->list[i].index == INDEX_NONE)
            list[n++] = m->list[i];
    m->list = list;
}

mf_val members_object(struct members *m)
{
    struct out o;
    bool first = true;

    members_order(m);
    out_init(&o, m->a, 256);
    out_char(&o, '{');
    for (uint32_t i = 0; i < m->count; i++) {
        const struct member *x = &m->list[i];

        if (x->value.type == MF_ABSENT)
            continue;
        if (!first)
            out_char(&o, ',');
        first = false;
        out_char(&o, '"');
        out_add(&o, x->key.ptr, x->key.len);
        out_add(&o, "\":", 2);
        out_add(&o, x->value.raw, x->value.len);
    }
    out_char(&o, '}');
    if (o.b.full)
        return ABSENT;
    return (mf_val){ o.b.data, (uint32_t)o.b.len, MF_OBJECT };
}

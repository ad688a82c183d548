/* SPDX-License-Identifier: Apache-2.0
 *
 * path.c - get() of the original, one path at a time and many at once.
 *
 * A path is cut at dots, at [ before a quote or digit and at ] after one;
 * empty segments vanish and quotes are dropped, so a['b'][0] is a, b, 0 but
 * a[b] is one key. The walk stops at the first falsy value and gives that.
 *
 * The paths of a mapping form a trie. trie_read() goes through the text once,
 * goes down only where a path leads, and leaves at each node the value that
 * stands there. Of equal keys the later one overwrites what the earlier one
 * left, with everything below it. */
#include "base/unicase.h"
#include "mapping/kit.h"

#define TRIE_FIRST 16

struct reading {
    const struct trie *t;
    mf_val *slots;
    struct arena *a;
    const char *end;
};

/* ---- one path ---- */

static bool quote_or_digit(char c)
{
    return c == '"' || c == '\'' || (c >= '0' && c <= '9');
}

static mf_str without_quotes(mf_str s, struct arena *a)
{
    size_t n = 0;
    char *to;

    if (!memchr(s.ptr, '\'', s.len) && !memchr(s.ptr, '"', s.len))
        return s;
    to = arena_alloc(a, s.len);
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '\'' && s.ptr[i] != '"')
            to[n++] = s.ptr[i];
    return (mf_str){ to, n };
}

/* How many bytes at p separate two segments; 0 if it is part of one. */
static size_t separator(mf_str s, size_t at)
{
    size_t n = 0;

    if (s.ptr[at] == '.')
        return 1;
    if (s.ptr[at] == '[')
        return at + 1 < s.len && quote_or_digit(s.ptr[at + 1]);
    if (s.ptr[at] != ']' || at == 0 || !quote_or_digit(s.ptr[at - 1]))
        return 0;
    while (at + n < s.len && s.ptr[at + n] == ']')
        n++;
    return n;
}

static mf_val character(mf_str s, uint32_t index, struct arena *a)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    uint32_t at = 0;

    while (p < end) {
        const char *from = p;

        at += utf8_next(&p, end) > 0xFFFF ? 2 : 1;
        if (at > index)
            return text_val(a, (mf_str){ from, (size_t)(p - from) });
    }
    return ABSENT;
}

bool path_segment(mf_str *path, mf_str *segment, struct arena *a)
{
    size_t at = 0, from = 0, skip;

    while (at < path->len) {
        skip = separator(*path, at);
        if (!skip) {
            at++;
            continue;
        }
        if (at > from)
            break;
        from = at += skip;
    }
    if (at == from)
        return false;
    *segment = without_quotes((mf_str){ path->ptr + from, at - from }, a);
    /* A closing bracket looks back at what it follows, so the separator
     * itself must go with this segment. */
    skip = at < path->len ? separator(*path, at) : 0;
    path->ptr += at + skip;
    path->len -= at + skip;
    return true;
}

mf_str path_plain(mf_str path, struct arena *a)
{
    const char *at = path.len ? memmem(path.ptr, path.len, "$.", 2) : NULL;
    size_t before;
    char *to;

    if (!at)
        return path;
    before = (size_t)(at - path.ptr);
    if (before == 0)
        return (mf_str){ path.ptr + 2, path.len - 2 };
    to = arena_alloc(a, path.len);
    memcpy(to, path.ptr, before);
    memcpy(to + before, at + 2, path.len - before - 2);
    return (mf_str){ to, path.len - 2 };
}

mf_val path_step(mf_val v, mf_str key, struct arena *a)
{
    bool length = mf_eq(key, MF_STR("length"));
    uint32_t index;

    if (js_falsy(v))
        return v;
    if (v.type == MF_OBJECT)
        return json_get(v, key);
    index = array_index(key);
    if (v.type == MF_ARRAY && length)
        return json_from_int(a, (int64_t)json_count(v));
    if (v.type == MF_ARRAY && index != INDEX_NONE)
        return json_at(v, index);
    if (v.type == MF_STRING && length)
        return json_from_int(a, (int64_t)utf16_length(json_text(v, a)));
    if (v.type == MF_STRING && index != INDEX_NONE)
        return character(json_text(v, a), index, a);
    return ABSENT;
}

mf_val path_get(mf_val root, mf_str path, struct arena *a)
{
    mf_str key;

    while (path_segment(&path, &key, a))
        root = path_step(root, key, a);
    return root;
}

mf_val path_get_dollar(mf_val root, mf_str path, struct arena *a)
{
    return path_get(root, path_plain(path, a), a);
}

/* ---- building a trie ---- */

static uint32_t new_node(struct trie *t, struct arena *a)
{
    if (t->count == t->cap) {
        uint32_t cap = t->cap ? t->cap * 2 : TRIE_FIRST;
        struct trie_node *nodes = arena_alloc(a, cap * sizeof *nodes);

        if (t->count)
            memcpy(nodes, t->nodes, t->count * sizeof *nodes);
        t->nodes = nodes;
        t->cap = cap;
    }
    memset(&t->nodes[t->count], 0, sizeof *t->nodes);
    return t->count++;
}

static uint32_t child_of(struct trie *t, uint32_t parent, mf_str key,
                         struct arena *a)
{
    uint32_t *at = &t->nodes[parent].first, n;

    for (; *at; at = &t->nodes[*at].next)
        if (mf_eq(t->nodes[*at].key, key))
            return *at;
    n = new_node(t, a); /* moves the nodes */
    t->nodes[n].key = arena_copy(a, key);
    t->nodes[n].index = array_index(key);
    t->nodes[n].next = t->nodes[parent].first;
    t->nodes[parent].first = n;
    t->nodes[parent].children++;
    if (t->nodes[n].index != INDEX_NONE &&
        t->nodes[n].index >= t->nodes[parent].reach)
        t->nodes[parent].reach = t->nodes[n].index + 1;
    if (mf_eq(key, MF_STR("length")))
        t->nodes[parent].length = true;
    return n;
}

static uint32_t key_hash(mf_str key)
{
    if (key.len == 0)
        return 0;
    return (uint32_t)key.len * 7 + (unsigned char)key.ptr[0] * 31u +
           (unsigned char)key.ptr[key.len - 1] * 13u +
           (unsigned char)key.ptr[key.len / 2];
}

void trie_init(struct trie *t, struct arena *a)
{
    memset(t, 0, sizeof *t);
    new_node(t, a);
}

uint32_t trie_add(struct trie *t, mf_str path, struct arena *a)
{
    uint32_t n = 0;
    mf_str key;

    while (path_segment(&path, &key, a))
        n = child_of(t, n, key, a);
    if (n == 0)
        t->whole = true;
    return n;
}

void trie_seal(struct trie *t, struct arena *a)
{
    size_t total = 0;

    for (uint32_t i = 0; i < t->count; i++) {
        struct trie_node *n = &t->nodes[i];
        uint32_t size = 1;

        while (size < n->children * 2)
            size *= 2;
        n->buckets = (uint32_t)total;
        n->mask = size - 1;
        total += size;
    }
    t->buckets = arena_zalloc(a, total * sizeof *t->buckets);
    t->chain = arena_zalloc(a, t->count * sizeof *t->chain);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct trie_node *n = &t->nodes[i];

        for (uint32_t c = n->first; c; c = t->nodes[c].next) {
            uint32_t *b = t->buckets + n->buckets +
                          (key_hash(t->nodes[c].key) & n->mask);

            t->chain[c] = *b;
            *b = c;
        }
    }
}

/* ---- reading with a trie ---- */

static uint32_t child_named(const struct trie *t, const struct trie_node *n,
                            mf_str key)
{
    uint32_t c = t->buckets[n->buckets + (key_hash(key) & n->mask)];

    while (c && !mf_eq(t->nodes[c].key, key))
        c = t->chain[c];
    return c;
}

static void forget(struct reading *r, uint32_t n)
{
    r->slots[n] = ABSENT;
    for (uint32_t c = r->t->nodes[n].first; c; c = r->t->nodes[c].next)
        forget(r, c);
}

/* Gives the children of a value that is neither object nor array. */
static void spread(struct reading *r, uint32_t n)
{
    for (uint32_t c = r->t->nodes[n].first; c; c = r->t->nodes[c].next) {
        r->slots[c] = path_step(r->slots[n], r->t->nodes[c].key, r->a);
        spread(r, c);
    }
}

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
        p++;
    return p;
}

/* p is at a value; leaves it in the slot of n, and what paths want of it in
 * the slots below. Returns the place after it. */
static const char *read_value(struct reading *r, uint32_t n, const char *p)
{
    const struct trie_node *node = &r->t->nodes[n];
    const char *from = p;
    uint32_t at = 0;

    if (r->slots[n].type != MF_ABSENT)
        forget(r, n);
    if (!node->first || (*p != '{' && *p != '[')) {
        r->slots[n] = json_value_at(p, r->end);
        if (node->first)
            spread(r, n);
        return p + r->slots[n].len;
    }
    for (p = skip_space(p + 1); *p != '}' && *p != ']'; at++) {
        uint32_t c = 0;

        if (*from == '{') {
            const char *q = json_string_end(p, r->end);
            mf_str key = { p + 1, (size_t)(q - p) - 2 };

            if (memchr(key.ptr, '\\', key.len))
                key = json_unescape(key, r->a);
            c = child_named(r->t, node, key);
            p = skip_space(skip_space(q) + 1);
        } else if (at < node->reach) {
            for (c = node->first; c && r->t->nodes[c].index != at;)
                c = r->t->nodes[c].next;
        }
        p = c ? read_value(r, c, p) : p + json_value_at(p, r->end).len;
        p = skip_space(p);
        if (*p == ',')
            p = skip_space(p + 1);
    }
    r->slots[n] = (mf_val){ from, (uint32_t)(p + 1 - from),
                            *from == '{' ? MF_OBJECT : MF_ARRAY };
    if (*from == '[' && node->length) {
        uint32_t c = child_named(r->t, node, MF_STR("length"));

        r->slots[c] = json_from_int(r->a, at);
        spread(r, c);
    }
    return p + 1;
}

void trie_read(const struct trie *t, mf_val root, mf_val *slots,
               struct arena *a)
{
    struct reading r = { t, slots, a, NULL };

    if (root.type == MF_ABSENT)
        return;
    r.end = root.raw + root.len;
    read_value(&r, 0, root.raw);
}

void trie_read_part(const struct trie *t, mf_str name, mf_val value,
                    mf_val *slots, struct arena *a)
{
    struct reading r = { t, slots, a, NULL };
    uint32_t c = child_named(t, &t->nodes[0], name);

    if (!c || value.type == MF_ABSENT)
        return;
    r.end = value.raw + value.len;
    read_value(&r, c, value.raw);
}

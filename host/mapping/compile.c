/* SPDX-License-Identifier: Apache-2.0
 *
 * compile.c - a mapping from JSON to nodes, once, in an arena of its own.
 *
 * What holds no directive becomes text that is copied; what a directive would
 * throw whatever the event becomes a node that says so, since the branch may
 * never be reached. Paths go into the trie of the payload they read. */
#include "mapping/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>


struct collected {
    struct buf text;
    unsigned count;
};

static void collect(void *context, const char *at, const char *text)
{
    struct collected *x = context;

    (void)at;
    if (x->count++)
        buf_puts(&x->text, "; ");
    buf_puts(&x->text, text);
}

const char *faults_text(mf_val *mapping, struct arena *a)
{
    struct collected x = { .count = 0 };
    struct fault_list f = { collect, &x, 0 };
    const char *text = NULL;
    struct moved moved;

    buf_init(&x.text, ERR_TEXT - 1);
    if (root_directive(*mapping, mapping, &moved, a, &f))
        check_mapping(*mapping, a, &f);
    if (f.count)
        text = arena_copy(a, buf_view(&x.text)).ptr;
    buf_deinit(&x.text);
    return text;
}

struct node *node_new(struct compiling *c, enum node_kind kind)
{
    struct node *n = arena_zalloc(c->a, sizeof *n);

    n->kind = kind;
    if (++c->nodes > MAPPING_NODES_MAX)
        c->too_many = true;
    return n;
}

struct node *node_throw(struct compiling *c, const char *format, ...)
{
    struct node *n = node_new(c, N_THROW);
    char text[ERR_TEXT];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    n->u.message = arena_copy(c->a, mf_cstr(text));
    return n;
}

struct node *node_path(struct compiling *c, mf_str path)
{
    struct node *n = node_new(c, N_PATH);

    n->u.slot = trie_add(c->paths, path, c->a);
    return n;
}

mf_val option(mf_val object, const char *name)
{
    return json_get(object, mf_cstr(name));
}

static struct node *raw(struct compiling *c, mf_val v)
{
    struct node *n = node_new(c, N_RAW);

    n->u.raw = js_stringify(v, c->a);
    c->m->constants += n->u.raw.len;
    return n;
}

static mf_str head_of(struct compiling *c, mf_str key)
{
    c->m->constants += key.len + 4;
    return arena_printf(c->a, ",\"%.*s\":", (int)key.len, key.ptr);
}

static struct node *compile_members(struct compiling *c,
                                    const struct members *m)
{
    struct node *n = node_new(c, N_OBJECT);

    n->u.fields.count = m->count;
    n->u.fields.list = arena_alloc(c->a, m->count * sizeof(struct field));
    for (uint32_t i = 0; i < m->count && !c->too_many; i++) {
        struct field *f = &n->u.fields.list[i];

        f->head = head_of(c, m->list[i].key);
        f->value = compile_value(c, m->list[i].value);
    }
    return n;
}

/* An object or array whose values are all known becomes its text. */
static struct node *folded(struct compiling *c, struct node *n)
{
    bool object = n->kind == N_OBJECT;
    uint32_t count = object ? n->u.fields.count : n->u.items.count;
    struct out o;

    for (uint32_t i = 0; i < count; i++)
        if ((object ? n->u.fields.list[i].value : n->u.items.list[i])->kind !=
            N_RAW)
            return n;
    out_init(&o, c->a, 64);
    out_char(&o, object ? '{' : '[');
    for (uint32_t i = 0; i < count; i++) {
        const struct node *x =
            object ? n->u.fields.list[i].value : n->u.items.list[i];

        if (object)
            out_add(&o, n->u.fields.list[i].head.ptr + !i,
                    n->u.fields.list[i].head.len - !i);
        else if (i)
            out_char(&o, ',');
        out_add(&o, x->u.raw.raw, x->u.raw.len);
    }
    out_char(&o, object ? '}' : ']');
    n = node_new(c, N_RAW);
    n->u.raw = out_val(&o);
    return n;
}

static struct node *compile_array(struct compiling *c, mf_val v)
{
    struct node *n = node_new(c, N_ARRAY);
    mf_iter it = { { 0 } };
    size_t count = json_count(v);
    mf_str key;
    mf_val x;

    n->u.items.list = arena_alloc(c->a, count * sizeof(struct node *));
    while (json_next(v, &it, &key, &x) && !c->too_many)
        n->u.items.list[n->u.items.count++] = compile_value(c, x);
    return n;
}

struct node *compile_value(struct compiling *c, mf_val v)
{
    struct members m;
    struct node *n;

    if (v.type == MF_ABSENT)
        return node_new(c, N_NOTHING);
    if (v.type == MF_ARRAY) {
        n = compile_array(c, v);
    } else if (v.type == MF_OBJECT) {
        members_of(&m, c->a, v);
        for (uint32_t i = 0; i < m.count; i++)
            if (m.list[i].key.len && m.list[i].key.ptr[0] == '@')
                return compile_directive(c, m.list[i].key, m.list[i].value);
        n = compile_members(c, &m);
    } else {
        return raw(c, v);
    }
    return c->too_many ? n : folded(c, n);
}

/* The original spreads what it is given into an object: of a text its
 * characters, of an array its elements, of anything else nothing. */
static struct node *compile_spread(struct compiling *c, mf_val v)
{
    struct members m;

    members_init(&m, c->a);
    members_spread(&m, v);
    return compile_members(c, &m);
}

static mf_str top_text(struct mapping *m, mf_val json, const char *name)
{
    mf_val v = option(json, name);

    return v.type == MF_STRING ? arena_copy(&m->a, json_text(v, &m->a))
                               : MF_STR("");
}

static int compile(struct mapping *m, mf_val json, struct err *e)
{
    struct compiling c = { m, &m->a, &m->paths, 0, false };
    mf_val v = json;
    const char *faults = faults_text(&v, &m->a);

    if (faults)
        return err_set(e, "%s", faults);
    trie_init(&m->paths, &m->a);
    m->root = v.type == MF_OBJECT ? compile_value(&c, v)
                                  : compile_spread(&c, v);
    trie_seal(&m->paths, &m->a);
    if (c.too_many)
        return err_set(e, "a mapping has at most %d nodes", MAPPING_NODES_MAX);
    m->sync_mode = top_text(m, json, "__segment_internal_sync_mode");
    m->matching_key = top_text(m, json, "__segment_internal_matching_key");
    return 0;
}

struct mapping *mapping_compile(mf_val json, struct err *e)
{
    struct mapping *m = xcalloc(1, sizeof *m);

    arena_init(&m->a, SIZE_MAX / 8);
    if (compile(m, json, e) == 0)
        return m;
    mapping_free(m);
    return NULL;
}

void mapping_free(struct mapping *m)
{
    if (!m)
        return;
    arena_deinit(&m->a);
    free(m);
}

mf_str mapping_sync_mode(const struct mapping *m)
{
    return m->sync_mode;
}

mf_str mapping_matching_key(const struct mapping *m)
{
    return m->matching_key;
}

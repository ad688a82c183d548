/* SPDX-License-Identifier: Apache-2.0
 *
 * payload.c - from an event to the payload an action receives, and the paths
 * that an action reads in it.
 *
 * An action names its paths once; all of them are then filled in one pass
 * over the payload, however many there are. */
#include "plugin/inner.h"

#include "mapping/kit.h"

struct path_tree {
    struct trie trie;
    uint32_t *nodes; /* by path */
    size_t count;
};

struct path_tree *path_tree_new(const char *const *paths, size_t count,
                                struct arena *a)
{
    struct path_tree *t = arena_zalloc(a, sizeof *t);

    t->count = count;
    t->nodes = arena_alloc(a, (count + 1) * sizeof *t->nodes);
    trie_init(&t->trie, a);
    for (size_t k = 0; k < count; k++)
        t->nodes[k] = trie_add(&t->trie, path_plain(mf_cstr(paths[k]), a), a);
    trie_seal(&t->trie, a);
    return t;
}

const mf_val *path_tree_read(const struct path_tree *t, mf_val payload,
                             struct arena *a)
{
    mf_val *slots = arena_zalloc(a, t->trie.count * sizeof *slots);

    trie_read(&t->trie, payload, slots, a);
    return slots;
}

mf_val path_tree_get(const struct path_tree *t, const mf_val *slots, size_t k)
{
    return k < t->count ? slots[t->nodes[k]] : ABSENT;
}

/* ---- public ---- */

mf_val instance_map(const struct instance *i, unsigned subscription,
                    mf_val event, bool batch, struct arena *a, struct err *e)
{
    const struct subscription *s;
    mf_val none = { NULL, 0, MF_ABSENT }, v;

    ASSERT(subscription < i->sub_count);
    s = &i->subs[subscription];
    e->text[0] = 0;
    if (!s->mapping) {
        err_set(e, "%s", s->fault ? s->fault : "there is no mapping");
        return none;
    }
    v = mapping_eval(s->mapping, event, a, e);
    if (v.type == MF_ABSENT) {
        if (!e->text[0])
            err_set(e, "The root value must be an object but it was "
                       "undefined.");
        return none;
    }
    return s->action->fields ? schema_apply(s->action->fields, v, batch, a, e)
                             : v;
}

mf_str instance_batch_key(const struct instance *i, unsigned subscription,
                          mf_val payload, struct arena *a)
{
    const char *const *keys;
    mf_str out = { "", 0 };
    mf_val v;

    ASSERT(subscription < i->sub_count);
    keys = i->subs[subscription].action->batch_keys;
    for (; keys && *keys; keys++) {
        v = js_stringify(path_get(payload, mf_cstr(*keys), a), a);
        out = arena_printf(a, "%.*s%u:%.*s;", (int)out.len, out.ptr,
                           (unsigned)v.len, (int)v.len, v.raw ? v.raw : "");
    }
    return out;
}

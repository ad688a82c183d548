/* SPDX-License-Identifier: Apache-2.0
 *
 * payload.c - from an event to the payload an action receives, and the paths
 * that an action reads in it.
 *
 * An action names its paths once; all of them are then filled in one pass
 * over the payload, however many there are. */
#include "plugin/inner.h"

#define PATH_PARTS_MAX 32

/* One segment of a path; those below it are its children. */
struct path_node {
    mf_str name;
    int32_t slot; /* of the path that ends here, or -1 */
    struct path_node *child, *sibling;
};

struct path_tree {
    struct path_node root;
    const char *const *paths;
    size_t count;
    int32_t *same; /* the next path that ends at the same node, or -1 */
    bool *odd;     /* such as a['b']: looked up one by one */
    bool any_odd;
};

/* "$.a.b[0]" as a, b, 0; false for what only path_get() understands. */
static bool path_split(const char *path, mf_str parts[PATH_PARTS_MAX],
                       size_t *n)
{
    const char *from;

    if (strncmp(path, "$.", 2) == 0)
        path += 2;
    if (strstr(path, "$.") || strpbrk(path, "'\"\\"))
        return false;
    *n = 0;
    for (from = path;; path++) {
        bool end = *path == 0 || *path == '.' || *path == '[' || *path == ']';

        if (!end)
            continue;
        if (path > from) {
            if (*n == PATH_PARTS_MAX ||
                (*path == ']' && (*from < '0' || *from > '9')))
                return false;
            parts[(*n)++] = (mf_str){ from, (size_t)(path - from) };
        }
        if (*path == 0)
            return *n > 0;
        from = path + 1;
    }
}

static struct path_node *node_under(struct path_node *at, mf_str name,
                                    struct arena *a)
{
    struct path_node *n;

    for (n = at->child; n; n = n->sibling)
        if (mf_eq(n->name, name))
            return n;
    n = arena_zalloc(a, sizeof *n);
    n->name = name;
    n->slot = -1;
    n->sibling = at->child;
    at->child = n;
    return n;
}

struct path_tree *path_tree_new(const char *const *paths, size_t count,
                                struct arena *a)
{
    struct path_tree *t = arena_zalloc(a, sizeof *t);
    mf_str parts[PATH_PARTS_MAX];
    size_t n;

    t->paths = paths;
    t->count = count;
    t->odd = arena_zalloc(a, count + 1);
    t->same = arena_alloc(a, (count + 1) * sizeof *t->same);
    t->root.slot = -1;
    for (size_t k = 0; k < count; k++) {
        struct path_node *at = &t->root;

        if (!path_split(paths[k], parts, &n)) {
            t->odd[k] = t->any_odd = true;
            continue;
        }
        for (size_t p = 0; p < n; p++)
            at = node_under(at, parts[p], a);
        t->same[k] = at->slot;
        at->slot = (int32_t)k;
    }
    return t;
}

static void put(const struct path_tree *t, const struct path_node *n, mf_val v,
                mf_val *out)
{
    for (int32_t k = n->slot; k >= 0; k = t->same[k])
        out[k] = v;
}

/* A walk that meets a falsy value stops there and gives that value. */
static void fill_all(const struct path_tree *t, const struct path_node *n,
                     mf_val v, mf_val *out)
{
    put(t, n, v, out);
    for (n = n->child; n; n = n->sibling)
        fill_all(t, n, v, out);
}

static void fill(const struct path_tree *t, const struct path_node *n,
                 mf_val v, mf_val *out)
{
    const struct path_node *c;
    mf_iter it = { { 0 } };
    uint64_t k;
    mf_str key;
    mf_val one = { NULL, 0, MF_ABSENT };

    if (n->child)
        fill_all(t, n, js_falsy(v) ? v : one, out);
    put(t, n, v, out);
    if (v.type == MF_ARRAY)
        for (c = n->child; c; c = c->sibling)
            if (parse_u64(c->name, &k))
                fill(t, c, json_at(v, (size_t)k), out);
    if (v.type != MF_OBJECT || !n->child)
        return;
    while (json_next(v, &it, &key, &one))
        for (c = n->child; c; c = c->sibling)
            if (json_key_is(key, c->name)) {
                fill(t, c, one, out);
                break;
            }
}

void path_tree_read(const struct path_tree *t, mf_val payload, mf_val *out,
                    struct arena *a)
{
    memset(out, 0, t->count * sizeof *out);
    fill(t, &t->root, payload, out);
    for (size_t k = 0; t->any_odd && k < t->count; k++)
        if (t->odd[k])
            out[k] = path_get_dollar(payload, mf_cstr(t->paths[k]), a);
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

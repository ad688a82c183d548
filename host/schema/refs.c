/* SPDX-License-Identifier: Apache-2.0
 *
 * refs.c - where the references of a schema lead.
 *
 * They are followed when all of it is read: only then is known what has an
 * $id. At last, schemas that apply themselves to the same value again are
 * found, which would never end. */
#include "schema/compile.h"

#include "base/text.h"
#include "schema/uri.h"

/* One step of a JSON pointer: ~1 is /, ~0 is ~, and %XX a byte. */
static mf_str step_of(struct compiler *c, mf_str raw)
{
    struct buf b;
    mf_str decoded;
    char *p;
    size_t n = 0;

    buf_init(&b, raw.len + 1);
    if (!percent_decode(&b, raw, false)) {
        buf_clear(&b);
        buf_str(&b, raw);
    }
    decoded = arena_copy(c->a, buf_view(&b));
    buf_deinit(&b);
    p = (char *)(uintptr_t)decoded.ptr;
    for (size_t i = 0; i < decoded.len; i++) {
        p[n] = decoded.ptr[i];
        if (p[n] == '~' && i + 1 < decoded.len) {
            p[n] = decoded.ptr[i + 1] == '1' ? '/' : '~';
            i++;
        }
        n++;
    }
    return (mf_str){ p, n };
}

static mf_val walk(struct compiler *c, mf_val from, mf_str pointer)
{
    size_t i = 0;

    while (i < pointer.len && from.type != MF_ABSENT) {
        size_t end = i + 1;
        uint64_t index;
        mf_str step;

        while (end < pointer.len && pointer.ptr[end] != '/')
            end++;
        step = step_of(c, (mf_str){ pointer.ptr + i + 1, end - i - 1 });
        if (from.type == MF_OBJECT)
            from = json_get(from, step);
        else if (from.type == MF_ARRAY && parse_u64(step, &index))
            from = json_at(from, (size_t)index);
        else
            from.type = MF_ABSENT;
        i = end;
    }
    return from;
}

static mf_val named_schema(const struct compiler *c, mf_str uri)
{
    for (size_t i = 0; i < c->named_count; i++)
        if (mf_eq(c->named[i].uri, uri))
            return c->named[i].schema;
    return (mf_val){ NULL, 0, MF_ABSENT };
}

static void follow(struct compiler *c, const struct pending *p)
{
    mf_str uri = uri_resolve(p->base, json_text(p->ref, c->a), c->a);
    mf_str fragment, document = uri_split(uri, &fragment);
    mf_val at = named_schema(c, document);

    if (at.type == MF_ABSENT && mf_eq(document, c->root_uri))
        at = c->root;
    if (at.type == MF_ABSENT) {
        compile_fault(c, p->ref.raw,
                      "this names another document, and nothing is fetched; "
                      "put it under \"definitions\" here");
        return;
    }
    if (fragment.len && fragment.ptr[0] == '/')
        at = walk(c, at, fragment);
    else if (fragment.len)
        at = named_schema(c, uri);
    if (at.type == MF_ABSENT) {
        compile_fault(c, p->ref.raw, "there is nothing at this place");
        return;
    }
    p->node->ref = compile_node(c, at, document);
}

void refs_follow(struct compiler *c)
{
    for (size_t i = 0; i < c->pending_count; i++) {
        struct pending p = c->pending[i]; /* the list may grow */

        follow(c, &p);
    }
}

/* ---- loops ---- */

enum { MARK_NEW, MARK_OPEN, MARK_DONE };

static unsigned height_of(struct compiler *c, struct draft7_node *n,
                          unsigned depth);

static void rise(struct compiler *c, const struct draft7_node *n,
                 unsigned depth, unsigned *height)
{
    unsigned h;

    if (!n)
        return;
    h = height_of(c, (struct draft7_node *)(uintptr_t)n, depth + 1) + 1;
    if (h > *height)
        *height = h;
}

static void rise_all(struct compiler *c, const struct nodes *list,
                     unsigned depth, unsigned *height)
{
    for (uint32_t i = 0; i < list->count; i++)
        rise(c, list->list[i], depth, height);
}

/* How many schemas in a row it applies to the same value; a fault when there
 * is no end of them. */
static unsigned height_of(struct compiler *c, struct draft7_node *n,
                          unsigned depth)
{
    const struct combined *m = n->combined;
    unsigned h = 0;

    if (n->mark == MARK_DONE)
        return n->height;
    if (n->mark == MARK_OPEN || depth >= DRAFT7_NEST_MAX) {
        if (c->faults == 0)
            compile_fault(c, n->at, n->mark == MARK_OPEN
                                ? "this schema applies itself to the same "
                                  "value again, without end"
                                : "more than 64 schemas in a row are applied "
                                  "to the same value here");
        return 0;
    }
    n->mark = MARK_OPEN;
    rise(c, n->ref, depth, &h);
    if (m) {
        rise_all(c, &m->all, depth, &h);
        rise_all(c, &m->any, depth, &h);
        rise_all(c, &m->one, depth, &h);
        rise(c, m->none, depth, &h);
        rise(c, m->condition, depth, &h);
        rise(c, m->then, depth, &h);
        rise(c, m->otherwise, depth, &h);
    }
    for (uint32_t i = 0; n->object && i < n->object->dependency_count; i++)
        rise(c, n->object->dependencies[i].node, depth, &h);
    n->mark = MARK_DONE;
    n->height = (unsigned char)h;
    return h;
}

void refs_find_loops(struct compiler *c)
{
    for (struct draft7_node *n = c->first; n && c->faults == 0; n = n->next)
        if (height_of(c, n, 0) > DRAFT7_NEST_MAX)
            compile_fault(c, n->at, "more than %d schemas in a row are "
                                    "applied to the same value here",
                          DRAFT7_NEST_MAX);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_fql.c - filters in both dialects, matched on an event.
 *
 *   FILTER
 *   --
 *   EVENT
 *
 * A filter compiles or is told with a place. A trigger that compiles survives
 * being written as a tree and as text: what is read back decides the same.
 * (Triggers come out of JSON, so that only UTF-8 needs to.) */
#include "fuzz.h"

#include "base/text.h"
#include "mapping/fql.h"

#define SOFT (8u << 20)

static struct arena arena;

static void tree_text(const struct fql *q, struct buf *b)
{
    struct json_out w;

    buf_init(b, 1u << 20);
    json_out_init(&w, b);
    fql_write_tree(q, &w);
    ASSERT(!b->full && json_check(buf_view(b), JSON_DEPTH_MAX, NULL) == 0);
}

static void back_and_forth(const struct fql *q, mf_val event)
{
    struct buf tree, again, text;
    struct err e = { "" };
    struct fql *from_tree, *from_text;

    tree_text(q, &tree);
    from_tree = fql_from_tree(json_root(buf_view(&tree)), &e);
    ASSERT(from_tree);
    tree_text(from_tree, &again);
    ASSERT(mf_eq(buf_view(&tree), buf_view(&again)));
    buf_deinit(&again);
    ASSERT(fql_eval(q, event, &arena) == fql_eval(from_tree, event, &arena));

    buf_init(&text, 1u << 20);
    fql_write_text(q, &text);
    from_text = fql_compile(buf_view(&text), FQL_SUBSCRIPTION, &e, NULL);
    ASSERT(from_text || text.len > FQL_LENGTH_MAX);
    if (from_text)
        ASSERT(fql_eval(q, event, &arena) ==
               fql_eval(from_text, event, &arena));
    fql_free(from_text);
    fql_free(from_tree);
    buf_deinit(&tree);
    buf_deinit(&text);
}

static void one_dialect(mf_str filter, enum fql_dialect dialect, mf_val event)
{
    struct err e = { "" };
    size_t offset = SIZE_MAX;
    struct fql *q = fql_compile(filter, dialect, &e, &offset);
    struct fql_view view;

    if (!q) {
        ASSERT(e.text[0] && offset <= filter.len);
        return;
    }
    fql_view_init(&view, event);
    ASSERT(fql_eval(q, event, &arena) == fql_eval_view(q, &view, &arena));
    ASSERT(fql_match(q, event, &arena) ==
           (fql_eval(q, event, &arena) == FQL_YES));
    if (dialect == FQL_SUBSCRIPTION && utf8_valid(filter.ptr, filter.len))
        back_and_forth(q, event);
    fql_free(q);
}

/* The second part may be a tree as well. */
static void any_tree(mf_val tree)
{
    struct err e = { "" };
    struct fql *q = fql_from_tree(tree, &e);
    struct buf b;

    if (!q) {
        ASSERT(e.text[0]);
        return;
    }
    tree_text(q, &b);
    buf_deinit(&b);
    fql_free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mf_val event, empty = { "{}", 2, MF_OBJECT };
    mf_str part[2];

    if (!arena.soft)
        arena_init(&arena, SOFT);
    arena_reset(&arena);
    fuzz_split(data, size, part, 2);
    event = fuzz_value(part[1]);
    if (event.type == MF_OBJECT)
        any_tree(event);
    else
        event = empty;
    one_dialect(part[0], FQL_SUBSCRIPTION, event);
    one_dialect(part[0], FQL_FILTER, event);
    fuzz_join(part, 2);
    return 0;
}

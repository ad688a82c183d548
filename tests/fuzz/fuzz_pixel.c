/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_pixel.c - the query of a pixel. It is refused with a code and a
 * message; or it becomes what `data` holds, whatever that is; or, without
 * `data`, an object that is JSON. */
#include "fuzz.h"

#include "http/query.h"
#include "ingest/pixel.h"

#define SOFT      (4u << 20)
#define QUERY_MAX 16384 /* a request's head holds no more */

static struct arena arena;

static bool has_data(mf_str query)
{
    mf_str name, value;

    while (http_query_next(&query, &name, &value))
        if (mf_eq(name, MF_STR("data")))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_fault fault = { NULL, NULL };
    mf_str query, text = { NULL, 0 };

    if (size > QUERY_MAX)
        return 0;
    if (!arena.soft)
        arena_init(&arena, SOFT);
    arena_reset(&arena);
    fuzz_split(data, size, &query, 1);
    if (pixel_event(query, &arena, &text, &fault) != 0)
        ASSERT(fault.code && fault.message);
    else if (!has_data(query))
        ASSERT(json_check(text, JSON_DEPTH_MAX, NULL) == 0 &&
               json_root(text).type == MF_OBJECT);
    ASSERT(!arena.overflowed);
    fuzz_join(&query, 1);
    return 0;
}

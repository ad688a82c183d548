/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_schema.c - any JSON as the fields of an action, any as a payload.
 *
 *   FIELDS
 *   --
 *   PAYLOAD
 *
 * Fields compile or are told; a payload comes out as JSON or as the text of
 * its faults, the same each time. */
#include "fuzz.h"

#include "mapping/schema.h"

#define SOFT (4u << 20)

static struct arena arena;

static void apply(const struct schema *s, mf_val payload, bool batch)
{
    struct err e = { "" }, f = { "" };
    mf_val first = schema_apply(s, payload, batch, &arena, &e);
    mf_val second = schema_apply(s, payload, batch, &arena, &f);

    ASSERT(first.type == second.type && first.len == second.len);
    ASSERT(strcmp(e.text, f.text) == 0);
    if (first.type == MF_ABSENT) {
        ASSERT(e.text[0]);
        return;
    }
    ASSERT(!e.text[0] && memcmp(first.raw, second.raw, first.len) == 0);
    fuzz_is_json(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = { "" };
    struct schema *s;
    mf_val fields, payload;
    mf_str part[2];

    if (!arena.soft)
        arena_init(&arena, SOFT);
    arena_reset(&arena);
    fuzz_split(data, size, part, 2);
    fields = fuzz_value(part[0]);
    payload = fuzz_value(part[1]);
    if (fields.type != MF_ABSENT && payload.type != MF_ABSENT) {
        s = schema_compile(fields, &e);
        ASSERT(s || e.text[0]);
        if (s) {
            apply(s, payload, false);
            apply(s, payload, true);
        }
        schema_free(s);
    }
    fuzz_join(part, 2);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_draft7.c - any JSON as a schema of a tracking plan, any as a value.
 *
 *   SCHEMA
 *   --
 *   VALUE
 *
 * A schema compiles or a fault in it is told; a value is valid without an
 * error or invalid with one, the same each time. */
#include "fuzz.h"

#include "schema/draft7.h"

#define SOFT (16u << 20)

static struct arena arena;
static struct draft7_scratch *scratch;
static mf_str text;
static unsigned told;

static void tell(void *arg, const char *at, const char *what)
{
    (void)arg;
    ASSERT(at >= text.ptr && at <= text.ptr + text.len && what[0]);
    told++;
}

static void apply(const struct draft7 *s, mf_val v)
{
    struct draft7_report one = { .count = 0 }, two = { .count = 0 };
    bool first, second;

    draft7_scratch_reset(scratch);
    first = draft7_validate(s, v, scratch, &one);
    ASSERT(first == (one.count == 0));
    for (unsigned i = 0; i < one.count; i++)
        ASSERT(one.errors[i].text.len && one.errors[i].field.len);
    second = draft7_validate(s, v, scratch, &two);
    ASSERT(first == second && one.count == two.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mf_val schema, v;
    struct draft7 *s;
    mf_str part[2];

    if (!arena.soft) {
        arena_init(&arena, SOFT);
        scratch = draft7_scratch_new();
    }
    arena_reset(&arena);
    fuzz_split(data, size, part, 2);
    schema = fuzz_value(part[0]);
    v = fuzz_value(part[1]);
    if (schema.type != MF_ABSENT && v.type != MF_ABSENT) {
        text = part[0];
        told = 0;
        s = draft7_compile(schema, &arena, tell, NULL);
        ASSERT((s != NULL) == (told == 0));
        if (s)
            apply(s, v);
        draft7_free(s);
    }
    fuzz_join(part, 2);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_mapping.c - any JSON as a mapping, over any JSON as an event.
 *
 *   MAPPING
 *   --
 *   EVENT
 *
 * What compiles has no static fault, the checker's places lie in the mapping,
 * and a payload is JSON, the same each time and within its arena. */
#include "fuzz.h"

#include "mapping/mapping.h"

#define SOFT       (1u << 20)
#define SOFT_SMALL 2048

struct told {
    mf_val in;
    unsigned count;
};

static void on_fault(void *context, const char *at, const char *text)
{
    struct told *t = context;

    ASSERT(at >= t->in.raw && at < t->in.raw + t->in.len);
    ASSERT(text[0]);
    t->count++;
}

static void on_key(void *context, mf_str key)
{
    size_t *bytes = context;

    *bytes += key.len;
}

static mf_val eval(const struct mapping *m, mf_val event, struct arena *a)
{
    struct err e = { "" };
    mf_val v = mapping_eval(m, event, a, &e);

    if (v.type != MF_ABSENT) {
        ASSERT(!e.text[0]);
        fuzz_is_json(v);
    }
    ASSERT(!a->overflowed || e.text[0]);
    return v;
}

static void evaluate(const struct mapping *m, mf_val event)
{
    struct mapping_part parts[2] = { { MF_STR("event"), event },
                                     { MF_STR("settings"), event } };
    struct arena a, b, small;
    struct err e = { "" };
    mf_val first, second;

    arena_init(&a, SOFT);
    arena_init(&b, SOFT);
    arena_init(&small, SOFT_SMALL);
    first = eval(m, event, &a);
    second = eval(m, event, &b);
    ASSERT(first.type == second.type && first.len == second.len);
    ASSERT(!first.len || memcmp(first.raw, second.raw, first.len) == 0);
    eval(m, event, &small);
    second = mapping_eval_parts(m, parts, 2, &b, &e);
    if (second.type != MF_ABSENT)
        fuzz_is_json(second);
    mapping_sync_mode(m);
    mapping_matching_key(m);
    arena_deinit(&a);
    arena_deinit(&b);
    arena_deinit(&small);
}

/* What directives are made of, on the event as it is. */
static void kit(mf_val event)
{
    struct arena a;
    mf_val v;

    arena_init(&a, SOFT);
    v = js_stringify(event, &a);
    if (!a.overflowed) {
        fuzz_is_json(v);
        js_string(event, &a);
        if (event.type == MF_OBJECT || event.type == MF_ARRAY) {
            v = flatten(event, MF_STR("p."), MF_STR("."), false, &a);
            if (!a.overflowed)
                fuzz_is_json(v);
        }
    }
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told told = { .count = 0 };
    struct err e = { "" };
    struct mapping *m;
    mf_val event;
    mf_str part[2];
    size_t bytes = 0;

    fuzz_split(data, size, part, 2);
    told.in = fuzz_value(part[0]);
    event = fuzz_value(part[1]);
    if (event.type == MF_ABSENT)
        event = (mf_val){ "{}", 2, MF_OBJECT };
    else
        kit(event);
    if (told.in.type != MF_ABSENT) {
        m = mapping_compile(told.in, &e);
        mapping_check(told.in, on_fault, &told);
        ASSERT(m ? told.count == 0 : e.text[0] != 0);
        if (m) {
            mapping_lint(told.in, on_fault, &told);
            mapping_keys(told.in, on_key, &bytes);
            evaluate(m, event);
        }
        mapping_free(m);
    }
    fuzz_join(part, 2);
    return 0;
}

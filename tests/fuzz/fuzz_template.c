/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_template.c - any text as a @template, a @liquid, a @path, over any
 * JSON.
 *
 *   TEXT
 *   --
 *   EVENT
 *
 * What they give is text within its limits, and a mapping that holds the same
 * text comes to the same. */
#include "fuzz.h"

#include "base/text.h"
#include "mapping/mapping.h"

#define SOFT (4u << 20)

static struct arena arena;

/* { directive: text } evaluated; MF_ABSENT also when it does not compile. */
static mf_val through(const char *directive, mf_str text, mf_val event)
{
    mf_val none = { NULL, 0, MF_ABSENT }, out;
    struct err e = { "" };
    struct json_out w;
    struct mapping *m;
    struct buf b;

    buf_init(&b, 1u << 20);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, mf_cstr(directive));
    json_str(&w, text);
    json_end_object(&w);
    m = mapping_compile(json_root(buf_view(&b)), &e);
    out = m ? mapping_eval(m, event, &arena, &e) : none;
    if (out.type != MF_ABSENT)
        fuzz_is_json(out);
    mapping_free(m);
    buf_deinit(&b);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = { "" };
    mf_str part[2], out = { NULL, 0 }, again = { NULL, 0 };
    mf_val event, v;
    int rc;

    if (!arena.soft)
        arena_init(&arena, SOFT);
    arena_reset(&arena);
    fuzz_split(data, size, part, 2);
    event = fuzz_value(part[1]);
    if (event.type == MF_ABSENT)
        event = (mf_val){ "{}", 2, MF_OBJECT };
    if (utf8_valid(part[0].ptr, part[0].len)) {
        out = template_render(part[0], event, &arena);
        ASSERT(arena.overflowed || utf8_valid(out.len ? out.ptr : "", out.len));
        v = path_get_dollar(event, part[0], &arena);
        ASSERT(v.type == MF_ABSENT || v.len);
        path_get(event, part[0], &arena);
        through("@template", part[0], event);
        through("@path", part[0], event);
        rc = liquid_render(part[0], event, &arena, &out, &e);
        ASSERT(rc == 0 ? out.len <= LIQUID_OUTPUT_MAX : e.text[0] != 0);
        if (rc == 0 && !memmem(part[0].ptr, part[0].len, "now", 3) &&
            !memmem(part[0].ptr, part[0].len, "today", 5)) {
            ASSERT(liquid_render(part[0], event, &arena, &again, &e) == 0);
            ASSERT(mf_eq(out, again));
        }
        through("@liquid", part[0], event);
    }
    fuzz_join(part, 2);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.c - which members of the event a mapping names; see mapping_keys().
 *
 * The original looks through directives and objects and takes nothing from
 * plain texts, so the path of @arrayPath counts only where a directive gives
 * it. */
#include "base/text.h"
#include "mapping/kit.h"

struct telling {
    mapping_key_fn *tell;
    void *context;
    struct arena *a;
};

static void template_keys(struct telling *t, mf_str s)
{
    const char *p = s.ptr, *end = s.ptr + s.len, *stop;

    while (p < end && (p = memmem(p, (size_t)(end - p), "{{", 2))) {
        p += 2;
        stop = memmem(p, (size_t)(end - p), "}}", 2);
        if (!stop)
            return;
        t->tell(t->context, str_trim((mf_str){ p, (size_t)(stop - p) }));
        p = stop + 2;
    }
}

static void keys_of(struct telling *t, mf_val v)
{
    static const char *const conditions[] = { "blank", "exists", "then",
                                              "else" };
    struct members m;

    if (v.type != MF_OBJECT && v.type != MF_ARRAY)
        return;
    members_init(&m, t->a);
    if (v.type == MF_OBJECT)
        members_of(&m, t->a, v);
    if (m.count && mf_eq(m.list[0].key, MF_STR("@if"))) {
        for (size_t i = 0; i < COUNT_OF(conditions); i++)
            keys_of(t, option(m.list[0].value, conditions[i]));
        return;
    }
    for (uint32_t i = 0; i < m.count; i++) {
        mf_val x = m.list[i].value;
        bool text = x.type == MF_STRING;

        if (text && mf_eq(m.list[i].key, MF_STR("@path")))
            t->tell(t->context, json_text(x, t->a));
        else if (text && mf_eq(m.list[i].key, MF_STR("@template")))
            template_keys(t, json_text(x, t->a));
        else if (text && mf_eq(m.list[i].key, MF_STR("@liquid")))
            liquid_keys(json_text(x, t->a), t->tell, t->context);
        else if (!mf_eq(m.list[i].key, MF_STR("_metadata")))
            keys_of(t, x);
    }
    for (size_t i = 0; v.type == MF_ARRAY && i < json_count(v); i++)
        keys_of(t, json_at(v, i));
}

void mapping_keys(mf_val json, mapping_key_fn *tell, void *context)
{
    struct arena a;
    struct telling t = { tell, context, &a };

    arena_init(&a, SIZE_MAX / 8);
    keys_of(&t, json);
    arena_deinit(&a);
}

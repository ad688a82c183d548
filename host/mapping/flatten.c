/* SPDX-License-Identifier: Apache-2.0
 *
 * flatten.c - @flatten: one level of members, keys joined by a separator.
 *
 * Empty objects and arrays leave nothing behind; a value that is neither is
 * itself under the prefix. */
#include "mapping/kit.h"

struct flattening {
    struct members m;
    mf_str separator; /* escaped */
    bool omit_arrays;
    struct arena *a;
};

static mf_str joined(struct flattening *f, mf_str prefix, mf_str key)
{
    struct out o;

    if (prefix.len == 0)
        return key;
    out_init(&o, f->a, prefix.len + f->separator.len + key.len);
    out_add(&o, prefix.ptr, prefix.len);
    out_add(&o, f->separator.ptr, f->separator.len);
    out_add(&o, key.ptr, key.len);
    return out_str(&o);
}

static void flatten_into(struct flattening *f, mf_str prefix, mf_val v)
{
    mf_iter it = { { 0 } };
    unsigned long index = 0;
    mf_str key;
    mf_val x;

    if (f->a->used > f->a->soft) {
        f->a->overflowed = true;
        return;
    }
    if (v.type != MF_OBJECT && (v.type != MF_ARRAY || f->omit_arrays)) {
        members_set(&f->m, prefix, v);
        return;
    }
    if (v.type == MF_OBJECT) {
        struct members in;

        members_of(&in, f->a, v);
        for (uint32_t i = 0; i < in.count; i++)
            flatten_into(f, joined(f, prefix, in.list[i].key),
                         in.list[i].value);
        return;
    }
    while (json_next(v, &it, &key, &x))
        flatten_into(f, joined(f, prefix, arena_printf(f->a, "%lu", index++)),
                     x);
}

mf_val flatten(mf_val value, mf_str prefix, mf_str separator, bool omit_arrays,
               struct arena *a)
{
    struct flattening f = { .omit_arrays = omit_arrays, .a = a };
    mf_val escaped = text_val(a, separator), head = text_val(a, prefix);

    if (escaped.type == MF_ABSENT || head.type == MF_ABSENT)
        return ABSENT;
    f.separator = (mf_str){ escaped.raw + 1, escaped.len - 2 };
    members_init(&f.m, a);
    flatten_into(&f, (mf_str){ head.raw + 1, head.len - 2 }, value);
    return members_object(&f.m);
}

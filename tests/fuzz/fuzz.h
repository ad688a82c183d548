/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h - what the targets share. An input of several parts has a line "--"
 * between them, so that seeds can be read and written by hand. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "base/mem.h"
#include "json/json.h"

#include <stdlib.h>
#include <string.h>

#define FUZZ_SEPARATOR "\n--\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly n bytes on the heap, so that a sanitizer sees a read past
 * its end. Owned by the caller; of no bytes it is one byte long. */
static inline char *fuzz_copy(mf_str s)
{
    char *copy = xmalloc(s.len ? s.len : 1);

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

/* The parts of an input, count of them, each a copy of its own; those that
 * are missing are "". */
static inline void fuzz_split(const uint8_t *data, size_t size, mf_str *part,
                              unsigned count)
{
    const char *p = (const char *)data, *end = p + size;

    for (unsigned i = 0; i < count; i++) {
        const char *cut = NULL;

        if (i + 1 < count && p < end)
            cut = memmem(p, (size_t)(end - p), FUZZ_SEPARATOR,
                         sizeof FUZZ_SEPARATOR - 1);
        part[i].len = (size_t)((cut ? cut : end) - p);
        part[i].ptr = fuzz_copy((mf_str){ p, part[i].len });
        p = cut ? cut + sizeof FUZZ_SEPARATOR - 1 : end;
    }
}

static inline void fuzz_join(mf_str *part, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free((char *)(uintptr_t)part[i].ptr);
}

/* The value of a part, MF_ABSENT where it is no JSON. */
static inline mf_val fuzz_value(mf_str text)
{
    if (json_check(text, JSON_DEPTH_MAX, NULL) != 0)
        return (mf_val){ NULL, 0, MF_ABSENT };
    return json_root(text);
}

/* What somebody wrote as JSON is JSON, and typed as what it is. */
static inline void fuzz_is_json(mf_val v)
{
    mf_str text = { v.raw, v.len };
    mf_val root;

    ASSERT(json_check(text, JSON_DEPTH_MAX, NULL) == 0);
    root = json_root(text);
    ASSERT(root.type == v.type && root.len == v.len && root.raw == v.raw);
}

#endif

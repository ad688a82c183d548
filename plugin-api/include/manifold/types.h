/* SPDX-License-Identifier: Apache-2.0
 *
 * types.h - text and JSON values as host and plugins pass them.
 *
 * Both are borrowed views: they own nothing and end with what they point into
 * (the call's arena, the event, or a literal). */
#ifndef MANIFOLD_TYPES_H
#define MANIFOLD_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes, UTF-8 unless said otherwise. Need not end in NUL. ptr may be NULL
 * only when len is 0. */
typedef struct mf_str {
    const char *ptr;
    size_t len;
} mf_str;

#define MF_STR(literal) ((mf_str){ "" literal, sizeof(literal) - 1 })

enum {
    MF_ABSENT, /* undefined: no such member, or a mapping gave nothing */
    MF_NULL,
    MF_BOOL,
    MF_NUMBER,
    MF_STRING,
    MF_ARRAY,
    MF_OBJECT
};

/* One JSON value as its exact text, so that a 64-bit id or a long decimal
 * survives being copied. raw has no white space at either end; a string keeps
 * its quotes and escapes. MF_ABSENT: raw is NULL, len 0. */
typedef struct mf_val {
    const char *raw;
    uint32_t len;
    uint32_t type;
} mf_val;

/* A walk over an array or object. Start it as { 0 }. */
typedef struct mf_iter {
    uint64_t opaque[2];
} mf_iter;

static inline mf_str mf_cstr(const char *text)
{
    mf_str s = { text, text ? strlen(text) : 0 };

    return s;
}

static inline int mf_eq(mf_str a, mf_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

#endif

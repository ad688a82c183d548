/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.h - memory that is there, or the process is not.
 *
 * Running out of memory aborts: a process is the unit of failure, and its
 * supervisor starts it again. So callers carry no NULL paths. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);
/* Heap text by printf rules; owned by the caller. */
char *xasprintf(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* True in release builds too; prints the place and aborts. */
#define ASSERT(condition)                                                      \
    ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
void assert_failed(const char *text, const char *file, int line)
    __attribute__((noreturn));

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* An arena gives memory that goes all at once. Past `soft` it still gives,
 * and `overflowed` says so, so that the one event at hand can be refused;
 * past four times that it aborts. */
struct arena {
    struct arena_chunk *chunks;
    char *next, *end;
    size_t used, soft;
    bool overflowed;
};

#define ARENA_CHUNK 16384

void arena_init(struct arena *a, size_t soft);
void arena_deinit(struct arena *a);
/* Forgets everything but keeps one chunk for the next use. */
void arena_reset(struct arena *a);
/* Aligned to 16; never NULL; not cleared. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
/* Copies; the copy ends in a NUL that is not counted. */
mf_str arena_copy(struct arena *a, mf_str s);
mf_str arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

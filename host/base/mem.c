/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.c - see mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_chunk {
    struct arena_chunk *older;
    size_t size; /* bytes after this header */
    char data[] __attribute__((aligned(16)));
};

void assert_failed(const char *text, const char *file, int line)
{
    fprintf(stderr, "manifold: %s:%d: this must hold and does not: %s\n", file,
            line, text);
    abort();
}

static void *checked(void *p, size_t size)
{
    if (!p && size) {
        fprintf(stderr, "manifold: out of memory (%zu bytes)\n", size);
        abort();
    }
    return p;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size ? size : 1), size);
}

void *xcalloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1), size);
}

void *xrealloc(void *old, size_t size)
{
    return checked(realloc(old, size ? size : 1), size);
}

char *xstrndup(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1);

    if (len)
        memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

char *xasprintf(const char *format, ...)
{
    va_list ap;
    char *text;
    int len;

    va_start(ap, format);
    len = vasprintf(&text, format, ap);
    va_end(ap);
    return checked(len < 0 ? NULL : text, 1);
}

void arena_init(struct arena *a, size_t soft)
{
    memset(a, 0, sizeof *a);
    a->soft = soft;
}

void arena_deinit(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *older = a->chunks->older;

        free(a->chunks);
        a->chunks = older;
    }
    a->next = a->end = NULL;
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->chunks, *c = keep;

    a->used = 0;
    a->overflowed = false;
    if (!keep)
        return;
    while (c->older) { /* the oldest is the common size; keep that one */
        struct arena_chunk *older = c->older;

        free(c);
        c = older;
    }
    a->chunks = c;
    a->next = c->data;
    a->end = c->data + c->size;
}

static void arena_grow(struct arena *a, size_t size)
{
    size_t want = size > ARENA_CHUNK ? size : ARENA_CHUNK;
    struct arena_chunk *c = xmalloc(sizeof *c + want);

    c->older = a->chunks;
    c->size = want;
    a->chunks = c;
    a->next = c->data;
    a->end = c->data + want;
}

void *arena_alloc(struct arena *a, size_t size)
{
    char *p;

    ASSERT(size < SIZE_MAX / 8);
    size = (size + 15) & ~(size_t)15;
    a->used += size;
    if (a->used > a->soft) {
        a->overflowed = true;
        ASSERT(a->used / 4 <= a->soft);
    }
    if ((size_t)(a->end - a->next) < size)
        arena_grow(a, size);
    p = a->next;
    a->next += size;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

mf_str arena_copy(struct arena *a, mf_str s)
{
    char *p = arena_alloc(a, s.len + 1);

    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = 0;
    return (mf_str){ p, s.len };
}

mf_str arena_printf(struct arena *a, const char *format, ...)
{
    va_list ap;
    char *p;
    int len;

    va_start(ap, format);
    len = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    ASSERT(len >= 0);
    p = arena_alloc(a, (size_t)len + 1);
    va_start(ap, format);
    vsnprintf(p, (size_t)len + 1, format, ap);
    va_end(ap);
    return (mf_str){ p, (size_t)len };
}

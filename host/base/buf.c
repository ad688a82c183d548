/* SPDX-License-Identifier: Apache-2.0
 *
 * buf.c - see buf.h. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void buf_deinit(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->full = false;
}

char *buf_room(struct buf *b, size_t n)
{
    size_t cap;

    if (n > b->max - b->len) {
        b->full = true;
        return NULL;
    }
    if (b->cap - b->len >= n && b->data)
        return b->data + b->len;
    cap = b->cap ? b->cap * 2 : 256;
    while (cap < b->len + n)
        cap *= 2;
    if (cap > b->max)
        cap = b->max;
    if (cap == 0)
        cap = 1;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
    return b->data + b->len;
}

void buf_grow_add(struct buf *b, const void *bytes, size_t n)
{
    char *to;

    if (n == 0 || !(to = buf_room(b, n)))
        return;
    memcpy(to, bytes, n);
    b->len += n;
}

void buf_puts(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list ap;
    char *to;
    int n;

    va_start(ap, format);
    n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    ASSERT(n >= 0);
    to = buf_room(b, (size_t)n + 1); /* vsnprintf ends with a NUL */
    if (!to)
        return;
    va_start(ap, format);
    vsnprintf(to, (size_t)n + 1, format, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buf_drop(struct buf *b, size_t n)
{
    ASSERT(n <= b->len);
    b->len -= n;
    if (n && b->len)
        memmove(b->data, b->data + n, b->len);
}

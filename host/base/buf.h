/* SPDX-License-Identifier: Apache-2.0
 *
 * buf.h - a byte buffer that grows up to a maximum named when it is made.
 *
 * Past the maximum nothing more is stored and `full` stays set, so a writer
 * can append freely and its owner checks once at the end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct buf {
    char *data;
    size_t len, cap, max;
    bool full;
};

void buf_init(struct buf *b, size_t max);
void buf_deinit(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */
/* Room for n more bytes at the returned place, or NULL when that would pass
 * the maximum. The caller adds what it used to b->len. */
char *buf_room(struct buf *b, size_t n);
void buf_grow_add(struct buf *b, const void *bytes, size_t n);
void buf_puts(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops n bytes from the front. */
void buf_drop(struct buf *b, size_t n);

static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0 || n > b->cap - b->len) {
        buf_grow_add(b, bytes, n);
        return;
    }
    memcpy(b->data + b->len, bytes, n);
    b->len += n;
}

static inline void buf_str(struct buf *b, mf_str s)
{
    buf_add(b, s.ptr, s.len);
}

static inline void buf_char(struct buf *b, char c)
{
    if (b->len < b->cap)
        b->data[b->len++] = c;
    else
        buf_add(b, &c, 1);
}

static inline mf_str buf_view(const struct buf *b)
{
    return (mf_str){ b->data, b->len };
}

#endif

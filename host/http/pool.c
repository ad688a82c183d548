/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.c - blocks of memory in a few sizes, each twice the one before, kept in
 * free lists so that the next request finds a warm one; see conn.h. */
#include "http/conn.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static size_t cap_of(const struct block_pool *p, unsigned size_class)
{
    return p->least << size_class;
}

static struct block *take(struct block_pool *p, unsigned size_class)
{
    struct block *b = p->free[size_class];

    if (b) {
        p->free[size_class] = b->next;
        p->free_bytes -= b->cap;
    } else {
        b = xmalloc(sizeof *b + cap_of(p, size_class));
        b->size_class = size_class;
        b->cap = cap_of(p, size_class);
    }
    b->next = NULL;
    p->used++;
    if (size_class > 0)
        p->big += b->cap;
    else
        p->small += b->cap;
    return b;
}

void http_pool_init(struct block_pool *p, size_t least, uint64_t big_max)
{
    memset(p, 0, sizeof *p);
    p->least = least;
    p->big_max = big_max;
}

void http_pool_deinit(struct block_pool *p)
{
    for (unsigned i = 0; i < BLOCK_CLASSES; i++) {
        struct block *b;

        while ((b = p->free[i])) {
            p->free[i] = b->next;
            free(b);
        }
    }
    p->free_bytes = 0;
}

struct block *http_block_get(struct block_pool *p)
{
    return take(p, 0);
}

void http_block_put(struct block_pool *p, struct block *b)
{
    p->used--;
    if (b->size_class > 0)
        p->big -= b->cap;
    else
        p->small -= b->cap;
    if (p->free_bytes + b->cap > BLOCK_FREE_MAX) {
        free(b);
        return;
    }
    p->free_bytes += b->cap;
    b->next = p->free[b->size_class];
    p->free[b->size_class] = b;
}

struct block *http_block_grow(struct block_pool *p, struct block *b,
                              size_t need, size_t used)
{
    unsigned size_class = b->size_class;
    uint64_t mine = size_class > 0 ? b->cap : 0;
    struct block *wider;

    while (size_class < BLOCK_CLASSES && cap_of(p, size_class) < need)
        size_class++;
    if (size_class == BLOCK_CLASSES ||
        p->big - mine + cap_of(p, size_class) > p->big_max)
        return NULL;
    wider = take(p, size_class);
    wider->head = b->head;
    wider->chunks = b->chunks;
    memcpy(wider->data, b->data, used);
    http_block_put(p, b);
    return wider;
}

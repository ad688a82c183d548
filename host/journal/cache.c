/* SPDX-License-Identifier: Apache-2.0
 *
 * cache.c - see cache.h. */
#include "journal/cache.h"

#include "base/io.h"
#include "base/mem.h"

#include <stdlib.h>

/* So many at once are wanted by nobody. */
#define BLOCKS_MOST 4096

struct journal_cache *journal_cache_new(int dir,
                                        const struct journal_head *head,
                                        unsigned blocks)
{
    struct journal_cache *c = xcalloc(1, sizeof *c);

    ASSERT(blocks >= 1 && blocks <= BLOCKS_MOST);
    c->dir = dir;
    c->head = head;
    c->cap = blocks;
    c->blocks = xcalloc(blocks, sizeof(struct cache_block *));
    return c;
}

void journal_cache_free(struct journal_cache *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        ASSERT(c->blocks[i]->pins == 0);
        free(c->blocks[i]->data);
        free(c->blocks[i]);
    }
    free(c->blocks);
    free(c);
}

static struct cache_block *add_block(struct journal_cache *c)
{
    struct cache_block *b = xcalloc(1, sizeof *b);

    if (c->n == c->cap) { /* every reader may pin one */
        ASSERT(c->cap < BLOCKS_MOST);
        c->cap++;
        c->blocks = xrealloc(c->blocks, c->cap * sizeof(*c->blocks));
    }
    b->data = xmalloc(CACHE_BLOCK);
    c->blocks[c->n++] = b;
    return b;
}

/* The block asked for, or else the one to make it of. */
static struct cache_block *find(struct journal_cache *c,
                                const struct segment *s, uint32_t index,
                                bool *found)
{
    struct cache_block *oldest = NULL;

    *found = true;
    for (unsigned i = 0; i < c->n; i++) {
        struct cache_block *b = c->blocks[i];

        if (b->base == s->base && b->index == index && b->epoch == s->epoch)
            return b;
        if (!b->pins && (!oldest || b->used < oldest->used))
            oldest = b;
    }
    *found = false;
    return oldest && c->n == c->cap ? oldest : add_block(c);
}

struct cache_block *cache_get(struct journal_cache *c, int fd,
                              const struct segment *s, uint32_t index,
                              size_t need, uint64_t end)
{
    uint64_t at = (uint64_t)index * CACHE_BLOCK;
    size_t want = end - at < CACHE_BLOCK ? end - at : CACHE_BLOCK;
    struct cache_block *b;
    bool found;

    ASSERT(need <= want);
    b = find(c, s, index, &found);
    if (!found) {
        b->base = s->base;
        b->epoch = s->epoch;
        b->index = index;
        b->len = 0;
        b->checked_from = b->checked_to = 0;
    }
    b->used = ++c->tick;
    if (b->len >= need)
        return b;
    if (io_pread_all(fd, b->data + b->len, want - b->len,
                     (off_t)(at + b->len)) != 0 ||
        s->base < atomic_load(&c->head->first)) {
        if (!b->pins)
            b->base = 0;
        return NULL;
    }
    b->len = want;
    return b;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * cache.h - blocks of segments, shared by the readers of one thread.
 *
 * Bytes come in here once and are checked once, however many lanes pass over
 * them. Only bytes that are final are asked for (below head->tail_end in the
 * tail), so a block is never stale; it only grows. */
#ifndef JOURNAL_CACHE_H
#define JOURNAL_CACHE_H

#include "journal/segment.h"

#define CACHE_BLOCK (256u << 10)

struct cache_block {
    uint64_t base; /* of its segment, 0: free */
    uint32_t epoch;
    uint32_t index; /* offset / CACHE_BLOCK */
    size_t len;     /* bytes that are there */
    /* Offsets in the file between which each record's sum was right. */
    uint64_t checked_from, checked_to;
    uint64_t used;  /* tick of the last use */
    unsigned pins;
    unsigned char *data; /* owned, CACHE_BLOCK bytes */
};

struct journal_cache {
    int dir; /* borrowed */
    const struct journal_head *head;
    uint64_t tick;
    unsigned n, cap;
    struct cache_block **blocks; /* owned; each stays where it is */
};

/* The block of s with that index, holding at least its first `need` bytes,
 * read on up to `end` (an offset in the file). NULL when it cannot be read or
 * the segment was retired meanwhile. Stays while pinned. */
struct cache_block *cache_get(struct journal_cache *c, int fd,
                              const struct segment *s, uint32_t index,
                              size_t need, uint64_t end);

#endif

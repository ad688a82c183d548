/* SPDX-License-Identifier: Apache-2.0
 *
 * warmup.h - which events came lately, read from the id files in a thread.
 *
 * Gives them newest first, a segment's worth at a time; its reading runs
 * WARMUP_AHEAD segments before whoever takes. Knows nothing of what is done
 * with them. */
#ifndef INGEST_WARMUP_H
#define INGEST_WARMUP_H

#include "journal/journal.h"

#include <stddef.h>

#define WARMUP_AHEAD 2

struct warmup;

enum warmup_state {
    WARMUP_MORE, /* *entries and *n were set; owned by the caller */
    WARMUP_WAIT, /* nothing is ready yet */
    WARMUP_END,
    WARMUP_FAILED /* logged; there is no more */
};

/* From number `last` down, until a whole segment is older than since_ms. dir
 * and head are borrowed until the end. */
struct warmup *warmup_start(int dir, const struct journal_head *head,
                            uint64_t last, int64_t since_ms);
/* Waits for up to wait_ms. The entries are those of ids.h, in the order of
 * their numbers. */
enum warmup_state warmup_take(struct warmup *w, int64_t wait_ms,
                              unsigned char **entries, size_t *n);
/* About how many there will be; known when the first were taken. */
uint64_t warmup_expected(struct warmup *w);
/* Numbers so far of which nothing is known any more. */
uint64_t warmup_unknown(struct warmup *w);
/* Ends the thread, wherever it is. */
void warmup_free(struct warmup *w);

#endif

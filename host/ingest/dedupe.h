/* SPDX-License-Identifier: Apache-2.0
 *
 * dedupe.h - which events were taken already, by source and messageId.
 *
 * Knows an event in one of two ways: it is on its way to the disk, then a
 * duplicate waits for the first one's number, and a failed commit forgets
 * both; or it is durable, then its hash is in a set (idset.h) for as long as
 * the window and the memory allow. After a start the set is filled from the
 * id files; until that is done dedupe_facts() says so. Hashes are compared
 * whole, so what is told to be a duplicate is one. One thread. */
#ifndef INGEST_DEDUPE_H
#define INGEST_DEDUPE_H

#include "journal/journal.h"

#include <stdbool.h>
#include <stdint.h>

/* Events appended and not durable yet; more do not fit into the journal's
 * staging. */
#define DEDUPE_FLIGHT_MOST (1u << 19)
#define DEDUPE_WARN_MS 600000 /* between two warnings that memory is short */
#define DEDUPE_RETRY_MS 60000 /* after the id files could not be read */

struct dedupe;

enum dedupe_found {
    DEDUPE_NEW,
    DEDUPE_IN_FLIGHT, /* *seq must be durable first */
    DEDUPE_KNOWN
};

enum dedupe_state { DEDUPE_OFF, DEDUPE_WARMING, DEDUPE_WHOLE };

struct dedupe_facts {
    enum dedupe_state state;
    uint64_t ids, bytes, evicted;
    int64_t window_ms; /* ids of this age are surely known; <= configured */
};

/* Off until it is configured. */
struct dedupe *dedupe_new(void);
void dedupe_free(struct dedupe *d);
/* window_ms 0 turns it off and forgets; what a larger window or more memory
 * allows to be known again is read by the next dedupe_warm(). */
void dedupe_configure(struct dedupe *d, int64_t window_ms, uint64_t memory);
/* Begins to fill, if that is needed: once when the journal was opened, and
 * after each configure. dir and head stay borrowed. */
void dedupe_warm(struct dedupe *d, int dir, const struct journal_head *head);
/* Takes up to `most` ids, waiting up to wait_ms for them; false when there is
 * nothing more to do. */
bool dedupe_warm_step(struct dedupe *d, uint64_t most, int64_t wait_ms);

/* One of several that dedupe_find() will be asked for: has its place fetched
 * from memory meanwhile. */
void dedupe_prefetch(const struct dedupe *d, const unsigned char hash[16]);
/* Before an event is appended: is it a duplicate? */
enum dedupe_found dedupe_find(struct dedupe *d, const unsigned char hash[16],
                              int64_t now_ms, uint64_t *seq);
/* It was not and got this number; numbers follow each other. */
void dedupe_note(struct dedupe *d, const unsigned char hash[16], uint64_t seq,
                 int64_t received_ms);
/* Every number up to this one is durable. */
void dedupe_durable(struct dedupe *d, uint64_t durable);
/* The same for `most` of them, at the most; true when there are more. */
bool dedupe_durable_some(struct dedupe *d, uint64_t durable, unsigned most);
/* What was noted and is not durable is lost. */
void dedupe_forget(struct dedupe *d);

/* For quiet times, about ten times a second. */
void dedupe_tidy(struct dedupe *d);
struct dedupe_facts dedupe_facts(const struct dedupe *d);

#endif

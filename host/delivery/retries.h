/* SPDX-License-Identifier: Apache-2.0
 *
 * retries.h - parts of events that failed, by the time of their next attempt.
 *
 * A binary heap; what it holds is bounded by the lanes (LANE_RETRIES_MAX of
 * each), which stop reading before. */
#ifndef DELIVERY_RETRIES_H
#define DELIVERY_RETRIES_H

#include "lane/lane.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ticket;

/* One event for one subscription: the unit of delivery. */
struct part {
    struct lane_event *ev;
    struct ticket *ticket;      /* where its turn matters, else NULL */
    uint32_t subscription, key; /* index; what names it in state.db */
    uint32_t attempts;          /* made so far */
    int64_t first_ms;           /* Unix time of the first, 0: none yet */
    bool persisted;             /* state.db has a retry row for it */
    bool refused;               /* with a 401 just now: a token is fetched */
};

struct retry {
    struct part part;
    int64_t due_ms; /* monotonic */
};

struct retries {
    struct retry *heap;
    size_t count, cap;
};

void retries_deinit(struct retries *r);
void retries_push(struct retries *r, const struct part *p, int64_t due_ms);
/* The one that is due first; there must be one. */
struct part retries_pop(struct retries *r);
/* When that is, monotonic ms; INT64_MAX if there is none. */
int64_t retries_due_ms(const struct retries *r);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * suspects.h - events that a worker died over.
 *
 * The worker marks in its slot what it has in hand when it enters a plugin.
 * When it dies there, the supervisor counts that against the event; after the
 * second time the next worker is told not to try it. Where a batch was in
 * hand, its events are tried alone until it is known which one it is. */
#ifndef DELIVERY_SUSPECTS_H
#define DELIVERY_SUSPECTS_H

#include "ipc/proto.h"

#include <manifold/types.h>
#include <stdbool.h>

#define POISON_MAX 64 /* events of a worker's lanes that are not tried */

struct suspects {
    struct msg_careful careful;
    struct {
        uint32_t lane;
        uint64_t seq;
        char *why; /* owned */
    } poison[POISON_MAX];
    unsigned count;
};

/* A MSG_CAREFUL or MSG_POISON; others are not looked at. */
void suspects_message(struct suspects *s, uint32_t type, mf_str text);
void suspects_deinit(struct suspects *s);
/* Why the event is not to be tried; empty: it is. s may be NULL. */
mf_str suspects_why(const struct suspects *s, uint32_t lane, uint64_t seq);
bool suspects_alone(const struct suspects *s, uint64_t seq);

/* What is in hand, from now on. lane and seq are 0 where it is no event. */
void slot_mark(struct slot *slot, enum slot_phase phase, uint32_t lane,
               uint64_t seq, uint64_t last, int64_t limit_ms);
void slot_unmark(struct slot *slot); /* it is the host's own code again */

#endif

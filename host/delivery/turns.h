/* SPDX-License-Identifier: Apache-2.0
 *
 * turns.h - which of a destination's lanes is read next: deficit round robin
 * by bytes.
 *
 * In its turn a lane may give TURN_BYTES and what it owes is taken off later
 * turns, so that over time lanes that have events give equally many bytes,
 * however long, or many, those of one source are. A lane with nothing to give
 * saves nothing up. */
#ifndef DELIVERY_TURNS_H
#define DELIVERY_TURNS_H

#include "lane/lane.h"

#define TURN_BYTES       16384 /* a turn */
#define TURN_EVENT_BYTES 256   /* that an event counts beyond its own */
#define TURN_SCAN_BYTES  4096  /* for passing a stretch of other sources' */
#define LANES_MAX        4096  /* of a destination */

struct turn {
    struct lane *lane;
    int64_t credit; /* bytes; negative: it took more than it had */
    bool begun;
};

struct turns {
    struct turn *list;
    size_t count, cap, at;
};

void turns_deinit(struct turns *t); /* and its lanes */
void turns_add(struct turns *t, struct lane *l);
/* As lane_take(), of the lane whose turn it is; LANE_EMPTY when none has
 * anything that can be taken. */
enum lane_take turns_take(struct turns *t, struct lane_event **ev,
                          struct journal_record *r, struct err *e);
/* Has one of them listed events to read again? */
bool turns_rereading(const struct turns *t);
/* Would turns_take() give something? */
bool turns_ready(const struct turns *t);

#endif

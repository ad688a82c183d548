/* SPDX-License-Identifier: Apache-2.0
 *
 * replays.h - replays in state.db: what was asked for, and whether it goes on.
 * How far each is stands in its lanes. */
#ifndef STATE_REPLAYS_H
#define STATE_REPLAYS_H

#include "state/state.h"

struct state_replay {
    uint32_t id;
    double rate;               /* events a second, 0: no limit of its own */
    int64_t from_ms, until_ms; /* received in [from, until) */
    uint64_t first, last;      /* numbers that it reads */
    int64_t begun_ms, ended_ms; /* ended 0: under way */
    enum replay_stop stopped;
    mf_str destination, where; /* borrowed for the call; where: FQL, or "" */
};

/* Makes it when id is 0, and sets it; else keeps what changes: ended, stopped.
 */
int state_replay_put(struct state *s, struct state_replay *r, struct err *e);
int state_replays(struct state *s,
                  void (*each)(void *arg, const struct state_replay *r),
                  void *arg, struct err *e);
/* And its lanes, with their retries and letters. */
int state_replay_forget(struct state *s, uint32_t id, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.h - what a replay lane has beside a live one, and when it may take a
 * turn.
 *
 * Live traffic wins: a replay takes an event only where no live lane of the
 * destination has one ready, holds at most half of the calls at once, and
 * leaves half a second's worth of the destination's own rate to events that
 * come meanwhile. So a live event finds a free call and a token at once,
 * whatever is replayed. A destination whose live lanes always have something
 * ready would starve its replays for ever; there every REPLAY_TURN-th event is
 * a replay's: it ends in the end, and costs live traffic 6 % at the most. */
#ifndef DELIVERY_REPLAY_H
#define DELIVERY_REPLAY_H

#include "base/bucket.h"
#include "ipc/proto.h"
#include "mapping/fql.h"

#include <stdbool.h>

#define REPLAY_TURN  16 /* of so many events one, where live ones never end */
#define REPLAY_BURST 1  /* seconds of its rate at once */

/* The owner of a replay's lanes; that of a live one is NULL. */
struct replay {
    uint32_t id;
    unsigned uses; /* lanes of it */
    struct fql *where; /* NULL: all */
    int64_t from_ms, until_ms;
    struct bucket bucket;
    enum replay_stop stopped;
    struct arena scratch;
};

/* With one use. NULL with *e told if the filter does not compile. */
struct replay *replay_new(const struct msg_lane *m, mf_str where,
                          int64_t now_ms, struct err *e);
struct replay *replay_share(struct replay *r);
void replay_leave(struct replay *r); /* NULL is fine */
/* NULL is not. */
bool replay_is_cancelled(const struct replay *r);
/* Is the event one to be sent again? True for any of a live lane. */
bool replay_wants(struct replay *r, const struct journal_record *event);
/* Monotonic ms from which on it may take an event; INT64_MAX: not before it
 * is told to go on, or a call has ended. flying: calls of replays; of: how
 * many calls there may be. */
int64_t replay_next_ms(const struct replay *r, unsigned flying, unsigned of,
                       int64_t now_ms);
/* The destination's own bucket has enough for a replay to take from it. */
bool replay_leaves_enough(const struct bucket *of_destination,
                          int64_t now_ms);
/* Milliseconds until it has. */
int64_t replay_bucket_wait_ms(const struct bucket *of_destination,
                              int64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * replays.h - stretches of the journal that are sent to a destination again.
 *
 * A replay has a lane for each of its sources, with a cursor and counters of
 * its own, so that it goes on after a restart where it stood and the live
 * lanes' books know nothing of it. Events keep their messageId and with it
 * every key that a plugin derives from it. TTL counts from the begin of the
 * replay. */
#ifndef SUPERVISOR_REPLAYS_H
#define SUPERVISOR_REPLAYS_H

#include "mapping/fql.h"
#include "state/replays.h"
#include "supervisor/supervisor.h"

#define REPLAYS_MAX  64 /* under way */
#define REPLAYS_KEPT 32 /* that have ended, and those with letters besides */

struct sup_replay {
    struct sup_replay *next;
    struct state_replay r;
    char *destination, *where; /* owned; r's are they */
};

struct replay_request {
    int64_t from_ms, until_ms; /* until_ms 0: now */
    mf_str where, source;      /* "" none, all */
    double rate;               /* 0: none */
};

/* What the journal holds, by the time of its first and last event. */
struct retained {
    uint64_t first, last; /* 0: nothing */
    int64_t from_ms;
};
int replays_retained(struct supervisor *s, struct retained *out,
                     struct err *e);

/* NULL: *e says why it cannot be. */
struct sup_replay *replay_begin(struct supervisor *s,
                                struct sup_destination *d,
                                const struct replay_request *q,
                                struct err *e);
struct sup_replay *replay_find(struct supervisor *s, mf_str destination,
                               uint64_t id);
/* False: it has ended. */
bool replay_stop(struct supervisor *s, struct sup_replay *r,
                 enum replay_stop stop);
void replay_write(struct supervisor *s, const struct sup_replay *r,
                  struct json_out *w);
/* An array; of all destinations when the name is NULL. */
void replays_write(struct supervisor *s, const char *destination,
                   struct json_out *w);

#endif

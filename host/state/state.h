/* SPDX-License-Identifier: Apache-2.0
 *
 * state.h - state.db: what must survive a restart beside the journal.
 *
 * The supervisor is its only user. Changes gather in one transaction that
 * state_commit() makes durable, so that a lane's cursor and its counters,
 * retries and dead letters move together: the conservation law holds in every
 * state the file can be found in. */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/err.h"
#include "ipc/proto.h"
#include "ledger/log.h"

#include <manifold/types.h>
#include <stdbool.h>

struct state;

struct state *state_open(const char *path, struct err *e);
void state_close(struct state *s); /* commits */
/* Closes without what was not committed. */
void state_abandon(struct state *s);
/* Anything written since the last commit? */
bool state_dirty(const struct state *s);
/* -1 when the disk will not have them: they are kept, can be read, and the
 * next call tries again. */
int state_commit(struct state *s, struct err *e);
/* True while more waits to be made durable than is good: take no reports. */
#define STATE_STRAINED (32u << 20)
bool state_strained(const struct state *s);

/* The number of a source, given once and for all to its name. 0 on error. */
uint32_t state_source(struct state *s, const char *name, struct err *e);

struct state_lane {
    uint32_t id, source;
    uint32_t replay; /* the job it is of (replays.h), 0: the live lane */
    uint64_t until;  /* of a replay: the last number it reads */
    uint64_t mark;   /* random: no other lane has it, or ever had */
    char destination[72], source_name[72];
    uint64_t start; /* the first event that was its own to read */
    struct journal_pos next;
    struct counters counters;
    struct journal_pos *pending; /* owned by the callee for the call */
    uint32_t pending_count;
};

/* Finds or makes the lane of a source and a destination, or the one of a
 * replay of theirs; a new one begins at `start`. *made says which.
 * out->pending is owned by the caller (free). */
int state_lane_open(struct state *s, uint32_t source, const char *destination,
                    uint32_t replay, uint64_t until,
                    struct journal_pos start, struct state_lane *out,
                    bool *made, struct err *e);
int state_lane_put(struct state *s, const struct msg_lane_state *m,
                   const struct journal_pos *pending, struct err *e);
/* Every lane there is, also those of destinations that are gone. */
int state_lanes(struct state *s,
                void (*each)(void *arg, const struct state_lane *lane),
                void *arg, struct err *e);

int state_retry_put(struct state *s, const struct msg_retry *r, mf_str error,
                    struct err *e);
/* One attempt that failed, so that it can be looked at while the part waits,
 * and as long as the dead letter it ends in. The last ATTEMPTS_KEPT stay. */
#define ATTEMPTS_KEPT 3

struct attempt {
    int64_t when_ms;
    mf_str error, request, response;
};

int state_attempt_add(struct state *s, const struct msg_retry *r,
                      const struct attempt *a, struct err *e);
int state_retry_drop(struct state *s, const struct msg_retry_key *k,
                     struct err *e);
int state_retries(struct state *s, uint32_t lane,
                  void (*each)(void *arg, const struct msg_retry *r,
                               mf_str error, mf_str event),
                  void *arg, struct err *e);

/* ---- the outcome log: see ledger/log.h ---- */

int state_segment_put(struct state *s, const struct ledger_segment *g,
                      struct err *e);
int state_segment_drop(struct state *s, uint64_t n, struct err *e);
/* Oldest first. */
int state_segments(struct state *s,
                   void (*each)(void *arg, const struct ledger_segment *g),
                   void *arg, struct err *e);
/* What a lane's counters were when segment n began. */
int state_base_put(struct state *s, uint64_t n, uint32_t lane,
                   const struct ledger_sums *sums, struct err *e);

/* Whether another part of the event is dead, told to those that wait. */
int state_retry_mark(struct state *s, uint32_t lane, uint64_t seq, bool dead,
                     struct err *e);

/* ---- dead without a letter ---- */

/* `count` events of the lane between two numbers: what retention or damage
 * took, or what outlived its ttl while the lane lagged. */
struct dead_range {
    uint32_t lane, reason;
    uint64_t from, to, count;
    int64_t when_ms; /* when it grew last */
};

#define DEAD_RANGES_MAX 1000 /* of a lane; beyond, the oldest become one */

/* One that begins where another of its lane and reason does takes its place. */
int state_range_put(struct state *s, const struct dead_range *r,
                    struct err *e);
/* Newest first, at most `limit`. */
int state_ranges(struct state *s, const char *destination, unsigned limit,
                 void (*each)(void *arg, const struct dead_range *r),
                 void *arg, struct err *e);


/* Tokens that cannot be got a second time: a refresh token that was replaced
 * makes the one in the configuration worthless. tokens "" forgets. */
int state_token_put(struct state *s, mf_str destination, mf_str origin,
                    mf_str tokens, int64_t expires_ms, struct err *e);
int state_tokens(struct state *s,
                 void (*each)(void *arg, mf_str destination, mf_str origin,
                              mf_str tokens, int64_t expires_ms),
                 void *arg, struct err *e);

/* Paused destinations stay so over a restart. why: "" if people did it. */
int state_pause(struct state *s, const char *destination, bool on,
                const char *why, struct err *e);
bool state_paused(struct state *s, const char *destination, char *why,
                  size_t size);

/* What was left of a declared rate. out: a worker has it, and what that has
 * used is not known. */
struct state_pace {
    double tokens;
    int64_t at_ms; /* Unix time */
    bool out;
};

int state_pace_put(struct state *s, const char *destination,
                   const struct state_pace *p, struct err *e);
bool state_pace(struct state *s, const char *destination,
                struct state_pace *p); /* false: there is none */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * destination.h - one destination at work inside a worker: takes events from
 * its lanes, selects, maps, sends, judges, retries.
 *
 * What it decides: how many calls run at once, when a failed part is tried
 * again, when it is given up, when the far side is so ill that it is probed
 * instead of served. What it leaves to others: the requests (plugin layer),
 * the network (transport), what is durable (the supervisor, told through
 * struct reports). */
#ifndef DELIVERY_DESTINATION_H
#define DELIVERY_DESTINATION_H

#include "delivery/transport.h"
#include "ipc/proto.h"
#include "lane/lane.h"
#include "plugin/instance.h"

#include <stdbool.h>

#define PLUGIN_GRACE_MS    10000  /* for native code beyond its own deadline */
#define DEAD_EVENT_BYTES   65536  /* of an event kept in a dead letter */
#define DEAD_NAME_BYTES    200   /* of its name */
#define DEAD_EXCHANGE_BYTES 16384 /* of its last request and answer each */
#define ATTEMPT_BYTES      2048   /* of those of earlier attempts */

/* Where a destination tells what must become durable, in this order. */
struct reports {
    void (*retry)(void *arg, const struct msg_retry *r, mf_str error,
                  mf_str request, mf_str response);
    void (*retry_done)(void *arg, const struct msg_retry_key *k);
    void (*dead)(void *arg, const struct msg_dead *d, mf_str error,
                 mf_str action, mf_str message_id, mf_str event,
                 mf_str request, mf_str response, mf_str name);
    /* A message of token.h; and that there are others to be kept secret. */
    void (*token)(void *arg, enum message type, const struct msg_token *m,
                  mf_str name, mf_str origin, mf_str tokens);
    void (*secrets)(void *arg);
    /* It has paused itself. */
    void (*paused)(void *arg, const char *name, mf_str why);
    void *arg;
};

struct destination_options {
    const char *name;
    unsigned concurrency;    /* calls at once */
    double rate;             /* requests a second, 0: no limit */
    double retry_rate;       /* of these, repeated ones; 0: derived */
    int64_t ttl_ms, batch_wait_ms;
    int64_t timeout_ms, connect_timeout_ms, first_byte_timeout_ms;
    bool allow_private;
    bool by_user;            /* each user's events leave in order */
};

struct destination;

/* All borrowed for its life but o->name. */
struct destination *destination_new(struct instance *i,
                                    const struct destination_options *o,
                                    struct transport *t, struct slot *slot,
                                    const struct reports *reports);
void destination_free(struct destination *d); /* and its lanes */
const char *destination_name(const struct destination *d);

/* Borrowed; it may change between calls. */
struct suspects;
void destination_suspect(struct destination *d, const struct suspects *s);
/* Takes the lane over. */
void destination_add_lane(struct destination *d, struct lane *l);
struct lane *destination_lane(struct destination *d, uint32_t id);
size_t destination_lane_count(const struct destination *d);
struct lane *destination_lane_at(struct destination *d, size_t i);
/* A retry of before a restart. event: its text where the journal does not
 * hold it any more, else empty. */
void destination_restore(struct destination *d, struct lane *l,
                         const struct msg_retry *r, mf_str event);
/* A dead letter is tried again. */
void destination_revive(struct destination *d, struct lane *l,
                        const struct msg_revive *r, mf_str event);
/* Takes the lane's replay over, made by the first of its lanes. -1: its filter
 * does not compile. Before destination_add_lane(). */
int destination_own(struct destination *d, struct lane *l,
                    const struct msg_lane *m, mf_str where, struct err *e);
/* The lane is freed. False: events of it are not settled. */
bool destination_drop_lane(struct destination *d, struct lane *l);
/* The replay goes on, waits, or ends with what is under way. */
void destination_replay(struct destination *d, struct lane *l,
                        enum replay_stop stopped);

/* The access token its calls need, or NULL. */
struct token *destination_token(struct destination *d);

/* The worker is itself at its limit, or no longer: strain.h. */
void destination_behind(struct destination *d, bool behind);
/* Starts what may start now, at most `budget` events. Returns true if there
 * is more to start at once. */
bool destination_pump(struct destination *d, unsigned budget);
/* Monotonic ms at which destination_pump() has something to do again without
 * any other event; INT64_MAX for none. */
int64_t destination_next_ms(struct destination *d);
/* What was left of its rate, when (Unix ms), and what is now. Of its life in
 * one worker after the other. */
void destination_pace(struct destination *d, double tokens, int64_t at_ms);
double destination_pace_left(const struct destination *d);
/* Stops reading; what is in flight finishes. */
void destination_drain(struct destination *d);
void destination_pause(struct destination *d, bool on);
unsigned destination_in_flight(const struct destination *d);
/* Fills all but the lengths; error is borrowed until the next call. */
void destination_status(struct destination *d, struct msg_destination *m,
                        const char **error);
bool destination_status_changed(struct destination *d);
/* Called when a call has ended, so that the worker pumps again. */
void destination_on_settled(struct destination *d, void (*fn)(void *arg),
                            void *arg);

#endif

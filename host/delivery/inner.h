/* SPDX-License-Identifier: Apache-2.0
 *
 * inner.h - what the parts of a destination know of each other and nobody
 * else does. Not included outside this folder.
 *
 * destination.c  its life, its lanes, what is taken and when
 * flight.c       calls: batches that fill, calls under way, their answers
 * settle.c       what becomes of a part: settled, set aside, dead
 * health.c       the breaker, and the quiet that a far side asked for */
#ifndef DELIVERY_INNER_H
#define DELIVERY_INNER_H

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/backoff.h"
#include "delivery/destination.h"
#include "delivery/health.h"
#include "delivery/retries.h"
#include "delivery/suspects.h"
#include "delivery/token.h"

#define LANES_MAX 4096

struct flight {
    struct destination *d;
    struct flight *prev, *next; /* in d->open or d->flying */
    struct call *call;
    struct part *parts;
    unsigned count, cap, outstanding;
    bool probe; /* left while the breaker was open */
    int64_t flush_ms;  /* monotonic; open ones */
    mf_str key;        /* batch key; owned */
    uint64_t token;    /* version of the token it carries */
    const struct call_request *last; /* of the last answer; lives in call */
    char *last_answer; /* owned text of the last answer that was no success */
    char error[256];   /* why the last request got no answer */
};

struct destination {
    char *name;
    struct instance *instance;
    struct transport *transport;
    struct slot *slot;
    const struct suspects *suspects; /* NULL: none */
    struct reports reports;
    unsigned concurrency;
    int64_t ttl_ms, batch_wait_ms;
    struct transport_options transport_options;
    struct bucket bucket;
    struct token *token; /* NULL: calls need none */
    uint32_t *keys; /* of the subscriptions */

    struct lane *lanes[LANES_MAX];
    size_t lane_count, turn;
    struct flight open, flying; /* heads of rings */
    unsigned open_count, flying_count;
    struct retries retries;
    struct arena map_arena;

    bool paused, draining, pumping, changed;
    int64_t broken_ms; /* monotonic; not read again before */
    struct health health;
    char last_error[ERROR_TEXT_MAX];
    int64_t last_error_ms;
    uint64_t classes[6], delivery_ns, deliveries;
    void (*settled)(void *arg);
    void *settled_arg;
};

uint64_t chance64(void);
/* A text of at most so many bytes, whole characters where it is UTF-8. */
mf_str text_cut(mf_str s, size_t most);
void destination_note_error(struct destination *d, const char *what);

/* ---- flight.c ---- */

void flights_init(struct destination *d);
void flights_deinit(struct destination *d);
/* Sends the part off, alone or in a batch. */
void flight_take(struct destination *d, const struct part *p, mf_val event,
                 mf_val payload);
bool flight_room(const struct destination *d);
/* Launches what is full or has waited long enough. True if a due batch must
 * wait for room: then nothing new may be taken. */
bool flights_flush(struct destination *d, int64_t now_ms);
/* When the next batch has waited long enough, INT64_MAX: there is none. */
int64_t flights_due_ms(const struct destination *d);

/* ---- settle.c ---- */

/* `code` as lane_settle() wants it. */
void part_settle(struct destination *d, struct part *p, uint8_t code);
/* A dead letter. f: the call it was in, or NULL; event: its text, or empty to
 * have it read again. */
void part_bury(struct destination *d, struct part *p, enum dead_reason why,
               int32_t status, mf_str error, const struct flight *f,
               mf_str event);
/* A 401 that a new token may mend. One after that is a result. */
bool part_wants_token(const struct destination *d, const struct flight *f,
                      unsigned i);
/* By its own result of a call that is done. */
void part_judge(struct destination *d, struct flight *f, unsigned i);

#endif

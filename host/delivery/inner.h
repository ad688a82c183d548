/* SPDX-License-Identifier: Apache-2.0
 *
 * inner.h - what the parts of a destination know of each other and nobody
 * else does. Not included outside this folder.
 *
 * destination.c  its life, its lanes, what it says of itself
 * pump.c         what is taken, and when
 * flight.c       calls: batches that fill, calls under way, their answers
 * revive.c       what is taken up again, and replays beside live lanes
 * split.c        batches that are refused whole
 * settle.c       what becomes of a part: settled, set aside, dead
 * health.c       the breaker, and the quiet that a far side asked for
 * limiter.c      how many calls may be under way
 * strain.c       whether it is we who are slow
 * pacing.c       how often it may be called
 * turns.c        which lane is read next
 * order.c        which part must wait for which */
#ifndef DELIVERY_INNER_H
#define DELIVERY_INNER_H

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/backoff.h"
#include "delivery/destination.h"
#include "delivery/health.h"
#include "delivery/limiter.h"
#include "delivery/order.h"
#include "delivery/pacing.h"
#include "delivery/retries.h"
#include "delivery/suspects.h"
#include "delivery/token.h"
#include "delivery/turns.h"

#define BROKEN_PAUSE_MS  1000 /* after the journal could not be read */
#define OPEN_BATCHES_MAX 256 /* then the oldest goes as it is */
#define RECORDS_A_SECOND 2000 /* letters and rows of retries it may cause */
#define LATE_RETRIES_MAX 16  /* calls kept ready that wait for the ceiling */

struct flight {
    struct destination *d;
    struct flight *prev, *next; /* in d->open, d->ready or d->flying */
    struct call *call;
    struct part *parts;
    unsigned count, cap, outstanding;
    bool retry;        /* its parts were tried before */
    bool waited_for;   /* a part waits for its turn behind one of it */
    bool probe;        /* left while the breaker was open */
    bool replay;       /* of a replay's event, or begun with one */
    bool answered, unanswered; /* a request of it was, was not */
    int64_t flush_ms;  /* monotonic; open ones */
    int64_t began_ns;  /* monotonic; those that fly */
    mf_str key;        /* batch key; owned */
    uint64_t token;    /* version of the token it carries */
    const struct call_request *last; /* of the last answer; lives in call */
    char *last_answer; /* owned text of the last answer that was no success */
};

/* Flights in the order in which they came. */
struct ring {
    struct flight head;
    unsigned count;
};

/* How many parts a batch of a subscription may have, as far as the far side
 * has shown. */
struct batch_learned {
    unsigned most; /* 0: as declared */
    unsigned good; /* full ones in a row that went well */
};

struct destination {
    char *name;
    struct instance *instance;
    struct transport *transport;
    struct slot *slot;
    const struct suspects *suspects; /* NULL: none */
    struct reports reports;
    int64_t ttl_ms, batch_wait_ms;
    struct transport_options transport_options;
    struct transport_account account;
    struct token *token; /* NULL: calls need none */
    uint32_t *keys; /* of the subscriptions */
    struct batch_learned *batches; /* of these */
    bool pauses_on_gone;  /* a 410 pauses it */

    struct turns turns; /* its live lanes */
    struct turns replays; /* its replays; each in its turn an event */
    unsigned replay_flying; /* their calls under way */
    unsigned live_run;  /* events of live lanes since the last of a replay */
    struct ring open;   /* batches that wait for more, the oldest first */
    struct ring ready;  /* calls that wait to be allowed */
    struct ring flying;
    unsigned late;      /* of those ready: retries */
    struct retries retries;
    struct order *order; /* NULL: nothing need keep any */
    bool by_user;        /* each user's events keep theirs */
    struct arena map_arena;

    bool paused, draining, pumping, changed;
    int64_t broken_ms; /* monotonic; not read again before */
    struct health health;
    struct limiter limiter;
    struct pacing pacing;
    struct bucket records; /* what others must write for it */
    bool rereading;        /* a lane may have listed events to read again */
    char last_error[ERROR_TEXT_MAX];
    int64_t last_error_ms;
    uint64_t classes[6];
    struct histogram requests, end_to_end;
    void (*settled)(void *arg);
    void *settled_arg;
};

uint64_t chance64(void);
/* A text of at most so many bytes, whole characters where it is UTF-8. */
mf_str text_cut(mf_str s, size_t most);
void destination_note_error(struct destination *d, const char *what);

/* ---- revive.c ---- */

/* Where the subscription of that key stands, -1: there is none. */
int destination_subscription(const struct destination *d, uint32_t key);
void replays_deinit(struct destination *d);
/* When a replay may take an event, monotonic; INT64_MAX: not before it is
 * told to go on, or a call has ended. */
int64_t replays_next_ms(const struct destination *d, int64_t now_ms);
/* As turns_take(), of a replay that may. */
enum lane_take replays_take(struct destination *d, int64_t now_ms,
                            struct lane_event **ev, struct journal_record *r,
                            struct err *e);
/* A replay goes first this time. */
bool replays_due(const struct destination *d);
/* False: the event is none that the replay is about, and has ended. */
bool lane_takes(struct destination *d, struct lane_event *ev,
                const struct journal_record *r);

/* ---- flight.c ---- */

void flights_init(struct destination *d);
void flights_deinit(struct destination *d);
/* Sends the part off as soon as it may go, alone or in a batch. */
void flight_take(struct destination *d, const struct part *p, mf_val event,
                 mf_val payload);
/* What it is made of, for those who compose a call themselves. */
struct flight *flight_new(struct destination *d, const struct part *p);
void flight_board(struct flight *f, const struct part *p, mf_val event,
                  mf_val payload);
void flight_make_ready(struct destination *d, struct flight *f);
/* Whether a new part may be taken now: a call that would be launched for it
 * need not wait. */
bool flight_room(const struct destination *d);
/* When such a call may go, monotonic ms; INT64_MAX: not before another ends.
 * retry: it repeats an earlier one. */
int64_t flight_start_ms(struct destination *d, bool retry, int64_t now_ms);
/* Launches what is full or has waited long enough. True if some of it must
 * wait: then nothing new may be taken. */
bool flights_flush(struct destination *d, int64_t now_ms);
/* Closes the batches that others wait for: nothing will fill them. */
void flights_hurry(struct destination *d);
/* What has not left goes back to the lanes, for the worker that comes next. */
void flights_give_back(struct destination *d);
/* When flights_flush() has something to do without any other event, monotonic;
 * INT64_MAX: there is nothing. */
int64_t flights_due_ms(struct destination *d, int64_t now_ms);

/* ---- split.c ---- */

/* Parts of a batch, at the most, as of now. */
unsigned batch_most(const struct destination *d, unsigned subscription);
/* What a call that has ended says of that. */
void batch_learn(struct destination *d, const struct flight *f);
/* Is this part's result that of the whole batch, and not final for it? */
bool split_wanted(const struct flight *f, unsigned i);
/* Calls these again in two halves. They are no longer f's. */
void split_flight(struct destination *d, struct flight *f);

/* ---- pump.c ---- */

/* Its payload, in d->map_arena; false if there is none: then it is dead. */
bool part_map(struct destination *d, struct part *p, mf_str event,
              mf_val *payload);

/* ---- settle.c ---- */

/* `code` as lane_settle() wants it. */
void part_settle(struct destination *d, struct part *p, uint8_t code);
/* Leaves the lane's window for a row in state.db, to be tried after so long.
 * f: the call it was in, or NULL. */
void part_set_aside(struct destination *d, struct part *p,
                    const struct flight *f, int32_t status, mf_str error,
                    int64_t wait_ms);
/* It has its row already, and is to be tried at that time, monotonic. */
void part_put_due(struct destination *d, struct part *p, int64_t due_ms);
/* t awaits its turn; from now on with a row. */
void part_wait_aside(struct destination *d, struct ticket *t);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * letters.h - dead letters in state.db, one for each part of an event that
 * was given up, and the jobs that send them again or drop them.
 *
 * All of it works in slices: no call here looks at more rows than it is told,
 * so that a hundred thousand letters do not hold the supervisor up. Letters
 * that go without being delivered are counted in a dropped range. */
#ifndef STATE_LETTERS_H
#define STATE_LETTERS_H

#include "state/state.h"

#define LETTERS_MAX     100000       /* of a destination; the oldest go */
#define LETTER_BYTES_MAX (1ull << 30) /* of their texts */
#define LETTER_AGE_MS   2592000000   /* 30 days */
#define LETTERS_SCAN    10000 /* looked at for one page */
#define LETTERS_PAGE    1000  /* given in one page */

struct dead_letter {
    int64_t id;
    struct msg_dead m;
    uint32_t source;
    mf_str destination, error, action, message_id, name;
    mf_str version, hash;            /* of the plugin */
    mf_str event, request, response; /* empty unless asked for */
};

/* Unset members match any letter. */
struct letter_filter {
    int64_t id, since_ms, until_ms; /* when it died; until is beyond the last */
    uint32_t reasons;               /* a bit for each enum dead_reason */
    bool by_status;
    int32_t status;
    uint32_t source;
    mf_str action, message_id, name;
};

struct letter_query {
    const char *destination;
    struct letter_filter filter;
    int64_t after;      /* go on behind this id, 0: from the beginning */
    int64_t last;       /* not beyond this id, 0: no bound; oldest first only */
    bool newest_first, texts;
    unsigned limit, scan; /* at most LETTERS_PAGE, LETTERS_SCAN */
};

/* False ends the page behind this letter. It must not write. */
typedef bool letter_fn(void *arg, const struct dead_letter *d);

/* Replaces a letter of the same part. The event's other parts that wait are
 * told that one is dead. What is missing of its event is taken from the retry
 * that it was. */
int state_dead_add(struct state *s, const struct dead_letter *d,
                   struct err *e);
/* *next: the id to go on behind, 0 when there are no more. */
int state_letters(struct state *s, const struct letter_query *q, letter_fn *fn,
                  void *arg, int64_t *next, struct err *e);
/* The newest letter there is, and the sums of a destination. */
int64_t state_letter_last(struct state *s);
void state_letter_sums(struct state *s, const char *destination,
                       int64_t *count, int64_t *bytes);
/* Of a lane; of one of its events. */
int64_t state_lane_letters(struct state *s, uint32_t lane);
unsigned state_letters_of(struct state *s, uint32_t lane, uint64_t seq);

enum letter_drop { DROPPED_LIMIT, DROPPED_BY_HAND, DROP_KINDS };
struct dropped_range {
    int64_t count, first_ms, last_ms; /* when they had died */
};

int state_letter_drop(struct state *s, int64_t id, enum letter_drop why,
                      struct err *e);
struct dropped_range state_letter_dropped(struct state *s,
                                          const char *destination,
                                          enum letter_drop why);
/* The letter becomes a retry that is due at once; if it went meanwhile, one
 * without a copy of the event. */
int state_letter_revive(struct state *s, const struct msg_revived *m,
                        struct err *e);
/* Letters of events that begin anew with all their parts. */
int state_letters_forget(struct state *s, uint32_t lane,
                         const struct journal_pos *pending, uint32_t count,
                         struct err *e);
/* Drops up to `slice` of the oldest letters of destinations that have more
 * than they may. *more: there is more to drop. */
int state_letters_trim(struct state *s, int64_t count_max, int64_t bytes_max,
                       int64_t before_ms, unsigned slice, bool *more,
                       struct err *e);

/* ---- jobs ---- */

/* The last two are of letters of events that ingest refused; the destination
 * is then their source, `last` and `cursor` are numbers of theirs, and those
 * that were refused again count as skipped. */
enum letter_verb { LETTER_REPLAY, LETTER_DROP, REFUSED_REPLAY, REFUSED_DROP };

struct letter_job {
    int64_t id, begun_ms, ended_ms; /* ended 0: under way */
    enum letter_verb verb;
    int64_t cursor, last;   /* letters behind cursor up to last remain */
    int64_t count, skipped; /* letters done; those whose lane is detached */
    mf_str destination, filter; /* borrowed for the call */
};

/* Makes it when id is 0, and sets it. */
int state_letter_job_put(struct state *s, struct letter_job *j,
                         struct err *e);
int state_letter_jobs(struct state *s,
                      void (*each)(void *arg, const struct letter_job *j),
                      void *arg, struct err *e);
int state_letter_job_forget(struct state *s, int64_t id, struct err *e);

/* ---- lanes that are given up ---- */

/* The lane, what waits in it and what it had open are forgotten. */
int state_lane_forget(struct state *s, uint32_t lane, struct err *e);

#endif

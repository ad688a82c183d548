/* SPDX-License-Identifier: Apache-2.0
 *
 * refused.h - letters of events that ingest refused inside a batch, in
 * state.db.
 *
 * They are their source's. Why one was refused is a word of ingest's, kept as
 * it came. Of the batch the letter has what was said for all of its events
 * (`envelope`, see ingest/letter.h). Of a source there are so many, and so
 * many bytes; the oldest leave first, and are counted. As in letters.h no call
 * looks at more rows than it is told. The jobs on them stand with those on
 * dead letters, under the verbs below. */
#ifndef STATE_REFUSED_H
#define STATE_REFUSED_H

#include "state/letters.h"

#define INGEST_DEAD_MAX       10000        /* of a source */
#define INGEST_DEAD_BYTES_MAX (256u << 20) /* of their texts */
#define INGEST_DEAD_AGE_MS    LETTER_AGE_MS

struct refused_letter {
    int64_t id, when_ms;
    mf_str code, message_id;
    mf_str envelope, event; /* empty unless asked for */
};

/* Unset members match any letter. */
struct refused_filter {
    int64_t id, since_ms, until_ms; /* when it was refused */
    mf_str codes;                   /* one, or several with commas */
    mf_str message_id;
};

struct refused_query {
    uint32_t source;
    struct refused_filter filter;
    int64_t after, last; /* as in struct letter_query */
    bool newest_first, texts;
    unsigned limit, scan;
};

/* False ends the page behind this letter. It must not write. */
typedef bool refused_fn(void *arg, const struct refused_letter *l);

int state_refused_add(struct state *s, uint32_t source,
                      const struct refused_letter *l, struct err *e);
/* *next: the id to go on behind, 0 when there are no more. */
int state_refused(struct state *s, const struct refused_query *q,
                  refused_fn *fn, void *arg, int64_t *next, struct err *e);
/* It was tried again and refused once more. */
int state_refused_again(struct state *s, int64_t id, mf_str code,
                        struct err *e);
/* Taken at last: it is a letter no more. */
int state_refused_taken(struct state *s, int64_t id, struct err *e);
/* Given up; counted as dropped. */
int state_refused_drop(struct state *s, int64_t id, struct err *e);
int64_t state_refused_last(struct state *s);

struct refused_sums {
    int64_t letters, bytes;
    int64_t dropped; /* for want of room, for their age, or by hand */
};

struct refused_sums state_refused_sums(struct state *s, uint32_t source);
/* Of every source that has or had letters. */
int state_refused_all(struct state *s,
                      void (*each)(void *arg, mf_str source,
                                   const struct refused_sums *sums),
                      void *arg, struct err *e);
/* Drops up to `slice` of the oldest letters of one source that has more than
 * it may. *more: there is more to drop. */
int state_refused_trim(struct state *s, int64_t count_max, int64_t bytes_max,
                       int64_t before_ms, unsigned slice, bool *more,
                       struct err *e);

#endif

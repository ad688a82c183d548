/* SPDX-License-Identifier: Apache-2.0
 *
 * refused.h - letters of events that ingest refused: kept, bounded, and the
 * jobs that have them tried again or drop them.
 *
 * A job works through the letters that matched when it was asked for, a slice
 * in each turn, and goes on after a restart where it stood. Ingest judges a
 * letter as a fresh event: taken, it is a letter no more; refused, it stays
 * with the new code. */
#ifndef SUPERVISOR_REFUSED_H
#define SUPERVISOR_REFUSED_H

#include "state/refused.h"
#include "supervisor/jobs.h"

#define AGAIN_AT_ONCE 100        /* letters with ingest at a time */
#define AGAIN_BYTES   (4u << 20) /* of them, about */
#define REFUSED_TRIM  200        /* letters dropped in a turn */

/* What was asked for. */
struct refused_want {
    struct refused_filter f; /* texts owned by `texts` */
    int64_t *ids;            /* owned, sorted; NULL: any */
    size_t id_count;
    bool all, any; /* all was said; anything was said */
    struct arena texts;
};

/* Members of an object: code since until messageId id ids all. Others are
 * left to `other`, as in letters.h. */
int refused_want_read(mf_val o, struct refused_want *w,
                      bool (*other)(void *arg, mf_str key, mf_str value),
                      void *arg, struct err *e);
void refused_want_deinit(struct refused_want *w);
bool refused_wanted(const struct refused_want *w,
                    const struct refused_letter *l);

struct sup_refused_job {
    struct sup_job job; /* on a source's */
    struct refused_want want;
    uint32_t number; /* of the source */
    int64_t busy;    /* the first that ingest had no room for, 0: none */
};

/* Takes *w over. NULL: too many jobs, or state.db says no. */
struct sup_refused_job *refused_begin(struct supervisor *s,
                                      const struct conf_source *source,
                                      enum letter_verb verb,
                                      struct refused_want *w, struct err *e);

#endif

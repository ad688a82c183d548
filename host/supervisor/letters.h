/* SPDX-License-Identifier: Apache-2.0
 *
 * letters.h - which dead letters an operator means, and the jobs on them.
 *
 * Sending letters again or dropping them is a job: it works through the
 * letters that matched when it was asked for, a slice in each turn, and goes
 * on after a restart where it stood. A letter is taken up again by the worker
 * that holds its lane; one whose lane no worker holds waits until one does. */
#ifndef SUPERVISOR_LETTERS_H
#define SUPERVISOR_LETTERS_H

#include "supervisor/jobs.h"

#define LETTER_IDS_MAX   1000  /* named in one request */
#define REVIVE_AT_ONCE   100   /* letters of a job with the workers */
#define REVIVE_ROOM      (LANE_RETRIES_MAX / 2) /* of a lane's retries */
#define DROP_AT_ONCE     100   /* letters in a turn */

/* What was asked for. */
struct letter_want {
    struct letter_filter f; /* texts owned by `texts` */
    int64_t *ids;           /* owned, sorted; NULL: any */
    size_t id_count;
    bool all, any; /* all was said; anything was said */
    struct arena texts;
};

struct sup_letter_job {
    struct sup_job job; /* on a destination's */
    struct letter_want want;
    unsigned skipping; /* of this stretch: their lane is detached */
};

/* Members of an object: reason status action since until messageId event
 * source ids all. Strings or numbers. Others are left to `other`, which says
 * whether it knows them; NULL: none. -1: *e says what is wrong. */
int letter_want_read(struct supervisor *s, mf_val o, struct letter_want *w,
                     bool (*other)(void *arg, mf_str key, mf_str value),
                     void *arg, struct err *e);
void letter_want_deinit(struct letter_want *w);
bool letter_wanted(const struct letter_want *w, const struct dead_letter *d);

/* Parts of such an object, for other letters too. *ids is owned and sorted; no
 * ids have any id. */
int letter_when_read(mf_str text, const char *key, int64_t *ms,
                     struct err *e);
int letter_ids_read(mf_val v, int64_t **ids, size_t *count, struct err *e);
bool letter_ids_have(const int64_t *ids, size_t n, int64_t id);

/* Which page of letters is asked for. */
struct letter_page {
    int64_t before, limit; /* older than that letter, 0: any; at most so many */
    bool brief;            /* without their texts */
};

/* As `other` of the readers above, for members of a letter_page: before limit
 * brief. */
bool letter_page_option(void *page, mf_str key, mf_str value);

/* Lanes of it, or the configuration, know the name. */
bool letters_known(const struct supervisor *s, mf_str destination);
/* Takes *w over. NULL: too many jobs, or state.db says no. */
struct sup_letter_job *letters_begin(struct supervisor *s, mf_str destination,
                                     enum letter_verb verb,
                                     struct letter_want *w, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * jobs.h - work on many letters, a stretch of them in a turn, that goes on
 * over reloads and restarts: state.db has each job as it is.
 *
 * A kind of job has a list, and in its own struct this one first. */
#ifndef SUPERVISOR_JOBS_H
#define SUPERVISOR_JOBS_H

#include "state/letters.h"
#include "supervisor/supervisor.h"

#define JOBS_KEPT    50  /* of a list, that have ended */
#define JOBS_MAX     100 /* of a list, under way */
#define JOBS_TURN_MS 5   /* between turns */
#define JOBS_WAIT_MS 250 /* for room, or for somebody to come back */

struct sup_job {
    struct sup_job *next;
    struct letter_job j; /* without the filter */
    char *name;          /* owned; j.destination is it */
    int64_t ahead;       /* where j.cursor goes when `out` letters are told */
    unsigned out;        /* letters with a child, not told of yet */
    bool whole;          /* ahead is the end */
    bool again;          /* the child ended meanwhile */
};

/* Behind the others. j: as state.db has it; copied, but for the filter. */
void jobs_add(struct sup_jobs *l, struct sup_job *k,
              const struct letter_job *j);
/* Both NULL if there is none. */
struct sup_job *jobs_find(const struct sup_jobs *l, int64_t id);
/* A new one is put into state.db. -1: too many are under way, or state.db says
 * no. what: "dead letters". */
int jobs_begin(struct supervisor *s, const struct sup_jobs *l,
               struct letter_job *j, const char *what, struct err *e);
/* It has changed. */
void jobs_put(struct supervisor *s, struct sup_job *k);
/* It is at its end. The oldest of those go where there are too many; this one
 * does not. */
void jobs_end(struct supervisor *s, struct sup_jobs *l, struct sup_job *k);

/* Has the list's turn() called so soon; then as long as that says that there
 * is more to do. */
void jobs_turn_in(struct supervisor *s, struct sup_jobs *l, int64_t ms);
/* The same, unless that is due already. */
void jobs_kick(struct supervisor *s, struct sup_jobs *l);
void jobs_free(struct sup_jobs *l);

/* ---- for people ---- */

/* Members of an object. */
void job_write(struct json_out *w, const struct sup_job *k);
/* Answers {"id"?} about those on `name`: one, or all. */
void jobs_answer(struct json_out *w, const struct sup_jobs *l, mf_str name,
                 mf_val q, const char *what);

#endif

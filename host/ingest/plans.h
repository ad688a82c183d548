/* SPDX-License-Identifier: Apache-2.0
 *
 * plans.h - the tracking plans that the supervisor has handed over, by the
 * numbers that its configuration names them with. */
#ifndef INGEST_PLANS_H
#define INGEST_PLANS_H

#include "base/err.h"
#include "plan/plan.h"

#include <stdint.h>

struct known_plan {
    uint64_t number;
    struct plan *plan; /* held */
    bool named;        /* by the configuration that is being read */
};

struct plans {
    struct known_plan *list;
    size_t count;
};

/* Reads and compiles a plan, unless its number is known. fd: a file that
 * holds the text, the caller's. */
int plans_add(struct plans *p, uint64_t number, int fd, struct err *e);
/* Held for the caller; NULL: there is none of that number. */
struct plan *plans_take(struct plans *p, uint64_t number);
/* Forgets those that were not taken since the last time. */
void plans_sweep(struct plans *p);
void plans_deinit(struct plans *p);

#endif

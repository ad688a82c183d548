/* SPDX-License-Identifier: Apache-2.0
 *
 * sheaf.h - events of a batch on their way to the intake, some at a time, so
 * that its lock is taken once for all of them and their ids are fetched from
 * memory together. */
#ifndef INGEST_SHEAF_H
#define INGEST_SHEAF_H

#include "base/buf.h"
#include "ingest/intake.h"
#include "ingest/keys.h"

#define SHEAF_BYTES (256u << 10) /* of texts that wait; one may be larger */

struct sheaf {
    struct journal_record records[INTAKE_TOGETHER];
    struct source *sources[INTAKE_TOGETHER]; /* borrowed */
    size_t at[INTAKE_TOGETHER]; /* of the payload in text */
    unsigned count;
    struct buf text;
};

void sheaf_init(struct sheaf *s);
void sheaf_deinit(struct sheaf *s);
/* Forgets what was not put. */
void sheaf_clear(struct sheaf *s);
/* The payload is copied. Puts what there is first, if there is no room. */
enum journal_state sheaf_add(struct sheaf *s, struct intake_loop *l,
                             struct source *source,
                             const struct journal_record *r, uint64_t *seq);
/* Keeps them (intake_keep()) and counts them for their sources. */
enum journal_state sheaf_put(struct sheaf *s, struct intake_loop *l,
                             uint64_t *seq);

#endif

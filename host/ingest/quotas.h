/* SPDX-License-Identifier: Apache-2.0
 *
 * quotas.h - how many events a source may send: its `rate` and `burst`.
 *
 * One for all loops of ingest; any thread may ask. A source without a rate
 * has no quota. What is left of one, or owed, stays over a reload and while
 * its source is not configured. */
#ifndef INGEST_QUOTAS_H
#define INGEST_QUOTAS_H

#include "json/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTA_LOG_MS 60000 /* between two lines on one source */

struct quotas;

struct quotas *quotas_new(void);
void quotas_free(struct quotas *q); /* NULL is fine */
/* From MSG_INGEST_CONFIG. */
void quotas_configure(struct quotas *q, mf_val config);
/* One event for each of the sources named, by number; a source may be there
 * several times. The array is sorted. All of it is taken, or nothing: then the
 * milliseconds until there is room are returned. 0: taken. */
int64_t quotas_take(struct quotas *q, uint32_t *sources, size_t n);
/* The same for n events of one source. */
int64_t quotas_take_of(struct quotas *q, uint32_t source, size_t n);
/* Has any source had a quota? Where none has, nobody need ask. */
bool quotas_any(struct quotas *q);

#endif

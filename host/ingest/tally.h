/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.h - how the events of a source kept to its plan: what became of them,
 * and which violations there were how often. It outlives reloads and is shared
 * by all threads. */
#ifndef INGEST_TALLY_H
#define INGEST_TALLY_H

#include "json/json.h"
#include "schema/draft7.h"

#include <stdint.h>

#define TALLY_ROWS_MAX  100 /* different violations counted apart */
#define TALLY_EVENT_MAX 100 /* bytes kept of an event's name */
#define TALLY_FIELD_MAX 160 /* and of a field's */

enum tally_action { TALLY_ALLOWED, TALLY_OMITTED, TALLY_BLOCKED,
                    TALLY_ACTIONS };

struct tally;

struct tally *tally_new(void);
struct tally *tally_hold(struct tally *t);
void tally_release(struct tally *t); /* NULL is fine */

void tally_checked(struct tally *t);
void tally_action(struct tally *t, enum tally_action a);
/* Violations that were not forwarded, since a request had too many. */
void tally_left_off(struct tally *t, uint64_t n);
/* A blocked event of which there is no letter. */
void tally_not_kept(struct tally *t);
/* type is a literal; elements of an array count as one. */
void tally_violation(struct tally *t, mf_str event, const char *type,
                     const struct draft7_step *path, unsigned path_len,
                     int64_t now_ms);
/* Members of an object: "violations", what became of events by action, and
 * "plan" with the rest; about: the plan's name. */
void tally_write(struct tally *t, struct json_out *w, mf_str about);

#endif

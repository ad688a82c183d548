/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.h - what a source's tracking plan and schema controls make of an event
 * before it is kept: it passes as it is, or is told what is wrong with it, or
 * loses members, or is blocked.
 *
 * The controls of the calls themselves come first, those of the common schema
 * after. Of an event that is not as planned, context.protocols says so:
 * sourceId, violations [{type, field, description}] and omitted [field]. That
 * and what is forwarded may add GATE_EXTRA_MAX bytes to a request; beyond, it
 * is left off and counted, since a batch must fit into the journal.
 *
 * A gate never changes but for its tally; any number of threads may use it,
 * each with a room of its own. */
#ifndef INGEST_GATE_H
#define INGEST_GATE_H

#include "base/buf.h"
#include "ingest/tally.h"
#include "plan/plan.h"

#define GATE_EXTRA_MAX   (2u << 20)
#define GATE_OMITTED_MAX 32 /* members that are named; all are taken out */
#define GATE_ROUNDS_MAX  64 /* of taking out what is wrong; then all goes */

struct gate;
struct gate_room;

/* json: as config/shapes.c writes a source's "schema". plan: NULL, or held by
 * the gate from now on. before: the gate that it replaces, whose tally goes
 * on, or NULL. */
struct gate *gate_new(mf_str source, mf_val json, struct plan *plan,
                      struct gate *before);
struct gate *gate_hold(struct gate *g);
void gate_release(struct gate *g); /* NULL is fine */
/* A blocked event of which no letter could be kept. */
void gate_not_kept(struct gate *g);
/* Into the object of its source in the statistics. */
void gate_write(struct gate *g, struct json_out *w);

struct gate_room *gate_room_new(void);
void gate_room_free(struct gate_room *k); /* NULL is fine */
/* Before each request. */
void gate_room_reset(struct gate_room *k);

struct gate_verdict {
    const char *blocked; /* why, a literal; NULL: it is kept */
    unsigned violations; /* that can be forwarded, see below */
};

/* Judges a normalised event and changes it where it must be changed. */
void gate_judge(struct gate *g, struct gate_room *k, struct buf *event,
                struct gate_verdict *v);
/* The n-th violation of the event judged last as an event of its own, until
 * the next call; *id is its messageId, always the same. Of length 0: there is
 * no room for it, which is counted. The event must still be where gate_judge()
 * left it. */
mf_str gate_forward(struct gate *g, struct gate_room *k, unsigned n,
                    const char *received, mf_str *id);

#endif

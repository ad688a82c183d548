/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_inner.h - what gate.c and gate_write.c share. */
#ifndef INGEST_GATE_INNER_H
#define INGEST_GATE_INNER_H

#include "ingest/gate.h"

#include <stdatomic.h>

#define GATE_EVENT_MAX (1u << 20) /* as large as a record of the journal */
#define GATE_WRONG_MAX (2 * DRAFT7_ERRORS_MAX) /* of an event */

enum gate_call { CALL_TRACK, CALL_IDENTIFY, CALL_GROUP, GATE_CALLS,
                 /* pages, screens and aliases are as track events */
                 CALL_OTHER = CALL_TRACK };
enum gate_common { COMMON_ALLOW, COMMON_OMIT, COMMON_BLOCK };

struct gate_controls {
    bool block_unplanned, omit_unplanned, block_wrong, omit_wrong;
    enum gate_common common;
    mf_str *listed; /* events or traits, in order */
    size_t listed_count;
};

struct gate {
    atomic_uint holders;
    struct arena arena;
    mf_str source;
    struct plan *plan; /* or NULL */
    const struct plan_rule *common;
    struct tally *tally;
    struct gate_controls controls[GATE_CALLS];
};

struct gate_event { /* in hand */
    mf_val type, event, name, properties, traits, context, message_id,
        sent_at, timestamp;
    enum gate_call call;
    enum plan_kind kind;
    mf_str title;     /* its name in the plan */
    mf_val members;   /* its properties or traits */
    mf_str container; /* which of them */
};

struct gate_wrong {
    const char *type;
    mf_str field, text;
    const struct draft7_step *path;
    unsigned path_len;
};

struct gate_cut { /* a member that is to go */
    const struct draft7_step *path;
    unsigned len;
};

struct gate_room {
    struct draft7_scratch *scratch;
    struct buf out, made;
    struct buf whole; /* the event as it came, once it was rewritten */
    size_t extra; /* bytes that this request may still add */
    struct gate_event event;
    struct gate_wrong wrong[GATE_WRONG_MAX];
    unsigned wrong_count;
    struct gate_cut cuts[GATE_WRONG_MAX];
    unsigned cut_count;
    bool *gone; /* of the members, by their place; or NULL */
    bool any_gone, any_cut, unplanned, rewritten;
    bool more;     /* there are more violations than were told */
    bool take_all; /* too many: no member may stay */
    mf_str omitted[GATE_OMITTED_MAX];
    unsigned omitted_count;
};

/* Remembers the name of a member that is taken out. */
void gate_omitted(struct gate_room *k, mf_str field);

/* ---- gate_write.c ---- */
/* The event without what is marked, in k->out; annotate: with what was wrong
 * with it, if there is room. False: it does not fit. */
bool gate_write_event(struct gate *g, struct gate_room *k, mf_str event,
                      bool annotate);

#endif

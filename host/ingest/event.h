/* SPDX-License-Identifier: Apache-2.0
 *
 * event.h - one event as a client sent it, checked and written as it is kept.
 *
 * Rules: Segment's HTTP Tracking API and common fields. What is kept is the
 * client's own text, member by member, but for what the server decides: type,
 * messageId, timestamps, merged context and integrations; writeKey is left
 * out. Empty PHP maps ([]) become {}, ids that are numbers become strings, and
 * context.ip is set where the sender is a person's device (client.h). */
#ifndef INGEST_EVENT_H
#define INGEST_EVENT_H

#include "base/buf.h"
#include "json/json.h"

#include <stdint.h>

#define MESSAGE_ID_MAX    100 /* characters, as documented */
#define EVENT_MEMBERS_MAX 128 /* without rules, at the top level */

enum event_type {
    EVENT_TRACK,
    EVENT_IDENTIFY,
    EVENT_PAGE,
    EVENT_SCREEN,
    EVENT_GROUP,
    EVENT_ALIAS,
    EVENT_TYPES
};

extern const char *const event_type_names[EVENT_TYPES];
/* -1 if there is no such type. */
int event_type_named(mf_str name);

/* What the request says for all of its events. */
struct event_envelope {
    int type;             /* by the path; -1: the event says */
    mf_val context, integrations, sent_at; /* of a batch, or MF_ABSENT */
    int64_t received_ms;
    char received_text[32];
    mf_str client_ip; /* client.h; empty: not to be kept */
    bool from_page;   /* the request is a browser's own */
};

struct event_fault {
    const char *code;    /* "event_not_defined", a literal */
    const char *message; /* what is wrong and what to do, a literal */
};

/* Appends the normalised event to `to`; *message_id is set into the arena or
 * the event. 0, or -1 with *fault; then `to` is as it was. event is an object
 * of checked JSON. */
int event_normalise(mf_val event, const struct event_envelope *env,
                    struct buf *to, mf_str *message_id, struct arena *a,
                    struct event_fault *fault);

#endif

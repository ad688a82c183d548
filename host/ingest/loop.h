/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.h - one event loop of ingest: connections, their requests, and the
 * answers when they are durable.
 *
 * There are as many as ingest.threads says; each has an HTTP server, an API
 * (api.h) and sources with counters of its own, and shares nothing but the
 * intake (intake.h). The first is turned by the thread that talks with the
 * supervisor, which tells the others by mail. */
#ifndef INGEST_LOOP_H
#define INGEST_LOOP_H

#include "ingest/api.h"
#include "ingest/edge.h"
#include "ingest/mailbox.h"
#include "ingest/quotas.h"

#include <event2/event.h>

#define LETTERS_BACKLOG (8u << 20) /* of refused events, on their way */

struct loop;

struct loop_options {
    struct intake *intake;
    struct event_base *base; /* turned by the caller; NULL: by a thread */
    /* Gets MSG_INGEST_DEAD, MSG_INGEST_TRIED, MAIL_DRAINED and MAIL_TOOK;
     * borrowed. */
    struct mailbox *house;
    /* Bytes of the house's that the supervisor has not read; borrowed. */
    const _Atomic size_t *backlog;
    struct quotas *quotas; /* borrowed */
    unsigned number; /* of this one, from 0 */
    unsigned share;  /* of how many: they have equal parts of limits */
    void (*woken)(void *arg); /* after each wake-up, in its thread; or NULL */
    void *arg;
};

/* What loops have counted; sums. */
struct loop_counts {
    uint64_t answered, unknown_keys, bad_requests, overloads;
    struct http_counters http;
};

struct loop *loop_new(const struct loop_options *o);
/* The thread ends, connections are closed; what it has counted stays. */
void loop_stop(struct loop *l);
void loop_free(struct loop *l); /* stopped */

/* From any thread; each is done in the order of these calls. */
void loop_configure(struct loop *l, const struct keys *k); /* copied */
void loop_trust(struct loop *l, const struct edge_trust *t); /* copied */
void loop_use_tls(struct loop *l, struct http_tls *t); /* counted; or NULL */
/* fd is owned. */
void loop_listen(struct loop *l, mf_str address, int fd, bool tls);
void loop_unlisten(struct loop *l, mf_str address);
void loop_drain(struct loop *l, uint32_t ms);
void loop_try_again(struct loop *l, mf_str text); /* MSG_INGEST_AGAIN */
/* Adds what the loop has told last, about a tenth of a second ago. */
void loop_sum(struct loop *l, struct loop_counts *to, struct keys *sources);

#endif

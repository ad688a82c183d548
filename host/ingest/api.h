/* SPDX-License-Identifier: Apache-2.0
 *
 * api.h - the Tracking API: from a request to records in the journal, and
 * the answer when they are durable. One of each loop; all of them meet in the
 * intake. */
#ifndef INGEST_API_H
#define INGEST_API_H

#include "base/buf.h"
#include "base/mem.h"
#include "http/server.h"
#include "ingest/intake.h"
#include "ingest/keys.h"
#include "ingest/sheaf.h"

#define BATCH_EVENTS_MAX 2500 /* documented */
#define RETRY_AFTER_BUSY 1    /* seconds; also told as X-RateLimit-Reset */
#define RETRY_AFTER_FULL 5

struct waiter;

struct api {
    struct keys keys;
    struct intake_loop intake; /* joined by the caller */
    struct waiter *first, *last; /* as they came */
    struct waiter *idle;
    struct arena arena; /* of the request in hand */
    struct buf event, answer;
    struct gate_room *room; /* NULL until a gate needs it */
    struct sheaf sheaf;
    bool together; /* events go there, to be put by whoever set this */
    uint64_t unknown_keys, bad_requests, overloads, answered;
    /* An event refused inside a batch, or blocked by its source's gate. */
    void (*refused)(void *arg, const struct source *s, const char *code,
                    mf_str event);
    void *arg;
};

void api_init(struct api *a);
void api_deinit(struct api *a); /* forgets the waiters */
void api_request(struct http_request *r, void *api);
/* After a change of head->durable or a failed commit: answers whom it
 * concerns. */
void api_on_durable(struct api *a);

#endif

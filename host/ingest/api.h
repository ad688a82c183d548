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
#include "ingest/event.h"
#include "ingest/intake.h"
#include "ingest/keys.h"
#include "ingest/quotas.h"
#include "ingest/sheaf.h"
#include "ipc/proto.h"

#define BATCH_EVENTS_MAX 2500 /* documented */
#define RETRY_AFTER_BUSY 1    /* seconds; also told as X-RateLimit-Reset */
#define RETRY_AFTER_FULL 5
/* Events of a source that are refused inside batches and kept: so many a
 * second, and as many at once as a batch may hold. A batch with more is
 * answered 429. */
#define LETTERS_A_SECOND 1000
#define RETRY_AFTER_MOST 86400 /* told to one over its source's rate */

struct waiter;

struct api {
    struct keys keys;
    struct intake_loop intake; /* joined by the caller */
    struct quotas *quotas; /* borrowed; NULL: no source has one */
    struct waiter *first, *last; /* as they came */
    struct waiter *idle;
    struct arena arena; /* of the request in hand */
    struct buf event, answer;
    struct gate_room *room; /* NULL until a gate needs it */
    struct sheaf sheaf;
    bool together; /* events go there, to be put by whoever set this */
    uint64_t unknown_keys, bad_requests, overloads, answered;
    /* An event refused inside a batch, or blocked by its source's gate;
     * `envelope` is the batch's then. */
    void (*refused)(void *arg, const struct source *s, const char *code,
                    mf_str event);
    const struct event_envelope *envelope;
    /* Is there no room for more of them? NULL: there always is. */
    bool (*crowded)(void *arg);
    /* What became of one that was tried again. */
    void (*tried)(void *arg, int64_t job, int64_t letter,
                  enum ingest_tried outcome, const char *code);
    void *arg;
};

void api_init(struct api *a);
void api_deinit(struct api *a); /* forgets the waiters */
void api_request(struct http_request *r, void *api);
/* Tries an event once more that was refused. */
void api_again(struct api *a, const struct msg_ingest_again *m,
               mf_str envelope, mf_str event);
/* After a change of head->durable or a failed commit: answers whom it
 * concerns. */
void api_on_durable(struct api *a);

#endif

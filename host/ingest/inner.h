/* SPDX-License-Identifier: Apache-2.0
 *
 * inner.h - what the files of the Tracking API share; not for others.
 *
 *   api.c      routes, single events, pixels, letters tried again
 *   batch.c    batches
 *   admit.c    an event's way to the journal: rate, gate, intake
 *   answers.c  what is answered, and who waits for the disk */
#ifndef INGEST_INNER_H
#define INGEST_INNER_H

#include "http/server.h"
#include "ingest/api.h"
#include "ingest/event.h"

/* What the body of a request says of all of it, found in one walk: a batch
 * may be half a megabyte. */
struct body {
    mf_val root, write_key, batch, context, integrations, sent_at;
};

struct refusal {
    int status;
    const char *code, *message;
    int retry_after; /* seconds, 0: none */
    const char *allow; /* methods, of a 405 */
};

/* ---- answers.c ---- */

extern const struct refusal refusal_busy, refusal_too_many_refused,
    refusal_full, refusal_unknown_key, refusal_failed;
const struct refusal *api_refusal_of(enum journal_state s);
void api_refuse(struct api *a, struct http_request *r,
                const struct refusal *f);
/* body empty: it has nothing to say. */
void api_accept(struct api *a, struct http_request *r, mf_str body);
/* f NULL: its event is durable. */
void api_show_pixel(struct api *a, struct http_request *r,
                    const struct refusal *f);
/* The request is answered when `seq` is durable. */
void api_wait_for(struct api *a, struct http_request *r, uint64_t seq,
                  mf_str answer, bool pixel);
void api_wait_for_letter(struct api *a, const struct msg_ingest_again *m,
                         uint64_t seq);
void api_forget_waiters(struct api *a);

/* ---- admit.c ---- */

/* The source that an event of a batch names, which as a whole names none. */
struct source *api_source_of_event(struct api *a, mf_val event);
/* The event in a->event, by way of its source's gate, if it has one. *blocked:
 * why it is kept nowhere, so that a letter of it is due; NULL: it is, perhaps
 * by the source that blocked events are forwarded to. *seq becomes the number
 * that must be durable before the sender is told so. */
enum journal_state api_pass(struct api *a, struct source *s,
                            const char *received_text, int64_t received_ms,
                            mf_str id, uint64_t *seq,
                            const char **blocked);
/* Takes n events off their source's quota; s NULL: the events' own ones.
 * NULL, or until when there is no room. */
const struct refusal *api_over_rate(struct api *a, struct source *s,
                                    const mf_val *events, size_t n);
/* Is there room for letters of the source? */
bool api_may_keep_letters(struct api *a, struct source *s);

/* ---- batch.c ---- */

void api_batch(struct api *a, struct http_request *r, struct source *s,
               const struct body *body, struct event_envelope *env);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * answers.c - what requests of the Tracking API are answered, at once or when
 * the disk has what they brought.
 *
 * What clients make of an answer decides it: a success is exactly 200 with a
 * JSON object, a permanent refusal is 400, the one status on which every SDK
 * gives up, overload is 429 or 503 with Retry-After, and nothing redirects.
 * Every refusal carries success, code, message and error. */
#include "ingest/inner.h"

#include "ingest/cors.h"
#include "ingest/pixel.h"
#include "json/json.h"

#include <stdlib.h>

struct waiter {
    struct waiter *next;
    struct http_request *r; /* NULL: an event that is tried again */
    int64_t job, letter;    /* of that */
    uint64_t seq;  /* its last event */
    mf_str answer; /* owned when it has rejections, else empty */
    bool pixel;    /* is answered with an image, whatever comes */
};

/* Every answer has the headers of cors.h: without them a browser sees a
 * network error and sends the event again. */
void api_refuse(struct api *a, struct http_request *r,
                const struct refusal *f)
{
    mf_str headers = cors_headers(&a->arena, r, f->retry_after);
    struct json_out w;

    if (f->allow)
        headers = arena_printf(&a->arena, "%.*sAllow: %s\r\n",
                               (int)headers.len, headers.ptr, f->allow);

    buf_clear(&a->answer);
    json_out_init(&w, &a->answer);
    json_begin_object(&w);
    json_kbool(&w, "success", false);
    json_kstr(&w, "code", mf_cstr(f->code));
    json_kstr(&w, "message", mf_cstr(f->message));
    json_kstr(&w, "error", mf_cstr(f->message));
    json_end_object(&w);
    if (f->retry_after)
        a->overloads++;
    else
        a->bad_requests++;
    http_reply(r, f->status, "application/json", headers,
               buf_view(&a->answer));
}

void api_accept(struct api *a, struct http_request *r, mf_str body)
{
    a->answered++;
    http_reply(r, 200, "application/json", cors_headers(&a->arena, r, 0),
               body.len ? body : MF_STR("{\"success\":true}"));
}

const struct refusal refusal_busy = {
    429, "overloaded", "the journal is behind; send it again later",
    RETRY_AFTER_BUSY
};
const struct refusal refusal_too_many_refused = {
    429, "overloaded",
    "more events are invalid than can be kept for now; send it again later",
    RETRY_AFTER_BUSY
};
const struct refusal refusal_full = {
    503, "disk_full", "there is no room for events now; send it again later",
    RETRY_AFTER_FULL
};
const struct refusal refusal_unknown_key = {
    400, "invalid_write_key",
    "no source has this write key; send it as the user of Basic "
    "authorization or as writeKey in the body", 0
};
const struct refusal refusal_failed = {
    503, "journal_failed",
    "the event could not be made durable; send it again later",
    RETRY_AFTER_BUSY
};

/* NULL: its event is durable. */
void api_show_pixel(struct api *a, struct http_request *r,
                    const struct refusal *f)
{
    if (!f)
        a->answered++;
    else if (f->retry_after)
        a->overloads++;
    else
        a->bad_requests++;
    pixel_reply(r, &a->arena, cors_headers(&a->arena, r, 0));
}

const struct refusal *api_refusal_of(enum journal_state s)
{
    if (s == JOURNAL_BUSY)
        return &refusal_busy;
    return s == JOURNAL_FULL ? &refusal_full : &refusal_failed;
}

/* ---- waiting for the disk ---- */

/* Who waits for less than the one before, having only duplicates of what is
 * in flight, is answered after him: at the next commit at the latest. */
static struct waiter *add_waiter(struct api *a, struct http_request *r,
                                 uint64_t seq)
{
    struct waiter *w = a->idle;

    if (w)
        a->idle = w->next;
    else
        w = xmalloc(sizeof *w);
    *w = (struct waiter){ .r = r, .seq = seq, .answer = { "", 0 } };
    if (a->last)
        a->last->next = w;
    else
        a->first = w;
    a->last = w;
    return w;
}

void api_wait_for(struct api *a, struct http_request *r, uint64_t seq,
                  mf_str answer, bool pixel)
{
    struct waiter *w = add_waiter(a, r, seq);

    w->pixel = pixel;
    if (answer.len)
        w->answer = (mf_str){ xstrndup(answer.ptr, answer.len), answer.len };
}

void api_wait_for_letter(struct api *a, const struct msg_ingest_again *m,
                         uint64_t seq)
{
    struct waiter *w = add_waiter(a, NULL, seq);

    w->job = m->job;
    w->letter = m->letter;
}

static void answer(struct api *a, const struct waiter *w, bool durable)
{
    if (!w->r)
        a->tried(a->arg, w->job, w->letter,
                 durable ? TRIED_TAKEN : TRIED_BUSY, "");
    else if (w->pixel)
        api_show_pixel(a, w->r, durable ? NULL : &refusal_failed);
    else if (durable)
        api_accept(a, w->r, w->answer);
    else
        api_refuse(a, w->r, &refusal_failed);
}

static void release(struct api *a, struct waiter *w)
{
    if (w->answer.len)
        free((char *)(uintptr_t)w->answer.ptr);
    w->next = a->idle;
    a->idle = w;
}

void api_on_durable(struct api *a)
{
    struct intake_news n = intake_news(&a->intake);

    while (a->first && (a->first->seq <= n.durable ||
                        (n.lost && a->first->seq >= n.lost))) {
        struct waiter *w = a->first;

        a->first = w->next;
        if (!a->first)
            a->last = NULL;
        arena_reset(&a->arena);
        answer(a, w, w->seq <= n.durable);
        release(a, w);
    }
    intake_told(&a->intake, &n, a->first != NULL);
}

void api_forget_waiters(struct api *a)
{
    while (a->first) {
        struct waiter *w = a->first;

        a->first = w->next;
        release(a, w);
    }
    while (a->idle) {
        struct waiter *w = a->idle;

        a->idle = w->next;
        free(w);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * api.c - see api.h.
 *
 * What clients make of an answer decides it: a success is exactly 200 with a
 * JSON object, a permanent refusal is 400, the one status on which every SDK
 * gives up, overload is 429 or 503 with Retry-After, and nothing redirects.
 * Every refusal carries success, code, message and error. */
#include "ingest/api.h"

#include "base/clock.h"
#include "base/text.h"
#include "http/query.h"
#include "ingest/basic.h"
#include "ingest/client.h"
#include "ingest/cors.h"
#include "ingest/event.h"
#include "ingest/letter.h"
#include "ingest/pixel.h"
#include "ingest/routes.h"
#include "ingest/sdk_settings.h"
#include "journal/ids.h"
#include "json/json.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_DEPTH_MAX JSON_DEPTH_MAX
#define ANSWER_MAX      (256u << 10)
#define EVENT_ROOM      (1u << 20)  /* normalised: grows a little */
#define REQUEST_ARENA   (64u << 20)
/* What a batch may become when its context and integrations are kept with
 * each of its events. The journal holds twice as much before it is written;
 * a batch that never fits would be sent again for ever. */
#define BATCH_KEPT_MAX  (4u << 20)

struct waiter {
    struct waiter *next;
    struct http_request *r; /* NULL: an event that is tried again */
    int64_t job, letter;    /* of that */
    uint64_t seq;  /* its last event */
    mf_str answer; /* owned when it has rejections, else empty */
    bool pixel;    /* is answered with an image, whatever comes */
};

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

/* ---- answers ---- */

/* Every answer has the headers of cors.h: without them a browser sees a
 * network error and sends the event again. */
static void refuse(struct api *a, struct http_request *r,
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

static void accept_now(struct api *a, struct http_request *r, mf_str body)
{
    a->answered++;
    http_reply(r, 200, "application/json", cors_headers(&a->arena, r, 0),
               body.len ? body : MF_STR("{\"success\":true}"));
}

static const struct refusal busy = {
    429, "overloaded", "the journal is behind; send it again later",
    RETRY_AFTER_BUSY
};
static const struct refusal too_many_refused = {
    429, "overloaded",
    "more events are invalid than can be kept for now; send it again later",
    RETRY_AFTER_BUSY
};
static const struct refusal full = {
    503, "disk_full", "there is no room for events now; send it again later",
    RETRY_AFTER_FULL
};
static const struct refusal unknown_key = {
    400, "invalid_write_key",
    "no source has this write key; send it as the user of Basic "
    "authorization or as writeKey in the body", 0
};
static const struct refusal failed = {
    503, "journal_failed",
    "the event could not be made durable; send it again later",
    RETRY_AFTER_BUSY
};

/* NULL: its event is durable. */
static void show_pixel(struct api *a, struct http_request *r,
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

static const struct refusal *refusal_of(enum journal_state s)
{
    return s == JOURNAL_BUSY ? &busy : s == JOURNAL_FULL ? &full : &failed;
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

static void wait_for(struct api *a, struct http_request *r, uint64_t seq,
                     mf_str answer, bool pixel)
{
    struct waiter *w = add_waiter(a, r, seq);

    w->pixel = pixel;
    if (answer.len)
        w->answer = (mf_str){ xstrndup(answer.ptr, answer.len), answer.len };
}

static void wait_for_letter(struct api *a, const struct msg_ingest_again *m,
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
        show_pixel(a, w->r, durable ? NULL : &failed);
    else if (durable)
        accept_now(a, w->r, w->answer);
    else
        refuse(a, w->r, &failed);
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

/* ---- write keys ---- */

static void read_body(mf_str text, struct body *b)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    memset(b, 0, sizeof *b);
    b->root = json_root(text);
    while (json_next(b->root, &it, &key, &v)) {
        if (json_key_is(key, MF_STR("writeKey")))
            b->write_key = v;
        else if (json_key_is(key, MF_STR("batch")))
            b->batch = v;
        else if (json_key_is(key, MF_STR("context")))
            b->context = v;
        else if (json_key_is(key, MF_STR("integrations")))
            b->integrations = v;
        else if (json_key_is(key, MF_STR("sentAt")))
            b->sent_at = v;
    }
}

/* of_query: the parameter writeKey, where it may stand. */
static struct source *source_of(struct api *a, struct http_request *r,
                                mf_val key, bool of_query)
{
    mf_str header = basic_user(http_header(r, HTTP_AUTHORIZATION), &a->arena);
    struct source *s = NULL;
    mf_str told;

    if (header.len)
        s = keys_find(&a->keys, header);
    if (!s && key.type == MF_STRING)
        s = keys_find(&a->keys, json_text(key, &a->arena));
    if (!s && of_query && r->query.ptr) {
        told = http_query_value(r->query, MF_STR("writeKey"), &a->arena);
        s = keys_find(&a->keys, told);
    }
    return s;
}

/* The source of one event of a batch that names none as a whole. */
static struct source *source_of_event(struct api *a, mf_val event)
{
    mf_val key = json_get(event, MF_STR("writeKey"));

    return key.type == MF_STRING
               ? keys_find(&a->keys, json_text(key, &a->arena))
               : NULL;
}

/* ---- events ---- */

/* *seq becomes the number that must be durable before the event's sender is
 * told so; it stays where the event is known to be. An event of a batch may
 * wait for others. */
static enum journal_state keep(struct api *a, struct source *s,
                               mf_str event, int64_t received_ms, mf_str id,
                               uint64_t *seq)
{
    struct journal_record rec = { .source = s->id,
                                  .received_ms = received_ms,
                                  .payload = event };
    enum journal_state state;
    bool duplicate;
    unsigned kept;

    ids_hash(journal_uuid(a->intake.intake->journal), s->id, id, rec.id_hash);
    if (a->together)
        return sheaf_add(&a->sheaf, &a->intake, s, &rec, seq);
    state = intake_keep(&a->intake, &rec, 1, seq, &duplicate, &kept);
    if (state == JOURNAL_OK)
        source_kept(s, rec.payload.len, duplicate);
    return state;
}

/* Each violation as an event of another source. */
static enum journal_state forward(struct api *a, struct source *s,
                                  unsigned violations, int64_t received_ms,
                                  const char *received_text, uint64_t *seq)
{
    struct source *to = keys_nth(&a->keys, s->violations_to);
    enum journal_state state = JOURNAL_OK;

    for (unsigned i = 0; to && i < violations && state == JOURNAL_OK; i++) {
        mf_str id, event = gate_forward(s->gate, a->room, i, received_text,
                                        &id);

        if (event.len)
            state = keep(a, to, event, received_ms, id, seq);
    }
    return state;
}

/* By way of the source's gate, if it has one. *blocked: why the event is kept
 * nowhere, so that a letter of it is due; NULL: it is, perhaps by the source
 * that blocked events are forwarded to. */
static enum journal_state pass(struct api *a, struct source *s,
                               const char *received_text, int64_t received_ms,
                               mf_str id, uint64_t *seq,
                               const char **blocked)
{
    struct gate_verdict v = { NULL, 0 };
    enum journal_state state = JOURNAL_OK;
    struct source *to = s;

    if (s->gate) {
        if (!a->room)
            a->room = gate_room_new();
        gate_judge(s->gate, a->room, &a->event, &v);
    }
    if (v.blocked) {
        to = keys_nth(&a->keys, s->blocked_to);
        if (to)
            source_reject(s, v.blocked);
    }
    *blocked = to ? NULL : v.blocked;
    if (to)
        state = keep(a, to, buf_view(&a->event), received_ms, id, seq);
    if (state == JOURNAL_OK && v.violations)
        state = forward(a, s, v.violations, received_ms, received_text, seq);
    return state;
}

/* ---- rates ---- */

/* A batch that names no source as a whole: each event counts for its own. */
static int64_t take_each(struct api *a, const mf_val *events, size_t n)
{
    uint32_t *ids = arena_alloc(&a->arena, n * sizeof *ids);
    size_t known = 0;

    for (size_t i = 0; i < n; i++) {
        struct source *s = source_of_event(a, events[i]);

        if (s)
            ids[known++] = s->id;
    }
    return quotas_take(a->quotas, ids, known);
}

static void count_each(struct api *a, const mf_val *events, size_t n,
                       const char *code)
{
    for (size_t i = 0; i < n; i++) {
        struct source *s = source_of_event(a, events[i]);

        if (s)
            source_reject(s, code);
    }
}

/* Takes the events off their source's quota; s NULL: the events' own ones.
 * NULL, or until when there is no room. */
static const struct refusal *over_rate(struct api *a, struct source *s,
                                       const mf_val *events, size_t n)
{
    struct refusal *f;
    int64_t wait;

    if (!a->quotas || !quotas_any(a->quotas))
        return NULL;
    wait = s ? quotas_take_of(a->quotas, s->id, n) : take_each(a, events, n);
    if (wait == 0)
        return NULL;
    f = arena_zalloc(&a->arena, sizeof *f);
    *f = (struct refusal){ 429, "rate_limited",
                           "the source sends more events than its rate "
                           "allows; send them again later",
                           RETRY_AFTER_MOST };
    if (wait < RETRY_AFTER_MOST * 1000ll)
        f->retry_after = (int)((wait + 999) / 1000);
    if (s)
        source_reject_many(s, f->code, n);
    else
        count_each(a, events, n, f->code);
    return f;
}

/* Is there room for letters of the source? */
static bool may_keep_letters(struct api *a, struct source *s)
{
    int64_t now = clock_mono_ms();

    if (s->letters.rate <= 0) {
        bucket_init(&s->letters, LETTERS_A_SECOND, now);
        bucket_change(&s->letters, LETTERS_A_SECOND, BATCH_EVENTS_MAX, now);
        bucket_set(&s->letters, BATCH_EVENTS_MAX, now);
    }
    return bucket_wait_ms(&s->letters, now) == 0 &&
           !(a->crowded && a->crowded(a->arg));
}

/* ---- single events ---- */

static const struct refusal *refusal_for(struct api *a,
                                         struct event_fault fault)
{
    struct refusal *f = arena_zalloc(&a->arena, sizeof *f);

    f->status = 400;
    f->code = fault.code;
    f->message = fault.message;
    return f;
}

/* Of an event that its source's gate has blocked. Whoever sends too many of
 * them is not made to wait for it: the rest is counted. */
static void tell_blocked(struct api *a, struct source *s, const char *code,
                         const struct event_envelope *env, mf_val event)
{
    source_reject(s, code);
    if (!may_keep_letters(a, s) || !a->refused) {
        gate_not_kept(s->gate);
        return;
    }
    bucket_owe(&s->letters, clock_mono_ms());
    a->envelope = env;
    a->refused(a->arg, s, code, (mf_str){ event.raw, event.len });
    a->envelope = NULL;
}

/* Takes one event of so many bytes. NULL, and *seq is what its answer waits
 * for (0: nothing); or why it is not taken. */
static const struct refusal *take(struct api *a, struct source *s, size_t size,
                                  mf_val body, struct event_envelope *env,
                                  uint64_t *seq)
{
    struct event_fault fault = { "payload_too_large", "Exceed payload limit" };
    const struct refusal *f = over_rate(a, s, NULL, 1);
    enum journal_state state;
    const char *blocked;
    mf_str id;

    if (f)
        return f;
    buf_clear(&a->event);
    if (size > a->keys.max_event_bytes ||
        event_normalise(body, env, &a->event, &id, &a->arena, &fault) != 0) {
        source_reject(s, fault.code);
        return refusal_for(a, fault);
    }
    state = pass(a, s, env->received_text, env->received_ms, id, seq,
                 &blocked);
    if (state != JOURNAL_OK)
        return refusal_of(state);
    if (blocked)
        tell_blocked(a, s, blocked, env, body);
    journal_flush(a->intake.intake->journal);
    return NULL;
}

static void on_single(struct api *a, struct http_request *r, struct source *s,
                      mf_val body, struct event_envelope *env)
{
    uint64_t seq = 0;
    const struct refusal *f = take(a, s, r->body.len, body, env, &seq);

    if (f)
        refuse(a, r, f);
    else if (seq == 0)
        accept_now(a, r, (mf_str){ "", 0 });
    else
        wait_for(a, r, seq, (mf_str){ "", 0 }, false);
}

static void add_rejection(struct json_out *w, bool *any, size_t index,
                          const char *code)
{
    if (!*any) {
        json_begin_object(w);
        json_kbool(w, "success", true);
        json_key(w, MF_STR("rejected"));
        json_begin_array(w);
        *any = true;
    }
    json_begin_object(w);
    json_kint(w, "index", (int64_t)index);
    json_kstr(w, "code", mf_cstr(code));
    json_end_object(w);
}

static bool any_source(struct api *a, const mf_val *events, size_t n)
{
    for (size_t i = 0; i < n && i < BATCH_EVENTS_MAX; i++)
        if (source_of_event(a, events[i]))
            return true;
    return false;
}

/* Events of a batch that are refused, until it is known that the batch is
 * taken: one that must come again brings them once more. */
struct refusals {
    struct {
        struct source *source;
        const char *code;
        mf_str event;
    } *list; /* of the arena */
    size_t count;
    bool no_room; /* for letters: that is what stopped the batch */
};

/* False: not now. Who may keep one of a batch may keep them all. */
static bool note_refused(struct api *a, struct refusals *l, size_t room,
                         struct source *s, const char *code, mf_val event)
{
    if (!l->list) {
        l->no_room = !may_keep_letters(a, s);
        if (l->no_room)
            return false;
        l->list = arena_alloc(&a->arena, room * sizeof *l->list);
    }
    l->list[l->count].source = s;
    l->list[l->count].code = code;
    l->list[l->count++].event = (mf_str){ event.raw, event.len };
    return true;
}

/* As tell_blocked(), when the batch is taken. */
static void note_blocked(struct api *a, struct refusals *l, size_t room,
                         struct source *s, const char *code, mf_val event)
{
    if (l->list || may_keep_letters(a, s)) {
        note_refused(a, l, room, s, code, event);
        return;
    }
    source_reject(s, code);
    gate_not_kept(s->gate);
}

static void tell_refused(struct api *a, const struct refusals *l)
{
    int64_t now = clock_mono_ms();

    for (size_t i = 0; i < l->count; i++) {
        source_reject(l->list[i].source, l->list[i].code);
        bucket_owe(&l->list[i].source->letters, now);
        if (a->refused)
            a->refused(a->arg, l->list[i].source, l->list[i].code,
                       l->list[i].event);
    }
}

/* Takes each event of the batch by itself. Returns what stopped it. */
static enum journal_state keep_batch(struct api *a, struct source *s,
                                     const mf_val *events, size_t count,
                                     struct event_envelope *env,
                                     struct refusals *refusals,
                                     uint64_t *seq, bool *any)
{
    enum journal_state state;
    const char *blocked;
    struct json_out w;
    mf_str id;

    buf_clear(&a->answer);
    json_out_init(&w, &a->answer);
    for (size_t i = 0; i < count; i++) {
        struct event_fault fault = { "payload_too_large",
                                     "Exceed payload limit" };
        mf_val event = events[i];
        struct source *own = s ? s : source_of_event(a, event);

        buf_clear(&a->event);
        if (!own) {
            a->unknown_keys++; /* nobody's, so nobody's letter */
            add_rejection(&w, any, i, "invalid_write_key");
            continue;
        }
        if (event.len > a->keys.max_event_bytes ||
            event_normalise(event, env, &a->event, &id, &a->arena, &fault) !=
                0) {
            if (!note_refused(a, refusals, count, own, fault.code, event))
                return JOURNAL_BUSY;
            add_rejection(&w, any, i, fault.code);
            continue;
        }
        state = pass(a, own, env->received_text, env->received_ms, id, seq,
                     &blocked);
        if (state != JOURNAL_OK)
            return state;
        if (blocked)
            note_blocked(a, refusals, count, own, blocked, event);
    }
    state = sheaf_put(&a->sheaf, &a->intake, seq);
    if (*any) {
        json_end_array(&w);
        json_end_object(&w);
    }
    if (state == JOURNAL_OK)
        tell_refused(a, refusals);
    return state;
}

/* One walk: the events, at most BATCH_EVENTS_MAX of them; the count may be one
 * more, which says that there are too many. */
static size_t list_events(mf_val batch, mf_val events[BATCH_EVENTS_MAX])
{
    mf_iter it = { { 0 } };
    size_t n = 0;
    mf_str key;
    mf_val v;

    while (batch.type == MF_ARRAY && json_next(batch, &it, &key, &v)) {
        if (n == BATCH_EVENTS_MAX)
            return n + 1;
        events[n++] = v;
    }
    return n;
}

/* What is wrong with the batch as a whole, or NULL. */
static const struct refusal *fault_of_batch(struct api *a,
                                            const struct source *s,
                                            const struct body *body,
                                            const mf_val *events, size_t n)
{
    static const struct refusal too_large = { 400, "payload_too_large",
                                              "Exceed payload limit", 0 };
    static const struct refusal no_batch = {
        400, "batch_not_array", "a batch needs an array named batch", 0
    };
    static const struct refusal too_many = {
        400, "too_many_events", "a batch may hold 2500 events at the most", 0
    };
    static const struct refusal too_wide = {
        400, "too_many_members",
        "context and integrations of a batch may have 128 members each", 0
    };
    uint64_t shared = (uint64_t)body->context.len + body->integrations.len;

    if (body->root.len > a->keys.max_batch_bytes)
        return &too_large;
    if (!s && !any_source(a, events, n))
        return &unknown_key;
    if (body->batch.type != MF_ARRAY)
        return &no_batch;
    if (n > BATCH_EVENTS_MAX)
        return &too_many;
    if (shared > a->keys.max_event_bytes ||
        (shared && body->root.len + n * shared > BATCH_KEPT_MAX))
        return &too_large;
    if (json_count(body->context) > EVENT_MEMBERS_MAX ||
        json_count(body->integrations) > EVENT_MEMBERS_MAX)
        return &too_wide;
    return NULL;
}

static void on_batch(struct api *a, struct http_request *r, struct source *s,
                     const struct body *body, struct event_envelope *env)
{
    mf_val *events = arena_alloc(&a->arena,
                                 BATCH_EVENTS_MAX * sizeof *events);
    size_t n = list_events(body->batch, events);
    struct refusals refusals = { NULL, 0, false };
    const struct refusal *wrong = fault_of_batch(a, s, body, events, n);
    enum journal_state state;
    uint64_t seq = 0;
    bool any = false;

    if (wrong) {
        if (s)
            source_reject(s, wrong->code);
        a->unknown_keys += wrong == &unknown_key;
        refuse(a, r, wrong);
        return;
    }
    wrong = over_rate(a, s, events, n);
    if (wrong) {
        refuse(a, r, wrong);
        return;
    }
    env->context = body->context;
    env->integrations = body->integrations;
    env->sent_at = body->sent_at;
    a->envelope = env;
    sheaf_clear(&a->sheaf);
    a->together = true;
    state = keep_batch(a, s, events, n, env, &refusals, &seq, &any);
    a->together = false;
    a->envelope = NULL;
    journal_flush(a->intake.intake->journal);
    if (state != JOURNAL_OK)
        refuse(a, r, refusals.no_room ? &too_many_refused
                                      : refusal_of(state)); /* all again */
    else if (seq == 0)
        accept_now(a, r, any ? buf_view(&a->answer) : (mf_str){ "", 0 });
    else
        wait_for(a, r, seq, any ? buf_view(&a->answer) : (mf_str){ "", 0 },
                 false);
}

/* ---- tried again ---- */

static struct source *source_numbered(struct api *a, uint32_t id)
{
    for (uint32_t i = 0; i < a->keys.count; i++)
        if (a->keys.sources[i].id == id)
            return &a->keys.sources[i];
    return NULL;
}

/* Judged as a fresh event, written as of its first receipt, and in the journal
 * as of now: retention and TTL count from there. */
void api_again(struct api *a, const struct msg_ingest_again *m,
               mf_str envelope, mf_str event)
{
    struct event_fault fault = { "payload_too_large", "" };
    struct source *s = source_numbered(a, m->source);
    struct event_envelope env;
    enum journal_state state;
    const char *blocked;
    uint64_t seq = 0;
    mf_str id;

    arena_reset(&a->arena);
    if (a->room)
        gate_room_reset(a->room);
    buf_clear(&a->event);
    if (!s) {
        a->tried(a->arg, m->job, m->letter, TRIED_NO_SOURCE, "");
        return;
    }
    letter_read_envelope(envelope, &env, &a->arena);
    if (json_check(event, EVENT_DEPTH_MAX, NULL) != 0)
        fault.code = "invalid_json";
    else if (event.len <= a->keys.max_event_bytes &&
             event_normalise(json_root(event), &env, &a->event, &id,
                             &a->arena, &fault) == 0)
        fault.code = NULL;
    if (fault.code) {
        a->tried(a->arg, m->job, m->letter, TRIED_REFUSED, fault.code);
        return;
    }
    state = pass(a, s, env.received_text, clock_ms(), id, &seq, &blocked);
    journal_flush(a->intake.intake->journal);
    if (state == JOURNAL_OK && blocked)
        a->tried(a->arg, m->job, m->letter, TRIED_REFUSED, blocked);
    else if (state == JOURNAL_OK && seq > 0)
        wait_for_letter(a, m, seq);
    else
        a->tried(a->arg, m->job, m->letter,
                 state == JOURNAL_OK ? TRIED_TAKEN : TRIED_BUSY, "");
}

/* ---- pixels ---- */

/* The event with the type that its path says, as one of a batch has it. */
static mf_str with_type(struct api *a, mf_val event, int type)
{
    mf_str text = { event.raw, event.len };

    if (type < 0 || event.type != MF_OBJECT)
        return text;
    return arena_printf(&a->arena, "%.*s%s\"type\":\"%s\"}",
                        (int)text.len - 1, text.ptr,
                        json_count(event) ? "," : "", event_type_names[type]);
}

/* Keeps what a pixel carries, or says why not. Nobody would send it again, so
 * what is wrong with it is kept too. */
static const struct refusal *take_pixel(struct api *a, struct http_request *r,
                                        struct event_envelope *env,
                                        uint64_t *seq)
{
    mf_str query = r->query.ptr ? r->query : MF_STR(""), text = { "", 0 };
    struct event_fault fault = { "invalid_json", "data is not JSON" };
    const struct refusal *f;
    struct body body = { 0 };
    struct source *s;

    if (pixel_event(query, &a->arena, &text, &fault) != 0 ||
        json_check(text, EVENT_DEPTH_MAX, NULL) != 0) {
        f = refusal_for(a, fault);
    } else {
        f = NULL;
        read_body(text, &body);
    }
    s = source_of(a, r, body.write_key, true);
    if (!s) {
        a->unknown_keys++;
        return f ? f : &unknown_key;
    }
    if (f) {
        source_reject(s, f->code);
        return f;
    }
    f = take(a, s, text.len, body.root, env, seq);
    if (f && !f->retry_after && a->refused)
        a->refused(a->arg, s, f->code, with_type(a, body.root, env->type));
    return f;
}

static void on_pixel(struct api *a, struct http_request *r, int type)
{
    struct event_envelope env = { .type = type, .received_ms = clock_ms() };
    const struct refusal *f;
    uint64_t seq = 0;

    time_iso(env.received_ms, env.received_text);
    client_of_request(&env, r);
    env.from_page = true;
    f = take_pixel(a, r, &env, &seq);
    if (!f && seq)
        wait_for(a, r, seq, (mf_str){ "", 0 }, true);
    else
        show_pixel(a, r, f);
}

/* ---- settings ---- */

/* key: of the path, or empty. */
static void on_settings(struct api *a, struct http_request *r,
                        enum route route, mf_str key)
{
    static const struct refusal unknown = {
        404, "invalid_write_key", "there is no source of that write key", 0,
        NULL
    };
    mf_val none = { NULL, 0, MF_ABSENT };
    const struct source *s = key.len ? keys_find(&a->keys, key)
                                     : source_of(a, r, none, true);

    if (!s) {
        refuse(a, r, &unknown);
        return;
    }
    buf_clear(&a->answer);
    if (route == ROUTE_SETTINGS)
        settings_of_segment(&a->answer, r, mf_cstr(s->write_key));
    else
        settings_of_rudder(&a->answer, mf_cstr(s->write_key));
    http_reply(r, 200, "application/json", cors_headers(&a->arena, r, 0),
               buf_view(&a->answer));
}

/* ---- routes ---- */

static void on_post(struct api *a, struct http_request *r,
                    const struct route_found *to)
{
    struct event_envelope env = { .type = to->type,
                                  .received_ms = clock_ms() };
    struct refusal f = { 400, NULL, NULL, 0, NULL };
    struct json_fault fault;
    struct source *s;
    struct body body;

    if (r->fault == HTTP_OVERLOADED) {
        refuse(a, r, &busy);
        return;
    }
    if (r->fault) {
        f.code = http_fault_code(r->fault);
        f.message = r->fault == HTTP_TOO_LARGE ? "Exceed payload limit"
                                               : r->fault_text;
        refuse(a, r, &f);
        return;
    }
    if (json_check(r->body, EVENT_DEPTH_MAX, &fault) != 0) {
        unsigned line, column;

        json_place(r->body, fault.offset, &line, &column);
        f.code = "invalid_json";
        f.message = arena_printf(&a->arena,
                                 "the body is not JSON: line %u, column %u: "
                                 "%s",
                                 line, column, fault.what)
                        .ptr;
        refuse(a, r, &f);
        return;
    }
    read_body(r->body, &body);
    s = source_of(a, r, body.write_key, to->key_in_query);
    if (!s && to->route != ROUTE_BATCH) {
        a->unknown_keys++;
        refuse(a, r, &unknown_key);
        return;
    }
    time_iso(env.received_ms, env.received_text);
    client_of_request(&env, r);
    if (to->route == ROUTE_EVENT)
        on_single(a, r, s, body.root, &env);
    else
        on_batch(a, r, s, &body, &env);
}

static void on_read(struct api *a, struct http_request *r,
                    const struct route_found *to)
{
    bool has_body = !mf_eq(r->method, MF_STR("HEAD"));

    if (to->route == ROUTE_HEALTH)
        http_reply(r, 200, "application/json", cors_headers(&a->arena, r, 0),
                   MF_STR("{\"success\":true}"));
    else if (to->route != ROUTE_PIXEL)
        on_settings(a, r, to->route, to->key);
    else if (has_body)
        on_pixel(a, r, to->type);
    else
        show_pixel(a, r, NULL); /* who only looks shows nobody the image */
}

void api_request(struct http_request *r, void *api)
{
    static const struct refusal unknown = {
        404, "not_found", "there is nothing at this path", 0, NULL
    };
    static const struct refusal no_read = {
        405, "method_not_allowed", "events are sent with POST", 0,
        "POST, OPTIONS"
    };
    static const struct refusal no_post = {
        405, "method_not_allowed", "this is read with GET", 0,
        "GET, HEAD, OPTIONS"
    };
    struct api *a = api;
    struct route_found to = route_of(r->path);
    bool sends = to.route == ROUTE_EVENT || to.route == ROUTE_BATCH ||
                 to.route == ROUTE_METRICS;

    arena_reset(&a->arena);
    if (a->room)
        gate_room_reset(a->room);
    if (mf_eq(r->method, MF_STR("OPTIONS")))
        cors_preflight(&a->arena, r);
    else if (to.route == ROUTE_NONE)
        refuse(a, r, &unknown);
    else if (!sends && (mf_eq(r->method, MF_STR("GET")) ||
                        mf_eq(r->method, MF_STR("HEAD"))))
        on_read(a, r, &to);
    else if (!sends || !mf_eq(r->method, MF_STR("POST")))
        refuse(a, r, sends ? &no_read : &no_post);
    else if (to.route == ROUTE_METRICS)
        accept_now(a, r, (mf_str){ "", 0 });
    else
        on_post(a, r, &to);
}

void api_init(struct api *a)
{
    memset(a, 0, sizeof *a);
    arena_init(&a->arena, REQUEST_ARENA);
    buf_init(&a->event, EVENT_ROOM);
    buf_init(&a->answer, ANSWER_MAX);
    sheaf_init(&a->sheaf);
}

void api_deinit(struct api *a)
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
    keys_deinit(&a->keys);
    arena_deinit(&a->arena);
    buf_deinit(&a->event);
    buf_deinit(&a->answer);
    gate_room_free(a->room);
    sheaf_deinit(&a->sheaf);
}

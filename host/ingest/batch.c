/* SPDX-License-Identifier: Apache-2.0
 *
 * batch.c - many events in one request: each is taken or refused by itself,
 * and all go to the journal together. */
#include "ingest/inner.h"

#include "base/clock.h"
#include "json/json.h"

/* What a batch may become when its context and integrations are kept with
 * each of its events. The journal holds twice as much before it is written;
 * a batch that never fits would be sent again for ever. */
#define BATCH_KEPT_MAX (4u << 20)

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
        if (api_source_of_event(a, events[i]))
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
        l->no_room = !api_may_keep_letters(a, s);
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
    if (l->list || api_may_keep_letters(a, s)) {
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
        struct source *own = s ? s : api_source_of_event(a, event);

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
        state = api_pass(a, own, env->received_text, env->received_ms, id, seq,
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
        return &refusal_unknown_key;
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

void api_batch(struct api *a, struct http_request *r, struct source *s,
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
        a->unknown_keys += wrong == &refusal_unknown_key;
        api_refuse(a, r, wrong);
        return;
    }
    wrong = api_over_rate(a, s, events, n);
    if (wrong) {
        api_refuse(a, r, wrong);
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
        api_refuse(a, r, refusals.no_room ? &refusal_too_many_refused
                   : api_refusal_of(state)); /* all again */
    else if (seq == 0)
        api_accept(a, r, any ? buf_view(&a->answer) : (mf_str){ "", 0 });
    else
        api_wait_for(a, r, seq, any ? buf_view(&a->answer) : (mf_str){ "", 0 },
                     false);
}

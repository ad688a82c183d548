/* SPDX-License-Identifier: Apache-2.0
 *
 * admit.c - the way of an event that is well-formed: its source's rate, its
 * source's gate, the intake. */
#include "ingest/inner.h"

#include "base/clock.h"
#include "journal/ids.h"
#include "json/json.h"

struct source *api_source_of_event(struct api *a, mf_val event)
{
    mf_val key = json_get(event, MF_STR("writeKey"));

    return key.type == MF_STRING
               ? keys_find(&a->keys, json_text(key, &a->arena))
               : NULL;
}

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
enum journal_state api_pass(struct api *a, struct source *s,
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
        struct source *s = api_source_of_event(a, events[i]);

        if (s)
            ids[known++] = s->id;
    }
    return quotas_take(a->quotas, ids, known);
}

static void count_each(struct api *a, const mf_val *events, size_t n,
                       const char *code)
{
    for (size_t i = 0; i < n; i++) {
        struct source *s = api_source_of_event(a, events[i]);

        if (s)
            source_reject(s, code);
    }
}

/* Takes the events off their source's quota; s NULL: the events' own ones.
 * NULL, or until when there is no room. */
const struct refusal *api_over_rate(struct api *a, struct source *s,
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
bool api_may_keep_letters(struct api *a, struct source *s)
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

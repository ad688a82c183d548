/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_event.c - what clients send as an event, and what is kept of it.
 *
 *   EVENT
 *   --
 *   BATCH      { context, integrations, sentAt }
 *
 * An event is refused with a code and leaves nothing behind, or what is kept
 * of it is whole: JSON with the members the server answers for, and an event
 * that would be accepted again. */
#include "fuzz.h"

#include "base/text.h"
#include "ingest/event.h"

#define SOFT     (4u << 20)
#define KEPT_MAX (1u << 20)
#define RECEIVED 1768212000000

static struct arena arena;

static mf_str text_of(mf_val event, const char *name)
{
    return json_text(json_get(event, mf_cstr(name)), &arena);
}

static bool is_time(mf_val event, const char *name)
{
    int64_t ms;

    return time_parse(text_of(event, name), &ms);
}

static void check_kept(mf_str kept, mf_str id)
{
    mf_val v;

    ASSERT(json_check(kept, JSON_DEPTH_MAX, NULL) == 0);
    v = json_root(kept);
    ASSERT(v.type == MF_OBJECT);
    ASSERT(event_type_named(text_of(v, "type")) >= 0);
    ASSERT(id.len && mf_eq(text_of(v, "messageId"), id));
    ASSERT(is_time(v, "timestamp") && is_time(v, "receivedAt"));
    ASSERT(json_get(v, MF_STR("writeKey")).type == MF_ABSENT);
    ASSERT(json_get(v, MF_STR("originalTimestamp")).type != MF_ABSENT);
    for (unsigned k = 0; k < 4; k++) {
        static const char *const objects[] = { "properties", "traits",
                                               "context", "integrations" };
        mf_val o = json_get(v, mf_cstr(objects[k]));

        ASSERT(o.type <= MF_NULL || o.type == MF_OBJECT);
    }
}

static void normalise(mf_val event, struct event_envelope *env)
{
    struct event_fault fault = { NULL, NULL };
    mf_str id = { NULL, 0 }, second = { NULL, 0 };
    struct buf kept, again;

    buf_init(&kept, KEPT_MAX);
    buf_init(&again, KEPT_MAX);
    buf_puts(&kept, "x");
    if (event_normalise(event, env, &kept, &id, &arena, &fault) != 0) {
        ASSERT(fault.code && fault.message && kept.len == 1);
    } else {
        buf_drop(&kept, 1);
        check_kept(buf_view(&kept), id);
        ASSERT(event_normalise(json_root(buf_view(&kept)), env, &again,
                               &second, &arena, &fault) == 0);
        ASSERT(mf_eq(id, second));
        check_kept(buf_view(&again), id);
    }
    buf_deinit(&kept);
    buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_envelope env = { .type = -1, .received_ms = RECEIVED };
    mf_str part[2];
    mf_val event, batch;

    if (!arena.soft)
        arena_init(&arena, SOFT);
    arena_reset(&arena);
    fuzz_split(data, size, part, 2);
    time_iso(RECEIVED, env.received_text);
    event = fuzz_value(part[0]);
    batch = fuzz_value(part[1]);
    env.context = json_get(batch, MF_STR("context"));
    env.integrations = json_get(batch, MF_STR("integrations"));
    env.sent_at = json_get(batch, MF_STR("sentAt"));
    env.client_ip = MF_STR("203.0.113.7");
    env.from_page = part[1].len % 2;
    if (event.type != MF_ABSENT) {
        for (env.type = -1; env.type < EVENT_TYPES; env.type++)
            normalise(event, &env);
    }
    fuzz_join(part, 2);
    return 0;
}

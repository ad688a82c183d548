/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_plan.c - any text as a tracking plan, any JSON as a source's schema
 * controls, any event.
 *
 *   PLAN
 *   --
 *   SCHEMA     { track, identify, group }
 *   --
 *   EVENT
 *
 * A plan compiles or its faults are told with their place. An event that
 * ingest would keep is kept as it was, changed, or blocked, and is JSON of the
 * same message after it, and can be judged again. */
#include "fuzz.h"

#include "ingest/event.h"
#include "ingest/gate.h"

#define SOFT     (4u << 20)
#define KEPT_MAX (1u << 20)

static struct arena arena;
static struct faults *faults;
static struct gate_room *room;

static struct plan *compile(mf_str text)
{
    struct plan *p;

    faults_init(faults);
    p = plan_compile(text, "plan", faults);
    ASSERT((p != NULL) == (faults->errors == 0));
    for (size_t i = 0; i < faults->count; i++)
        ASSERT(faults->list[i].at.line && faults->list[i].text[0]);
    faults_deinit(faults);
    return p;
}

static void check_same(mf_str kept, mf_str id)
{
    mf_val v;

    ASSERT(json_check(kept, JSON_DEPTH_MAX, NULL) == 0);
    v = json_root(kept);
    ASSERT(mf_eq(json_text(json_get(v, MF_STR("messageId")), &arena), id));
    ASSERT(json_get(v, MF_STR("receivedAt")).type == MF_STRING);
}

static void judge(struct gate *g, struct buf *event, mf_str id)
{
    struct gate_verdict v, second;
    mf_str other, made;

    gate_judge(g, room, event, &v);
    check_same(buf_view(event), id);
    for (unsigned i = 0; i < v.violations; i++) {
        made = gate_forward(g, room, i, "2026-01-12T10:00:00.000Z", &other);
        ASSERT(made.len == 0 || json_check(made, JSON_DEPTH_MAX, NULL) == 0);
    }
    if (v.blocked)
        return;
    gate_judge(g, room, event, &second);
    check_same(buf_view(event), id);
}

static void run(struct plan *p, mf_val controls, mf_val sent)
{
    struct event_envelope env = { .type = -1, .received_ms = 1768212000000,
                                  .received_text =
                                      "2026-01-12T10:00:00.000Z" };
    struct event_fault fault;
    struct buf event;
    struct gate *g;
    mf_str id;

    g = gate_new(MF_STR("web"), controls, p ? plan_hold(p) : NULL, NULL);
    buf_init(&event, KEPT_MAX);
    gate_room_reset(room);
    if (event_normalise(sent, &env, &event, &id, &arena, &fault) == 0)
        judge(g, &event, id);
    buf_deinit(&event);
    gate_release(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mf_val controls, sent;
    struct plan *p;
    mf_str part[3];

    if (!room) {
        arena_init(&arena, SOFT);
        room = gate_room_new();
        faults = xcalloc(1, sizeof *faults);
    }
    arena_reset(&arena);
    fuzz_split(data, size, part, 3);
    p = compile(part[0]);
    controls = fuzz_value(part[1]);
    sent = fuzz_value(part[2]);
    if (controls.type != MF_ABSENT && sent.type != MF_ABSENT)
        run(p, controls, sent);
    plan_release(p);
    fuzz_join(part, 3);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * trouble.c - a destination for tests: it crashes or hangs over the events
 * that ask for it, and sends the others. */
#include <manifold/kit.h>

enum { URL, HOW, DATA };
static const char *const paths[] = { "url", "how", "data" };

/* Every turn is a write that the compiler must keep. */
static void loop(void)
{
    volatile unsigned turns = 0;

    for (;;)
        turns++;
}

static void obey(mf_call *c, const mf_event *event)
{
    mf_str how = mf_text(c, mf_field(event, HOW));

    if (mf_eq(how, MF_STR("trap")))
        __builtin_trap();
    if (mf_eq(how, MF_STR("loop")))
        loop();
}

static void send(mf_call *c, const mf_event *first, mf_str body)
{
    mf_request *r = mf_send(c, "POST", mf_text(c, mf_field(first, URL)));

    mf_body_text(r, "application/json", body);
}

static int32_t one(const void *self, mf_call *c, const mf_event *event)
{
    (void)self;
    obey(c, event);
    send(c, event, mf_stringify(c, mf_field(event, DATA)));
    return MF_OK;
}

static int32_t batch(const void *self, mf_call *c,
                     const mf_event *const *events, uint32_t n)
{
    mf_str *parts = mf_alloc(c, (2 * n + 1) * sizeof *parts);

    (void)self;
    for (uint32_t i = 0; i < n; i++) {
        obey(c, events[i]);
        parts[2 * i] = i ? MF_STR(",") : MF_STR("[");
        parts[2 * i + 1] = mf_stringify(c, mf_field(events[i], DATA));
    }
    parts[2 * n] = MF_STR("]");
    send(c, events[0], mf_join(c, parts, 2 * n + 1));
    return MF_OK;
}

static const mf_action actions[] = {
    { .slug = "send", .paths = paths, .path_count = 3,
      .perform = one, .perform_batch = batch },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = 1,
};

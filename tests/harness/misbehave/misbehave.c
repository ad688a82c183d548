/* SPDX-License-Identifier: Apache-2.0
 *
 * misbehave.c - a plugin that does what no plugin may, one action a fault, to
 * see that the harness lays each to the case it happened in and goes on. */
#include <manifold/destination.h>

static void post(mf_call *c, mf_str text)
{
    mf_writer *w = mf_json_body(
        mf_send(c, "POST", MF_STR("https://api.misbehave.example/")));

    mf_w_object(w, NULL);
    mf_w_str(w, "text", text);
    mf_w_end(w);
}

static int32_t good(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    post(c, MF_STR("good"));
    return MF_OK;
}

static int32_t crash(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)c;
    (void)e;
    __builtin_trap();
}

static int32_t hang(const void *self, mf_call *c, const mf_event *e)
{
    volatile uint32_t on = 1;

    (void)self;
    (void)c;
    (void)e;
    while (on)
        ;
    return MF_OK;
}

/* A plugin keeps nothing from one call to the next, but there are still ways
 * to come out otherwise each time: the processor's own counter is one. */
static int32_t flaky(const void *self, mf_call *c, const mf_event *e)
{
    mf_request *r = mf_send(c, "POST",
                            MF_STR("https://api.misbehave.example/"));
    char digits[16];
    uint64_t tick = (uint64_t)(uintptr_t)e;

    (void)self;
#if defined(__x86_64__)
    tick = __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(tick));
#endif
    for (unsigned k = 0; k < sizeof digits; k++, tick >>= 4)
        digits[k] = "0123456789abcdef"[tick & 15];
    mf_header(r, "x-tick", (mf_str){ digits, sizeof digits });
    return MF_OK;
}

static int32_t lose(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)c;
    (void)e;
    return MF_OK;
}

static int32_t devour(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    for (uint64_t k = 0; k < MF_ARENA_BYTES; k++)
        mf_alloc(c, 1u << 16);
    return MF_OK;
}

static const mf_action actions[] = {
    { .slug = "good", .perform = good },     { .slug = "crash", .perform = crash },
    { .slug = "hang", .perform = hang },     { .slug = "flaky", .perform = flaky },
    { .slug = "lose", .perform = lose },     { .slug = "devour", .perform = devour },
};

MF_DESTINATION(actions);

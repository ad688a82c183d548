/* SPDX-License-Identifier: Apache-2.0
 *
 * pace.c - declared rates over one worker after the other.
 *
 * What is left of a destination's rate is with its worker, which brings it
 * back when it leaves the lanes. While it is out state.db says so, durably
 * before the worker can use any of it: whoever finds that after a crash cannot
 * know what was used, and begins with nothing. So no sequence of reloads,
 * restarts and crashes lets more through than the rate and one burst. A rate
 * that there was none of before begins with its burst. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

void pace_load(struct supervisor *s, struct sup_destination *d)
{
    d->pace_known = state_pace(s->state, d->name, &d->pace);
    if (d->pace_known && d->pace.out) {
        d->pace.tokens = 0;
        d->pace.at_ms = clock_ms();
    }
}

static void put(struct supervisor *s, struct sup_destination *d)
{
    struct err e;

    if (state_pace_put(s->state, d->name, &d->pace, &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
}

bool pace_take(struct supervisor *s, struct sup_destination *d,
               const struct generation *to)
{
    if (d->rate <= 0 || d->pacer == to)
        return false;
    d->pacer = to;
    d->pace.out = true;
    put(s, d);
    return true;
}

void pace_send(struct sup_destination *d, struct generation *to)
{
    struct msg_pace m = { d->pace.tokens, d->pace.at_ms };
    char bytes[sizeof m + sizeof d->name];
    size_t len = strlen(d->name);

    if (d->pacer != to || !d->pace_known)
        return;
    memcpy(bytes, &m, sizeof m);
    memcpy(bytes + sizeof m, d->name, len);
    child_send(to->child, MSG_PACE, bytes, sizeof m + len, -1);
}

static void bring_back(struct supervisor *s, struct sup_destination *d,
                       double tokens, int64_t at_ms)
{
    d->pacer = NULL;
    d->pace = (struct state_pace){ tokens, at_ms, false };
    d->pace_known = true;
    put(s, d);
}

void pace_message(struct supervisor *s, const struct generation *from,
                  mf_str text)
{
    int64_t now = clock_ms();
    struct msg_pace m;
    mf_str name;

    if (text.len < sizeof m)
        return;
    memcpy(&m, text.ptr, sizeof m);
    name = (mf_str){ text.ptr + sizeof m, text.len - sizeof m };
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        if (d->pacer == from && mf_eq(mf_cstr(d->name), name)) {
            /* More than there can be, or no number, is not believed. */
            double most = d->rate > 1 ? d->rate : 1;

            bring_back(s, d, m.tokens <= most ? m.tokens : 0, now);
        }
}

void pace_release(struct supervisor *s, const struct generation *n)
{
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        if (d->pacer == n)
            bring_back(s, d, 0, clock_ms());
}

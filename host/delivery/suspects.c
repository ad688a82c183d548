/* SPDX-License-Identifier: Apache-2.0
 *
 * suspects.c - see suspects.h. */
#include "delivery/suspects.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void add_poison(struct suspects *s, const struct msg_poison *m,
                       const char *why)
{
    if (s->count == POISON_MAX)
        return;
    s->poison[s->count].lane = m->lane;
    s->poison[s->count].seq = m->seq;
    s->poison[s->count].why = xstrndup(why, m->why_len);
    s->count++;
}

void suspects_message(struct suspects *s, uint32_t type, mf_str text)
{
    struct msg_poison m;

    if (type == MSG_CAREFUL && text.len == sizeof s->careful)
        memcpy(&s->careful, text.ptr, sizeof s->careful);
    if (type != MSG_POISON || text.len < sizeof m)
        return;
    memcpy(&m, text.ptr, sizeof m);
    if (text.len == sizeof m + m.why_len)
        add_poison(s, &m, text.ptr + sizeof m);
}

void suspects_deinit(struct suspects *s)
{
    for (unsigned i = 0; i < s->count; i++)
        free(s->poison[i].why);
    s->count = 0;
}

mf_str suspects_why(const struct suspects *s, uint32_t lane, uint64_t seq)
{
    for (unsigned i = 0; s && i < s->count; i++)
        if (s->poison[i].lane == lane && s->poison[i].seq == seq)
            return mf_cstr(s->poison[i].why);
    return (mf_str){ "", 0 };
}

bool suspects_alone(const struct suspects *s, uint64_t seq)
{
    return s && s->careful.from <= seq && seq <= s->careful.to;
}

void slot_mark(struct slot *slot, enum slot_phase phase, uint32_t lane,
               uint64_t seq, uint64_t last, int64_t limit_ms)
{
    if (!slot)
        return;
    atomic_store_explicit(&slot->lane, lane, memory_order_relaxed);
    atomic_store_explicit(&slot->seq, seq, memory_order_relaxed);
    atomic_store_explicit(&slot->last, last, memory_order_relaxed);
    atomic_store_explicit(&slot->limit_ms, limit_ms, memory_order_relaxed);
    if (phase != PHASE_HOST)
        atomic_store_explicit(&slot->entered_ms, clock_mono_ms(),
                              memory_order_relaxed);
    atomic_store_explicit(&slot->phase, (uint32_t)phase, memory_order_release);
}

void slot_unmark(struct slot *slot)
{
    slot_mark(slot, PHASE_HOST, 0, 0, 0, 0);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * turns.c - see turns.h. */
#include "delivery/turns.h"

#include "base/mem.h"

#include <stdlib.h>

void turns_deinit(struct turns *t)
{
    for (size_t i = 0; i < t->count; i++)
        lane_free(t->list[i].lane);
    free(t->list);
    *t = (struct turns){ 0 };
}

void turns_add(struct turns *t, struct lane *l)
{
    ASSERT(t->count < LANES_MAX);
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4;
        t->list = xrealloc(t->list, t->cap * sizeof *t->list);
    }
    t->list[t->count++] = (struct turn){ .lane = l };
}

static void pass_on(struct turns *t)
{
    t->list[t->at].begun = false;
    t->at = (t->at + 1) % t->count;
}

static void charge(struct turns *t, struct turn *turn, size_t bytes)
{
    turn->credit -= (int64_t)bytes;
    if (turn->credit <= 0)
        pass_on(t);
}

enum lane_take turns_take(struct turns *t, struct lane_event **ev,
                          struct journal_record *r, struct err *e)
{
    size_t nothing = 0; /* lanes in a row that had none */

    while (nothing < t->count) {
        struct turn *turn = &t->list[t->at];
        enum lane_take got;

        if (!turn->begun) {
            turn->begun = true;
            turn->credit += TURN_BYTES;
        }
        if (turn->credit <= 0 && lane_ready(turn->lane)) {
            nothing = 0; /* it comes to credit if nobody else has any */
            pass_on(t);
            continue;
        }
        got = lane_take(turn->lane, ev, r, e);
        if (got == LANE_EVENT) {
            charge(t, turn, r->payload.len + TURN_EVENT_BYTES);
            return got;
        }
        if (got == LANE_MORE) {
            charge(t, turn, TURN_SCAN_BYTES);
            return got;
        }
        if (turn->credit > 0)
            turn->credit = 0;
        pass_on(t);
        if (got == LANE_BROKEN)
            return got;
        nothing++;
    }
    return LANE_EMPTY;
}

bool turns_ready(const struct turns *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (lane_ready(t->list[i].lane))
            return true;
    return false;
}

bool turns_rereading(const struct turns *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (lane_rereading(t->list[i].lane))
            return true;
    return false;
}

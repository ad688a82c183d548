/* SPDX-License-Identifier: Apache-2.0
 *
 * wheel.c - deadlines of all connections, looked at by one timer.
 *
 * A later deadline only changes the number: the connection is moved when its
 * old slot comes round. So a busy connection costs the wheel nothing. */
#include "http/conn.h"

#include <string.h>

static struct conn_list *slot_of(struct wheel *w, int64_t tick)
{
    return &w->slot[(uint64_t)tick & (WHEEL_SLOTS - 1)];
}

/* The tick at which the deadline has surely passed. One more than a turn away
 * is looked at early and put back. */
static int64_t tick_of(const struct wheel *w, int64_t deadline)
{
    int64_t tick = (deadline >> WHEEL_TICK_SHIFT) + 1;

    return tick > w->tick ? tick : w->tick + 1;
}

static void move_all(struct conn_list *from, struct conn_list *to)
{
    *to = *from;
    LIST_INIT(from);
    if (to->lh_first)
        to->lh_first->on_wheel.le_prev = &to->lh_first;
}

void http_wheel_init(struct wheel *w, int64_t now)
{
    memset(w, 0, sizeof *w);
    w->tick = now >> WHEEL_TICK_SHIFT;
}

void http_wheel_set(struct wheel *w, struct conn *c, int64_t deadline)
{
    int64_t tick = tick_of(w, deadline);

    c->deadline = deadline;
    if (c->tick && c->tick <= tick)
        return;
    http_wheel_remove(c);
    c->tick = tick;
    LIST_INSERT_HEAD(slot_of(w, tick), c, on_wheel);
}

void http_wheel_remove(struct conn *c)
{
    if (!c->tick)
        return;
    c->tick = 0;
    LIST_REMOVE(c, on_wheel);
}

void http_wheel_sweep(struct wheel *w, int64_t now,
                      void (*expire)(struct conn *c, int64_t now))
{
    int64_t to = now >> WHEEL_TICK_SHIFT;
    int64_t from = to - w->tick > WHEEL_SLOTS ? to - WHEEL_SLOTS : w->tick;

    if (to > w->tick)
        w->tick = to;
    while (from < to) {
        struct conn_list due;
        struct conn *c;

        move_all(slot_of(w, ++from), &due);
        while ((c = LIST_FIRST(&due))) {
            http_wheel_remove(c);
            if (c->deadline > now)
                http_wheel_set(w, c, c->deadline);
            else
                expire(c, now);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * order.h - who must wait for whom: parts of events that share a key go one
 * after the other, in the order of their events, retries included.
 *
 * A key is the event's user (order "user") or the value of the payload field
 * that the manifest names (serialize_by); a part may have one of each and then
 * waits in both queues. It may go when it is first in all its queues, and
 * leaves them when it is settled. Since it joins all of them at once, in one
 * order, no two can wait for each other.
 *
 * This says nothing of what becomes of those that wait: that is the pump's. */
#ifndef DELIVERY_ORDER_H
#define DELIVERY_ORDER_H

#include "delivery/retries.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

enum order_place {
    ORDER_WAITING, /* its turn is awaited; it stays open in its lane */
    ORDER_HAND,    /* being started, filling a batch, or under way */
    ORDER_DUE,     /* set aside; the time of its retry is awaited */
    ORDER_ASIDE,   /* its turn is awaited; it has a row in state.db */
    ORDER_TURN     /* its turn has come: order_next() gives it */
};

struct order_link {
    struct order_queue *queue; /* NULL: no such key */
    struct ticket *prev, *next;
};

/* A part's place in the queues. */
struct ticket {
    uint64_t seq;
    enum order_place place;
    enum order_place waited; /* before its turn came */
    bool began;              /* it was in hand: nobody gets before it now */
    struct part part;        /* while it is not in hand */
    struct flight *flight;   /* the batch that it fills, or NULL */
    struct order_link links[ORDER_KEYS];
    struct ticket *next_turn;
};

struct order;

struct order *order_new(uint64_t chance);
void order_free(struct order *o); /* and its tickets */
/* The key of a value; 0 means none. Values of different kinds do not meet.
 * It stands in state.db: the same forever. */
uint64_t order_key(uint32_t kind, mf_str value);
/* A place behind those of older events and before those of younger ones, but
 * for those that were in hand already. NULL if there is no key at all. */
struct ticket *order_join(struct order *o, uint64_t seq,
                          const uint64_t keys[ORDER_KEYS]);
void order_keys(const struct ticket *t, uint64_t keys[ORDER_KEYS]);
bool order_first(const struct ticket *t);
bool order_is_waited_for(const struct ticket *t);
/* Whether the one right before it, in either queue, has a row in state.db: then
 * it would wait for a retry. */
bool order_waits_for_retry(const struct ticket *t);
/* Calls fn for each ticket behind t that is ORDER_WAITING. */
void order_behind(struct ticket *t, void (*fn)(void *arg, struct ticket *t),
                  void *arg);
/* The same for all tickets, or those whose turn has come since. */
void order_all_waiting(struct order *o,
                       void (*fn)(void *arg, struct ticket *t), void *arg);
/* Calls fn for the batches that those before t are filling. */
void order_before(struct ticket *t, void (*fn)(void *arg, struct flight *f),
                  void *arg);
/* The part is settled. t is freed; those that it kept back get their turn. */
void order_leave(struct order *o, struct ticket *t);
/* One whose turn has come, in hand from now on, or NULL. */
struct ticket *order_next(struct order *o);
bool order_has_next(const struct order *o);
/* Those that wait for their turn with a row in state.db. */
unsigned order_aside(const struct order *o);
/* The place of a ticket changes; with the part it is about. */
void order_put(struct order *o, struct ticket *t, enum order_place place,
               const struct part *p);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * order.c - see order.h. Queues in a hash table, each while it has a ticket. */
#include "delivery/order.h"

#include "base/mem.h"

#include <stdlib.h>

#define TABLE_LEAST 64 /* a power of two */

struct order_queue {
    uint64_t key;
    struct order_queue *next; /* in the table */
    struct ticket *first, *last;
};

struct order {
    struct order_queue **table;
    size_t size, count; /* size: a power of two */
    uint64_t odd;       /* spreads keys that strangers choose */
    struct ticket *turns, **turns_end;
    unsigned aside;
};

struct order *order_new(uint64_t chance)
{
    struct order *o = xcalloc(1, sizeof *o);

    o->size = TABLE_LEAST;
    o->table = xcalloc(o->size, sizeof *o->table);
    o->odd = chance | 1;
    o->turns_end = &o->turns;
    return o;
}

/* FNV-1a, 64 bits. Two values of one key wait for each other in vain, and
 * that is all that they do. */
uint64_t order_key(uint32_t kind, mf_str value)
{
    uint64_t h = 14695981039346656037ull ^ kind;

    for (size_t i = 0; i < value.len; i++)
        h = (h ^ (unsigned char)value.ptr[i]) * 1099511628211ull;
    h = (h ^ value.len) * 1099511628211ull;
    return h ? h : 1;
}

/* ---- the table ---- */

static struct order_queue **slot_of(const struct order *o, uint64_t key)
{
    return &o->table[(key * o->odd) >> 32 & (o->size - 1)];
}

static void grow(struct order *o)
{
    struct order_queue **old = o->table;
    size_t size = o->size;

    o->size *= 2;
    o->table = xcalloc(o->size, sizeof *o->table);
    for (size_t i = 0; i < size; i++)
        while (old[i]) {
            struct order_queue *q = old[i], **to = slot_of(o, q->key);

            old[i] = q->next;
            q->next = *to;
            *to = q;
        }
    free(old);
}

static struct order_queue *queue_of(struct order *o, uint64_t key)
{
    struct order_queue **at = slot_of(o, key), *q;

    for (q = *at; q; q = q->next)
        if (q->key == key)
            return q;
    if (o->count++ == o->size) {
        grow(o);
        at = slot_of(o, key);
    }
    q = xcalloc(1, sizeof *q);
    q->key = key;
    q->next = *at;
    *at = q;
    return q;
}

static void drop_queue(struct order *o, struct order_queue *q)
{
    struct order_queue **at = slot_of(o, q->key);

    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    o->count--;
    free(q);
}

/* ---- queues ---- */

/* The link of t in q. */
static struct order_link *link_in(struct ticket *t, const struct order_queue *q)
{
    unsigned k = 0;

    while (t->links[k].queue != q)
        k++;
    return &t->links[k];
}

static void enter(struct order_queue *q, struct ticket *t,
                  struct order_link *l)
{
    struct ticket *before = q->last;

    while (before && before->seq > t->seq && !before->began)
        before = link_in(before, q)->prev;
    l->queue = q;
    l->prev = before;
    l->next = before ? link_in(before, q)->next : q->first;
    if (l->next)
        link_in(l->next, q)->prev = t;
    else
        q->last = t;
    if (before)
        link_in(before, q)->next = t;
    else
        q->first = t;
}

static void quit(struct order_link *l)
{
    struct order_queue *q = l->queue;

    if (l->prev)
        link_in(l->prev, q)->next = l->next;
    else
        q->first = l->next;
    if (l->next)
        link_in(l->next, q)->prev = l->prev;
    else
        q->last = l->prev;
}

struct ticket *order_join(struct order *o, uint64_t seq,
                          const uint64_t keys[ORDER_KEYS])
{
    struct ticket *t = NULL;

    for (unsigned k = 0; k < ORDER_KEYS; k++) {
        if (!keys[k] || (k > 0 && keys[k] == keys[0]))
            continue;
        if (!t)
            t = xcalloc(1, sizeof *t);
        t->seq = seq;
        enter(queue_of(o, keys[k]), t, &t->links[k]);
    }
    return t;
}

void order_keys(const struct ticket *t, uint64_t keys[ORDER_KEYS])
{
    for (unsigned k = 0; k < ORDER_KEYS; k++)
        keys[k] = t->links[k].queue ? t->links[k].queue->key : 0;
}

bool order_is_waited_for(const struct ticket *t)
{
    for (unsigned k = 0; k < ORDER_KEYS; k++)
        if (t->links[k].queue && t->links[k].next)
            return true;
    return false;
}

bool order_first(const struct ticket *t)
{
    for (unsigned k = 0; k < ORDER_KEYS; k++)
        if (t->links[k].queue && t->links[k].prev)
            return false;
    return true;
}

bool order_waits_for_retry(const struct ticket *t)
{
    for (unsigned k = 0; k < ORDER_KEYS; k++) {
        const struct ticket *before = t->links[k].prev;

        if (t->links[k].queue && before &&
            (before->place == ORDER_DUE || before->place == ORDER_ASIDE))
            return true;
    }
    return false;
}

void order_behind(struct ticket *t, void (*fn)(void *arg, struct ticket *t),
                  void *arg)
{
    for (unsigned k = 0; k < ORDER_KEYS; k++) {
        const struct order_queue *q = t->links[k].queue;
        struct ticket *other = q ? t->links[k].next : NULL;

        for (; other; other = link_in(other, q)->next)
            if (other->place == ORDER_WAITING)
                fn(arg, other);
    }
}

void order_all_waiting(struct order *o,
                       void (*fn)(void *arg, struct ticket *t), void *arg)
{
    for (size_t i = 0; i < o->size; i++)
        for (struct order_queue *q = o->table[i]; q; q = q->next)
            for (struct ticket *t = q->first; t; t = link_in(t, q)->next)
                if (t->place == ORDER_WAITING ||
                    (t->place == ORDER_TURN && t->waited == ORDER_WAITING))
                    fn(arg, t);
}

void order_before(struct ticket *t, void (*fn)(void *arg, struct flight *f),
                  void *arg)
{
    for (unsigned k = 0; k < ORDER_KEYS; k++) {
        const struct order_queue *q = t->links[k].queue;

        if (q && q->first->flight)
            fn(arg, q->first->flight);
    }
}

/* ---- turns ---- */

void order_put(struct order *o, struct ticket *t, enum order_place place,
               const struct part *p)
{
    o->aside -= t->place == ORDER_ASIDE;
    o->aside += place == ORDER_ASIDE;
    t->place = place;
    t->began |= place == ORDER_HAND;
    if (p)
        t->part = *p;
}

static void give_turn(struct order *o, struct ticket *t)
{
    if ((t->place != ORDER_WAITING && t->place != ORDER_ASIDE) ||
        !order_first(t))
        return;
    t->waited = t->place;
    order_put(o, t, ORDER_TURN, NULL);
    t->next_turn = NULL;
    *o->turns_end = t;
    o->turns_end = &t->next_turn;
}

void order_leave(struct order *o, struct ticket *t)
{
    ASSERT(t->place == ORDER_HAND);
    for (unsigned k = 0; k < ORDER_KEYS; k++) {
        struct order_queue *q = t->links[k].queue;

        if (!q)
            continue;
        quit(&t->links[k]);
        t->links[k].queue = NULL;
        if (q->first)
            give_turn(o, q->first);
        else
            drop_queue(o, q);
    }
    free(t);
}

struct ticket *order_next(struct order *o)
{
    struct ticket *t;

    while ((t = o->turns)) {
        o->turns = t->next_turn;
        if (!o->turns)
            o->turns_end = &o->turns;
        if (order_first(t)) {
            order_put(o, t, ORDER_HAND, NULL);
            return t;
        }
        order_put(o, t, t->waited, NULL); /* an older one came before it */
    }
    return NULL;
}

bool order_has_next(const struct order *o)
{
    return o->turns != NULL;
}

unsigned order_aside(const struct order *o)
{
    return o->aside;
}

/* A ticket of two queues is freed with the last of them. */
static void free_tickets(struct order_queue *q)
{
    struct ticket *next;

    for (struct ticket *t = q->first; t; t = next) {
        bool held = false;

        next = link_in(t, q)->next;
        link_in(t, q)->queue = NULL;
        for (unsigned k = 0; k < ORDER_KEYS; k++)
            held |= t->links[k].queue != NULL;
        if (!held)
            free(t);
    }
}

void order_free(struct order *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->size; i++)
        while (o->table[i]) {
            struct order_queue *q = o->table[i];

            o->table[i] = q->next;
            free_tickets(q);
            free(q);
        }
    free(o->table);
    free(o);
}

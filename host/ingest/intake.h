/* SPDX-License-Identifier: Apache-2.0
 *
 * intake.h - where the events of all loops come together: the journal and
 * what is known of former events, under one lock.
 *
 * A loop does by itself what takes time (HTTP, JSON, hashing) and is here for
 * a look-up and a copy. One commit serves the waiters of all loops: those of
 * them that have any are woken after it, the first loop always. What a failed
 * commit has lost is forgotten for all, and nothing is appended until every
 * loop has answered its waiters: only then may the lost numbers be used again,
 * for a waiter is known by its number alone. */
#ifndef INGEST_INTAKE_H
#define INGEST_INTAKE_H

#include "ingest/dedupe.h"
#include "journal/journal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define INTAKE_LOOPS_MAX 64

struct intake;

/* What the intake knows of one loop; part of the loop. */
struct intake_loop {
    struct intake *intake;
    void (*wake)(void *arg); /* from any thread; never waits */
    void *arg;
    _Atomic bool waiting; /* set before anything that may be waited for */
    uint64_t losses_seen; /* under the intake's lock */
};

struct intake {
    struct journal *journal; /* owned; NULL until it is opened */
    const struct journal_head *head; /* borrowed */

    pthread_mutex_t lock; /* guards what follows */
    struct dedupe *dedupe;
    struct intake_loop *loops[INTAKE_LOOPS_MAX];
    _Atomic unsigned loop_count; /* read without the lock, too */
    uint64_t losses;  /* so far */
    uint64_t lost;    /* numbers from here on, until all were told; 0: none */
    unsigned unaware; /* loops that were not */
};

void intake_init(struct intake *in, const struct journal_head *head);
void intake_deinit(struct intake *in); /* closes the journal */
/* o->on_durable and arg are set here. */
int intake_open(struct intake *in, struct journal_options *o, struct err *e);
/* After that; the first one is never without work. */
void intake_join(struct intake *in, struct intake_loop *l,
                 void (*wake)(void *arg), void *arg);

/* ---- for a loop ---- */

/* Of records that are kept together. */
#define INTAKE_TOGETHER 32

/* Appends n records, INTAKE_TOGETHER at the most, but for duplicates, which
 * are marked. *seq becomes the number that must be durable before the sender
 * is told so, if that is a later one; it stays where the events are known to
 * be. Not JOURNAL_OK: *kept of them were taken. journal_flush() is the
 * caller's. */
enum journal_state intake_keep(struct intake_loop *l,
                               struct journal_record *r, unsigned n,
                               uint64_t *seq, bool *duplicate,
                               unsigned *kept);

/* What happened since the loop was woken last. */
struct intake_news {
    uint64_t durable;
    uint64_t lost; /* from this number on; 0: nothing */
    uint64_t losses;
};

struct intake_news intake_news(struct intake_loop *l);
/* All who wait for what the news tell were answered; more: others wait. */
void intake_told(struct intake_loop *l, const struct intake_news *n,
                 bool more);

/* ---- for the one who looks after it ---- */

void intake_configure(struct intake *in, int64_t window_ms, uint64_t memory);
/* As those of dedupe.h, under the lock. */
void intake_warm(struct intake *in, int dir);
bool intake_warm_step(struct intake *in, uint64_t most, int64_t wait_ms);
void intake_tidy(struct intake *in);
struct dedupe_facts intake_facts(struct intake *in);

#endif

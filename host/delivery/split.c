/* SPDX-License-Identifier: Apache-2.0
 *
 * split.c - batches that the far side refuses whole.
 *
 * A call for many events that ends in 413 was too large, one that ends in 400
 * or 422 had one among them that it did not like: none of that is said of any
 * single event, so none dies of it. The batch is halved and both halves are
 * called again, down to single events, whose answers are their own. These
 * calls repeat one, and the ceiling on such calls holds for them.
 *
 * After a 413 the next batches of the subscription are made no larger than
 * half of what was too large; after each LEARN_GOOD that went well they are
 * let grow by an eighth. */
#include "delivery/inner.h"

#define LEARN_GOOD 32

static bool refuses_whole(int32_t status)
{
    return status == 400 || status == 413 || status == 422;
}

unsigned batch_most(const struct destination *d, unsigned subscription)
{
    unsigned declared = instance_batch_size(d->instance, subscription);
    unsigned learned = d->batches[subscription].most;

    return learned && learned < declared ? learned : declared;
}

void batch_learn(struct destination *d, const struct flight *f)
{
    struct batch_learned *l = &d->batches[f->parts[0].subscription];

    if (call_result(f->call, 0)->status == 413 && f->count > 1) {
        l->most = f->count / 2;
        l->good = 0;
    } else if (l->most && f->count >= l->most && ++l->good == LEARN_GOOD) {
        l->most += l->most / 8 + 1;
        l->good = 0;
    }
}

bool split_wanted(const struct flight *f, unsigned i)
{
    return f->count > 1 && call_failed(f->call) &&
           refuses_whole(call_result(f->call, i)->status);
}

/* The part is in another call from now on. Its event is read and mapped once
 * more: the call that it was in goes with its memory. */
static void move(struct destination *d, struct part *p, struct flight **to)
{
    struct journal_record r;
    mf_val payload;
    struct err e;

    switch (lane_reread(p->ev->lane, p->ev, &r, &e)) {
    case LANE_EVENT:
        break;
    case LANE_BROKEN:
        part_set_aside(d, p, NULL, 0, mf_cstr(e.text), BROKEN_PAUSE_MS);
        return;
    default:
        part_bury(d, p, DEAD_GONE, 0, mf_cstr(e.text), NULL,
                  (mf_str){ "", 0 });
        return;
    }
    if (!part_map(d, p, r.payload, &payload))
        return;
    if (!*to)
        *to = flight_new(d, p);
    flight_board(*to, p, json_root(r.payload), payload);
}

void split_flight(struct destination *d, struct flight *f)
{
    unsigned n = 0, half;
    struct flight *to = NULL;

    for (unsigned i = 0; i < f->count; i++)
        n += split_wanted(f, i);
    half = (n + 1) / 2;
    for (unsigned i = 0, k = 0; i < f->count; i++) {
        if (!split_wanted(f, i))
            continue;
        f->parts[i].attempts++;
        move(d, &f->parts[i], &to);
        if (++k == half && to) {
            flight_make_ready(d, to);
            to = NULL;
        }
    }
    if (to)
        flight_make_ready(d, to);
}

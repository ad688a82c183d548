/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - see replay.h. */
#include "delivery/replay.h"

#include "base/mem.h"

#include <stdlib.h>

#define SCRATCH_BYTES (4u << 20)

struct replay *replay_new(const struct msg_lane *m, mf_str where,
                          int64_t now_ms, struct err *e)
{
    struct replay *r = xcalloc(1, sizeof *r);

    r->id = m->replay;
    r->uses = 1;
    r->from_ms = m->from_ms;
    r->until_ms = m->until_ms;
    bucket_init(&r->bucket, m->rate, now_ms);
    arena_init(&r->scratch, SCRATCH_BYTES);
    if (where.len) {
        r->where = fql_compile(where, FQL_FILTER, e, NULL);
        if (!r->where) {
            replay_leave(r);
            return NULL;
        }
    }
    return r;
}

struct replay *replay_share(struct replay *r)
{
    r->uses++;
    return r;
}

void replay_leave(struct replay *r)
{
    if (!r || --r->uses)
        return;
    fql_free(r->where);
    arena_deinit(&r->scratch);
    free(r);
}

bool replay_is_cancelled(const struct replay *r)
{
    return r && r->stopped == REPLAY_CANCELLED;
}

bool replay_wants(struct replay *r, const struct journal_record *event)
{
    if (!r)
        return true;
    if (r->stopped == REPLAY_CANCELLED || event->received_ms < r->from_ms ||
        event->received_ms >= r->until_ms)
        return false;
    arena_reset(&r->scratch);
    return !r->where ||
           fql_match(r->where, json_root(event->payload), &r->scratch);
}

int64_t replay_next_ms(const struct replay *r, unsigned flying, unsigned of,
                       int64_t now_ms)
{
    if (r->stopped == REPLAY_CANCELLED)
        return now_ms; /* what is left is passed over, nothing is sent */
    if (r->stopped == REPLAY_PAUSED || (flying && flying >= of / 2))
        return INT64_MAX;
    return now_ms + bucket_wait_ms(&r->bucket, now_ms);
}

/* The bucket as it would be with half of its tokens gone. */
static struct bucket half(const struct bucket *b)
{
    struct bucket h = *b;

    h.tokens -= b->rate / 2;
    return h;
}

int64_t replay_bucket_wait_ms(const struct bucket *b, int64_t now_ms)
{
    struct bucket h = half(b);

    return b->rate < 4 ? bucket_wait_ms(b, now_ms)
                       : bucket_wait_ms(&h, now_ms);
}

bool replay_leaves_enough(const struct bucket *b, int64_t now_ms)
{
    return replay_bucket_wait_ms(b, now_ms) == 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * scan.c - the rule after a crash (VALID and AFTER A CRASH in segment.h),
 * over the image of one segment. Does no I/O and changes nothing. */
#include "journal/segment.h"

#include <string.h>

/* Counts the valid records of a batch whose header is good; false unless they
 * are exactly what the header says. */
static bool batch_whole(const struct scan *s, const struct batch *b,
                        uint64_t at)
{
    uint64_t end = at + b->bytes, seq = b->first;
    struct record r;

    if (end > s->seg->end)
        return false;
    for (; at < end; at += r.bytes, seq++)
        if (!record_get(s->data + at, end - at, &r, s->seg->seed) ||
            r.r.seq != seq || r.epoch != b->epoch)
            return false;
    return at == end && seq == b->first + b->n;
}

static void accept_record(struct scan *s, const struct record *r, uint64_t at)
{
    index_add(s->ix, s->seg, r, at);
    if (r->epoch > s->epoch)
        s->epoch = r->epoch;
    s->next = r->r.seq + 1;
    s->end = at + r->bytes;
}

/* Case (a). */
static bool accept_batch(struct scan *s)
{
    uint64_t at = s->end + BATCH_HEADER;
    struct record r;
    struct batch b;

    if (!batch_get(s->data + s->end, s->seg->end - s->end, &b,
                   s->seg->seed) ||
        b.first != s->next || b.epoch < s->epoch || !batch_whole(s, &b, at))
        return false;
    if (s->limit && b.first + b.n > s->limit)
        return false;
    s->epoch = b.epoch;
    s->end = at;
    for (uint32_t i = 0; i < b.n; i++) {
        record_get(s->data + at, b.bytes, &r, s->seg->seed);
        accept_record(s, &r, at);
        at += r.bytes;
    }
    return true;
}

/* The greatest number that a batch header further on proves to be synced. */
static uint64_t attested_by_later(const struct scan *s)
{
    uint64_t most = s->attested;
    struct batch b;

    for (uint64_t at = s->end; at + BATCH_HEADER <= s->seg->end; at += 8)
        if (batch_get(s->data + at, BATCH_HEADER, &b, s->seg->seed) &&
            b.epoch >= s->epoch && b.synced > most &&
            (!s->limit || b.first < s->limit))
            most = b.synced;
    return most;
}

static void lose(struct scan *s, uint64_t from, uint64_t to, uint64_t offset,
                 uint64_t end)
{
    struct scan_loss *l;

    if (s->losses == SCAN_LOSSES) {
        l = &s->loss[SCAN_LOSSES - 1];
        l->to = to;
        l->end = end;
        return;
    }
    l = &s->loss[s->losses++];
    *l = (struct scan_loss){ from, to, offset, end };
}

/* Case (c): takes what is valid by itself up to `most`, or up to the next
 * batch, whichever comes first. Always moves on. */
static void salvage(struct scan *s, uint64_t most)
{
    uint64_t at = s->end, bad = s->end;
    struct record r;
    struct batch b;

    if (batch_get(s->data + at, s->seg->end - at, &b, s->seg->seed) &&
        b.first == s->next && b.epoch >= s->epoch)
        at = bad = at + BATCH_HEADER;
    while (s->next <= most) {
        uint64_t seq;

        at = segment_resync(s->data, s->seg->end, at, s->next, most, s->epoch,
                            s->seg->seed, &seq);
        if (seq > s->next)
            lose(s, s->next, seq - 1, bad, at);
        s->next = seq;
        s->end = at;
        if (at == s->seg->end ||
            !record_get(s->data + at, s->seg->end - at, &r, s->seg->seed))
            return;
        accept_record(s, &r, at);
        at = bad = s->end;
    }
}

void segment_scan(struct scan *s)
{
    uint64_t most = 0;
    bool asked = false;

    s->next = s->seg->base;
    s->end = SEGMENT_HEADER;
    s->epoch = s->seg->epoch;
    s->losses = 0;
    for (;;) {
        while (accept_batch(s))
            continue;
        /* The last batch header proves most: one look is enough. */
        if (!asked)
            most = attested_by_later(s);
        asked = true;
        if (s->limit && most >= s->limit)
            most = s->limit - 1;
        if (s->next > most)
            break;
        salvage(s, most);
    }
    s->ix->end = s->end;
}

size_t segment_resync(const unsigned char *data, size_t n, size_t at,
                      uint64_t least, uint64_t most, uint32_t epoch,
                      uint32_t seed, uint64_t *seq)
{
    struct record r;
    struct batch b;

    for (; at + BATCH_HEADER <= n; at += 8) {
        if (batch_get(data + at, n - at, &b, seed)) {
            if (b.epoch < epoch || b.first < least || b.first > most + 1)
                continue;
            *seq = b.first;
            return at;
        }
        if (!record_size(data + at, n - at))
            continue;
        record_fields(data + at, &r);
        if (r.epoch < epoch || r.r.seq < least || r.r.seq > most ||
            !record_get(data + at, n - at, &r, seed))
            continue;
        *seq = r.r.seq;
        return at;
    }
    *seq = most + 1;
    return n;
}

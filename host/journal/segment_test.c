/* SPDX-License-Identifier: Apache-2.0
 *
 * segment_test.c - the bytes of segment.h, and the rule after a crash over
 * images that no writer of today would leave. */
#include "journal/segment.h"

#include "base/crc32c.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE SEGMENT_LEAST

/* An image being written: base 100, epoch 7. */
struct image {
    unsigned char data[SIZE];
    struct segment seg;
    struct segment_index ix;
    struct scan scan;
    size_t at;
};

static int image_new(void **state)
{
    struct image *m = xcalloc(1, sizeof *m);

    m->seg = (struct segment){ .base = 100, .epoch = 7, .size = SIZE,
                               .prev_last = 99, .prev_sum = 5,
                               .created_ms = 1768212000123 };
    memset(m->seg.uuid, 0x5a, sizeof m->seg.uuid);
    assert_true(segment_shape(&m->seg));
    header_put(m->data, &m->seg);
    m->at = SEGMENT_HEADER;
    *state = m;
    return 0;
}

static int image_free(void **state)
{
    struct image *m = *state;

    index_deinit(&m->ix);
    free(m);
    return 0;
}

static struct journal_record record(uint64_t seq, mf_str payload)
{
    struct journal_record r = { .seq = seq, .source = (uint32_t)seq,
                                .flags = 0x8001, .payload = payload,
                                .received_ms = (int64_t)seq * 1000 };

    memset(r.id_hash, (int)seq, sizeof r.id_hash);
    return r;
}

static void put_record(struct image *m, uint64_t seq, uint32_t epoch)
{
    char text[64];
    struct journal_record r = record(seq, (mf_str){ text, 0 });

    r.payload.len = (size_t)snprintf(text, sizeof text, "payload %d",
                                     (int)seq);
    record_put(m->data + m->at, &r, epoch, m->seg.seed);
    m->at += record_bytes(r.payload.len);
}

static size_t put_batch(struct image *m, uint64_t first, uint32_t n,
                        uint32_t epoch)
{
    size_t head = m->at;
    struct batch b = { .n = n, .epoch = epoch, .first = first,
                       .synced = first - 1 };

    m->at += BATCH_HEADER;
    for (uint32_t i = 0; i < n; i++)
        put_record(m, first + i, epoch);
    b.bytes = (uint32_t)(m->at - head - BATCH_HEADER);
    batch_put(m->data + head, &b, m->seg.seed);
    return head;
}

static void scan(struct image *m, uint64_t attested, uint64_t limit)
{
    index_deinit(&m->ix);
    index_init(&m->ix, &m->seg);
    m->scan = (struct scan){ .data = m->data, .seg = &m->seg, .ix = &m->ix,
                             .attested = attested, .limit = limit };
    segment_scan(&m->scan);
}

/* ---- bytes ---- */

static void header(void **state)
{
    struct image *m = *state;
    struct segment s;
    struct err e;

    assert_int_equal(header_get(m->data, &s, &e), 0);
    assert_int_equal(s.base, 100);
    assert_int_equal(s.epoch, 7);
    assert_int_equal(s.size, SIZE);
    assert_int_equal(s.prev_last, 99);
    assert_int_equal(s.prev_sum, 5);
    assert_int_equal(s.created_ms, 1768212000123);
    assert_int_equal(s.seed, m->seg.seed);
    assert_int_equal(s.end, SIZE - 4096);
    for (size_t i = 0; i < SEGMENT_HEADER; i += 7) {
        m->data[i] ^= 1;
        assert_int_equal(header_get(m->data, &s, &e), -1);
        m->data[i] ^= 1;
    }
    /* A later format is whole, and none of our business. */
    m->data[8] = SEGMENT_VERSION + 1;
    memset(m->data + 12, 0, 4);
    {
        uint32_t crc = crc32c(0, m->data, SEGMENT_HEADER);

        memcpy(m->data + 12, &crc, 4);
    }
    assert_int_equal(header_get(m->data, &s, &e), 1);
    assert_non_null(strstr(e.text, "version 2"));
}

static void sizes(void **state)
{
    struct segment s = { .size = JOURNAL_SEGMENT_BYTES };

    (void)state;
    assert_true(segment_shape(&s));
    assert_int_equal(s.chunk, 65536);
    assert_int_equal(s.chunks, 1024);
    assert_int_equal(segment_payload_max(&s), JOURNAL_PAYLOAD_MAX);
    s.size = SEGMENT_LEAST - 4096;
    assert_false(segment_shape(&s));
    s.size = SEGMENT_LEAST + 1;
    assert_false(segment_shape(&s));
    s.size = (uint64_t)SEGMENT_MOST + 4096;
    assert_false(segment_shape(&s));
}

static void names(void **state)
{
    char name[SEGMENT_NAME];
    uint64_t n;

    (void)state;
    segment_name(name, 71);
    assert_string_equal(name, "00000000000000000071.seg");
    assert_true(segment_parse(name, ".seg", &n));
    assert_int_equal(n, 71);
    segment_name(name, UINT64_MAX);
    assert_true(segment_parse(name, ".seg", &n));
    assert_true(n == UINT64_MAX);
    assert_false(segment_parse("journal.meta", ".seg", &n));
    assert_false(segment_parse("12.spare", ".seg", &n));
    assert_false(segment_parse("12.seg.new", ".seg", &n));
    assert_false(segment_parse("-1.seg", ".seg", &n));
    assert_false(segment_parse(".seg", ".seg", &n));
}

static void records(void **state)
{
    struct image *m = *state;
    char text[200];
    unsigned char bytes[512];
    struct record got;

    memset(text, 'x', sizeof text);
    for (size_t len = 0; len < sizeof text; len++) {
        struct journal_record r = record(4000000000000 + len,
                                         (mf_str){ text, len });
        size_t whole = record_bytes(len);

        memset(bytes, 0xee, sizeof bytes);
        record_put(bytes, &r, 9, m->seg.seed);
        assert_int_equal(whole % 8, 0);
        assert_int_equal(bytes[whole], 0xee);
        assert_true(record_get(bytes, whole, &got, m->seg.seed));
        assert_false(record_get(bytes, whole - 1, &got, m->seg.seed));
        assert_false(record_get(bytes, whole, &got, m->seg.seed + 1));
        assert_int_equal(got.bytes, whole);
        assert_int_equal(got.epoch, 9);
        assert_int_equal(got.r.seq, r.seq);
        assert_int_equal(got.r.source, r.source);
        assert_int_equal(got.r.flags, r.flags);
        assert_int_equal(got.r.received_ms, r.received_ms);
        assert_memory_equal(got.r.id_hash, r.id_hash, 16);
        assert_int_equal(got.r.payload.len, len);
        assert_memory_equal(got.r.payload.ptr, text, len);
        for (size_t i = 0; i < RECORD_HEADER + len; i++) {
            bytes[i] ^= 0x80;
            assert_false(record_get(bytes, whole, &got, m->seg.seed));
            bytes[i] ^= 0x80;
        }
    }
}

static void footer(void **state)
{
    struct image *m = *state;
    struct segment_index ix;
    unsigned char *bytes = m->data + m->seg.end;

    for (uint64_t seq = 100; seq < 250; seq++)
        put_batch(m, seq, 1, 7);
    scan(m, 0, 0);
    footer_put(bytes, &m->seg, &m->ix);
    assert_true(footer_get(bytes, &m->seg, &ix));
    assert_int_equal(ix.last, 249);
    assert_int_equal(ix.count, 150);
    assert_int_equal(ix.end, m->at);
    assert_int_equal(ix.time_min, 100000);
    assert_int_equal(ix.time_max, 249000);
    assert_int_equal(ix.sum, m->ix.sum);
    assert_int_equal(ix.n, SIZE / 4096);
    assert_int_equal(ix.chunks[0].seq, 0); /* the header */
    assert_int_equal(ix.chunks[1].seq, 100);
    assert_int_equal(ix.chunks[1].offset, SEGMENT_HEADER + BATCH_HEADER);
    for (uint32_t k = 1; k < ix.n; k++) {
        const struct chunk *c = &ix.chunks[k], *d = c + 1;

        if (k + 1 < ix.n && d->seq) {
            assert_int_equal(d->seq, c->seq + c->n);
            assert_int_equal(c->time_max, (d->seq - 1) * 1000);
        }
        for (uint64_t s = c->seq; s < c->seq + c->n; s++)
            assert_true(chunk_has(c, (uint32_t)s));
        if (c->n)
            assert_false(chunk_has(c, (uint32_t)(c->seq + c->n)));
    }
    index_deinit(&ix);
    /* A footer of the file's former life, or a damaged one, is none. */
    m->seg.base++;
    assert_false(footer_get(bytes, &m->seg, &ix));
    m->seg.base--;
    m->seg.epoch++;
    assert_false(footer_fixed(bytes, &m->seg, &ix));
    m->seg.epoch--;
    bytes[FOOTER_FIXED + 70] ^= 1;
    assert_true(footer_fixed(bytes, &m->seg, &ix));
    assert_false(footer_get(bytes, &m->seg, &ix));
}

static void meta(void **state)
{
    unsigned char bytes[META_BYTES], uuid[16], mine[16];
    uint32_t epoch;
    uint64_t next;

    (void)state;
    memset(mine, 3, sizeof mine);
    meta_put(bytes, mine, 12, 345);
    assert_true(meta_get(bytes, uuid, &epoch, &next));
    assert_memory_equal(uuid, mine, 16);
    assert_int_equal(epoch, 12);
    assert_int_equal(next, 345);
    for (size_t i = 0; i < META_BYTES; i++) {
        bytes[i] ^= 4;
        assert_false(meta_get(bytes, uuid, &epoch, &next));
        bytes[i] ^= 4;
    }
}

/* ---- after a crash ---- */

static void whole_batches(void **state)
{
    struct image *m = *state;

    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 100);
    assert_int_equal(m->scan.end, SEGMENT_HEADER);
    put_batch(m, 100, 3, 7);
    put_batch(m, 103, 1, 7);
    put_batch(m, 104, 0, 7); /* a clean end */
    put_batch(m, 104, 2, 8); /* and the next life */
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 106);
    assert_int_equal(m->scan.end, m->at);
    assert_int_equal(m->scan.epoch, 8);
    assert_int_equal(m->scan.losses, 0);
    assert_int_equal(m->ix.count, 6);
}

/* Valid checksums of the file's former lives are not enough. */
static void ghosts(void **state)
{
    struct image *m = *state;
    size_t end;

    put_batch(m, 100, 3, 7);
    end = m->at;
    put_batch(m, 103, 2, 6); /* the right number, an earlier epoch */
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 103);
    assert_int_equal(m->scan.end, end);
    m->at = end;
    put_batch(m, 61, 5, 7); /* the right epoch, earlier numbers */
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 103);
    assert_int_equal(m->scan.losses, 0);
    /* A batch of two epochs: its tail is an older torn one's. */
    m->at = end;
    put_batch(m, 103, 3, 8);
    m->at = end + BATCH_HEADER;
    put_record(m, 103, 8);
    put_record(m, 104, 7);
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 103);
    /* Another journal's. */
    m->at = end;
    m->seg.seed++;
    put_batch(m, 103, 3, 8);
    m->seg.seed--;
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 103);
    assert_int_equal(m->scan.end, end);
}

/* What a failed sync left behind is void from the next segment's base on. */
static void limited(void **state)
{
    struct image *m = *state;
    size_t end;

    put_batch(m, 100, 3, 7);
    end = m->at;
    put_batch(m, 103, 4, 7);
    scan(m, 102, 103);
    assert_int_equal(m->scan.next, 103);
    assert_int_equal(m->scan.end, end);
    assert_int_equal(m->ix.count, 3);
    assert_int_equal(m->scan.losses, 0);
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 107);
}

static void expect_loss(const struct image *m, unsigned i, uint64_t from,
                        uint64_t to)
{
    assert_true(i < m->scan.losses);
    assert_int_equal(m->scan.loss[i].from, from);
    assert_int_equal(m->scan.loss[i].to, to);
    assert_true(m->scan.loss[i].end > m->scan.loss[i].offset);
}

static void damage(void **state)
{
    struct image *m = *state;
    size_t head[4];

    for (unsigned i = 0; i < 4; i++)
        head[i] = put_batch(m, 100 + 5 * i, 5, 7);
    /* In a record of the second batch: the fourth proves it was synced. */
    m->data[head[1] + BATCH_HEADER + 60] ^= 1;
    scan(m, 0, 0);
    assert_int_equal(m->scan.losses, 1);
    expect_loss(m, 0, 105, 105);
    assert_int_equal(m->scan.next, 120);
    assert_int_equal(m->scan.end, m->at);
    assert_int_equal(m->ix.count, 19);
    /* The header of the third batch: costs nothing. */
    m->data[head[2] + 9] ^= 1;
    scan(m, 0, 0);
    assert_int_equal(m->scan.losses, 1);
    assert_int_equal(m->ix.count, 19);
    /* Two batches whole. */
    memset(m->data + head[1], 0xff, head[3] - head[1]);
    scan(m, 0, 0);
    assert_int_equal(m->scan.losses, 1);
    expect_loss(m, 0, 105, 114);
    assert_int_equal(m->scan.next, 120);
    /* The last batch: torn, for nothing proves it, */
    m->data[head[3] + BATCH_HEADER + 60] ^= 1;
    scan(m, 0, 0);
    assert_int_equal(m->scan.next, 115);
    assert_int_equal(m->scan.end, head[3]);
    /* or damaged, when it is known to have been durable. */
    scan(m, 119, 0);
    assert_int_equal(m->scan.losses, 2);
    expect_loss(m, 1, 115, 115);
    assert_int_equal(m->scan.next, 120);
    assert_int_equal(m->scan.end, m->at);
}

/* A length that lies must not lead outside, nor past what follows it. */
static void lying_lengths(void **state)
{
    struct image *m = *state;
    static const uint32_t lengths[] = { 0, 1, 8, 4000, SIZE,
                                        JOURNAL_PAYLOAD_MAX, 0x7fffffff,
                                        0xffffffff, 0xffba7c4e };
    size_t head;

    put_batch(m, 100, 2, 7);
    head = put_batch(m, 102, 3, 7);
    put_batch(m, 105, 3, 7);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        memcpy(m->data + head + BATCH_HEADER + 4, &lengths[i], 4);
        scan(m, 0, 0);
        assert_int_equal(m->scan.losses, 1);
        expect_loss(m, 0, 102, 102);
        assert_int_equal(m->scan.next, 108);
        assert_int_equal(m->ix.count, 7);
    }
}

/* More losses than are listed: the last range grows over the rest. */
static void many_losses(void **state)
{
    struct image *m = *state;
    size_t last = 0;

    for (uint64_t seq = 100; seq < 100 + 2 * (SCAN_LOSSES + 20); seq++) {
        last = put_batch(m, seq, 1, 7);
        if (seq % 2)
            m->data[last + BATCH_HEADER + 58] ^= 1;
    }
    put_batch(m, 100 + 2 * (SCAN_LOSSES + 20), 1, 7);
    scan(m, 0, 0);
    assert_int_equal(m->scan.losses, SCAN_LOSSES);
    expect_loss(m, 0, 101, 101);
    expect_loss(m, SCAN_LOSSES - 1, 99 + 2 * SCAN_LOSSES,
                99 + 2 * (SCAN_LOSSES + 20));
    assert_int_equal(m->scan.next, 101 + 2 * (SCAN_LOSSES + 20));
}

/* Whatever stands there, the scan ends and stays inside. */
static void garbage(void **state)
{
    struct image *m = *state;
    uint32_t x = 99;

    for (int round = 0; round < 60; round++) {
        m->at = SEGMENT_HEADER;
        for (uint64_t seq = 100; seq < 190; seq += 3)
            put_batch(m, seq, 3, 7);
        for (int k = 0; k < 1 + round; k++) {
            size_t at;

            x = x * 1664525 + 1013904223;
            at = SEGMENT_HEADER + (x >> 8) % (m->at - SEGMENT_HEADER);
            m->data[at] = (unsigned char)x;
        }
        scan(m, round % 2 ? 150 : 0, 0);
        assert_in_range(m->scan.next, 100, 190);
        if (round % 2)
            assert_true(m->scan.next > 150);
        assert_true(m->scan.end <= m->seg.end);
        assert_int_equal(m->ix.last < m->scan.next, 1);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, image_new, image_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(header), T(sizes), T(names), T(records), T(footer), T(meta),
        T(whole_batches), T(ghosts), T(limited), T(damage),
        T(lying_lengths), T(many_losses), T(garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

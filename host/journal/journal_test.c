/* SPDX-License-Identifier: Apache-2.0
 *
 * journal_test.c - the journal from outside: what was acknowledged is there,
 * in order and unchanged, across segments, restarts and faults. */
#include "journal/journal.h"

#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A journal in a directory of its own, with a way to wait for it. */
struct bed {
    char path[64];
    struct journal_head head;
    struct journal_options o;
    struct journal *j;
    pthread_mutex_t lock;
    pthread_cond_t moved;
};

static void moved(void *arg)
{
    struct bed *b = arg;

    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->moved);
    pthread_mutex_unlock(&b->lock);
}

static void bed_open(struct bed *b)
{
    struct err e = { "" };

    b->j = journal_open(&b->o, &e);
    if (!b->j)
        fail_msg("%s", e.text);
}

static int bed_new(void **state)
{
    struct bed *b = xcalloc(1, sizeof *b);

    snprintf(b->path, sizeof b->path, "/tmp/journal-test-XXXXXX");
    assert_non_null(mkdtemp(b->path));
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->moved, NULL);
    b->o.dir = open(b->path, O_RDONLY | O_DIRECTORY);
    b->o.head = &b->head;
    b->o.segment_bytes = 64 << 10;
    b->o.on_durable = moved;
    b->o.arg = b;
    *state = b;
    return 0;
}

static int bed_free(void **state)
{
    struct bed *b = *state;
    char command[128];

    io = io_real;
    if (b->j)
        journal_close(b->j);
    close(b->o.dir);
    snprintf(command, sizeof command, "rm -rf '%s'", b->path);
    assert_int_equal(system(command), 0);
    free(b);
    return 0;
}

static void wait_durable(struct bed *b, uint64_t seq)
{
    pthread_mutex_lock(&b->lock);
    while (atomic_load(&b->head.durable) < seq)
        pthread_cond_wait(&b->moved, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* The payload says which record it is, at a length that varies. */
static size_t payload(char *to, uint64_t seq)
{
    size_t n = (size_t)snprintf(to, 900, "{\"n\":%llu,\"x\":\"",
                                (unsigned long long)seq);

    memset(to + n, 'a' + (int)(seq % 26), seq % 700);
    n += seq % 700;
    memcpy(to + n, "\"}", 2);
    return n + 2;
}

static enum journal_state add(struct bed *b, uint64_t *seq)
{
    char text[1024];
    struct journal_record r = { .source = (uint32_t)(*seq % 3 + 1),
                                .received_ms = (int64_t)*seq * 10,
                                .flags = (uint16_t)*seq };
    enum journal_state s;

    r.payload.ptr = text;
    r.payload.len = payload(text, *seq);
    memset(r.id_hash, (int)*seq, sizeof r.id_hash);
    s = journal_append(b->j, &r);
    if (s == JOURNAL_OK)
        *seq = r.seq;
    return s;
}

/* Appends n records in commits of up to `group`; all become durable. */
static void append(struct bed *b, uint64_t n, unsigned group)
{
    uint64_t from = atomic_load(&b->head.durable) + 1;

    for (uint64_t i = from; i < from + n; i++) {
        uint64_t seq = i;

        assert_int_equal(add(b, &seq), JOURNAL_OK);
        assert_int_equal(seq, i);
        if ((i - from) % group == group - 1) {
            journal_flush(b->j);
            wait_durable(b, i);
        }
    }
    journal_flush(b->j);
    wait_durable(b, from + n - 1);
}

static void expect_record(const struct journal_record *r, uint64_t seq)
{
    char text[1024];
    size_t n = payload(text, seq);

    assert_int_equal(r->seq, seq);
    assert_int_equal(r->source, seq % 3 + 1);
    assert_int_equal(r->received_ms, seq * 10);
    assert_int_equal(r->flags, (uint16_t)seq);
    assert_int_equal(r->payload.len, n);
    assert_memory_equal(r->payload.ptr, text, n);
}

static enum journal_read next(struct journal_reader *r, uint32_t source,
                              struct journal_record *rec, uint64_t lost[2])
{
    struct err e = { "" };
    enum journal_read got = journal_next(r, source, 0, rec, &lost[0],
                                         &lost[1], &e);

    if (got == JOURNAL_ERROR)
        fail_msg("%s", e.text);
    return got;
}

static void expect_all(struct bed *b, uint64_t from, uint64_t to)
{
    struct journal_reader *r = journal_reader_new(b->o.dir, &b->head);
    struct journal_record rec;
    uint64_t lost[2];

    journal_seek(r, (struct journal_pos){ from, 0, 0 });
    for (uint64_t seq = from; seq <= to; seq++) {
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        expect_record(&rec, seq);
    }
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_END);
    journal_reader_free(r);
}

static void append_and_read(void **state)
{
    struct bed *b = *state;

    bed_open(b);
    append(b, 1, 1);
    append(b, 99, 10);
    expect_all(b, 1, 100);
    append(b, 2000, 37); /* some twelve segments */
    expect_all(b, 1, 2100);
    expect_all(b, 1234, 2100);
}

static void reopen(void **state)
{
    struct bed *b = *state;

    for (int life = 0; life < 5; life++) {
        bed_open(b);
        append(b, 150, 7);
        journal_close(b->j);
        b->j = NULL;
        memset(&b->head, 0, sizeof b->head);
    }
    bed_open(b);
    assert_int_equal(atomic_load(&b->head.durable), 750);
    expect_all(b, 1, 750);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(append_and_read, bed_new, bed_free),
        cmocka_unit_test_setup_teardown(reopen, bed_new, bed_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

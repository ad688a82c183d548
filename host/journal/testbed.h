/* SPDX-License-Identifier: Apache-2.0
 *
 * testbed.h - a journal in a directory of its own, for the tests: records
 * whose contents follow from their number, waits without sleeping, and ways
 * to damage files behind the journal's back. */
#ifndef JOURNAL_TESTBED_H
#define JOURNAL_TESTBED_H

#include "journal/journal.h"
#include "journal/segment.h"

#include "base/io.h"
#include "base/mem.h"

#include <dirent.h>
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

static inline void moved(void *arg)
{
    struct bed *b = arg;

    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->moved);
    pthread_mutex_unlock(&b->lock);
}

static inline void bed_open(struct bed *b)
{
    struct err e = { "" };

    b->j = journal_open(&b->o, &e);
    if (!b->j)
        fail_msg("%s", e.text);
}

static inline int bed_new(void **state)
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

static inline int bed_free(void **state)
{
    struct bed *b = *state;
    char command[128];

    if (b->j)
        journal_close(b->j);
    io = io_real; /* no thread uses it now */
    close(b->o.dir);
    snprintf(command, sizeof command, "rm -rf '%s'", b->path);
    assert_int_equal(system(command), 0);
    free(b);
    return 0;
}

static inline void wait_durable(struct bed *b, uint64_t seq)
{
    pthread_mutex_lock(&b->lock);
    while (atomic_load(&b->head.durable) < seq)
        pthread_cond_wait(&b->moved, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* A change of segment is told as every change is. */
static inline void wait_tail(struct bed *b, uint64_t base)
{
    pthread_mutex_lock(&b->lock);
    while (atomic_load(&b->head.tail) != base)
        pthread_cond_wait(&b->moved, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* The payload says which record it is, at a length that varies. */
static inline size_t payload(char *to, uint64_t seq)
{
    size_t n = (size_t)snprintf(to, 900, "{\"n\":%llu,\"x\":\"",
                                (unsigned long long)seq);

    memset(to + n, 'a' + (int)(seq % 26), seq % 700);
    n += seq % 700;
    memcpy(to + n, "\"}", 2);
    return n + 2;
}

static inline enum journal_state add(struct bed *b, uint64_t *seq)
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
static inline void append(struct bed *b, uint64_t n, unsigned group)
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

static inline void expect_record(const struct journal_record *r, uint64_t seq)
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

static inline enum journal_read next(struct journal_reader *r, uint32_t source,
                              struct journal_record *rec, uint64_t lost[2])
{
    struct err e = { "" };
    enum journal_read got = journal_next(r, source, 0, rec, &lost[0],
                                         &lost[1], &e);

    if (got == JOURNAL_ERROR)
        fail_msg("%s", e.text);
    return got;
}

static inline void expect_all(struct bed *b, uint64_t from, uint64_t to)
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

/* ---- the files, behind the journal's back ---- */

static inline int bed_file(struct bed *b, uint64_t base, int flags)
{
    char name[SEGMENT_NAME];
    int fd;

    segment_name(name, base);
    fd = openat(b->o.dir, name, flags);
    assert_true(fd >= 0);
    return fd;
}

static inline void poke(struct bed *b, uint64_t base, uint64_t at,
                        const void *bytes, size_t n)
{
    int fd = bed_file(b, base, O_RDWR);

    assert_int_equal(pwrite(fd, bytes, n, (off_t)at), (ssize_t)n);
    close(fd);
}

static inline void flip(struct bed *b, uint64_t base, uint64_t at)
{
    int fd = bed_file(b, base, O_RDWR);
    unsigned char c;

    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    c ^= 0x10;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

/* Closes as a killed process does: without the clean end. */
static inline void bed_kill(struct bed *b)
{
    static const unsigned char zeros[BATCH_HEADER];
    uint64_t tail = atomic_load(&b->head.tail);
    uint64_t end = atomic_load(&b->head.tail_end);

    journal_close(b->j);
    b->j = NULL;
    if (tail)
        poke(b, tail, end, zeros, sizeof zeros);
}

static inline void bed_close(struct bed *b)
{
    journal_close(b->j);
    b->j = NULL;
}

/* As after a restart of everything: the shared page is new. */
static inline void bed_reopen(struct bed *b)
{
    memset(&b->head, 0, sizeof b->head);
    bed_open(b);
}

/* Where record `seq` stands. */
static inline struct journal_pos place(struct bed *b, uint64_t seq)
{
    struct journal_reader *r = journal_reader_new(b->o.dir, &b->head);
    struct journal_record rec;
    struct journal_pos at;
    uint64_t lost[2];

    journal_seek(r, (struct journal_pos){ seq, 0, 0 });
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
    assert_int_equal(rec.seq, seq);
    at = journal_last(r);
    journal_reader_free(r);
    return at;
}

static inline unsigned count_files(struct bed *b, const char *sub,
                                   const char *suffix)
{
    int fd = openat(b->o.dir, sub, O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    unsigned n = 0;

    while (d && (entry = readdir(d))) {
        size_t len = strlen(entry->d_name), want = strlen(suffix);

        n += len >= want && !strcmp(entry->d_name + len - want, suffix);
    }
    if (d)
        closedir(d);
    return n;
}

/* All from `from` on, but those in [bad, to], which must be told as lost in
 * one piece. */
static inline void expect_but(struct bed *b, uint64_t from, uint64_t bad,
                              uint64_t to, uint64_t last)
{
    struct journal_reader *r = journal_reader_new(b->o.dir, &b->head);
    struct journal_record rec;
    uint64_t lost[2];

    journal_seek(r, (struct journal_pos){ from, 0, 0 });
    for (uint64_t seq = from; seq <= last; seq++) {
        enum journal_read got = next(r, 0, &rec, lost);

        if (seq == bad) {
            assert_int_equal(got, JOURNAL_LOST);
            assert_int_equal(lost[0], bad);
            assert_int_equal(lost[1], to);
            seq = to;
            continue;
        }
        assert_int_equal(got, JOURNAL_RECORD);
        expect_record(&rec, seq);
    }
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_END);
    journal_reader_free(r);
}

#endif

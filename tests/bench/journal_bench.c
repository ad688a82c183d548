/* SPDX-License-Identifier: Apache-2.0
 *
 * journal_bench.c - what the journal costs: events a second and processor
 * time per event at a number of events per commit, and what readers pay.
 *
 *   journal_bench [DIRECTORY [EVENTS-PER-COMMIT [SECONDS [TAIL-READERS]]]]
 *
 * One thread appends and waits for each group, as ingest would with that many
 * requests waiting; "0" events per commit appends without waiting. Before the
 * measurement enough is written that segments are recycled. */
#include "base/clock.h"
#include "base/mem.h"
#include "journal/journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENT_BYTES 803
#define READERS_MOST 64
#define WARM (6u * JOURNAL_SEGMENT_BYTES / 900)

struct bench {
    struct journal_head head;
    struct journal *j;
    int dir, moved;
    _Atomic bool stop;
    _Atomic uint64_t read;
};

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void on_durable(void *arg)
{
    struct bench *b = arg;
    uint64_t one = 1;

    if (write(b->moved, &one, sizeof one) < 0)
        perror("eventfd");
}

static void wait_for(struct bench *b, uint64_t seq)
{
    uint64_t n;

    while (atomic_load(&b->head.durable) < seq)
        if (read(b->moved, &n, sizeof n) < 0)
            perror("eventfd");
}

static void append_group(struct bench *b, unsigned n)
{
    static char text[EVENT_BYTES];
    struct journal_record r = { .source = 1 };

    memset(text, 'e', sizeof text);
    r.payload = (mf_str){ text, sizeof text };
    for (unsigned i = 0; i < n; i++) {
        enum journal_state s;

        r.received_ms = clock_ms();
        while ((s = journal_append(b->j, &r)) == JOURNAL_BUSY)
            wait_for(b, atomic_load(&b->head.durable) + 1);
        if (s != JOURNAL_OK) {
            fprintf(stderr, "append: state %d\n", (int)s);
            exit(1);
        }
    }
    journal_flush(b->j);
}

static void *tail_reader(void *arg)
{
    struct bench *b = arg;
    struct journal_reader *r = journal_reader_new(b->dir, &b->head);
    struct journal_pos at = { atomic_load(&b->head.durable) + 1, 0, 0 };
    struct journal_record rec;
    struct err e = { "" };
    uint64_t from, to;

    journal_seek(r, at);
    while (!b->stop) {
        enum journal_read got = journal_next(r, 0, 0, &rec, &from, &to, &e);

        if (got == JOURNAL_RECORD)
            b->read++;
        else if (got == JOURNAL_END)
            usleep(200);
        else
            fprintf(stderr, "reader: %d %s\n", (int)got, e.text);
    }
    journal_reader_free(r);
    return NULL;
}

static void scan(struct bench *b, uint32_t source, const char *what)
{
    struct journal_reader *r = journal_reader_new(b->dir, &b->head);
    uint64_t n = 0, from, to, all = atomic_load(&b->head.durable) + 1 -
                                    atomic_load(&b->head.first);
    double began = cpu_seconds();
    struct journal_record rec;
    struct err e = { "" };

    while (journal_next(r, source, 0, &rec, &from, &to, &e) == JOURNAL_RECORD)
        n++;
    began = cpu_seconds() - began;
    printf("%s: %.3f us CPU/event over %llu events, %llu given\n", what,
           began * 1e6 / (double)all, (unsigned long long)all,
           (unsigned long long)n);
    journal_reader_free(r);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "journal-bench";
    unsigned group = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 3;
    unsigned readers = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    struct bench b = { .moved = eventfd(0, EFD_CLOEXEC) };
    struct journal_options o = { .head = &b.head, .on_durable = on_durable,
                                 .arg = &b };
    pthread_t threads[READERS_MOST];
    struct err e = { "" };
    uint64_t n0, c0, c_ns;
    double cpu;
    int64_t t0;

    if (readers > READERS_MOST)
        readers = READERS_MOST;
    b.dir = open(path, O_RDONLY | O_DIRECTORY);
    if (b.dir < 0) {
        perror(path);
        return 1;
    }
    o.dir = b.dir;
    o.max_bytes = 4 * (uint64_t)JOURNAL_SEGMENT_BYTES;
    t0 = clock_mono_ns();
    b.j = journal_open(&o, &e);
    printf("open: %.1f ms\n", (double)(clock_mono_ns() - t0) / 1e6);
    if (!b.j) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    while (atomic_load(&b.head.durable) < WARM) {
        uint64_t before = atomic_load(&b.head.durable);

        append_group(&b, 1000);
        wait_for(&b, before + 1);
    }
    for (unsigned i = 0; i < readers; i++)
        pthread_create(&threads[i], NULL, tail_reader, &b);
    n0 = atomic_load(&b.head.durable);
    c0 = atomic_load(&b.head.commits);
    c_ns = atomic_load(&b.head.commit_ns);
    cpu = cpu_seconds();
    t0 = clock_mono_ns();
    while ((double)(clock_mono_ns() - t0) < seconds * 1e9) {
        uint64_t before = atomic_load(&b.head.durable);

        append_group(&b, group ? group : 100);
        if (group)
            wait_for(&b, before + group);
    }
    n0 = atomic_load(&b.head.durable) - n0;
    c0 = atomic_load(&b.head.commits) - c0;
    c_ns = atomic_load(&b.head.commit_ns) - c_ns;
    cpu = cpu_seconds() - cpu;
    seconds = (double)(clock_mono_ns() - t0) / 1e9;
    b.stop = true;
    for (unsigned i = 0; i < readers; i++)
        pthread_join(threads[i], NULL);
    printf("%.0f events/s, %.2f us CPU/event, %.0f commits/s of %.0f us, "
           "%.1f events each\n", (double)n0 / seconds,
           cpu * 1e6 / (double)n0, (double)c0 / seconds,
           (double)c_ns / 1e3 / (double)c0, (double)n0 / (double)c0);
    if (readers)
        printf("%u readers: %.0f events/s\n", readers,
               (double)b.read / seconds);
    scan(&b, 0, "scan of everything");
    scan(&b, 77, "scan for a source that is not there");
    journal_close(b.j);
    return 0;
}

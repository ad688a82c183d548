/* SPDX-License-Identifier: Apache-2.0
 *
 * books_bench.c - what the books cost: bytes and time of an outcome, and how
 * long the audit of a long journal takes, in how much memory.
 *
 *   books_bench [EVENTS [LANES [DIRECTORY]]]
 *
 * Fills a journal and a log of outcomes as a server of one source and so many
 * destinations would, and audits it. 10000000 events need about 3 GB of disk.
 * The numbers count on a quiet machine only. */
#include "books/audit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "journal/journal.h"
#include "state/state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT_ONCE  2000 /* events between two commits of the state */
#define LANES    64

static const char event[] =
    "{\"type\":\"track\",\"event\":\"Order Completed\",\"userId\":\"u-1234\","
    "\"messageId\":\"0123456789abcdef\",\"properties\":{\"total\":12.5,"
    "\"currency\":\"EUR\"},\"timestamp\":\"2026-01-12T10:00:00.000Z\"}";

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "books_bench: %s: %s\n", what, e ? e->text : "");
    exit(1);
}

static int open_dir(const char *parent, const char *name)
{
    char path[512];
    int fd;

    snprintf(path, sizeof path, "%s/%s", parent, name);
    mkdir(path, 0700);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        die(path, NULL);
    return fd;
}

static void fill_journal(int dir, uint64_t events)
{
    static struct journal_head head;
    struct journal_options o = { .dir = dir, .head = &head };
    struct err e = { "" };
    struct journal *j = journal_open(&o, &e);
    struct journal_record r;

    if (!j)
        die("journal", &e);
    for (uint64_t i = 0; i < events; i++) {
        r = (struct journal_record){ .source = 1, .received_ms = clock_ms(),
                                     .payload = { event, sizeof event - 1 } };
        memcpy(r.id_hash, &i, sizeof i);
        while (journal_append(j, &r) != JOURNAL_OK) {
            journal_flush(j);
            usleep(500);
        }
        if (i % AT_ONCE == 0)
            journal_flush(j);
    }
    journal_flush(j);
    while (atomic_load(&head.durable) < events)
        usleep(1000);
    journal_close(j);
}

/* One outcome of each lane for each event, as the lane writes it and as the
 * supervisor writes it anew. */
struct pen {
    struct ledger_writer lane, block;
    struct counters counters;
};

static void write_one(struct pen *p, uint64_t seq)
{
    struct ledger_part part = { 0x12345678, PART_DELIVERED };
    enum ledger_class class = LEDGER_DELIVERED;

    p->counters.accepted++;
    if (seq % 10 == 3) {
        part = (struct ledger_part){ 0, PART_FILTERED + 5 };
        class = LEDGER_FILTERED;
        p->counters.filtered++;
    } else {
        p->counters.delivered++;
    }
    ledger_put(&p->lane, seq, class, &part, 1);
}

static void pass_on(struct pen *p)
{
    struct ledger_reader r;
    struct ledger_entry o;

    ledger_read(&r, (mf_str){ p->lane.bytes.data, p->lane.bytes.len }, 0);
    while (ledger_next(&r, &o) > 0) {
        if (p->block.count == 0)
            ledger_begin(&p->block, o.from);
        ledger_copy(&p->block, &o);
    }
    ledger_begin(&p->lane, 0);
}

static void put_rows(struct state *s, const struct pen *pens, unsigned lanes,
                     uint64_t next)
{
    struct err e;

    for (unsigned i = 0; i < lanes; i++) {
        struct msg_lane_state m = { .lane = i + 1, .next = { next, 0, 0 },
                                    .counters = pens[i].counters };

        if (state_lane_put(s, &m, NULL, &e) != 0)
            die("state", &e);
    }
}

static void roll(struct state *s, struct ledger_log *log,
                 const struct pen *pens, unsigned lanes)
{
    struct ledger_segment at = ledger_log_segment(log);
    struct err e;

    if (at.bytes < LEDGER_SEGMENT_BYTES)
        return;
    ledger_log_roll(log);
    for (unsigned i = 0; i < lanes; i++) {
        const struct counters *c = &pens[i].counters;
        struct ledger_sums sums = { c->delivered, c->filtered, c->dead,
                                    c->lost };

        if (state_base_put(s, at.n + 1, i + 1, &sums, &e) != 0)
            die("state", &e);
    }
}

static void fill_books(const char *dir, int outcomes, uint64_t events,
                       unsigned lanes)
{
    static struct pen pens[LANES];
    struct ledger_segment first = { .n = 1 }, at;
    struct ledger_log *log = ledger_log_new(outcomes, &first);
    int64_t pure = 0, began;
    uint64_t bytes = 0;
    char path[512];
    struct state *s;
    struct err e = { "" };

    snprintf(path, sizeof path, "%s/state.db", dir);
    s = state_open(path, &e);
    if (!s || state_source(s, "web", &e) != 1)
        die("state", &e);
    for (unsigned i = 0; i < lanes; i++) {
        struct state_lane l;
        char name[32];
        bool made;

        snprintf(name, sizeof name, "d%u", i);
        if (state_lane_open(s, 1, name, 0, 0, (struct journal_pos){ 1, 0, 0 },
                            &l, &made, &e) != 0)
            die("state", &e);
        ledger_init(&pens[i].lane, 1 << 20);
        ledger_init(&pens[i].block, 1 << 20);
    }
    for (uint64_t seq = 1; seq <= events;) {
        uint64_t to = seq + AT_ONCE - 1 < events ? seq + AT_ONCE - 1 : events;

        began = clock_mono_ns();
        for (unsigned i = 0; i < lanes; i++) {
            for (uint64_t k = seq; k <= to; k++)
                write_one(&pens[i], k);
            pass_on(&pens[i]);
            ledger_log_add(log, i + 1, &pens[i].block);
            ledger_begin(&pens[i].block, 0);
        }
        pure += clock_mono_ns() - began;
        bytes += ledger_log_waiting(log);
        if (ledger_log_sync(log, &e) != 0)
            die("log", &e);
        at = ledger_log_segment(log);
        put_rows(s, pens, lanes, to + 1);
        if (state_segment_put(s, &at, &e) != 0)
            die("state", &e);
        roll(s, log, pens, lanes);
        seq = to + 1;
        if (seq % (100 * AT_ONCE) == 1 && state_commit(s, &e) != 0)
            die("state", &e);
    }
    printf("an outcome: %.2f bytes, %.1f ns in lane and supervisor\n",
           (double)bytes / (double)events / lanes,
           (double)pure / (double)events / lanes);
    ledger_log_free(log);
    state_close(s);
}

static void run_audit(const char *dir)
{
    int64_t began = clock_mono_ns();
    struct rusage use;
    struct books *b;
    struct audit a;
    struct err e;

    b = books_open(dir, &e);
    if (!b || audit_run(b, AUDIT_BITMAP_BYTES, &a, &e) != 0)
        die("audit", &e);
    getrusage(RUSAGE_SELF, &use);
    printf("audit: %" PRIu64 " events, %zu lanes: %.2f s, difference %" PRIu64
           ", %ld MiB at the most\n",
           a.events, a.lane_count, (double)(clock_mono_ns() - began) / 1e9,
           a.difference, use.ru_maxrss / 1024);
    for (size_t i = 0; i < a.fault_count && i < 5; i++)
        printf("  %s\n", a.faults[i].text);
    audit_deinit(&a);
    books_free(b);
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    unsigned lanes = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10;
    char dir[256] = "/tmp/books-bench-XXXXXX";

    if (argc > 3)
        snprintf(dir, sizeof dir, "%s", argv[3]);
    else if (!mkdtemp(dir))
        die("a directory", NULL);
    if (lanes == 0 || lanes > LANES)
        die("at most 64 lanes", NULL);
    if (access(dir, R_OK) == 0 && argc <= 3) {
        fill_journal(open_dir(dir, "journal"), events);
        fill_books(dir, open_dir(dir, "outcomes"), events, lanes);
    }
    fflush(stdout);
    run_audit(dir);
    if (argc <= 3)
        printf("left in %s\n", dir);
    return 0;
}

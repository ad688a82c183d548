/* SPDX-License-Identifier: Apache-2.0
 *
 * dedupe_bench.c - what knowing duplicates costs: time for each event at a
 * number of ids known, memory for each id, and how long a start is.
 *
 *   dedupe_bench [IDS [MEMORY-MIB [DIRECTORY]]]
 *
 * As ingest does: the hash, the look-up, the note, and after each 100 events
 * the commit that makes them known. With a DIRECTORY, which must be empty, id
 * files of that many events are made there and read back as after a start. */
#include "ingest/dedupe.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "journal/ids.h"
#include "journal/segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GROUP 100
#define STEPS 10
#define FILE_IDS 75000 /* of events of 800 bytes in a segment */
#define WINDOW_MS 86400000

static const unsigned char uuid[16] = { 1, 2, 3, 4 };

static double now_s(void)
{
    return (double)clock_mono_ns() / 1e9;
}

/* Processor time of this thread: others may be running. */
static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void hash_of(uint64_t n, unsigned char hash[16])
{
    char text[40];
    int len = snprintf(text, sizeof text, "node-next-%010llu-%015llx",
                       (unsigned long long)n, (unsigned long long)n * 77777);

    ids_hash(uuid, 1, (mf_str){ text, (size_t)len }, hash);
}

/* Hashes are made outside of what is measured; theirs is told by itself. */
static unsigned char *hashes(uint64_t from, uint64_t n, double *each)
{
    unsigned char *all = xmalloc(n * 16);
    double t = cpu_s();

    for (uint64_t i = 0; i < n; i++)
        hash_of(from + i, all + i * 16);
    *each = (cpu_s() - t) * 1e9 / (double)n;
    return all;
}

static double slowest;

/* The time of n events that are new. */
static double take(struct dedupe *d, const unsigned char *h, uint64_t from,
                   uint64_t n)
{
    int64_t now = clock_ms();
    double t = cpu_s();

    for (uint64_t i = 0; i < n; i += GROUP) {
        double group = cpu_s();
        uint64_t seq;

        for (uint64_t k = i; k < i + GROUP && k < n; k++) {
            if (dedupe_find(d, h + k * 16, now, &seq) != DEDUPE_NEW)
                abort();
            dedupe_note(d, h + k * 16, from + k, now);
        }
        dedupe_durable(d, from + i + GROUP);
        group = cpu_s() - group;
        if (group > slowest)
            slowest = group;
    }
    return cpu_s() - t;
}

static double find(struct dedupe *d, const unsigned char *h, uint64_t n)
{
    double t = cpu_s();
    int64_t now = clock_ms();
    uint64_t seq;

    for (uint64_t k = 0; k < n; k++)
        if (dedupe_find(d, h + k * 16, now, &seq) == DEDUPE_NEW)
            abort();
    return cpu_s() - t;
}

static void run(uint64_t ids, uint64_t memory)
{
    struct dedupe *d = dedupe_new();
    uint64_t step = ids / STEPS;
    struct dedupe_facts f;

    dedupe_configure(d, WINDOW_MS, memory);
    for (uint64_t at = 0; at < ids; at += step) {
        double each, t, t_known;
        unsigned char *h = hashes(at, step, &each);

        slowest = 0;
        t = take(d, h, at + 1, step);
        t_known = find(d, h + step * 8, step / 2);
        f = dedupe_facts(d);
        printf("%10llu ids: %.0f ns an event that is new, %.0f ns a "
               "duplicate (+ %.0f ns its hash), slowest %d events %.0f us, "
               "%.1f MiB, %.1f bytes an id\n",
               (unsigned long long)f.ids, t * 1e9 / (double)step,
               t_known * 1e9 / (double)(step / 2), each, GROUP,
               slowest * 1e6, (double)f.bytes / 1048576,
               (double)f.bytes / (double)f.ids);
        free(h);
    }
    dedupe_free(d);
}

/* ---- a start ---- */

static void make_files(int dir, uint64_t ids)
{
    unsigned char meta[META_BYTES];
    struct err e = { "" };
    int64_t now = clock_ms();

    if (mkdirat(dir, IDS_DIR, 0700) != 0)
        perror(IDS_DIR);
    meta_put(meta, uuid, 1, ids + 1);
    if (io_replace_file(dir, "journal.meta", meta, sizeof meta, 0600, &e))
        fprintf(stderr, "%s\n", e.text);
    for (uint64_t base = 1; base <= ids; base += FILE_IDS) {
        struct ids_file f = { .base = base, .epoch = 1 };
        struct ids_list l = { 0 };
        unsigned char *bytes;
        char name[IDS_NAME];

        memcpy(f.uuid, uuid, 16);
        for (uint64_t n = base; n < base + FILE_IDS && n <= ids; n++) {
            struct journal_record r = { .seq = n, .source = 1 };

            hash_of(n, r.id_hash);
            r.received_ms = now - (int64_t)((ids - n) / 10);
            ids_list_add(&l, base, &r);
        }
        f.count = l.n;
        bytes = ids_file_make(&f, &l);
        ids_name(name, base);
        if (io_replace_file(dir, name, bytes, ids_file_bytes(f.count), 0600,
                            &e))
            fprintf(stderr, "%s\n", e.text);
        free(bytes);
        ids_list_free(&l);
    }
}

static void drop_cache(int dir, uint64_t ids)
{
    for (uint64_t base = 1; base <= ids; base += FILE_IDS) {
        char name[IDS_NAME];
        int fd;

        ids_name(name, base);
        fd = openat(dir, name, O_RDONLY);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static void start(int dir, uint64_t ids, uint64_t memory, const char *what)
{
    struct journal_head head = { .first = ids + 1, .durable = ids };
    struct dedupe *d = dedupe_new();
    struct dedupe_facts f;
    double t = now_s(), cpu = cpu_s();

    dedupe_configure(d, WINDOW_MS, memory);
    dedupe_warm(d, dir, &head);
    while (dedupe_warm_step(d, 4096, 1000))
        continue;
    t = now_s() - t;
    cpu = cpu_s() - cpu;
    f = dedupe_facts(d);
    printf("a start, files %s: %llu ids in %.2f s (%.2f s of this thread), "
           "whole: %s, window %lld s\n",
           what, (unsigned long long)f.ids, t, cpu,
           f.state == DEDUPE_WHOLE ? "yes" : "no",
           (long long)f.window_ms / 1000);
    dedupe_free(d);
}

int main(int argc, char **argv)
{
    uint64_t ids = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    uint64_t memory = argc > 2 ? strtoull(argv[2], NULL, 10) << 20 : 256 << 20;
    int dir = argc > 3 ? open(argv[3], O_RDONLY | O_DIRECTORY) : -1;

    run(ids, memory);
    if (dir < 0)
        return 0;
    make_files(dir, ids);
    start(dir, ids, memory, "in the page cache");
    drop_cache(dir, ids);
    start(dir, ids, memory, "on disk");
    return 0;
}

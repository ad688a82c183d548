/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.c - see tally.h. */
#include "cli/tally.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM ((sizeof(struct tally) + 4095) / 4096 * 4096)

static size_t bytes_for(uint64_t ids)
{
    return ROOM + (size_t)ids * (1 + TALLY_PATHS);
}

static int map(struct tally_file *f, int fd, const char *path, struct err *e)
{
    unsigned char *at = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE,
                             MAP_SHARED, fd, 0);

    close(fd);
    if (at == MAP_FAILED)
        return err_sys(e, "%s cannot be mapped", path);
    f->t = (struct tally *)at;
    return 0;
}

static void arrays(struct tally_file *f)
{
    unsigned char *at = (unsigned char *)f->t + ROOM;

    f->acks = at;
    for (int i = 0; i < TALLY_PATHS; i++)
        f->counts[i] = at + (size_t)(i + 1) * f->t->ids;
}

int tally_create(struct tally_file *f, const char *path, uint64_t ids,
                 struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (ids == 0 || ids > TALLY_IDS_MAX)
        return err_set(e, "a tally is for 1 to %d events", TALLY_IDS_MAX);
    f->bytes = bytes_for(ids);
    if (fd < 0 || ftruncate(fd, (off_t)f->bytes) != 0) {
        err_sys(e, "%s cannot be made", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (map(f, fd, path, e) != 0)
        return -1;
    f->t->ids = ids;
    arrays(f);
    f->t->magic = TALLY_MAGIC;
    return 0;
}

int tally_open(struct tally_file *f, const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        err_sys(e, "%s cannot be opened", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    f->bytes = (size_t)st.st_size;
    if (f->bytes < ROOM) {
        close(fd);
        return err_set(e, "%s is no tally", path);
    }
    if (map(f, fd, path, e) != 0)
        return -1;
    if (f->t->magic != TALLY_MAGIC || bytes_for(f->t->ids) != f->bytes) {
        tally_close(f);
        return err_set(e, "%s is no tally", path);
    }
    arrays(f);
    return 0;
}

void tally_close(struct tally_file *f)
{
    if (f->t)
        munmap(f->t, f->bytes);
    f->t = NULL;
}

struct tally_path *tally_path(struct tally_file *f, const char *name,
                              size_t len)
{
    if (len >= TALLY_NAME)
        return NULL;
    for (int i = 0; i < TALLY_PATHS; i++) {
        struct tally_path *p = &f->t->paths[i];

        if (!p->name[0])
            memcpy(p->name, name, len); /* the rest is zeros */
        if (strlen(p->name) == len && memcmp(p->name, name, len) == 0)
            return p;
    }
    return NULL;
}

bool tally_count(struct tally_file *f, const struct tally_path *p, uint64_t id)
{
    unsigned char *n;

    if (id >= f->t->ids)
        return false;
    n = &f->counts[p - f->t->paths][id];
    if (*n < UINT8_MAX)
        (*n)++;
    return *n == 1;
}

/* ---- durations ---- */

static unsigned bucket(uint64_t ns)
{
    unsigned log, step;

    if (ns < 8)
        return (unsigned)ns;
    log = 63 - (unsigned)__builtin_clzll(ns);
    step = (unsigned)(ns >> (log - 3)) & 7;
    return (log - 2) * 8 + step < TALLY_BUCKETS ? (log - 2) * 8 + step
                                                : TALLY_BUCKETS - 1;
}

/* The middle of what a bucket holds. */
static double middle(unsigned b)
{
    unsigned log = b / 8 + 2;

    if (b < 8)
        return b;
    return (double)(1ull << (log - 3)) * (8.5 + b % 8);
}

void tally_time(struct tally_times *to, uint64_t ns)
{
    atomic_fetch_add_explicit(&to->n[bucket(ns)], 1, memory_order_relaxed);
}

double tally_percentile(const struct tally_times *t, double p)
{
    uint64_t all = 0, upto = 0;

    for (unsigned i = 0; i < TALLY_BUCKETS; i++)
        all += t->n[i];
    for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
        upto += t->n[i];
        if (upto && (double)upto >= p * (double)all)
            return middle(i) / 1e6;
    }
    return 0;
}

/* ---- the verdict ---- */

struct tally_verdict tally_judge(const struct tally_file *f,
                                 const struct tally_path *p)
{
    const unsigned char *counts = f->counts[p - f->t->paths];
    struct tally_verdict v = { 0 };

    for (uint64_t i = 0; i < f->t->made; i++) {
        if (f->acks[i] && !counts[i] && !v.missing++)
            v.first_missing = i;
        v.extra += counts[i] > 1 ? counts[i] - 1u : 0;
        v.strange += counts[i] && !f->acks[i];
    }
    return v;
}

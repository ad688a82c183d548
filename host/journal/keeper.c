/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.c - the journal's second thread: what must not be on the way of a
 * commit. Keeps spare segments ready, gives full segments their footer and
 * their id file, and retires the oldest by age and bytes, whoever may still
 * want to read them. A disk that is full shows here, before anything was
 * promised. */
#include "journal/writer.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ZEROS (1u << 20)

void spare_name(char out[SEGMENT_NAME], uint64_t n, const char *suffix)
{
    snprintf(out, SEGMENT_NAME, "%08" PRIu64 "%s", n, suffix);
}

static int write_zeros(int fd, uint64_t size)
{
    unsigned char *zeros = xcalloc(1, ZEROS);
    int rc = 0;

    for (uint64_t at = 0; at < size && rc == 0; at += ZEROS)
        rc = io_pwrite_all(fd, zeros, size - at < ZEROS ? size - at : ZEROS,
                           (off_t)at);
    free(zeros);
    return rc;
}

static void add_spare(struct journal *j, uint64_t n)
{
    pthread_mutex_lock(&j->lock);
    ASSERT(j->n_spares < SPARES_MOST);
    j->spares[j->n_spares++] = n;
    if (j->spare_failed)
        log_info("journal: there is space again");
    j->spare_failed = false;
    if (j->state == JOURNAL_FULL)
        j->state = JOURNAL_OK;
    atomic_store(&j->head->full, 0);
    pthread_cond_broadcast(&j->done);
    pthread_mutex_unlock(&j->lock);
}

/* Somebody waits for a disk that was full: blocks are enough then. Commits
 * into them are slower until the file has been written once, and the space is
 * as certain. */
static int fill_spare(struct journal *j, int fd, bool in_haste)
{
    off_t size = (off_t)j->o.segment_bytes;

    if (in_haste && io.allocate && io.allocate(fd, size) == 0)
        return 0;
    if (in_haste && io.allocate && errno == ENOSPC)
        return -1;
    return write_zeros(fd, j->o.segment_bytes);
}

int keeper_make_spare(struct journal *j, struct err *e)
{
    char fresh[SEGMENT_NAME], ready[SEGMENT_NAME];
    uint64_t n = ++j->spare_serial;
    bool in_haste;
    int fd;

    pthread_mutex_lock(&j->lock);
    in_haste = j->spare_failed && !j->n_spares;
    pthread_mutex_unlock(&j->lock);
    spare_name(fresh, n, ".new");
    spare_name(ready, n, ".spare");
    fd = io.openat(j->dir, fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                   0600);
    if (fd < 0) {
        err_sys(e, "no spare segment can be made");
        goto failed;
    }
    if (fill_spare(j, fd, in_haste) != 0 || io.fsync(fd) != 0 ||
        io.renameat(j->dir, fresh, j->dir, ready) != 0 ||
        io.fsync(j->dir) != 0) {
        err_sys(e, "no spare segment can be made");
        close(fd);
        io.unlinkat(j->dir, fresh, 0);
        io.unlinkat(j->dir, ready, 0);
        goto failed;
    }
    close(fd);
    add_spare(j, n);
    return 0;
failed:
    pthread_mutex_lock(&j->lock);
    j->spare_failed = true;
    atomic_store(&j->head->full, 1);
    pthread_cond_broadcast(&j->done);
    pthread_mutex_unlock(&j->lock);
    return -1;
}

static void fill_pool(struct journal *j)
{
    struct err e;

    for (;;) {
        bool enough, failed;

        pthread_mutex_lock(&j->lock);
        enough = j->n_spares >= SPARES_WANTED || j->keeper_stop;
        failed = j->spare_failed;
        pthread_mutex_unlock(&j->lock);
        if (enough)
            return;
        if (keeper_make_spare(j, &e) != 0) {
            if (!failed)
                log_error("journal: %s", e.text);
            return;
        }
    }
}

/* ---- footers ---- */

int keeper_write_footer(int fd, const struct segment *s,
                        const struct segment_index *ix)
{
    size_t n = footer_bytes(s);
    unsigned char *bytes = xmalloc(n);
    int rc;

    footer_put(bytes, s, ix);
    rc = io_pwrite_all(fd, bytes, n, (off_t)s->end);
    if (rc == 0)
        rc = io.fdatasync(fd);
    free(bytes);
    return rc;
}

/* A footer that cannot be written costs a scan at the next open, no more. */
static void seal_full(struct journal *j)
{
    struct active *a;

    for (;;) {
        pthread_mutex_lock(&j->lock);
        a = j->closing;
        if (a)
            j->closing = a->next;
        pthread_mutex_unlock(&j->lock);
        if (!a)
            return;
        if (keeper_write_footer(a->fd, &a->seg, &a->ix) != 0)
            log_warn("journal: segment %" PRIu64 " stays without footer",
                     a->seg.base);
        keeper_ids_seal(j, a);
        close(a->fd);
        index_deinit(&a->ix);
        free(a);
    }
}

/* ---- retention ---- */

void keeper_add(struct journal *j, struct kept k)
{
    ASSERT(j->n_kept < SEGMENTS_MOST);
    if (j->n_kept == j->cap_kept) {
        j->cap_kept = j->cap_kept ? 2 * j->cap_kept : 64;
        j->kept = xrealloc(j->kept, j->cap_kept * sizeof *j->kept);
    }
    j->kept[j->n_kept++] = k;
}

/* True when the active segment should end for the age of what is in it: early
 * where there is room for small segments, at the latest when it is due. */
static bool too_old(struct journal *j)
{
    int64_t age = clock_ms() - atomic_load(&j->oldest);
    uint64_t room = atomic_load(&j->head->bytes) + 2 * j->o.segment_bytes;
    uint64_t max = atomic_load(&j->max_bytes);
    int64_t retention = atomic_load(&j->retention_ms);

    if (!retention || atomic_load(&j->oldest) == INT64_MAX)
        return false;
    if (max && room > max)
        return age > retention;
    return age > retention / AGE_PARTS;
}

/* The oldest segment, if it is due. */
static bool find_due(struct journal *j, struct kept *k)
{
    uint64_t bytes = atomic_load(&j->head->bytes);
    uint64_t max = atomic_load(&j->max_bytes);
    int64_t retention = atomic_load(&j->retention_ms);
    bool due = false;

    pthread_mutex_lock(&j->lock);
    if (j->n_kept) {
        *k = j->kept[0];
        due = (max && bytes > max) ||
              (retention && k->time_max < clock_ms() - retention);
    }
    pthread_mutex_unlock(&j->lock);
    return due;
}

/* Takes the oldest segment from the list; head->first moves before anything
 * happens to the file. */
static void take(struct journal *j, const struct kept *k)
{
    pthread_mutex_lock(&j->lock);
    memmove(j->kept, j->kept + 1, --j->n_kept * sizeof *j->kept);
    atomic_store(&j->head->first, j->n_kept ? j->kept[0].base : k->last + 1);
    atomic_fetch_sub(&j->head->bytes, k->bytes);
    pthread_mutex_unlock(&j->lock);
}

static void retire(struct journal *j, const struct kept *k)
{
    char from[SEGMENT_NAME], to[SEGMENT_NAME];
    uint64_t n = ++j->spare_serial;
    bool room;

    pthread_mutex_lock(&j->lock);
    room = j->n_spares < SPARES_MOST && k->bytes == j->o.segment_bytes;
    pthread_mutex_unlock(&j->lock);
    segment_name(from, k->base);
    spare_name(to, n, ".spare");
    if (!room) {
        io.unlinkat(j->dir, from, 0);
        return;
    }
    /* Not a spare before the directory says so durably: a crash must not
     * find the old name on new contents. */
    if (io.renameat(j->dir, from, j->dir, to) != 0 ||
        io.fsync(j->dir) != 0) {
        log_warn("journal: segment %" PRIu64 " cannot be recycled", k->base);
        io.unlinkat(j->dir, to, 0);
        return;
    }
    add_spare(j, n);
}

static void retain(struct journal *j)
{
    struct kept k;

    while (find_due(j, &k)) {
        keeper_ids_retiring(j, &k);
        take(j, &k);
        retire(j, &k);
        keeper_ids_retired(j, &k);
    }
    if (!too_old(j))
        return;
    pthread_mutex_lock(&j->lock);
    j->roll_wanted = !j->keeper_stop;
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
}

/* ---- the thread ---- */

static void wait_for_chore(struct journal *j, int64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    pthread_cond_timedwait(&j->chore, &j->lock, &t);
}

void *keeper_main(void *arg)
{
    struct journal *j = arg;

    pthread_mutex_lock(&j->lock);
    for (;;) {
        uint64_t asked = j->asked;
        bool last = j->keeper_stop, more = false;

        pthread_mutex_unlock(&j->lock);
        seal_full(j);
        retain(j);
        fill_pool(j);
        if (!last)
            more = keeper_ids_chore(j);
        pthread_mutex_lock(&j->lock);
        j->answered = asked;
        pthread_cond_broadcast(&j->done);
        if (last)
            break;
        if (j->asked != asked || j->closing || j->keeper_stop || more)
            continue;
        if (j->spare_failed)
            wait_for_chore(j, KEEPER_RETRY_MS);
        else if (j->n_spares >= SPARES_WANTED)
            wait_for_chore(j, KEEPER_ROUND_MS);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

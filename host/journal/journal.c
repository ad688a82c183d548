/* SPDX-License-Identifier: Apache-2.0
 *
 * journal.c - the writer: staging, group commit, and what follows a failure.
 *
 * Appends fill one staging buffer while the commit thread writes and syncs
 * the other; there is no timer, the next batch is whatever arrived during the
 * sync before. A write or sync that fails loses everything staged: the file
 * is never synced again and the journal goes on in a new segment under a new
 * epoch (segment.h, ORDER OF WRITES). Does not retry a sync. */
#include "journal/writer.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define COMMIT_NICE -10
#define RECOVER_RETRY_MS 100

static void tell(struct journal *j)
{
    if (j->o.on_durable)
        j->o.on_durable(j->o.arg);
}

static void staging_clear(struct staging *s)
{
    s->len = BATCH_HEADER;
    s->n = 0;
}

static uint64_t durable(const struct journal *j)
{
    return atomic_load_explicit(&j->head->durable, memory_order_relaxed);
}

/* Everything that is not durable is lost: `state` until it can go on. The
 * keeper may have made a spare since none was found, and would not look at
 * the state again: then the journal is not full any more. */
static void lose_staged(struct journal *j, enum journal_state state)
{
    pthread_mutex_lock(&j->lock);
    j->state = state == JOURNAL_FULL && j->n_spares ? JOURNAL_OK : state;
    j->failed_from = durable(j) + 1;
    j->next = durable(j) + 1;
    staging_clear(j->fill);
    if (state == JOURNAL_FAILED)
        atomic_store(&j->head->poisoned, 1);
    pthread_mutex_unlock(&j->lock);
    tell(j);
}

/* ---- segments ---- */

/* Waits for a spare while one may still come; false: the disk is full. */
static bool take_spare(struct journal *j, uint64_t *spare)
{
    bool got;

    pthread_mutex_lock(&j->lock);
    while (!j->n_spares && !j->spare_failed) {
        pthread_cond_signal(&j->chore);
        pthread_cond_wait(&j->done, &j->lock);
    }
    got = j->n_spares > 0;
    if (got)
        *spare = j->spares[--j->n_spares];
    pthread_cond_signal(&j->chore);
    pthread_mutex_unlock(&j->lock);
    return got;
}

/* Step 2 of ORDER OF WRITES; a->seg is filled but for what shape gives. */
static int begin_segment(struct journal *j, struct active *a, uint64_t spare,
                         struct err *e)
{
    char from[SEGMENT_NAME], to[SEGMENT_NAME];
    unsigned char header[SEGMENT_HEADER];

    spare_name(from, spare, ".spare");
    segment_name(to, a->seg.base);
    header_put(header, &a->seg);
    a->fd = io.openat(j->dir, from, O_RDWR | O_CLOEXEC, 0);
    if (a->fd < 0)
        return err_sys(e, "%s cannot be opened", from);
    if (io_pwrite_all(a->fd, header, sizeof header, 0) != 0 ||
        io.fdatasync(a->fd) != 0) {
        err_sys(e, "the header of %s cannot be written", to);
        close(a->fd);
        io.unlinkat(j->dir, from, 0);
        return -1;
    }
    if (io.renameat(j->dir, from, j->dir, to) != 0 ||
        io.fsync(j->dir) != 0) {
        err_sys(e, "%s cannot be put in place", to);
        close(a->fd);
        io.unlinkat(j->dir, from, 0); /* unless it has its new name */
        return -1;
    }
    return 0;
}

/* The segment that follows j->active, in *a. */
static int next_segment(struct journal *j, uint32_t epoch, struct active *a,
                        bool *full, struct err *e)
{
    uint64_t spare;

    *a = (struct active){ .fd = -1 };
    *full = !take_spare(j, &spare);
    if (*full)
        return err_set(e, "there is no space for another segment");
    memcpy(a->seg.uuid, j->uuid, sizeof j->uuid);
    a->seg.size = j->o.segment_bytes;
    a->seg.base = durable(j) + 1;
    a->seg.epoch = epoch;
    a->seg.prev_last = j->active.ix.last;
    a->seg.prev_sum = j->active.ix.sum;
    a->seg.created_ms = clock_ms();
    ASSERT(segment_shape(&a->seg));
    if (begin_segment(j, a, spare, e) != 0) {
        a->fd = -1;
        return -1;
    }
    index_init(&a->ix, &a->seg);
    a->at = SEGMENT_HEADER;
    a->sum = a->ix.sum;
    return 0;
}

static struct kept as_kept(const struct active *a, uint64_t last)
{
    return (struct kept){ .base = a->seg.base, .last = last,
                          .bytes = a->seg.size, .time_max = a->ix.time_max,
                          .epoch = a->seg.epoch };
}

/* Makes *a the one that is written. The tail is published before durable can
 * move past its base: readers rely on that. */
static void set_active(struct journal *j, struct active *a)
{
    j->active = *a;
    atomic_store(&j->oldest, INT64_MAX);
    atomic_store(&j->head->tail_epoch, a->seg.epoch);
    atomic_store(&j->head->tail, a->seg.base);
    atomic_store(&j->head->tail_end, a->at);
    atomic_fetch_add(&j->head->bytes, a->seg.size);
}

/* The active segment is full: the next one, and a footer for this one. */
static enum journal_state roll(struct journal *j, struct err *e)
{
    struct active a, *old;
    bool full;

    if (next_segment(j, j->epoch, &a, &full, e) != 0)
        return full ? JOURNAL_FULL : JOURNAL_FAILED;
    if (j->active.fd >= 0) {
        old = xmalloc(sizeof *old);
        *old = j->active;
        pthread_mutex_lock(&j->lock);
        keeper_add(j, as_kept(old, old->ix.last));
        old->next = j->closing;
        j->closing = old;
        pthread_cond_signal(&j->chore);
        pthread_mutex_unlock(&j->lock);
    } else {
        index_deinit(&j->active.ix);
    }
    set_active(j, &a);
    return JOURNAL_OK;
}

/* ---- commit ---- */

/* What fits of the records at data[at..len) into the active segment; they
 * enter its index, for a batch that fails takes the segment with it. */
static struct batch take_run(struct journal *j, const struct staging *s,
                             size_t at)
{
    struct active *a = &j->active;
    struct batch b = { .epoch = j->epoch, .synced = durable(j) };
    uint64_t room, offset = a->at + BATCH_HEADER;
    struct record r;

    if (a->fd < 0 || a->at + 2 * BATCH_HEADER > a->seg.end)
        return b;
    room = a->seg.end - a->at - 2 * BATCH_HEADER;
    b.first = b.synced + 1;
    for (; at < s->len; at += r.bytes) {
        record_fields(s->data + at, &r);
        if (b.bytes + r.bytes > room)
            break;
        index_add(&a->ix, &a->seg, &r, offset + b.bytes);
        b.bytes += (uint32_t)r.bytes;
        b.n++;
    }
    return b;
}

static int write_batch(struct journal *j, unsigned char *from,
                       const struct batch *b, struct err *e)
{
    struct active *a = &j->active;
    size_t bytes = BATCH_HEADER + b->bytes;
    int64_t began = clock_mono_ns(), took;

    batch_put(from, b, j->seed);
    if (io_pwrite_all(a->fd, from, bytes, (off_t)a->at) != 0)
        return err_sys(e, "segment %" PRIu64 ": write failed", a->seg.base);
    if (io.fdatasync(a->fd) != 0)
        return err_sys(e, "segment %" PRIu64 ": sync failed", a->seg.base);
    a->at += bytes;
    a->ix.end = a->at;
    a->sum = a->ix.sum;
    if (a->ix.count)
        atomic_store(&j->oldest, a->ix.time_min);
    took = clock_mono_ns() - began;
    atomic_fetch_add(&j->head->commit_ns, (uint64_t)took);
    atomic_fetch_add(&j->head->commit_counts[histogram_place(took)], 1);
    atomic_fetch_add(&j->head->commits, 1);
    return 0;
}

static enum journal_state commit(struct journal *j, struct staging *s,
                                 struct err *e)
{
    size_t at = BATCH_HEADER;

    while (at < s->len) {
        struct batch b = take_run(j, s, at);
        enum journal_state state;

        if (b.n == 0) {
            state = roll(j, e);
            if (state != JOURNAL_OK)
                return state;
            continue;
        }
        /* The header goes before the first record: into the room left for
         * it, or over the tail of the batch that was written last. */
        if (write_batch(j, s->data + at - BATCH_HEADER, &b, e) != 0)
            return JOURNAL_FAILED;
        at += b.bytes;
        atomic_store(&j->head->tail_end, j->active.at);
        atomic_store(&j->head->durable, b.first + b.n - 1);
        tell(j);
    }
    return JOURNAL_OK;
}

/* ---- after a failed write or sync ---- */

static void abandon_active(struct journal *j)
{
    struct active *a = &j->active;

    if (a->fd < 0)
        return;
    close(a->fd);
    a->fd = -1;
    a->ix.last = durable(j);
    a->ix.sum = a->sum;
    recover_verify(j, &a->seg, durable(j));
    if (a->seg.base > durable(j)) {
        /* It holds nothing; its successor takes its name and follows the
         * same segment. */
        a->ix.last = a->seg.prev_last;
        a->ix.sum = a->seg.prev_sum;
        atomic_fetch_sub(&j->head->bytes, a->seg.size);
        return;
    }
    pthread_mutex_lock(&j->lock);
    keeper_add(j, as_kept(a, durable(j)));
    pthread_mutex_unlock(&j->lock);
}

static bool wait_or_stop(struct journal *j, int ms)
{
    struct timespec t;
    bool stop;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_mutex_lock(&j->lock);
    while (!j->stop &&
           pthread_cond_timedwait(&j->work, &j->lock, &t) != ETIMEDOUT)
        continue;
    stop = j->stop;
    pthread_mutex_unlock(&j->lock);
    return stop;
}

/* Goes on in a new segment as soon as the disk takes one. */
static void recover_in_place(struct journal *j)
{
    struct active a;
    struct err e = { "" };
    bool full;

    abandon_active(j);
    while (recover_write_meta(j, j->epoch + 1, &e) != 0 ||
           next_segment(j, j->epoch + 1, &a, &full, &e) != 0) {
        log_debug("journal: not yet: %s", e.text);
        if (wait_or_stop(j, RECOVER_RETRY_MS))
            return;
    }
    index_deinit(&j->active.ix);
    set_active(j, &a);
    pthread_mutex_lock(&j->lock);
    j->epoch++;
    j->state = JOURNAL_OK;
    atomic_store(&j->head->poisoned, 0);
    pthread_mutex_unlock(&j->lock);
    log_info("journal: writing again, segment %" PRIu64 " epoch %u",
             a.seg.base, a.seg.epoch);
    tell(j);
}

/* s may be NULL: then only the segment changes. */
static void commit_all(struct journal *j, struct staging *s, bool roll_first)
{
    enum journal_state state = JOURNAL_OK;
    struct err e = { "" };

    if (roll_first && j->active.ix.count)
        state = roll(j, &e);
    if (state == JOURNAL_FULL)
        state = JOURNAL_OK; /* then it stays in the old one */
    if (state == JOURNAL_OK && s)
        state = commit(j, s, &e);
    if (state == JOURNAL_OK && roll_first)
        tell(j);
    if (state == JOURNAL_OK)
        return;
    log_error("journal: %s; nothing after %" PRIu64 " is acknowledged",
              e.text, durable(j));
    lose_staged(j, state);
    if (state == JOURNAL_FAILED)
        recover_in_place(j);
}

/* Takes the buffer that was filled, if there is anything in it. */
static struct staging *swap(struct journal *j)
{
    struct staging *s = j->fill;

    if (s->n == 0)
        return NULL;
    j->fill = s == &j->buffers[0] ? &j->buffers[1] : &j->buffers[0];
    staging_clear(j->fill);
    return s;
}

static void *commit_main(void *arg)
{
    struct journal *j = arg;
    struct staging *s;

    /* May be refused; then the thread competes as everybody does. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), COMMIT_NICE);
    pthread_mutex_lock(&j->lock);
    for (;;) {
        bool roll_first;

        while (j->fill->n == 0 && !j->stop && !j->roll_wanted) {
            j->asleep = true;
            pthread_cond_wait(&j->work, &j->lock);
        }
        j->asleep = false;
        if (j->fill->n == 0 && j->stop)
            break;
        roll_first = j->roll_wanted;
        j->roll_wanted = false;
        s = swap(j);
        pthread_mutex_unlock(&j->lock);
        commit_all(j, s, roll_first);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* A batch of no records says that everything before it was synced. */
static void clean_end(struct journal *j)
{
    struct active *a = &j->active;
    struct batch b = { .epoch = j->epoch,
                       .first = durable(j) + 1,
                       .synced = durable(j) };
    unsigned char header[BATCH_HEADER];
    struct err e;

    if (a->fd < 0 || a->at + BATCH_HEADER > a->seg.end)
        return;
    if (write_batch(j, header, &b, &e) != 0)
        log_warn("journal: no clean end: %s", e.text);
}

/* ---- public ---- */

static void init_sync(struct journal *j)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->work, &attr);
    pthread_cond_init(&j->chore, &attr);
    pthread_cond_init(&j->done, &attr);
    pthread_condattr_destroy(&attr);
}

static void journal_free(struct journal *j)
{
    struct active *a;

    while ((a = j->closing)) {
        j->closing = a->next;
        close(a->fd);
        index_deinit(&a->ix);
        free(a);
    }
    if (j->active.fd >= 0)
        close(j->active.fd);
    index_deinit(&j->active.ix);
    if (j->lock_fd >= 0)
        close(j->lock_fd);
    pthread_cond_destroy(&j->work);
    pthread_cond_destroy(&j->chore);
    pthread_cond_destroy(&j->done);
    pthread_mutex_destroy(&j->lock);
    free(j->buffers[0].data);
    free(j->buffers[1].data);
    free(j->kept);
    free(j->orphans);
    free(j);
}

struct journal *journal_open(const struct journal_options *o, struct err *e)
{
    struct journal *j = xcalloc(1, sizeof *j);
    struct segment shape = { 0 };
    struct err full;

    j->o = *o;
    if (!j->o.segment_bytes)
        j->o.segment_bytes = JOURNAL_SEGMENT_BYTES;
    j->dir = o->dir;
    j->head = o->head;
    j->lock_fd = j->active.fd = -1;
    atomic_store(&j->oldest, INT64_MAX);
    init_sync(j);
    journal_keep(j, o->retention_ms, o->max_bytes);
    journal_keep_ids(j, o->ids_keep_ms, o->ids_keep_bytes);
    shape.size = j->o.segment_bytes;
    if (!segment_shape(&shape)) {
        err_set(e, "segments cannot have %" PRIu64 " bytes", shape.size);
        goto failed;
    }
    j->payload_max = segment_payload_max(&shape);
    if (recover_open(j, e) != 0)
        goto failed;
    for (int i = 0; i < 2; i++) {
        j->buffers[i].data = xmalloc(STAGING_BYTES);
        staging_clear(&j->buffers[i]);
    }
    j->fill = &j->buffers[0];
    if (!j->n_spares && keeper_make_spare(j, &full) != 0)
        log_error("journal: %s", full.text);
    ASSERT(pthread_create(&j->keeper_thread, NULL, keeper_main, j) == 0);
    ASSERT(pthread_create(&j->commit_thread, NULL, commit_main, j) == 0);
    return j;
failed:
    journal_free(j);
    return NULL;
}

void journal_close(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->commit_thread, NULL);
    pthread_mutex_lock(&j->lock);
    j->keeper_stop = true;
    pthread_cond_signal(&j->chore);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->keeper_thread, NULL);
    if (j->state != JOURNAL_FAILED)
        clean_end(j);
    journal_free(j);
}

enum journal_state journal_append(struct journal *j, struct journal_record *r)
{
    size_t bytes = record_bytes(r->payload.len);
    enum journal_state state;
    struct staging *s;

    ASSERT(r->payload.len <= j->payload_max);
    pthread_mutex_lock(&j->lock);
    s = j->fill;
    state = j->state;
    if (state == JOURNAL_OK && j->failed_from)
        state = JOURNAL_FAILED; /* not before the loss was taken notice of */
    else if (state == JOURNAL_OK && s->len + bytes > STAGING_BYTES)
        state = JOURNAL_BUSY;
    if (state == JOURNAL_OK) {
        r->seq = j->next++;
        s->n++;
        record_put(s->data + s->len, r, j->epoch, j->seed);
        s->len += bytes;
    }
    pthread_mutex_unlock(&j->lock);
    return state;
}

void journal_flush(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    if (j->asleep && j->fill->n)
        pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
}

uint64_t journal_failed_from(struct journal *j)
{
    uint64_t from;

    pthread_mutex_lock(&j->lock);
    from = j->failed_from;
    j->failed_from = 0;
    pthread_mutex_unlock(&j->lock);
    return from;
}

const unsigned char *journal_uuid(const struct journal *j)
{
    return j->uuid;
}

void journal_keep(struct journal *j, int64_t retention_ms,
                  uint64_t max_bytes)
{
    bool changed = atomic_exchange(&j->retention_ms, retention_ms) !=
                   retention_ms;

    if (atomic_exchange(&j->max_bytes, max_bytes) == max_bytes && !changed)
        return;
    pthread_mutex_lock(&j->lock);
    j->asked++;
    pthread_cond_signal(&j->chore);
    pthread_mutex_unlock(&j->lock);
}

void journal_keep_ids(struct journal *j, int64_t ms, uint64_t bytes)
{
    atomic_store(&j->ids_keep_ms, ms ? ms : IDS_KEEP_MS);
    atomic_store(&j->ids_keep_bytes, bytes ? bytes : IDS_KEEP_BYTES);
}

void journal_retain(struct journal *j)
{
    uint64_t mine;

    pthread_mutex_lock(&j->lock);
    mine = ++j->asked;
    pthread_cond_signal(&j->chore);
    while (j->answered < mine)
        pthread_cond_wait(&j->done, &j->lock);
    pthread_mutex_unlock(&j->lock);
}

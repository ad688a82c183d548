/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_ids.c - id files (ids.h), written by the journal's second thread.
 *
 * A segment that became full has its entries in memory. What a crash, a
 * damaged or a full disk left without a file is read from the segment, one in
 * a round, so that spares and footers do not wait. Nothing that goes wrong
 * here is more than a line in the log. */
#include "journal/writer.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t count_of(const struct kept *k)
{
    uint64_t n = k->last + 1 - k->base;

    return n < IDS_COUNT_MOST ? (uint32_t)n : IDS_COUNT_MOST;
}

static void mark(struct journal *j, uint64_t base)
{
    pthread_mutex_lock(&j->lock);
    for (size_t i = j->n_kept; i-- && j->kept[i].base >= base;)
        if (j->kept[i].base == base)
            j->kept[i].has_ids = true;
    pthread_mutex_unlock(&j->lock);
}

/* ---- making one ---- */

static void note_failure(struct journal *j, uint64_t base, const char *why)
{
    if (!j->ids_failed)
        log_warn("journal: segment %" PRIu64 " has no id file yet: %s", base,
                 why);
    j->ids_failed = true;
    j->ids_retry_ms = clock_mono_ms() + IDS_RETRY_MS;
}

static bool write_file(struct journal *j, const struct kept *k,
                       const struct ids_list *l)
{
    struct ids_file f = { .base = k->base, .epoch = k->epoch,
                          .count = count_of(k) };
    unsigned char *bytes;
    char name[IDS_NAME];
    struct err e;
    int rc;

    if (!j->ids_listed && mkdirat(j->dir, IDS_DIR, 0700) != 0 &&
        errno != EEXIST) {
        note_failure(j, k->base, strerror(errno));
        return false;
    }
    memcpy(f.uuid, j->uuid, sizeof f.uuid);
    bytes = ids_file_make(&f, l);
    ids_name(name, k->base);
    rc = io_replace_file(j->dir, name, bytes, ids_file_bytes(f.count), 0600,
                         &e);
    free(bytes);
    if (rc != 0) {
        note_failure(j, k->base, e.text);
        return false;
    }
    if (j->ids_failed)
        log_info("journal: id files can be written again");
    j->ids_failed = false;
    j->ids_retry_ms = 0;
    mark(j, k->base);
    return true;
}

void keeper_ids_seal(struct journal *j, const struct active *a)
{
    struct kept k = { .base = a->seg.base, .last = a->ix.last,
                      .epoch = a->seg.epoch };

    if (k.last >= k.base)
        write_file(j, &k, &a->ix.ids);
}

/* Reads the segment; false when it cannot be read. */
static bool gather(struct journal *j, const struct kept *k,
                   struct ids_list *l, struct err *e)
{
    struct journal_reader *r = journal_reader_new(j->dir, j->head);
    enum journal_read got = JOURNAL_RECORD;
    struct journal_record rec;
    uint64_t from, to;

    journal_seek(r, (struct journal_pos){ k->base, k->base, 0 });
    while (journal_tell(r).seq <= k->last && got != JOURNAL_END &&
           got != JOURNAL_ERROR) {
        got = journal_next(r, 0, 0, &rec, &from, &to, e);
        if (got == JOURNAL_RECORD && rec.seq <= k->last)
            ids_list_add(l, k->base, &rec);
    }
    journal_reader_free(r);
    return got != JOURNAL_ERROR;
}

static bool make_again(struct journal *j, const struct kept *k)
{
    struct ids_list l = { 0 };
    struct err e;
    bool done = gather(j, k, &l, &e);

    if (done)
        done = write_file(j, k, &l);
    else
        note_failure(j, k->base, e.text);
    ids_list_free(&l);
    return done;
}

/* ---- what is there ---- */

static bool file_good(struct journal *j, const struct kept *k)
{
    char name[IDS_NAME], *bytes;
    struct ids_file f;
    uint32_t damaged;
    bool good;
    size_t n;

    ids_name(name, k->base);
    if (io_read_file(j->dir, name, ids_file_bytes(IDS_COUNT_MOST), &bytes, &n,
                     NULL) != 0)
        return false;
    good = ids_file_check((unsigned char *)bytes, n, &f, &damaged);
    if (!good || damaged)
        log_warn("journal: %s is damaged; it is made again", name);
    good = good && !damaged && memcmp(f.uuid, j->uuid, 16) == 0 &&
           f.base == k->base && f.epoch == k->epoch &&
           f.count == count_of(k);
    free(bytes);
    return good;
}

static bool check_or_make(struct journal *j, const struct kept *k)
{
    if (!file_good(j, k))
        return make_again(j, k);
    mark(j, k->base);
    return true;
}

/* The newest segment whose file was not looked at; not while one that is full
 * waits with its entries in memory. */
static bool find_unsure(struct journal *j, struct kept *k)
{
    bool found = false;

    pthread_mutex_lock(&j->lock);
    for (size_t i = j->n_kept; i-- && !found && !j->closing;) {
        found = !j->kept[i].has_ids;
        *k = j->kept[i];
    }
    pthread_mutex_unlock(&j->lock);
    return found;
}

/* ---- files whose segment is gone ---- */

static void add_orphan(struct journal *j, struct orphan o)
{
    if (j->n_orphans == j->cap_orphans) {
        j->cap_orphans = j->cap_orphans ? 2 * j->cap_orphans : 64;
        j->orphans = xrealloc(j->orphans,
                              j->cap_orphans * sizeof *j->orphans);
    }
    j->orphans[j->n_orphans++] = o;
    j->orphan_bytes += o.bytes;
}

static void remove_file(struct journal *j, const char *name)
{
    char path[300];

    snprintf(path, sizeof path, IDS_DIR "/%s", name);
    io.unlinkat(j->dir, path, 0);
}

static void note_orphan(struct journal *j, const char *name, uint64_t base)
{
    unsigned char header[IDS_HEADER];
    char path[IDS_NAME];
    struct ids_file f;
    struct stat st;
    int fd;

    ids_name(path, base);
    fd = io.openat(j->dir, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 &&
        io_pread_all(fd, header, sizeof header, 0) == 0 &&
        ids_file_header(header, sizeof header, &f) && f.base == base &&
        memcmp(f.uuid, j->uuid, 16) == 0)
        add_orphan(j, (struct orphan){ base, (uint64_t)st.st_size,
                                       f.time_max });
    else
        remove_file(j, name);
    close(fd);
}

static int by_base(const void *a, const void *b)
{
    const struct orphan *x = a, *y = b;

    return x->base < y->base ? -1 : x->base > y->base;
}

/* Once, in the first round. */
static void list_files(struct journal *j)
{
    uint64_t first = atomic_load(&j->head->first), base;
    uint64_t next = atomic_load(&j->head->durable) + 1;
    struct dirent *entry;
    DIR *d;
    int fd;

    j->ids_listed = true;
    if (mkdirat(j->dir, IDS_DIR, 0700) == 0) {
        io.fsync(j->dir);
        return;
    }
    fd = io.openat(j->dir, IDS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        j->ids_listed = false;
        note_failure(j, first, strerror(errno));
        return;
    }
    while ((entry = readdir(d))) {
        if (!segment_parse(entry->d_name, ".ids", &base)) {
            if (segment_parse(entry->d_name, ".ids.new", &base))
                remove_file(j, entry->d_name);
        } else if (base >= next) {
            remove_file(j, entry->d_name);
        } else if (base < first) {
            note_orphan(j, entry->d_name, base);
        }
    }
    closedir(d);
    if (j->n_orphans)
        qsort(j->orphans, j->n_orphans, sizeof *j->orphans, by_base);
}

static void drop_orphans(struct journal *j)
{
    int64_t since = clock_ms() - atomic_load(&j->ids_keep_ms);
    uint64_t most = atomic_load(&j->ids_keep_bytes);
    size_t n = 0;

    while (n < j->n_orphans && (j->orphan_bytes > most ||
                                j->orphans[n].time_max < since)) {
        char name[IDS_NAME];

        ids_name(name, j->orphans[n].base);
        io.unlinkat(j->dir, name, 0);
        j->orphan_bytes -= j->orphans[n++].bytes;
    }
    if (!n)
        return;
    j->n_orphans -= n;
    memmove(j->orphans, j->orphans + n, j->n_orphans * sizeof *j->orphans);
}

/* ---- for the keeper ---- */

bool keeper_ids_chore(struct journal *j)
{
    struct kept k;

    if (j->ids_retry_ms && clock_mono_ms() < j->ids_retry_ms)
        return false;
    if (!j->ids_listed)
        list_files(j);
    drop_orphans(j);
    return j->ids_listed && find_unsure(j, &k) && check_or_make(j, &k);
}

void keeper_ids_retiring(struct journal *j, struct kept *k)
{
    if (!k->has_ids && k->last >= k->base)
        k->has_ids = check_or_make(j, k);
}

void keeper_ids_retired(struct journal *j, const struct kept *k)
{
    if (k->has_ids && j->ids_listed) /* else the list will have it */
        add_orphan(j, (struct orphan){ k->base, ids_file_bytes(count_of(k)),
                                       k->time_max });
}

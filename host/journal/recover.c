/* SPDX-License-Identifier: Apache-2.0
 *
 * recover.c - open: what the directory holds, AFTER A CRASH of segment.h for
 * the last segment, and quarantine. Headers and footers are read of all
 * segments, contents only of the last and of those without a footer. */
#include "journal/writer.h"

#include "base/crc32c.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)

/* What stands in the directory. */
struct found {
    uint64_t *bases; /* owned, ascending */
    size_t n, cap;
    uint32_t epoch;  /* greatest known */
    uint32_t floor;  /* greatest in the headers read so far */
    uint64_t next;   /* proven by meta and by the shared head */
    uint64_t before; /* base of the segment before, 0: its sum is not known */
    uint32_t sum;    /* of that */
    bool has_uuid;
};

/* ---- journal.meta ---- */

/* Over the old one, which needs no space. It lies in one sector, and one that
 * is damaged all the same is made again from the segments. */
static int overwrite_meta(struct journal *j, const unsigned char *bytes)
{
    int fd = io.openat(j->dir, META_FILE, O_WRONLY | O_CLOEXEC, 0), rc;

    if (fd < 0)
        return -1;
    rc = io_pwrite_all(fd, bytes, META_BYTES, 0);
    if (rc == 0)
        rc = io.fdatasync(fd);
    close(fd);
    return rc;
}

int recover_write_meta(struct journal *j, uint32_t epoch, struct err *e)
{
    unsigned char bytes[META_BYTES];
    uint64_t next = atomic_load(&j->head->durable) + 1;

    meta_put(bytes, j->uuid, epoch, next);
    if (io_replace_file(j->dir, META_FILE, bytes, sizeof bytes, 0600, e) == 0)
        return 0;
    return overwrite_meta(j, bytes); /* a full disk must not keep it shut */
}

/* A meta that is missing or damaged is made again from the segments. */
static void read_meta(struct journal *j, struct found *f)
{
    char *bytes;
    size_t n;

    if (io_read_file(j->dir, META_FILE, META_BYTES, &bytes, &n, NULL) != 0)
        return;
    f->has_uuid = n == META_BYTES &&
                  meta_get((unsigned char *)bytes, j->uuid, &f->epoch,
                           &f->next);
    if (!f->has_uuid)
        log_error("journal: %s is damaged", META_FILE);
    free(bytes);
}

/* ---- the directory ---- */

static int take_lock(struct journal *j, struct err *e)
{
    j->lock_fd = io.openat(j->dir, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC,
                           0600);
    if (j->lock_fd < 0)
        return err_sys(e, "%s cannot be opened", LOCK_FILE);
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_sys(e, "another process writes this journal");
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void note_spare(struct journal *j, const char *name, uint64_t n)
{
    struct stat st;

    if (n > j->spare_serial)
        j->spare_serial = n;
    if (j->n_spares < SPARES_MOST && fstatat(j->dir, name, &st, 0) == 0 &&
        (uint64_t)st.st_size == j->o.segment_bytes)
        j->spares[j->n_spares++] = n;
    else
        io.unlinkat(j->dir, name, 0);
}

static int list(struct journal *j, struct found *f, struct err *e)
{
    int fd = io.openat(j->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t n;

    if (!d)
        return err_sys(e, "the journal's directory cannot be read");
    while ((entry = readdir(d))) {
        if (segment_parse(entry->d_name, ".spare", &n))
            note_spare(j, entry->d_name, n);
        if (segment_parse(entry->d_name, ".new", &n))
            io.unlinkat(j->dir, entry->d_name, 0);
        if (!segment_parse(entry->d_name, ".seg", &n))
            continue;
        if (f->n == f->cap) {
            f->cap = f->cap ? 2 * f->cap : 64;
            f->bases = xrealloc(f->bases, f->cap * sizeof *f->bases);
        }
        f->bases[f->n++] = n;
    }
    closedir(d);
    if (f->n)
        qsort(f->bases, f->n, sizeof *f->bases, by_number);
    return 0;
}

/* ---- what a file really holds ---- */

/* The image of a whole segment, owned by the caller, or NULL; *bad is how
 * many of its bytes the disk will not give. */
static unsigned char *load(struct journal *j, const struct segment *s,
                           size_t *bad)
{
    unsigned char *image = aligned_alloc(SEGMENT_BLOCK, s->size);
    char name[SEGMENT_NAME];
    int fd;

    ASSERT(image);
    segment_name(name, s->base);
    fd = segment_open_truth(j->dir, name);
    if (fd < 0) {
        free(image);
        return NULL;
    }
    *bad = segment_read(fd, image, s->size, 0);
    close(fd);
    if (!*bad)
        return image;
    /* Not every file system means by O_DIRECT what it says. */
    fd = io.openat(j->dir, name, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        *bad = segment_read(fd, image, s->size, 0);
        close(fd);
    }
    if (*bad)
        log_error("journal: %zu bytes of %s cannot be read", *bad, name);
    return image;
}

/* ---- quarantine ---- */

/* Copies bytes aside with a line that says why. A copy that exists is left:
 * the same damage is found at every open while the segment is the last. */
static void quarantine(struct journal *j, const struct segment *s,
                       const unsigned char *bytes, size_t n, uint64_t offset,
                       const char *reason)
{
    char name[96], line[256];
    int fd, len;

    if (mkdirat(j->dir, QUARANTINE, 0700) != 0 && errno != EEXIST)
        return;
    snprintf(name, sizeof name, QUARANTINE "/%020" PRIu64 "-%08" PRIu64 ".bad",
             s->base, offset);
    fd = io.openat(j->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                   0600);
    if (fd < 0)
        return;
    len = snprintf(line, sizeof line,
                   "segment %020" PRIu64 " offset %" PRIu64
                   " bytes %zu: %s\n", s->base, offset, n, reason);
    if (io_write_all(fd, line, (size_t)len) != 0 ||
        io_write_all(fd, bytes, n) != 0 || io.fsync(fd) != 0)
        log_error("journal: %s cannot be written", name);
    close(fd);
}

static void report_losses(struct journal *j, const struct scan *s)
{
    char reason[128];

    for (unsigned i = 0; i < s->losses; i++) {
        const struct scan_loss *l = &s->loss[i];

        snprintf(reason, sizeof reason,
                 "acknowledged records %" PRIu64 " to %" PRIu64
                 " are damaged", l->from, l->to);
        log_error("journal: segment %" PRIu64 ", bytes %" PRIu64 " to %"
                  PRIu64 ": %s; see " QUARANTINE "/", s->seg->base,
                  l->offset, l->end, reason);
        quarantine(j, s->seg, s->data + l->offset, l->end - l->offset,
                   l->offset, reason);
    }
}

/* ---- segments ---- */

/* A damaged header holds no event: what it said follows from the name, the
 * size and the journal. */
static int repair_header(struct journal *j, struct segment *s,
                         const unsigned char *old, uint64_t base,
                         uint32_t epoch, int fd, struct err *e)
{
    unsigned char header[SEGMENT_HEADER];
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_sys(e, "segment %" PRIu64 " cannot be examined", base);
    *s = (struct segment){ .base = base, .size = (uint64_t)st.st_size,
                           .epoch = epoch, .prev_last = base - 1 };
    memcpy(s->uuid, j->uuid, sizeof s->uuid);
    if (!segment_shape(s))
        return err_set(e, "segment %" PRIu64 " has %" PRIu64
                       " bytes, which none can have", base, s->size);
    log_error("journal: the header of segment %" PRIu64 " was damaged", base);
    quarantine(j, s, old, SEGMENT_HEADER, 0, "the header is damaged");
    header_put(header, s);
    if (io_pwrite_all(fd, header, sizeof header, 0) != 0 ||
        io.fdatasync(fd) != 0)
        return err_sys(e, "segment %" PRIu64 " cannot be repaired", base);
    return 0;
}

/* Opens a segment for writing and reads its header. */
static int open_segment(struct journal *j, struct found *f, uint64_t base,
                        struct segment *s, int *fd, struct err *e)
{
    unsigned char header[SEGMENT_HEADER] = { 0 };
    char name[SEGMENT_NAME];
    struct err why;
    int rc;

    segment_name(name, base);
    *fd = io.openat(j->dir, name, O_RDWR | O_CLOEXEC, 0);
    if (*fd < 0)
        return err_sys(e, "%s cannot be opened", name);
    if (io_pread_all(*fd, header, sizeof header, 0) != 0)
        memset(header, 0, sizeof header);
    rc = header_get(header, s, &why);
    if (rc > 0)
        err_set(e, "%s: %s", name, why.text);
    else if (rc < 0)
        rc = repair_header(j, s, header, base, f->floor, *fd, e);
    else if (s->base != base)
        rc = err_set(e, "%s holds segment %" PRIu64, name, s->base);
    else if (f->has_uuid && memcmp(s->uuid, j->uuid, sizeof s->uuid) != 0)
        rc = err_set(e, "%s belongs to another journal", name);
    if (rc != 0) {
        close(*fd);
        return -1;
    }
    memcpy(j->uuid, s->uuid, sizeof s->uuid);
    f->has_uuid = true;
    f->floor = s->epoch;
    if (s->epoch > f->epoch)
        f->epoch = s->epoch;
    return 0;
}

static bool read_footer(int fd, const struct segment *s,
                        struct segment_index *ix)
{
    unsigned char bytes[FOOTER_FIXED];

    return io_pread_all(fd, bytes, sizeof bytes, (off_t)s->end) == 0 &&
           footer_fixed(bytes, s, ix);
}

/* Each header says what stood before it: another file under that name, or a
 * restored one, does not go unnoticed. */
static void check_chain(struct found *f, const struct segment *s)
{
    if (f->before && s->prev_sum && s->prev_sum != f->sum)
        log_error("journal: segment %" PRIu64 " is not the one that stood"
                  " before segment %" PRIu64, f->before, s->base);
    f->before = 0;
}

/* A segment that is not the last; `next` is the base of the one behind. */
static int recover_sealed(struct journal *j, struct found *f,
                          const struct segment *s, int fd, uint64_t next,
                          struct err *e)
{
    struct segment_index ix;
    struct scan scan = { .seg = s, .attested = next - 1, .limit = next };

    check_chain(f, s);
    if (!read_footer(fd, s, &ix)) {
        size_t bad;
        unsigned char *image = load(j, s, &bad);

        if (!image)
            return err_sys(e, "segment %" PRIu64 " cannot be read", s->base);
        index_init(&ix, s);
        scan.data = image;
        scan.ix = &ix;
        segment_scan(&scan);
        report_losses(j, &scan);
        f->before = scan.losses || bad ? 0 : s->base;
        if (!bad && keeper_write_footer(fd, s, &ix) != 0)
            log_warn("journal: segment %" PRIu64 " stays without footer",
                     s->base);
        index_deinit(&ix);
        free(image);
    } else {
        f->before = s->base;
    }
    f->sum = ix.sum;
    keeper_add(j, (struct kept){ .base = s->base, .last = next - 1,
                                 .bytes = s->size, .time_max = ix.time_max,
                                 .epoch = s->epoch });
    atomic_fetch_add(&j->head->bytes, s->size);
    return 0;
}

static int zero_rest(int fd, const struct segment *s, uint64_t from)
{
    unsigned char *zeros = xcalloc(1, PIECE);
    int rc = 0;

    for (uint64_t n; from < s->size && rc == 0; from += n) {
        n = s->size - from < PIECE ? s->size - from : PIECE;
        rc = io_pwrite_all(fd, zeros, n, (off_t)from);
    }
    free(zeros);
    return rc == 0 ? io.fsync(fd) : rc;
}

/* Case (d): nothing is written to it, and nothing is cut off. */
static int leave_tail(struct journal *j, struct found *f, size_t bad)
{
    struct active *a = &j->active;

    f->next += bad / RECORD_HEADER + 1;
    keeper_add(j, (struct kept){ .base = a->seg.base, .last = f->next - 1,
                                 .bytes = a->seg.size,
                                 .time_max = a->ix.time_max,
                                 .epoch = a->seg.epoch });
    close(a->fd);
    a->fd = -1;
    return 0;
}

static int recover_tail(struct journal *j, struct found *f,
                        const struct segment *s, int fd, struct err *e)
{
    struct active *a = &j->active;
    struct scan scan = { .seg = s, .ix = &a->ix,
                         .attested = f->next ? f->next - 1 : 0 };
    size_t bad;
    unsigned char *image = load(j, s, &bad);

    if (!image)
        return err_sys(e, "segment %" PRIu64 " cannot be read", s->base);
    check_chain(f, s);
    *a = (struct active){ .fd = fd, .seg = *s };
    index_init(&a->ix, s);
    scan.data = image;
    segment_scan(&scan);
    report_losses(j, &scan);
    free(image);
    a->at = scan.end;
    a->sum = a->ix.sum;
    a->ix.last = scan.next - 1;
    if (scan.epoch > f->epoch)
        f->epoch = scan.epoch;
    if (scan.next > f->next)
        f->next = scan.next;
    atomic_fetch_add(&j->head->bytes, s->size);
    if (a->ix.count)
        atomic_store(&j->oldest, a->ix.time_min);
    if (bad)
        return leave_tail(j, f, bad);
    if (zero_rest(fd, s, scan.end) != 0)
        return err_sys(e, "segment %" PRIu64 " cannot be cleaned", s->base);
    return 0;
}

static int recover_segments(struct journal *j, struct found *f, struct err *e)
{
    for (size_t i = 0; i < f->n; i++) {
        bool last = i + 1 == f->n;
        struct segment s;
        int fd;

        if (open_segment(j, f, f->bases[i], &s, &fd, e) != 0)
            return -1;
        if (last)
            return recover_tail(j, f, &s, fd, e); /* owns fd from here */
        if (recover_sealed(j, f, &s, fd, f->bases[i + 1], e) != 0) {
            close(fd);
            return -1;
        }
        close(fd);
    }
    return 0;
}

static void publish(struct journal *j, const struct found *f)
{
    struct journal_head *h = j->head;
    bool tail = j->active.fd >= 0;

    atomic_store(&h->first, f->n ? f->bases[0] : f->next);
    atomic_store(&h->tail_epoch, tail ? j->active.seg.epoch : 0);
    atomic_store(&h->tail, tail ? j->active.seg.base : 0);
    atomic_store(&h->tail_end, tail ? j->active.at : 0);
    atomic_store(&h->poisoned, 0);
    atomic_store(&h->full, 0);
    atomic_store_explicit(&h->durable, f->next - 1, memory_order_release);
}

int recover_open(struct journal *j, struct err *e)
{
    uint64_t before = atomic_load(&j->head->durable);
    struct found f = { 0 };
    int rc = -1;

    if (take_lock(j, e) != 0)
        return -1;
    read_meta(j, &f);
    if (f.next < before + 1)
        f.next = before + 1;
    atomic_store(&j->head->bytes, 0);
    if (list(j, &f, e) != 0)
        goto out;
    if (!f.n && !f.has_uuid)
        random_bytes(j->uuid, sizeof j->uuid);
    j->active.ix.last = f.next - 1;
    if (recover_segments(j, &f, e) != 0)
        goto out;
    publish(j, &f);
    j->next = f.next;
    j->epoch = f.epoch + 1;
    j->active.ix.last = f.next - 1;
    j->seed = crc32c(0, j->uuid, sizeof j->uuid);
    rc = recover_write_meta(j, j->epoch, e);
out:
    free(f.bases);
    return rc;
}

void recover_verify(struct journal *j, const struct segment *s,
                    uint64_t durable)
{
    struct segment_index ix;
    struct scan scan = { .seg = s, .ix = &ix, .attested = durable,
                         .limit = durable + 1 };
    size_t bad;
    unsigned char *image = load(j, s, &bad);

    if (!image)
        return;
    index_init(&ix, s);
    scan.data = image;
    segment_scan(&scan);
    report_losses(j, &scan);
    index_deinit(&ix);
    free(image);
}

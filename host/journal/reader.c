/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.c - reading the journal from its files and the shared head alone.
 *
 * Owns the descriptor of the segment it stands in; the bytes are in a cache,
 * its own or shared. That file may be retired and written anew at any time:
 * head->first is loaded after every read, and bytes of a segment below it are
 * thrown away unseen. Every record is checked before it is given. Writes
 * nothing. */
#include "journal/cache.h"

#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Foreign records in a row before the segment's index is asked. */
#define FOREIGN_RUN 128
/* A segment that vanishes while it is opened is looked for again. */
#define TRIES 8

struct journal_reader {
    int dir; /* borrowed */
    const struct journal_head *head;
    uint64_t seq; /* of the next record to be given; 0: the oldest */
    struct journal_pos hint, last;
    bool trusting; /* stands where the hint said, nothing read there yet */

    int fd; /* -1: none is open */
    struct segment seg;
    uint64_t end_seq;  /* its last sequence, 0: it is the tail */
    uint64_t here, at; /* what is expected, and where */
    bool indexed;      /* ix was looked for */
    struct segment_index ix;
    unsigned foreign;
    bool has_uuid;
    unsigned char uuid[16];

    struct journal_cache *cache;
    bool own_cache;
    struct cache_block *pinned; /* holds the record last given, or NULL */
    unsigned char *joined;      /* owned; a record from several blocks */
    size_t joined_cap;
};

/* The outcome of a step inward. */
enum step { STEP_ON, STEP_RECORD, STEP_LOST, STEP_ERROR };

static uint64_t first_kept(const struct journal_reader *r)
{
    return atomic_load(&r->head->first);
}

static bool is_tail(const struct journal_reader *r)
{
    return atomic_load(&r->head->tail) == r->seg.base &&
           atomic_load(&r->head->tail_epoch) == r->seg.epoch;
}

static void close_segment(struct journal_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    index_deinit(&r->ix);
    r->indexed = r->trusting = false;
    r->foreign = 0;
}

/* ---- opening ---- */

/* The journal's uuid, for a segment whose own header cannot be read. */
static bool know_uuid(struct journal_reader *r)
{
    uint32_t epoch;
    uint64_t next;
    char *bytes;
    size_t n;

    if (r->has_uuid)
        return true;
    if (io_read_file(r->dir, "journal.meta", META_BYTES, &bytes, &n, NULL))
        return false;
    r->has_uuid = n == META_BYTES && meta_get((unsigned char *)bytes, r->uuid,
                                              &epoch, &next);
    free(bytes);
    return r->has_uuid;
}

static int by_name(struct journal_reader *r, uint64_t base, struct err *e)
{
    struct stat st;

    if (!know_uuid(r) || fstat(r->fd, &st) != 0)
        return err_set(e, "segment %" PRIu64 " has no readable header", base);
    r->seg = (struct segment){ .base = base, .size = (uint64_t)st.st_size };
    memcpy(r->seg.uuid, r->uuid, sizeof r->uuid);
    if (!segment_shape(&r->seg))
        return err_set(e, "segment %" PRIu64 " has %" PRIu64
                       " bytes, which none can have", base, r->seg.size);
    return 0;
}

/* 0, 1 when there is no such file (any more), or -1. */
static int open_base(struct journal_reader *r, uint64_t base, struct err *e)
{
    unsigned char header[SEGMENT_HEADER];
    char name[SEGMENT_NAME];
    int rc;

    close_segment(r);
    segment_name(name, base);
    r->fd = io.openat(r->dir, name, O_RDONLY | O_CLOEXEC, 0);
    if (r->fd < 0)
        return errno == ENOENT ? 1 : err_sys(e, "%s cannot be opened", name);
    rc = io_pread_all(r->fd, header, sizeof header, 0) != 0
             ? -1 : header_get(header, &r->seg, e);
    if (rc < 0)
        rc = by_name(r, base, e);
    else if (rc > 0)
        rc = -1;
    else if (r->seg.base != base)
        rc = 1; /* recycled under this name's last moment */
    if (rc != 0) {
        close_segment(r);
        return rc;
    }
    memcpy(r->uuid, r->seg.uuid, sizeof r->uuid);
    r->has_uuid = true;
    r->here = base;
    r->at = SEGMENT_HEADER;
    return 0;
}

/* A segment that is not the tail ends where the next begins. 0, 1 when the
 * file is not the one that bears the name any more, or -1. */
static int settle_end(struct journal_reader *r, struct err *e)
{
    char name[SEGMENT_NAME];
    uint64_t below, above;
    struct stat mine, named;

    r->end_seq = 0;
    if (is_tail(r))
        return 0;
    segment_name(name, r->seg.base);
    if (fstat(r->fd, &mine) != 0 ||
        fstatat(r->dir, name, &named, 0) != 0 ||
        mine.st_ino != named.st_ino)
        return 1;
    if (segment_neighbours(r->dir, r->seg.base, &below, &above) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    if (!above && atomic_load(&r->head->tail))
        return is_tail(r) ? 0 : 1;
    /* Without a tail everything durable is in segments that are closed. */
    r->end_seq = above ? above - 1 : atomic_load(&r->head->durable);
    return 0;
}

static void load_index(struct journal_reader *r)
{
    size_t n = footer_bytes(&r->seg);
    unsigned char *bytes;

    if (r->indexed || r->end_seq == 0)
        return;
    r->indexed = true;
    bytes = xmalloc(n);
    if (io_pread_all(r->fd, bytes, n, (off_t)r->seg.end) == 0 &&
        !footer_get(bytes, &r->seg, &r->ix))
        r->ix.chunks = NULL;
    free(bytes);
}

/* Where to begin to look for r->seq: the hint, or the index. */
static void approach(struct journal_reader *r)
{
    if (r->hint.seq == r->seq && r->hint.segment == r->seg.base &&
        r->hint.offset >= SEGMENT_HEADER && r->hint.offset % 8 == 0 &&
        r->hint.offset < r->seg.end) {
        r->here = r->seq;
        r->at = r->hint.offset;
        r->trusting = true;
        return;
    }
    if (r->seq - r->here < FOREIGN_RUN)
        return;
    load_index(r);
    for (uint32_t k = 0; r->ix.chunks && k < r->ix.n; k++) {
        const struct chunk *c = &r->ix.chunks[k];

        if (c->seq > r->seq)
            break;
        if (c->seq) {
            r->here = c->seq;
            r->at = c->offset;
        }
    }
}

static int pick(struct journal_reader *r, uint64_t *above, struct err *e)
{
    uint64_t below;
    int rc;

    if (r->hint.segment && r->hint.segment <= r->seq) {
        rc = open_base(r, r->hint.segment, e);
        if (rc <= 0)
            return rc;
    }
    rc = open_base(r, r->seq, e);
    if (rc <= 0)
        return rc;
    if (segment_neighbours(r->dir, r->seq, &below, above) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    return below ? open_base(r, below, e) : 1;
}

/* Opens the segment that has, or must have had, r->seq. */
static enum step enter(struct journal_reader *r, uint64_t *lost_to,
                       struct err *e)
{
    uint64_t above = 0;
    int rc = 1;

    for (int i = 0; i < TRIES && rc > 0; i++) {
        if (r->seq < first_kept(r))
            return STEP_ON;
        rc = pick(r, &above, e);
        if (rc == 0)
            rc = settle_end(r, e);
        if (rc == 0 && r->end_seq && r->seq > r->end_seq) {
            r->hint.segment = 0; /* a hint that is wrong */
            rc = 1;
        }
    }
    if (rc == 0) {
        approach(r);
        return STEP_ON;
    }
    close_segment(r);
    if (rc > 0 && above) {
        *lost_to = above - 1;
        return STEP_LOST;
    }
    if (rc > 0)
        err_set(e, "no segment has record %" PRIu64, r->seq);
    return STEP_ERROR;
}

/* ---- bytes ---- */

/* Where the bytes end that may be looked at. In the tail that is what was
 * durable; r->head->durable has been loaded before. False: it was the tail
 * and is none any more. */
static bool limit(const struct journal_reader *r, uint64_t *end)
{
    *end = r->end_seq ? r->seg.end : atomic_load(&r->head->tail_end);
    return r->end_seq || is_tail(r);
}

static void unpin(struct journal_reader *r)
{
    if (r->pinned)
        r->pinned->pins--;
    r->pinned = NULL;
}

/* The block with `at`, pinned, holding n bytes from there. */
static struct cache_block *pin(struct journal_reader *r, uint64_t at,
                               size_t n, uint64_t end)
{
    uint32_t index = (uint32_t)(at / CACHE_BLOCK);
    size_t need = at % CACHE_BLOCK + n;
    struct cache_block *b = r->pinned;

    if (b && b->index == index && b->len >= need && b->base == r->seg.base &&
        b->epoch == r->seg.epoch)
        return b;
    unpin(r);
    b = cache_get(r->cache, r->fd, &r->seg, index, need, end);
    if (b)
        b->pins++;
    r->pinned = b;
    return b;
}

/* n bytes at `at`, or NULL when they cannot be read or may be of another
 * life of the file. */
static const unsigned char *view(struct journal_reader *r, uint64_t at,
                                 size_t n, uint64_t end)
{
    size_t in = at % CACHE_BLOCK;
    struct cache_block *b;

    if (in + n <= CACHE_BLOCK) {
        b = pin(r, at, n, end);
        return b ? b->data + in : NULL;
    }
    if (n > r->joined_cap) {
        r->joined_cap = n;
        free(r->joined);
        r->joined = xmalloc(n);
    }
    for (size_t k = 0, part; k < n; k += part) {
        in = (at + k) % CACHE_BLOCK;
        part = CACHE_BLOCK - in < n - k ? CACHE_BLOCK - in : n - k;
        b = pin(r, at + k, part, end);
        if (!b)
            return NULL;
        memcpy(r->joined + k, b->data + in, part);
    }
    return r->joined;
}

/* record_get(), but a sum that somebody found right is not built again. */
static bool checked(struct journal_reader *r, const unsigned char *p,
                    size_t size, struct record *rec)
{
    struct cache_block *b = r->pinned;
    bool whole = p != r->joined && !r->trusting;

    if (whole && r->at >= b->checked_from && r->at + size <= b->checked_to) {
        record_fields(p, rec);
        return true;
    }
    if (!record_get(p, size, rec, r->seg.seed))
        return false;
    if (!whole)
        return true;
    if (r->at > b->checked_to + BATCH_HEADER || r->at < b->checked_to)
        b->checked_from = r->at;
    b->checked_to = r->at + size;
    return true;
}

/* ---- damage ---- */

/* Looks on for the next thing that is valid. */
static enum step resync(struct journal_reader *r, uint64_t end,
                        uint64_t durable, uint64_t *lost_to, struct err *e)
{
    uint64_t most = r->end_seq ? r->end_seq : durable, seq, from = r->at;
    size_t n = end > from ? end - from : 0, at = n;
    unsigned char *rest = xmalloc(n + 8);

    segment_read(r->fd, rest, n, from);
    if (r->seg.base < first_kept(r)) {
        free(rest);
        close_segment(r);
        return STEP_ON;
    }
    at = segment_resync(rest, n, 0, r->here, most, r->seg.epoch, r->seg.seed,
                        &seq);
    free(rest);
    r->at = from + at;
    r->here = seq;
    if (seq > r->seq) {
        *lost_to = seq - 1;
        err_set(e, "segment %" PRIu64 ", bytes %" PRIu64 " to %" PRIu64
                " are damaged", r->seg.base, from, r->at);
        return STEP_LOST;
    }
    if (at == 0)
        return err_set(e, "segment %" PRIu64 ", byte %" PRIu64
                       ": cannot be read", r->seg.base, from), STEP_ERROR;
    return STEP_ON;
}

/* ---- one step ---- */

/* Over whole chunks without a record of `source`. */
static void skip_chunks(struct journal_reader *r, uint32_t source)
{
    uint32_t k = (uint32_t)(r->at / r->seg.chunk);

    if (++r->foreign < FOREIGN_RUN)
        return;
    load_index(r);
    if (!r->ix.chunks || chunk_has(&r->ix.chunks[k], source))
        return;
    while (k < r->ix.n && !chunk_has(&r->ix.chunks[k], source))
        k++;
    r->at = k < r->ix.n ? r->ix.chunks[k].offset : r->seg.end;
    r->here = k < r->ix.n ? r->ix.chunks[k].seq : r->end_seq + 1;
    if (r->here > r->seq)
        r->seq = r->here;
}

/* Takes what stands at r->at. */
static enum step take(struct journal_reader *r, uint64_t end,
                      struct record *rec)
{
    uint64_t rest = end > r->at ? end - r->at : 0;
    const unsigned char *p;
    struct batch b;
    size_t size;

    if (rest < BATCH_HEADER)
        return STEP_LOST;
    p = view(r, r->at, BATCH_HEADER, end);
    if (p && batch_get(p, BATCH_HEADER, &b, r->seg.seed) &&
        b.first == r->here && b.epoch >= r->seg.epoch) {
        r->at += BATCH_HEADER;
        return STEP_ON;
    }
    p = rest < RECORD_HEADER ? NULL : view(r, r->at, RECORD_HEADER, end);
    size = p ? record_size(p, RECORD_HEADER) : 0;
    p = size && size <= rest ? view(r, r->at, size, end) : NULL;
    if (!p || !checked(r, p, size, rec) ||
        rec->r.seq != r->here || rec->epoch < r->seg.epoch)
        return STEP_LOST;
    return STEP_RECORD;
}

/* One item, or the way around damage. */
static enum step step(struct journal_reader *r, uint64_t durable,
                      struct record *rec, uint64_t *lost_to, struct err *e)
{
    enum step s;
    uint64_t end;

    if (!limit(r, &end))
        return STEP_ON;
    s = take(r, end, rec);
    if (s != STEP_LOST) {
        r->trusting = false;
        return s;
    }
    if (r->seg.base < first_kept(r))
        return STEP_ON;
    if (r->trusting) {
        /* A position from elsewhere may be wrong: begin at the index. */
        r->hint = (struct journal_pos){ 0 };
        close_segment(r);
        return STEP_ON;
    }
    return resync(r, end, durable, lost_to, e);
}

static enum journal_read lost(struct journal_reader *r, uint64_t to,
                              uint64_t *lost_from, uint64_t *lost_to)
{
    *lost_from = r->seq;
    *lost_to = to;
    r->seq = to + 1;
    return JOURNAL_LOST;
}

/* Steps over the record at hand; true if it is one to give. */
static bool accept(struct journal_reader *r, const struct record *rec,
                   uint32_t source)
{
    bool wanted = r->here == r->seq &&
                  (source == 0 || rec->r.source == source);

    if (wanted) {
        r->last = (struct journal_pos){ r->here, r->seg.base, r->at };
        r->foreign = 0;
    }
    if (r->here == r->seq)
        r->seq++;
    r->here++;
    r->at += rec->bytes;
    return wanted;
}

/* ---- public ---- */

struct journal_reader *journal_reader_shared(struct journal_cache *c)
{
    struct journal_reader *r = xcalloc(1, sizeof *r);

    r->dir = c->dir;
    r->head = c->head;
    r->cache = c;
    r->fd = -1;
    return r;
}

struct journal_reader *journal_reader_new(int dir,
                                          const struct journal_head *head)
{
    struct journal_cache *c = journal_cache_new(dir, head, 1);
    struct journal_reader *r = journal_reader_shared(c);

    r->own_cache = true;
    return r;
}

void journal_reader_free(struct journal_reader *r)
{
    close_segment(r);
    unpin(r);
    if (r->own_cache)
        journal_cache_free(r->cache);
    free(r->joined);
    free(r);
}

void journal_seek(struct journal_reader *r, struct journal_pos at)
{
    close_segment(r);
    r->seq = at.seq;
    r->hint = at;
}

struct journal_pos journal_tell(const struct journal_reader *r)
{
    if (r->fd >= 0 && r->here == r->seq)
        return (struct journal_pos){ r->seq, r->seg.base, r->at };
    if (r->hint.seq == r->seq)
        return r->hint;
    return (struct journal_pos){ r->seq, 0, 0 };
}

struct journal_pos journal_last(const struct journal_reader *r)
{
    return r->last;
}

/* Makes sure that the segment with r->seq is open and its end known. */
static enum step stand(struct journal_reader *r, uint64_t *to, struct err *e)
{
    if (r->fd >= 0 && r->end_seq == 0 && !is_tail(r) && settle_end(r, e) != 0)
        close_segment(r);
    if (r->fd >= 0 && r->end_seq && r->seq > r->end_seq)
        close_segment(r);
    return r->fd >= 0 ? STEP_ON : enter(r, to, e);
}

enum journal_read journal_next(struct journal_reader *r, uint32_t source,
                               unsigned max_scan, struct journal_record *out,
                               uint64_t *lost_from, uint64_t *lost_to,
                               struct err *e)
{
    unsigned scanned = 0;

    for (;;) {
        uint64_t durable = atomic_load_explicit(&r->head->durable,
                                                memory_order_acquire);
        uint64_t first = first_kept(r), to = 0;
        struct record rec;
        enum step s;

        if (r->seq == 0)
            r->seq = first ? first : 1;
        if (r->seq > durable || (max_scan && scanned >= max_scan))
            return JOURNAL_END;
        if (r->seq < first) {
            close_segment(r);
            return lost(r, first - 1, lost_from, lost_to);
        }
        s = stand(r, &to, e);
        if (s == STEP_ON && r->fd >= 0)
            s = step(r, durable, &rec, &to, e);
        if (s == STEP_ERROR)
            return JOURNAL_ERROR;
        if (s == STEP_LOST)
            return lost(r, to, lost_from, lost_to);
        if (s != STEP_RECORD)
            continue;
        scanned += r->here == r->seq;
        if (accept(r, &rec, source)) {
            *out = rec.r;
            return JOURNAL_RECORD;
        }
        if (source && r->end_seq && r->here == r->seq)
            skip_chunks(r, source);
    }
}

/* Where to begin to look for `ms` in the segment that is open; false if its
 * footer says that nothing in it is so late. */
static bool late_enough(struct journal_reader *r, int64_t ms)
{
    load_index(r);
    if (!r->ix.chunks)
        return true;
    for (uint32_t k = 0; k < r->ix.n; k++) {
        const struct chunk *c = &r->ix.chunks[k];

        if (c->seq && c->time_max >= ms) {
            journal_seek(r, (struct journal_pos){ c->seq, r->seg.base,
                                                  c->offset });
            return true;
        }
    }
    return false;
}

/* Reads on to the first record of `ms` or later, or to the end. */
static int walk_to(struct journal_reader *r, int64_t ms,
                   struct journal_pos *out, struct err *e)
{
    struct journal_record rec;
    uint64_t from, to;

    for (;;) {
        enum journal_read got = journal_next(r, 0, 0, &rec, &from, &to, e);

        if (got == JOURNAL_ERROR)
            return -1;
        if (got == JOURNAL_END || (got == JOURNAL_RECORD &&
                                   rec.received_ms >= ms)) {
            *out = got == JOURNAL_END ? journal_tell(r) : r->last;
            return 0;
        }
    }
}

int journal_find_time(struct journal_reader *r, int64_t ms,
                      struct journal_pos *out, struct err *e)
{
    uint64_t seq = first_kept(r), to = seq;

    journal_seek(r, (struct journal_pos){ seq, 0, 0 });
    while (seq && seq <= atomic_load(&r->head->durable)) {
        r->seq = seq;
        if (stand(r, &to, e) == STEP_ERROR)
            return -1;
        if (r->fd < 0) { /* retired, or a gap: from what is left */
            uint64_t first = first_kept(r);

            seq = first > seq ? first : to + 1;
            continue;
        }
        if (r->end_seq == 0 || late_enough(r, ms))
            break;
        seq = r->end_seq + 1;
    }
    return walk_to(r, ms, out, e);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * ids_reader.c - reading id files, and segments that have none yet.
 *
 * Holds what is known of one segment at a time, whole: from its id file, or
 * read from the segment itself. The segment that is being written is read on
 * from where it was left. Files come and go while this reads: what vanished
 * is looked for again under its other name. Writes nothing. */
#include "journal/ids.h"

#include "base/io.h"
#include "base/mem.h"
#include "journal/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES 4

/* A segment's number range, by what is left of it. */
struct span {
    uint64_t base;
    bool file, segment;
};

struct ids_reader {
    int dir; /* borrowed */
    const struct journal_head *head;
    struct journal_head own; /* where nobody gave one */
    struct journal_reader *journal;
    unsigned char uuid[16];
    struct span *spans; /* owned, by base */
    size_t n_spans, cap_spans;
    uint64_t seq, to; /* of ids_next() */

    /* What is at hand: entries for base, base + 1, ... */
    uint64_t base;
    uint32_t count;
    const unsigned char *entries; /* in bytes or scanned; NULL: nothing is */
    unsigned char *bytes;         /* owned; an id file */
    uint64_t scanned_base;        /* of what was read from a segment */
    struct ids_list scanned;
};

static uint64_t durable(const struct ids_reader *r)
{
    return atomic_load_explicit(&r->head->durable, memory_order_acquire);
}

/* ---- the directories ---- */

static void add_span(struct ids_reader *r, uint64_t base, bool file)
{
    if (r->n_spans == r->cap_spans) {
        r->cap_spans = r->cap_spans ? 2 * r->cap_spans : 64;
        r->spans = xrealloc(r->spans, r->cap_spans * sizeof *r->spans);
    }
    r->spans[r->n_spans++] = (struct span){ base, file, !file };
}

static int list_dir(struct ids_reader *r, const char *path, const char *suffix,
                    bool file)
{
    int fd = io.openat(r->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t n;

    if (!d)
        return -1;
    while ((entry = readdir(d)))
        if (segment_parse(entry->d_name, suffix, &n) && n)
            add_span(r, n, file);
    closedir(d);
    return 0;
}

static int by_base(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    return x->base < y->base ? -1 : x->base > y->base;
}

/* Segments first: one that is retired in between has its file by then. */
static int list_spans(struct ids_reader *r, struct err *e)
{
    size_t kept = 0;

    r->n_spans = 0;
    if (list_dir(r, ".", ".seg", false) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    if (list_dir(r, IDS_DIR, ".ids", true) != 0 && errno != ENOENT)
        return err_sys(e, "the journal's " IDS_DIR "/ cannot be read");
    if (r->n_spans)
        qsort(r->spans, r->n_spans, sizeof *r->spans, by_base);
    for (size_t i = 0; i < r->n_spans; i++) {
        if (kept && r->spans[kept - 1].base == r->spans[i].base) {
            r->spans[kept - 1].file |= r->spans[i].file;
            r->spans[kept - 1].segment |= r->spans[i].segment;
        } else {
            r->spans[kept++] = r->spans[i];
        }
    }
    r->n_spans = kept;
    return 0;
}

/* The last span that begins at or below seq, or NULL; *last is where it must
 * end. */
static const struct span *span_of(const struct ids_reader *r, uint64_t seq,
                                  uint64_t *last)
{
    size_t n = r->n_spans;

    *last = durable(r);
    while (n && r->spans[n - 1].base > seq)
        n--;
    if (n < r->n_spans && r->spans[n].base - 1 < *last)
        *last = r->spans[n].base - 1;
    return n ? &r->spans[n - 1] : NULL;
}

/* ---- one segment ---- */

/* False when the segment is there and of another epoch. */
static bool same_epoch(const struct ids_reader *r, const struct ids_file *f)
{
    unsigned char header[SEGMENT_HEADER];
    char name[SEGMENT_NAME];
    struct segment s;
    bool same = true;
    int fd;

    segment_name(name, f->base);
    fd = io.openat(r->dir, name, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return true;
    if (io_pread_all(fd, header, sizeof header, 0) == 0 &&
        header_get(header, &s, NULL) == 0 && s.base == f->base)
        same = s.epoch == f->epoch;
    close(fd);
    return same;
}

/* From the id file: 1, or 0 when it is not there, not whole, or not of what
 * now bears the number. */
static int read_file(struct ids_reader *r, const struct span *s,
                     uint64_t last)
{
    uint32_t damaged = 0;
    struct ids_file f;
    char name[IDS_NAME], *bytes;
    size_t n;

    ids_name(name, s->base);
    if (io_read_file(r->dir, name, ids_file_bytes(IDS_COUNT_MOST), &bytes, &n,
                     NULL) != 0)
        return 0;
    if (!ids_file_check((unsigned char *)bytes, n, &f, &damaged) ||
        memcmp(f.uuid, r->uuid, 16) != 0 || f.base != s->base || !f.count ||
        (s->segment && (damaged || f.base + f.count - 1 != last ||
                        !same_epoch(r, &f)))) {
        free(bytes);
        return 0;
    }
    free(r->bytes);
    r->bytes = (unsigned char *)bytes;
    r->base = f.base;
    r->count = f.count;
    r->entries = r->bytes + ids_file_entries(f.count);
    return 1;
}

/* From the segment: 1, 0 when it is gone, or -1. Numbers that damage took
 * stay as lost. */
static int read_segment(struct ids_reader *r, const struct span *s,
                        uint64_t last, struct err *e)
{
    struct ids_list *l = &r->scanned;
    uint64_t from, to;
    struct journal_record rec;

    if (r->scanned_base != s->base)
        l->n = 0;
    r->scanned_base = s->base;
    r->entries = NULL;
    if (last - s->base >= IDS_COUNT_MOST)
        last = s->base + IDS_COUNT_MOST - 1;
    if (s->base + l->n != journal_tell(r->journal).seq)
        journal_seek(r->journal,
                     (struct journal_pos){ s->base + l->n, s->base, 0 });
    while (s->base + l->n <= last) {
        enum journal_read got = journal_next(r->journal, 0, 0, &rec, &from,
                                             &to, e);

        if (got == JOURNAL_ERROR)
            return -1;
        if (got == JOURNAL_END)
            break;
        if (got == JOURNAL_LOST && from < atomic_load(&r->head->first))
            return 0;
        if (got == JOURNAL_LOST)
            ids_list_fill(l, (uint32_t)((to < last ? to : last) + 1 -
                                        s->base));
        else
            ids_list_add(l, s->base, &rec);
    }
    r->base = s->base;
    r->count = l->n;
    r->entries = l->bytes;
    return r->count != 0;
}

/* What is known of the last span at or below seq: 1, 0, -1. */
static int load(struct ids_reader *r, uint64_t seq, struct err *e)
{
    uint64_t last;

    for (int i = 0; i < TRIES; i++) {
        const struct span *s;
        int rc;

        if (list_spans(r, e) != 0)
            return -1;
        s = span_of(r, seq, &last);
        if (!s || last < s->base)
            return 0;
        if (s->file && read_file(r, s, last))
            return 1;
        rc = s->segment ? read_segment(r, s, last, e) : 0;
        if (rc != 0)
            return rc;
        if (!s->segment) { /* damaged, or removed since: take the one below */
            r->entries = NULL;
            return 0;
        }
    }
    return 0;
}

static bool at_hand(const struct ids_reader *r, uint64_t seq)
{
    return r->entries && seq >= r->base && seq - r->base < r->count;
}

/* 1 when the entry of seq is at hand, 0 when nothing is known up to *to. */
static int find(struct ids_reader *r, uint64_t seq, uint64_t *to,
                struct err *e)
{
    int rc;

    if (at_hand(r, seq))
        return 1;
    rc = load(r, seq, e);
    if (rc < 0 || at_hand(r, seq))
        return rc;
    span_of(r, seq, to);
    if (*to < seq)
        *to = seq;
    return 0;
}

static const unsigned char *entry_of(const struct ids_reader *r, uint64_t seq)
{
    return r->entries + (seq - r->base) * IDS_ENTRY;
}

/* ---- a directory without its writer ---- */

static int scan_last(struct ids_reader *r, uint64_t base, struct err *e)
{
    unsigned char header[SEGMENT_HEADER], *image = NULL;
    struct segment_index ix = { 0 };
    struct segment s;
    struct scan scan = { .seg = &s, .ix = &ix };
    char name[SEGMENT_NAME];
    int fd, rc = -1;

    segment_name(name, base);
    fd = io.openat(r->dir, name, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, "%s cannot be opened", name);
    if (io_pread_all(fd, header, sizeof header, 0) != 0 ||
        header_get(header, &s, e) != 0) {
        err_set(e, "the header of %s cannot be read; the server repairs it"
                " when it starts", name);
        goto out;
    }
    image = xmalloc(s.size);
    segment_read(fd, image, s.size, 0);
    index_init(&ix, &s);
    scan.data = image;
    segment_scan(&scan);
    atomic_store(&r->own.tail, s.base);
    atomic_store(&r->own.tail_epoch, s.epoch);
    atomic_store(&r->own.tail_end, scan.end);
    atomic_store(&r->own.durable, scan.next - 1);
    rc = 0;
out:
    index_deinit(&ix);
    free(image);
    close(fd);
    return rc;
}

static int look_around(struct ids_reader *r, struct err *e)
{
    uint64_t below, above;

    if (segment_neighbours(r->dir, 0, &below, &above) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    atomic_store(&r->own.first, above);
    if (segment_neighbours(r->dir, UINT64_MAX, &below, &above) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    return below ? scan_last(r, below, e) : 0;
}

/* ---- public ---- */

struct ids_reader *ids_reader_new(int dir, const struct journal_head *head,
                                  struct err *e)
{
    struct ids_reader *r = xcalloc(1, sizeof *r);

    r->dir = dir;
    r->head = head ? head : &r->own;
    if (ids_uuid(dir, r->uuid, e) != 0 ||
        (!head && look_around(r, e) != 0)) {
        free(r);
        return NULL;
    }
    r->journal = journal_reader_new(dir, r->head);
    return r;
}

void ids_reader_free(struct ids_reader *r)
{
    if (!r)
        return;
    journal_reader_free(r->journal);
    free(r->spans);
    free(r->bytes);
    ids_list_free(&r->scanned);
    free(r);
}

void ids_seek(struct ids_reader *r, uint64_t from, uint64_t to)
{
    r->seq = from;
    r->to = to ? to : UINT64_MAX;
}

/* From the first number of which something is left. */
static int begin(struct ids_reader *r, struct err *e)
{
    if (r->seq)
        return 0;
    if (list_spans(r, e) != 0)
        return -1;
    r->seq = r->n_spans ? r->spans[0].base : 1;
    return 0;
}

/* The end of the numbers from `seq` on that a damaged block hides. */
static uint64_t hidden_to(const struct ids_reader *r, uint64_t seq)
{
    struct ids_entry one;

    while (at_hand(r, seq + 1)) {
        ids_get(entry_of(r, seq + 1), &one);
        if (one.source || one.flags != IDS_HIDDEN)
            break;
        seq++;
    }
    return seq;
}

enum ids_read ids_next(struct ids_reader *r, uint64_t *seq, uint64_t *to,
                       struct ids_entry *entry, struct err *e)
{
    int rc;

    if (begin(r, e) != 0)
        return IDS_ERROR;
    if (r->seq > r->to || r->seq > durable(r))
        return IDS_END;
    *seq = r->seq;
    rc = find(r, r->seq, to, e);
    if (rc < 0)
        return IDS_ERROR;
    if (rc > 0) {
        ids_get(entry_of(r, r->seq), entry);
        *to = r->seq;
        if (!entry->source && entry->flags == IDS_HIDDEN) {
            *to = hidden_to(r, r->seq);
            rc = 0;
        }
    }
    if (*to > r->to)
        *to = r->to;
    r->seq = *to + 1;
    return rc ? IDS_ENTRY_READ : IDS_UNKNOWN;
}

/* The entries at hand from `seq` up to `to`; returns the last one counted. */
static uint64_t count_at_hand(const struct ids_reader *r, uint32_t source,
                              uint64_t seq, uint64_t to, struct ids_count *out)
{
    uint64_t last = r->base + r->count - 1;

    if (last > to)
        last = to;
    for (; seq <= last; seq++) {
        struct ids_entry one;

        ids_get(entry_of(r, seq), &one);
        out->count += one.source == source;
        out->unknown += !one.source && one.flags == IDS_HIDDEN;
        out->lost += !one.source && one.flags != IDS_HIDDEN;
    }
    return last;
}

int ids_count(struct ids_reader *r, uint32_t source, uint64_t from,
              uint64_t to, struct ids_count *out, struct err *e)
{
    uint64_t most = durable(r), last;

    memset(out, 0, sizeof *out);
    ASSERT(source);
    if (to > most)
        to = most;
    for (uint64_t seq = from ? from : 1; seq <= to; seq = last + 1) {
        int rc = find(r, seq, &last, e);

        if (rc < 0)
            return -1;
        if (rc > 0) {
            last = count_at_hand(r, source, seq, to, out);
            continue;
        }
        if (last > to)
            last = to;
        out->unknown += last + 1 - seq;
    }
    return 0;
}

int ids_below(struct ids_reader *r, uint64_t seq, uint64_t *base,
              const unsigned char **entries, size_t *n, struct err *e)
{
    if (seq > durable(r))
        seq = durable(r);
    while (seq) {
        const struct span *s;
        uint64_t last;
        int rc = load(r, seq, e);

        if (rc < 0)
            return -1;
        if (rc > 0 && r->base <= seq) {
            *base = r->base;
            *entries = r->entries;
            *n = r->count;
            return 1;
        }
        s = span_of(r, seq, &last);
        if (!s)
            return 0;
        seq = s->base - 1;
    }
    return 0;
}

/* False when the file says that nothing in it came at `ms` or later. */
static bool reaches(const struct ids_reader *r, const struct span *s,
                    int64_t ms)
{
    unsigned char header[IDS_HEADER];
    struct ids_file f = { .time_max = INT64_MAX };
    char name[IDS_NAME];
    int fd;

    ids_name(name, s->base);
    fd = s->file ? io.openat(r->dir, name, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return true;
    if (io_pread_all(fd, header, sizeof header, 0) != 0 ||
        !ids_file_header(header, sizeof header, &f))
        f.time_max = INT64_MAX;
    close(fd);
    return f.time_max >= ms;
}

uint64_t ids_since(struct ids_reader *r, int64_t ms)
{
    uint64_t next = durable(r) + 1, sum = 0;

    if (list_spans(r, NULL) != 0)
        return 0;
    for (size_t n = r->n_spans; n && reaches(r, &r->spans[n - 1], ms); n--)
        if (r->spans[n - 1].base < next) {
            sum += next - r->spans[n - 1].base;
            next = r->spans[n - 1].base;
        }
    return sum;
}

int ids_find(struct ids_reader *r, const unsigned char hash[16],
             uint64_t *seqs, size_t most, size_t *n, struct err *e)
{
    const unsigned char *entries;
    uint64_t seq = UINT64_MAX, base = 0;
    size_t count;
    int rc;

    *n = 0;
    while (*n < most &&
           (rc = ids_below(r, seq, &base, &entries, &count, e)) != 0) {
        if (rc < 0)
            return -1;
        while (count-- && *n < most) {
            const unsigned char *p = entries + count * IDS_ENTRY;
            struct ids_entry one;

            if (memcmp(p, hash, 16) != 0)
                continue;
            ids_get(p, &one);
            if (one.source)
                seqs[(*n)++] = base + count;
        }
        if (base <= 1)
            break;
        seq = base - 1;
    }
    return 0;
}

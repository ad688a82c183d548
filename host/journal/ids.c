/* SPDX-License-Identifier: Apache-2.0
 *
 * ids.c - the bytes of ids.h, put and taken. Does no I/O but for the uuid. */
#include "journal/ids.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "journal/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID_BYTES 512 /* hashed without another buffer */

static const char magic[8] = "MFJIDS\r\n";

/* ---- the hash ---- */

void ids_hash(const unsigned char uuid[16], uint32_t source, mf_str id,
              unsigned char out[16])
{
    unsigned char small[ID_BYTES], *text = small;

    if (id.len + 4 > sizeof small)
        text = xmalloc(id.len + 4);
    put32(text, source);
    if (id.len)
        memcpy(text + 4, id.ptr, id.len);
    siphash128(uuid, text, id.len + 4, out);
    if (text != small)
        free(text);
}

/* From any segment, when journal.meta does not tell. */
static int uuid_of_segment(int dir, unsigned char uuid[16], struct err *e)
{
    unsigned char header[SEGMENT_HEADER];
    uint64_t below, above;
    char name[SEGMENT_NAME];
    struct segment s;
    int fd, rc;

    if (segment_neighbours(dir, UINT64_MAX, &below, &above) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    segment_name(name, below);
    fd = below ? io.openat(dir, name, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return err_set(e, "there is no journal here: neither journal.meta nor"
                       " a segment can be read");
    rc = io_pread_all(fd, header, sizeof header, 0) != 0 ||
         header_get(header, &s, NULL) != 0 ? -1 : 0;
    close(fd);
    if (rc != 0)
        return err_set(e, "journal.meta and the header of %s are damaged",
                       name);
    memcpy(uuid, s.uuid, 16);
    return 0;
}

int ids_uuid(int dir, unsigned char uuid[16], struct err *e)
{
    uint32_t epoch;
    uint64_t next;
    char *bytes;
    size_t n;
    bool good;

    if (io_read_file(dir, "journal.meta", META_BYTES, &bytes, &n, NULL) != 0)
        return uuid_of_segment(dir, uuid, e);
    good = n == META_BYTES &&
           meta_get((unsigned char *)bytes, uuid, &epoch, &next);
    free(bytes);
    return good ? 0 : uuid_of_segment(dir, uuid, e);
}

/* ---- entries ---- */

void ids_get(const unsigned char from[IDS_ENTRY], struct ids_entry *out)
{
    memcpy(out->hash, from, 16);
    out->received_ms = (int64_t)get64(from + 16);
    out->source = get32(from + 24);
    out->flags = get32(from + 28);
}

void ids_list_fill(struct ids_list *l, uint32_t n)
{
    uint32_t cap = l->cap ? l->cap : IDS_BLOCK;

    ASSERT(n <= IDS_COUNT_MOST);
    while (cap < n)
        cap *= 2;
    if (cap > l->cap) {
        l->bytes = xrealloc(l->bytes, (size_t)cap * IDS_ENTRY);
        l->cap = cap;
    }
    if (n <= l->n)
        return;
    memset(l->bytes + (size_t)l->n * IDS_ENTRY, 0,
           (size_t)(n - l->n) * IDS_ENTRY);
    l->n = n;
}

void ids_list_add(struct ids_list *l, uint64_t base,
                  const struct journal_record *r)
{
    uint64_t i = r->seq - base;
    unsigned char *p;

    if (r->seq < base || i >= IDS_COUNT_MOST)
        return;
    ids_list_fill(l, (uint32_t)i + 1);
    p = l->bytes + i * IDS_ENTRY;
    memcpy(p, r->id_hash, 16);
    put64(p + 16, (uint64_t)r->received_ms);
    put32(p + 24, r->source);
    put32(p + 28, r->flags);
}

void ids_list_free(struct ids_list *l)
{
    free(l->bytes);
    memset(l, 0, sizeof *l);
}

/* ---- the file ---- */

void ids_name(char out[IDS_NAME], uint64_t base)
{
    snprintf(out, IDS_NAME, IDS_DIR "/%020" PRIu64 ".ids", base);
}

static uint32_t blocks_of(uint32_t count)
{
    return (count + IDS_BLOCK - 1) / IDS_BLOCK;
}

size_t ids_file_entries(uint32_t count)
{
    size_t sums = (size_t)blocks_of(count) * 4;

    return IDS_HEADER + (sums + IDS_ENTRY - 1) / IDS_ENTRY * IDS_ENTRY;
}

size_t ids_file_bytes(uint32_t count)
{
    return ids_file_entries(count) + (size_t)count * IDS_ENTRY;
}

/* The crc of HEADER and SUMS, whose bytes 12..15 count as zeros. */
static uint32_t sum_of_head(uint32_t seed, const unsigned char *p, size_t n)
{
    static const unsigned char zeros[4];
    uint32_t crc = crc32c(seed, p, 12);

    crc = crc32c(crc, zeros, 4);
    return crc32c(crc, p + 16, n - 16);
}

/* The sum shows what the disk did; what it hides is marked. */
static void hide(unsigned char *entries, size_t n)
{
    memset(entries, 0, n * IDS_ENTRY);
    for (size_t i = 0; i < n; i++)
        put32(entries + i * IDS_ENTRY + 28, IDS_HIDDEN);
}

static uint32_t sum_of_block(uint32_t seed, const unsigned char *entries,
                             uint32_t count, uint32_t block)
{
    size_t from = (size_t)block * IDS_BLOCK;
    size_t n = count - from < IDS_BLOCK ? count - from : IDS_BLOCK;

    return crc32c(seed, entries + from * IDS_ENTRY, n * IDS_ENTRY);
}

static void measure_times(struct ids_file *f, const unsigned char *entries)
{
    bool any = false;

    f->time_min = f->time_max = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        struct ids_entry one;

        ids_get(entries + (size_t)i * IDS_ENTRY, &one);
        if (!one.source)
            continue;
        if (!any || one.received_ms < f->time_min)
            f->time_min = one.received_ms;
        if (!any || one.received_ms > f->time_max)
            f->time_max = one.received_ms;
        any = true;
    }
}

unsigned char *ids_file_make(struct ids_file *f, const struct ids_list *l)
{
    size_t at = ids_file_entries(f->count);
    unsigned char *p = xcalloc(1, ids_file_bytes(f->count)), *entries = p + at;
    uint32_t seed = crc32c(0, f->uuid, 16);
    uint32_t n = l->n < f->count ? l->n : f->count;

    if (n)
        memcpy(entries, l->bytes, (size_t)n * IDS_ENTRY);
    measure_times(f, entries);
    memcpy(p, magic, 8);
    put32(p + 8, IDS_VERSION);
    memcpy(p + 16, f->uuid, 16);
    put64(p + 32, f->base);
    put32(p + 40, f->epoch);
    put32(p + 44, f->count);
    put64(p + 48, (uint64_t)f->time_min);
    put64(p + 56, (uint64_t)f->time_max);
    for (uint32_t b = 0; b < blocks_of(f->count); b++)
        put32(p + IDS_HEADER + b * 4,
              sum_of_block(seed, entries, f->count, b));
    put32(p + 12, sum_of_head(seed, p, at));
    return p;
}

bool ids_file_header(const unsigned char *from, size_t n, struct ids_file *f)
{
    if (n < IDS_HEADER || memcmp(from, magic, 8) != 0 ||
        get32(from + 8) != IDS_VERSION)
        return false;
    memcpy(f->uuid, from + 16, 16);
    f->base = get64(from + 32);
    f->epoch = get32(from + 40);
    f->count = get32(from + 44);
    f->time_min = (int64_t)get64(from + 48);
    f->time_max = (int64_t)get64(from + 56);
    return f->count <= IDS_COUNT_MOST;
}

bool ids_file_check(unsigned char *from, size_t n, struct ids_file *f,
                    uint32_t *damaged)
{
    unsigned char *entries;
    uint32_t seed;

    *damaged = 0;
    if (!ids_file_header(from, n, f) || n != ids_file_bytes(f->count))
        return false;
    seed = crc32c(0, f->uuid, 16);
    if (get32(from + 12) !=
        sum_of_head(seed, from, ids_file_entries(f->count)))
        return false;
    entries = from + ids_file_entries(f->count);
    for (uint32_t b = 0; b < blocks_of(f->count); b++) {
        size_t at = (size_t)b * IDS_BLOCK;
        size_t many = f->count - at < IDS_BLOCK ? f->count - at : IDS_BLOCK;

        if (get32(from + IDS_HEADER + b * 4) ==
            sum_of_block(seed, entries, f->count, b))
            continue;
        hide(entries + at * IDS_ENTRY, many);
        *damaged += (uint32_t)many;
    }
    return true;
}

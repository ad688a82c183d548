/* SPDX-License-Identifier: Apache-2.0
 *
 * segment.c - the bytes of segment.h, put and taken. Does no I/O. */
#include "journal/segment.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MARK 0xffba7c4eu

static const char header_magic[8] = "MFJSEG\r\n";
static const char footer_magic[8] = "MFJSEAL\n";
static const char meta_magic[8] = "MFJMETA\n";

/* The sum of n bytes whose bytes 12..15 count as zeros. */
static uint32_t sum_around_12(uint32_t seed, const unsigned char *p, size_t n)
{
    static const unsigned char zeros[4];
    uint32_t crc = crc32c(seed, p, 12);

    crc = crc32c(crc, zeros, 4);
    return crc32c(crc, p + 16, n - 16);
}

/* ---- places ---- */

bool segment_shape(struct segment *s)
{
    s->seed = crc32c(0, s->uuid, sizeof s->uuid);
    if (s->size < SEGMENT_LEAST || s->size > SEGMENT_MOST ||
        s->size % SEGMENT_BLOCK)
        return false;
    s->chunk = s->size >= 1u << 20 ? 65536 : 4096;
    s->chunks = (uint32_t)((s->size + s->chunk - 1) / s->chunk);
    s->end = s->size - footer_bytes(s);
    return true;
}

void segment_name(char out[SEGMENT_NAME], uint64_t base)
{
    snprintf(out, SEGMENT_NAME, "%020" PRIu64 ".seg", base);
}

bool segment_parse(const char *name, const char *suffix, uint64_t *n)
{
    char *rest;

    if (*name < '0' || *name > '9')
        return false;
    *n = strtoull(name, &rest, 10);
    return strcmp(rest, suffix) == 0;
}

size_t segment_payload_max(const struct segment *s)
{
    uint64_t room = s->end - SEGMENT_HEADER - 2 * BATCH_HEADER - RECORD_HEADER;

    return room < JOURNAL_PAYLOAD_MAX ? (size_t)room & ~(size_t)7
                                      : JOURNAL_PAYLOAD_MAX;
}

/* ---- header ---- */

void header_put(unsigned char to[SEGMENT_HEADER], const struct segment *s)
{
    memset(to, 0, SEGMENT_HEADER);
    memcpy(to, header_magic, 8);
    put32(to + 8, SEGMENT_VERSION);
    memcpy(to + 16, s->uuid, 16);
    put64(to + 32, s->base);
    put32(to + 40, s->epoch);
    put32(to + 44, s->chunk);
    put64(to + 48, s->size);
    put64(to + 56, s->prev_last);
    put32(to + 64, s->prev_sum);
    put64(to + 72, (uint64_t)s->created_ms);
    put32(to + 12, sum_around_12(0, to, SEGMENT_HEADER));
}

int header_get(const unsigned char from[SEGMENT_HEADER], struct segment *s,
               struct err *e)
{
    if (memcmp(from, header_magic, 8) != 0 ||
        get32(from + 12) != sum_around_12(0, from, SEGMENT_HEADER))
        return err_set(e, "the header is damaged");
    if (get32(from + 8) != SEGMENT_VERSION) {
        err_set(e, "the format is version %u, this program reads %u",
                get32(from + 8), SEGMENT_VERSION);
        return 1;
    }
    memcpy(s->uuid, from + 16, 16);
    s->base = get64(from + 32);
    s->epoch = get32(from + 40);
    s->size = get64(from + 48);
    s->prev_last = get64(from + 56);
    s->prev_sum = get32(from + 64);
    s->created_ms = (int64_t)get64(from + 72);
    if (!segment_shape(s) || s->chunk != get32(from + 44)) {
        err_set(e, "the header names an impossible size");
        return 1;
    }
    return 0;
}

/* ---- batch ---- */

void batch_put(unsigned char to[BATCH_HEADER], const struct batch *b,
               uint32_t seed)
{
    put32(to + 4, BATCH_MARK);
    put32(to + 8, b->n);
    put32(to + 12, b->bytes);
    put32(to + 16, b->epoch);
    put32(to + 20, 0);
    put64(to + 24, b->first);
    put64(to + 32, b->synced);
    put32(to, crc32c(seed, to + 4, BATCH_HEADER - 4));
}

bool batch_get(const unsigned char *from, size_t n, struct batch *b,
               uint32_t seed)
{
    if (n < BATCH_HEADER || get32(from + 4) != BATCH_MARK ||
        get32(from) != crc32c(seed, from + 4, BATCH_HEADER - 4))
        return false;
    b->n = get32(from + 8);
    b->bytes = get32(from + 12);
    b->epoch = get32(from + 16);
    b->first = get64(from + 24);
    b->synced = get64(from + 32);
    return true;
}

/* ---- record ---- */

uint32_t record_put(unsigned char *to, const struct journal_record *r,
                    uint32_t epoch, uint32_t seed)
{
    size_t len = r->payload.len, whole = record_bytes(len);
    uint32_t crc;

    put32(to + 4, (uint32_t)len);
    put64(to + 8, r->seq);
    put32(to + 16, epoch);
    put32(to + 20, r->source);
    put64(to + 24, (uint64_t)r->received_ms);
    put16(to + 32, r->flags);
    put16(to + 34, RECORD_HEADER);
    put32(to + 36, 0);
    memcpy(to + 40, r->id_hash, 16);
    if (len)
        memcpy(to + RECORD_HEADER, r->payload.ptr, len);
    memset(to + RECORD_HEADER + len, 0, whole - RECORD_HEADER - len);
    crc = crc32c(seed, to + 4, RECORD_HEADER - 4 + len);
    put32(to, crc);
    return crc;
}

size_t record_size(const unsigned char *from, size_t n)
{
    uint32_t len;

    if (n < RECORD_HEADER)
        return 0;
    len = get32(from + 4);
    if (len > JOURNAL_PAYLOAD_MAX || get16(from + 34) != RECORD_HEADER)
        return 0;
    return record_bytes(len);
}

void record_fields(const unsigned char *from, struct record *out)
{
    out->crc = get32(from);
    out->r.seq = get64(from + 8);
    out->epoch = get32(from + 16);
    out->r.source = get32(from + 20);
    out->r.received_ms = (int64_t)get64(from + 24);
    out->r.flags = get16(from + 32);
    memcpy(out->r.id_hash, from + 40, 16);
    out->r.payload.ptr = (const char *)from + RECORD_HEADER;
    out->r.payload.len = get32(from + 4);
    out->bytes = record_bytes(out->r.payload.len);
}

bool record_get(const unsigned char *from, size_t n, struct record *out,
                uint32_t seed)
{
    size_t size = record_size(from, n);

    if (!size || size > n)
        return false;
    record_fields(from, out);
    return out->crc == crc32c(seed, from + 4,
                              RECORD_HEADER - 4 + out->r.payload.len);
}

/* ---- index and footer ---- */

void index_init(struct segment_index *ix, const struct segment *s)
{
    memset(ix, 0, sizeof *ix);
    ix->last = s->base - 1;
    ix->end = SEGMENT_HEADER;
    ix->sum = s->seed;
    ix->n = s->chunks;
    ix->chunks = xcalloc(s->chunks, sizeof *ix->chunks);
}

void index_deinit(struct segment_index *ix)
{
    free(ix->chunks);
    ix->chunks = NULL;
    ids_list_free(&ix->ids);
}

void index_add(struct segment_index *ix, const struct segment *s,
               const struct record *r, uint64_t offset)
{
    struct chunk *c = &ix->chunks[offset / s->chunk];
    unsigned char crc[4];

    if (!c->seq) {
        c->seq = r->r.seq;
        c->offset = (uint32_t)offset;
        c->time_max = r->r.received_ms;
    }
    c->n++;
    if (r->r.received_ms > c->time_max)
        c->time_max = r->r.received_ms;
    c->sources[r->r.source / 8 % BITMAP_BYTES] |=
        (unsigned char)(1 << r->r.source % 8);
    if (!ix->count || r->r.received_ms < ix->time_min)
        ix->time_min = r->r.received_ms;
    if (!ix->count || r->r.received_ms > ix->time_max)
        ix->time_max = r->r.received_ms;
    ix->count++;
    ix->last = r->r.seq;
    ix->end = offset + r->bytes;
    put32(crc, r->crc);
    ix->sum = crc32c(ix->sum, crc, 4);
    ids_list_add(&ix->ids, s->base, &r->r);
}

size_t footer_bytes(const struct segment *s)
{
    size_t n = FOOTER_FIXED + (size_t)s->chunks * CHUNK_BYTES;

    return (n + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK * SEGMENT_BLOCK;
}

void footer_put(unsigned char *to, const struct segment *s,
                const struct segment_index *ix)
{
    unsigned char *p = to + FOOTER_FIXED;

    memset(to, 0, footer_bytes(s));
    memcpy(to, footer_magic, 8);
    put32(to + 8, SEGMENT_VERSION);
    put64(to + 16, s->base);
    put32(to + 24, s->epoch);
    put32(to + 28, ix->n);
    put64(to + 32, ix->last);
    put64(to + 40, ix->count);
    put64(to + 48, ix->end);
    put64(to + 56, (uint64_t)ix->time_min);
    put64(to + 64, (uint64_t)ix->time_max);
    put32(to + 72, ix->sum);
    for (uint32_t i = 0; i < ix->n; i++, p += CHUNK_BYTES) {
        const struct chunk *c = &ix->chunks[i];

        put64(p, c->seq);
        put64(p + 8, (uint64_t)c->time_max);
        put32(p + 16, c->offset);
        put32(p + 20, c->n);
        memcpy(p + 24, c->sources, BITMAP_BYTES);
    }
    put32(to + 76, crc32c(s->seed, to + FOOTER_FIXED, ix->n * CHUNK_BYTES));
    put32(to + 12, sum_around_12(s->seed, to, FOOTER_FIXED));
}

bool footer_fixed(const unsigned char *from, const struct segment *s,
                  struct segment_index *ix)
{
    memset(ix, 0, sizeof *ix);
    if (memcmp(from, footer_magic, 8) != 0 ||
        get32(from + 8) != SEGMENT_VERSION ||
        get32(from + 12) != sum_around_12(s->seed, from, FOOTER_FIXED) ||
        get64(from + 16) != s->base || get32(from + 24) != s->epoch ||
        get32(from + 28) != s->chunks)
        return false;
    ix->n = s->chunks;
    ix->last = get64(from + 32);
    ix->count = get64(from + 40);
    ix->end = get64(from + 48);
    ix->time_min = (int64_t)get64(from + 56);
    ix->time_max = (int64_t)get64(from + 64);
    ix->sum = get32(from + 72);
    return true;
}

bool footer_get(const unsigned char *from, const struct segment *s,
                struct segment_index *ix)
{
    const unsigned char *p = from + FOOTER_FIXED;

    if (!footer_fixed(from, s, ix) ||
        get32(from + 76) != crc32c(s->seed, p, ix->n * CHUNK_BYTES))
        return false;
    ix->chunks = xcalloc(ix->n, sizeof *ix->chunks);
    for (uint32_t i = 0; i < ix->n; i++, p += CHUNK_BYTES) {
        struct chunk *c = &ix->chunks[i];

        c->seq = get64(p);
        c->time_max = (int64_t)get64(p + 8);
        c->offset = get32(p + 16);
        c->n = get32(p + 20);
        memcpy(c->sources, p + 24, BITMAP_BYTES);
    }
    return true;
}

/* ---- meta ---- */

void meta_put(unsigned char to[META_BYTES], const unsigned char uuid[16],
              uint32_t epoch, uint64_t next)
{
    memset(to, 0, META_BYTES);
    memcpy(to, meta_magic, 8);
    put32(to + 8, SEGMENT_VERSION);
    memcpy(to + 16, uuid, 16);
    put32(to + 32, epoch);
    put64(to + 40, next);
    put32(to + 12, sum_around_12(0, to, META_BYTES));
}

bool meta_get(const unsigned char from[META_BYTES], unsigned char uuid[16],
              uint32_t *epoch, uint64_t *next)
{
    if (memcmp(from, meta_magic, 8) != 0 ||
        get32(from + 8) != SEGMENT_VERSION ||
        get32(from + 12) != sum_around_12(0, from, META_BYTES))
        return false;
    memcpy(uuid, from + 16, 16);
    *epoch = get32(from + 32);
    *next = get64(from + 40);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * segment.h - the journal's bytes on disk, and what they mean after a crash.
 *
 * THE DIRECTORY
 *
 *   <base>.seg            a segment; <base> is the sequence number of its
 *                         first record as 20 decimal digits
 *   <n>.spare             zero-filled or retired, synced, waiting to be used
 *   <n>.new               a spare being made; removed at open
 *   journal.meta          uuid of the journal, last epoch (META below)
 *   journal.lock          locked by the one writer
 *   quarantine/           copies of damaged stretches, each with its reason
 *
 * All numbers are little-endian. Every checksum is crc32c; all but those of
 * HEADER and META start from SEED, the crc32c of the journal's uuid, so that
 * nothing from another journal, and no bytes a client can send, pass for ours.
 *
 * SEQUENCE AND EPOCH
 *
 * Records are numbered from 1 without gaps. The epoch is a number that grows
 * whenever the writer starts and whenever it recovers from a failed sync; it
 * is durable in journal.meta before anything carries it. It never decreases
 * along a journal. A number given to a record that was not acknowledged is
 * used again, always in a later epoch unless nothing of it was written.
 *
 * A SEGMENT, of a fixed size given in its header:
 *
 *   0                 HEADER, 4096 bytes
 *   4096              batches, one after the other, each aligned to 8
 *   size - footer     FOOTER, a multiple of 4096 that follows from the size
 *
 * HEADER
 *    0  8  magic "MFJSEG\r\n"        40  4  epoch at its making
 *    8  4  format version, 1         44  4  bytes per index chunk
 *   12  4  crc of all 4096 bytes,    48  8  size of the file
 *          this field as 0           56  8  last sequence before it
 *   16 16  uuid of the journal       64  4  SUM of the segment before
 *   32  8  base sequence             68  4  0
 *                                    72  8  made at, Unix ms
 *   80     zeros
 *
 * BATCH: what one sync made durable, 40 bytes and then its records
 *    0  4  crc of bytes 4..39        20  4  0
 *    4  4  mark 0xffba7c4e           24  8  sequence of its first record
 *    8  4  number of records         32  8  SYNCED: every record up to this
 *   12  4  bytes of records                 one was durable before this batch
 *   16  4  epoch                            was written
 *   A batch of no records is written at a clean end, for its SYNCED.
 *
 * RECORD: 56 bytes, the payload, zeros up to a multiple of 8
 *    0  4  crc of bytes 4.. and the payload
 *    4  4  length of the payload, at most 1 MiB
 *    8  8  sequence                  32  2  flags
 *   16  4  epoch                     34  2  56: where the payload begins
 *   20  4  source                    36  4  0
 *   24  8  received at, Unix ms      40 16  hash of (source, messageId)
 *   Bytes 4..7 tell a batch from a record: no length is as large as the mark.
 *
 * FOOTER: written once the next segment exists. It makes reading faster and
 * adds no fact: without it the segment is scanned.
 *    0  8  magic "MFJSEAL\n"         40  8  number of records
 *    8  4  version, 1                48  8  where the batches end
 *   12  4  crc of bytes 0..127,      56  8  least received at
 *          this field as 0           64  8  greatest received at
 *   16  8  base sequence             72  4  SUM: crc over the crc fields of
 *   24  4  epoch of the header              all records in order
 *   28  4  number of chunks          76  4  crc of the chunks
 *   32  8  last sequence            128     the chunks, 56 bytes each
 * CHUNK k tells of the records that begin in bytes [k*chunk, (k+1)*chunk):
 *    0  8  sequence of the first     16  4  where the first stands
 *          one, 0 when there is none 20  4  how many
 *    8  8  greatest received at      24 32  bit (source mod 256) per source
 * A footer of another base or epoch is a leftover of the file's former life.
 *
 * META: 0 8 magic "MFJMETA\n"; 8 4 version; 12 4 crc of 64 bytes, this field
 * as 0; 16 16 uuid; 32 4 epoch; 40 8 next sequence when it was written.
 *
 * ORDER OF WRITES
 *
 *  1. A spare reads as zeros, in blocks that it has, and is synced before it
 *     is called .spare. A retired
 *     segment becomes a spare with a synced directory before it is reused, and
 *     head->first has passed it before that.
 *  2. A segment begins: header written to the spare and synced, renamed to
 *     <base>.seg, directory synced. Only then a batch goes into it.
 *  3. A commit: one batch written behind the last, fdatasync. Only then
 *     head->durable moves, and only then the next batch is written. So batch
 *     k+1 on disk proves that batch k was synced, and SYNCED says so.
 *  4. After a failed write or sync nothing goes to that file any more. The
 *     numbers of the failed batch are used again in a new segment, whose epoch
 *     is greater. RULE: a segment ends where the next one's base begins;
 *     whatever stands behind that in it is void.
 *
 * The last block of a commit is written again by the next one with the bytes
 * it had. The disk must not damage bytes that are rewritten with what they
 * were (SQLite's "powersafe overwrite"); whoever doubts his disk there has
 * damage in acknowledged data and case (c) below.
 *
 * VALID
 *
 * A record is valid at a place where sequence S and an epoch of at least E are
 * expected if its crc is right, its sequence is S, its epoch is >= E. A batch
 * is, if its crc is right, it begins with S, its epoch E' is >= E, and its
 * bytes are exactly its number of valid records of epoch E'. A recycled file
 * is full of valid checksums: sequence and epoch are what rejects them.
 *
 * AFTER A CRASH only the last segment is scanned, from its first batch on with
 * S = base, E = epoch of the header, past the page cache where possible.
 *  (a) A valid batch: S and E move on.
 *  (b) No valid batch, and nothing proves that S had been synced: the end. The
 *      rest of the file is zeroed and synced before anything is appended. What
 *      stood there was never acknowledged.
 *  (c) No valid batch, but a valid batch header further on has SYNCED >= S, or
 *      the shared head said so, or the next segment's base: acknowledged data
 *      was damaged. Records that are valid by themselves are kept; what is
 *      missing up to the proven number is copied into quarantine/, reported,
 *      and told to readers as lost. Nothing is cut off.
 *  (d) Blocks that the disk will not give back: as (c) for what is proven, and
 *      since they may have held more, the segment is left as it is, a new one
 *      begins, and as many numbers as they had room for are not used.
 * A segment whose header is damaged is read by its name, journal.meta and its
 * size. A segment that is not the last and has no footer is scanned and given
 * one. */
#ifndef JOURNAL_SEGMENT_H
#define JOURNAL_SEGMENT_H

#include "journal/ids.h"
#include "journal/journal.h"

#include <stddef.h>

#define SEGMENT_VERSION 1
#define SEGMENT_HEADER 4096
#define SEGMENT_BLOCK 4096
#define BATCH_HEADER 40
#define RECORD_HEADER 56
#define RECORD_MAX (RECORD_HEADER + JOURNAL_PAYLOAD_MAX)
#define FOOTER_FIXED 128
#define CHUNK_BYTES 56
#define BITMAP_BYTES 32
#define META_BYTES 64
#define SEGMENT_NAME 32
/* The smallest and largest file; the smallest suits tests only. */
#define SEGMENT_LEAST (32u << 10)
#define SEGMENT_MOST (256u << 20)

struct segment {
    uint64_t base, size;
    uint32_t epoch;
    uint32_t chunk;    /* bytes per chunk */
    uint32_t chunks;   /* follows from size and chunk */
    uint64_t end;      /* where batches must end; there the footer begins */
    uint32_t seed;     /* follows from uuid */
    unsigned char uuid[16];
    uint64_t prev_last;
    uint32_t prev_sum;
    int64_t created_ms;
};

struct batch {
    uint32_t n, bytes, epoch;
    uint64_t first, synced;
};

struct record {
    struct journal_record r; /* payload borrowed from the bytes */
    uint32_t crc, epoch;
    size_t bytes; /* with header and padding */
};

struct chunk {
    uint64_t seq; /* 0: nothing begins here */
    int64_t time_max;
    uint32_t offset, n;
    unsigned char sources[BITMAP_BYTES];
};

/* What a footer says; also kept in memory while a segment is written. */
struct segment_index {
    uint64_t last, count, end;
    int64_t time_min, time_max;
    uint32_t sum;
    uint32_t n;
    struct chunk *chunks; /* owned; may be NULL after footer_fixed() */
    struct ids_list ids;  /* owned; of the records added, in no footer */
};

/* ---- places ---- */

/* Fills chunk, chunks, end, seed from size and uuid. False: no such size. */
bool segment_shape(struct segment *s);
void segment_name(char out[SEGMENT_NAME], uint64_t base);
/* The number in "<digits><suffix>", or false. */
bool segment_parse(const char *name, const char *suffix, uint64_t *n);
static inline size_t record_bytes(size_t payload)
{
    return (RECORD_HEADER + payload + 7) & ~(size_t)7;
}
/* The longest payload that a segment of this shape can hold. */
size_t segment_payload_max(const struct segment *s);

/* ---- bytes ---- */

void header_put(unsigned char to[SEGMENT_HEADER], const struct segment *s);
/* -1 when it is damaged, 1 when it is whole but not for this program. */
int header_get(const unsigned char from[SEGMENT_HEADER], struct segment *s,
               struct err *e);
void batch_put(unsigned char to[BATCH_HEADER], const struct batch *b,
               uint32_t seed);
/* n is what may be read at `from`. */
bool batch_get(const unsigned char *from, size_t n, struct batch *b,
               uint32_t seed);
/* Writes header, payload and padding: record_bytes() of them; returns crc. */
uint32_t record_put(unsigned char *to, const struct journal_record *r,
                    uint32_t epoch, uint32_t seed);
/* The whole size of the record that seems to begin here, 0 if none does. */
size_t record_size(const unsigned char *from, size_t n);
/* Takes the fields without looking at the sum; bytes must be there. */
void record_fields(const unsigned char *from, struct record *out);
/* True if the record is whole and its sum right; fills *out. */
bool record_get(const unsigned char *from, size_t n, struct record *out,
                uint32_t seed);

void index_init(struct segment_index *ix, const struct segment *s);
void index_deinit(struct segment_index *ix);
void index_add(struct segment_index *ix, const struct segment *s,
               const struct record *r, uint64_t offset);
static inline bool chunk_has(const struct chunk *c, uint32_t source)
{
    return c->sources[source / 8 % BITMAP_BYTES] >> source % 8 & 1;
}
size_t footer_bytes(const struct segment *s);
void footer_put(unsigned char *to, const struct segment *s,
                const struct segment_index *ix);
/* The first FOOTER_FIXED bytes; leaves ix->chunks NULL. */
bool footer_fixed(const unsigned char *from, const struct segment *s,
                  struct segment_index *ix);
/* The whole; fills ix->chunks (owned). */
bool footer_get(const unsigned char *from, const struct segment *s,
                struct segment_index *ix);

void meta_put(unsigned char to[META_BYTES], const unsigned char uuid[16],
              uint32_t epoch, uint64_t next);
bool meta_get(const unsigned char from[META_BYTES], unsigned char uuid[16],
              uint32_t *epoch, uint64_t *next);

/* ---- files (image.c) ---- */

/* Read-only and past the page cache where possible: after a failed write it
 * may hold what never reached the disk. n and at of the reads must then be
 * multiples of SEGMENT_BLOCK, and the memory aligned to it. */
int segment_open_truth(int dir, const char *name);
/* Blocks that cannot be read become zeros and so count as damaged; returns
 * their bytes. */
size_t segment_read(int fd, unsigned char *to, size_t n, uint64_t at);
/* The greatest base <= seq and the smallest > seq, 0 for none. -1: errno. */
int segment_neighbours(int dir, uint64_t seq, uint64_t *below,
                       uint64_t *above);

/* ---- the rule after a crash ---- */

#define SCAN_LOSSES 64

struct scan_loss {
    uint64_t from, to;       /* sequence numbers */
    uint64_t offset, end;    /* the bytes where they must have been */
};

struct scan {
    /* Given. */
    const unsigned char *data; /* the whole file, seg->size bytes */
    const struct segment *seg;
    uint64_t attested; /* proven from outside, 0: nothing is */
    uint64_t limit;    /* records from this number on are void, 0: none is */
    struct segment_index *ix; /* filled as records are accepted */
    /* Found. */
    uint64_t next;     /* sequence that follows */
    uint64_t end;      /* where the next batch goes */
    uint32_t epoch;    /* the greatest seen */
    unsigned losses;   /* beyond SCAN_LOSSES the last range grows */
    struct scan_loss loss[SCAN_LOSSES];
};

void segment_scan(struct scan *s);
/* The first offset >= at of a valid record with a sequence in [least, most],
 * or of a batch that begins with one, in n bytes at data; n if there is none.
 * *seq is that number. Both readers of damage look through this. */
size_t segment_resync(const unsigned char *data, size_t n, size_t at,
                      uint64_t least, uint64_t most, uint32_t epoch,
                      uint32_t seed, uint64_t *seq);

#endif

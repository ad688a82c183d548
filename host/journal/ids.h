/* SPDX-License-Identifier: Apache-2.0
 *
 * ids.h - who every record is, without the record: the id files.
 *
 * An id file says of each number of one segment which event it is (a hash of
 * source and messageId), when it came and from which source. It answers what
 * would else take a scan of the journal: is this event a duplicate, where is
 * it, how many events of one source are in a range. It adds no fact while its
 * segment lives, and is made from it again when it is missing or damaged; it
 * outlives the segment for the limits below.
 *
 * THE DIRECTORY ids/, beside the segments
 *
 *   <base>.ids       of the segment <base>.seg
 *   <base>.ids.new   one being made; removed at open
 *
 * AN ID FILE, little-endian, sums as in segment.h (from SEED)
 *
 *   HEADER, 64 bytes
 *    0  8  magic "MFJIDS\r\n"        40  4  epoch of the segment's header
 *    8  4  format version, 1         44  4  COUNT: number of entries
 *   12  4  crc of HEADER and SUMS,   48  8  least received at, Unix ms
 *          this field as 0           56  8  greatest received at
 *   16 16  uuid of the journal
 *   32  8  base sequence
 *   SUMS: the crc of each block of IDS_BLOCK entries, 4 bytes each, then
 *          zeros up to a multiple of 32
 *   ENTRIES, 32 bytes each; entry i is of the number base + i
 *    0 16  id_hash                   24  4  source; 0: this number was lost
 *   16  8  received at, Unix ms      28  4  flags
 *
 * The size of the file follows from COUNT. A damaged block hides its own
 * entries and no others.
 *
 * ORDER OF WRITES
 *
 *  1. A file is made only of a segment that is not written any more: the next
 *     one exists, so each of its numbers is final. It is written beside,
 *     synced, renamed, and the directory is synced.
 *  2. Nothing waits for it: a disk without room costs the file, not an event.
 *     It is tried again, and at the latest before retention takes the segment.
 *  3. It is removed after its segment only.
 *
 * AFTER A CRASH the writer's second thread looks at one file after the other:
 * that of a kept segment which is missing, damaged, of another epoch or of
 * other numbers is made again; that of a base which the journal has not
 * reached is removed. The rest outlive their segments. Nobody waits for this:
 * a reader makes do with the segment. */
#ifndef JOURNAL_IDS_H
#define JOURNAL_IDS_H

#include "journal/journal.h"

#include <stddef.h>

#define IDS_VERSION 1
#define IDS_HEADER 64
#define IDS_ENTRY 32
#define IDS_BLOCK 1024 /* entries under one sum */
#define IDS_DIR "ids"
#define IDS_NAME 48
#define IDS_COUNT_MOST (10u << 20) /* entries; no segment has as many */

/* How long and how many bytes of files whose segment is gone, unless
 * journal_keep_ids() says otherwise. */
#define IDS_KEEP_MS 604800000
#define IDS_KEEP_BYTES (1ull << 30)

struct ids_entry {
    unsigned char hash[16];
    int64_t received_ms;
    uint32_t source, flags; /* source 0: the number was lost */
};

/* In memory only: flags of an entry that a damaged block hides. */
#define IDS_HIDDEN UINT32_MAX

/* The hash of (source, messageId) that records bear: SipHash keyed with the
 * journal's uuid, so that no client can make two ids meet. */
void ids_hash(const unsigned char uuid[16], uint32_t source, mf_str id,
              unsigned char out[16]);
/* The uuid of the journal in `dir`, for a process that does not write it. */
int ids_uuid(int dir, unsigned char uuid[16], struct err *e);

/* ---- reading: any process, one thread each ---- */

struct ids_reader;

enum ids_read {
    IDS_ENTRY_READ, /* *entry is that of *seq */
    IDS_END,        /* past the last number asked for, or not durable yet */
    IDS_UNKNOWN,    /* of [*seq, *to] neither file nor segment is left */
    IDS_ERROR
};

struct ids_count {
    uint64_t count;   /* numbers in the range that are of the source */
    uint64_t lost;    /* numbers that damage took, of whatever source */
    uint64_t unknown; /* numbers of which nothing is left to tell */
};

/* head may be NULL: then the directory is looked at, once, and the reader
 * knows of what was durable when it was made. */
struct ids_reader *ids_reader_new(int dir, const struct journal_head *head,
                                  struct err *e);
void ids_reader_free(struct ids_reader *r);
/* From `from` to `to`, in order; 0 for the ends of what is kept. */
void ids_seek(struct ids_reader *r, uint64_t from, uint64_t to);
enum ids_read ids_next(struct ids_reader *r, uint64_t *seq, uint64_t *to,
                       struct ids_entry *entry, struct err *e);
/* Counts in [from, to], which may reach over what retention took. */
int ids_count(struct ids_reader *r, uint32_t source, uint64_t from,
              uint64_t to, struct ids_count *out, struct err *e);
/* Numbers of the records with this hash, newest first, at most `most` of
 * them; *n of them were found. Reads 32 bytes for each event kept. */
int ids_find(struct ids_reader *r, const unsigned char hash[16],
             uint64_t *seqs, size_t most, size_t *n, struct err *e);
/* What is known of the segment with the number `seq` or of the nearest below
 * it, all at once: *entries are IDS_ENTRY bytes each, borrowed until the next
 * call, for the numbers from *base on. 1, 0 when nothing is left below, or
 * -1. */
int ids_below(struct ids_reader *r, uint64_t seq, uint64_t *base,
              const unsigned char **entries, size_t *n, struct err *e);

/* About how many numbers were given since ms, by the headers alone. */
uint64_t ids_since(struct ids_reader *r, int64_t ms);

/* ---- bytes (ids.c) ---- */

/* Entries as they stand in a file, growing while a segment is written. */
struct ids_list {
    unsigned char *bytes; /* owned */
    uint32_t n, cap;
};

struct ids_file {
    unsigned char uuid[16];
    uint64_t base;
    uint32_t epoch, count;
    int64_t time_min, time_max;
};

void ids_get(const unsigned char from[IDS_ENTRY], struct ids_entry *out);
/* Numbers left out before this one are of source 0. A number that is below
 * base or more than IDS_COUNT_MOST above it is left out. */
void ids_list_add(struct ids_list *l, uint64_t base,
                  const struct journal_record *r);
/* Numbers up to n that are not there yet become lost ones. */
void ids_list_fill(struct ids_list *l, uint32_t n);
void ids_list_free(struct ids_list *l);
void ids_name(char out[IDS_NAME], uint64_t base);
size_t ids_file_bytes(uint32_t count);
/* The file's bytes, owned by the caller, ids_file_bytes(f->count) of them.
 * Counts and times follow from the first f->count entries of l; what it has
 * not is lost numbers. */
unsigned char *ids_file_make(struct ids_file *f, const struct ids_list *l);
/* The header alone. False: it is damaged, or is no id file of ours. */
bool ids_file_header(const unsigned char *from, size_t n, struct ids_file *f);
/* The whole of n bytes: entries of damaged blocks become IDS_HIDDEN and are
 * counted in *damaged. False: nothing in it can be used. */
bool ids_file_check(unsigned char *from, size_t n, struct ids_file *f,
                    uint32_t *damaged);
/* Where the entries begin. */
size_t ids_file_entries(uint32_t count);

#endif

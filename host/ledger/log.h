/* SPDX-License-Identifier: Apache-2.0
 *
 * log.h - the outcome log: what became of each event, kept as long as the
 * journal holds it.
 *
 * THE DIRECTORY data_dir/outcomes
 *
 *   <n>.log   a segment; n counts from 1, as 10 decimal digits. The newest is
 *             written, at its end only; when it has LEDGER_SEGMENT_BYTES the
 *             next one begins.
 *
 * All numbers are little-endian, checksums are crc32c.
 *
 * A SEGMENT: a header of 32 bytes, then blocks without a gap.
 *    0  8  magic "MFOUTC\r\n"        12  4  crc of all 32, this field as 0
 *    8  4  format version, 1         16  8  n
 *
 * A BLOCK: 32 bytes, then a stream (ledger.h) of one lane.
 *    0  4  crc of bytes 4.. and the stream
 *    4  4  mark 0x7cb70c1e           16  8  P at the stream's begin
 *    8  4  bytes of the stream       24  4  its records
 *   12  4  lane                      28  4  0
 *
 * WHAT COUNTS is not here but in state.db, table outcome_segment: how many
 * bytes of each segment there are. A commit of the state is: blocks written
 * behind the last, fdatasync (and the directory's, for a new file), and only
 * then the transaction that moves the lanes' cursors and counters and says
 * the new end. So whatever a lane's counters say is in the log, and
 *
 *  - after a crash, bytes behind the end are cut off, and files without a row
 *    removed: the lanes are where they were before, the events come again;
 *  - a write that fails is done again at the same place;
 *  - after a sync that failed nothing goes to that file any more: what was
 *    not yet committed is written to the next one.
 *
 * Beside the end, state.db keeps for each segment what the counters of every
 * lane were when it began (table outcome_base). A segment goes, with its row,
 * when the journal has none of the events left that it speaks of; what is left
 * still adds up from the bases of the oldest one.
 *
 * One writer; readers take the ends from a read transaction of state.db and
 * open the files at once: one that is removed then stays readable. */
#ifndef LEDGER_LOG_H
#define LEDGER_LOG_H

#include "base/err.h"
#include "ledger/ledger.h"

#include <stddef.h>

#define LEDGER_LOG_VERSION   1
#define LEDGER_SEGMENT_BYTES (8u << 20)
#define LEDGER_SEGMENT_MOST  (256u << 20) /* that a reader takes */
#define LEDGER_BLOCK_MOST    (64u << 20)  /* of a stream */
#define LEDGER_WAITING_MAX   (64u << 20)  /* not yet durable */
#define LEDGER_HEADER        32
#define LEDGER_BLOCK         32
#define LEDGER_NAME          32

struct ledger_segment { /* a row of outcome_segment */
    uint64_t n, bytes;
    uint64_t least, greatest; /* sequence numbers it speaks of; 0: of none */
};

void ledger_log_name(char name[LEDGER_NAME], uint64_t n);

/* ---- writing ---- */

struct ledger_log;

/* dir is borrowed. `at` is the newest row, or n 1 and zeros. Opens nothing
 * yet. */
struct ledger_log *ledger_log_new(int dir,
                                    const struct ledger_segment *at);
void ledger_log_free(struct ledger_log *l);
/* One block, to be written by the next sync. */
void ledger_log_add(struct ledger_log *l, uint32_t lane,
                     const struct ledger_writer *w);
size_t ledger_log_waiting(const struct ledger_log *l);
/* Makes durable what was added. On failure it waits for the next call. */
int ledger_log_sync(struct ledger_log *l, struct err *e);
/* What there is after the last sync. n may have changed since the one before:
 * then another segment has begun. */
struct ledger_segment ledger_log_segment(const struct ledger_log *l);
/* The next sync begins another segment. Only while nothing waits. */
void ledger_log_roll(struct ledger_log *l);
/* Removes files that `keep` says false of; failures are harmless. */
void ledger_log_sweep(int dir, bool (*keep)(void *arg, uint64_t n),
                       void *arg);

/* ---- reading ---- */

struct ledger_block {
    uint32_t lane, count;
    uint64_t prev;
    size_t at; /* where it stands in the segment */
    mf_str stream;
};

/* The first `bytes` of an open segment; owned by the caller. */
int ledger_log_load(int fd, const struct ledger_segment *s, char **bytes,
                     struct err *e);
/* 1: *b is filled and *at moved behind it; 0: the end; -1: damage from *at on,
 * which is moved to the next block that is whole, or to the end. */
int ledger_block_next(mf_str segment, size_t *at, struct ledger_block *b);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * receipts.h - which parts were delivered, in a file that outlives a kill.
 *
 * What a worker delivers becomes durable with its lane's next state, at the
 * supervisor's next commit. Until then it is in the memory of two processes,
 * and a kill -9 of either would have it delivered again. So the worker writes
 * a receipt of each delivered part, without a sync, as soon as the answer is
 * judged: what was written survives the process, and what comes twice after a
 * kill is at most what was in flight. After a power cut receipts may be missing
 * or torn; then the far side gets twice what was delivered since the last
 * commit.
 *
 * A receipt is never needed and only believed where its checksum holds. It
 * names its lane by the mark that state.db gave it, random and never used
 * again, so it cannot speak of another lane.
 *
 * THE FILE: a ring of RECEIPTS_RING entries of 32 bytes, little-endian; one
 * worker at a time writes it, the next one goes on behind the newest.
 *    0  8  mark of the lane       24  4  key of the part's subscription
 *    8  8  sequence number        28  4  crc32c of the 28 bytes before
 *   16  8  serial: entries are numbered from 1, each at (serial - 1) % ring */
#ifndef LANE_RECEIPTS_H
#define LANE_RECEIPTS_H

#include <stddef.h>
#include <stdint.h>

#define RECEIPTS_RING  16384 /* more are not delivered between two commits */
#define RECEIPT_BYTES  32
#define RECEIPTS_BYTES ((size_t)RECEIPTS_RING * RECEIPT_BYTES) /* of a file */
#define RECEIPTS_AHEAD 64    /* put and not yet written */

struct receipt {
    uint64_t mark, seq;
    uint32_t key;
};

struct receipts {
    int fd; /* -1: none are kept */
    uint64_t serial; /* the last put */
    unsigned waiting;
    unsigned char bytes[RECEIPTS_AHEAD * RECEIPT_BYTES];
};

/* fd is borrowed; -1, or one that cannot be read: none are kept. */
void receipts_init(struct receipts *r, int fd);
void receipts_put(struct receipts *r, const struct receipt *what);
/* Writes what was put. Failures are harmless: see above. */
void receipts_flush(struct receipts *r);
/* All that hold in the file, the oldest first, *n of them; owned by the caller
 * (free). NULL: it cannot be read. */
struct receipt *receipts_read(int fd, size_t *n);

#endif

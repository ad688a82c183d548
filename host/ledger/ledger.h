/* SPDX-License-Identifier: Apache-2.0
 *
 * ledger.h - what became of events, in two or three bytes each.
 *
 * A lane writes one record for each event that ends, for each that goes on
 * waiting with some of its parts settled, for each that is opened again, and
 * for each stretch that retention or damage took from it. A stream of records
 * travels with the lane's state and, written anew by the supervisor, in blocks
 * of the outcome log (log.h). Streams are read as if a stranger had written
 * them: every number is checked, nothing is believed beyond its end.
 *
 * A STREAM is records one after the other; all numbers are varints (seven bits
 * a byte, low ones first), differences zigzag coded. P is the sequence number
 * of the record before, at first the one the stream's holder says.
 *
 *   0  DEFINE  the next pattern: class (1 byte), number of parts, then for
 *              each its subscription's key (4 bytes, little-endian) and code
 *   1  RANGE   from - P, to - from, how many events of the lane, reason
 *              (1 byte): lost, and so dead. Then P = to
 *   2  FORGET  patterns are numbered from 0 again
 *   8+k        pattern k happened to event P + difference
 *
 * A pattern is which subscriptions ended how. Its class says what the whole
 * event counts as from here on. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_PATTERNS_MAX 96  /* known at one time in a stream */
#define LEDGER_PARTS_MAX    256 /* of a pattern */
#define LEDGER_BODY_MAX     (3 + 5 * LEDGER_PARTS_MAX)

enum ledger_class {
    LEDGER_PARTIAL,  /* nothing yet: other parts are still waiting */
    LEDGER_DELIVERED,
    LEDGER_FILTERED,
    LEDGER_DEAD,
    LEDGER_REOPENED, /* it was dead and is pending again */
    LEDGER_CLASSES
};

/* The codes of a part. A whole event that nothing matched has one part of key
 * 0, PART_FILTERED and an enum select_reason; a dead one has PART_DEAD and an
 * enum dead_reason. */
enum {
    PART_DELIVERED = 1,
    PART_SKIPPED = 2, /* the plugin wanted nothing sent */
    PART_REOPENED = 3,
    PART_FILTERED = 16,
    PART_DEAD = 64,
    PART_LAPSED = 120 /* dead: it outlived its ttl before it could be tried;
                         no letter is kept of it, see dead_range in state.h */
};

enum lost_reason {
    LOST_RETENTION,
    LOST_DAMAGE,
    LOST_UNKNOWN, /* nothing is left to tell whose they were: all are counted */
    LOST_REASONS
};

enum range_reason { /* of a dead range; the first ones are enum lost_reason */
    RANGE_EXPIRED = LOST_REASONS,
    RANGE_REASONS
};

/* "retention", "damage", "unknown", "expired". */
const char *range_reason_text(unsigned reason);

struct ledger_part {
    uint32_t key;
    uint8_t code;
};

/* How many events ended how: what a stream adds to counters of a lane. */
struct ledger_sums {
    uint64_t delivered, filtered, dead, lost; /* lost is part of dead */
};

/* ---- writing ---- */

struct ledger_writer {
    struct buf bytes;
    uint64_t first, prev; /* P at the begin, and now */
    uint64_t least, greatest;
    uint32_t count;
    unsigned patterns, last; /* known ones; the one used last */
    struct buf bodies;       /* of the patterns, as DEFINE has them */
    uint32_t at[LEDGER_PATTERNS_MAX + 1]; /* where each begins there */
};

void ledger_init(struct ledger_writer *w, size_t max);
void ledger_deinit(struct ledger_writer *w);
/* Begins another stream, with P = prev. */
void ledger_begin(struct ledger_writer *w, uint64_t prev);
/* Parts are put in order of their keys, in place. */
void ledger_put(struct ledger_writer *w, uint64_t seq,
                 enum ledger_class class, struct ledger_part *parts,
                 unsigned n);
void ledger_put_range(struct ledger_writer *w, uint64_t from, uint64_t to,
                       uint64_t count, enum lost_reason reason);

/* ---- reading ---- */

struct ledger_entry {
    uint64_t from, to;  /* equal, but for a range */
    uint64_t count;     /* events of the lane: 1, but for a range */
    enum ledger_class class;
    bool is_range;
    enum lost_reason reason; /* of a range */
    const unsigned char *body; /* of the pattern; NULL for a range */
    unsigned body_len, parts;
};

struct ledger_reader {
    const unsigned char *p, *end;
    uint64_t prev;
    unsigned patterns;
    const unsigned char *body[LEDGER_PATTERNS_MAX];
    uint16_t body_len[LEDGER_PATTERNS_MAX], parts[LEDGER_PATTERNS_MAX];
};

void ledger_read(struct ledger_reader *r, mf_str stream, uint64_t prev);
/* 1: *o is filled; 0: the end; -1: these bytes are no stream. */
int ledger_next(struct ledger_reader *r, struct ledger_entry *o);
struct ledger_part ledger_part(const struct ledger_entry *o, unsigned i);
/* What was read is written to another stream. */
void ledger_copy(struct ledger_writer *w, const struct ledger_entry *o);
void ledger_add(struct ledger_sums *sums, const struct ledger_entry *o);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.h - the proof that accepted = delivered + filtered + dead + pending,
 * for every lane, against the journal and the outcome log.
 *
 * For each event of a lane's source that the journal still holds and that the
 * lane has read: it has ended exactly once in the outcome log, or it is open
 * or waiting for a retry, and never both. For each lane: its counters are the
 * sums of the log, and what it accepted is what ended and what is pending.
 * Nothing ends beyond the cursor or before the lane began. What retention took
 * out of the journal is in the sums alone.
 *
 * Memory: AUDIT_BITMAP_BYTES for one bit per event and lane, however many
 * there are; a longer journal is looked at in several stretches. */
#ifndef BOOKS_AUDIT_H
#define BOOKS_AUDIT_H

#include "books/books.h"

#define AUDIT_BITMAP_BYTES (128u << 20)
#define AUDIT_FAULTS_MAX   100 /* that are told one by one */
#define AUDIT_FAULTS_ALIKE 8   /* of one kind and lane that are told */
#define AUDIT_FAULT_TEXT   320

struct audit_fault {
    const struct books_lane *lane; /* NULL: of no lane */
    uint64_t seq;                  /* 0: of no event */
    const char *kind;              /* equal for those alike */
    char text[AUDIT_FAULT_TEXT];
};

struct audit_lane {
    const struct books_lane *lane;
    struct ledger_sums logged; /* base and log */
    uint64_t checked;          /* events that were seen in the journal */
    uint64_t faults;
};

struct audit {
    struct audit_lane *lanes;
    size_t lane_count;
    struct audit_fault faults[AUDIT_FAULTS_MAX];
    size_t fault_count;
    uint64_t difference; /* all faults, also those that are not told */
    uint64_t first, last; /* of the journal, as far as it was looked at */
    uint64_t events, unreadable; /* in it; lost to damage */
};

/* In at most so many bytes of marks: AUDIT_BITMAP_BYTES. -1: it could not be
 * done. */
int audit_run(struct books *b, size_t bitmap_bytes, struct audit *a,
              struct err *e);
void audit_deinit(struct audit *a);

#endif

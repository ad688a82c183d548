/* SPDX-License-Identifier: Apache-2.0
 *
 * books.h - what a data directory says of its lanes, at one moment.
 *
 * Reads state.db in one read transaction and opens the outcome log's segments
 * of that moment, so that it may stand beside a running server, also while
 * retention takes files away. Writes nothing. Believes nothing: what it reads
 * is checked by whoever uses it. */
#ifndef BOOKS_BOOKS_H
#define BOOKS_BOOKS_H

#include "base/err.h"
#include "ipc/proto.h"
#include "ledger/log.h"

#include <stdbool.h>
#include <stddef.h>

struct sqlite3;

#define BOOKS_LANES_MAX   100000
#define BOOKS_OPEN_MAX    (1u << 20) /* open and waiting events of a lane */
#define BOOKS_SOURCES_MAX (1u << 20)

struct books_lane {
    uint32_t id, source;
    char source_name[72], destination[72];
    uint64_t start, next; /* it has read its source's events of [start, next) */
    struct counters counters;
    /* Numbers in ascending order, each once: listed as open, or waiting for a
     * retry, or both. */
    uint64_t *open;
    size_t open_count;
    uint64_t listed, waiting; /* how many of each */
};

struct books_base {
    uint64_t segment;
    uint32_t lane;
    struct ledger_sums sums;
};

struct books {
    int data, journal; /* directories */
    struct sqlite3 *db; /* for more questions, of a later moment */
    struct books_lane *lanes; /* by id */
    size_t lane_count;
    struct ledger_segment *segments; /* oldest first */
    int *fds;                        /* of them; -1: there is no such file */
    size_t segment_count;
    struct books_base *bases; /* by segment, lane */
    size_t base_count;
    struct journal_head head; /* all that the lanes have read; no tail */
};

struct books *books_open(const char *data_dir, struct err *e);
void books_free(struct books *b);
struct books_lane *books_lane(struct books *b, uint32_t id);
/* NULL: its counters were zero when the segment began. */
const struct books_base *books_base(const struct books *b, uint64_t segment,
                                    uint32_t lane);
/* The oldest segment of the journal that is there now, 0: none. -1: errno. */
int books_first(const struct books *b, uint64_t *first);

#endif

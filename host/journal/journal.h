/* SPDX-License-Identifier: Apache-2.0
 *
 * journal.h - the durable, append-only record of every accepted event.
 *
 * One process writes (ingest); any number read, each at its own pace. The
 * bytes on disk and the rules after a crash are specified at the head of
 * segment.h. An engine other than local files (Kafka) fits in behind
 * journal_append() and journal_on_durable(). */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/err.h"
#include "base/histogram.h"

#include <manifold/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- what both sides share ---- */

/* A place in the journal: the sequence number of a record and where to find
 * it. Sequence numbers start at 1 and have no gaps within a journal, but for
 * records quarantined after damage. {0} is the oldest record kept, without a
 * JOURNAL_LOST for what went before. */
struct journal_pos {
    uint64_t seq;     /* of the next record to be read */
    uint64_t segment; /* base sequence of its segment, 0: find it */
    uint64_t offset;  /* in that segment, 0: find it */
};

/* One page shared by the writer (read-write) and the readers (read-only);
 * the supervisor makes it as a memfd. Single writer; readers load `durable`
 * with acquire order, and everything else after it. When the writer starts
 * the page is zeros or as the former writer of the same journal left it: what
 * was durable then must be on the disk, or is reported as lost. */
struct journal_head {
    _Atomic uint64_t durable;  /* last durable sequence number, 0: none */
    _Atomic uint64_t first;    /* oldest one kept */
    _Atomic uint64_t bytes;    /* on disk, without spare segments */
    _Atomic uint64_t commits;  /* group commits so far */
    _Atomic uint64_t commit_ns;/* time spent in them */
    _Atomic uint64_t commit_counts[HISTOGRAM_BOUNDS + 1]; /* and how long */
    _Atomic uint32_t poisoned; /* 1 after a failed sync, until recovery */
    _Atomic uint32_t full;     /* 1 while no spare segment can be made */
    _Atomic uint64_t tail;     /* base of the segment being written, 0: none */
    _Atomic uint64_t tail_end; /* where its durable batches end */
    _Atomic uint32_t tail_epoch; /* that its header bears */
};

struct journal_record {
    uint64_t seq;
    uint32_t source;     /* the state's number of the source */
    uint16_t flags;
    int64_t received_ms; /* Unix time */
    unsigned char id_hash[16]; /* ids_hash() of source and messageId */
    mf_str payload;      /* the event as normalised JSON; borrowed */
};

#define JOURNAL_PAYLOAD_MAX (1u << 20)
#define JOURNAL_SEGMENT_BYTES (64u << 20)

/* ---- writing ---- */

struct journal;

struct journal_options {
    int dir;                    /* opened with O_RDONLY, borrowed */
    struct journal_head *head;  /* shared page, borrowed */
    uint64_t segment_bytes;     /* 0: JOURNAL_SEGMENT_BYTES */
    int64_t retention_ms;       /* 0: keep for ever */
    uint64_t max_bytes;         /* 0: no limit */
    int64_t ids_keep_ms;        /* see journal_keep_ids() */
    uint64_t ids_keep_bytes;
    /* Called from the commit thread after each change of head->durable and
     * after a failure; must only wake somebody (an eventfd). */
    void (*on_durable)(void *arg);
    void *arg;
};

enum journal_state {
    JOURNAL_OK,
    JOURNAL_BUSY,   /* staging buffer full: refuse with 429, try again soon */
    JOURNAL_FULL,   /* no space for another segment: 503 */
    JOURNAL_FAILED  /* a sync failed: 503, journal_recover() is on its way */
};

/* Opens, recovers the tail, starts the commit and the preparing thread. */
struct journal *journal_open(const struct journal_options *o, struct err *e);
/* Commits what is staged, stops the threads, marks a clean end. */
void journal_close(struct journal *j);
/* Puts a record into the staging buffer; r->seq is set. Never waits for the
 * disk. The record is durable once head->durable >= r->seq; it is lost, and its sequence
 * number used again, when journal_failed_from() says so. One thread only. */
enum journal_state journal_append(struct journal *j, struct journal_record *r);
/* Wakes the commit thread; call once after a run of appends. */
void journal_flush(struct journal *j);
/* The first sequence number that a failed commit, or a full disk, has lost
 * since the last call, or 0. Answer every waiter from there on with 503. Until
 * this was asked journal_append() refuses, so that no number is used again
 * while somebody waits for its first use. */
uint64_t journal_failed_from(struct journal *j);
/* Applies retention now and waits for it; also done on its own about once a
 * minute. Not for the event loop: it may take some renames and a sync. */
void journal_retain(struct journal *j);

/* Other limits than those it was opened with; 0: none. May be called at any
 * time; what is due by them goes soon. */
void journal_keep(struct journal *j, int64_t retention_ms,
                  uint64_t max_bytes);
/* For how long, and in how many bytes, id files (ids.h) are kept whose segment
 * is gone; may be called at any time. 0: as ids.h says. */
void journal_keep_ids(struct journal *j, int64_t ms, uint64_t bytes);
/* What ids_hash() is keyed with. */
const unsigned char *journal_uuid(const struct journal *j);

/* ---- reading ---- */

struct journal_reader;

enum journal_read {
    JOURNAL_RECORD,  /* *r is filled; its payload lives until the next call */
    JOURNAL_END,     /* nothing more is durable */
    JOURNAL_LOST,    /* retention or damage took [lost_from, lost_to]; the
                        reader stands behind it */
    JOURNAL_ERROR    /* see err */
};

struct journal_reader *journal_reader_new(int dir,
                                          const struct journal_head *head);
/* Readers of one thread may share blocks of 256 KiB, so that what many lanes
 * read comes from the files once. A cache of `blocks` grows only when all of
 * them are held: each reader holds at most the one with its last record. Free
 * it after its readers. */
struct journal_cache;
struct journal_cache *journal_cache_new(int dir,
                                        const struct journal_head *head,
                                        unsigned blocks);
void journal_cache_free(struct journal_cache *c);
struct journal_reader *journal_reader_shared(struct journal_cache *c);
void journal_reader_free(struct journal_reader *r);
void journal_seek(struct journal_reader *r, struct journal_pos at);
/* The position of the record that journal_next() would give. */
struct journal_pos journal_tell(const struct journal_reader *r);
/* Where the record last given stands. */
struct journal_pos journal_last(const struct journal_reader *r);
/* Records of other sources than `source` are skipped; 0 takes all. Scans at
 * most `max_scan` records (0: no limit) and then gives JOURNAL_END. */
enum journal_read journal_next(struct journal_reader *r, uint32_t source,
                               unsigned max_scan, struct journal_record *out,
                               uint64_t *lost_from, uint64_t *lost_to,
                               struct err *e);
/* The first record received at or after `ms`, by the sparse index. */
int journal_find_time(struct journal_reader *r, int64_t ms,
                      struct journal_pos *out, struct err *e);

#endif

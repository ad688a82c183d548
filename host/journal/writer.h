/* SPDX-License-Identifier: Apache-2.0
 *
 * writer.h - the inside of struct journal, for the files that write it:
 *
 *   journal.c   append, the commit thread, what follows a failed sync
 *   keeper.c    the second thread: spares, footers, retention
 *   keeper_ids.c  the same: id files
 *   recover.c   open: what the directory holds, the tail, quarantine
 *
 * `lock` guards everything marked so; it is never held over I/O. */
#ifndef JOURNAL_WRITER_H
#define JOURNAL_WRITER_H

#include "journal/segment.h"

#include <pthread.h>

/* Two staging buffers of this size: one fills while one is committed. */
#define STAGING_BYTES (8u << 20)
#define SPARES_WANTED 2 /* ready at any time */
#define SPARES_MOST 4   /* retired segments beyond that are removed */
#define KEEPER_RETRY_MS 100
#define KEEPER_ROUND_MS 60000
/* The active segment is given up when its oldest record is older than this
 * part of the retention, so that a slow journal forgets in time too. */
#define AGE_PARTS 4
#define SEGMENTS_MOST 1000000 /* in one journal */
#define IDS_RETRY_MS 10000 /* after an id file could not be written */

#define META_FILE "journal.meta"
#define LOCK_FILE "journal.lock"
#define QUARANTINE "quarantine"

/* Records wait behind room for a batch header. */
struct staging {
    unsigned char *data;
    size_t len; /* bytes used, the header's room included */
    uint32_t n;
};

/* A segment that is no longer written. */
struct kept {
    uint64_t base, last, bytes;
    int64_t time_max;
    uint32_t epoch; /* that its header bears */
    bool has_ids;   /* its id file was written or found good */
};

/* An id file whose segment is gone. */
struct orphan {
    uint64_t base, bytes;
    int64_t time_max;
};

/* The segment being written. */
struct active {
    struct active *next; /* in j->closing */
    int fd;              /* -1: there is none */
    struct segment seg;
    struct segment_index ix;
    uint64_t at;  /* where the next batch goes */
    uint32_t sum; /* ix.sum after the last batch that was synced */
};

struct journal {
    struct journal_options o;
    int dir, lock_fd; /* dir borrowed */
    struct journal_head *head;
    unsigned char uuid[16];
    uint32_t seed;
    size_t payload_max;

    pthread_mutex_t lock;
    pthread_cond_t work;  /* for the commit thread */
    pthread_cond_t chore; /* for the keeper */
    pthread_cond_t done;  /* the keeper did a round */
    pthread_t commit_thread, keeper_thread;
    bool stop, keeper_stop;

    /* Under lock. */
    struct staging buffers[2], *fill;
    bool asleep;          /* the commit thread waits for work */
    uint64_t next;        /* sequence of the next append */
    uint32_t epoch;
    enum journal_state state; /* OK, FULL or FAILED */
    uint64_t failed_from;
    struct kept *kept;    /* by base */
    size_t n_kept, cap_kept;
    struct active *closing; /* owned; full, each to be given a footer */
    uint64_t spares[SPARES_MOST];
    unsigned n_spares;
    bool spare_failed;    /* the last attempt to make one */
    uint64_t asked, answered; /* rounds of the keeper */
    bool roll_wanted;         /* the active segment holds what is old */

    /* When the oldest record of the active segment was received. */
    _Atomic int64_t oldest;

    /* Of the commit thread alone. */
    struct active active;

    _Atomic int64_t retention_ms;    /* 0: for ever */
    _Atomic uint64_t max_bytes;      /* 0: no limit */
    _Atomic int64_t ids_keep_ms;     /* of orphans */
    _Atomic uint64_t ids_keep_bytes; /* the same */

    /* Of the keeper alone. */
    uint64_t spare_serial;
    struct orphan *orphans; /* owned, by base */
    size_t n_orphans, cap_orphans;
    uint64_t orphan_bytes;
    bool ids_listed, ids_failed;
    int64_t ids_retry_ms; /* monotonic; 0: at once */
};

/* ---- keeper.c ---- */

/* Makes one spare; -1 when the disk will not have it. */
int keeper_make_spare(struct journal *j, struct err *e);
void *keeper_main(void *journal);
void keeper_add(struct journal *j, struct kept k);
int keeper_write_footer(int fd, const struct segment *s,
                        const struct segment_index *ix);
void spare_name(char out[SEGMENT_NAME], uint64_t n, const char *suffix);

/* ---- keeper_ids.c ---- */

/* Writes the id file of a segment that is full from its index. */
void keeper_ids_seal(struct journal *j, const struct active *a);
/* One file looked at, made or removed; true when there is more to do. */
bool keeper_ids_chore(struct journal *j);
/* Around the end of a segment: the last chance to make its file, and its
 * file outlives it. */
void keeper_ids_retiring(struct journal *j, struct kept *k);
void keeper_ids_retired(struct journal *j, const struct kept *k);

/* ---- recover.c ---- */

/* Reads the directory, recovers the tail, leaves j ready to run. */
int recover_open(struct journal *j, struct err *e);
/* After a failed sync: looks at what the segment that failed really holds,
 * up to `durable`, and quarantines what is damaged. */
void recover_verify(struct journal *j, const struct segment *s,
                    uint64_t durable);
int recover_write_meta(struct journal *j, uint32_t epoch, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * page.h - how a campaign tells preload.c what to do to a running host.
 *
 * A file of one page, mapped by the campaign and by every process that was
 * started with manifold-faults.so in LD_PRELOAD and the file's path in
 * MANIFOLD_FAULTS. The campaign writes what is asked for, the processes count
 * what they did. All zeros but the magic: nothing is done. Every member is 8
 * bytes wide, so that a script can reach it by its number. */
#ifndef FAULTS_PAGE_H
#define FAULTS_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define FAULTS_MAGIC 0x31544c5541464d4dull /* "MMFAULT1" */
#define FAULTS_BYTES 4096
#define FAULTS_ENV "MANIFOLD_FAULTS"
#define FAULTS_WAIT_MOST_MS 200

typedef _Atomic uint64_t faults_word;

struct faults_page {
    faults_word magic;
    /* The disk: files on this device (st_dev) are meant, but not standard
     * error. 0: none are. */
    faults_word device;
    faults_word full;          /* 1: nothing grows, nothing is made: ENOSPC */
    faults_word sync_fails;    /* of a million syncs so many: EIO */
    faults_word write_fails;   /* of a million writes so many: EIO */
    faults_word short_writes;  /* of a million, to files and to sockets of
                                  the network: a first part only */
    faults_word sync_delay_us; /* each sync takes so much longer */
    /* The clocks. */
    _Atomic int64_t wall_ms;   /* added to the wall clock */
    faults_word rate;          /* both run so many times as fast since the
                                  page was made; 0 and 1: as they do.
                                  Fixed before the first process starts. */
    faults_word base_ns;       /* CLOCK_MONOTONIC when it was made */
    faults_word base_wall_ns;  /* CLOCK_REALTIME then */
    /* The recorder: every change of a file goes to the file that
     * MANIFOLD_FAULTS_TRACE names. */
    faults_word lock;          /* 1: an operation is being recorded */
    faults_word operations;    /* recorded so far */
    /* What was done. */
    faults_word done_enospc, done_eio, done_short, done_delays;
    /* Added to the monotonic clock: grows only. Nobody who waits is woken,
     * but waits for events end every
     * FAULTS_WAIT_MOST_MS to look at the clock. */
    faults_word mono_ms;
};

_Static_assert(sizeof(struct faults_page) <= FAULTS_BYTES, "one page");

/* A record of the trace, then `path` and, of a write that is not all zeros,
 * the bytes. Sync and rename: what was done before is behind it. */
struct faults_record {
    uint32_t bytes; /* of the whole record */
    uint8_t kind;   /* FAULTS_CREATE ... */
    uint8_t zeros;  /* a write: the bytes are zeros and not given */
    uint16_t path;  /* length of the path, or of both with a 0 between */
    uint64_t at, len;
};

enum {
    FAULTS_CREATE = 1, /* at: 1 if it was emptied and not made */
    FAULTS_WRITE,
    FAULTS_SYNC,
    FAULTS_SYNC_DIR,
    FAULTS_TRUNCATE, /* to len */
    FAULTS_RENAME,   /* path is from, a 0, to */
    FAULTS_UNLINK
};

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.h - the books of a campaign, kept outside of the server under test:
 * which events were acknowledged, and how often each arrived where.
 *
 * One file, mapped by the load that sends, by the receiver that counts, and
 * by whoever judges at the end; it outlives all of them. An event is a number
 * below `ids`. The numbers of a path's behaviour are written by the judge and
 * obeyed by the receiver. All words are 8 bytes, so that a script can read
 * them too. */
#ifndef CLI_TALLY_H
#define CLI_TALLY_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TALLY_MAGIC 0x31594c4c4154464dull /* "MFTALLY1" */
#define TALLY_PATHS 16
#define TALLY_NAME 32
#define TALLY_BUCKETS 512
#define TALLY_IDS_MAX 100000000

typedef _Atomic uint64_t tally_word;

/* Durations: eight steps for each doubling of nanoseconds. */
struct tally_times {
    tally_word n[TALLY_BUCKETS];
};

enum tally_mode {
    TALLY_OK,      /* 200 */
    TALLY_DEAD,    /* reads and never answers */
    TALLY_SLOW,    /* 200 after delay_ms */
    TALLY_STATUS,  /* `status`, with Retry-After where that is not 0 */
    TALLY_GARBAGE, /* bytes that are no answer */
    TALLY_HALF,    /* the first part of an answer, then the end */
    TALLY_RESET,   /* the connection is torn down */
    TALLY_MODES
};

struct tally_path {
    char name[TALLY_NAME];
    tally_word mode, status, delay_ms, retry_after;
    tally_word requests, delivered; /* events of answers 2xx */
    tally_word last_ns, gap_ns;     /* longest time without a request */
    struct tally_times latency;     /* made until delivered first */
};

struct tally {
    tally_word magic, ids;
    tally_word made, acked;      /* events */
    tally_word busy;             /* answers 429 and 503 */
    tally_word without_retry;    /* those that did not say when to come back */
    tally_word refused, broken;  /* other answers; connections that ended */
    tally_word last_ack_ns;
    struct tally_times answer;   /* of requests that were acknowledged */
    struct tally_path paths[TALLY_PATHS];
};

struct tally_file {
    struct tally *t;
    unsigned char *acks;                /* [ids]: 1 once acknowledged */
    unsigned char *counts[TALLY_PATHS]; /* [ids]: arrivals, at most 255 */
    size_t bytes;
};

int tally_create(struct tally_file *f, const char *path, uint64_t ids,
                 struct err *e);
int tally_open(struct tally_file *f, const char *path, struct err *e);
void tally_close(struct tally_file *f);
/* The path of that name, made if there is none; NULL: there are too many. */
struct tally_path *tally_path(struct tally_file *f, const char *name,
                              size_t len);
/* One more arrival of an event; true the first time. */
bool tally_count(struct tally_file *f, const struct tally_path *p,
                 uint64_t id);

void tally_time(struct tally_times *to, uint64_t ns);
/* The duration that a part p of them did not exceed, in ms. */
double tally_percentile(const struct tally_times *t, double p);

struct tally_verdict {
    uint64_t missing; /* acknowledged and never arrived */
    uint64_t extra;   /* arrivals beyond the first */
    uint64_t strange; /* arrived though nobody was told that it would */
    uint64_t first_missing;
};
struct tally_verdict tally_judge(const struct tally_file *f,
                                 const struct tally_path *p);

#endif

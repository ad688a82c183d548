/* SPDX-License-Identifier: Apache-2.0
 *
 * load.h - a load on the ingest API that this machine can only just make:
 * numbered events over kept connections, one thread, one epoll.
 *
 * With a tally each event has a number of its own, is sent again until it is
 * acknowledged, whatever happens to server and connection, and is written
 * down when it is. Without one, a connection that ends is an error. */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "cli/tally.h"

#include <signal.h>

#define LOAD_CONNECTIONS_MAX 1024
#define LOAD_BATCH_MAX 200
#define LOAD_PAD_MAX 30000
#define LOAD_BODY_MAX 500000 /* of a request */
/* The events' names: this, and the number in NUMBER_DIGITS digits. */
#define LOAD_ID "load-"
#define LOAD_DIGITS 12
/* When it was made (CLOCK_MONOTONIC, ns), in every event. */
#define LOAD_SENT "\"sent\":"
#define LOAD_SENT_DIGITS 19

struct load_options {
    const char *address, *write_key;
    unsigned connections, batch;
    double rate;              /* events a second; 0: as fast as it answers */
    double seconds;           /* 0: no limit */
    uint64_t events;          /* 0: no limit */
    unsigned pad;             /* bytes that make each event larger */
    struct tally_file *tally; /* or NULL */
    const volatile sig_atomic_t *stop; /* or NULL; what waits is given up */
};

struct load_result {
    uint64_t answered, refused; /* requests */
    double seconds;
    double p50_ms, p99_ms;
};

int load_run(const struct load_options *o, struct load_result *r,
             struct err *e);

#endif

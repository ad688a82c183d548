/* SPDX-License-Identifier: Apache-2.0
 *
 * rehearsal.h - what a replay would send, without sending it: which events of
 * the journal, from which sources, and the first requests. */
#ifndef CLI_REHEARSAL_H
#define CLI_REHEARSAL_H

#include "config/config.h"
#include "mapping/fql.h"

struct rehearsal {
    const struct config *config;
    const char *destination, *source; /* source NULL: all */
    int64_t from_ms, until_ms;
    const struct fql *where; /* NULL: all */
    uint64_t show;           /* events whose requests are printed */
    bool json;
};

/* Asks the running server what is durable, reads the journal in data_dir and
 * prints to standard output. */
int rehearse(const struct rehearsal *h, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * recompute.h - what a destination would make of an event now: which of its
 * subscriptions want it and which requests it would send, by the code that the
 * worker and `map` run, without a network. In a process of its own that has
 * given up what a worker gives up, since it runs the plugin. */
#ifndef CLI_RECOMPUTE_H
#define CLI_RECOMPUTE_H

#include "base/err.h"
#include "json/json.h"

#include <sys/types.h>

#define RECOMPUTE_SECONDS 10
#define RECOMPUTE_BYTES   (8u << 20) /* of what it may answer */

struct recompute {
    const char *plugin_file;
    mf_val spec;    /* name, settings, subscriptions, filter, endpoint */
    mf_val secrets; /* array of texts that must not be shown */
    mf_str event;   /* checked JSON */
    int64_t now;    /* the time that mappings see, Unix ms */
    uid_t uid;
    gid_t gid;
};

/* Appends one JSON object. -1: the process ended in another way. */
int recompute(const struct recompute *r, struct buf *to, struct err *e);

#endif

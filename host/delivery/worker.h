/* SPDX-License-Identifier: Apache-2.0
 *
 * worker.h - the process of one plugin: its lanes, its connections, and
 * nothing of anybody else's.
 *
 * It finds its descriptors open (proto.h), drops what it may, loads the one
 * plugin, and says MSG_READY or MSG_REFUSED. What it gets by MSG_WORKER_CONFIG:
 *
 *   { "destinations": [ { "name", "settings", "subscriptions"?, "filter"?,
 *       "endpoint"?, "concurrency", "rate", "retry_rate", "order", "ttl_ms",
 *       "timeout_ms", "connect_timeout_ms", "first_byte_timeout_ms",
 *       "batch_wait_ms", "allow_private" } ], "secrets": [ "..." ] }
 */
#ifndef DELIVERY_WORKER_H
#define DELIVERY_WORKER_H

#include <sys/types.h>

enum worker_exit {
    WORKER_DRAINED = 0,
    WORKER_REFUSED = 64, /* said why; starting it again would not help */
    WORKER_FAILED = 70   /* the host's own part failed */
};

int worker_main(const char *name, uid_t uid, gid_t gid, pid_t parent);

#endif

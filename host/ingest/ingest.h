/* SPDX-License-Identifier: Apache-2.0
 *
 * ingest.h - the role that accepts events: the Tracking API on the
 * supervisor's sockets, and the journal's only writer.
 *
 * A request is answered with 200 when all it carried is durable; the record
 * of an event is its normalised JSON (event.h). It knows nothing of
 * destinations. MSG_INGEST_CONFIG is
 *
 *   { "max_event_bytes", "max_batch_bytes", "dedupe_window_ms",
 *     "dedupe_memory", "retention_ms", "max_bytes", "threads",
 *     "max_connections", "max_connections_per_peer", "header_timeout_ms",
 *     "idle_timeout_ms",
 *     "sources": [ { "id", "name", "write_key", "rate"?, "burst"? } ] }
 *
 * where rate is events a second and burst 0 a second's worth. */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include <sys/types.h>

int ingest_main(uid_t uid, gid_t gid, pid_t parent);

#endif

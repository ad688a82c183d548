/* SPDX-License-Identifier: Apache-2.0
 *
 * connections.h - what the configuration allows clients' connections, and
 * what the HTTP server has counted of them, for the statistics. */
#ifndef INGEST_CONNECTIONS_H
#define INGEST_CONNECTIONS_H

#include "http/server.h"
#include "json/json.h"

/* Descriptors that are no client's: files of the journal, sockets listened
 * on by each thread, wake-ups of workers. */
#define DESCRIPTORS_OWN 3300

/* Of MSG_INGEST_CONFIG; what does not stand there is as http_limits_default
 * says. */
struct connection_limits {
    uint32_t connections, per_peer, header_ms, idle_ms;
};

void connections_read(mf_val config, struct connection_limits *l);
/* Raises the process's limit of descriptors as far as it may, and lowers
 * l->connections to what fits, with a warning: who is one too many must be
 * told 503, and not wait for somebody to go. */
void connections_fit(struct connection_limits *l);

/* "http": {...} */
void connections_write(struct json_out *w, const struct http_counters *c);

#endif

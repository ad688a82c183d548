/* SPDX-License-Identifier: Apache-2.0
 *
 * edge.h - what ingest is told of the edge of its HTTP server: the certificate
 * it shows, the proxies it trusts; and what it tells of both. */
#ifndef INGEST_EDGE_H
#define INGEST_EDGE_H

#include "base/err.h"
#include "http/server.h"
#include "http/tls.h"
#include "json/json.h"

/* Whom to believe. */
struct edge_trust {
    struct netblock blocks[HTTP_PROXIES_MAX];
    size_t count;
    bool proxy_protocol;
};

/* Of MSG_INGEST_CONFIG, JSON that was checked. */
void edge_read_trust(struct edge_trust *t, mf_str json);
/* Of MSG_TLS: NULL with *e "" when there is none, or with *e when it is
 * refused. The text is wiped. */
struct http_tls *edge_tls(mf_str message, struct err *e);
/* Members of the statistics. */
void edge_write_stats(struct json_out *w, const struct http_counters *c);

#endif

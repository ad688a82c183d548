/* SPDX-License-Identifier: Apache-2.0
 *
 * connections.c - see connections.h. */
#include "ingest/connections.h"

#include "base/log.h"

#include <sys/resource.h>

static uint32_t number(mf_val config, const char *key, uint32_t otherwise)
{
    int64_t v;

    return json_integer(json_get(config, mf_cstr(key)), &v) && v > 0 &&
                   v <= UINT32_MAX
               ? (uint32_t)v
               : otherwise;
}

void connections_read(mf_val config, struct connection_limits *l)
{
    const struct http_limits *d = &http_limits_default;

    l->connections = number(config, "max_connections", d->connections);
    l->per_peer = number(config, "max_connections_per_peer",
                         d->connections_per_peer);
    l->header_ms = number(config, "header_timeout_ms", d->header_ms);
    l->idle_ms = number(config, "idle_timeout_ms", d->idle_ms);
}

void connections_fit(struct connection_limits *l)
{
    rlim_t want = (rlim_t)l->connections + DESCRIPTORS_OWN, own;
    static rlim_t told; /* not at each reload */
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    if (r.rlim_cur < want && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = want < r.rlim_max ? want : r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
        getrlimit(RLIMIT_NOFILE, &r);
    }
    if (r.rlim_cur >= want)
        return;
    own = r.rlim_cur / 2 < DESCRIPTORS_OWN ? r.rlim_cur / 2 : DESCRIPTORS_OWN;
    if (told != want)
        log_warn("ingest.max_connections is %u, and the process may have %llu "
                 "descriptors: %llu connections are taken; raise LimitNOFILE",
                 l->connections, (unsigned long long)r.rlim_cur,
                 (unsigned long long)(r.rlim_cur - own));
    told = want;
    l->connections = (uint32_t)(r.rlim_cur - own);
}

/* ---- statistics ---- */

static void write_pairs(struct json_out *w, const char *key,
                        const char *const *names, const uint64_t *counts,
                        size_t n)
{
    json_key(w, mf_cstr(key));
    json_begin_object(w);
    for (size_t i = 0; i < n; i++) {
        json_key(w, mf_cstr(names[i]));
        json_int(w, (int64_t)counts[i]);
    }
    json_end_object(w);
}

static void write_faults(struct json_out *w, const struct http_counters *c)
{
    json_key(w, MF_STR("faults"));
    json_begin_object(w);
    for (int f = HTTP_NO_FAULT + 1; f < HTTP_FAULTS; f++) {
        json_key(w, mf_cstr(http_fault_kind((enum http_fault)f)));
        json_int(w, (int64_t)c->faults[f]);
    }
    json_end_object(w);
}

void connections_write(struct json_out *w, const struct http_counters *c)
{
    static const char *const states[] = { "idle", "busy" };
    static const char *const refusals[] = { "full", "peer" };
    static const char *const ends[] = { "evicted_idle", "evicted_slow", "idle",
                                        "stalled" };
    const uint64_t now[] = { c->open > c->busy ? c->open - c->busy : 0,
                             c->busy };
    const uint64_t refused[] = { c->refused_full, c->refused_peer };
    const uint64_t ended[] = { c->evicted_idle, c->evicted_slow, c->idle_closed,
                               c->write_stalled };

    json_key(w, MF_STR("http"));
    json_begin_object(w);
    write_pairs(w, "connections", states, now, 2);
    json_kint(w, "accepted", (int64_t)c->accepted);
    write_pairs(w, "refused", refusals, refused, 2);
    write_pairs(w, "closed", ends, ended, 4);
    json_kint(w, "accept_errors", (int64_t)c->accept_errors);
    json_kint(w, "requests", (int64_t)c->requests);
    json_kint(w, "replies_lost", (int64_t)c->replies_lost);
    json_kint(w, "bytes_in", (int64_t)c->bytes_in);
    json_kint(w, "bytes_out", (int64_t)c->bytes_out);
    json_kint(w, "buffer_bytes", (int64_t)c->buffer_bytes);
    write_faults(w, c);
    json_end_object(w);
}

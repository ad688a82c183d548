/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - an HTTP/1.x server for one event loop.
 *
 * It owns the connections on the listening sockets it is given, reads whole
 * requests (transfer and content coding removed) and hands each to one
 * handler, which answers at once or later, in the same thread. One request of
 * a connection is with the handler at a time; those that follow it wait in
 * the connection's buffer. It refuses what parse.h refuses, and whatever is
 * slower or larger than its limits. Listeners may speak TLS, and proxies that
 * are trusted may tell whose requests they pass on. It knows nothing of routes
 * or JSON.
 *
 * Why not libevent's evhttp, on whose loop it runs: of POSTs with 800 bytes,
 * answered with a constant, evhttp took 17.4 microseconds and 7.3 system calls
 * each, and 48 for a body of 80 KB; plain reads and writes with a parser of
 * one's own took 6.6 and 2.1. And version 2.1.12 takes two lengths that differ
 * (the first counts), "Content-Length : 5" (as no body: what follows is the
 * next request), chunk sizes such as 0x5, bare line feeds and NULs, and has no
 * deadline for a whole request: a header line a second holds a connection for
 * ever. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "base/netaddr.h"
#include "http/parse.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct http_server;
struct http_tls;

struct http_limits {
    uint32_t header_bytes;  /* at most 65535 */
    uint32_t header_count;  /* at most HTTP_FIELDS_MAX */
    uint32_t body_bytes;    /* as sent, without chunk framing */
    uint32_t decoded_bytes; /* after gzip */
    uint64_t discard_bytes; /* of a refused body read all the same */
    uint64_t buffer_bytes;  /* all bodies being read, together */
    uint32_t connections;
    uint32_t connections_per_peer; /* per IPv4 address or IPv6 /64 */
    uint32_t openings;             /* in a handshake or before their PROXY
                                      header; then the oldest goes */
    uint32_t header_ms;            /* from a request's first byte to its last
                                      header; for the handshake likewise */
    uint32_t body_grace_ms;        /* before body_rate is asked for */
    uint32_t body_rate;            /* bytes a second, least */
    uint32_t idle_ms;              /* between requests */
    uint32_t write_ms;             /* without a byte of an answer taken */
    uint32_t linger_ms;            /* after a refusal, for the client to read */
    uint32_t stream_backlog;       /* unsent bytes of a streaming answer */
    uint32_t sweep_ms;             /* how often deadlines are looked at */
};

/* header 16 KiB, 64; body 1 MiB, decoded 1 MiB; discard 64 MiB; buffers
 * 256 MiB; 16384 connections, 8192 per peer, 1024 openings; header 10 s; body
 * 10 KB/s after 10 s; idle 60 s; write 30 s; linger 2 s; stream backlog 1 MiB;
 * sweep 1 s. */
extern const struct http_limits http_limits_default;

/* Valid from the handler's call until its answer; everything in it is
 * borrowed and ends with the answer too. The connection may be gone by then:
 * the answer then goes nowhere, and must still be given. */
struct http_request {
    mf_str method;          /* as sent: "POST" */
    mf_str path;            /* raw, not percent-decoded; "/" at least */
    mf_str query;           /* raw, without '?'; ptr NULL when none */
    mf_str body;            /* decoded; empty when fault is set */
    mf_str peer;            /* address without port; "unix" */
    mf_str client;          /* whose request it is: the peer, or if that is a
                               trusted proxy the last address in
                               X-Forwarded-For that is none */
    bool secure;            /* TLS was spoken */
    uint64_t connection;    /* never used twice in one server */
    enum http_fault fault;  /* HTTP_TOO_LARGE and what follows it */
    const char *fault_text; /* for people; NULL without fault */
    const struct http_head *head;
    const char *base; /* what head's offsets count from */
    void *user;       /* the handler's own; NULL at first */
};

typedef void (*http_handler)(struct http_request *req, void *arg);

/* Why a connection did not come to its first request. */
enum http_opening_fault {
    HTTP_OPEN_PROXY,     /* no PROXY header where there must be one */
    HTTP_OPEN_PLAIN,     /* not TLS, where TLS is spoken */
    HTTP_OPEN_VERSION,   /* TLS before 1.2 */
    HTTP_OPEN_CIPHER,    /* nothing in common */
    HTTP_OPEN_ALPN,      /* the client does not want HTTP/1.1 */
    HTTP_OPEN_ALERT,     /* the client refused, the certificate often */
    HTTP_OPEN_MALFORMED, /* anything else in the handshake */
    HTTP_OPEN_GONE,      /* the client went away */
    HTTP_OPEN_SLOW,
    HTTP_OPEN_EVICTED, /* there were too many */
    HTTP_OPEN_FAULTS
};

/* "proxy_header", "plaintext", ... */
const char *http_opening_code(enum http_opening_fault f);

struct http_counters {
    uint64_t open, accepted;
    uint64_t refused_full, refused_peer; /* connections */
    uint64_t evicted_idle, evicted_slow; /* closed to make room for others */
    uint64_t accept_errors;
    uint64_t requests, replies;
    uint64_t replies_lost; /* the connection was gone */
    uint64_t idle_closed, write_stalled;
    uint64_t bytes_in, bytes_out;
    uint64_t body_buffer_bytes; /* now; of bodies larger than a block */
    uint64_t buffer_bytes;      /* now; of all that is being read */
    uint64_t busy; /* connections with a request begun and not answered */
    uint64_t opening;           /* now */
    uint64_t handshakes, handshakes_resumed; /* that ended well */
    uint64_t proxied;                        /* PROXY headers taken */
    uint64_t records_bad; /* connections that TLS broke after its handshake */
    uint64_t forwarded_bad; /* X-Forwarded-For of a proxy, malformed */
    uint64_t openings[HTTP_OPEN_FAULTS];
    uint64_t faults[HTTP_FAULTS];
};

/* limits NULL = the defaults; copied. */
struct http_server *http_server_new(struct event_base *base,
                                    const struct http_limits *limits,
                                    http_handler fn, void *arg);
/* Other limits of a body, from the next request on. */
void http_server_limit_body(struct http_server *s, uint32_t body_bytes,
                            uint32_t decoded_bytes);
/* Other limits of connections: those that are open stay, and have the times
 * that were theirs when they last waited. header_ms is also the grace that a
 * body has. */
void http_server_limit_connections(struct http_server *s, uint32_t connections,
                                   uint32_t per_peer, uint32_t header_ms,
                                   uint32_t idle_ms);
/* Accepts on a listening, non-blocking descriptor, which stays the caller's.
 * Any number up to HTTP_LISTENERS_MAX. */
#define HTTP_LISTENERS_MAX 128
int http_server_listen(struct http_server *s, int listen_fd);
/* The same, and its connections speak TLS. */
int http_server_listen_tls(struct http_server *s, int listen_fd);
/* With which certificate connections begin from now on; those that are open
 * stay as they are. NULL: none, and such connections are closed. */
void http_server_use_tls(struct http_server *s, struct http_tls *t);
/* Which peers are believed when they say whose requests they pass on; copied.
 * With proxy_protocol their connections must begin with a PROXY header. Others
 * are served as they are, and a header of theirs is no HTTP. */
#define HTTP_PROXIES_MAX 256
void http_server_trust(struct http_server *s, const struct netblock *proxies,
                       size_t count, bool proxy_protocol);
/* No more connections from there; those that are open stay. */
void http_server_unlisten(struct http_server *s, int listen_fd);
void http_server_stop_accepting(struct http_server *s);
/* Stops accepting, closes idle connections and streams, lets requests finish
 * with "Connection: close", and calls done once nobody is left or the time is
 * over. done may free the server. */
void http_server_drain(struct http_server *s, uint32_t deadline_ms,
                       void (*done)(void *arg), void *arg);
/* Closes everything. Requests still with the handler may be answered after
 * this, into nothing; no stream's closed is called any more. Not from inside
 * the handler. */
void http_server_free(struct http_server *s);
/* Valid until the next call. */
const struct http_counters *http_server_counters(struct http_server *s);

/* ---- a request's headers; ptr is NULL when absent ---- */

static inline mf_str http_header(const struct http_request *r,
                                 enum http_known k)
{
    return http_head_known(r->head, r->base, k);
}

static inline mf_str http_header_named(const struct http_request *r,
                                       mf_str name)
{
    return http_head_named(r->head, r->base, name);
}

/* ---- answers: each request gets exactly one, of one kind ---- */

/* content_type NULL = none. extra_headers is empty or whole lines, each ending
 * in CRLF; Date, Content-Length and Connection are written here. Everything is
 * copied or sent before this returns, and the request is gone. */
void http_reply(struct http_request *r, int status, const char *content_type,
                mf_str extra_headers, mf_str body);
/* The connection ends after the answer. Before http_reply(). */
void http_close_after(struct http_request *r);

/* A streaming answer, for server-sent events. closed is called once when the
 * client went away, fell stream_backlog behind or the server drains, never
 * from inside these calls; after it, or after http_stream_end(), the request
 * is gone. */
typedef void (*http_closed)(struct http_request *r, void *arg);
void http_stream_begin(struct http_request *r, int status,
                       const char *content_type, mf_str extra_headers,
                       http_closed closed, void *arg);
/* 0, or -1 when the stream is lost (closed will be or was called). */
int http_stream_send(struct http_request *r, mf_str bytes);
void http_stream_end(struct http_request *r);

#endif

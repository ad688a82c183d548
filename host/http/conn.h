/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.h - what the files of the server share; not for other layers.
 *
 *   pool.c    blocks of memory that requests are read into
 *   wheel.c   deadlines
 *   reply.c   answers and streams on their way out
 *   opening.c what stands before requests: PROXY header, TLS handshake
 *   tls.c     the bytes of a connection that speaks TLS
 *   conn.c    one connection: reading, handing over, closing
 *   server.c  listeners, peers, drain
 *
 * A connection between two requests holds no block. A block belongs to one
 * connection, from a request's first byte to its answer; bytes of the next
 * request may lie behind it. A connection whose descriptor is gone stays in
 * memory while the handler owes an answer. */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include "base/buf.h"
#include "http/gzip.h"
#include "http/server.h"
#include "http/tls.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <unistd.h>

/* ---- pool.c ---- */

#define BLOCK_CLASSES   18
#define BLOCK_FREE_MAX  (32u << 20) /* bytes kept for the next request */
#define BLOCK_HEAD_ROOM 4096        /* of the smallest, beside a full head */

struct block {
    struct block *next; /* while free */
    unsigned size_class;
    size_t cap;
    struct http_head head;
    struct http_chunks chunks;
    char data[];
};

struct block_pool {
    struct block *free[BLOCK_CLASSES];
    size_t least; /* cap of class 0; class n has least << n */
    size_t free_bytes;
    uint64_t used; /* blocks that connections have now */
    uint64_t big; /* bytes in use in blocks above class 0 */
    uint64_t small; /* and in those of class 0 */
    uint64_t big_max;
};

void http_pool_init(struct block_pool *p, size_t least, uint64_t big_max);
void http_pool_deinit(struct block_pool *p);
struct block *http_block_get(struct block_pool *p);
void http_block_put(struct block_pool *p, struct block *b);
/* A block of at least `need` with the first `used` bytes and the parser's
 * state carried over, or NULL (b stays) when that passes big_max. */
struct block *http_block_grow(struct block_pool *p, struct block *b,
                              size_t need, size_t used);

/* ---- connections ---- */

enum conn_state {
    CONN_IDLE, /* between requests, no byte of the next one yet */
    CONN_HEAD,
    CONN_BODY,
    CONN_FLIGHT,  /* with the handler */
    CONN_STREAM,  /* a streaming answer */
    CONN_CLOSING, /* the last answer is on its way out */
    CONN_LINGER,  /* answered and half closed; what comes is thrown away */
    CONN_OPENING  /* before its first request: see opening.c */
};

struct peer;
struct opening;

struct conn {
    struct http_request req;    /* first: a request is its connection */
    struct http_server *server; /* NULL when it is gone */
    int fd;                     /* -1 when it is gone */
    enum conn_state state;
    bool reading, writing; /* the event is added */
    bool eof;              /* the client has sent its last byte */
    bool broken;           /* a write failed or ran over */
    bool in_handler, answered;
    bool close_after;          /* this answer is the last */
    bool linger;               /* unread bytes may be behind it */
    bool discarding;           /* the body is read to be forgotten */
    bool no_body, chunked_out; /* of the streaming answer */
    bool queued;
    bool kicked;  /* on the server's list of that name */
    bool addressed; /* address holds who the client is */

    struct block *in;
    size_t start; /* of the request in in->data */
    size_t len;   /* bytes in in->data */
    size_t head_len;
    size_t body_len;   /* decoded chunks */
    size_t end;        /* of the request, once whole */
    uint64_t left;     /* of a discarded body with a length */
    uint64_t received; /* body bytes as they came */
    int64_t began;     /* monotonic ms, of the head or the body */
    struct buf decoded;

    struct buf out;
    size_t sent; /* of out */

    http_closed closed;
    void *closed_arg;

    int64_t deadline, tick; /* tick 0 = not on the wheel */
    LIST_ENTRY(conn) on_wheel;
    LIST_ENTRY(conn) on_list; /* all or owed */
    TAILQ_ENTRY(conn) on_ready;
    struct peer *peer;
    struct event rd, wr;
    struct tls_conn *tls;    /* NULL: its bytes are what they are */
    struct opening *opening; /* while that is under way */
    TAILQ_ENTRY(conn) on_opening, on_kicked;
    struct netaddr address;
    char peer_text[NETADDR_TEXT], client_text[NETADDR_TEXT];
};

LIST_HEAD(conn_list, conn);
TAILQ_HEAD(conn_queue, conn);

/* ---- wheel.c ---- */

#define WHEEL_SLOTS      512 /* a power of two */
#define WHEEL_TICK_SHIFT 8   /* 256 ms a tick: 131 s around */

struct wheel {
    struct conn_list slot[WHEEL_SLOTS];
    int64_t tick; /* the last one looked at */
};

void http_wheel_init(struct wheel *w, int64_t now);
void http_wheel_set(struct wheel *w, struct conn *c, int64_t deadline);
void http_wheel_remove(struct conn *c);
/* Calls expire for each connection whose deadline has passed; it may close
 * any connection. */
void http_wheel_sweep(struct wheel *w, int64_t now,
                      void (*expire)(struct conn *c, int64_t now));

/* ---- the server ---- */

#define PEER_BUCKETS 1024 /* a power of two */
#define DATE_TEXT    30   /* "Mon, 12 Jan 2026 10:00:00 GMT" and a NUL */

struct listener {
    struct event ev;
    struct http_server *server;
    int fd;
    bool tls;
};

struct http_server {
    struct event_base *base;
    struct http_limits limits;
    http_handler fn;
    void *arg;
    struct http_counters counters;
    struct listener *listeners[HTTP_LISTENERS_MAX];
    unsigned listener_count;
    bool accepting; /* listeners are wanted */
    bool paused;    /* they are not added for want of room */
    bool draining;
    uint64_t last_id;
    struct conn_list all;
    struct conn_list owed;   /* gone, but with the handler */
    struct conn_queue ready; /* to go on with in this turn */
    unsigned ready_count;
    struct wheel wheel;
    struct block_pool pool;
    struct peer *peers[PEER_BUCKETS];
    uint64_t peer_seed;
    struct gunzip *gunzip; /* made at the first use */
    struct buf scratch;    /* an answer being put together */
    int64_t date_second;
    int64_t warned; /* when accepting last failed for want of room */
    char date[DATE_TEXT];
    struct event sweep_ev, ready_ev, drain_ev, kick_ev;
    struct conn_queue opening; /* oldest first */
    unsigned opening_count;
    struct conn_queue kicked; /* have bytes that no descriptor tells of */
    unsigned kicked_count;
    struct http_tls *tls;     /* of new connections; NULL: none */
    struct netblock *proxies;
    size_t proxy_count;
    bool proxy_protocol;
    int64_t told_ms; /* when a failed opening was logged last */
    uint64_t untold; /* those since */
    void (*done)(void *arg);
    void *done_arg;
};

/* ---- reply.c ---- */

/* Sends a then b, keeping what the socket does not take; with cork, keeps all
 * of it until http_out_flush(). */
void http_out_put(struct conn *c, mf_str a, mf_str b, bool cork);
/* The same past TLS: bytes as they go over the network. */
void http_out_raw(struct conn *c, mf_str a, mf_str b, bool cork);
/* True when nothing is left to send. */
bool http_out_flush(struct conn *c);
/* The server's own refusal; the connection closes after it. */
void http_out_fault(struct conn *c, enum http_fault f);

/* ---- tls.c ---- */

void http_tls_begin(struct conn *c, struct http_tls *t);
enum http_step { HTTP_STEP_WAIT, HTTP_STEP_DONE, HTTP_STEP_FAILED };
/* A step of the handshake; *fault and *why when it fails. */
enum http_step http_tls_shake(struct conn *c, enum http_opening_fault *fault,
                              const char **why);
/* As read(2). */
ssize_t http_tls_read(struct conn *c, void *to, size_t n);
/* Something can be read that the descriptor does not tell of. */
bool http_tls_waits(const struct conn *c);
void http_tls_put(struct conn *c, mf_str a, mf_str b, bool cork);
/* Says that nothing follows. Again: nothing. */
void http_tls_bye(struct conn *c);
void http_tls_end(struct conn *c);

static inline ssize_t conn_read(struct conn *c, void *to, size_t n)
{
    return c->tls ? http_tls_read(c, to, n) : read(c->fd, to, n);
}

/* ---- opening.c ---- */

/* A new connection that must say something before its first request. */
void http_opening_begin(struct conn *c, bool proxied);
/* Its descriptor is readable. True when it is open: on with requests. */
bool http_opening_go_on(struct conn *c);
void http_opening_expire(struct conn *c);
/* Bytes that were read beyond the PROXY header, once. */
size_t http_opening_rest(struct conn *c, void *to, size_t n);
/* It is over, well or not. */
void http_opening_end(struct conn *c);

/* ---- forwarded.c ---- */

/* Fills in req.client of a request that has X-Forwarded-For. What is malformed
 * there is counted and ends the search. */
void http_forwarded(struct conn *c);

/* ---- conn.c ---- */

struct conn *http_conn_new(struct http_server *s, int fd);
/* Answers a request that cannot be, and ends. */
void http_conn_refuse(struct conn *c, enum http_fault f);
/* Gives everything back but what the handler still holds. */
void http_conn_close(struct conn *c);
void http_conn_free(struct conn *c);
/* The answer is given: on to the next request, or the end. */
void http_conn_answered(struct conn *c);
/* Goes on with what is in the buffer, from the server's ready queue. */
void http_conn_continue(struct conn *c);
void http_conn_expire(struct conn *c, int64_t now);
void http_conn_readable(struct conn *c);

/* ---- server.c ---- */

/* Has http_conn_continue() called soon, not from inside this. */
void http_server_queue(struct http_server *s, struct conn *c);
void http_server_unqueue(struct http_server *s, struct conn *c);
/* A connection has gone. */
void http_server_left(struct http_server *s, struct conn *c);
/* Has c looked at as if its descriptor were readable, soon. */
void http_server_kick(struct http_server *s, struct conn *c);
void http_server_unkick(struct http_server *s, struct conn *c);
/* The client is really there; false when it has enough connections. */
bool http_server_is_from(struct http_server *s, struct conn *c,
                         const struct netaddr *client);
bool http_server_trusts(const struct http_server *s,
                        const struct netaddr *address);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.h - what the files of the server share; not for other layers.
 *
 *   pool.c    blocks of memory that requests are read into
 *   wheel.c   deadlines
 *   reply.c   answers and streams on their way out
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

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/queue.h>

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
    CONN_LINGER   /* answered and half closed; what comes is thrown away */
};

struct peer;

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
    char peer_text[INET6_ADDRSTRLEN];
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
    struct event sweep_ev, ready_ev, drain_ev;
    void (*done)(void *arg);
    void *done_arg;
};

/* ---- reply.c ---- */

/* Sends a then b, keeping what the socket does not take; with cork, keeps all
 * of it until http_out_flush(). */
void http_out_put(struct conn *c, mf_str a, mf_str b, bool cork);
/* True when nothing is left to send. */
bool http_out_flush(struct conn *c);
/* The server's own refusal; the connection closes after it. */
void http_out_fault(struct conn *c, enum http_fault f);

/* ---- conn.c ---- */

struct conn *http_conn_new(struct http_server *s, int fd);
/* Gives everything back but what the handler still holds. */
void http_conn_close(struct conn *c);
void http_conn_free(struct conn *c);
/* The answer is given: on to the next request, or the end. */
void http_conn_answered(struct conn *c);
/* Goes on with what is in the buffer, from the server's ready queue. */
void http_conn_continue(struct conn *c);
void http_conn_expire(struct conn *c, int64_t now);

/* ---- server.c ---- */

/* Has http_conn_continue() called soon, not from inside this. */
void http_server_queue(struct http_server *s, struct conn *c);
void http_server_unqueue(struct http_server *s, struct conn *c);
/* A connection has gone. */
void http_server_left(struct http_server *s, struct conn *c);

#endif

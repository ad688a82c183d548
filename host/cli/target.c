/* SPDX-License-Identifier: Apache-2.0
 *
 * target.c - see target.h. One thread, one epoll, one request after the other
 * on a connection. Its misbehaviours are what far sides are seen to do: no
 * answer, a late one, refusals with and without a time to come back, bytes
 * that are no HTTP, half an answer, a reset. */
#include "cli/target.h"
#include "cli/load.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX    8192
#define REQUEST_MAX  (8u << 20)
#define ROOM_FIRST   16384
#define LOOK_MS      5 /* how late a delayed answer may be */
#define EVENTS       256

struct conn {
    struct conn *next, **link; /* in t->late */
    int fd;
    bool closing;              /* nothing of it is looked at any more */
    char *in;
    size_t len, room;
    int64_t due_ns;            /* of a late answer */
    struct tally_path *path;   /* of the request that waits for it */
    size_t request;            /* its bytes */
};

struct target {
    struct tally_file *tally;
    int epoll, listener;
    unsigned count;
    struct conn *late;
};

/* ---- connections ---- */

static void not_late(struct conn *c)
{
    if (!c->link)
        return;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->link = NULL;
}

static void drop(struct target *t, struct conn *c)
{
    not_late(c);
    close(c->fd);
    free(c->in);
    free(c);
    t->count--;
}

static void accept_all(struct target *t)
{
    int fd;

    while (t->count < CONNS_MAX &&
           (fd = accept4(t->listener, NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = xcalloc(1, sizeof *c);
        struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

        c->fd = fd;
        c->room = ROOM_FIRST;
        c->in = xmalloc(c->room);
        t->count++;
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev);
    }
}

/* ---- requests ---- */

/* The bytes of the request at the front, 0 if it is not whole yet. */
static size_t whole(struct conn *c)
{
    char *end = memmem(c->in, c->len, "\r\n\r\n", 4), *at;
    size_t n;

    if (!end)
        return 0;
    n = (size_t)(end - c->in) + 4;
    *end = 0; /* for the search; put back */
    at = strcasestr(c->in, "\r\ncontent-length:");
    if (at)
        n += strtoul(at + 17, NULL, 10);
    *end = '\r';
    return n <= c->len ? n : 0;
}

static struct tally_path *path_of(struct target *t, struct conn *c)
{
    const char *at = memchr(c->in, '/', c->len);
    size_t n = 0;

    if (!at)
        return NULL;
    at++;
    while (at + n < c->in + c->len && at[n] != ' ' && at[n] != '/' &&
           at[n] != '?')
        n++;
    return n ? tally_path(t->tally, at, n) : NULL;
}

static bool number_behind(const char *at, const char *end, const char *mark,
                          unsigned digits, uint64_t *out)
{
    size_t n = strlen(mark);
    const char *p = memmem(at, (size_t)(end - at), mark, n);

    return p && p + n + digits <= end &&
           parse_u64((mf_str){ p + n, digits }, out);
}

/* Every event of a request that is answered with success has arrived. */
static void count_events(struct target *t, struct conn *c)
{
    static const char name[] = "\"messageId\":\"" LOAD_ID;
    const char *at = c->in, *end = c->in + c->request;
    int64_t now = clock_mono_ns();
    uint64_t id, sent;

    while ((at = memmem(at, (size_t)(end - at), name, sizeof name - 1))) {
        if (number_behind(at, end, name, LOAD_DIGITS, &id)) {
            atomic_fetch_add(&c->path->delivered, 1);
            if (tally_count(t->tally, c->path, id) &&
                number_behind(at, end, LOAD_SENT, LOAD_SENT_DIGITS, &sent))
                tally_time(&c->path->latency,
                           (uint64_t)now - (sent - 1000000000000000000ull));
        }
        at += sizeof name - 1;
    }
}

static void note_request(struct tally_path *p)
{
    uint64_t now = (uint64_t)clock_mono_ns(), last = p->last_ns;

    if (last && now - last > p->gap_ns)
        p->gap_ns = now - last;
    p->last_ns = now;
    atomic_fetch_add(&p->requests, 1);
}

/* Small enough for any socket's buffer. */
static void say(struct conn *c, const char *text, size_t n)
{
    if (send(c->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        c->closing = true;
}

static void answer(struct target *t, struct conn *c, uint64_t status,
                   uint64_t retry_after)
{
    char text[256];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %" PRIu64 " X\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: 2\r\n", status);

    if (retry_after)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "Retry-After: %" PRIu64 "\r\n", retry_after);
    n += snprintf(text + n, sizeof text - (size_t)n, "\r\n{}");
    if (status < 300)
        count_events(t, c);
    say(c, text, (size_t)n);
}

static void reset(struct conn *c)
{
    struct linger hard = { 1, 0 };

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    c->closing = true;
}

static void wait_late(struct target *t, struct conn *c, uint64_t ms)
{
    c->due_ns = clock_mono_ns() + (int64_t)ms * 1000000;
    c->next = t->late;
    c->link = &t->late;
    if (c->next)
        c->next->link = &c->next;
    t->late = c;
}

/* Answers as its path does now; false: the answer is still to come. */
static bool behave(struct target *t, struct conn *c)
{
    static const char half[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Length: 200\r\n\r\n{";
    static const char noise[] = "\x16\x03\x01 no answer \xff\xfe\r\n\r\n";
    struct tally_path *p = c->path;

    switch ((enum tally_mode)p->mode) {
    case TALLY_DEAD:
        return false;
    case TALLY_SLOW:
        wait_late(t, c, p->delay_ms);
        return false;
    case TALLY_STATUS:
        answer(t, c, p->status, p->retry_after);
        return true;
    case TALLY_GARBAGE:
        say(c, noise, sizeof noise - 1);
        c->closing = true;
        return true;
    case TALLY_HALF:
        say(c, half, sizeof half - 1);
        c->closing = true;
        return true;
    case TALLY_RESET:
        reset(c);
        return true;
    default:
        answer(t, c, 200, 0);
        return true;
    }
}

static void forget_request(struct conn *c)
{
    memmove(c->in, c->in + c->request, c->len - c->request);
    c->len -= c->request;
    c->request = 0;
    c->path = NULL;
}

static void serve(struct target *t, struct conn *c)
{
    while (!c->closing && !c->path && (c->request = whole(c))) {
        c->path = path_of(t, c);
        if (!c->path) {
            c->closing = true;
            return;
        }
        note_request(c->path);
        if (!behave(t, c))
            return;
        forget_request(c);
    }
}

static void receive(struct target *t, struct conn *c)
{
    ssize_t n;

    if (c->len == c->room) {
        if (c->room >= REQUEST_MAX) {
            c->closing = true;
            return;
        }
        c->room *= 2;
        c->in = xrealloc(c->in, c->room);
    }
    n = recv(c->fd, c->in + c->len, c->room - c->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        c->closing = true;
        return;
    }
    c->len += (size_t)n;
    serve(t, c);
}

/* Late answers that are due; all of a path that is slow no more. */
static void answer_late(struct target *t)
{
    int64_t now = clock_mono_ns();

    for (struct conn *c = t->late, *next; c; c = next) {
        next = c->next;
        if (c->due_ns > now && c->path->mode == TALLY_SLOW)
            continue;
        not_late(c);
        answer(t, c, 200, 0);
        forget_request(c);
        serve(t, c);
        if (c->closing)
            drop(t, c);
    }
}

static int listen_on(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(fd, 4096) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

int target_run(int port, struct tally_file *tally,
               const volatile sig_atomic_t *stop, struct err *e)
{
    struct target t = { .tally = tally, .listener = listen_on(port) };
    struct epoll_event ready[EVENTS], ev = { .events = EPOLLIN };

    if (t.listener < 0)
        return err_sys(e, "port %d cannot be listened on", port);
    t.epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(t.epoll, EPOLL_CTL_ADD, t.listener, &ev);
    while (!*stop) {
        int n = epoll_wait(t.epoll, ready, EVENTS, t.late ? LOOK_MS : 200);

        for (int i = 0; i < n; i++) {
            struct conn *c = ready[i].data.ptr;

            if (!c) {
                accept_all(&t);
                continue;
            }
            receive(&t, c);
            if (c->closing)
                drop(&t, c);
        }
        answer_late(&t);
    }
    close(t.listener);
    close(t.epoll);
    return 0; /* connections end with the process */
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * http_bench.c - what the HTTP layer alone costs: every request is answered
 * with a constant 200, at once or, with "late", together with all others of
 * the same turn of the loop, as a group commit does.
 *
 *   http_bench PORT SECONDS [late]
 *   wrk -t1 -c64 -d5 -s post.lua http://127.0.0.1:PORT/v1/track
 *
 * Prints requests, requests a second while busy, and CPU microseconds (user,
 * system) a request. Pin it and the load to different cores. */
#include "http/server.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define WAITING_MAX 65536

struct bench {
    struct http_request *waiting[WAITING_MAX];
    unsigned count;
    struct event *commit;
    int64_t first_ns, last_ns;
    double user_0, system_0;
};

static void answer(struct http_request *r)
{
    http_reply(r, 200, "application/json", MF_STR(""),
               MF_STR("{\"success\":true}"));
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void usage_now(double *user, double *system_time)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    *user = seconds(u.ru_utime);
    *system_time = seconds(u.ru_stime);
}

static void stamp(struct bench *b)
{
    b->last_ns = clock_mono_ns();
    if (b->first_ns)
        return;
    b->first_ns = b->last_ns;
    usage_now(&b->user_0, &b->system_0);
}

static void at_once(struct http_request *r, void *arg)
{
    stamp(arg);
    answer(r);
}

static void later(struct http_request *r, void *arg)
{
    struct bench *b = arg;

    stamp(b);
    if (b->count == WAITING_MAX) {
        answer(r);
        return;
    }
    b->waiting[b->count++] = r;
    if (b->count == 1)
        event_active(b->commit, EV_TIMEOUT, 0);
}

static void commit(evutil_socket_t fd, short what, void *arg)
{
    struct bench *b = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; i < b->count; i++)
        answer(b->waiting[i]);
    b->count = 0;
}

static int listen_at(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 1024)) {
        perror("http_bench: bind");
        exit(1);
    }
    return fd;
}

static void report(const struct bench *b, struct http_server *s)
{
    const struct http_counters *c = http_server_counters(s);
    double user, system_time, n = (double)c->requests;
    double busy = (double)(b->last_ns - b->first_ns) / 1e9;

    usage_now(&user, &system_time);
    if (n == 0 || busy <= 0) {
        puts("no requests");
        return;
    }
    printf("requests %.0f  req/s %.0f  us/req %.2f (user %.2f system %.2f)\n",
           n, n / busy,
           (user - b->user_0 + system_time - b->system_0) / n * 1e6,
           (user - b->user_0) / n * 1e6, (system_time - b->system_0) / n * 1e6);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct event_base *base = event_base_new();
    struct http_server *s;
    struct timeval tv = { 0, 0 };

    if (argc < 3) {
        fputs("usage: http_bench PORT SECONDS [late]\n", stderr);
        return 2;
    }
    tv.tv_sec = strtol(argv[2], NULL, 10);
    b.commit = event_new(base, -1, 0, commit, &b);
    s = http_server_new(base, NULL, argc > 3 ? later : at_once, &b);
    http_server_listen(s, listen_at((int)strtol(argv[1], NULL, 10)));
    event_base_loopexit(base, &tv);
    event_base_dispatch(base);
    report(&b, s);
    http_server_free(s);
    event_free(b.commit);
    event_base_free(base);
    return 0;
}

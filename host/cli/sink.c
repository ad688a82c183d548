/* SPDX-License-Identifier: Apache-2.0
 *
 * sink.c - `manifold sink`: a receiver for trying things out and for tests.
 * It takes any request, answers 200 {} (or as told), and writes one line of
 * JSON for each: method, path, headers, body. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/mem.h"
#include "base/text.h"
#include "http/server.h"
#include "json/json.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_BYTES (8u << 20)

struct sink {
    struct event_base *base;
    int status, out;
    int64_t delay_ms;
    bool silent; /* never answers */
    bool quiet;  /* writes nothing */
    struct buf line;
};

struct delayed {
    struct sink *s;
    struct http_request *r;
    struct event *timer;
};

static void answer(struct sink *s, struct http_request *r)
{
    http_reply(r, s->status, "application/json", (mf_str){ "", 0 },
               MF_STR("{}"));
}

static void on_delay(evutil_socket_t fd, short what, void *arg)
{
    struct delayed *d = arg;

    (void)fd;
    (void)what;
    answer(d->s, d->r);
    event_free(d->timer);
    free(d);
}

static void write_line(struct sink *s, struct http_request *r)
{
    struct json_out w;

    buf_clear(&s->line);
    json_out_init(&w, &s->line);
    json_begin_object(&w);
    json_kstr(&w, "method", r->method);
    json_kstr(&w, "path", r->path);
    if (r->query.len)
        json_kstr(&w, "query", r->query);
    json_key(&w, MF_STR("headers"));
    json_begin_object(&w);
    for (unsigned i = 0; i < r->head->count; i++) {
        const struct http_field *f = &r->head->field[i];
        mf_str name = http_span_of(r->base, f->name);
        char lower[128];
        size_t n = name.len < sizeof lower ? name.len : sizeof lower;

        for (size_t k = 0; k < n; k++)
            lower[k] = name.ptr[k] >= 'A' && name.ptr[k] <= 'Z'
                           ? (char)(name.ptr[k] + 32)
                           : name.ptr[k];
        json_key(&w, (mf_str){ lower, n });
        json_str(&w, http_span_of(r->base, f->value));
    }
    json_end_object(&w);
    if (json_check(r->body, JSON_DEPTH_MAX, NULL) == 0)
        json_kval(&w, "json", json_root(r->body));
    else
        json_kstr(&w, "body", r->body);
    json_end_object(&w);
    buf_char(&s->line, '\n');
    if (write(s->out, s->line.data, s->line.len) < 0)
        perror("manifold sink");
}

static void on_request(struct http_request *r, void *arg)
{
    struct sink *s = arg;
    struct timeval tv = { s->delay_ms / 1000, s->delay_ms % 1000 * 1000 };
    struct delayed *d;

    if (!s->quiet)
        write_line(s, r);
    if (s->silent)
        return;
    if (!s->delay_ms) {
        answer(s, r);
        return;
    }
    d = xcalloc(1, sizeof *d);
    d->s = s;
    d->r = r;
    d->timer = evtimer_new(s->base, on_delay, d);
    event_add(d->timer, &tv);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct sink *s = arg;

    (void)fd;
    (void)what;
    event_base_loopbreak(s->base);
}

static int listen_on(const char *address, char *bound, size_t size)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof a;
    char host[64];
    const char *colon = strrchr(address, ':');
    uint64_t port;
    int fd, one = 1;

    if (!colon || (size_t)(colon - address) >= sizeof host ||
        !parse_u64(mf_cstr(colon + 1), &port) || port > 65535)
        return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
        return -1;
    a.sin_port = htons((uint16_t)port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(fd, 4096) != 0)
        return -1;
    getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(bound, size, "%s:%u", host, ntohs(a.sin_port));
    return fd;
}

static int serve(struct sink *s, int fd, const char *bound)
{
    struct http_server *server;
    struct event *term, *interrupt;

    s->base = event_base_new();
    ASSERT(s->base);
    signal(SIGPIPE, SIG_IGN);
    server = http_server_new(s->base, NULL, on_request, s);
    http_server_listen(server, fd);
    term = evsignal_new(s->base, SIGTERM, on_signal, s);
    interrupt = evsignal_new(s->base, SIGINT, on_signal, s);
    event_add(term, NULL);
    event_add(interrupt, NULL);
    fprintf(stderr, "listening on %s\n", bound);
    event_base_dispatch(s->base);
    http_server_free(server);
    event_free(term);
    event_free(interrupt);
    event_base_free(s->base);
    return EXIT_OK;
}

static const char usage[] =
    "usage: manifold sink [--status N] [--delay TIME] [--silent] [--quiet]\n"
    "                     [--output FILE] HOST:PORT\n"
    "\n"
    "Takes any request and writes a line of JSON for each.\n"
    "\n"
    "  --status N     answers with this status (200)\n"
    "  --delay TIME   after this time, such as 20ms\n"
    "  --silent       never answers\n"
    "  --quiet        writes nothing\n"
    "  --output FILE  where the lines go (standard output)\n";

static int read_options(int argc, char **argv, struct sink *s)
{
    static const struct option options[] = {
        { "status", 1, NULL, 's' }, { "delay", 1, NULL, 'd' },
        { "silent", 0, NULL, 'n' }, { "quiet", 0, NULL, 'q' },
        { "output", 1, NULL, 'o' }, OPTION_JSON, OPTION_HELP
    };
    uint64_t n;
    int o;

    while ((o = option_next(argc, argv, "", options, usage)) != -1) {
        if (o == 's' && (!parse_u64(mf_cstr(optarg), &n) || n < 100 ||
                         n > 599))
            return usage_error(usage, "sink: %s is no status from 100 to 599",
                               optarg);
        if (o == 's')
            s->status = (int)n;
        if (o == 'd' && !parse_duration(mf_cstr(optarg), &s->delay_ms))
            return usage_error(usage, "sink: %s is no time such as 20ms",
                               optarg);
        if (o == 'o')
            s->out = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                          0644);
        if (s->out < 0)
            return usage_error(usage, "sink: %s cannot be written", optarg);
        s->silent |= o == 'n';
        s->quiet |= o == 'q';
    }
    return operands_check(argc, 1, 1, usage);
}

int cmd_sink(int argc, char **argv)
{
    struct sink s = { .status = 200, .out = 1 };
    char bound[80];
    int fd, rc;

    if (read_options(argc, argv, &s) != EXIT_OK)
        return EXIT_USAGE;
    fd = listen_on(argv[optind], bound, sizeof bound);
    if (fd < 0) {
        fprintf(stderr, "manifold sink: %s cannot be listened on\n",
                argv[optind]);
        return EXIT_FAILED;
    }
    buf_init(&s.line, LINE_MAX_BYTES);
    rc = serve(&s, fd, bound);
    buf_deinit(&s.line);
    return rc;
}

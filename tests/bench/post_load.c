/* SPDX-License-Identifier: Apache-2.0
 *
 * post_load.c - POSTs as fast as a server on this machine answers them, over
 * kept connections, one thread: for bench that compares servers.
 *
 *   post_load PORT CONNECTIONS PIPELINE BATCH SECONDS [KEY]
 *
 * Each connection has PIPELINE requests under way and sends as many when all
 * are answered. BATCH 1 is /v1/track with one event of 850 bytes, more is
 * /v1/batch; every event has a messageId of its own. Prints requests and
 * events a second, the time from a send to its last answer, what the generator
 * itself used of a CPU, and answers that were not 200. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define PIPELINE_MAX    64
#define BATCH_MAX       1000
#define REQUESTS_MAX    (8u << 20) /* bytes of what is sent at once */
#define ANSWERS_MAX     65536
#define READY_MAX       256
#define ID_DIGITS       16
#define TIMES           1024 /* counts of times; each is 1/16 longer */

struct conn {
    int fd;
    unsigned left; /* answers due */
    size_t sent;
    int64_t began;
    size_t kept; /* bytes of an answer that is not whole */
    char *answers;
};

struct load {
    struct conn conns[CONNECTIONS_MAX];
    unsigned connections, pipeline, batch;
    int epoll;
    struct buf text; /* PIPELINE requests, ids to be filled in */
    size_t ids[PIPELINE_MAX * BATCH_MAX];
    uint64_t next, answered, refused;
    uint64_t times[TIMES];
    int64_t until;
};

/* ---- the requests ---- */

static void write_event(struct load *l, struct buf *to, unsigned i)
{
    buf_puts(to, "{\"type\":\"track\",\"messageId\":\"");
    l->ids[i] = to->len;
    buf_printf(to, "%0*d", ID_DIGITS, 0);
    buf_puts(to,
        "\",\"event\":\"Order Completed\",\"userId\":\"user-0001\","
        "\"anonymousId\":\"5f2e6d1c-8f0e-4f55-9d5e-000000000001\","
        "\"timestamp\":\"2026-01-12T10:00:00.000Z\",\"properties\":{"
        "\"order_id\":\"ord-1001\","
        "\"total\":49.98,\"revenue\":44.98,\"shipping\":3,"
        "\"tax\":2,\"currency\":\"EUR\",\"products\":[{\"product_id\":\"p-1\","
        "\"sku\":\"SKU-1\",\"name\":\"Red Hat\",\"price\":19.99,\"quantity\":"
        "2},{\"product_id\":\"p-2\",\"sku\":\"SKU-2\",\"name\":\"Blue Cap\","
        "\"price\":5,\"quantity\":1}]},\"context\":{\"ip\":\"203.0.113.7\","
        "\"locale\":\"en-GB\",\"library\":{\"name\":\"bench\",\"version\":"
        "\"1.0.0\"},\"page\":{\"path\":\"/checkout/thanks\",\"referrer\":\"\","
        "\"title\":\"Thanks\",\"url\":\"https://shop.example.com/checkout/"
        "thanks?utm_source=news\"},\"userAgent\":\"Mozilla/5.0 (X11; Linux "
        "x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0\"}}");
}

static void write_request(struct load *l, unsigned n, mf_str key)
{
    struct buf body, user, head;
    unsigned first = n * l->batch;

    buf_init(&body, REQUESTS_MAX);
    buf_init(&user, 1024);
    buf_init(&head, 4096);
    if (l->batch > 1)
        buf_puts(&body, "{\"batch\":[");
    for (unsigned i = 0; i < l->batch; i++) {
        if (i)
            buf_char(&body, ',');
        write_event(l, &body, first + i);
    }
    if (l->batch > 1)
        buf_puts(&body, "]}");
    buf_str(&user, key);
    buf_char(&user, ':');
    buf_printf(&head, "POST /v1/%s HTTP/1.1\r\nHost: bench\r\n"
                      "Content-Type: application/json\r\n"
                      "Content-Length: %zu\r\nAuthorization: Basic ",
               l->batch > 1 ? "batch" : "track", body.len);
    base64_encode(&head, buf_view(&user));
    buf_puts(&head, "\r\n\r\n");
    for (unsigned i = 0; i < l->batch; i++)
        l->ids[first + i] += l->text.len + head.len;
    buf_str(&l->text, buf_view(&head));
    buf_str(&l->text, buf_view(&body));
    ASSERT(!body.full && !user.full && !head.full && !l->text.full);
    buf_deinit(&body);
    buf_deinit(&user);
    buf_deinit(&head);
}

static void fill_in(struct load *l)
{
    for (unsigned i = 0; i < l->pipeline * l->batch; i++) {
        uint64_t n = l->next++;

        for (unsigned at = ID_DIGITS; at-- > 0; n /= 10)
            l->text.data[l->ids[i] + at] = (char)('0' + n % 10);
    }
}

/* ---- times ---- */

/* 16 counts for each power of two. */
static unsigned time_place(int64_t ns)
{
    uint64_t n = ns < 16 ? 16 : (uint64_t)ns;
    unsigned bits = 63 - (unsigned)__builtin_clzll(n);

    return (bits - 4) * 16 + (unsigned)(n >> (bits - 4) & 15);
}

static double percentile_ms(const struct load *l, double p)
{
    uint64_t all = 0, seen = 0;
    unsigned i = 0;

    for (unsigned k = 0; k < TIMES; k++)
        all += l->times[k];
    while (i < TIMES - 1 && (double)(seen += l->times[i]) < p * (double)all)
        i++;
    return (double)(16 + i % 16) * (double)(1ull << i / 16) / 1e6;
}

/* ---- a connection ---- */

static void fail(const char *what)
{
    fprintf(stderr, "post_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A send that the socket does not take whole waits for it: the server reads
 * all the same. */
static void send_all(struct load *l, struct conn *c)
{
    size_t sent = 0;

    fill_in(l);
    c->began = clock_mono_ns();
    while (sent < l->text.len) {
        ssize_t n = send(c->fd, l->text.data + sent, l->text.len - sent,
                         MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            fail("send");
        sent += n > 0 ? (size_t)n : 0;
    }
    c->left = l->pipeline;
}

/* Bytes of the first answer, 0: it is not whole. */
static size_t answer_in(const char *p, size_t n)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    const char *length = end ? strcasestr(p, "\r\nContent-Length: ") : NULL;
    size_t whole;

    if (!length || length > end)
        return 0;
    whole = (size_t)(end - p) + 4 + strtoul(length + 18, NULL, 10);
    return whole <= n ? whole : 0;
}

static void receive(struct load *l, struct conn *c)
{
    ssize_t n = recv(c->fd, c->answers + c->kept, ANSWERS_MAX - 1 - c->kept,
                     MSG_DONTWAIT);
    size_t at = 0, one;

    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        fail("recv");
    c->kept += (size_t)n;
    c->answers[c->kept] = 0;
    while (c->left && (one = answer_in(c->answers + at, c->kept - at)) > 0) {
        l->refused += memcmp(c->answers + at, "HTTP/1.1 200", 12) != 0;
        l->answered++;
        c->left--;
        at += one;
    }
    c->kept -= at;
    memmove(c->answers, c->answers + at, c->kept);
    if (c->left)
        return;
    l->times[time_place(clock_mono_ns() - c->began)]++;
    if (clock_mono_ns() < l->until)
        send_all(l, c);
}

static void open_one(struct load *l, struct conn *c, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    int one = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    c->answers = xmalloc(ANSWERS_MAX);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        fail("epoll_ctl");
}

/* ---- the whole ---- */

static bool any_due(const struct load *l)
{
    for (unsigned i = 0; i < l->connections; i++)
        if (l->conns[i].left)
            return true;
    return false;
}

static void turn(struct load *l)
{
    struct epoll_event ready[READY_MAX];
    int n = epoll_wait(l->epoll, ready, READY_MAX, 1000);

    for (int i = 0; i < n; i++)
        receive(l, ready[i].data.ptr);
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void report(const struct load *l, double seconds, double cpu)
{
    double n = (double)l->answered;

    printf("answered %.0f  requests/s %.0f  events/s %.0f  p50 %.2f ms  "
           "p99 %.2f ms  generator %.2f us/request  refused %llu\n",
           n, n / seconds, n * l->batch / seconds, percentile_ms(l, 0.5),
           percentile_ms(l, 0.99), cpu / n, (unsigned long long)l->refused);
}

int main(int argc, char **argv)
{
    static struct load l;
    int64_t began;
    double cpu;

    if (argc < 6) {
        fputs("usage: post_load PORT CONNECTIONS PIPELINE BATCH SECONDS "
              "[KEY]\n", stderr);
        return 2;
    }
    l.connections = (unsigned)strtoul(argv[2], NULL, 10);
    l.pipeline = (unsigned)strtoul(argv[3], NULL, 10);
    l.batch = (unsigned)strtoul(argv[4], NULL, 10);
    if (!l.connections || l.connections > CONNECTIONS_MAX || !l.pipeline ||
        l.pipeline > PIPELINE_MAX || !l.batch || l.batch > BATCH_MAX)
        return 2;
    buf_init(&l.text, REQUESTS_MAX);
    for (unsigned i = 0; i < l.pipeline; i++)
        write_request(&l, i, mf_cstr(argc > 6 ? argv[6] : "bench"));
    if (getrandom(&l.next, sizeof l.next, 0) != sizeof l.next)
        fail("getrandom"); /* another run has other ids */
    l.next %= 1000000000000000ull;
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < l.connections; i++)
        open_one(&l, &l.conns[i], (int)strtol(argv[1], NULL, 10));
    cpu = cpu_us();
    began = clock_mono_ns();
    l.until = began + (int64_t)(strtod(argv[5], NULL) * 1e9);
    for (unsigned i = 0; i < l.connections; i++)
        send_all(&l, &l.conns[i]);
    while (any_due(&l))
        turn(&l);
    report(&l, (double)(clock_mono_ns() - began) / 1e9, cpu_us() - cpu);
    return l.refused ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - see load.h. */
#include "cli/load.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX   (512u << 10)
#define ANSWER_MAX    8192
#define RETRY_MS      20   /* after a refusal or a broken connection */
#define SILENCE_MS    5000 /* without a tally: then it is given up */
#define LATE_MAX_NS   1000000000ll /* a schedule further behind is let go */

/* An answer can take this long before the connection is given up: longer than
 * the server may take, so that a hang is seen and survived. */
#define ANSWER_WITHIN_NS 30000000000ll

struct conn {
    int fd;
    bool waiting;  /* an answer is due */
    bool again;    /* its events were refused: they go out again */
    uint64_t first;
    size_t sent, got;
    int64_t began_ns, due_ns; /* due: when it may send next */
    char *request;
    char answer[ANSWER_MAX];
};

struct load {
    const struct load_options *o;
    struct sockaddr_in at;
    struct conn *conns;
    unsigned turn; /* which of them begins next */
    int epoll;
    struct buf text; /* the request, numbers to be filled in */
    size_t numbers[LOAD_BATCH_MAX], times[LOAD_BATCH_MAX];
    struct tally_times *answer, own;
    uint64_t next, end, answered, refused;
    int64_t schedule_ns, step_ns, until_ns;
};

/* ---- the request ---- */

/* An event of 880 bytes, of the kind a shop sends. */
static void write_event(struct load *l, struct buf *to, unsigned i)
{
    buf_puts(to, "{\"type\":\"track\",\"messageId\":\"" LOAD_ID);
    l->numbers[i] = to->len;
    buf_printf(to, "%0*d", LOAD_DIGITS, 0);
    buf_puts(to,
        "\",\"event\":\"Order Completed\",\"userId\":\"user-0001\","
        "\"anonymousId\":\"5f2e6d1c-8f0e-4f55-9d5e-000000000001\","
        "\"timestamp\":\"2026-01-12T10:00:00.000Z\",\"properties\":{"
        "\"order_id\":\"ord-1001\"," LOAD_SENT);
    l->times[i] = to->len;
    buf_printf(to, "1%0*d", LOAD_SENT_DIGITS - 1, 0);
    if (l->o->pad)
        buf_printf(to, ",\"pad\":\"%0*d\"", (int)l->o->pad, 0);
    buf_puts(to,
        ",\"total\":49.98,\"revenue\":44.98,\"shipping\":3,"
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

static void write_head(struct load *l, size_t body, struct buf *to)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char user[128];
    size_t n = (size_t)snprintf(user, sizeof user - 2, "%s:",
                                l->o->write_key);

    buf_printf(to, "POST /v1/%s HTTP/1.1\r\nHost: load\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                   "Authorization: Basic ",
               l->o->batch == 1 ? "track" : "batch", body);
    user[n + 1] = user[n] = 0;
    for (size_t i = 0; i < n; i += 3) {
        const unsigned char *p = (unsigned char *)user + i;

        buf_char(to, digits[p[0] >> 2]);
        buf_char(to, digits[(p[0] & 3) << 4 | p[1] >> 4]);
        buf_char(to, i + 1 < n ? digits[(p[1] & 15) << 2 | p[2] >> 6] : '=');
        buf_char(to, i + 2 < n ? digits[p[2] & 63] : '=');
    }
    buf_puts(to, "\r\n\r\n");
}

static void write_request(struct load *l)
{
    struct buf body;

    buf_init(&body, REQUEST_MAX);
    if (l->o->batch > 1)
        buf_puts(&body, "{\"batch\":[");
    for (unsigned i = 0; i < l->o->batch; i++) {
        if (i)
            buf_char(&body, ',');
        write_event(l, &body, i);
    }
    if (l->o->batch > 1)
        buf_puts(&body, "]}");
    buf_init(&l->text, REQUEST_MAX + 1024);
    ASSERT(body.len <= LOAD_BODY_MAX);
    write_head(l, body.len, &l->text);
    for (unsigned i = 0; i < l->o->batch; i++) {
        l->numbers[i] += l->text.len;
        l->times[i] += l->text.len;
    }
    buf_str(&l->text, buf_view(&body));
    buf_deinit(&body);
    ASSERT(!l->text.full);
}

static void put_digits(char *to, unsigned digits, uint64_t n)
{
    for (unsigned i = digits; i-- > 0; n /= 10)
        to[i] = (char)('0' + n % 10);
}

/* ---- connections ---- */

static void hang_up(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static int connect_one(struct load *l, struct conn *c)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        connect(c->fd, (struct sockaddr *)&l->at, sizeof l->at) != 0) {
        hang_up(c);
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

/* What was under way goes out again later. */
static void broke(struct load *l, struct conn *c)
{
    hang_up(c);
    c->again |= c->waiting;
    c->waiting = false;
    c->due_ns = clock_mono_ns() + RETRY_MS * 1000000ll;
    if (l->o->tally)
        atomic_fetch_add(&l->o->tally->t->broken, 1);
}

static void send_more(struct load *l, struct conn *c)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

    while (c->sent < l->text.len) {
        ssize_t n = send(c->fd, c->request + c->sent, l->text.len - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            break; /* the end is told by what is read */
        c->sent += (size_t)n;
    }
    if (c->sent < l->text.len)
        ev.events |= EPOLLOUT;
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

/* ---- one request ---- */

static bool take_numbers(struct load *l, struct conn *c)
{
    if (l->next + l->o->batch > l->end)
        return false;
    c->first = l->next;
    l->next += l->o->batch;
    if (l->o->tally)
        l->o->tally->t->made = l->next;
    return true;
}

static void begin(struct load *l, struct conn *c, int64_t now)
{
    if (!c->again) {
        if (!take_numbers(l, c))
            return;
        for (unsigned i = 0; i < l->o->batch; i++) {
            put_digits(c->request + l->numbers[i], LOAD_DIGITS, c->first + i);
            put_digits(c->request + l->times[i] + 1, LOAD_SENT_DIGITS - 1,
                       (uint64_t)now);
        }
    }
    c->again = false;
    c->waiting = true;
    c->sent = c->got = 0;
    c->began_ns = now;
    send_more(l, c);
}

/* True when a whole answer is there. Answers of this server have a length. */
static bool whole(struct conn *c)
{
    const char *head = memmem(c->answer, c->got, "\r\n\r\n", 4);
    const char *length = memmem(c->answer, c->got, "Content-Length: ", 16);

    return head && length &&
           c->got >= (size_t)(head - c->answer) + 4 +
                         (size_t)strtoul(length + 16, NULL, 10);
}

static void acknowledged(struct load *l, struct conn *c, int64_t now)
{
    struct tally_file *f = l->o->tally;

    l->answered++;
    tally_time(l->answer, (uint64_t)(now - c->began_ns));
    if (!f)
        return;
    memset(f->acks + c->first, 1, l->o->batch);
    atomic_fetch_add(&f->t->acked, l->o->batch);
    f->t->last_ack_ns = (uint64_t)now;
}

static void refused(struct load *l, struct conn *c, int64_t now)
{
    bool busy = memcmp(c->answer, "HTTP/1.1 429", 12) == 0 ||
                memcmp(c->answer, "HTTP/1.1 503", 12) == 0;
    struct tally *t = l->o->tally ? l->o->tally->t : NULL;

    l->refused++;
    if (!t)
        return;
    atomic_fetch_add(busy ? &t->busy : &t->refused, 1);
    if (busy && !strcasestr(c->answer, "\r\nretry-after:"))
        atomic_fetch_add(&t->without_retry, 1);
    c->again = true;
    c->due_ns = now + RETRY_MS * 1000000ll;
}

/* -1: the connection is gone. 1: an answer was there. */
static int receive(struct load *l, struct conn *c)
{
    ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got,
                     MSG_DONTWAIT);
    int64_t now;
    bool closes;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    c->got += (size_t)n;
    c->answer[c->got] = 0;
    if (!whole(c))
        return 0;
    now = clock_mono_ns();
    closes = strcasestr(c->answer, "connection: close") != NULL;
    c->waiting = false;
    if (memcmp(c->answer, "HTTP/1.1 200", 12) == 0)
        acknowledged(l, c, now);
    else
        refused(l, c, now);
    if (closes)
        hang_up(c);
    return 1;
}

/* ---- the loop ---- */

static bool over(const struct load *l, int64_t now)
{
    return (l->o->stop && *l->o->stop) || (l->until_ns && now >= l->until_ns);
}

/* Whether a connection that waits for nothing may send now. */
static bool may_begin(struct load *l, struct conn *c, int64_t now)
{
    if (c->due_ns > now)
        return false;
    if (c->again)
        return true;
    if (over(l, now) || l->next + l->o->batch > l->end)
        return false;
    if (!l->step_ns)
        return true;
    if (l->schedule_ns < now - LATE_MAX_NS)
        l->schedule_ns = now - LATE_MAX_NS;
    if (l->schedule_ns > now)
        return false;
    l->schedule_ns += l->step_ns;
    return true;
}

/* In turn: one that is never used would be closed for it. */
static int start_idle(struct load *l, int64_t now, struct err *e)
{
    unsigned n = l->o->connections, from = l->turn;

    for (unsigned i = 0; i < n; i++) {
        struct conn *c = &l->conns[(from + i) % n];

        if (c->waiting && now - c->began_ns > ANSWER_WITHIN_NS)
            broke(l, c);
        if (c->waiting || !may_begin(l, c, now))
            continue;
        if (c->fd < 0 && connect_one(l, c) != 0) {
            if (!l->o->tally)
                return err_sys(e, "no connection to %s", l->o->address);
            broke(l, c);
            continue;
        }
        begin(l, c, now);
        l->turn = (from + i + 1) % n;
    }
    return 0;
}

static bool any_left(const struct load *l, int64_t now)
{
    bool told = l->o->stop && *l->o->stop;

    for (unsigned i = 0; i < l->o->connections; i++)
        if (!told && (l->conns[i].waiting || l->conns[i].again))
            return true;
    return !over(l, now) && l->next + l->o->batch <= l->end;
}

static int on_event(struct load *l, struct epoll_event *ev, struct err *e)
{
    struct conn *c = ev->data.ptr;
    int got = 0;

    if (c->fd < 0)
        return 0;
    if (ev->events & EPOLLOUT)
        send_more(l, c);
    if (ev->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        got = receive(l, c);
    if (got < 0 && !l->o->tally)
        return err_set(e, "the server closed a connection");
    if (got < 0)
        broke(l, c);
    else if (got > 0 && c->fd >= 0 && !l->step_ns && !c->again &&
             !over(l, clock_mono_ns()))
        begin(l, c, clock_mono_ns());
    return 0;
}

static int loop(struct load *l, struct err *e)
{
    int64_t now = clock_mono_ns(), heard = now;
    struct epoll_event ready[64];

    while (any_left(l, now)) {
        int n;

        if (start_idle(l, now, e) != 0)
            return -1;
        n = epoll_wait(l->epoll, ready, 64, l->o->tally || l->step_ns ? 1
                                                                     : 100);
        for (int i = 0; i < n; i++)
            if (on_event(l, &ready[i], e) != 0)
                return -1;
        now = clock_mono_ns();
        if (n > 0)
            heard = now;
        if (!l->o->tally && now - heard > SILENCE_MS * 1000000ll)
            return err_set(e, "no answer for five seconds");
    }
    return 0;
}

static int resolve(struct load *l, struct err *e)
{
    const char *colon = strrchr(l->o->address, ':');
    uint64_t port;

    if (!colon || !parse_u64(mf_cstr(colon + 1), &port) || port > 65535)
        return err_set(e, "%s is not an address", l->o->address);
    l->at.sin_family = AF_INET;
    l->at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->at.sin_port = htons((uint16_t)port);
    return 0;
}

static void prepare(struct load *l, int64_t now)
{
    const struct load_options *o = l->o;

    l->answer = o->tally ? &o->tally->t->answer : &l->own;
    l->next = o->tally ? o->tally->t->made : 0;
    l->end = o->tally ? o->tally->t->ids : UINT64_MAX;
    if (o->events && o->events < l->end - l->next)
        l->end = l->next + o->events;
    l->schedule_ns = now;
    l->step_ns = o->rate > 0 ? (int64_t)(1e9 * o->batch / o->rate) : 0;
    l->until_ns = o->seconds > 0 ? now + (int64_t)(o->seconds * 1e9) : 0;
    write_request(l);
    l->conns = xcalloc(o->connections, sizeof *l->conns);
    for (unsigned i = 0; i < o->connections; i++) {
        l->conns[i].fd = -1;
        l->conns[i].request = xmalloc(l->text.len);
        memcpy(l->conns[i].request, l->text.data, l->text.len);
    }
}

int load_run(const struct load_options *o, struct load_result *r,
             struct err *e)
{
    struct load *l = xcalloc(1, sizeof *l);
    int64_t began = clock_mono_ns();
    int rc;

    ASSERT(o->connections && o->connections <= LOAD_CONNECTIONS_MAX);
    ASSERT(o->batch && o->batch <= LOAD_BATCH_MAX);
    l->o = o;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    prepare(l, began);
    rc = resolve(l, e);
    if (rc == 0)
        rc = loop(l, e);
    *r = (struct load_result){
        .answered = l->answered, .refused = l->refused,
        .seconds = (double)(clock_mono_ns() - began) / 1e9,
        .p50_ms = tally_percentile(l->answer, 0.5),
        .p99_ms = tally_percentile(l->answer, 0.99) };
    for (unsigned i = 0; i < o->connections; i++) {
        hang_up(&l->conns[i]);
        free(l->conns[i].request);
    }
    close(l->epoll);
    free(l->conns);
    buf_deinit(&l->text);
    free(l);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport against a real server on loopback, which answers what the
 * path asks for and keeps what it was sent. */
#include "delivery/transport.h"

#include "base/clock.h"
#include "base/mem.h"

#include <manifold/destination.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#define REQUEST_MAX 65536
#define CLIENTS_MAX 512

/* ---- a resolver that hangs ---- */

/* Takes the place of libc's for all of this process: names under .stuck are
 * not answered until they are let go. */
static pthread_mutex_t stuck_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stuck_moved = PTHREAD_COND_INITIALIZER;
static bool stuck_let_go;
static unsigned stuck_waiting;

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    (void)service;
    (void)hints;
    *out = NULL;
    if (!name || !strstr(name, ".stuck"))
        return EAI_NONAME;
    pthread_mutex_lock(&stuck_lock);
    stuck_waiting++;
    pthread_cond_broadcast(&stuck_moved);
    while (!stuck_let_go)
        pthread_cond_wait(&stuck_moved, &stuck_lock);
    stuck_waiting--;
    pthread_cond_broadcast(&stuck_moved);
    pthread_mutex_unlock(&stuck_lock);
    return EAI_NONAME;
}

static void let_stuck_go(void)
{
    pthread_mutex_lock(&stuck_lock);
    stuck_let_go = true;
    pthread_cond_broadcast(&stuck_moved);
    while (stuck_waiting > 0)
        pthread_cond_wait(&stuck_moved, &stuck_lock);
    pthread_mutex_unlock(&stuck_lock);
}

/* ---- the far side ---- */

struct server {
    int fd;
    unsigned port;
    pthread_t thread, clients[CLIENTS_MAX];
    unsigned client_count;
    pthread_mutex_t lock;
    char last[REQUEST_MAX]; /* the request that came last, whole */
    size_t last_len;
    atomic_uint connections, requests;
};

struct client {
    struct server *s;
    int fd;
};

static void say(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static void say_long(int fd, size_t len)
{
    char *text = xmalloc(len + 1), head[64];

    memset(text, 'a', len);
    text[len] = 0;
    snprintf(head, sizeof head, "HTTP/1.1 200 X\r\nContent-Length: %zu\r\n\r\n",
             len);
    say(fd, head);
    say(fd, text);
    free(text);
}

/* False: the connection ends here. */
static bool answer(int fd, const char *path)
{
    if (strncmp(path, "/close", 6) == 0)
        return false;
    if (strncmp(path, "/hang", 5) == 0) {
        char c;

        return recv(fd, &c, 1, 0) > 0; /* until the other side gives up */
    }
    if (strncmp(path, "/half", 5) == 0) {
        char c;

        say(fd, "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf");
        return recv(fd, &c, 1, 0) > 0;
    }
    if (strncmp(path, "/redirect", 9) == 0)
        say(fd, "HTTP/1.1 302 X\r\nLocation: /elsewhere\r\n"
                "Content-Length: 0\r\n\r\n");
    else if (strncmp(path, "/chunked", 8) == 0)
        say(fd, "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n"
                "HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n"
                "X-Spaced:   a b \t\r\nX-Empty:\r\n\r\n"
                "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    else if (strncmp(path, "/long", 5) == 0)
        say_long(fd, ANSWER_BYTES_MAX + 1000);
    else if (strncmp(path, "/429", 4) == 0)
        say(fd, "HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 4\r\n"
                "\r\nslow");
    else if (strncmp(path, "/nonsense", 9) == 0)
        say(fd, "hello there\r\n\r\n");
    else if (strncmp(path, "/head", 5) == 0)
        say(fd, "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n");
    else
        say(fd, "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}");
    return true;
}

/* The length of the whole request at the start of text, 0: not all there. */
static size_t whole(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\ncontent-length:");
    size_t n;

    if (!end)
        return 0;
    n = (size_t)(end - text) + 4;
    return length && length < end ? n + strtoul(length + 17, NULL, 10) : n;
}

static void *serve_one(void *arg)
{
    struct client *c = arg;
    struct server *s = c->s;
    char *text = xcalloc(1, REQUEST_MAX + 1), path[64];
    size_t have = 0, len;
    ssize_t n;

    while ((n = recv(c->fd, text + have, REQUEST_MAX - have, 0)) > 0) {
        have += (size_t)n;
        text[have] = 0;
        len = whole(text);
        if (len == 0 || have < len)
            continue;
        pthread_mutex_lock(&s->lock);
        memcpy(s->last, text, len);
        s->last[len] = 0;
        s->last_len = len;
        pthread_mutex_unlock(&s->lock);
        atomic_fetch_add(&s->requests, 1);
        if (sscanf(text, "%*s %63s", path) != 1 || !answer(c->fd, path))
            break;
        have -= len;
        memmove(text, text + len, have);
    }
    close(c->fd);
    free(text);
    free(c);
    return NULL;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd;

    while (s->client_count < CLIENTS_MAX &&
           (fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct client *c = xcalloc(1, sizeof *c);

        c->s = s;
        c->fd = fd;
        atomic_fetch_add(&s->connections, 1);
        pthread_create(&s->clients[s->client_count++], NULL, serve_one, c);
    }
    return NULL;
}

static int listen_loopback(unsigned *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 256), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* ---- the near side ---- */

struct fixture {
    struct server server;
    struct event_base *base;
    struct transport *t;
    struct transport_options o;
    /* of the answer that came last */
    unsigned answers;
    uint32_t id;
    int32_t status;
    uint32_t failure;
    char body[64], error[256], spaced[64], early[64], retry[64];
    size_t body_len;
    bool empty_came;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    pthread_mutex_init(&f->server.lock, NULL);
    f->server.fd = listen_loopback(&f->server.port);
    pthread_create(&f->server.thread, NULL, serve, &f->server);
    f->base = event_base_new();
    f->t = transport_new(f->base);
    f->o.timeout_ms = 10000;
    f->o.allow_private = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->t)
        transport_free(f->t);
    shutdown(f->server.fd, SHUT_RDWR);
    pthread_join(f->server.thread, NULL);
    for (unsigned i = 0; i < f->server.client_count; i++)
        pthread_join(f->server.clients[i], NULL);
    close(f->server.fd);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void copy(char *to, size_t size, mf_str from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.ptr ? from.ptr : "");
}

static void on_done(void *arg, uint32_t id, const struct call_answer *a,
                    const char *error, int64_t took_ns)
{
    struct fixture *f = arg;

    assert_true(took_ns >= 0);
    f->answers++;
    f->id = id;
    f->status = a->status;
    f->failure = a->failure;
    f->body_len = a->body.len;
    copy(f->body, sizeof f->body, a->body);
    snprintf(f->error, sizeof f->error, "%s", error ? error : "");
    *f->spaced = *f->early = *f->retry = 0;
    for (size_t i = 0; i < a->header_count; i++) {
        mf_str name = a->headers[i].name, value = a->headers[i].value;

        if (mf_eq(name, MF_STR("X-Spaced")))
            copy(f->spaced, sizeof f->spaced, value);
        if (mf_eq(name, MF_STR("X-Early")))
            copy(f->early, sizeof f->early, value);
        if (mf_eq(name, MF_STR("Retry-After")))
            copy(f->retry, sizeof f->retry, value);
        f->empty_came |= mf_eq(name, MF_STR("X-Empty")) && value.len == 0;
    }
}

static void run_until(struct fixture *f, unsigned answers)
{
    while (f->answers < answers)
        event_base_loop(f->base, EVLOOP_ONCE);
}

static struct call_request request(struct fixture *f, const char *method,
                                   const char *path, char *url, size_t size)
{
    snprintf(url, size, "http://127.0.0.1:%u%s", f->server.port, path);
    return (struct call_request){ .method = method, .url = mf_cstr(url),
                                  .real_url = mf_cstr(url), .id = 5 };
}

static void get(struct fixture *f, const char *method, const char *path)
{
    char url[128];
    struct call_request r = request(f, method, path, url, sizeof url);

    transport_send(f->t, &r, &f->o, on_done, f);
    assert_int_equal(transport_in_flight(f->t), 1);
    run_until(f, f->answers + 1);
    assert_int_equal(transport_in_flight(f->t), 0);
}

/* ---- tests ---- */

static void a_request_is_what_was_asked_for(void **state)
{
    struct fixture *f = *state;
    struct call_header headers[] = {
        { MF_STR("Content-Type"), MF_STR("application/json") },
        { MF_STR("X-Empty"), MF_STR("") },
        { MF_STR("User-Agent"), MF_STR("Acme") },
    };
    char url[128];
    struct call_request r = request(f, "PATCH", "/a?b=c%20d", url,
                                    sizeof url);

    r.headers = headers;
    r.header_count = COUNT_OF(headers);
    r.body = MF_STR("{\"n\":1}");
    r.has_body = true;
    transport_send(f->t, &r, &f->o, on_done, f);
    run_until(f, 1);
    assert_int_equal(f->status, 200);
    assert_int_equal(f->id, 5);
    assert_string_equal(f->body, "{}");
    assert_memory_equal(f->server.last, "PATCH /a?b=c%20d HTTP/1.1\r\n", 27);
    assert_non_null(strstr(f->server.last, "\r\nContent-Type: "
                                           "application/json\r\n"));
    assert_non_null(strstr(f->server.last, "\r\nX-Empty:"));
    assert_non_null(strstr(f->server.last, "\r\nUser-Agent: Acme\r\n"));
    assert_non_null(strstr(f->server.last, "\r\nContent-Length: 7\r\n"));
    assert_null(strcasestr(f->server.last, "\r\nexpect"));
    assert_null(strcasestr(f->server.last, "manifold"));
    assert_string_equal(strstr(f->server.last, "\r\n\r\n") + 4, "{\"n\":1}");
}

static void methods_without_a_body_have_none(void **state)
{
    static const char *const methods[] = { "GET", "DELETE", "POST", "PUT",
                                           "HEAD" };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        bool empty = *methods[i] == 'P';

        get(f, methods[i], strcmp(methods[i], "HEAD") == 0 ? "/head" : "/x");
        assert_int_equal(f->status, 200);
        assert_memory_equal(f->server.last, methods[i], strlen(methods[i]));
        assert_true(strstr(f->server.last, "\r\nContent-Length: 0\r\n")
                        ? empty
                        : !empty);
        assert_null(strcasestr(f->server.last, "content-type"));
        assert_non_null(strstr(f->server.last, "\r\nUser-Agent: Manifold/"));
    }
    assert_int_equal(atomic_load(&f->server.connections), 1);
}

static void a_body_is_compressed_where_that_is_wanted(void **state)
{
    struct fixture *f = *state;
    char url[128], text[3000], back[4000], *body;
    struct call_request r = request(f, "POST", "/z", url, sizeof url);
    z_stream z = { 0 };

    memset(text, 'x', sizeof text);
    r.body = (mf_str){ text, sizeof text };
    r.has_body = r.gzip = true;
    transport_send(f->t, &r, &f->o, on_done, f);
    run_until(f, 1);
    assert_non_null(strstr(f->server.last, "\r\nContent-Encoding: gzip\r\n"));
    body = strstr(f->server.last, "\r\n\r\n") + 4;
    z.next_in = (Bytef *)body;
    z.avail_in = (uInt)(f->server.last_len - (size_t)(body - f->server.last));
    z.next_out = (Bytef *)back;
    z.avail_out = sizeof back;
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, sizeof text);
    assert_memory_equal(back, text, sizeof text);
    inflateEnd(&z);
}

static void answers_are_told_as_they_are(void **state)
{
    struct fixture *f = *state;

    get(f, "GET", "/chunked");
    assert_int_equal(f->status, 201);
    assert_string_equal(f->body, "abcde");
    assert_string_equal(f->spaced, "a b");
    assert_true(f->empty_came);
    assert_string_equal(f->early, ""); /* of the 100 before it */
    get(f, "GET", "/redirect");
    assert_int_equal(f->status, 302);
    assert_int_equal(atomic_load(&f->server.requests), 2);
    get(f, "GET", "/429");
    assert_int_equal(f->status, 429);
    assert_string_equal(f->retry, "7");
    assert_string_equal(f->body, "slow");
    get(f, "GET", "/long");
    assert_int_equal(f->status, 200);
    assert_int_equal(f->body_len, ANSWER_BYTES_MAX);
}

static void failures_have_their_kind(void **state)
{
    struct fixture *f = *state;
    unsigned port;
    int fd;

    get(f, "GET", "/close");
    assert_int_equal(f->status, 0);
    assert_int_equal(f->failure, MF_FAIL_RESET);
    assert_true(*f->error);
    get(f, "GET", "/nonsense");
    assert_int_equal(f->status, 0);
    assert_int_equal(f->failure, MF_FAIL_RESET);
    f->o.timeout_ms = 100;
    get(f, "GET", "/hang");
    assert_int_equal(f->failure, MF_FAIL_TIMEOUT);
    f->o.timeout_ms = 10000;
    f->o.allow_private = false;
    get(f, "GET", "/x");
    assert_int_equal(f->failure, MF_FAIL_REFUSED);
    assert_non_null(strstr(f->error, "allow_private"));
    f->o.allow_private = true;
    fd = listen_loopback(&port);
    close(fd); /* nobody listens there now */
    f->server.port ^= port;
    port ^= f->server.port;
    f->server.port ^= port;
    get(f, "GET", "/x");
    assert_int_equal(f->failure, MF_FAIL_CONNECT);
}

/* What was kept alive for one that may must not serve one that may not. */
static void a_kept_connection_is_not_a_way_round(void **state)
{
    struct fixture *f = *state;

    get(f, "GET", "/x");
    assert_int_equal(f->status, 200);
    f->o.allow_private = false;
    get(f, "GET", "/x");
    assert_int_equal(f->status, 0);
    assert_int_equal(f->failure, MF_FAIL_REFUSED);
    assert_int_equal(atomic_load(&f->server.requests), 1);
}

static void other_schemes_are_refused(void **state)
{
    static const char *const urls[] = { "file:///etc/passwd",
                                        "ftp://127.0.0.1/x",
                                        "gopher://127.0.0.1/x", "nothing:",
                                        "http://" };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct call_request r = { .method = "GET", .url = mf_cstr(urls[i]),
                                  .real_url = mf_cstr(urls[i]) };

        transport_send(f->t, &r, &f->o, on_done, f);
        run_until(f, f->answers + 1);
        assert_int_equal(f->status, 0);
        assert_int_equal(f->failure, MF_FAIL_REFUSED);
        assert_true(*f->error);
    }
}

static void many_at_once_and_over_kept_connections(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct call_request r = request(f, "POST", "/x", url, sizeof url);
    unsigned opened;

    r.body = MF_STR("1");
    r.has_body = true;
    for (unsigned i = 0; i < 100; i++)
        transport_send(f->t, &r, &f->o, on_done, f);
    assert_int_equal(transport_in_flight(f->t), 100);
    run_until(f, 100);
    opened = atomic_load(&f->server.connections);
    assert_true(opened <= 100);
    for (unsigned i = 0; i < 200; i++) {
        transport_send(f->t, &r, &f->o, on_done, f);
        run_until(f, 101 + i);
        assert_int_equal(f->status, 200);
    }
    assert_int_equal(atomic_load(&f->server.connections), opened);
    assert_int_equal(atomic_load(&f->server.requests), 300);
}

/* A request says which of its limits struck, and by how much. */
static void each_deadline_is_told_by_its_name(void **state)
{
    struct fixture *f = *state;

    f->o.connect_ms = 5000;
    f->o.first_byte_ms = 60;
    get(f, "GET", "/hang");
    assert_int_equal(f->failure, MF_FAIL_TIMEOUT);
    assert_string_equal(f->error, "no first byte of an answer within 60 ms "
                                  "(first_byte_timeout)");
    f->o.first_byte_ms = 9000;
    f->o.timeout_ms = 300;
    get(f, "GET", "/half"); /* its first byte came in time */
    assert_int_equal(f->failure, MF_FAIL_TIMEOUT);
    assert_string_equal(f->error,
                        "no complete answer within 300 ms (timeout)");
    f->o.timeout_ms = 70;
    f->o.first_byte_ms = 0;
    get(f, "GET", "/hang");
    assert_string_equal(f->error,
                        "no complete answer within 70 ms (timeout)");
    f->o.timeout_ms = 10000;
    f->o.first_byte_ms = 9000;
    get(f, "GET", "/x"); /* they leave no trace */
    assert_int_equal(f->status, 200);
}

/* A request that names a shorter time has that. */
static void a_request_may_be_shorter_than_its_destination(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct call_request r = request(f, "GET", "/hang", url, sizeof url);

    r.timeout_ms = 40;
    transport_send(f->t, &r, &f->o, on_done, f);
    run_until(f, 1);
    assert_string_equal(f->error,
                        "no complete answer within 40 ms (timeout)");
}

/* Neither the one whose name does not resolve nor its end stops the loop. */
static void a_resolver_that_hangs_stops_nobody(void **state)
{
    struct fixture *f = *state, other = { 0 };
    char url[128];
    struct call_request r = { .method = "GET",
                              .url = MF_STR("http://name.stuck/"),
                              .real_url = MF_STR("http://name.stuck/") };

    f->o.connect_ms = 50;
    for (unsigned i = 0; i < 3; i++)
        transport_send(f->t, &r, &f->o, on_done, f);
    r = request(f, "GET", "/x", url, sizeof url);
    f->o.connect_ms = 5000;
    transport_send(f->t, &r, &f->o, on_done, &other);
    while (other.answers < 1)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(other.status, 200);
    run_until(f, 3); /* while getaddrinfo() still waits for us */
    assert_int_equal(f->failure, MF_FAIL_TIMEOUT);
    assert_string_equal(f->error,
                        "no connection within 50 ms (connect_timeout)");
    let_stuck_go();
}

/* What one holds of answers is its own affair, up to a limit. */
static void answers_that_are_held_are_limited(void **state)
{
    struct fixture *f = *state;
    struct transport_account account = { 0 };

    f->o.account = &account;
    get(f, "GET", "/long");
    assert_int_equal(f->body_len, ANSWER_BYTES_MAX);
    assert_int_equal(account.held, 0);
    assert_int_equal(account.in_flight, 0);
    account.held = ANSWERS_HELD_MAX - 1000; /* by others of it */
    get(f, "GET", "/long");
    assert_int_equal(f->status, 200);
    assert_int_equal(f->body_len, 1000);
    assert_int_equal(account.held, ANSWERS_HELD_MAX - 1000);
}

/* One that hangs may take what is free, never what others have for sure. */
static void requests_under_way_are_dealt_out(void **state)
{
    struct fixture *f = *state;
    struct transport_account dead = { 0 }, well = { 0 };
    char url[128];
    struct call_request r = request(f, "GET", "/hang", url, sizeof url);

    transport_share(f->t, 128); /* five each, 640 for whoever comes */
    f->o.account = &dead;
    for (unsigned i = 0; transport_room(f->t, &dead); i++) {
        assert_true(i < IN_FLIGHT_MAX / 2);
        transport_send(f->t, &r, &f->o, on_done, f);
    }
    assert_int_equal(transport_in_flight(f->t), IN_FLIGHT_MAX / 2);
    assert_true(transport_room(f->t, &well));
    well.in_flight = 4;
    assert_true(transport_room(f->t, &well));
    well.in_flight = 5;
    assert_false(transport_room(f->t, &well));
    transport_free(f->t); /* none of these was begun */
    f->t = NULL;
}

static void what_is_under_way_can_be_dropped(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct call_request r = request(f, "GET", "/hang", url, sizeof url);

    for (unsigned i = 0; i < 5; i++)
        transport_send(f->t, &r, &f->o, on_done, f);
    while (atomic_load(&f->server.requests) < 5)
        event_base_loop(f->base, EVLOOP_NONBLOCK);
    transport_free(f->t);
    f->t = NULL;
    assert_int_equal(f->answers, 0);
}

/* A request of a minute hence goes when the transport is to hurry. */
static void a_delayed_request_waits_for_its_time(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct call_request r = request(f, "GET", "/later", url, sizeof url);

    r.delay_ms = 1;
    transport_send(f->t, &r, &f->o, on_done, f);
    run_until(f, 1);
    r.delay_ms = MF_DELAY_MAX_MS;
    transport_send(f->t, &r, &f->o, on_done, f);
    r.delay_ms = 0;
    transport_send(f->t, &r, &f->o, on_done, f);
    run_until(f, 2);
    assert_int_equal(transport_in_flight(f->t), 1);
    transport_hurry(f->t);
    run_until(f, 3);
    r.delay_ms = MF_DELAY_MAX_MS;
    transport_send(f->t, &r, &f->o, on_done, f);
    run_until(f, 4);
    assert_int_equal(atomic_load(&f->server.requests), 4);
}

static void what_waits_can_be_dropped(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct call_request r = request(f, "GET", "/later", url, sizeof url);

    r.delay_ms = MF_DELAY_MAX_MS;
    transport_send(f->t, &r, &f->o, on_done, f);
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    transport_free(f->t);
    f->t = NULL;
    assert_int_equal(f->answers, 0);
    assert_int_equal(atomic_load(&f->server.requests), 0);
}

/* A native plugin waits for its own; the loop does not run meanwhile. */
static void a_request_can_be_waited_for(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct call_request r = request(f, "GET", "/x", url, sizeof url);
    int64_t began;

    for (unsigned i = 1; i <= 2; i++) {
        transport_wait(f->t, &r, &f->o, on_done, f);
        assert_int_equal(f->answers, i);
        assert_int_equal(f->status, 200);
        assert_int_equal(transport_in_flight(f->t), 0);
    }
    r.delay_ms = 30;
    began = clock_mono_ms();
    transport_wait(f->t, &r, &f->o, on_done, f);
    assert_int_equal(f->answers, 3);
    assert_true(clock_mono_ms() - began >= 30);
    transport_hurry(f->t);
    r.delay_ms = MF_DELAY_MAX_MS;
    transport_wait(f->t, &r, &f->o, on_done, f);
    assert_int_equal(f->answers, 4);
    f->o.allow_private = false;
    transport_wait(f->t, &r, &f->o, on_done, f);
    assert_int_equal(f->failure, MF_FAIL_REFUSED);
    f->o.allow_private = true;
    r = request(f, "GET", "/hang", url, sizeof url);
    r.timeout_ms = 40;
    transport_wait(f->t, &r, &f->o, on_done, f);
    assert_int_equal(f->failure, MF_FAIL_TIMEOUT);
    get(f, "GET", "/x"); /* which leaves no trace */
    assert_int_equal(f->status, 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_what_was_asked_for),
        TEST(methods_without_a_body_have_none),
        TEST(a_body_is_compressed_where_that_is_wanted),
        TEST(answers_are_told_as_they_are),
        TEST(failures_have_their_kind),
        TEST(a_kept_connection_is_not_a_way_round),
        TEST(other_schemes_are_refused),
        TEST(many_at_once_and_over_kept_connections),
        TEST(each_deadline_is_told_by_its_name),
        TEST(a_request_may_be_shorter_than_its_destination),
        TEST(a_resolver_that_hangs_stops_nobody),
        TEST(answers_that_are_held_are_limited),
        TEST(requests_under_way_are_dealt_out),
        TEST(what_is_under_way_can_be_dropped),
        TEST(a_delayed_request_waits_for_its_time),
        TEST(what_waits_can_be_dropped),
        TEST(a_request_can_be_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

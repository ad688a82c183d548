/* SPDX-License-Identifier: Apache-2.0
 *
 * transport.c - see transport.h: libcurl's multi interface on libevent.
 *
 * Traps of libcurl 7.88 that are dealt with here: a set CApath switches the
 * cache of parsed certificates off (0.75 MB and 20 ms a connection), so it is
 * unset; "Expect:" is sent empty, or small bodies wait for a 100; environment
 * proxies are not looked at, since the address check would see the proxy's; a
 * request that ends while its name is being resolved would wait for the
 * resolver and the whole loop with it, so its thread is left alone instead.
 *
 * Deadlines are kept here and not by libcurl, which knows none for the first
 * byte: one timer, set to the earliest that may strike. When it fires it is
 * mostly that of a request that has long ended, and is set anew; a request
 * costs no timer of its own. */
#include "delivery/transport.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define IDLE_EASY_MAX   256  /* handles kept for the next request */
#define CONNECTIONS_MAX IN_FLIGHT_MAX /* kept alive */
#define STACK_BYTES     (512u << 10) /* of resolver threads; they count against
                                        the worker's memory */

/* Which deadline struck. */
enum strike { STRUCK_NOT, STRUCK_CONNECT, STRUCK_FIRST_BYTE, STRUCK_TOTAL };

struct exchange {
    struct transport *t;
    CURL *easy;
    struct exchange *next; /* in the list of idle ones */
    struct exchange *prev_busy, *next_busy;
    transport_fn *done;
    void *arg;
    uint32_t id;
    bool allow_private, refused, connected, begun, cut;
    enum strike struck;
    int64_t connect_ms, first_byte_ms, timeout_ms; /* 0: none */
    struct transport_account *account;
    size_t held; /* of account->held */
    struct curl_slist *sent;
    struct buf body, gzipped;
    struct event *wait; /* NULL until one of its requests had to */
    bool waiting;
    struct buf header_text; /* names and values, read back at the end */
    size_t header_count;
    int64_t began_ns;
    char error[CURL_ERROR_SIZE];
};

struct watched { /* one socket that libcurl waits on */
    struct event *ev;
    curl_socket_t fd;
};

struct transport {
    struct event_base *base;
    CURLM *multi;
    struct event *timer;
    struct event *deadline;
    int64_t deadline_ms; /* when that is set to, monotonic; INT64_MAX: not */
    struct exchange *idle, *busy;
    unsigned idle_count, in_flight, share;
    bool hurried;
};

static curl_socket_t open_socket(void *arg, curlsocktype purpose,
                                 struct curl_sockaddr *a)
{
    struct exchange *x = arg;

    (void)purpose;
    if (!x->allow_private && address_is_private(&a->addr)) {
        x->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Before each request: a connection that was kept alive may be another
 * destination's, made to where this one may not go. */
static int on_connected(void *arg, char *ip, char *local, int port,
                        int local_port)
{
    struct exchange *x = arg;
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    bool is_private =
        inet_pton(AF_INET, ip, &v4.sin_addr) == 1
            ? address_is_private((struct sockaddr *)&v4)
        : inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1
            ? address_is_private((struct sockaddr *)&v6)
            : true;

    (void)local;
    (void)port;
    (void)local_port;
    x->connected = true;
    x->refused = is_private && !x->allow_private;
    return x->refused ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- one exchange ---- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    size_t len = size * n, room = x->body.max - x->body.len, keep;

    if (x->account && ANSWERS_HELD_MAX - x->account->held < room)
        room = ANSWERS_HELD_MAX - x->account->held;
    keep = len < room ? len : room;
    if (len > room)
        x->cut = true;
    buf_add(&x->body, data, keep);
    if (x->account) {
        x->held += keep;
        x->account->held += keep;
    }
    return len;
}

/* Keeps "name\0value\0" for each header of the last answer. */
static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    size_t len = size * n;
    mf_str name, value;
    char *colon;

    x->begun = true;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        buf_clear(&x->header_text); /* after a 1xx, or a new answer */
        x->header_count = 0;
        return len;
    }
    colon = memchr(data, ':', len);
    if (!colon || x->header_count == ANSWER_HEADERS_MAX)
        return len;
    name = (mf_str){ data, (size_t)(colon - data) };
    value = (mf_str){ colon + 1, len - name.len - 1 };
    while (value.len && strchr(" \t\r\n", value.ptr[value.len - 1]))
        value.len--;
    while (value.len && (*value.ptr == ' ' || *value.ptr == '\t')) {
        value.ptr++;
        value.len--;
    }
    buf_str(&x->header_text, name);
    buf_char(&x->header_text, 0);
    buf_str(&x->header_text, value);
    buf_char(&x->header_text, 0);
    if (!x->header_text.full)
        x->header_count++;
    return len;
}

static uint32_t failure_of(CURLcode code, const struct exchange *x)
{
    if (x->refused)
        return MF_FAIL_REFUSED;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return MF_FAIL_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return MF_FAIL_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return MF_FAIL_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return MF_FAIL_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL: /* said of an answer that is no HTTP too */
        return x->connected ? MF_FAIL_RESET : MF_FAIL_REFUSED;
    case CURLE_URL_MALFORMAT:
        return MF_FAIL_REFUSED;
    default:
        return MF_FAIL_RESET;
    }
}

static void exchange_free(struct exchange *x)
{
    curl_easy_cleanup(x->easy);
    if (x->wait)
        event_free(x->wait);
    buf_deinit(&x->body);
    buf_deinit(&x->gzipped);
    buf_deinit(&x->header_text);
    free(x);
}

static void recycle(struct exchange *x)
{
    struct transport *t = x->t;

    curl_slist_free_all(x->sent);
    x->sent = NULL;
    if (x->waiting)
        event_del(x->wait);
    x->waiting = false;
    if (x->prev_busy)
        x->prev_busy->next_busy = x->next_busy;
    else
        t->busy = x->next_busy;
    if (x->next_busy)
        x->next_busy->prev_busy = x->prev_busy;
    t->in_flight--;
    if (x->account) {
        x->account->in_flight--;
        x->account->held -= x->held;
    }
    if (t->idle_count == IDLE_EASY_MAX || x->body.cap > 65536) {
        exchange_free(x);
        return;
    }
    x->next = t->idle;
    t->idle = x;
    t->idle_count++;
}

/* In words that name the key that sets it. */
static void strike_text(struct exchange *x)
{
    bool unconnected = !x->connected && x->struck == STRUCK_TOTAL;

    switch (x->struck) {
    case STRUCK_CONNECT:
        snprintf(x->error, sizeof x->error,
                 "no connection within %lld ms (connect_timeout)",
                 (long long)x->connect_ms);
        break;
    case STRUCK_FIRST_BYTE:
        snprintf(x->error, sizeof x->error,
                 "no first byte of an answer within %lld ms "
                 "(first_byte_timeout)",
                 (long long)x->first_byte_ms);
        break;
    default:
        snprintf(x->error, sizeof x->error, "no %s within %lld ms (timeout)",
                 unconnected ? "connection" : "complete answer",
                 (long long)x->timeout_ms);
    }
}

static void finish(struct exchange *x, CURLcode code)
{
    struct call_header headers[ANSWER_HEADERS_MAX];
    struct call_answer a = { .headers = headers };
    const char *p = x->header_text.data, *why = NULL;
    int64_t took = clock_mono_ns() - x->began_ns;
    transport_fn *done = x->done;
    void *arg = x->arg;
    long status = 0;

    if (code == CURLE_OK) {
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        a.status = (int32_t)status;
        for (; a.header_count < x->header_count; a.header_count++) {
            headers[a.header_count].name = mf_cstr(p);
            p += headers[a.header_count].name.len + 1;
            headers[a.header_count].value = mf_cstr(p);
            p += headers[a.header_count].value.len + 1;
        }
        a.body = buf_view(&x->body);
    } else {
        a.failure = failure_of(code, x);
        why = x->refused ? "the address is private; allow_private permits it"
              : *x->error ? x->error
                          : curl_easy_strerror(code);
    }
    done(arg, x->id, &a, why, took);
    recycle(x);
}

static void collect(struct transport *t)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(t->multi, &left))) {
        CURLcode code = m->data.result;
        CURL *easy = m->easy_handle;
        struct exchange *x;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&x);
        curl_multi_remove_handle(t->multi, easy);
        finish(x, code);
    }
}

/* ---- deadlines ---- */

static int64_t earlier(int64_t at_ms, int64_t began_ms, int64_t limit_ms,
                       enum strike which, enum strike *struck)
{
    if (limit_ms <= 0 || began_ms + limit_ms >= at_ms)
        return at_ms;
    *struck = which;
    return began_ms + limit_ms;
}

/* When the exchange is out of time, and which limit that is. */
static int64_t due_ms(const struct exchange *x, enum strike *which)
{
    int64_t began = x->began_ns / 1000000, at = INT64_MAX;

    *which = STRUCK_NOT;
    if (x->waiting)
        return at;
    at = earlier(at, began, x->timeout_ms, STRUCK_TOTAL, which);
    if (!x->begun)
        at = earlier(at, began, x->first_byte_ms, STRUCK_FIRST_BYTE, which);
    if (!x->connected)
        at = earlier(at, began, x->connect_ms, STRUCK_CONNECT, which);
    return at;
}

static void set_deadline(struct transport *t, int64_t at_ms, int64_t now_ms)
{
    int64_t wait = at_ms > now_ms ? at_ms - now_ms : 0;
    struct timeval tv = { wait / 1000, wait % 1000 * 1000 };

    if (at_ms >= t->deadline_ms)
        return;
    t->deadline_ms = at_ms;
    event_add(t->deadline, &tv);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct transport *t = arg;
    int64_t now = clock_mono_ms();
    struct exchange *next;

    (void)fd;
    (void)what;
    t->deadline_ms = INT64_MAX;
    for (struct exchange *x = t->busy; x; x = next) {
        enum strike which;
        int64_t at = due_ms(x, &which);

        next = x->next_busy;
        if (x->waiting) /* its time has not begun */
            continue;
        if (at > now) {
            set_deadline(t, at, now);
            continue;
        }
        x->struck = which;
        strike_text(x);
        curl_multi_remove_handle(t->multi, x->easy);
        finish(x, CURLE_OPERATION_TIMEDOUT);
    }
}

/* ---- libcurl and libevent ---- */

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct transport *t = arg;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) |
               (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;

    curl_multi_socket_action(t->multi, fd, mask, &running);
    collect(t);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct transport *t = arg;
    int running;

    (void)fd;
    (void)what;
    curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(t);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
    struct transport *t = arg;
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

    (void)multi;
    if (ms < 0)
        event_del(t->timer);
    else
        event_add(t->timer, &tv);
    return 0;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                      void *per_socket)
{
    struct transport *t = arg;
    struct watched *w = per_socket;
    short mask = EV_PERSIST;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            event_free(w->ev);
            free(w);
            curl_multi_assign(t->multi, fd, NULL);
        }
        return 0;
    }
    if (what & CURL_POLL_IN)
        mask |= EV_READ;
    if (what & CURL_POLL_OUT)
        mask |= EV_WRITE;
    if (!w) {
        w = xcalloc(1, sizeof *w);
        w->fd = fd;
        w->ev = event_new(t->base, fd, mask, on_socket, t);
        curl_multi_assign(t->multi, fd, w);
    } else if (event_get_events(w->ev) != mask) {
        event_del(w->ev);
        event_assign(w->ev, t->base, fd, mask, on_socket, t);
    } else {
        return 0;
    }
    event_add(w->ev, NULL);
    return 0;
}

struct transport *transport_new(struct event_base *base)
{
    struct transport *t = xcalloc(1, sizeof *t);
    pthread_attr_t small;

    t->base = base;
    t->multi = curl_multi_init();
    ASSERT(t->multi);
    t->timer = evtimer_new(base, on_timer, t);
    t->deadline = evtimer_new(base, on_deadline, t);
    t->deadline_ms = INT64_MAX;
    t->share = IN_FLIGHT_MAX;
    if (pthread_attr_init(&small) == 0) {
        pthread_attr_setstacksize(&small, STACK_BYTES);
        pthread_setattr_default_np(&small);
        pthread_attr_destroy(&small);
    }
    curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
    curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
    curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    return t;
}

void transport_free(struct transport *t)
{
    while (t->busy) {
        curl_multi_remove_handle(t->multi, t->busy->easy);
        recycle(t->busy);
    }
    while (t->idle) {
        struct exchange *x = t->idle;

        t->idle = x->next;
        exchange_free(x);
    }
    curl_multi_cleanup(t->multi);
    event_free(t->timer);
    event_free(t->deadline);
    free(t);
}

unsigned transport_in_flight(const struct transport *t)
{
    return t->in_flight;
}

void transport_share(struct transport *t, unsigned destinations)
{
    t->share = destinations > 1 ? IN_FLIGHT_MAX / 2 / destinations
                                : IN_FLIGHT_MAX;
    if (t->share == 0)
        t->share = 1;
}

bool transport_room(const struct transport *t,
                    const struct transport_account *a)
{
    return a->in_flight < t->share || t->in_flight < IN_FLIGHT_MAX / 2;
}

/* ---- sending ---- */

/* What is the same for every request: handles are used again with it. */
static void set_options(struct exchange *x)
{
    CURL *e = x->easy;

    curl_easy_setopt(e, CURLOPT_PRIVATE, x);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, x);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, x);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
}

static struct exchange *take(struct transport *t)
{
    struct exchange *x = t->idle;

    if (x) {
        t->idle = x->next;
        t->idle_count--;
    } else {
        x = xcalloc(1, sizeof *x);
        x->t = t;
        x->easy = curl_easy_init();
        ASSERT(x->easy);
        set_options(x);
        buf_init(&x->body, ANSWER_BYTES_MAX);
        buf_init(&x->gzipped, 64u << 20);
        buf_init(&x->header_text, 65536);
    }
    buf_clear(&x->body);
    buf_clear(&x->gzipped);
    buf_clear(&x->header_text);
    x->header_count = 0;
    x->refused = x->connected = x->begun = x->cut = false;
    x->struck = STRUCK_NOT;
    x->account = NULL;
    x->held = 0;
    x->error[0] = 0;
    x->prev_busy = NULL;
    x->next_busy = t->busy;
    if (t->busy)
        t->busy->prev_busy = x;
    t->busy = x;
    t->in_flight++;
    return x;
}

static mf_str compress_body(struct exchange *x, mf_str body)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)body.ptr,
                   .avail_in = (uInt)body.len };
    size_t bound = body.len + body.len / 1000 + 64;

    ASSERT(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8,
                        Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_out = (Bytef *)buf_room(&x->gzipped, bound);
    z.avail_out = (uInt)bound;
    ASSERT(z.next_out && deflate(&z, Z_FINISH) == Z_STREAM_END);
    x->gzipped.len = bound - z.avail_out;
    deflateEnd(&z);
    return buf_view(&x->gzipped);
}

static void add_header(struct exchange *x, mf_str name, mf_str value)
{
    char line[8192];
    int n = value.len ? snprintf(line, sizeof line, "%.*s: %.*s",
                                 (int)name.len, name.ptr, (int)value.len,
                                 value.ptr)
                      : snprintf(line, sizeof line, "%.*s;", (int)name.len,
                                 name.ptr);

    if (n > 0 && (size_t)n < sizeof line) {
        x->sent = curl_slist_append(x->sent, line);
        return;
    }
    char *longer = xasprintf("%.*s: %.*s", (int)name.len, name.ptr,
                             (int)value.len, value.ptr);

    x->sent = curl_slist_append(x->sent, longer);
    free(longer);
}

static void set_body(struct exchange *x, const struct call_request *r)
{
    mf_str body = r->body;

    curl_easy_setopt(x->easy, CURLOPT_HTTPGET, 1L); /* as if it were new */
    if (!r->has_body) {
        if (strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0 ||
            strcmp(r->method, "PATCH") == 0) {
            curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                             (curl_off_t)0);
            curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, "");
        }
        return;
    }
    if (r->gzip) {
        body = compress_body(x, body);
        x->sent = curl_slist_append(x->sent, "Content-Encoding: gzip");
    }
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)body.len);
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, body.ptr ? body.ptr : "");
}

static void set_headers(struct exchange *x, const struct call_request *r)
{
    bool has_type = false, has_agent = false;

    for (size_t i = 0; i < r->header_count; i++) {
        mf_str name = r->headers[i].name;

        has_type |= name.len == 12 &&
                    strncasecmp(name.ptr, "content-type", 12) == 0;
        has_agent |= name.len == 10 &&
                     strncasecmp(name.ptr, "user-agent", 10) == 0;
        add_header(x, name, r->headers[i].value);
    }
    x->sent = curl_slist_append(x->sent, "Expect:");
    if (!has_type) /* or libcurl adds a form's */
        x->sent = curl_slist_append(x->sent, "Content-Type:");
    if (!has_agent)
        x->sent = curl_slist_append(x->sent,
                                    "User-Agent: Manifold/" MANIFOLD_VERSION);
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->sent);
}

static void set_limits(struct exchange *x, const struct call_request *r,
                       const struct transport_options *o)
{
    x->allow_private = o->allow_private;
    x->timeout_ms = r->timeout_ms && r->timeout_ms < o->timeout_ms
                        ? r->timeout_ms
                        : o->timeout_ms;
    x->connect_ms = o->connect_ms;
    x->first_byte_ms = o->first_byte_ms;
    x->account = o->account;
    if (x->account)
        x->account->in_flight++;
}

/* Cannot fail but for memory; starts at the loop's next turn. */
static void begin(struct exchange *x)
{
    enum strike which;

    x->began_ns = clock_mono_ns();
    ASSERT(curl_multi_add_handle(x->t->multi, x->easy) == CURLM_OK);
    set_deadline(x->t, due_ms(x, &which), x->began_ns / 1000000);
}

static void on_waited(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;

    (void)fd;
    (void)what;
    x->waiting = false;
    begin(x);
}

/* Until its time has come; called again, from now on. */
static void hold(struct exchange *x, int64_t ms)
{
    struct timeval tv = { (time_t)(ms / 1000),
                          (suseconds_t)(ms % 1000 * 1000) };

    if (!x->wait)
        x->wait = evtimer_new(x->t->base, on_waited, x);
    ASSERT(x->wait);
    x->waiting = true;
    event_add(x->wait, &tv);
}

static struct exchange *prepare(struct transport *t,
                                const struct call_request *r,
                                const struct transport_options *o,
                                transport_fn *done, void *arg)
{
    struct exchange *x = take(t);
    char *url = xstrndup(r->url.ptr, r->url.len);

    x->done = done;
    x->arg = arg;
    x->id = r->id;
    set_limits(x, r, o);
    curl_easy_setopt(x->easy, CURLOPT_URL, url);
    free(url);
    set_body(x, r);
    if (strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, r->method);
    set_headers(x, r);
    return x;
}

void transport_send(struct transport *t, const struct call_request *r,
                    const struct transport_options *o, transport_fn *done,
                    void *arg)
{
    struct exchange *x = prepare(t, r, o, done, arg);

    if (r->delay_ms > 0 && !t->hurried)
        hold(x, r->delay_ms);
    else
        begin(x);
}

static void sleep_ms(int64_t ms)
{
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000 * 1000000) };

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

void transport_wait(struct transport *t, const struct call_request *r,
                    const struct transport_options *o, transport_fn *done,
                    void *arg)
{
    struct exchange *x = prepare(t, r, o, done, arg);

    /* The loop stands still, and its deadlines with it: libcurl's count. */
    curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms);
    if (x->connect_ms > 0)
        curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS,
                         (long)x->connect_ms);
    if (!t->hurried)
        sleep_ms(r->delay_ms);
    x->began_ns = clock_mono_ns();
    finish(x, curl_easy_perform(x->easy));
}

void transport_hurry(struct transport *t)
{
    t->hurried = true;
    for (struct exchange *x = t->busy; x; x = x->next_busy)
        if (x->waiting)
            hold(x, 0);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.c - `manifold bench`: what this machine does, measured end to end on
 * real processes: a server of its own in a temporary directory, a receiver
 * (`manifold sink --quiet`) and a load generator in this process.
 *
 *   ingest   events acknowledged a second, each durable before its 200:
 *            single requests, and batches of 100
 *   deliver  events delivered a second to a webhook, one request each,
 *            from first send to last delivery
 *   map      what choosing, mapping and writing requests cost, without any
 *            process or network (bench_map.c)
 *
 * All of it shares the machine: the generator's and the receiver's part of
 * the time is in the figures. CPU a role used is read from /proc. */
#include "cli/bench_map.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/json.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define REQUEST_MAX     (256u << 10)
#define ANSWER_MAX      8192
#define READY_WITHIN_MS 30000

extern char **environ;

struct bench {
    char dir[64], config[96];
    pid_t server, sink;
    struct config *c;
    struct server_address at;
    char plugins[PATH_MAX];
    unsigned connections, batch;
    double seconds;
};

/* ---- processes ---- */

static pid_t start(const char *const *argv, const char *log, struct err *e)
{
    posix_spawn_file_actions_t a;
    pid_t pid = -1;
    int rc;

    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_addopen(&a, 2, log,
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_addopen(&a, 1, "/dev/null", O_WRONLY, 0);
    rc = posix_spawn(&pid, "/proc/self/exe", &a, NULL,
                     (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&a);
    if (rc != 0) {
        errno = rc;
        err_sys(e, "%s cannot be started", argv[1]);
        return -1;
    }
    return pid;
}

static void end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* CPU time in microseconds of the children of `parent` whose second argument
 * is `role`; of itself where role is NULL. */
static int64_t cpu_us(pid_t parent, const char *role)
{
    int64_t sum = 0, tick = 1000000 / sysconf(_SC_CLK_TCK);
    struct dirent *d;
    DIR *proc = opendir("/proc");

    while (proc && (d = readdir(proc))) {
        char path[300], text[1024];
        unsigned long user, kernel;
        int ppid, fd;
        char *p;
        ssize_t n;

        if (d->d_name[0] < '0' || d->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
        fd = open(path, O_RDONLY);
        n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (n <= 0)
            continue;
        text[n] = 0;
        p = strrchr(text, ')');
        if (!p || sscanf(p + 2,
                         "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                         &ppid, &user, &kernel) != 3 ||
            ppid != parent)
            continue;
        snprintf(path, sizeof path, "/proc/%s/cmdline", d->d_name);
        fd = open(path, O_RDONLY);
        n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (n > 0 && memmem(text, (size_t)n, role, strlen(role)))
            sum += (int64_t)(user + kernel) * tick;
    }
    if (proc)
        closedir(proc);
    return sum;
}

/* ---- a server of our own ---- */

static int free_port(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    close(fd);
    return ntohs(a.sin_port);
}

static void write_config(struct bench *b, bool deliver, int port,
                         struct buf *to)
{
    buf_printf(to,
               "{\"data_dir\":\"data\",\"plugins_dir\":\"%s\","
               "\"ingest\":{\"listen\":[\"127.0.0.1:0\"]},"
               "\"admin\":{\"listen\":\"127.0.0.1:0\"},"
               "\"sources\":{\"bench\":{\"write_key\":\"bench\","
               "\"destinations\":[%s]}},\"destinations\":{",
               b->plugins, deliver ? "\"hook\"" : "");
    if (deliver)
        buf_printf(to,
                   "\"hook\":{\"plugin\":\"webhook\",\"allow_private\":true,"
                   "\"concurrency\":%u,\"subscriptions\":[{\"action\":"
                   "\"send\",\"subscribe\":\"type = \\\"track\\\"\","
                   "\"mapping\":{\"url\":\"http://127.0.0.1:%d/\","
                   "\"method\":\"POST\",\"data\":{\"@path\":\"$.\"}}}]}",
                   b->connections, port);
    buf_puts(to, "}}\n");
}

static int await_ready(struct bench *b, struct err *e)
{
    int64_t until = clock_mono_ms() + READY_WITHIN_MS;

    while (clock_mono_ms() < until) {
        struct buf answer;
        long status = 0;

        buf_init(&answer, ANSWER_MAX);
        if (server_find(b->c, &b->at, e) == 0 &&
            http_exchange(b->at.admin, "/readyz", NULL, NULL, &status,
                          &answer, e) == 0 &&
            status == 200) {
            buf_deinit(&answer);
            return 0;
        }
        buf_deinit(&answer);
        if (waitpid(b->server, NULL, WNOHANG) == b->server) {
            b->server = 0;
            return err_set(e, "the server ended; see %s/server.log", b->dir);
        }
        usleep(20000);
    }
    return err_set(e, "the server is not ready; see %s/server.log", b->dir);
}

static int start_server(struct bench *b, bool deliver, struct err *e)
{
    const char *run[] = { "manifold", "run", "-c", b->config, NULL };
    char sink_at[40], log[96];
    const char *sink[] = { "manifold", "sink", "--quiet", sink_at, NULL };
    int port = free_port();
    struct buf text;
    int rc;

    snprintf(sink_at, sizeof sink_at, "127.0.0.1:%d", port);
    snprintf(log, sizeof log, "%s/server.log", b->dir);
    buf_init(&text, 65536);
    write_config(b, deliver, port, &text);
    rc = io_replace_file(AT_FDCWD, b->config, text.data, text.len, 0644, e);
    buf_deinit(&text);
    if (rc != 0)
        return -1;
    b->c = config_or_complain(b->config);
    if (!b->c)
        return err_set(e, "the configuration made for it has faults");
    b->sink = deliver ? start(sink, log, e) : 0;
    b->server = start(run, log, e);
    if (b->sink < 0 || b->server < 0)
        return -1;
    return await_ready(b, e);
}

static void stop_server(struct bench *b)
{
    end(b->server);
    end(b->sink);
    b->server = b->sink = 0;
    config_free(b->c);
    b->c = NULL;
}

/* ---- load ---- */

struct conn {
    int fd;
    size_t sent, got;
    char answer[ANSWER_MAX];
    int64_t began_ns;
};

struct load {
    struct conn *conns;
    unsigned count;
    int epoll;
    struct buf request;
    uint64_t *latency; /* of the last LATENCIES requests, ns */
    size_t answered, refused;
};

#define LATENCIES 200000

/* An event of 850 bytes, of the kind a shop sends. */
static void write_event(struct buf *to, const char *id)
{
    buf_printf(
        to,
        "{\"type\":\"track\",\"messageId\":\"%s\",\"event\":\"Order "
        "Completed\",\"userId\":\"user-0001\",\"anonymousId\":"
        "\"5f2e6d1c-8f0e-4f55-9d5e-000000000001\",\"timestamp\":"
        "\"2026-01-12T10:00:00.000Z\",\"properties\":{\"order_id\":"
        "\"ord-1001\",\"total\":49.98,\"revenue\":44.98,\"shipping\":3,"
        "\"tax\":2,\"currency\":\"EUR\",\"products\":[{\"product_id\":\"p-1\","
        "\"sku\":\"SKU-1\",\"name\":\"Red Hat\",\"price\":19.99,\"quantity\":"
        "2},{\"product_id\":\"p-2\",\"sku\":\"SKU-2\",\"name\":\"Blue Cap\","
        "\"price\":5,\"quantity\":1}]},\"context\":{\"ip\":\"203.0.113.7\","
        "\"locale\":\"en-GB\",\"library\":{\"name\":\"bench\",\"version\":"
        "\"1.0.0\"},\"page\":{\"path\":\"/checkout/thanks\",\"referrer\":\"\","
        "\"title\":\"Thanks\",\"url\":\"https://shop.example.com/checkout/"
        "thanks?utm_source=news\"},\"userAgent\":\"Mozilla/5.0 (X11; Linux "
        "x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0\"}}",
        id);
}

static void write_request(struct load *l, unsigned batch)
{
    struct buf body;

    buf_init(&body, REQUEST_MAX);
    if (batch == 1) {
        write_event(&body, "");
    } else {
        buf_puts(&body, "{\"batch\":[");
        for (unsigned i = 0; i < batch; i++) {
            buf_puts(&body, i ? "," : "");
            write_event(&body, "");
        }
        buf_puts(&body, "]}");
    }
    buf_init(&l->request, REQUEST_MAX + 1024);
    buf_printf(&l->request,
               "POST /v1/%s HTTP/1.1\r\nHost: bench\r\n"
               "Authorization: Basic YmVuY2g6\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               batch == 1 ? "track" : "batch", body.len);
    buf_str(&l->request, buf_view(&body));
    buf_deinit(&body);
}

static int connect_all(struct load *l, const char *address, struct err *e)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    const char *colon = strrchr(address, ':');
    uint64_t port;

    if (!colon || !parse_u64(mf_cstr(colon + 1), &port))
        return err_set(e, "%s is not an address", address);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    for (unsigned i = 0; i < l->count; i++) {
        struct conn *c = &l->conns[i];
        struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
        int one = 1;

        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 ||
            connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
            return err_sys(e, "no connection to %s", address);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev);
    }
    return 0;
}

static void send_more(struct load *l, struct conn *c)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

    while (c->sent < l->request.len) {
        ssize_t n = send(c->fd, l->request.data + c->sent,
                         l->request.len - c->sent, MSG_NOSIGNAL);

        if (n < 0)
            break;
        c->sent += (size_t)n;
    }
    if (c->sent < l->request.len)
        ev.events |= EPOLLOUT;
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

static void begin(struct load *l, struct conn *c)
{
    c->sent = c->got = 0;
    c->began_ns = clock_mono_ns();
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

static int receive(struct load *l, struct conn *c, bool go_on, struct err *e)
{
    ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, 0);

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return err_set(e, "the server closed a connection");
    c->got += (size_t)n;
    c->answer[c->got] = 0;
    if (!whole(c))
        return 0;
    if (memcmp(c->answer, "HTTP/1.1 200", 12) == 0)
        l->latency[l->answered++ % LATENCIES] =
            (uint64_t)(clock_mono_ns() - c->began_ns);
    else
        l->refused++;
    if (go_on)
        begin(l, c);
    else
        c->began_ns = 0;
    return 0;
}

/* Closed loop: each connection sends again when it is answered. Ends after
 * the time, or after `most` requests where that is not 0. */
static int run_load(struct load *l, double seconds, size_t most, double *took,
                    struct err *e)
{
    int64_t began = clock_mono_ns(), until = began + (int64_t)(seconds * 1e9);
    struct epoll_event ready[64];
    unsigned busy = l->count;
    size_t begun = l->count;

    for (unsigned i = 0; i < l->count; i++)
        begin(l, &l->conns[i]);
    while (busy) {
        int n = epoll_wait(l->epoll, ready, 64, 5000);

        if (n <= 0)
            return err_set(e, "no answer for five seconds");
        for (int i = 0; i < n; i++) {
            struct conn *c = ready[i].data.ptr;
            bool go_on = clock_mono_ns() < until && (!most || begun < most);
            size_t before = l->answered + l->refused;

            if (ready[i].events & EPOLLOUT)
                send_more(l, c);
            if (!(ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                continue;
            if (receive(l, c, go_on, e) != 0)
                return -1;
            if (l->answered + l->refused == before)
                continue;
            begun += go_on;
            busy -= !go_on;
        }
    }
    *took = (double)(clock_mono_ns() - began) / 1e9;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile(struct load *l, double p)
{
    size_t n = l->answered < LATENCIES ? l->answered : LATENCIES;

    if (n == 0)
        return 0;
    qsort(l->latency, n, sizeof *l->latency, by_size);
    return (double)l->latency[(size_t)((double)(n - 1) * p)] / 1e6;
}

static void load_free(struct load *l)
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->conns[i].fd > 0)
            close(l->conns[i].fd);
    close(l->epoll);
    free(l->conns);
    free(l->latency);
    buf_deinit(&l->request);
}

static int load_new(struct load *l, const struct bench *b, unsigned batch,
                    struct err *e)
{
    memset(l, 0, sizeof *l);
    l->count = b->connections;
    l->conns = xcalloc(l->count, sizeof *l->conns);
    l->latency = xcalloc(LATENCIES, sizeof *l->latency);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    write_request(l, batch);
    return connect_all(l, b->at.ingest, e);
}

/* ---- what is measured ---- */

static int bench_ingest(struct bench *b, unsigned batch, struct err *e)
{
    struct load l;
    int64_t cpu;
    double took;
    int rc;

    if (start_server(b, false, e) != 0) {
        stop_server(b);
        return -1;
    }
    rc = load_new(&l, b, batch, e);
    cpu = cpu_us(b->server, "ingest");
    if (rc == 0)
        rc = run_load(&l, b->seconds, 0, &took, e);
    if (rc == 0) {
        double events = (double)l.answered * batch;

        cpu = cpu_us(b->server, "ingest") - cpu;
        printf("ingest   %3u/request  %9.0f events/s  %8.0f requests/s  "
               "p50 %.2f ms  p99 %.2f ms  %5.2f us CPU/event  refused %zu\n",
               batch, events / took, (double)l.answered / took,
               percentile(&l, 0.5), percentile(&l, 0.99),
               (double)cpu / events, l.refused);
    }
    load_free(&l);
    stop_server(b);
    return rc;
}

static int64_t delivered(const struct bench *b, struct err *e)
{
    struct buf answer;
    int64_t n = -1;

    buf_init(&answer, 1u << 20);
    if (admin_exchange(b->c, "/v1/destinations/hook", NULL, &answer, e) == 0)
        json_integer(json_get(json_root(buf_view(&answer)),
                              MF_STR("delivered")),
                     &n);
    buf_deinit(&answer);
    return n;
}

static int bench_deliver(struct bench *b, struct err *e)
{
    int64_t began, cpu, done = 0, want, until;
    struct load l;
    double took;
    int rc;

    if (start_server(b, true, e) != 0) {
        stop_server(b);
        return -1;
    }
    rc = load_new(&l, b, 100, e);
    cpu = cpu_us(b->server, "worker");
    began = clock_mono_ns();
    if (rc == 0)
        rc = run_load(&l, b->seconds * 10, (size_t)(b->seconds * 200), &took,
                      e);
    want = (int64_t)l.answered * 100;
    until = clock_mono_ms() + 600000;
    while (rc == 0 && done < want) {
        done = delivered(b, e);
        if (done < 0 || clock_mono_ms() > until)
            rc = done < 0 ? -1 : err_set(e, "not all was delivered");
        usleep(20000);
    }
    if (rc == 0) {
        took = (double)(clock_mono_ns() - began) / 1e9;
        cpu = cpu_us(b->server, "worker") - cpu;
        printf("deliver    1/request  %9.0f events/s  (%lld events, accepted "
               "and delivered in %.2f s)  %5.2f us CPU/event\n",
               (double)want / took, (long long)want, took,
               (double)cpu / (double)want);
    }
    load_free(&l);
    stop_server(b);
    return rc;
}

/* ---- the command ---- */

static const char usage[] =
    "usage: manifold bench [--seconds N] [--connections N] [--plugins DIR] "
    "[ingest | deliver | map]\n";

static void remove_dir(const char *dir)
{
    const char *argv[] = { "rm", "-rf", "--", dir, NULL };
    pid_t pid;

    if (posix_spawnp(&pid, "rm", NULL, NULL, (char *const *)(uintptr_t)argv,
                     environ) == 0)
        waitpid(pid, NULL, 0);
}

/* Beside the program, as in a build directory. */
static void default_plugins(struct bench *b)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    self[n > 0 ? n : 0] = 0;
    slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    snprintf(b->plugins, sizeof b->plugins, "%.*s/plugins",
             (int)sizeof b->plugins - 16, self);
}

static int parse(struct bench *b, int argc, char **argv, const char **what)
{
    static const struct option options[] = {
        { "seconds", 1, NULL, 's' }, { "connections", 1, NULL, 'n' },
        { "plugins", 1, NULL, 'p' }, OPTION_HELP
    };
    static const char *const words[] = { "", "ingest", "deliver", "map",
                                         NULL };
    uint64_t n;
    int o;

    while ((o = option_next(argc, argv, "", options, usage)) != -1) {
        if (o != 'p' && !parse_u64(mf_cstr(optarg), &n))
            return -1;
        if (o == 's' && n > 0)
            b->seconds = (double)n;
        else if (o == 'n' && n >= 1 && n <= CONNECTIONS_MAX)
            b->connections = (unsigned)n;
        else if (o == 'p' && !realpath(optarg, b->plugins))
            return -1;
    }
    *what = optind < argc ? argv[optind++] : "";
    if (b->seconds <= 0)
        b->seconds = strcmp(*what, "map") == 0 ? 2 : 5;
    return optind == argc && text_among(*what, words) ? 0 : -1;
}

int cmd_bench(int argc, char **argv)
{
    struct bench b = { .connections = 64 };
    const char *what;
    struct err e;
    int rc = 0;

    default_plugins(&b);
    if (parse(&b, argc, argv, &what) != 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (strcmp(what, "map") == 0)
        return bench_map(b.plugins, b.seconds);
    snprintf(b.dir, sizeof b.dir, "/tmp/manifold-bench-XXXXXX");
    if (!mkdtemp(b.dir) || chmod(b.dir, 0755) != 0) {
        perror("manifold bench");
        return EXIT_FAILED;
    }
    snprintf(b.config, sizeof b.config, "%s/bench.json", b.dir);
    if (rc == 0 && strcmp(what, "deliver") != 0) {
        rc = bench_ingest(&b, 1, &e);
        if (rc == 0)
            rc = bench_ingest(&b, 100, &e);
    }
    if (rc == 0 && strcmp(what, "ingest") != 0)
        rc = bench_deliver(&b, &e);
    if (rc != 0)
        fprintf(stderr, "manifold bench: %s\n", e.text);
    else
        remove_dir(b.dir);
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

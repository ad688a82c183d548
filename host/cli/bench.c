/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.c - `manifold bench`: what this machine does, measured end to end on
 * real processes: a server of its own in a temporary directory, a receiver
 * (`manifold sink --quiet`) and a load generator in this process (load.c).
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
#include "cli/load.h"
#include "cli/options.h"
#include "cli/own.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "ingest/intake.h"
#include "json/json.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
    char dir[64], config[96];
    pid_t server, sink;
    struct config *c;
    struct server_address at;
    char plugins[PATH_MAX];
    unsigned connections, batch, threads;
    double seconds;
};

/* ---- a server of our own ---- */

static void write_config(struct bench *b, bool deliver, int port,
                         struct buf *to)
{
    buf_printf(to,
               "{\"data_dir\":\"data\",\"plugins_dir\":\"%s\","
               "\"ingest\":{\"listen\":[\"127.0.0.1:0\"],\"threads\":%u},"
               "\"admin\":{\"listen\":\"127.0.0.1:0\"},"
               "\"sources\":{\"bench\":{\"write_key\":\"bench\","
               "\"destinations\":[%s]}},\"destinations\":{",
               b->plugins, b->threads, deliver ? "\"hook\"" : "");
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

static int start_server(struct bench *b, bool deliver, struct err *e)
{
    const char *run[] = { "manifold", "run", "-c", b->config, NULL };
    char sink_at[40], log[96];
    const char *sink[] = { "manifold", "sink", "--quiet", sink_at, NULL };
    int port = own_port();
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
    b->sink = deliver ? own_start(sink, log, NULL, e) : 0;
    b->server = own_start(run, log, NULL, e);
    if (b->sink < 0 || b->server < 0)
        return -1;
    return own_await(b->c, &b->server, &b->at, log, e);
}

static void stop_server(struct bench *b)
{
    own_end(b->server);
    own_end(b->sink);
    b->server = b->sink = 0;
    config_free(b->c);
    b->c = NULL;
}

/* ---- what is measured ---- */

static struct load_options load_of(const struct bench *b, unsigned batch)
{
    return (struct load_options){ .address = b->at.ingest,
                                  .write_key = "bench",
                                  .connections = b->connections,
                                  .batch = batch };
}

static int bench_ingest(struct bench *b, unsigned batch, struct err *e)
{
    struct load_options o;
    struct load_result r;
    int64_t cpu;
    int rc;

    if (start_server(b, false, e) != 0) {
        stop_server(b);
        return -1;
    }
    o = load_of(b, batch);
    o.seconds = b->seconds;
    cpu = own_cpu_us(b->server, "ingest");
    rc = load_run(&o, &r, e);
    if (rc == 0) {
        double events = (double)r.answered * batch;

        cpu = own_cpu_us(b->server, "ingest") - cpu;
        printf("ingest   %3u/request  %9.0f events/s  %8.0f requests/s  "
               "p50 %.2f ms  p99 %.2f ms  %5.2f us CPU/event  refused %llu\n",
               batch, events / r.seconds, (double)r.answered / r.seconds,
               r.p50_ms, r.p99_ms, (double)cpu / events,
               (unsigned long long)r.refused);
    }
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
    struct load_options o;
    struct load_result r;
    double took;
    int rc;

    if (start_server(b, true, e) != 0) {
        stop_server(b);
        return -1;
    }
    o = load_of(b, 100);
    o.seconds = b->seconds * 10;
    o.events = (uint64_t)(b->seconds * 200) * 100;
    cpu = own_cpu_us(b->server, "worker");
    began = clock_mono_ns();
    rc = load_run(&o, &r, e);
    want = (int64_t)r.answered * 100;
    until = clock_mono_ms() + 600000;
    while (rc == 0 && done < want) {
        done = delivered(b, e);
        if (done < 0 || clock_mono_ms() > until)
            rc = done < 0 ? -1 : err_set(e, "not all was delivered");
        usleep(20000);
    }
    if (rc == 0) {
        took = (double)(clock_mono_ns() - began) / 1e9;
        cpu = own_cpu_us(b->server, "worker") - cpu;
        printf("deliver    1/request  %9.0f events/s  (%lld events, accepted "
               "and delivered in %.2f s)  %5.2f us CPU/event\n",
               (double)want / took, (long long)want, took,
               (double)cpu / (double)want);
    }
    stop_server(b);
    return rc;
}

/* ---- the command ---- */

static const char usage[] =
    "usage: manifold bench [--seconds N] [--connections N] [--threads N] "
    "[--plugins DIR] [ingest | deliver | map]\n";

static int parse(struct bench *b, int argc, char **argv, const char **what)
{
    static const struct option options[] = {
        { "seconds", 1, NULL, 's' }, { "connections", 1, NULL, 'n' },
        { "threads", 1, NULL, 't' },    { "plugins", 1, NULL, 'p' },
        OPTION_HELP
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
        else if (o == 'n' && n >= 1 && n <= LOAD_CONNECTIONS_MAX)
            b->connections = (unsigned)n;
        else if (o == 't' && n >= 1 && n <= INTAKE_LOOPS_MAX)
            b->threads = (unsigned)n;
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
    struct bench b = { .connections = 64, .threads = 1 };
    const char *what;
    struct err e;
    int rc = 0;

    own_beside("plugins", b.plugins, sizeof b.plugins);
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
        own_remove(b.dir);
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

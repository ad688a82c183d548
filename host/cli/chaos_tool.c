/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_tool.c - the parts of `manifold chaos` by themselves:
 *
 *   load    sends numbered events and writes down which were acknowledged
 *   sink    receives, misbehaves as the tally says, writes down what arrived
 *   tally   makes a tally, or prints what one says: exit 1 on a loss */
#include "cli/chaos.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/options.h"
#include "cli/target.h"

#include "base/buf.h"
#include "base/text.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERDICT_MAX (64u << 10)

volatile sig_atomic_t chaos_stop;

static void on_signal(int number)
{
    (void)number;
    chaos_stop = 1;
}

void chaos_catch(void)
{
    struct sigaction a = { .sa_handler = on_signal };

    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static const char usage[] =
    "usage: manifold chaos load [--rate N] [--seconds N] [--events N] "
    "[--connections N]\n"
    "                           [--batch N] [--pad BYTES] [--key KEY]\n"
    "                           TALLY ADDRESS\n"
    "       manifold chaos sink TALLY PORT\n"
    "       manifold chaos tally [--make EVENTS] TALLY\n";

static int wrong(void)
{
    fputs(usage, stderr);
    return EXIT_USAGE;
}

static int failed(const struct err *e)
{
    fprintf(stderr, "manifold chaos: %s\n", e->text);
    return EXIT_FAILED;
}

/* ---- load ---- */

static bool load_option(struct load_options *o, int c)
{
    uint64_t n;

    if (c == 'k') {
        o->write_key = optarg;
        return true;
    }
    if (!parse_u64(mf_cstr(optarg), &n))
        return false;
    if (c == 'r')
        o->rate = (double)n;
    else if (c == 's')
        o->seconds = (double)n;
    else if (c == 'e')
        o->events = n;
    else if (c == 'n' && n >= 1 && n <= LOAD_CONNECTIONS_MAX)
        o->connections = (unsigned)n;
    else if (c == 'b' && n >= 1 && n <= LOAD_BATCH_MAX)
        o->batch = (unsigned)n;
    else if (c == 'p' && n <= LOAD_PAD_MAX)
        o->pad = (unsigned)n;
    else
        return false;
    return true;
}

static int tool_load(int argc, char **argv)
{
    static const struct option options[] = {
        { "rate", 1, NULL, 'r' }, { "seconds", 1, NULL, 's' },
        { "events", 1, NULL, 'e' }, { "connections", 1, NULL, 'n' },
        { "batch", 1, NULL, 'b' }, { "key", 1, NULL, 'k' },
        { "pad", 1, NULL, 'p' },
        OPTION_HELP
    };
    struct load_options o = { .connections = 32, .batch = 1,
                              .write_key = "chaos", .stop = &chaos_stop };
    struct tally_file tally;
    struct load_result r;
    struct err e;
    int c, rc;

    while ((c = option_next(argc, argv, "", options, usage)) != -1)
        if (!load_option(&o, c))
            return wrong();
    if (optind + 2 != argc || (o.pad + 1000) * o.batch > LOAD_BODY_MAX)
        return wrong();
    if (tally_open(&tally, argv[optind], &e) != 0)
        return failed(&e);
    o.tally = &tally;
    o.address = argv[optind + 1];
    chaos_catch();
    rc = load_run(&o, &r, &e);
    tally_close(&tally);
    if (rc != 0)
        return failed(&e);
    printf("{\"answered\":%llu,\"refused\":%llu,\"seconds\":%.3f,"
           "\"events_per_second\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
           (unsigned long long)r.answered, (unsigned long long)r.refused,
           r.seconds, (double)r.answered * o.batch / r.seconds, r.p50_ms,
           r.p99_ms);
    return EXIT_OK;
}

/* ---- sink ---- */

static int tool_sink(int argc, char **argv)
{
    struct tally_file tally;
    struct err e;
    uint64_t port;
    int rc;

    if (argc != 3 || !parse_u64(mf_cstr(argv[2]), &port) || port > 65535)
        return wrong();
    if (tally_open(&tally, argv[1], &e) != 0)
        return failed(&e);
    chaos_catch();
    rc = target_run((int)port, &tally, &chaos_stop, &e);
    tally_close(&tally);
    return rc == 0 ? EXIT_OK : failed(&e);
}

/* ---- tally ---- */

static uint64_t write_path(struct json_out *w, const struct tally_file *f,
                           const struct tally_path *p)
{
    struct tally_verdict v = tally_judge(f, p);

    json_begin_object(w);
    json_kstr(w, "name", mf_cstr(p->name));
    json_kint(w, "requests", (int64_t)p->requests);
    json_kint(w, "delivered", (int64_t)p->delivered);
    json_kint(w, "missing", (int64_t)v.missing);
    json_kint(w, "first_missing", (int64_t)v.first_missing);
    json_kint(w, "extra", (int64_t)v.extra);
    json_kint(w, "unacknowledged", (int64_t)v.strange);
    json_kint(w, "p50_us", (int64_t)(tally_percentile(&p->latency, 0.5) *
                                     1000));
    json_kint(w, "p99_us", (int64_t)(tally_percentile(&p->latency, 0.99) *
                                     1000));
    json_kint(w, "longest_gap_ms", (int64_t)(p->gap_ns / 1000000));
    json_end_object(w);
    return v.missing;
}

static uint64_t write_tally(struct json_out *w, const struct tally_file *f)
{
    const struct tally *t = f->t;
    uint64_t missing = 0;

    json_begin_object(w);
    json_kint(w, "made", (int64_t)t->made);
    json_kint(w, "acknowledged", (int64_t)t->acked);
    json_kint(w, "busy", (int64_t)t->busy);
    json_kint(w, "busy_without_retry_after", (int64_t)t->without_retry);
    json_kint(w, "refused", (int64_t)t->refused);
    json_kint(w, "broken_connections", (int64_t)t->broken);
    json_kint(w, "answer_p50_us",
              (int64_t)(tally_percentile(&t->answer, 0.5) * 1000));
    json_kint(w, "answer_p99_us",
              (int64_t)(tally_percentile(&t->answer, 0.99) * 1000));
    json_key(w, MF_STR("paths"));
    json_begin_array(w);
    for (int i = 0; i < TALLY_PATHS && t->paths[i].name[0]; i++)
        missing += write_path(w, f, &t->paths[i]);
    json_end_array(w);
    json_end_object(w);
    return missing;
}

static int tool_tally(int argc, char **argv)
{
    static const struct option options[] = { { "make", 1, NULL, 'm' },
                                             OPTION_HELP };
    uint64_t ids = 0, missing;
    struct tally_file f;
    struct json_out w;
    struct buf text;
    struct err e;
    int c;

    while ((c = option_next(argc, argv, "", options, usage)) != -1)
        if (c != 'm' || !parse_u64(mf_cstr(optarg), &ids) || !ids)
            return wrong();
    if (optind + 1 != argc)
        return wrong();
    if ((ids ? tally_create(&f, argv[optind], ids, &e)
             : tally_open(&f, argv[optind], &e)) != 0)
        return failed(&e);
    buf_init(&text, VERDICT_MAX);
    json_out_init(&w, &text);
    missing = write_tally(&w, &f);
    if (!ids)
        printf("%.*s\n", (int)text.len, text.data);
    buf_deinit(&text);
    tally_close(&f);
    return missing ? EXIT_FAILED : EXIT_OK;
}

int chaos_tool(int argc, char **argv)
{
    if (strcmp(argv[0], "load") == 0)
        return tool_load(argc, argv);
    if (strcmp(argv[0], "sink") == 0)
        return tool_sink(argc, argv);
    if (strcmp(argv[0], "tally") == 0)
        return tool_tally(argc, argv);
    return wrong();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.c - `manifold audit`: the books of a data directory are read and
 * proven, beside a running server or without one. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/clock.h"
#include "base/mem.h"
#include "books/audit.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPORT_MAX (64u << 20)

/* ---- as JSON ---- */

static void write_lane(struct json_out *w, const struct audit_lane *l)
{
    const struct counters *c = &l->lane->counters;

    json_begin_object(w);
    json_kint(w, "lane", l->lane->id);
    json_kstr(w, "source", mf_cstr(l->lane->source_name));
    json_kstr(w, "destination", mf_cstr(l->lane->destination));
    json_kint(w, "accepted", (int64_t)c->accepted);
    json_kint(w, "delivered", (int64_t)c->delivered);
    json_kint(w, "filtered", (int64_t)c->filtered);
    json_kint(w, "dead", (int64_t)c->dead);
    json_kint(w, "lost", (int64_t)c->lost);
    json_kint(w, "pending", (int64_t)l->lane->open_count);
    json_kint(w, "checked", (int64_t)l->checked);
    json_kint(w, "difference", (int64_t)l->faults);
    json_end_object(w);
}

static void write_fault(struct json_out *w, const struct audit_fault *f)
{
    json_begin_object(w);
    if (f->lane) {
        json_kint(w, "lane", f->lane->id);
        json_kstr(w, "source", mf_cstr(f->lane->source_name));
        json_kstr(w, "destination", mf_cstr(f->lane->destination));
    }
    if (f->seq)
        json_kint(w, "event", (int64_t)f->seq);
    json_kstr(w, "what", mf_cstr(f->text));
    json_end_object(w);
}

static void print_json(const struct audit *a, int64_t took_ms)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, REPORT_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kint(&w, "difference", (int64_t)a->difference);
    json_kint(&w, "events", (int64_t)a->events);
    json_kint(&w, "first", (int64_t)a->first);
    json_kint(&w, "last", (int64_t)a->last);
    json_kint(&w, "unreadable", (int64_t)a->unreadable);
    json_kint(&w, "milliseconds", took_ms);
    json_key(&w, MF_STR("lanes"));
    json_begin_array(&w);
    for (size_t i = 0; i < a->lane_count; i++)
        write_lane(&w, &a->lanes[i]);
    json_end_array(&w);
    json_key(&w, MF_STR("faults"));
    json_begin_array(&w);
    for (size_t i = 0; i < a->fault_count; i++)
        write_fault(&w, &a->faults[i]);
    json_end_array(&w);
    json_end_object(&w);
    buf_char(&b, '\n');
    fwrite(b.data, 1, b.len, stdout);
    buf_deinit(&b);
}

/* ---- as text ---- */

static void print_faults(const struct audit *a)
{
    for (size_t i = 0; i < a->fault_count; i++) {
        const struct audit_fault *f = &a->faults[i];

        if (f->lane)
            printf("lane %u, %s -> %s: ", f->lane->id, f->lane->source_name,
                   f->lane->destination);
        if (f->seq)
            printf("event %" PRIu64 ": ", f->seq);
        printf("%s\n", f->text);
    }
    if (a->difference > a->fault_count)
        printf("... and %" PRIu64 " more\n", a->difference - a->fault_count);
    if (a->difference)
        putchar('\n');
}

static void print_text(const struct audit *a, int64_t took_ms)
{
    print_faults(a);
    printf("%-20s %-20s %11s %11s %10s %8s %8s %11s %10s\n", "SOURCE",
           "DESTINATION", "ACCEPTED", "DELIVERED", "FILTERED", "DEAD",
           "PENDING", "CHECKED", "DIFFERENCE");
    for (size_t i = 0; i < a->lane_count; i++) {
        const struct audit_lane *l = &a->lanes[i];
        const struct counters *c = &l->lane->counters;

        printf("%-20s %-20s %11" PRIu64 " %11" PRIu64 " %10" PRIu64
               " %8" PRIu64 " %8zu %11" PRIu64 " %10" PRIu64 "\n",
               l->lane->source_name, l->lane->destination, c->accepted,
               c->delivered, c->filtered, c->dead, l->lane->open_count,
               l->checked, l->faults);
    }
    printf("\n%" PRIu64 " events of the journal, %" PRIu64 " to %" PRIu64
           ", in %.1f s",
           a->events, a->first, a->last, (double)took_ms / 1000);
    if (a->unreadable)
        printf("; %" PRIu64 " more could not be read", a->unreadable);
    printf("\n%sdifference %" PRIu64 "%s\n",
           colour(a->difference ? "\033[31m" : "\033[32m"), a->difference,
           colour("\033[0m"));
}

/* ---- the command ---- */

static int audit(const char *data_dir, bool json)
{
    int64_t began = clock_mono_ms();
    struct books *b;
    struct audit a;
    struct err e;
    int rc;

    b = books_open(data_dir, &e);
    if (!b || audit_run(b, AUDIT_BITMAP_BYTES, &a, &e) != 0) {
        fprintf(stderr, "manifold audit: %s\n", e.text);
        books_free(b);
        return EXIT_FAILED;
    }
    if (json)
        print_json(&a, clock_mono_ms() - began);
    else
        print_text(&a, clock_mono_ms() - began);
    rc = a.difference ? EXIT_FAILED : EXIT_OK;
    audit_deinit(&a);
    books_free(b);
    return rc;
}

int cmd_audit(int argc, char **argv)
{
    static const struct option options[] = {
        OPTION_CONFIG, { "data", 1, NULL, 'd' }, OPTION_JSON, OPTION_HELP
    };
    static const char usage[] =
        "usage: manifold audit [-c FILE | --data DIRECTORY] [--json]\n"
        "\n"
        "Proves for every connection that what it accepted is what was\n"
        "delivered, filtered, dead and pending, event by event against the\n"
        "journal. Beside a running server or without one. Exit status 1 on a\n"
        "difference of one.\n";
    const char *path = NULL, *data = NULL;
    struct config *c;
    bool json = false;
    int o, rc;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        if (o == 'd')
            data = optarg;
        json |= o == 'j';
    }
    if (operands_check(argc, 0, 0, usage) != EXIT_OK)
        return EXIT_USAGE;
    if (data)
        return audit(data, json);
    c = config_readable(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    rc = audit(c->data_dir, json);
    config_free(c);
    return rc;
}

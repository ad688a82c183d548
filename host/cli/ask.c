/* SPDX-License-Identifier: Apache-2.0
 *
 * ask.c - commands that ask the running server: status, reload, pause,
 * resume, send. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/json.h"
#include "supervisor/certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX   (32u << 20)
#define STDIN_MAX    (16u << 20)
#define RELOAD_TRIES 6000 /* questions, 10 ms apart */

static int fail(const char *command, const struct err *e)
{
    fprintf(stderr, "manifold %s: %s\n", command, e->text);
    return EXIT_FAILED;
}

static const char *text_of(mf_val o, const char *key, struct arena *a)
{
    mf_str s = json_text(json_get(o, mf_cstr(key)), a);

    return arena_copy(a, s).ptr;
}

static int64_t number_of(mf_val o, const char *key)
{
    int64_t v = 0;

    json_integer(json_get(o, mf_cstr(key)), &v);
    return v;
}

/* ---- status ---- */

/* Nothing as long as its end is far. */
static void print_certificate(mf_val certificate, struct arena *a)
{
    int64_t end_s = number_of(certificate, "not_after");
    char text[TIME_TEXT];

    if (certificate.type != MF_OBJECT ||
        end_s - clock_ms() / 1000 >= CERTIFICATE_WARN_S)
        return;
    time_iso(end_s * 1000, text);
    printf("certificate %s %s at %s\n\n", text_of(certificate, "file", a),
           end_s * 1000 <= clock_ms() ? "EXPIRED" : "expires", text);
}

static void print_status(mf_val s, struct arena *a)
{
    mf_val journal = json_get(s, MF_STR("journal")), o;
    mf_val ingest = json_get(s, MF_STR("ingest"));
    mf_iter it = { { 0 } };
    mf_str key;

    printf("manifold %s, up %lld s, journal %lld events, %.1f MiB%s%s\n\n",
           text_of(s, "version", a),
           (long long)number_of(s, "uptime_seconds"),
           (long long)number_of(journal, "durable"),
           (double)number_of(journal, "bytes") / 1048576,
           json_is_true(json_get(journal, MF_STR("full"))) ? ", DISK FULL"
                                                           : "",
           number_of(json_get(ingest, MF_STR("dedupe")), "warming")
               ? ", ids WARMING" : "");
    print_certificate(json_get(s, MF_STR("certificate")), a);
    printf("%-20s %12s %10s %10s\n", "SOURCE", "RECEIVED", "DUPLICATE",
           "REJECTED");
    while (json_next(json_get(ingest, MF_STR("sources")), &it, &key, &o)) {
        mf_iter codes = { { 0 } };
        int64_t rejected = 0, n;
        mf_val v;

        while (json_next(json_get(o, MF_STR("rejected")), &codes, &key, &v))
            rejected += json_integer(v, &n) ? n : 0;
        printf("%-20s %12lld %10lld %10lld\n", text_of(o, "name", a),
               (long long)number_of(o, "received"),
               (long long)number_of(o, "duplicates"), (long long)rejected);
    }
    printf("\n%-20s %-20s %-14s %10s %11s %8s %6s %8s %8s  %s\n",
           "DESTINATION", "PLUGIN", "STATE", "DELIVERED", "PENDING",
           "FILTERED", "DEAD", "RETRIES", "OLDEST", "LAST ERROR");
    it = (mf_iter){ { 0 } };
    while (json_next(json_get(s, MF_STR("destinations")), &it, &key, &o)) {
        const char *state = text_of(o, "state", a);
        bool good = strcmp(state, "active") == 0;

        printf("%-20s %-20s %s%-14s%s %10lld %2s%9lld %8lld %6lld %8lld "
               "%7.0fs  %s\n",
               text_of(o, "name", a), text_of(o, "plugin", a),
               colour(good ? "\033[32m" : "\033[31m"), state,
               colour("\033[0m"), (long long)number_of(o, "delivered"),
               json_is_true(json_get(o, MF_STR("pending_exact"))) ? "" : "<=",
               (long long)number_of(o, "pending"),
               (long long)number_of(o, "filtered"),
               (long long)number_of(o, "dead"),
               (long long)number_of(o, "retries"),
               json_number(json_get(o, MF_STR("oldest_pending_seconds")), 0),
               text_of(o, "last_error", a));
    }
}

int cmd_status(int argc, char **argv)
{
    static const struct option options[] = { OPTION_CONFIG, OPTION_JSON,
                                             OPTION_HELP };
    static const char usage[] =
        "usage: manifold status [-c FILE] [--json]\n"
        "\n"
        "What each source and destination is at: state, counts, last error.\n";
    const char *path = NULL;
    bool json = false;
    struct config *c;
    struct arena a;
    struct buf b;
    struct err e;
    int o, rc = EXIT_OK;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        json |= o == 'j';
    }
    if (operands_check(argc, 0, 0, usage) != EXIT_OK)
        return EXIT_USAGE;
    c = config_or_complain(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    buf_init(&b, ANSWER_MAX);
    arena_init(&a, 64 << 20);
    if (admin_exchange(c, "/v1/status", NULL, &b, &e) != 0)
        rc = fail("status", &e);
    else if (json)
        fwrite(b.data, 1, b.len, stdout);
    else
        print_status(json_root(buf_view(&b)), &a);
    arena_deinit(&a);
    buf_deinit(&b);
    config_free(c);
    return rc;
}

/* ---- reload ---- */

static void print_outcome(mf_val s, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val o;

    while (json_next(json_get(s, MF_STR("changes")), &it, &key, &o)) {
        const char *why = text_of(o, "why", a);
        /* Lines that begin with FILE:LINE:COLUMN stay such lines. */
        bool places = strchr(why, '\n') ||
                      strcmp(text_of(o, "kind", a), "config") == 0;

        printf("%-10s %-12s %s%s%s\n", text_of(o, "change", a),
               text_of(o, "kind", a), text_of(o, "name", a),
               !*why    ? ""
               : places ? ":\n"
                        : ": ",
               why);
    }
}

/* Asks until the reload is done. */
static int wait_for_reload(const struct config *c, int64_t id, struct buf *b,
                           struct err *e)
{
    char path[64];

    snprintf(path, sizeof path, "/v1/reloads/%lld", (long long)id);
    for (int i = 0; i < RELOAD_TRIES; i++) {
        buf_clear(b);
        if (admin_exchange(c, path, NULL, b, e) != 0)
            return -1;
        if (json_is_true(json_get(json_root(buf_view(b)), MF_STR("done"))))
            return 0;
        usleep(10000);
    }
    return err_set(e, "reload %lld is still under way; look at `manifold "
                      "status`",
                   (long long)id);
}

int cmd_reload(int argc, char **argv)
{
    static const struct option options[] = {
        OPTION_CONFIG, OPTION_JSON, { "force", 0, NULL, 'f' }, OPTION_HELP
    };
    static const char usage[] =
        "usage: manifold reload [-c FILE] [--force] [--json]\n"
        "\n"
        "Reads configuration and plugins again, waits, prints what changed;\n"
        "status 1 if anything was refused.\n"
        "\n"
        "  --force  also plugins that were refused and look unchanged\n";
    const char *path = NULL;
    bool json = false, force = false;
    struct config *c;
    struct arena a;
    struct buf b;
    struct err e;
    int o, rc = EXIT_OK;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        json |= o == 'j';
        force |= o == 'f';
    }
    if (operands_check(argc, 0, 0, usage) != EXIT_OK)
        return EXIT_USAGE;
    /* A configuration with faults must not keep the server's own refusal from
     * being shown: it is looked for with what can be read. */
    c = config_readable(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    buf_init(&b, ANSWER_MAX);
    arena_init(&a, 64 << 20);
    if (admin_exchange(c, "/v1/reload", force ? "{\"force\":true}" : "{}", &b,
                       &e) != 0 ||
        wait_for_reload(c, number_of(json_root(buf_view(&b)), "id"), &b,
                        &e) != 0) {
        rc = fail("reload", &e);
    } else {
        mf_val s = json_root(buf_view(&b));

        if (json)
            fwrite(b.data, 1, b.len, stdout);
        else
            print_outcome(s, &a);
        if (json_is_true(json_get(s, MF_STR("refused"))))
            rc = EXIT_FAILED;
    }
    arena_deinit(&a);
    buf_deinit(&b);
    config_free(c);
    return rc;
}

/* ---- pause, resume ---- */

int cmd_pause(int argc, char **argv)
{
    static const struct option options[] = { OPTION_CONFIG, OPTION_JSON,
                                             OPTION_HELP };
    static const char usage[] =
        "usage: manifold pause|resume [-c FILE] [--json] DESTINATION\n"
        "\n"
        "What is paused keeps its events in the journal, over restarts too.\n";
    const char *path = NULL, *verb = argv[0];
    bool json = false;
    struct buf b, url;
    struct config *c;
    struct err e;
    int o, rc = EXIT_OK;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        json |= o == 'j';
    }
    if (operands_check(argc, 1, 1, usage) != EXIT_OK)
        return EXIT_USAGE;
    c = config_or_complain(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    buf_init(&b, ANSWER_MAX);
    buf_init(&url, 4096);
    buf_puts(&url, "/v1/destinations/");
    percent_encode(&url, mf_cstr(argv[optind]));
    buf_printf(&url, "/%s", verb);
    buf_char(&url, 0);
    if (admin_exchange(c, url.data, "{}", &b, &e) != 0)
        rc = fail(verb, &e);
    else if (json)
        printf("%.*s\n", (int)b.len, b.data);
    buf_deinit(&url);
    buf_deinit(&b);
    config_free(c);
    return rc;
}

/* ---- send ---- */

static const char send_usage[] =
    "usage: manifold send [-c FILE] [-s SOURCE] [TYPE] [-u USER] [-a ANONYMOUS]"
    "\n                     [-e EVENT] [-p KEY=VALUE] ...\n"
    "       manifold send [-c FILE] [-s SOURCE] -    one event, JSON, from "
    "standard input\n";

static void add_property(struct json_out *w, const char *pair)
{
    const char *eq = strchr(pair, '=');
    mf_str value = mf_cstr(eq + 1);

    json_key(w, (mf_str){ pair, (size_t)(eq - pair) });
    if (json_check(value, JSON_DEPTH_MAX, NULL) == 0)
        json_val(w, json_root(value)); /* 12, true, {"a":1} */
    else
        json_str(w, value);
}

struct outgoing {
    const char *type, *user, *anonymous, *event;
    const char *properties[256];
    size_t count;
};

static void write_event(const struct outgoing *s, struct buf *to)
{
    struct json_out w;
    bool traits = strcmp(s->type, "identify") == 0 ||
                  strcmp(s->type, "group") == 0;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_kstr(&w, "type", mf_cstr(s->type));
    if (s->user)
        json_kstr(&w, "userId", mf_cstr(s->user));
    if (s->anonymous || !s->user)
        json_kstr(&w, "anonymousId",
                  mf_cstr(s->anonymous ? s->anonymous : "manifold-send"));
    if (s->event)
        json_kstr(&w, "event", mf_cstr(s->event));
    json_key(&w, mf_cstr(traits ? "traits" : "properties"));
    json_begin_object(&w);
    for (size_t i = 0; i < s->count; i++)
        add_property(&w, s->properties[i]);
    json_end_object(&w);
    json_end_object(&w);
    buf_char(to, 0);
}

static int post_event(const struct config *c, const struct conf_source *src,
                      const char *body, struct err *e)
{
    struct buf answer;
    bool taken = false;
    int rc;

    buf_init(&answer, ANSWER_MAX);
    rc = ingest_post(c, src, body, &answer, &taken, e);
    if (rc == 0) {
        fwrite(answer.data, 1, answer.len, stdout);
        putchar('\n');
        if (!taken)
            rc = err_set(e, "the event was refused");
    }
    buf_deinit(&answer);
    return rc;
}

static int parse_send(int argc, char **argv, struct outgoing *s,
                      const char **path, const char **source)
{
    static const struct option options[] = { OPTION_CONFIG, OPTION_JSON,
                                             OPTION_HELP };
    int o;

    s->type = "track";
    while ((o = option_next(argc, argv, "c:s:u:a:e:p:", options,
                            send_usage)) != -1) {
        switch (o) {
        case 'c': *path = optarg; break;
        case 'j': break; /* the answer is JSON as it is */
        case 's': *source = optarg; break;
        case 'u': s->user = optarg; break;
        case 'a': s->anonymous = optarg; break;
        case 'e': s->event = optarg; break;
        case 'p':
            if (!strchr(optarg, '=') || s->count == COUNT_OF(s->properties))
                return -1;
            s->properties[s->count++] = optarg;
            break;
        default:
            return -1;
        }
    }
    if (optind < argc)
        s->type = argv[optind++];
    return optind == argc ? 0 : -1;
}

int cmd_send(int argc, char **argv)
{
    const char *path = NULL, *source = NULL;
    const struct conf_source *src;
    struct outgoing s = { 0 };
    struct buf event, body;
    struct config *c;
    struct err e;
    int rc = EXIT_OK;

    if (parse_send(argc, argv, &s, &path, &source) != 0) {
        fputs(send_usage, stderr);
        return EXIT_USAGE;
    }
    c = config_or_complain(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    src = source             ? config_source(c, mf_cstr(source))
          : c->sources.count ? &c->sources.list[0]
                             : NULL;
    buf_init(&event, STDIN_MAX);
    buf_init(&body, STDIN_MAX + 64);
    if (strcmp(s.type, "-") == 0) {
        char *room;
        size_t n;

        while ((room = buf_room(&event, 65536)) &&
               (n = fread(room, 1, 65536, stdin)) > 0)
            event.len += n;
        buf_char(&event, 0);
    } else {
        write_event(&s, &event);
    }
    buf_printf(&body, "{\"batch\":[%s]}", event.data);
    buf_char(&body, 0);
    if (!src) {
        err_set(&e, "there is no source %s in the configuration",
                source ? source : "at all");
        rc = fail("send", &e);
    } else if (post_event(c, src, body.data, &e) != 0) {
        rc = fail("send", &e);
    }
    buf_deinit(&event);
    buf_deinit(&body);
    config_free(c);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - `manifold replay`: asks the running server to send a stretch of
 * the journal to a destination again; with --dry-run says what that would be.
 *
 * The dry run reads the journal itself, beside the server, and maps with the
 * plugin and the configuration that are on the disk now. It sends nothing. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/rehearsal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/when.h"
#include "json/json.h"
#include "mapping/fql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX (32u << 20)
#define SHOWN      3     /* requests of a dry run, unless --show says */
#define LOOK_MS    500   /* how often --wait looks */

static const char usage[] =
    "usage: manifold replay [-c FILE] --from T [--until T] [--where FQL]\n"
    "                       [--rate N/s] [--source SOURCE] [--wait] [--json]\n"
    "                       DESTINATION\n"
    "       manifold replay [...] --dry-run [--show N] DESTINATION\n"
    "       manifold replay [-c FILE] [--json] --list DESTINATION\n"
    "       manifold replay [-c FILE] --pause|--resume|--cancel ID "
    "DESTINATION\n"
    "\n"
    "  T is a time such as 2026-01-12T10:00:00Z, Unix milliseconds, now, or "
    "-2h.\n";

struct replay {
    const char *path, *destination, *stop, *id;
    const char *from, *until, *where, *rate, *source;
    bool dry, list, wait, json;
    int64_t show;
    struct config *config;
    struct buf answer;
    struct arena arena;
};

enum { O_FROM = 256, O_UNTIL, O_WHERE, O_RATE, O_SOURCE, O_DRY, O_SHOW, O_LIST,
       O_WAIT, O_PAUSE, O_RESUME, O_CANCEL };

static const struct option options[] = {
    { "from", 1, NULL, O_FROM },     { "until", 1, NULL, O_UNTIL },
    { "where", 1, NULL, O_WHERE },   { "rate", 1, NULL, O_RATE },
    { "source", 1, NULL, O_SOURCE }, { "dry-run", 0, NULL, O_DRY },
    { "show", 1, NULL, O_SHOW },     { "list", 0, NULL, O_LIST },
    { "wait", 0, NULL, O_WAIT },     { "pause", 1, NULL, O_PAUSE },
    { "resume", 1, NULL, O_RESUME }, { "cancel", 1, NULL, O_CANCEL },
    OPTION_JSON, OPTION_CONFIG, OPTION_HELP
};

static int failed(const struct err *e)
{
    fprintf(stderr, "manifold replay: %s\n", e->text);
    return EXIT_FAILED;
}

/* ---- options ---- */

static void set_stop(struct replay *r, const char *word)
{
    r->stop = word;
    r->id = optarg;
}

static int option(struct replay *r, int o)
{
    switch (o) {
    case 'c':      r->path = optarg; break;
    case O_FROM:   r->from = optarg; break;
    case O_UNTIL:  r->until = optarg; break;
    case O_WHERE:  r->where = optarg; break;
    case O_RATE:   r->rate = optarg; break;
    case O_SOURCE: r->source = optarg; break;
    case O_DRY:    r->dry = true; break;
    case O_LIST:   r->list = true; break;
    case O_WAIT:   r->wait = true; break;
    case 'j':      r->json = true; break;
    case O_PAUSE:  set_stop(r, "pause"); break;
    case O_RESUME: set_stop(r, "resume"); break;
    case O_CANCEL: set_stop(r, "cancel"); break;
    case O_SHOW:
        return parse_i64(mf_cstr(optarg), &r->show) && r->show >= 0
                   ? EXIT_OK
                   : usage_error(usage, "--show: a number was expected");
    }
    return EXIT_OK;
}

static int parse(struct replay *r, int argc, char **argv)
{
    uint64_t n;
    int o;

    r->show = SHOWN;
    while ((o = option_next(argc, argv, "c:", options, usage)) != -1)
        if (option(r, o) != EXIT_OK)
            return EXIT_USAGE;
    if (r->id && !parse_u64(mf_cstr(r->id), &n))
        return usage_error(usage, "--%s: a replay's number was expected",
                           r->stop);
    if ((r->from != NULL) + r->list + (r->stop != NULL) != 1)
        return usage_error(usage, "say --from, --list, --pause, --resume or "
                                  "--cancel, and one of them");
    if (operands_check(argc, 1, 1, usage) != EXIT_OK)
        return EXIT_USAGE;
    r->destination = argv[optind];
    return EXIT_OK;
}

/* ---- asking ---- */

static int ask(struct replay *r, const char *tail, const char *body,
               struct err *e)
{
    struct buf url;
    int rc;

    buf_init(&url, 65536);
    buf_puts(&url, "/v1/destinations/");
    percent_encode(&url, mf_cstr(r->destination));
    buf_printf(&url, "/replay%s", tail);
    buf_char(&url, 0);
    buf_clear(&r->answer);
    rc = admin_exchange(r->config, url.data, body, &r->answer, e);
    buf_deinit(&url);
    return rc;
}

static const char *text_of(struct replay *r, mf_val o, const char *key)
{
    return arena_copy(&r->arena, json_text(json_get(o, mf_cstr(key)),
                                           &r->arena)).ptr;
}

static int64_t number_of(mf_val o, const char *key)
{
    int64_t v = 0;

    json_integer(json_get(o, mf_cstr(key)), &v);
    return v;
}

static void print_head(void)
{
    printf("%-6s %-10s %5s %10s %9s %8s %6s  %-24s  %-24s  %s\n", "ID",
           "STATE", "DONE", "DELIVERED", "PENDING", "FILTERED", "DEAD",
           "FROM", "UNTIL", "WHERE");
}

static void print_one(struct replay *r, mf_val o)
{
    printf("%-6lld %-10s %4.0f%% %10lld %9lld %8lld %6lld  %-24s  %-24s  "
           "%s\n",
           (long long)number_of(o, "id"), text_of(r, o, "state"),
           100 * json_number(json_get(o, MF_STR("progress")), 0),
           (long long)number_of(o, "delivered"),
           (long long)number_of(o, "pending"),
           (long long)number_of(o, "filtered"),
           (long long)number_of(o, "dead"), text_of(r, o, "from"),
           text_of(r, o, "until"), text_of(r, o, "where"));
}

static int list(struct replay *r)
{
    mf_iter it = { { 0 } };
    struct err e;
    mf_str key;
    mf_val o;

    if (ask(r, "", NULL, &e) != 0)
        return failed(&e);
    if (r->json) {
        fwrite(r->answer.data, 1, r->answer.len, stdout);
        return EXIT_OK;
    }
    print_head();
    while (json_next(json_get(json_root(buf_view(&r->answer)),
                              MF_STR("replays")),
                     &it, &key, &o))
        print_one(r, o);
    return EXIT_OK;
}

static int stop(struct replay *r)
{
    char tail[64];
    struct err e;

    snprintf(tail, sizeof tail, "/%s/%s", r->id, r->stop);
    if (ask(r, tail, "{}", &e) != 0)
        return failed(&e);
    if (r->json)
        fwrite(r->answer.data, 1, r->answer.len, stdout);
    return EXIT_OK;
}

/* ---- beginning one ---- */

static void add_member(struct json_out *w, const char *key, const char *value)
{
    if (!value)
        return;
    json_key(w, mf_cstr(key));
    json_str(w, mf_cstr(value));
}

/* The one of that number in the list that was answered, or MF_ABSENT. */
static mf_val find(struct replay *r, int64_t id)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val o;

    while (json_next(json_get(json_root(buf_view(&r->answer)),
                              MF_STR("replays")),
                     &it, &key, &o))
        if (number_of(o, "id") == id)
            return o;
    return (mf_val){ NULL, 0, MF_ABSENT };
}

static int await(struct replay *r, int64_t id, struct err *e)
{
    for (;;) {
        const char *state;
        mf_val o;

        if (ask(r, "", NULL, e) != 0)
            return -1;
        o = find(r, id);
        arena_reset(&r->arena);
        state = text_of(r, o, "state");
        if (o.type == MF_ABSENT || strcmp(state, "done") == 0 ||
            strcmp(state, "cancelled") == 0) {
            if (r->json)
                printf("%.*s\n", (int)o.len, o.raw ? o.raw : "");
            else
                print_one(r, o);
            return 0;
        }
        usleep(LOOK_MS * 1000);
    }
}

/* A part of what was asked for may be gone. */
static void tell_retained(struct replay *r, mf_val answer, mf_val o)
{
    int64_t from, kept;

    if (time_parse(mf_cstr(text_of(r, o, "from")), &from) &&
        time_parse(mf_cstr(text_of(r, answer, "retained_from")), &kept) &&
        from < kept)
        fprintf(stderr, "manifold replay: the journal holds events from %s "
                        "on; those before are gone\n",
                text_of(r, answer, "retained_from"));
}

static int begin(struct replay *r)
{
    struct json_out w;
    struct buf body;
    struct err e;
    mf_val answer, o;
    int64_t id;
    int rc;

    buf_init(&body, 65536);
    json_out_init(&w, &body);
    json_begin_object(&w);
    add_member(&w, "from", r->from);
    add_member(&w, "until", r->until);
    add_member(&w, "where", r->where);
    add_member(&w, "rate", r->rate);
    add_member(&w, "source", r->source);
    json_end_object(&w);
    buf_char(&body, 0);
    rc = ask(r, "", body.data, &e);
    buf_deinit(&body);
    if (rc != 0)
        return failed(&e);
    answer = json_root(buf_view(&r->answer));
    o = json_get(answer, MF_STR("replay"));
    id = number_of(o, "id");
    tell_retained(r, answer, o);
    if (r->wait) {
        if (!r->json)
            print_head();
        return await(r, id, &e) == 0 ? EXIT_OK : failed(&e);
    }
    if (r->json)
        printf("%.*s\n", (int)o.len, o.raw);
    else
        printf("replay %lld of %s has begun\n", (long long)id,
               r->destination);
    return EXIT_OK;
}

/* ---- the dry run ---- */

static int read_time(const char *text, const char *option_name, int64_t now,
                     int64_t *ms)
{
    if (when_parse(mf_cstr(text), now, ms))
        return 0;
    fprintf(stderr, "manifold replay: %s: `%s` is not " WHEN_FORMS "\n",
            option_name, text);
    return -1;
}

static int compile_where(struct replay *r, struct fql **where)
{
    struct err e;
    size_t at = 0;

    *where = NULL;
    if (!r->where || !*r->where)
        return 0;
    *where = fql_compile(mf_cstr(r->where), FQL_FILTER, &e, &at);
    if (*where)
        return 0;
    fprintf(stderr, "manifold replay: where: byte %zu: %s\n", at + 1, e.text);
    return -1;
}

static int dry_run(struct replay *r)
{
    struct rehearsal h = { .config = r->config, .destination = r->destination,
                           .source = r->source, .show = (uint64_t)r->show,
                           .json = r->json, .until_ms = clock_ms() + 1 };
    struct fql *where = NULL;
    struct err e;
    int rc = EXIT_USAGE;

    if (read_time(r->from, "from", clock_ms(), &h.from_ms) == 0 &&
        (!r->until ||
         read_time(r->until, "until", clock_ms(), &h.until_ms) == 0) &&
        compile_where(r, &where) == 0) {
        h.where = where;
        rc = rehearse(&h, &e) == 0 ? EXIT_OK : failed(&e);
    }
    fql_free(where);
    return rc;
}

int cmd_replay(int argc, char **argv)
{
    struct replay r = { .path = NULL };
    int rc = EXIT_USAGE;

    buf_init(&r.answer, ANSWER_MAX);
    arena_init(&r.arena, 64u << 20);
    if (parse(&r, argc, argv) == EXIT_OK) {
        r.config = config_or_complain(config_path(r.path));
        rc = !r.config ? EXIT_CONFIG
             : r.list  ? list(&r)
             : r.stop  ? stop(&r)
             : r.dry   ? dry_run(&r)
                       : begin(&r);
    }
    config_free(r.config);
    buf_deinit(&r.answer);
    arena_deinit(&r.arena);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * dead.c - `manifold dead`: dead letters of a destination, and events of a
 * source that ingest refused.
 *
 * --where is evaluated here, over the pages of a listing: the server never
 * looks into an event for it. What then is sent again or dropped is named by
 * number. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/json.h"
#include "mapping/fql.h"
#include "state/letters.h"
#include "supervisor/letters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX   (32u << 20)
#define JOB_TRIES    3000 /* looks at a job, 20 ms apart */
#define SHOWN        100  /* letters, unless --limit says otherwise */

static const char usage[] =
    "usage: manifold dead ls [-c FILE] [FILTER ...] [--limit N] [--json] "
    "DESTINATION\n"
    "       manifold dead show [-c FILE] [--json] DESTINATION ID\n"
    "       manifold dead replay|drop [-c FILE] [--json] FILTER ...|--all "
    "DESTINATION\n"
    "       manifold dead ls|show|replay|drop [...] --source SOURCE [ID]\n"
    "                       events that were refused when they came; filters:\n"
    "                       --code, --since, --until, --message-id, --where,\n"
    "                       --id\n"
    "\n"
    "  --reason R[,R]   rejected, expired, mapping, plugin, gone\n"
    "  --status N       of the last answer\n"
    "  --action A       --message-id M   --event NAME   --source SOURCE\n"
    "  --since T        --until T        died then: a time, or -2h\n"
    "  --code C[,C]     with --source alone: why ingest refused it\n"
    "  --where FQL      of the event     --id ID\n"
    "  --all            every letter; drop: also connections that are "
    "detached\n";

struct dead {
    struct config *config;
    const char *verb, *destination, *source; /* source: ingest's letters */
    const char *id;
    struct buf query, body; /* filters as a query, and as members */
    struct fql *where;
    bool all, any, json;
    int64_t limit;
    struct buf answer;
    struct arena arena;
};

/* ---- options ---- */

enum { O_REASON = 256, O_STATUS, O_ACTION, O_MESSAGE, O_EVENT, O_SOURCE,
       O_SINCE, O_UNTIL, O_ID, O_CODE, O_WHERE, O_ALL, O_LIMIT };

static const struct option options[] = {
    { "reason", 1, NULL, O_REASON }, { "status", 1, NULL, O_STATUS },
    { "action", 1, NULL, O_ACTION }, { "message-id", 1, NULL, O_MESSAGE },
    { "event", 1, NULL, O_EVENT },   { "source", 1, NULL, O_SOURCE },
    { "since", 1, NULL, O_SINCE },   { "until", 1, NULL, O_UNTIL },
    { "id", 1, NULL, O_ID },         { "where", 1, NULL, O_WHERE },
    { "all", 0, NULL, O_ALL },       { "limit", 1, NULL, O_LIMIT },
    { "code", 1, NULL, O_CODE },
    OPTION_JSON, OPTION_CONFIG, OPTION_HELP
};

/* As the server calls them; by option. */
static const char *const names[] = { "reason", "status", "action", "messageId",
                                     "event",  "source", "since",  "until",
                                     "id",     "code" };

static void add_filter(struct dead *d, const char *name, const char *value)
{
    buf_printf(&d->query, "&%s=", name);
    percent_encode(&d->query, mf_cstr(value));
    buf_printf(&d->body, ",\"%s\":\"", name);
    json_escape(&d->body, mf_cstr(value));
    buf_char(&d->body, '"');
    d->any = true;
}

static int set_where(struct dead *d, const char *text)
{
    struct err e;
    size_t at = 0;

    fql_free(d->where);
    d->where = fql_compile(mf_cstr(text), FQL_FILTER, &e, &at);
    if (!d->where)
        fprintf(stderr, "manifold dead: --where: byte %zu: %s\n", at + 1,
                e.text);
    return d->where ? 0 : -1;
}

static int option(struct dead *d, int o, const char **path)
{
    switch (o) {
    case 'c':
        *path = optarg;
        return 0;
    case O_SOURCE:
        d->source = optarg;
        return 0;
    case O_WHERE:
        return set_where(d, optarg);
    case O_ALL:
        d->all = true;
        return 0;
    case 'j':
        d->json = true;
        return 0;
    case O_LIMIT:
        return parse_i64(mf_cstr(optarg), &d->limit) && d->limit > 0
                   ? 0
                   : usage_error(usage, "--limit: a number was expected");
    case O_ID:
        d->id = optarg;
        break;
    }
    add_filter(d, names[o - O_REASON], optarg);
    return 0;
}

/* What stands behind the options: DESTINATION and for show an ID; with
 * --source alone no destination. */
static int operands(struct dead *d, int argc, char **argv)
{
    bool show = strcmp(d->verb, "show") == 0;
    int left = argc - optind;

    if (left == (show ? 2 : 1) && !(show && d->source)) {
        d->destination = argv[optind++];
        if (d->source)
            add_filter(d, "source", d->source);
        d->source = NULL;
    } else if (!d->source || left != show) {
        return -1;
    }
    if (show)
        add_filter(d, "id", d->id = argv[optind]);
    return 0;
}

static int parse(struct dead *d, int argc, char **argv, const char **path)
{
    static const char *const verbs[] = { "ls", "show", "replay", "drop",
                                         NULL };
    int o;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1)
        if (option(d, o, path) != 0)
            return EXIT_USAGE;
    if (optind == argc || !text_among(argv[optind], verbs))
        return usage_error(usage, "say what to do: ls, show, replay, drop");
    d->verb = argv[optind++];
    if (operands(d, argc, argv) != 0)
        return usage_error(usage, "%s: a destination was expected%s", d->verb,
                           strcmp(d->verb, "show") == 0 ? ", and an ID" : "");
    return EXIT_OK;
}

/* ---- asking ---- */

static int failed(const struct dead *d, const struct err *e)
{
    fprintf(stderr, "manifold dead %s: %s\n", d->verb, e->text);
    return EXIT_FAILED;
}

/* .../NAME/dead, then `tail`. */
static int ask(struct dead *d, const char *tail, const char *body,
               struct err *e)
{
    struct buf url;
    int rc;

    buf_init(&url, 65536);
    buf_puts(&url, d->source ? "/v1/sources/" : "/v1/destinations/");
    percent_encode(&url, mf_cstr(d->source ? d->source : d->destination));
    buf_printf(&url, "/dead%s", tail);
    buf_char(&url, 0);
    buf_clear(&d->answer);
    rc = admin_exchange(d->config, url.data, body, &d->answer, e);
    buf_deinit(&url);
    return rc;
}

static const char *text_of(struct dead *d, mf_val o, const char *key)
{
    return arena_copy(&d->arena, json_text(json_get(o, mf_cstr(key)),
                                           &d->arena)).ptr;
}

static int64_t number_of(mf_val o, const char *key)
{
    int64_t v = 0;

    json_integer(json_get(o, mf_cstr(key)), &v);
    return v;
}

/* Calls `each` for the letters that match, newest first, until it says no.
 * It must not ask. */
static int pages(struct dead *d, bool brief,
                 bool (*each)(struct dead *d, mf_val letter, void *arg),
                 void *arg, struct err *e)
{
    int64_t next = 0;

    do {
        mf_iter it = { { 0 } };
        char tail[128];
        struct buf url;
        mf_str key;
        mf_val o;
        int rc;

        snprintf(tail, sizeof tail, "?limit=%d&before=%lld%s", LETTERS_PAGE,
                 (long long)next, brief ? "&brief=true" : "");
        buf_init(&url, 65536);
        buf_puts(&url, tail);
        buf_str(&url, buf_view(&d->query));
        buf_char(&url, 0);
        rc = ask(d, url.data, NULL, e);
        buf_deinit(&url);
        if (rc != 0)
            return -1;
        next = number_of(json_root(buf_view(&d->answer)), "next");
        while (json_next(json_get(json_root(buf_view(&d->answer)),
                                  MF_STR("dead")),
                         &it, &key, &o)) {
            arena_reset(&d->arena);
            if (d->where && !fql_match(d->where, json_get(o, MF_STR("event")),
                                       &d->arena))
                continue;
            if (!each(d, o, arg))
                return 0;
        }
    } while (next);
    return 0;
}

/* ---- ls, show ---- */

static void print_line(struct dead *d, mf_val o)
{
    char when[TIME_TEXT];

    time_iso(number_of(o, "when_ms"), when);
    if (d->source) {
        printf("%-8lld %s  %-24s %s\n", (long long)number_of(o, "id"), when,
               text_of(d, o, "code"), text_of(d, o, "message_id"));
        return;
    }
    printf("%-8lld %s  %-9s %4lld %-12s %-20s %-20s %-36s %s\n",
           (long long)number_of(o, "id"), when, text_of(d, o, "reason"),
           (long long)number_of(o, "result"), text_of(d, o, "source"),
           text_of(d, o, "action"), text_of(d, o, "event_name"),
           text_of(d, o, "message_id"), text_of(d, o, "error"));
}

struct listing {
    int64_t left;
    bool any;
};

static bool list_one(struct dead *d, mf_val o, void *arg)
{
    struct listing *l = arg;

    if (d->json)
        printf("%s%.*s", l->any ? "," : "", (int)o.len, o.raw);
    else
        print_line(d, o);
    l->any = true;
    return --l->left > 0;
}

static int list(struct dead *d)
{
    struct listing l = { .left = d->limit ? d->limit : SHOWN };
    struct err e;
    int rc;

    if (d->json)
        fputs("{\"dead\":[", stdout);
    else if (d->source)
        printf("%-8s %-24s  %-24s %s\n", "ID", "WHEN", "CODE", "MESSAGE");
    else
        printf("%-8s %-24s  %-9s %4s %-12s %-20s %-20s %-36s %s\n", "ID",
               "DIED", "REASON", "STAT", "SOURCE", "ACTION", "EVENT",
               "MESSAGE", "ERROR");
    rc = pages(d, !d->json && !d->where, list_one, &l, &e);
    if (d->json)
        fputs("]}\n", stdout);
    else if (rc == 0 && l.left == 0)
        fprintf(stderr, "manifold dead: there may be more; see --limit\n");
    return rc == 0 ? EXIT_OK : failed(d, &e);
}

static void print_member(struct dead *d, mf_val o, const char *key,
                         const char *title)
{
    const char *text = text_of(d, o, key);

    if (*text)
        printf("%-10s %s\n", title, text);
}

static bool show_one(struct dead *d, mf_val o, void *arg)
{
    mf_val event = json_get(o, MF_STR("event"));
    char when[TIME_TEXT];

    *(bool *)arg = true;
    if (d->json) {
        printf("%.*s\n", (int)o.len, o.raw);
        return false;
    }
    time_iso(number_of(o, "when_ms"), when);
    printf("letter     %lld, %s\n", (long long)number_of(o, "id"), when);
    print_member(d, o, "code", "code");
    print_member(d, o, "reason", "reason");
    print_member(d, o, "error", "error");
    if (!d->source) {
        printf("status     %lld after %lld attempts",
               (long long)number_of(o, "result"),
               (long long)number_of(o, "attempts"));
        if (number_of(o, "first_ms")) {
            time_iso(number_of(o, "first_ms"), when);
            printf(", the first %s", when);
        }
        putchar('\n');
        print_member(d, o, "source", "source");
        print_member(d, o, "action", "action");
        printf("plugin     %s %s\n", text_of(d, o, "plugin_version"),
               text_of(d, o, "plugin_hash"));
    }
    print_member(d, o, "text", "text");
    if (event.type != MF_ABSENT)
        printf("event      %.*s\n", (int)event.len, event.raw);
    event = json_get(o, MF_STR("envelope"));
    if (event.type != MF_ABSENT)
        printf("batch      %.*s\n", (int)event.len, event.raw);
    if (*text_of(d, o, "request"))
        printf("\n---- last request\n%s\n", text_of(d, o, "request"));
    if (*text_of(d, o, "response"))
        printf("\n---- last answer\n%s\n", text_of(d, o, "response"));
    return false;
}

static int show(struct dead *d)
{
    bool found = false;
    struct err e;

    if (pages(d, false, show_one, &found, &e) != 0)
        return failed(d, &e);
    if (found)
        return EXIT_OK;
    err_set(&e, "there is no letter %s of %s", d->id,
            d->source ? d->source : d->destination);
    return failed(d, &e);
}

/* ---- replay, drop ---- */

/* Waits until the job in the answer is done. *count is added to. */
static int await_job(struct dead *d, int64_t *count, int64_t *skipped,
                     struct err *e)
{
    char tail[64];
    int64_t id = number_of(json_root(buf_view(&d->answer)), "id");

    snprintf(tail, sizeof tail, "/jobs/%lld", (long long)id);
    for (int i = 0; i < JOB_TRIES; i++) {
        mf_val o = json_root(buf_view(&d->answer));

        if (json_is_true(json_get(o, MF_STR("done")))) {
            *count += number_of(o, "count");
            *skipped += number_of(o, "skipped");
            return 0;
        }
        usleep(20000);
        if (ask(d, tail, NULL, e) != 0)
            return -1;
    }
    return err_set(e, "job %lld is still under way and goes on; it waits for "
                      "room or for %s",
                   (long long)id,
                   d->source ? "ingest" : "the destination's worker");
}

struct ids {
    int64_t *list;
    size_t count, cap;
};

static bool add_id(struct dead *d, mf_val o, void *arg)
{
    struct ids *ids = arg;

    (void)d;
    if (ids->count == ids->cap) {
        ids->cap = ids->cap ? ids->cap * 2 : 1024;
        ids->list = xrealloc(ids->list, ids->cap * sizeof *ids->list);
    }
    ids->list[ids->count++] = number_of(o, "id");
    return true;
}

static void write_ids(struct buf *to, const struct ids *ids, size_t from,
                      size_t n)
{
    buf_clear(to);
    buf_puts(to, "{\"ids\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(to, "%s%lld", i ? "," : "",
                   (long long)ids->list[from + i]);
    buf_puts(to, "]}");
    buf_char(to, 0);
}

static int change_where(struct dead *d, int64_t *count, int64_t *skipped,
                        struct err *e)
{
    struct ids ids = { NULL, 0, 0 };
    char tail[16];
    struct buf body;
    int rc = pages(d, false, add_id, &ids, e);

    snprintf(tail, sizeof tail, "/%s", d->verb);
    buf_init(&body, 1u << 20);
    for (size_t at = 0; at < ids.count && rc == 0; at += LETTER_IDS_MAX) {
        size_t n = ids.count - at;

        write_ids(&body, &ids, at, n < LETTER_IDS_MAX ? n : LETTER_IDS_MAX);
        rc = ask(d, tail, body.data, e);
        if (rc == 0)
            rc = await_job(d, count, skipped, e);
    }
    buf_deinit(&body);
    free(ids.list);
    return rc;
}

static int change(struct dead *d)
{
    int64_t count = 0, skipped = 0;
    char tail[16];
    struct err e;
    int rc;

    if (!d->any && !d->all && !d->where) {
        fprintf(stderr, "manifold dead %s: say which letters, or --all\n",
                d->verb);
        return EXIT_USAGE;
    }
    if (d->where) {
        rc = change_where(d, &count, &skipped, &e);
    } else {
        snprintf(tail, sizeof tail, "/%s", d->verb);
        buf_char(&d->body, '}');
        buf_char(&d->body, 0);
        if (d->body.data[0] == ',')
            d->body.data[0] = '{';
        rc = ask(d, tail, d->any ? d->body.data : "{\"all\":true}", &e);
        if (rc == 0)
            rc = await_job(d, &count, &skipped, &e);
    }
    if (rc != 0)
        return failed(d, &e);
    if (d->json)
        printf("{\"count\":%lld,\"skipped\":%lld}\n", (long long)count,
               (long long)skipped);
    else if (d->source && strcmp(d->verb, "replay") == 0)
        printf("%lld of %lld were taken\n", (long long)count,
               (long long)(count + skipped));
    else
        printf("%lld %s %s\n", (long long)count,
               d->source ? "events" : "dead letters",
               strcmp(d->verb, "drop") == 0 ? "dropped" : "are tried again");
    if (skipped && !d->source)
        fprintf(stderr, "manifold dead: %lld left: their connection is "
                        "detached\n",
                (long long)skipped);
    return EXIT_OK;
}

/* ---- the command ---- */

static int run(struct dead *d)
{
    if (strcmp(d->verb, "ls") == 0)
        return list(d);
    if (strcmp(d->verb, "show") == 0)
        return show(d);
    return change(d);
}

int cmd_dead(int argc, char **argv)
{
    struct dead d = { .config = NULL };
    const char *path = NULL;
    int rc = EXIT_USAGE;

    buf_init(&d.query, 65536);
    buf_init(&d.body, 65536);
    buf_init(&d.answer, ANSWER_MAX);
    arena_init(&d.arena, 64u << 20);
    if (parse(&d, argc, argv, &path) == EXIT_OK) {
        d.config = config_or_complain(config_path(path));
        rc = d.config ? run(&d) : EXIT_CONFIG;
    }
    config_free(d.config);
    fql_free(d.where);
    buf_deinit(&d.query);
    buf_deinit(&d.body);
    buf_deinit(&d.answer);
    arena_deinit(&d.arena);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * explain.c - `manifold explain`: one event, and what each destination made of
 * it. Reads the data directory itself, so it needs no running server. */
#include "cli/explain.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/mem.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

#define TEXT_ARENA   (128u << 20)
#define QUESTION_MAX (64u << 20)

/* ---- the question ---- */

static void write_spec(const struct conf_destination *d, struct json_out *w)
{
    json_begin_object(w);
    json_kstr(w, "name", mf_cstr(d->name));
    json_kval(w, "settings", d->settings);
    if (d->subscriptions.json.type != MF_ABSENT)
        json_kval(w, "subscriptions", d->subscriptions.json);
    if (d->filter.ptr)
        json_kstr(w, "filter", d->filter);
    if (d->endpoint)
        json_kstr(w, "endpoint", mf_cstr(d->endpoint));
    json_end_object(w);
}

static void write_question(const struct config *c, const char *id,
                           const char *source, struct buf *to)
{
    struct json_out w;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_kstr(&w, "message_id", mf_cstr(id));
    if (source)
        json_kstr(&w, "source", mf_cstr(source));
    json_kstr(&w, "data_dir", mf_cstr(c->data_dir));
    json_kstr(&w, "plugins_dir", mf_cstr(c->plugins_dir));
    json_key(&w, MF_STR("secrets"));
    json_begin_array(&w);
    for (size_t i = 0; i < redact_count(c->secrets); i++)
        json_str(&w, redact_nth(c->secrets, i));
    json_end_array(&w);
    json_key(&w, MF_STR("destinations"));
    json_begin_array(&w);
    for (size_t i = 0; i < c->destinations.count; i++) {
        const struct conf_destination *d = &c->destinations.list[i];

        if (!d->plugin)
            continue;
        json_begin_object(&w);
        json_kstr(&w, "plugin", mf_cstr(d->plugin));
        json_key(&w, MF_STR("spec"));
        write_spec(d, &w);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}

/* ---- the answer as text ---- */

static mf_str text_of(mf_val o, const char *key, struct arena *a)
{
    return arena_copy(a, json_text(json_get(o, mf_cstr(key)), a));
}

static long long number_of(mf_val o, const char *key)
{
    int64_t v = 0;

    json_integer(json_get(o, mf_cstr(key)), &v);
    return v;
}

/* What the subscription is called, by what was recomputed; else its key. */
static const char *name_of(mf_val destination, long long key, struct arena *a)
{
    mf_val list = json_get(json_get(destination, MF_STR("recomputed")),
                           MF_STR("subscriptions")),
           v;
    mf_iter it = { { 0 } };
    mf_str k;

    while (json_next(list, &it, &k, &v))
        if (number_of(v, "subscription") == key)
            return text_of(v, "name", a).ptr;
    return key == 0 || key == UINT32_MAX
               ? "all of it"
               : arena_printf(a, "a subscription that is no longer "
                                 "configured (%lld)",
                              key).ptr;
}

/* A text of several lines, each behind a mark. */
static void print_lines(const char *mark, mf_str text)
{
    const char *p = text.ptr, *end = p + text.len;

    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));

        if (!stop)
            stop = end;
        printf("        %s %.*s\n", mark, (int)(stop - p), p);
        p = stop + 1;
    }
}

static void print_attempts(mf_val of, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str k;
    mf_val v;

    while (json_next(json_get(of, MF_STR("attempts_kept")), &it, &k, &v)) {
        printf("      attempt %lld at %s: %s\n", number_of(v, "attempt"),
               text_of(v, "at", a).ptr, text_of(v, "error", a).ptr);
        print_lines(">", text_of(v, "request", a));
        print_lines("<", text_of(v, "response", a));
    }
}

static void print_parts(mf_val d, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str k;
    mf_val v;

    while (json_next(json_get(d, MF_STR("parts")), &it, &k, &v)) {
        mf_str reason = text_of(v, "reason", a);

        printf("    recorded: %s: %s%s%s\n",
               name_of(d, number_of(v, "subscription"), a),
               text_of(v, "outcome", a).ptr, reason.len ? ", " : "",
               reason.ptr);
    }
}

static void print_waiting(mf_val d, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str k;
    mf_val v;

    while (json_next(json_get(d, MF_STR("retries")), &it, &k, &v)) {
        printf("    waiting: %s: %lld attempts, the next one at %s; the last "
               "said %s\n",
               name_of(d, number_of(v, "subscription"), a),
               number_of(v, "attempts"), text_of(v, "next_attempt", a).ptr,
               text_of(v, "error", a).ptr);
        print_attempts(v, a);
    }
}

static void print_letters(mf_val list, mf_val d, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str k;
    mf_val v;

    while (json_next(list, &it, &k, &v)) {
        printf("    dead letter %lld: %s: %s at %s after %lld attempts: "
               "%s\n",
               number_of(v, "id"),
               d.type == MF_OBJECT
                   ? name_of(d, number_of(v, "subscription"), a)
                   : text_of(v, "destination", a).ptr,
               text_of(v, "reason", a).ptr, text_of(v, "died", a).ptr,
               number_of(v, "attempts"), text_of(v, "error", a).ptr);
        if (text_of(v, "plugin_version", a).len)
            printf("      by plugin version %s, content %s\n",
                   text_of(v, "plugin_version", a).ptr,
                   text_of(v, "plugin_hash", a).ptr);
        print_attempts(v, a);
        print_lines(">", text_of(v, "request", a));
        print_lines("<", text_of(v, "response", a));
    }
}

static void print_request(mf_val r, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str k;
    mf_val v;

    printf("        > %s %s\n", text_of(r, "method", a).ptr,
           text_of(r, "url", a).ptr);
    while (json_next(json_get(r, MF_STR("headers")), &it, &k, &v))
        printf("        > %.*s: %s\n", (int)k.len, k.ptr,
               arena_copy(a, json_text(v, a)).ptr);
    print_lines(">", text_of(r, "body", a));
}

static void print_subscription(mf_val s, struct arena *a)
{
    mf_str error = text_of(s, "error", a), payload = text_of(s, "payload", a);
    mf_iter it = { { 0 } };
    mf_str k;
    mf_val v;

    if (!json_is_true(json_get(s, MF_STR("matches")))) {
        printf("      %s does not match\n", text_of(s, "name", a).ptr);
        return;
    }
    printf("      %s matches and would send\n", text_of(s, "name", a).ptr);
    while (json_next(json_get(s, MF_STR("requests")), &it, &k, &v))
        print_request(v, a);
    print_lines(">", payload);
    if (error.len)
        printf("        error: %s\n", error.ptr);
}

static void print_recomputed(mf_val d, struct arena *a)
{
    mf_val r = json_get(d, MF_STR("recomputed")), v;
    mf_str error = text_of(r, "error", a), filter = text_of(r, "filter", a);
    mf_iter it = { { 0 } };
    mf_str k;

    if (r.type != MF_OBJECT)
        return;
    printf("    recomputed with plugin %s %s, content %s, and today's "
           "configuration:\n",
           text_of(r, "plugin", a).ptr, text_of(r, "plugin_version", a).ptr,
           text_of(r, "plugin_hash", a).ptr);
    if (error.len)
        printf("      it cannot be: %s\n", error.ptr);
    else
        printf("      select: %s%s%s\n", text_of(r, "select", a).ptr,
               filter.len ? ": " : "", filter.ptr);
    while (json_next(json_get(r, MF_STR("subscriptions")), &it, &k, &v))
        print_subscription(v, a);
}

static void print_destination(mf_val d, struct arena *a)
{
    mf_str standing = text_of(d, "standing", a);
    mf_str lost = text_of(d, "lost_by", a);
    bool good = mf_eq(standing, MF_STR("delivered")) ||
                mf_eq(standing, MF_STR("filtered"));

    printf("  %s: %s%s%s%s%s%s\n", text_of(d, "destination", a).ptr,
           colour(good ? "\033[32m" : "\033[31m"), standing.ptr,
           colour("\033[0m"), lost.len ? ", taken by " : "", lost.ptr,
           json_is_true(json_get(d, MF_STR("configured")))
               ? ""
               : " (no longer configured)");
    print_parts(d, a);
    print_waiting(d, a);
    print_letters(json_get(d, MF_STR("letters")), d, a);
    print_recomputed(d, a);
}

static void print_answer(mf_val answer, struct arena *a)
{
    mf_val none = { NULL, 0, MF_ABSENT }, event, d, text;
    mf_iter it = { { 0 } };
    mf_str k;

    while (json_next(json_get(answer, MF_STR("events")), &it, &k, &event)) {
        mf_iter inner = { { 0 } };

        printf("event %lld of %s, received %s, in %s\n",
               number_of(event, "sequence"), text_of(event, "source", a).ptr,
               text_of(event, "received_at", a).ptr,
               json_get(event, MF_STR("segment")).type == MF_STRING
                   ? text_of(event, "segment", a).ptr
                   : "no segment any more: retention took its bytes");
        text = json_get(event, MF_STR("event"));
        if (text.type == MF_OBJECT)
            printf("  %.*s\n", (int)text.len, text.raw);
        while (json_next(json_get(event, MF_STR("destinations")), &inner, &k,
                         &d))
            print_destination(d, a);
    }
    if (json_count(json_get(answer, MF_STR("letters"))))
        puts("the journal has no such event any more");
    print_letters(json_get(answer, MF_STR("letters")), none, a);
}

/* ---- the command ---- */

static int explain(const struct config *c, const char *id, const char *source,
                   bool json)
{
    struct buf question, answer;
    struct arena a;
    int rc = EXIT_OK;

    buf_init(&question, QUESTION_MAX);
    buf_init(&answer, EXPLAIN_BYTES);
    arena_init(&a, TEXT_ARENA);
    write_question(c, id, source, &question);
    if (explain_answer(buf_view(&question), &answer) != 200) {
        fprintf(stderr, "manifold explain: %s\n",
                text_of(json_root(buf_view(&answer)), "message", &a).ptr);
        rc = EXIT_FAILED;
    } else if (json) {
        buf_char(&answer, '\n');
        fwrite(answer.data, 1, answer.len, stdout);
    } else {
        print_answer(json_root(buf_view(&answer)), &a);
    }
    arena_deinit(&a);
    buf_deinit(&question);
    buf_deinit(&answer);
    return rc;
}

int cmd_explain(int argc, char **argv)
{
    static const struct option options[] = {
        OPTION_CONFIG, { "source", 1, NULL, 's' }, OPTION_JSON, OPTION_HELP
    };
    static const char usage[] =
        "usage: manifold explain [-c FILE] [--source NAME] [--json] "
        "MESSAGE_ID\n"
        "\n"
        "Everything that became of one event, at each destination: what is\n"
        "recorded, what was tried and what came back, what comes next; and,\n"
        "recomputed, which rules decide and which requests they make.\n";
    const char *path = NULL, *source = NULL;
    bool json = false;
    struct config *c;
    int o, rc;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        if (o == 's')
            source = optarg;
        json |= o == 'j';
    }
    if (operands_check(argc, 1, 1, usage) != EXIT_OK)
        return EXIT_USAGE;
    c = config_readable(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    rc = explain(c, argv[optind], source, json);
    config_free(c);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * rehearsal.c - see rehearsal.h. */
#include "cli/rehearsal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/redact.h"
#include "base/text.h"
#include "cli/cases.h"
#include "cli/common.h"
#include "journal/journal.h"
#include "plugin/instance.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX  (32u << 20)
#define SOURCES_MAX 5000
#define SHOWN_MAX   (16u << 20) /* bytes of one event's requests */
#define MAP_ARENA   (8u << 20)

struct tally {
    uint32_t id;
    char *name;
    uint64_t send, filtered, fault; /* events */
};

struct run {
    const struct rehearsal *h;
    struct plugin *plugin;
    struct instance *instance;
    struct journal_head head;
    int dir;
    struct tally *sources;
    size_t count;
    uint64_t shown;
    struct arena arena;
    struct buf out;
};

/* ---- what the server knows ---- */

static uint64_t number_of(mf_val o, const char *key)
{
    int64_t v = 0;

    json_integer(json_get(o, mf_cstr(key)), &v);
    return (uint64_t)v;
}

static void read_head(struct run *r, mf_val journal)
{
    atomic_store(&r->head.durable, number_of(journal, "durable"));
    atomic_store(&r->head.first, number_of(journal, "first"));
    atomic_store(&r->head.tail, number_of(journal, "tail"));
    atomic_store(&r->head.tail_end, number_of(journal, "tail_end"));
    atomic_store(&r->head.tail_epoch,
                 (uint32_t)number_of(journal, "tail_epoch"));
}

static void add_source(struct run *r, mf_val lane)
{
    mf_str name = json_text(json_get(lane, MF_STR("source")), &r->arena);
    uint32_t id = (uint32_t)number_of(lane, "source_id");

    if (r->h->source && !mf_eq(mf_cstr(r->h->source), name))
        return;
    for (size_t i = 0; i < r->count; i++)
        if (r->sources[i].id == id)
            return;
    if (r->count == SOURCES_MAX)
        return;
    r->sources = xrealloc(r->sources, (r->count + 1) * sizeof *r->sources);
    r->sources[r->count++] = (struct tally){ .id = id,
                                             .name = xstrndup(name.ptr,
                                                              name.len) };
}

static int ask_server(struct run *r, struct err *e)
{
    mf_iter it = { { 0 } };
    struct buf b;
    mf_str key;
    mf_val root, lane;
    int rc = -1;

    buf_init(&b, ANSWER_MAX);
    if (admin_exchange(r->h->config, "/v1/status", NULL, &b, e) == 0) {
        root = json_root(buf_view(&b));
        read_head(r, json_get(root, MF_STR("journal")));
        while (json_next(json_get(root, MF_STR("lanes")), &it, &key, &lane))
            if (!json_is_true(json_get(lane, MF_STR("detached"))) &&
                mf_eq(json_text(json_get(lane, MF_STR("destination")),
                                &r->arena),
                      mf_cstr(r->h->destination)))
                add_source(r, lane);
        rc = r->count ? 0
                      : err_set(e, "no source%s%s is connected to %s",
                                r->h->source ? " " : "",
                                r->h->source ? r->h->source : "",
                                r->h->destination);
    }
    buf_deinit(&b);
    return rc;
}

/* ---- the destination as it is configured ---- */

static int open_destination(struct run *r, struct err *e)
{
    const struct conf_destination *d =
        config_destination(r->h->config, mf_cstr(r->h->destination));
    struct instance_fault fault;
    char path[4096];

    if (!d)
        return err_set(e, "there is no destination %s in the configuration",
                       r->h->destination);
    snprintf(path, sizeof path, "%s/%s.so", r->h->config->plugins_dir,
             d->plugin);
    r->plugin = plugin_open(path, e);
    if (!r->plugin)
        return -1;
    r->instance = instance_new(
        r->plugin,
        &(struct instance_config){ .name = d->name,
                                   .settings = d->settings,
                                   .subscriptions = d->subscriptions.json,
                                   .filter = d->filter,
                                   .endpoint = d->endpoint
                                                   ? mf_cstr(d->endpoint)
                                                   : (mf_str){ "", 0 } },
        &fault);
    return r->instance ? 0
                       : err_set(e, "%s: %s", d->name, fault.err.text);
}

/* ---- one event ---- */

static void write_part(struct run *r, struct json_out *w, unsigned sub,
                       mf_val event)
{
    const struct call_request *q;
    struct call *c;
    struct err e;
    mf_val payload;

    json_begin_object(w);
    json_kstr(w, "action", mf_cstr(instance_action(r->instance, sub)->slug));
    payload = instance_map(r->instance, sub, event,
                           instance_batch_size(r->instance, sub) > 1,
                           &r->arena, &e);
    if (payload.type == MF_ABSENT) {
        json_kstr(w, "error", mf_cstr(e.text));
        json_end_object(w);
        return;
    }
    if (r->plugin->manifest->kind == PLUGIN_NATIVE) {
        json_kval(w, "payload", payload);
        json_end_object(w);
        return;
    }
    c = call_new(r->instance, sub);
    call_add(c, event, payload);
    call_start(c);
    json_key(w, MF_STR("requests"));
    json_begin_array(w);
    while ((q = call_next(c)))
        case_write_request(w, q);
    json_end_array(w);
    json_end_object(w);
    call_free(c);
}

static void show(struct run *r, const struct tally *t,
                 const struct journal_record *rec, const uint8_t *subs,
                 size_t n)
{
    mf_val event = json_root(rec->payload);
    char when[TIME_TEXT];
    struct json_out w;

    size_t from;

    if (r->shown >= r->h->show)
        return;
    if (!r->h->json)
        buf_clear(&r->out);
    else if (r->shown)
        buf_char(&r->out, ',');
    from = r->out.len;
    r->shown++;
    json_out_init(&w, &r->out);
    json_begin_object(&w);
    json_kstr(&w, "source", mf_cstr(t->name));
    json_kval(&w, "messageId", json_get(event, MF_STR("messageId")));
    time_iso(rec->received_ms, when);
    json_kstr(&w, "received", mf_cstr(when));
    json_key(&w, MF_STR("parts"));
    json_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        write_part(r, &w, subs[i], event);
    json_end_array(&w);
    json_end_object(&w);
    redact_buf(r->h->config->secrets, &r->out, from);
    if (!r->h->json) {
        fwrite(r->out.data, 1, r->out.len, stdout);
        putchar('\n');
    }
}

static bool maps(struct run *r, const uint8_t *subs, size_t n, mf_val event)
{
    struct err e;

    for (size_t i = 0; i < n; i++)
        if (instance_map(r->instance, subs[i], event,
                         instance_batch_size(r->instance, subs[i]) > 1,
                         &r->arena, &e).type == MF_ABSENT)
            return false;
    return true;
}

static void take(struct run *r, struct tally *t,
                 const struct journal_record *rec)
{
    mf_val event = json_root(rec->payload);
    uint8_t subs[SUBSCRIPTIONS_MAX];
    size_t n = 0;

    arena_reset(&r->arena);
    if (r->h->where && !fql_match(r->h->where, event, &r->arena))
        return;
    instance_select(r->instance, event, subs, &n, &r->arena);
    if (n == 0) {
        t->filtered++;
        return;
    }
    show(r, t, rec, subs, n);
    if (maps(r, subs, n, event))
        t->send++;
    else
        t->fault++;
}

/* ---- all of them ---- */

static struct tally *tally_of(struct run *r, uint32_t source)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->sources[i].id == source)
            return &r->sources[i];
    return NULL;
}

/* When the oldest event that is kept was received, 0: there is none. */
static enum journal_read find_oldest(struct journal_reader *reader,
                                     int64_t *oldest_ms, struct err *e)
{
    struct journal_record rec;
    enum journal_read got;
    uint64_t from, to;

    journal_seek(reader, (struct journal_pos){ 0, 0, 0 });
    while ((got = journal_next(reader, 0, 0, &rec, &from, &to, e)) ==
           JOURNAL_LOST)
        ;
    *oldest_ms = got == JOURNAL_RECORD ? rec.received_ms : 0;
    return got;
}

static enum journal_read read_range(struct run *r,
                                    struct journal_reader *reader,
                                    uint64_t last, struct err *e)
{
    struct journal_record rec;
    enum journal_read got;
    uint64_t from, to;

    while ((got = journal_next(reader, 0, 0, &rec, &from, &to, e)) ==
               JOURNAL_RECORD ||
           got == JOURNAL_LOST) {
        struct tally *t;

        if (got == JOURNAL_LOST)
            continue;
        if (rec.seq > last)
            break;
        t = tally_of(r, rec.source);
        if (t && rec.received_ms >= r->h->from_ms &&
            rec.received_ms < r->h->until_ms)
            take(r, t, &rec);
    }
    return got;
}

/* The same stretch that a replay would read. */
static int read_journal(struct run *r, int64_t *oldest_ms, struct err *e)
{
    struct journal_reader *reader = journal_reader_new(r->dir, &r->head);
    struct journal_pos first, last = { UINT64_MAX, 0, 0 };
    int rc = -1;

    if (find_oldest(reader, oldest_ms, e) == JOURNAL_ERROR)
        goto out;
    if (r->h->until_ms < clock_ms() &&
        journal_find_time(reader, r->h->until_ms, &last, e) != 0)
        goto out;
    if (journal_find_time(reader, r->h->from_ms, &first, e) != 0)
        goto out;
    journal_seek(reader, first);
    rc = read_range(r, reader, last.seq - 1, e) == JOURNAL_ERROR ? -1 : 0;
out:
    journal_reader_free(reader);
    return rc;
}

static void print_json(const struct run *r)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, ANSWER_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, MF_STR("sources"));
    json_begin_array(&w);
    for (size_t i = 0; i < r->count; i++) {
        json_begin_object(&w);
        json_kstr(&w, "name", mf_cstr(r->sources[i].name));
        json_kint(&w, "send", (int64_t)r->sources[i].send);
        json_kint(&w, "filtered", (int64_t)r->sources[i].filtered);
        json_kint(&w, "fault", (int64_t)r->sources[i].fault);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_key(&w, MF_STR("shown"));
    buf_char(&b, '[');
    buf_str(&b, buf_view(&r->out));
    buf_puts(&b, "]}\n");
    fwrite(b.data, 1, b.len, stdout);
    buf_deinit(&b);
}

static void print_table(const struct run *r)
{
    printf("%-20s %12s %12s %12s\n", "SOURCE", "WOULD SEND", "FILTERED",
           "NOT MAPPED");
    for (size_t i = 0; i < r->count; i++)
        printf("%-20s %12llu %12llu %12llu\n", r->sources[i].name,
               (unsigned long long)r->sources[i].send,
               (unsigned long long)r->sources[i].filtered,
               (unsigned long long)r->sources[i].fault);
}

static int outside(const struct run *r, int64_t oldest_ms, struct err *e)
{
    char text[TIME_TEXT];

    if (oldest_ms && r->h->until_ms > oldest_ms)
        return 0;
    time_iso(oldest_ms, text);
    return oldest_ms ? err_set(e, "no event of that time is retained: the "
                                  "journal holds those from %s on",
                               text)
                     : err_set(e, "the journal holds no event");
}

static int open_journal(struct run *r, struct err *e)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/journal", r->h->config->data_dir);
    r->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return r->dir >= 0 ? 0
                       : err_sys(e, "%s cannot be read; a dry run needs the "
                                    "right to",
                                 path);
}

int rehearse(const struct rehearsal *h, struct err *e)
{
    struct run r = { .h = h, .dir = -1 };
    int64_t oldest_ms;
    int rc = -1;

    arena_init(&r.arena, MAP_ARENA);
    buf_init(&r.out, SHOWN_MAX);
    if (open_destination(&r, e) == 0 && ask_server(&r, e) == 0 &&
        open_journal(&r, e) == 0 && read_journal(&r, &oldest_ms, e) == 0 &&
        outside(&r, oldest_ms, e) == 0) {
        if (h->json)
            print_json(&r);
        else
            print_table(&r);
        rc = 0;
    }
    if (r.dir >= 0)
        close(r.dir);
    for (size_t i = 0; i < r.count; i++)
        free(r.sources[i].name);
    free(r.sources);
    if (r.instance)
        instance_free(r.instance);
    plugin_free(r.plugin);
    buf_deinit(&r.out);
    arena_deinit(&r.arena);
    return rc;
}

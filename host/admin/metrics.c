/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.c - see metrics.h. Every metric is a row of a table: where its
 * values stand in the status, and what its labels are. */
#include "admin/metrics.h"

#include "base/mem.h"
#include "json/json.h"

#include <string.h>

#define METRICS_ARENA (4u << 20)
#define LABEL_MAX     1024

enum over { OVER_ONE, OVER_DESTINATIONS, OVER_LANES, OVER_SOURCES,
            OVER_LETTERS };

static const struct metric {
    const char *name, *type, *help;
    enum over over;
    const char *path; /* member, or object.member, or deeper */
} metrics[] = {
    { "events_received_total", "counter", "Events accepted by a source.",
      OVER_SOURCES, "received" },
    { "events_duplicate_total", "counter",
      "Events of a source that had been accepted before.", OVER_SOURCES,
      "duplicates" },
    { "events_delivered_total", "counter", "Events a destination took.",
      OVER_DESTINATIONS, "delivered" },
    { "events_filtered_total", "counter",
      "Events that were not meant for a destination.", OVER_DESTINATIONS,
      "filtered" },
    { "delivery_retries_total", "counter", "Attempts after the first.",
      OVER_DESTINATIONS, "retries" },
    { "in_flight", "gauge", "Calls under way.", OVER_DESTINATIONS,
      "in_flight" },
    { "concurrency_limit", "gauge", "The most calls at a time.",
      OVER_DESTINATIONS, "concurrency_limit" },
    { "oldest_pending_seconds", "gauge",
      "Age of the oldest event that is not settled.", OVER_DESTINATIONS,
      "oldest_pending_seconds" },
    { "lane_pending", "gauge", "Events of a connection not settled yet.",
      OVER_LANES, "pending" },
    { "lane_lost_total", "counter",
      "Events of a connection that retention or damage took.", OVER_LANES,
      "lost" },
    { "lane_near_retention", "gauge",
      "1 where retention is about to take what a connection has not read.",
      OVER_LANES, "near_retention" },
    { "ingest_letters", "gauge",
      "Events of a source that were refused inside batches, and are kept.",
      OVER_LETTERS, "letters" },
    { "ingest_letter_bytes", "gauge", "Their size.", OVER_LETTERS, "bytes" },
    { "ingest_letters_dropped_total", "counter",
      "Those that went without being taken: for want of room, for their age, "
      "or by hand.", OVER_LETTERS, "dropped" },
    { "journal_bytes", "gauge", "Size of the journal.", OVER_ONE,
      "journal.bytes" },
    { "journal_commits_total", "counter", "Group commits.", OVER_ONE,
      "journal.commits" },
    { "dedupe_ids", "gauge", "Events whose duplicates are known.", OVER_ONE,
      "ingest.dedupe.ids" },
    { "dedupe_bytes", "gauge", "Memory that they take.", OVER_ONE,
      "ingest.dedupe.bytes" },
    { "dedupe_window_seconds", "gauge",
      "Age up to which every duplicate is known.", OVER_ONE,
      "ingest.dedupe.window_seconds" },
    { "dedupe_warming", "gauge",
      "1 while ids are read after a start.", OVER_ONE,
      "ingest.dedupe.warming" },
    { "http_connections_accepted_total", "counter",
      "Connections of clients.", OVER_ONE, "ingest.http.accepted" },
    { "http_accept_errors_total", "counter",
      "Times a connection could not be accepted, mostly for want of "
      "descriptors.", OVER_ONE, "ingest.http.accept_errors" },
    { "http_requests_total", "counter", "Requests of clients.", OVER_ONE,
      "ingest.http.requests" },
    { "http_received_bytes_total", "counter", "Bytes from clients.", OVER_ONE,
      "ingest.http.bytes_in" },
    { "http_sent_bytes_total", "counter", "Bytes to clients.", OVER_ONE,
      "ingest.http.bytes_out" },
    { "http_buffer_bytes", "gauge",
      "Memory of requests that are being read or answered.", OVER_ONE,
      "ingest.http.buffer_bytes" },
    { "ingest_overloads_total", "counter",
      "Requests answered 429 or 503.", OVER_ONE, "ingest.overloads" },
    { "ingest_bad_requests_total", "counter",
      "Requests answered 400 or the like.", OVER_ONE, "ingest.bad_requests" },
    { "connections", "gauge", "Connections to ingest.", OVER_ONE,
      "ingest.connections" },
    { "connections_opening", "gauge",
      "Of these, in their handshake or before their PROXY header.", OVER_ONE,
      "ingest.opening" },
    { "tls_handshakes_total", "counter", "Handshakes that ended well.",
      OVER_ONE, "ingest.handshakes" },
    { "tls_handshakes_resumed_total", "counter",
      "Of these, of sessions that were there before.", OVER_ONE,
      "ingest.handshakes_resumed" },
    { "tls_broken_total", "counter",
      "Connections that ended over a record after their handshake.", OVER_ONE,
      "ingest.tls_broken" },
    { "proxy_headers_total", "counter", "PROXY headers taken.", OVER_ONE,
      "ingest.proxy_headers" },
    { "forwarded_malformed_total", "counter",
      "X-Forwarded-For of trusted proxies that could not be read.", OVER_ONE,
      "ingest.forwarded_malformed" },
    { "reloads_begun_total", "counter", "Reloads since the start.", OVER_ONE,
      "reloads" },
    { "ingest_restarts_total", "counter", "Times ingest had to be restarted.",
      OVER_ONE, "ingest_restarts" },
};

static void label(struct buf *to, mf_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n') {
            buf_puts(to, "\\n");
            continue;
        }
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            buf_char(to, '\\');
        buf_char(to, s.ptr[i]);
    }
}

static void head(struct buf *to, const char *name, const char *type,
                 const char *help)
{
    buf_printf(to, "# HELP manifold_%s %s\n# TYPE manifold_%s %s\n", name,
               help, name, type);
}

/* name{key="value",...}; pairs end in NULL. */
static void begin_row(struct buf *to, const char *name, struct arena *a,
                      mf_val of, const char *const *keys)
{
    const char *between = "{";

    buf_printf(to, "manifold_%s", name);
    for (; *keys; keys += 2) {
        buf_printf(to, "%s%s=\"", between, keys[0]);
        label(to, json_text(json_get(of, mf_cstr(keys[1])), a));
        buf_char(to, '"');
        between = ",";
    }
    if (*between == ',')
        buf_char(to, '}');
}

static void value(struct buf *to, mf_val v)
{
    buf_char(to, ' ');
    if (v.type == MF_NUMBER)
        buf_add(to, v.raw, v.len);
    else
        buf_char(to, json_is_true(v) ? '1' : '0');
    buf_char(to, '\n');
}

static mf_val by_path(mf_val v, const char *path)
{
    const char *dot = strchr(path, '.');

    if (!dot)
        return json_get(v, mf_cstr(path));
    return by_path(json_get(v, (mf_str){ path, (size_t)(dot - path) }),
                   dot + 1);
}

static void write_metric(const struct metric *m, mf_val status, struct buf *to,
                         struct arena *a)
{
    static const char *const none[] = { NULL };
    static const char *const destination[] = { "destination", "name", NULL };
    static const char *const source[] = { "source", "name", NULL };
    static const char *const lane[] = { "source", "source", "destination",
                                        "destination", NULL };
    mf_val list = { NULL, 0, MF_ABSENT }, o;
    const char *const *keys = none;
    mf_iter it = { { 0 } };
    mf_str key;

    head(to, m->name, m->type, m->help);
    switch (m->over) {
    case OVER_ONE:
        begin_row(to, m->name, a, status, none);
        value(to, by_path(status, m->path));
        return;
    case OVER_DESTINATIONS:
        list = json_get(status, MF_STR("destinations"));
        keys = destination;
        break;
    case OVER_LANES:
        list = json_get(status, MF_STR("lanes"));
        keys = lane;
        break;
    case OVER_SOURCES:
        list = by_path(status, "ingest.sources");
        keys = source;
        break;
    case OVER_LETTERS:
        list = by_path(status, "source_letters");
        keys = source;
        break;
    }
    while (json_next(list, &it, &key, &o)) {
        begin_row(to, m->name, a, o, keys);
        value(to, by_path(o, m->path));
    }
}

/* One row for each member of an object of counters inside each element. */
static void write_by(const char *name, const char *help, mf_val list,
                     const char *object, const char *own, const char *other,
                     struct buf *to, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key, k;
    mf_val o, n;

    head(to, name, "counter", help);
    while (json_next(list, &it, &key, &o)) {
        mf_iter inner = { { 0 } };

        while (json_next(json_get(o, mf_cstr(object)), &inner, &k, &n)) {
            buf_printf(to, "manifold_%s{%s=\"", name, own);
            label(to, json_text(json_get(o, MF_STR("name")), a));
            buf_printf(to, "\",%s=\"", other);
            label(to, k);
            buf_puts(to, "\"}");
            value(to, n);
        }
    }
}

/* One row for each member of one object of numbers. */
static void write_members(const char *name, const char *type,
                          const char *help, mf_val object, const char *by,
                          struct buf *to)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val n;

    head(to, name, type, help);
    while (json_next(object, &it, &key, &n)) {
        buf_printf(to, "manifold_%s{%s=\"", name, by);
        label(to, key);
        buf_puts(to, "\"}");
        value(to, n);
    }
}

static void write_http(mf_val status, struct buf *to)
{
    mf_val http = by_path(status, "ingest.http");

    write_members("http_connections", "gauge",
                  "Connections of clients, by whether they have a request.",
                  json_get(http, MF_STR("connections")), "state", to);
    write_members("http_connections_refused_total", "counter",
                  "Connections answered 503: all, or those of one address, "
                  "were too many.",
                  json_get(http, MF_STR("refused")), "reason", to);
    write_members("http_connections_closed_total", "counter",
                  "Connections closed: to make room, idle for long, or not "
                  "reading.",
                  json_get(http, MF_STR("closed")), "reason", to);
    write_members("http_faults_total", "counter",
                  "Requests that HTTP itself forbids, or its limits.",
                  json_get(http, MF_STR("faults")), "kind", to);
}

/* The counts of one histogram, each row with those before it; label: "" or
 * `name="value"`. */
static void write_counts(const char *name, mf_str label_text, mf_val h,
                         mf_val bounds, struct buf *to)
{
    const char *comma = label_text.len ? "," : "";
    mf_iter it = { { 0 } }, of = { { 0 } };
    int64_t sum = 0, n;
    mf_val v, bound;
    mf_str key;

    while (json_next(json_get(h, MF_STR("counts")), &it, &key, &v)) {
        sum += json_integer(v, &n) ? n : 0;
        if (!json_next(bounds, &of, &key, &bound))
            bound = json_root(MF_STR("\"+Inf\""));
        buf_printf(to, "manifold_%s_bucket{%.*s%sle=%s%.*s%s} %lld\n", name,
                   (int)label_text.len, label_text.ptr, comma,
                   bound.type == MF_STRING ? "" : "\"", (int)bound.len,
                   bound.raw, bound.type == MF_STRING ? "" : "\"",
                   (long long)sum);
    }
    for (int i = 0; i < 2; i++) {
        buf_printf(to, "manifold_%s_%s%s%.*s%s", name, i ? "count" : "sum",
                   label_text.len ? "{" : "", (int)label_text.len,
                   label_text.ptr, label_text.len ? "}" : "");
        value(to, json_get(h, i ? MF_STR("count") : MF_STR("sum")));
    }
}

static void write_histogram(const char *name, const char *help, mf_val status,
                            struct buf *to, struct arena *a)
{
    mf_val bounds = json_get(status, MF_STR("histogram_bounds_seconds")), o;
    mf_iter it = { { 0 } };
    struct buf text;
    mf_str key;

    head(to, name, "histogram", help);
    buf_init(&text, LABEL_MAX);
    while (json_next(json_get(status, MF_STR("destinations")), &it, &key,
                     &o)) {
        buf_clear(&text);
        buf_puts(&text, "destination=\"");
        label(&text, json_text(json_get(o, MF_STR("name")), a));
        buf_char(&text, '"');
        write_counts(name, buf_view(&text), json_get(o, mf_cstr(name)), bounds,
                     to);
    }
    buf_deinit(&text);
}

static void write_histograms(mf_val status, struct buf *to, struct arena *a)
{
    static const char commits[] = "journal_commit_seconds";

    write_histogram("delivery_seconds", "How long requests took.", status, to,
                    a);
    write_histogram("end_to_end_seconds",
                    "From an event's arrival to its delivery.", status, to, a);
    head(to, commits, "histogram", "How long group commits took.");
    write_counts(commits, MF_STR(""), by_path(status, "journal.commit_seconds"),
                 json_get(status, MF_STR("histogram_bounds_seconds")), to);
}

static void write_infos(mf_val status, struct buf *to, struct arena *a)
{
    static const char *const build[] = { "version", "version", NULL };
    static const char *const plugin[] = { "slug", "slug",  "version",
                                          "version", "abi", "abi", NULL };
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val o;

    head(to, "build_info", "gauge", "The program's version.");
    begin_row(to, "build_info", a, status, build);
    buf_puts(to, " 1\n");
    head(to, "plugin_info", "gauge", "Plugins in the directory.");
    while (json_next(json_get(status, MF_STR("plugins")), &it, &key, &o)) {
        begin_row(to, "plugin_info", a, o, plugin);
        buf_puts(to, " 1\n");
    }
    head(to, "worker_restarts_total", "counter",
         "Workers that ended without being asked to.");
    it = (mf_iter){ { 0 } };
    while (json_next(json_get(status, MF_STR("destinations")), &it, &key,
                     &o)) {
        static const char *const keys[] = { "plugin", "plugin", "destination",
                                            "name", "cause",
                                            "worker_last_end", NULL };

        begin_row(to, "worker_restarts_total", a, o, keys);
        value(to, json_get(o, MF_STR("worker_restarts")));
    }
}

/* Of the edge of ingest: only what is there is told, since a certificate that
 * ends in 1970 would wake somebody. */
static void write_edge(mf_val status, struct buf *to)
{
    static const char ends[] = "tls_certificate_expiry_seconds";
    static const char failed[] = "connections_not_opened_total";
    mf_val end = by_path(status, "certificate.not_after"), n;
    mf_iter it = { { 0 } };
    mf_str key;

    if (end.type == MF_NUMBER) {
        head(to, ends, "gauge",
             "Unix time at which the certificate of ingest ends.");
        buf_printf(to, "manifold_%s", ends);
        value(to, end);
    }
    head(to, failed, "counter",
         "Connections that failed in their handshake, or before it.");
    while (json_next(by_path(status, "ingest.not_opened"), &it, &key, &n)) {
        buf_printf(to, "manifold_%s{kind=\"", failed);
        label(to, key);
        buf_puts(to, "\"}");
        value(to, n);
    }
}

void metrics_write(mf_val status, struct buf *to)
{
    mf_val destinations = json_get(status, MF_STR("destinations"));
    struct arena a;

    arena_init(&a, METRICS_ARENA);
    for (size_t i = 0; i < COUNT_OF(metrics); i++)
        write_metric(&metrics[i], status, to, &a);
    write_by("events_dead_total", "Events a destination will never take.",
             destinations, "dead_reasons", "destination", "reason", to, &a);
    write_by("delivery_attempts_total", "Requests made, by what came back.",
             destinations, "answers", "destination", "class", to, &a);
    write_by("events_rejected_total", "Events refused at the door.",
             by_path(status, "ingest.sources"), "rejected", "source", "code",
             to, &a);
    write_by("plan_violations_total",
             "Events not as their tracking plan says, by what became of them.",
             by_path(status, "ingest.sources"), "violations", "source",
             "action", to, &a);
    write_by("reloads_total", "Reloads, by how they ended.",
             json_get(status, MF_STR("reload_outcomes")), "outcomes", "kind",
             "outcome", to, &a);
    write_http(status, to);
    write_edge(status, to);
    write_histograms(status, to, &a);
    write_infos(status, to, &a);
    arena_deinit(&a);
}

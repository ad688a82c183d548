/* SPDX-License-Identifier: Apache-2.0
 *
 * warehouse.c - the destination: its settings, its batches, and the result of
 * each event.
 *
 * Documents: Segment's "Warehouse Schemas", "Redshift" and "Postgres" pages,
 * read 2026-11-28; libpq's manual.
 *
 * After any failure the connection is given up and with it all that was known
 * through it: the next try starts from what the database says. A batch that
 * holds something that the server will never take is halved until the event
 * is alone, and that one is refused. */
#include "warehouse.h"

#include <stdio.h>

#define IDLE_MS   60000 /* then the connection is given back */
#define SPARE_MS  200   /* before the deadline, nothing is begun in it */
#define SLICE_MIN 10    /* events of one transaction, at the deadline's call */
#define SLICE_MAX 10000

static const char *const paths[] = { "data" };

/* ---- settings ---- */

static void option(struct warehouse *w, const char *keyword, const char *value)
{
    size_t n = 0;

    while (w->keywords[n])
        n++;
    if (!value[0] || n + 1 >= CONNECT_OPTIONS)
        return;
    w->keywords[n] = keyword;
    w->values[n] = value;
}

static const char *text_of(mf_call *c, const char *key)
{
    return kit_cstr(c, kit_setting_text(c, key));
}

static void options(struct warehouse *w, mf_call *c)
{
    const char *mode = text_of(c, "sslMode");

    option(w, "host", text_of(c, "hostname"));
    option(w, "port", text_of(c, "port"));
    option(w, "dbname", text_of(c, "database"));
    option(w, "user", text_of(c, "username"));
    option(w, "password", text_of(c, "password"));
    option(w, "sslmode", mode);
    if (strncmp(mode, "verify", 6) == 0) /* libpq: with a file, always */
        option(w, "sslrootcert", text_of(c, "sslRootCert"));
    option(w, "gssencmode", "disable");
    option(w, "client_encoding", "UTF8");
    option(w, "application_name", "manifold");
    option(w, "keepalives_idle", "30");
}

static void *create(mf_call *c)
{
    struct warehouse *w = mf_alloc(c, sizeof *w);
    mf_str schema = kit_setting_text(c, "schema");

    w->dialect = &warehouse_dialect;
    w->slice = SLICE_MAX;
    w->text_limit = (uint32_t)mf_integer(c, kit_setting(c, "stringLength"),
                                         512);
    if (schema.len)
        name_of(w->dialect, schema, w->schema);
    options(w, c);
    if (w->dialect->settings)
        w->dialect->settings(w, c);
    return w;
}

/* ---- the connection ---- */

void warehouse_reset(struct warehouse *w)
{
    db_close(&w->db);
    tables_forget(&w->tables);
    index_clear(&w->schemas);
    w->stages = 0;
}

/* What the server begins must end with our patience, also where it waits for
 * somebody's lock: nobody would hear of it any more. */
int warehouse_connect(struct warehouse *w)
{
    char sql[64];

    if (w->db.conn && PQstatus(w->db.conn) == CONNECTION_OK)
        return 0;
    warehouse_reset(w);
    if (db_connect(&w->db, w->keywords, w->values) != 0)
        return -1;
    snprintf(sql, sizeof sql, "SET statement_timeout TO %lld",
             (long long)w->patience);
    return db_exec(&w->db, sql);
}

/* ---- batches ---- */

/* Some events of a call, by their numbers in it. */
struct part {
    const uint32_t *list;
    uint32_t count;
    bool fresh; /* nothing is remembered of the database */
};

static void make_rows(struct warehouse *w, mf_call *c,
                      const mf_event *const *events, const struct part *p)
{
    if (tables_too_many(&w->tables)) {
        warehouse_reset(w);
        tables_free(&w->tables);
    }
    rows_of_events(&w->tables, w->dialect, c, w->schema, events, p->list,
                   p->count);
}

static int load(struct warehouse *w, mf_call *c)
{
    if (warehouse_connect(w) != 0 || catalog_look(w) != 0)
        return -1;
    rows_discard_all(&w->tables);
    if (catalog_look(w) != 0 || catalog_grow(w) != 0)
        return -1;
    return load_batch(w, c);
}

static void retry(struct warehouse *w, mf_call *c, const struct part *p,
                  const char *why)
{
    mf_str text = mf_join(c, &(mf_str){ why, strlen(why) }, 1);

    for (uint32_t i = 0; i < p->count; i++)
        mf_result(c, p->list[i], MF_RETRY, text);
    warehouse_reset(w);
}

/* After a load some of whose tables have failed: who is to be tried again is
 * told so, who may have brought it about is listed. The others are well. */
static uint32_t sort_out(struct warehouse *w, mf_call *c,
                         const struct part *p, uint32_t *suspects,
                         mf_str *why)
{
    uint32_t top = 0, n = 0;
    char *bad;

    for (uint32_t i = 0; i < p->count; i++)
        top = p->list[i] > top ? p->list[i] : top;
    bad = mf_alloc(c, top + 1);
    for (uint32_t i = 0; i < w->tables.count; i++) {
        const struct table *table = w->tables.list[i];
        mf_str text;

        if (!table_in_batch(&w->tables, table) || !table->failed)
            continue;
        text = MF_JOIN(c, mf_cstr(table->key), MF_STR(": "),
                       mf_cstr(table->error));
        if (table->data_fault)
            *why = text;
        for (uint32_t k = 0; k < table->event_count; k++) {
            uint32_t e = table->events[k];

            if (e > top) /* a discarded value's row: nobody's */
                continue;
            if (table->data_fault)
                bad[e] = 1;
            else
                mf_result(c, e, MF_RETRY, text);
        }
    }
    for (uint32_t i = 0; i < p->count; i++)
        if (bad[p->list[i]])
            suspects[n++] = p->list[i];
    return n;
}

static bool any_failed(const struct warehouse *w)
{
    for (uint32_t i = 0; i < w->tables.count; i++)
        if (table_in_batch(&w->tables, w->tables.list[i]) &&
            w->tables.list[i]->failed)
            return true;
    return false;
}

static void deliver_part(struct warehouse *w, mf_call *c,
                         const mf_event *const *events, const struct part *p)
{
    uint32_t *suspects, n, half;
    mf_str why = MF_STR("");

    if (db_left(&w->db) < SPARE_MS) {
        retry(w, c, p, w->db.error[0] ? w->db.error : "the time was up");
        return;
    }
    make_rows(w, c, events, p);
    if (load(w, c) != 0) {
        if (!w->db.lost || p->fresh) {
            retry(w, c, p, w->db.error);
            return;
        }
        warehouse_reset(w); /* the connection may have been gone for long */
        deliver_part(w, c, events, &(struct part){ p->list, p->count, true });
        return;
    }
    if (!any_failed(w))
        return;
    suspects = mf_alloc(c, p->count * sizeof *suspects);
    n = sort_out(w, c, p, suspects, &why);
    warehouse_reset(w);
    if (n == 1 && p->count == 1 && p->fresh) {
        mf_result(c, suspects[0], MF_INVALID, why);
        return;
    }
    half = n > 1 ? n / 2 : n;
    if (half)
        deliver_part(w, c, events, &(struct part){ suspects, half, true });
    if (n > half)
        deliver_part(w, c, events,
                     &(struct part){ suspects + half, n - half, true });
}

/* A server that is too slow for a transaction gets smaller ones, until it is
 * through with them in good time: the same batch would be too much for it
 * again. */
static void learn_slice(struct warehouse *w)
{
    int64_t left = db_left(&w->db);

    if (left < w->patience / 4)
        w->slice = w->slice / 2 > SLICE_MIN ? w->slice / 2 : SLICE_MIN;
    else if (left > w->patience / 4 * 3)
        w->slice = w->slice * 2 < SLICE_MAX ? w->slice * 2 : SLICE_MAX;
}

static int32_t deliver(void *self, mf_call *c, const mf_event *const *events,
                       uint32_t n)
{
    struct warehouse *w = self;
    uint32_t *list = mf_alloc(c, n * sizeof *list), count;

    for (uint32_t i = 0; i < n; i++)
        list[i] = i;
    w->db.deadline = mf_deadline(c);
    w->db.error[0] = '\0';
    w->patience = w->db.deadline - mf_now(c);
    w->used = mf_now(c);
    for (uint32_t i = 0; i < n; i += count) {
        count = n - i < w->slice ? n - i : w->slice;
        deliver_part(w, c, events,
                     &(struct part){ list + i, count, !w->db.conn });
    }
    learn_slice(w);
    return MF_OK;
}

/* ---- life ---- */

static void idle(void *self, mf_call *c)
{
    struct warehouse *w = self;

    if (w->db.conn && mf_now(c) - w->used > IDLE_MS)
        warehouse_reset(w);
}

static void stop(void *self, mf_call *c)
{
    struct warehouse *w = self;

    (void)c;
    db_close(&w->db);
    if (w->dialect->forget)
        w->dialect->forget(w);
    tables_free(&w->tables);
    index_free(&w->schemas);
    out_free(&w->sql);
    out_free(&w->data);
}

static const mf_action actions[] = {
    { .slug = "load", .paths = paths, .path_count = 1, .deliver = deliver },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = 1, .create = create,
    .idle = idle, .close = stop,
};

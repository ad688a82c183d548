/* SPDX-License-Identifier: Apache-2.0
 *
 * schema.c - which tables and columns there are, making those missing, and
 * the views without copies.
 *
 * Each request may find its work done by another loader. Columns are added to
 * the schema as it was just read, if it still is that one: nothing of it is
 * changed or lost. */
#include "bigquery.h"

#define ATTEMPTS  4 /* to add columns while others do */
#define VIEW_DAYS "60"

static const struct {
    const char *name;
    enum type type;
} types[] = { /* the first of each is how it is made */
    { "BOOLEAN", TYPE_BOOL },   { "INTEGER", TYPE_INT },
    { "FLOAT", TYPE_FLOAT },    { "TIMESTAMP", TYPE_TIME },
    { "STRING", TYPE_TEXT },    { "BOOL", TYPE_BOOL },
    { "INT64", TYPE_INT },      { "FLOAT64", TYPE_FLOAT },
    { "NUMERIC", TYPE_FLOAT },  { "BIGNUMERIC", TYPE_FLOAT },
    { "JSON", TYPE_JSON },
};

static enum type type_named(mf_str name, mf_str mode)
{
    for (size_t i = 0; i < KIT_N(types); i++)
        if (mf_eq(name, mf_cstr(types[i].name)) &&
            !mf_eq(mode, MF_STR("REPEATED")))
            return types[i].type;
    return TYPE_OTHER;
}

static const char *type_name(enum type type)
{
    size_t i = 0;

    while (types[i].type != type)
        i++;
    return types[i].name;
}

static mf_request *table_request(struct bigquery *b, const char *method,
                                 const struct table *table, const char *name)
{
    return api_request(b, method,
                       (const char *const[]){ "", "datasets", table->schema,
                                              "tables", name, NULL });
}

/* ---- looking ---- */

static void take_fields(struct bigquery *b, struct table *table, mf_val fields)
{
    mf_call *c = b->call;
    mf_iter it = { { 0 } };
    mf_val field;

    while (mf_next(c, fields, &it, NULL, &field)) {
        mf_str name = kit_lower(c, mf_text(c, mf_get(c, field, "name")));
        struct column *column;

        if (name.len >= NAME_BYTES)
            continue; /* none of ours */
        column = table_column(table, kit_cstr(c, name));
        column->known = true;
        column->type = type_named(mf_text(c, mf_get(c, field, "type")),
                                  mf_text(c, mf_get(c, field, "mode")));
    }
    table->known = true;
}

/* Its fields and what they are the fields of; absent if there is no such
 * table, or none that can be used. */
static mf_val look(struct bigquery *b, struct table *table)
{
    mf_request *r = table_request(b, "GET", table, table->name);
    const mf_response *a;
    mf_val v;

    mf_query(r, "fields", MF_STR("etag,type,schema"));
    a = api_send(b, r);
    v = mf_answer_json(a);
    if (!kit_ok(a) && mf_status(a) != 404) {
        table_fault(b, table, a);
        return KIT_ABSENT;
    }
    table_unknown(table);
    table->looked = true;
    if (mf_status(a) == 404)
        return KIT_ABSENT;
    if (!mf_eq(mf_text(b->call, mf_get(b->call, v, "type")),
               MF_STR("TABLE"))) {
        table_result(b, table, MF_INVALID,
                     MF_STR("is no table, so that no row can be added"));
        table->looked = false;
        return KIT_ABSENT;
    }
    take_fields(b, table, mf_get(b->call, v, "schema.fields"));
    return v;
}

/* ---- making ---- */

/* Each missing column, behind others if there are. */
static uint32_t put_columns(struct bigquery *b, const struct table *table,
                            const char *before)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct column *column = table->columns[i];

        if (!column_missing(&b->tables, column))
            continue;
        out_format(&b->data, "%s{\"name\":\"%s\",\"type\":\"%s\"}", before,
                   column->name, type_name(column->type));
        before = ",";
        n++;
    }
    return n;
}

static void grown(struct bigquery *b, struct table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (column_missing(&b->tables, table->columns[i]))
            table->columns[i]->known = true;
    table->known = table->looked = true;
    if (table->upsert)
        table->viewed = false; /* its columns are listed there */
}

static const mf_response *make_dataset(struct bigquery *b,
                                       const struct table *table)
{
    mf_request *r = api_request(b, "POST",
                                (const char *const[]){ "", "datasets",
                                                       NULL });

    b->data.len = 0;
    out_text(&b->data, "{\"datasetReference\":");
    api_reference(b, &b->data, table->schema, NULL);
    out_text(&b->data, ",\"location\":");
    out_json(&b->data, mf_cstr(b->location));
    out_text(&b->data, "}");
    return api_send_json(b, r, &b->data);
}

static const mf_response *post_table(struct bigquery *b,
                                     const struct table *table)
{
    mf_request *r = api_request(b, "POST",
                                (const char *const[]){
                                    "", "datasets", table->schema, "tables",
                                    NULL });

    b->data.len = 0;
    out_text(&b->data, "{\"tableReference\":");
    api_reference(b, &b->data, table->schema, table->name);
    out_text(&b->data, ",\"schema\":{\"fields\":[");
    put_columns(b, table, "");
    out_text(&b->data, "]},\"timePartitioning\":{\"type\":\"DAY\","
                       "\"field\":\"loaded_at\"}}");
    return api_send_json(b, r, &b->data);
}

/* True if it is there now, by us or somebody else. */
static bool make_table(struct bigquery *b, struct table *table)
{
    const mf_response *a = post_table(b, table);

    if (mf_status(a) == 404) {
        a = make_dataset(b, table);
        if (kit_ok(a) || mf_status(a) == 409)
            a = post_table(b, table);
    }
    table->viewed = false;
    if (kit_ok(a))
        grown(b, table);
    else if (mf_status(a) != 409)
        table_fault(b, table, a);
    return !table->failed;
}

static bool is_whole(const struct bigquery *b, const struct table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (column_missing(&b->tables, table->columns[i]))
            return false;
    return table->known;
}

static const mf_response *patch(struct bigquery *b, const struct table *table,
                                mf_val from)
{
    mf_request *r = table_request(b, "PATCH", table, table->name);
    mf_str fields = kit_raw(mf_get(b->call, from, "schema.fields"));

    mf_header(r, "If-Match", mf_text(b->call, mf_get(b->call, from, "etag")));
    b->data.len = 0;
    out_text(&b->data, "{\"schema\":{\"fields\":");
    if (fields.len)
        out_add(&b->data, fields.ptr, fields.len - 1);
    else
        out_text(&b->data, "[");
    put_columns(b, table, fields.len > 2 ? "," : "");
    out_text(&b->data, "]}}");
    return api_send_json(b, r, &b->data);
}

static void grow(struct bigquery *b, struct table *table)
{
    const mf_response *a = NULL;

    if (!table->known && !make_table(b, table))
        return;
    for (unsigned i = 0; i < ATTEMPTS && !is_whole(b, table); i++) {
        mf_val now = look(b, table);

        if (!table->known && !table->failed)
            table_result(b, table, MF_RETRY, MF_STR("is gone again"));
        if (table->failed)
            return;
        table_find_full(&b->tables, table);
        if (is_whole(b, table))
            return;
        a = patch(b, table, now);
        if (kit_ok(a))
            grown(b, table);
        else if (mf_status(a) != 412)
            break;
    }
    if (!is_whole(b, table) && a)
        table_fault(b, table, a);
}

/* ---- views ---- */

static void put_from(struct bigquery *b, const struct table *table)
{
    out_format(&b->sql, " FROM `%s.%s.%s`", b->project, table->schema,
               table->name);
}

/* Of copies, the one that was loaded last. */
static void put_once(struct bigquery *b, const struct table *table)
{
    out_text(&b->sql,
             "SELECT * EXCEPT (manifold_copy) FROM (SELECT *, ROW_NUMBER() "
             "OVER (PARTITION BY id ORDER BY loaded_at DESC) AS "
             "manifold_copy");
    put_from(b, table);
    out_text(&b->sql,
             " WHERE loaded_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), "
             "INTERVAL " VIEW_DAYS " DAY)) WHERE manifold_copy = 1");
}

/* Of each column, the newest value. */
static void put_newest(struct bigquery *b, const struct table *table)
{
    out_text(&b->sql, "SELECT id");
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct column *column = table->columns[i];

        if (column->known && column->type != TYPE_OTHER &&
            strcmp(column->name, "id") != 0)
            out_format(&b->sql,
                       ", ARRAY_AGG(`%s` IGNORE NULLS ORDER BY received_at "
                       "DESC LIMIT 1)[SAFE_OFFSET(0)] AS `%s`",
                       column->name, column->name);
    }
    put_from(b, table);
    out_text(&b->sql, " WHERE id IS NOT NULL GROUP BY id");
}

static void put_view(struct bigquery *b, const struct table *table,
                     const char *name)
{
    b->sql.len = b->data.len = 0;
    if (table->upsert)
        put_newest(b, table);
    else
        put_once(b, table);
    out_text(&b->data, "{\"tableReference\":");
    api_reference(b, &b->data, table->schema, name);
    out_text(&b->data, ",\"labels\":{\"made_by\":\"manifold\"},"
                       "\"view\":{\"useLegacySql\":false,\"query\":");
    out_json(&b->data, (mf_str){ b->sql.data, b->sql.len });
    out_text(&b->data, "}}");
}

/* One that is there: if it is ours it gets the columns of now. */
static const mf_response *renew(struct bigquery *b, const struct table *table,
                                const char *name)
{
    mf_request *r = table_request(b, "GET", table, name);
    const mf_response *a;

    mf_query(r, "fields", MF_STR("labels"));
    a = api_send(b, r);
    if (!kit_ok(a) ||
        !mf_eq(mf_text(b->call, mf_get(b->call, mf_answer_json(a),
                                       "labels.made_by")),
               MF_STR("manifold")))
        return a;
    return api_send_json(b, table_request(b, "PATCH", table, name), &b->data);
}

/* No row waits for a view: one that could not be made is told of, and tried
 * again if that can help. */
static void make_view(struct bigquery *b, struct table *table)
{
    char name[NAME_BYTES + sizeof "_view"];
    struct out to = { 0 };
    const mf_response *a;
    mf_str why;

    out_format(&to, "%s_view", table->name);
    memcpy(name, to.data, to.len + 1);
    out_free(&to);
    put_view(b, table, name);
    a = api_send_json(b, api_request(b, "POST",
                                     (const char *const[]){
                                         "", "datasets", table->schema,
                                         "tables", NULL }),
                      &b->data);
    if (mf_status(a) == 409 && table->upsert)
        a = renew(b, table, name);
    table->viewed = mf_status(a) / 100 == 2 ||
                    (mf_status(a) / 100 == 4 && mf_status(a) != 403 &&
                     mf_status(a) != 429 && mf_status(a) != 401);
    if (kit_ok(a) || mf_status(a) == 409)
        return;
    api_fault(b, a, &why);
    mf_log(b->call, MF_LOG_WARNING,
           MF_JOIN(b->call, MF_STR("no view "), mf_cstr(table->schema),
                   MF_STR("."), mf_cstr(name), MF_STR(": "), why));
}

/* ---- all of it ---- */

static void look_all(struct bigquery *b)
{
    for (uint32_t i = 0; i < b->tables.count; i++) {
        struct table *table = b->tables.list[i];

        if (!table_in_batch(&b->tables, table) || table->failed)
            continue;
        if (!table->looked)
            look(b, table);
        table_find_full(&b->tables, table);
    }
}

void schema_ready(struct bigquery *b)
{
    uint32_t n;
    struct table **list;

    look_all(b);
    rows_discard_all(&b->tables);
    look_all(b); /* the tables of what was discarded */
    list = tables_sorted(&b->tables, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (!list[i]->failed && !is_whole(b, list[i]))
            grow(b, list[i]);
        if (!list[i]->failed && !list[i]->viewed)
            make_view(b, list[i]);
    }
}

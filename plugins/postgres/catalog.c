/* SPDX-License-Identifier: Apache-2.0
 *
 * catalog.c - what the database has, and making it have what is missing.
 *
 * What is missing is made in one transaction, or if that fails one by one; each
 * statement may find its work done. What fails half-way leaves some of it,
 * which the next look finds. Nothing is ever changed or dropped. */
#include "warehouse.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    enum type type;
} type_names[] = {
    { "character varying", TYPE_TEXT },
    { "text", TYPE_TEXT },
    { "character", TYPE_TEXT },
    { "bigint", TYPE_INT },
    { "double precision", TYPE_FLOAT },
    { "numeric", TYPE_FLOAT },
    { "boolean", TYPE_BOOL },
    { "timestamp with time zone", TYPE_TIME },
    { "timestamp without time zone", TYPE_TIME },
    { "date", TYPE_TIME },
    { "json", TYPE_JSON },
    { "jsonb", TYPE_JSON },
};

static enum type type_named(const char *name)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(name, type_names[i].name) == 0)
            return type_names[i].type;
    return TYPE_OTHER;
}

void out_table(struct out *o, const struct table *table)
{
    out_name(o, table->schema);
    out_text(o, ".");
    out_name(o, table->name);
}

/* ---- looking ---- */

static bool to_look_at(const struct warehouse *w, const struct table *table)
{
    return table_in_batch(&w->tables, table) && !table->looked;
}

/* ('a', 'b'): the tables of a schema that are to be looked at. */
static void put_list(struct warehouse *w, const char *schema)
{
    const char *before = "(";

    for (uint32_t i = 0; i < w->tables.count; i++) {
        const struct table *table = w->tables.list[i];

        if (!to_look_at(w, table) || strcmp(table->schema, schema) != 0)
            continue;
        out_text(&w->sql, before);
        out_quoted(&w->sql, table->name);
        before = ", ";
    }
    out_text(&w->sql, ")");
}

static void take_column(struct table *table, const char *name,
                        const char *type, const char *limit)
{
    struct column *column = table_column(table, name);

    table->known = true;
    column->known = true;
    column->type = type_named(type);
    column->limit = (uint32_t)strtoul(limit, NULL, 10);
}

static int look_columns(struct warehouse *w, const char *schema)
{
    PGresult *r;

    w->sql.len = 0;
    out_text(&w->sql, "SELECT table_name, column_name, data_type, "
                      "character_maximum_length "
                      "FROM information_schema.columns WHERE table_schema = ");
    out_quoted(&w->sql, schema);
    out_text(&w->sql, " AND table_name IN ");
    put_list(w, schema);
    r = db_query(&w->db, w->sql.data);
    if (!r)
        return -1;
    for (int i = 0; i < PQntuples(r); i++)
        take_column(table_named(&w->tables, schema, PQgetvalue(r, i, 0)),
                    PQgetvalue(r, i, 1), PQgetvalue(r, i, 2),
                    PQgetvalue(r, i, 3));
    PQclear(r);
    return 0;
}

/* Which of them have an index that lets an id be there only once. */
static int look_keys(struct warehouse *w, const char *schema)
{
    PGresult *r;

    if (!w->dialect->keys)
        return 0;
    w->sql.len = 0;
    out_text(&w->sql,
             "SELECT c.relname FROM pg_catalog.pg_index i "
             "JOIN pg_catalog.pg_class c ON c.oid = i.indrelid "
             "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
             "JOIN pg_catalog.pg_attribute a "
             "ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
             "WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL "
             "AND i.indnkeyatts = 1 AND a.attname = 'id' AND n.nspname = ");
    out_quoted(&w->sql, schema);
    out_text(&w->sql, " AND c.relname IN ");
    put_list(w, schema);
    r = db_query(&w->db, w->sql.data);
    if (!r)
        return -1;
    for (int i = 0; i < PQntuples(r); i++)
        table_named(&w->tables, schema, PQgetvalue(r, i, 0))->unique = true;
    PQclear(r);
    return 0;
}

int catalog_look(struct warehouse *w)
{
    for (uint32_t i = 0; i < w->tables.count; i++) {
        const char *schema = w->tables.list[i]->schema;

        if (!to_look_at(w, w->tables.list[i]))
            continue;
        if (look_columns(w, schema) != 0 || look_keys(w, schema) != 0)
            return -1;
        for (uint32_t k = i; k < w->tables.count; k++)
            if (strcmp(w->tables.list[k]->schema, schema) == 0 &&
                table_in_batch(&w->tables, w->tables.list[k]))
                w->tables.list[k]->looked = true;
    }
    for (uint32_t i = 0; i < w->tables.count; i++)
        if (table_in_batch(&w->tables, w->tables.list[i]))
            table_find_full(&w->tables, w->tables.list[i]);
    return 0;
}

/* ---- growing ---- */

static void put_column(struct warehouse *w, struct column *column)
{
    out_name(&w->sql, column->name);
    out_text(&w->sql, " ");
    if (column->type == TYPE_TEXT) {
        column->limit = w->text_limit;
        out_format(&w->sql, w->dialect->types[TYPE_TEXT], column->limit);
    } else {
        out_text(&w->sql, w->dialect->types[column->type]);
    }
}

/* IF NOT EXISTS asks for the right to make one even where there is one. */
static int make_schema(struct warehouse *w, const char *schema)
{
    bool fresh, there;
    PGresult *r;

    index_at(&w->schemas, mf_cstr(schema), &fresh);
    if (!fresh)
        return 0;
    w->sql.len = 0;
    out_text(&w->sql, "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ");
    out_quoted(&w->sql, schema);
    r = db_query(&w->db, w->sql.data);
    there = r && PQntuples(r);
    PQclear(r);
    if (!r || there)
        return r ? 0 : -1;
    w->sql.len = 0;
    out_text(&w->sql, "CREATE SCHEMA IF NOT EXISTS ");
    out_name(&w->sql, schema);
    return db_exec(&w->db, w->sql.data);
}

static int make_table(struct warehouse *w, struct table *table)
{
    const char *before = " (";

    if (make_schema(w, table->schema) != 0)
        return -1;
    w->sql.len = 0;
    out_text(&w->sql, "CREATE TABLE IF NOT EXISTS ");
    out_table(&w->sql, table);
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (!column_missing(&w->tables, table->columns[i]))
            continue;
        out_text(&w->sql, before);
        put_column(w, table->columns[i]);
        before = ", ";
    }
    out_text(&w->sql, w->dialect->table_end);
    return db_exec(&w->db, w->sql.data);
}

static int add_columns(struct warehouse *w, struct table *table)
{
    const struct dialect *d = w->dialect;
    bool open = false;

    w->sql.len = 0;
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (!column_missing(&w->tables, table->columns[i]))
            continue;
        if (!open || d->one_column) {
            out_text(&w->sql, open ? "; ALTER TABLE " : "ALTER TABLE ");
            out_table(&w->sql, table);
        } else {
            out_text(&w->sql, ",");
        }
        out_text(&w->sql, d->one_column ? " ADD COLUMN "
                                        : " ADD COLUMN IF NOT EXISTS ");
        put_column(w, table->columns[i]);
        open = true;
    }
    table->stage_old = open;
    return open ? db_exec(&w->db, w->sql.data) : 0;
}

static bool is_whole(const struct warehouse *w, const struct table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (column_missing(&w->tables, table->columns[i]))
            return false;
    return table->known;
}

static int grow(struct warehouse *w, struct table *table)
{
    return table->known ? add_columns(w, table) : make_table(w, table);
}

static void grown(struct warehouse *w, struct table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (column_missing(&w->tables, table->columns[i]))
            table->columns[i]->known = true;
    table->unique = table->known ? table->unique : w->dialect->keys;
    table->known = true;
}

/* All in one transaction, which is one wait for the server's disk. 1: one of
 * them failed, and none was made. */
static int grow_all(struct warehouse *w, struct table **list, uint32_t n)
{
    if (db_exec(&w->db, "BEGIN") != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (grow(w, list[i]) == 0)
            continue;
        index_clear(&w->schemas);
        return !db_server_fault(&w->db) && db_exec(&w->db, "ROLLBACK") == 0
                   ? 1
                   : -1;
    }
    if (db_exec(&w->db, "COMMIT") != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        grown(w, list[i]);
    return 0;
}

/* One by one: who cannot grow keeps no other from it. */
static int grow_each(struct warehouse *w, struct table **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (grow(w, list[i]) == 0) {
            grown(w, list[i]);
            continue;
        }
        if (db_server_fault(&w->db))
            return -1;
        list[i]->failed = true;
        snprintf(list[i]->error, sizeof list[i]->error, "%s", w->db.error);
    }
    return 0;
}

int catalog_grow(struct warehouse *w)
{
    uint32_t count, n = 0;
    struct table **list = tables_sorted(&w->tables, &count);
    int rc;

    for (uint32_t i = 0; i < count; i++)
        if (!is_whole(w, list[i]))
            list[n++] = list[i];
    rc = n ? grow_all(w, list, n) : 0;
    if (rc <= 0)
        return rc;
    /* Another loader may just have made the same. */
    for (uint32_t i = 0; i < n; i++)
        list[i]->looked = false;
    return catalog_look(w) == 0 ? grow_each(w, list, n) : -1;
}

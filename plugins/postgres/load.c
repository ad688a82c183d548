/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - the rows of a batch, in one transaction: of each table by COPY into
 * a staging table, and from there what the table has not yet, by id.
 *
 * Where a table has a key the server keeps a second row of an id out. Where it
 * has none, and where the newest state is kept, the table is locked against
 * other writers until the transaction ends; tables are taken in the order of
 * their names, so that two loaders do not wait for each other. */
#include "warehouse.h"

#include <stdio.h>

/* ---- SQL ---- */

void out_stage(struct out *o, const struct table *table)
{
    out_format(o, "manifold_stage_%u", table->stage);
}

/* The columns that the batch has values for, and the place of each. */
static void find_used(struct warehouse *w, struct table *table)
{
    table->used = pool_alloc(&w->tables.pool, (table->column_count + 1) *
                                                  sizeof *table->used);
    table->used_count = 0;
    for (uint32_t i = 0; i < table->column_count; i++)
        table->columns[i]->place = UINT32_MAX;
    for (uint32_t i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];

        for (uint32_t k = 0; k < row->count; k++) {
            struct column *column = table->columns[row->cells[k].column];

            if (!column->known || column->place != UINT32_MAX)
                continue;
            column->place = table->used_count;
            table->used[table->used_count++] = column;
        }
    }
}

static void put_names(struct out *o, const struct table *table)
{
    for (uint32_t i = 0; i < table->used_count; i++) {
        if (i)
            out_text(o, ", ");
        out_name(o, table->used[i]->name);
    }
}

static void put_fields(struct warehouse *w, const struct table *table,
                       const struct value *const *at)
{
    struct out *to = &w->data;

    for (uint32_t k = 0; k < table->used_count; k++) {
        const struct column *column = table->used[k];

        if (k)
            out_text(to, "\t");
        if (!at[k] || value_fit(column->type, at[k]) == FIT_NOT)
            out_text(to, "\\N");
        else
            value_write(w->dialect, column->type, column->limit, at[k], to);
    }
    out_text(to, "\n");
}

static void make_data(struct warehouse *w, const struct table *table)
{
    size_t size = (table->used_count + 1) * sizeof(const struct value *);
    const struct value **at = pool_alloc(&w->tables.pool, size);

    w->data.len = 0;
    for (uint32_t i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];

        memset(at, 0, size);
        for (uint32_t k = 0; k < row->count; k++) {
            uint32_t place = table->columns[row->cells[k].column]->place;

            if (place != UINT32_MAX)
                at[place] = &row->cells[k].value;
        }
        put_fields(w, table, at);
    }
}

/* "table"."column", or that of the staging table */
static void put_place(struct out *o, const struct table *table, bool stage,
                      const char *column)
{
    if (stage)
        out_stage(o, table);
    else
        out_name(o, table->name);
    out_text(o, ".");
    out_name(o, column);
}

static void put_either(struct out *o, const struct table *table, bool stage,
                       const char *column)
{
    out_text(o, "COALESCE(");
    put_place(o, table, stage, column);
    out_text(o, ", ");
    put_place(o, table, !stage, column);
    out_text(o, ")");
}

static void put_same_id(struct out *o, const struct table *table)
{
    put_place(o, table, false, "id");
    out_text(o, " = ");
    put_place(o, table, true, "id");
}

/* The later of two states counts, the earlier fills what it has not. */
static void put_newest(struct out *o, const struct table *table,
                       const char *column)
{
    out_name(o, column);
    out_text(o, " = CASE WHEN ");
    put_place(o, table, true, "received_at");
    out_text(o, " < ");
    put_place(o, table, false, "received_at");
    out_text(o, " THEN ");
    put_either(o, table, false, column);
    out_text(o, " ELSE ");
    put_either(o, table, true, column);
    out_text(o, " END");
}

static void put_update(struct out *o, const struct table *table)
{
    const char *before = " SET ";

    out_text(o, "UPDATE ");
    out_table(o, table);
    for (uint32_t i = 0; i < table->used_count; i++) {
        if (strcmp(table->used[i]->name, "id") == 0)
            continue;
        out_text(o, before);
        put_newest(o, table, table->used[i]->name);
        before = ", ";
    }
    out_text(o, " FROM ");
    out_stage(o, table);
    out_text(o, " WHERE ");
    put_same_id(o, table);
    out_text(o, "; ");
}

static void put_insert(struct out *o, const struct table *table)
{
    out_text(o, "INSERT INTO ");
    out_table(o, table);
    out_text(o, " (");
    put_names(o, table);
    out_text(o, ") SELECT ");
    put_names(o, table);
    out_text(o, " FROM ");
    out_stage(o, table);
    if (table->unique && !table->upsert) {
        /* A row waits for another loader's of the same id: in one order, or
         * each would wait for the other. */
        out_text(o, " ORDER BY \"id\" ON CONFLICT (\"id\") DO NOTHING");
        return;
    }
    out_text(o, " WHERE NOT EXISTS (SELECT 1 FROM ");
    out_table(o, table);
    out_text(o, " WHERE ");
    put_same_id(o, table);
    out_text(o, ")");
}

static bool needs_lock(const struct table *table)
{
    return table->upsert || !table->unique;
}

static void put_lock(struct warehouse *w, const struct table *table)
{
    out_text(&w->sql, "LOCK TABLE ");
    out_table(&w->sql, table);
    out_text(&w->sql, w->dialect->lock_end);
}

/* From the staging table into the table. */
static void put_merge(struct warehouse *w, struct table *table)
{
    if (table->upsert) /* it always has a received_at */
        put_update(&w->sql, table);
    put_insert(&w->sql, table);
}

static void put_drop(struct out *o, struct table *table)
{
    out_text(o, "DROP TABLE ");
    out_stage(o, table);
    table->stage = 0;
}

static void put_stage(struct warehouse *w, struct table *table)
{
    if (table->stage && table->stage_old) {
        put_drop(&w->sql, table);
        out_text(&w->sql, "; ");
    }
    table->stage_old = false;
    if (table->stage)
        return;
    table->stage = ++w->stages;
    out_text(&w->sql, "CREATE TEMP TABLE ");
    out_stage(&w->sql, table);
    out_text(&w->sql, " (LIKE ");
    out_table(&w->sql, table);
    out_format(&w->sql, "%s; ", w->dialect->stage_end);
}

/* ---- transactions ---- */

/* A transaction that fails takes the staging tables that it made with it, and
 * brings back those it dropped: none of their names is used again. 1: without
 * the table it may go well. */
static int without(struct warehouse *w, struct table *table)
{
    if (db_server_fault(&w->db))
        return -1;
    table->failed = true;
    table->data_fault = db_data_fault(&w->db);
    snprintf(table->error, sizeof table->error, "%s", w->db.error);
    for (uint32_t i = 0; i < w->tables.count; i++)
        w->tables.list[i]->stage = 0;
    return db_exec(&w->db, "ROLLBACK") == 0 ? 1 : -1;
}

/* Over the connection itself: the statements of all tables are sent as one,
 * and each COPY among them waits for its rows; a table is one wait. */
static int stream(struct warehouse *w, struct table **tables, uint32_t n)
{
    w->sql.len = 0;
    out_text(&w->sql, "BEGIN");
    for (uint32_t i = 0; i < n; i++) {
        out_text(&w->sql, "; ");
        put_stage(w, tables[i]);
        out_text(&w->sql, "COPY ");
        out_stage(&w->sql, tables[i]);
        out_text(&w->sql, " (");
        put_names(&w->sql, tables[i]);
        out_text(&w->sql, ") FROM STDIN; ");
        if (needs_lock(tables[i])) {
            put_lock(w, tables[i]);
            out_text(&w->sql, "; ");
        }
        put_merge(w, tables[i]);
    }
    if (db_start(&w->db, w->sql.data) != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        make_data(w, tables[i]); /* while the server is at the one before */
        if (db_await_copy(&w->db) != 0)
            return without(w, tables[w->db.inserts]);
        if (db_put_copy(&w->db, w->data.data, w->data.len) != 0)
            return -1;
    }
    if (db_finish(&w->db) != 0)
        return without(w, tables[w->db.inserts]);
    return db_exec(&w->db, "COMMIT");
}

typedef int step_fn(struct warehouse *w, mf_call *c, struct table *table);

static int fill(struct warehouse *w, mf_call *c, struct table *table)
{
    struct out names = { 0 };
    int rc;

    w->sql.len = 0;
    put_stage(w, table);
    if (db_exec(&w->db, w->sql.data) != 0)
        return -1;
    make_data(w, table);
    put_names(&names, table);
    rc = w->dialect->fill(w, c, table, names.data, &w->data);
    out_free(&names);
    return rc;
}

static int take_lock(struct warehouse *w, mf_call *c, struct table *table)
{
    (void)c;
    w->sql.len = 0;
    put_lock(w, table);
    return db_exec(&w->db, w->sql.data);
}

static int merge(struct warehouse *w, mf_call *c, struct table *table)
{
    (void)c;
    w->sql.len = 0;
    put_merge(w, table);
    out_text(&w->sql, "; ");
    put_drop(&w->sql, table);
    return db_exec(&w->db, w->sql.data);
}

/* The same steps of each table, NULL being the last, in a transaction. */
static int together(struct warehouse *w, mf_call *c, struct table **tables,
                    uint32_t n, step_fn *const *steps)
{
    if (db_exec(&w->db, "BEGIN") != 0)
        return -1;
    for (; *steps; steps++)
        for (uint32_t i = 0; i < n; i++)
            if ((*steps)(w, c, tables[i]) != 0)
                return without(w, tables[i]);
    return db_exec(&w->db, "COMMIT");
}

/* Making a table like another holds on to that one, which another loader may
 * want to lock: where tables are locked, that is over before. All are locked
 * before the first is read, since Redshift's transactions see what there was
 * when they first read, and not what they waited for. */
static int by_fill(struct warehouse *w, mf_call *c, struct table **tables,
                   uint32_t n)
{
    static step_fn *const fills[] = { fill, NULL };
    static step_fn *const merges[] = { take_lock, merge, NULL };
    int rc = together(w, c, tables, n, fills);

    return rc == 0 ? together(w, c, tables, n, merges) : rc;
}

int load_batch(struct warehouse *w, mf_call *c)
{
    uint32_t count, n;
    struct table **tables = tables_sorted(&w->tables, &count);
    int rc;

    do {
        n = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (tables[i]->failed)
                continue;
            find_used(w, tables[i]);
            tables[n++] = tables[i];
        }
        count = n;
        rc = n == 0             ? 0
             : w->dialect->fill ? by_fill(w, c, tables, n)
                                : stream(w, tables, n);
    } while (rc > 0);
    return rc;
}

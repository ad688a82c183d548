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

/* ---- what of a value did not fit ---- */

static void discard_from(struct warehouse *w, const struct table *table)
{
    for (uint32_t i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];

        for (uint32_t k = 0; k < row->count; k++) {
            const struct cell *cell = &row->cells[k];
            const struct column *column = table->columns[cell->column];

            if (!cell->value.text.len)
                continue;
            if (column->full || value_fit(column->type, &cell->value) != FIT)
                rows_discard(&w->tables, table, row, cell);
        }
    }
}

void load_discards(struct warehouse *w)
{
    uint32_t n = w->tables.count; /* those of discards may be new */

    for (uint32_t i = 0; i < n; i++)
        if (table_in_batch(&w->tables, w->tables.list[i]))
            discard_from(w, w->tables.list[i]);
}

/* ---- SQL ---- */

void out_stage(struct out *o, const struct table *table)
{
    out_format(o, "manifold_stage_%u", table->stage);
}

/* The columns that the batch has values for, and the place of each. */
static uint32_t place_columns(struct table *table, struct column **list)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < table->column_count; i++)
        table->columns[i]->place = UINT32_MAX;
    for (uint32_t i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];

        for (uint32_t k = 0; k < row->count; k++) {
            struct column *column = table->columns[row->cells[k].column];

            if (!column->known || column->place != UINT32_MAX)
                continue;
            column->place = n;
            list[n++] = column;
        }
    }
    return n;
}

static void put_names(struct out *o, struct column *const *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            out_text(o, ", ");
        out_name(o, list[i]->name);
    }
}

static void put_rows(struct warehouse *w, const struct table *table,
                     uint32_t n, struct column *const *list)
{
    const struct value **at = pool_alloc(&w->tables.pool, n * sizeof *at);
    struct out *to = &w->data;

    to->len = 0;
    for (uint32_t i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];

        memset(at, 0, n * sizeof *at);
        for (uint32_t k = 0; k < row->count; k++) {
            uint32_t place = table->columns[row->cells[k].column]->place;

            if (place != UINT32_MAX)
                at[place] = &row->cells[k].value;
        }
        for (uint32_t k = 0; k < n; k++) {
            if (k)
                out_text(to, "\t");
            if (!at[k] || value_fit(list[k]->type, at[k]) == FIT_NOT)
                out_text(to, "\\N");
            else
                value_write(w->dialect, list[k]->type, list[k]->limit, at[k],
                            to);
        }
        out_text(to, "\n");
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
static int update(struct warehouse *w, const struct table *table,
                  struct column *const *list, uint32_t n)
{
    const char *before = " SET ";

    w->sql.len = 0;
    out_text(&w->sql, "UPDATE ");
    out_table(&w->sql, table);
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(list[i]->name, "id") == 0)
            continue;
        out_text(&w->sql, before);
        out_name(&w->sql, list[i]->name);
        out_text(&w->sql, " = CASE WHEN ");
        put_place(&w->sql, table, true, "received_at");
        out_text(&w->sql, " < ");
        put_place(&w->sql, table, false, "received_at");
        out_text(&w->sql, " THEN ");
        put_either(&w->sql, table, false, list[i]->name);
        out_text(&w->sql, " ELSE ");
        put_either(&w->sql, table, true, list[i]->name);
        out_text(&w->sql, " END");
        before = ", ";
    }
    out_text(&w->sql, " FROM ");
    out_stage(&w->sql, table);
    out_text(&w->sql, " WHERE ");
    put_same_id(&w->sql, table);
    return strcmp(before, ", ") == 0 ? db_exec(&w->db, w->sql.data) : 0;
}

static int insert(struct warehouse *w, const struct table *table,
                  struct column *const *list, uint32_t n)
{
    w->sql.len = 0;
    out_text(&w->sql, "INSERT INTO ");
    out_table(&w->sql, table);
    out_text(&w->sql, " (");
    put_names(&w->sql, list, n);
    out_text(&w->sql, ") SELECT ");
    put_names(&w->sql, list, n);
    out_text(&w->sql, " FROM ");
    out_stage(&w->sql, table);
    if (table->unique && !table->upsert) {
        out_text(&w->sql, " ON CONFLICT (\"id\") DO NOTHING");
    } else {
        out_text(&w->sql, " WHERE NOT EXISTS (SELECT 1 FROM ");
        out_table(&w->sql, table);
        out_text(&w->sql, " WHERE ");
        put_same_id(&w->sql, table);
        out_text(&w->sql, ")");
    }
    return db_exec(&w->db, w->sql.data);
}

static int lock(struct warehouse *w, const struct table *table)
{
    w->sql.len = 0;
    out_text(&w->sql, "LOCK TABLE ");
    out_table(&w->sql, table);
    out_text(&w->sql, w->dialect->lock_end);
    return db_exec(&w->db, w->sql.data);
}

/* ---- staging tables ---- */

static int stage_drop(struct warehouse *w, struct table *table)
{
    w->sql.len = 0;
    out_text(&w->sql, "DROP TABLE ");
    out_stage(&w->sql, table);
    table->stage = 0;
    return db_exec(&w->db, w->sql.data);
}

static int stage_make(struct warehouse *w, struct table *table)
{
    if (table->stage && table->stage_old && stage_drop(w, table) != 0)
        return -1;
    table->stage_old = false;
    if (table->stage)
        return 0;
    table->stage = ++w->stages;
    w->sql.len = 0;
    out_text(&w->sql, "CREATE TEMP TABLE ");
    out_stage(&w->sql, table);
    out_text(&w->sql, " (LIKE ");
    out_table(&w->sql, table);
    out_text(&w->sql, w->dialect->stage_end);
    return db_exec(&w->db, w->sql.data);
}

/* ---- transactions ---- */

typedef int step_fn(struct warehouse *w, mf_call *c, struct table *table,
                    struct column *const *list, uint32_t n);

static int fill(struct warehouse *w, mf_call *c, struct table *table,
                struct column *const *list, uint32_t n)
{
    struct out names = { 0 };
    int rc;

    if (stage_make(w, table) != 0)
        return -1;
    put_rows(w, table, n, list);
    put_names(&names, list, n);
    rc = w->dialect->fill(w, c, table, names.data, &w->data);
    out_free(&names);
    return rc;
}

static int merge(struct warehouse *w, mf_call *c, struct table *table,
                 struct column *const *list, uint32_t n)
{
    (void)c;
    if ((table->upsert || !table->unique) && lock(w, table) != 0)
        return -1;
    if (table->upsert && update(w, table, list, n) != 0)
        return -1;
    if (insert(w, table, list, n) != 0)
        return -1;
    return w->dialect->keep_stage ? 0 : stage_drop(w, table);
}

static int fill_and_merge(struct warehouse *w, mf_call *c, struct table *table,
                          struct column *const *list, uint32_t n)
{
    return fill(w, c, table, list, n) == 0 ? merge(w, c, table, list, n) : -1;
}

static void mark_failed(struct warehouse *w, struct table *table)
{
    table->failed = true;
    table->data_fault = db_data_fault(&w->db);
    snprintf(table->error, sizeof table->error, "%s", w->db.error);
}

/* A transaction that fails takes the staging tables that it made with it, and
 * brings back those it dropped: none of their names is used again. */
static int roll_back(struct warehouse *w)
{
    for (uint32_t i = 0; i < w->tables.count; i++)
        w->tables.list[i]->stage = 0;
    return db_exec(&w->db, "ROLLBACK");
}

/* A step of each table, together. 1: one more table has failed, and the
 * transaction with it. */
static int transaction(struct warehouse *w, mf_call *c, struct table **tables,
                       uint32_t count, step_fn *step)
{
    if (db_exec(&w->db, "BEGIN") != 0)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        struct table *table = tables[i];
        struct column **list = pool_alloc(&w->tables.pool,
                                          table->column_count * sizeof *list);

        if (table->failed ||
            step(w, c, table, list, place_columns(table, list)) == 0)
            continue;
        if (db_server_fault(&w->db))
            return -1;
        mark_failed(w, table);
        return roll_back(w) == 0 ? 1 : -1;
    }
    return db_exec(&w->db, "COMMIT");
}

/* Making a table like another holds on to that one, which another loader may
 * want to lock: where tables are locked, that is over before. */
static int load_once(struct warehouse *w, mf_call *c, struct table **tables,
                     uint32_t n)
{
    int rc;

    if (w->dialect->keep_stage)
        return transaction(w, c, tables, n, fill_and_merge);
    rc = transaction(w, c, tables, n, fill);
    return rc == 0 ? transaction(w, c, tables, n, merge) : rc;
}

int load_batch(struct warehouse *w, mf_call *c)
{
    uint32_t n;
    struct table **tables = tables_sorted(&w->tables, &n);
    int rc;

    do
        rc = load_once(w, c, tables, n);
    while (rc > 0);
    return rc;
}

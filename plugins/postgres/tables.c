/* SPDX-License-Identifier: Apache-2.0
 *
 * tables.c - the tables that were ever written to, and the rows that a batch
 * has for them.
 *
 * A column belongs to a table for good; whether the database has it is
 * known of it or not. Rows belong to the batch. */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>

#define POOL_BYTES (256u << 10)

/* ---- memory ---- */

struct chunk {
    struct chunk *next;
    char bytes[];
};

static void *need(void *p)
{
    if (!p)
        abort(); /* the worker is the unit of failure */
    return p;
}

void *pool_alloc(struct pool *p, size_t size)
{
    size_t room = size > POOL_BYTES ? size : POOL_BYTES;
    struct chunk *chunk;

    size = (size + 15) & ~(size_t)15;
    if (size > p->left) {
        chunk = need(malloc(sizeof *chunk + room + 32));
        chunk->next = p->chunks;
        p->chunks = chunk;
        p->next = (char *)(((uintptr_t)chunk->bytes + 15) & ~(uintptr_t)15);
        p->left = room + 16;
    }
    p->left -= size;
    p->next += size;
    return p->next - size;
}

void pool_clear(struct pool *p)
{
    while (p->chunks) {
        struct chunk *next = p->chunks->next;

        free(p->chunks);
        p->chunks = next;
    }
    *p = (struct pool){ 0 };
}

/* ---- index: open addressing, half full at the most ---- */

static struct slot *slot_of(const struct index *x, mf_str key)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.ptr[i]) * 1099511628211u;
    h ^= h >> 32;
    for (size_t at = h & (x->cap - 1);; at = (at + 1) & (x->cap - 1))
        if (!x->slots[at].key.ptr || mf_eq(x->slots[at].key, key))
            return &x->slots[at];
}

static void index_grow(struct index *x)
{
    struct index bigger = { .cap = x->cap ? 2 * x->cap : 16,
                            .count = x->count };

    bigger.slots = need(calloc(bigger.cap, sizeof *bigger.slots));
    for (size_t i = 0; i < x->cap; i++)
        if (x->slots[i].key.ptr)
            *slot_of(&bigger, x->slots[i].key) = x->slots[i];
    free(x->slots);
    *x = bigger;
}

uint32_t *index_at(struct index *x, mf_str key, bool *fresh)
{
    struct slot *s;

    if (2 * x->count >= x->cap)
        index_grow(x);
    s = slot_of(x, key);
    *fresh = !s->key.ptr;
    if (*fresh) {
        s->key = key;
        x->count++;
    }
    return &s->value;
}

void index_clear(struct index *x)
{
    if (x->cap)
        memset(x->slots, 0, x->cap * sizeof *x->slots);
    x->count = 0;
}

void index_free(struct index *x)
{
    free(x->slots);
    *x = (struct index){ 0 };
}

/* ---- tables ---- */

void tables_begin(struct tables *t)
{
    pool_clear(&t->pool);
    t->batch++;
}

static void table_free(struct table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        free(table->columns[i]);
    free(table->columns);
    free(table->rows);
    free(table->events);
    free(table->key);
    index_free(&table->by_name);
    index_free(&table->by_id);
    free(table);
}

void tables_free(struct tables *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        table_free(t->list[i]);
    free(t->list);
    index_free(&t->by_key);
    pool_clear(&t->pool);
    *t = (struct tables){ .batch = t->batch, .rows = t->rows };
}

bool tables_too_many(const struct tables *t)
{
    uint64_t columns = 0;

    for (uint32_t i = 0; i < t->count; i++)
        columns += t->list[i]->column_count;
    return t->count > TABLES_KEPT || columns > COLUMNS_KEPT;
}

void tables_forget(struct tables *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct table *table = t->list[i];

        table->looked = table->known = table->unique = false;
        table->stage = 0;
        for (uint32_t k = 0; k < table->column_count; k++)
            table->columns[k]->known = table->columns[k]->full = false;
    }
}

static struct table *table_new(struct tables *t, const char *schema,
                               const char *name, const char *key)
{
    struct table *table = need(calloc(1, sizeof *table));

    snprintf(table->schema, sizeof table->schema, "%s", schema);
    snprintf(table->name, sizeof table->name, "%s", name);
    table->key = need(strdup(key));
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->list = need(realloc(t->list, t->cap * sizeof *t->list));
    }
    t->list[t->count++] = table;
    return table;
}

struct table *table_named(struct tables *t, const char *schema,
                          const char *name)
{
    char key[2 * NAME_BYTES];
    struct table *table;
    uint32_t *at;
    bool fresh;
    int n = snprintf(key, sizeof key, "%s.%s", schema, name);

    at = index_at(&t->by_key, (mf_str){ key, (size_t)n }, &fresh);
    if (fresh) {
        *at = t->count;
        table = table_new(t, schema, name, key);
        /* The key that was looked for goes with this function. */
        slot_of(&t->by_key, (mf_str){ key, (size_t)n })->key.ptr = table->key;
    }
    table = t->list[*at];
    if (table->batch != t->batch) {
        table->batch = t->batch;
        table->row_count = table->event_count = 0;
        table->failed = table->data_fault = false;
        index_clear(&table->by_id);
    }
    return table;
}

bool table_in_batch(const struct tables *t, const struct table *table)
{
    return table->batch == t->batch && table->row_count;
}

static int by_key(const void *a, const void *b)
{
    const struct table *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

struct table **tables_sorted(struct tables *t, uint32_t *n)
{
    struct table **list = pool_alloc(&t->pool, (t->count + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (table_in_batch(t, t->list[i]))
            list[(*n)++] = t->list[i];
    qsort(list, *n, sizeof *list, by_key);
    return list;
}

static uint32_t place_of(struct table *table, const char *name)
{
    bool fresh;
    uint32_t *at = index_at(&table->by_name, mf_cstr(name), &fresh);
    struct column *column;

    if (!fresh)
        return *at;
    *at = table->column_count;
    if (table->column_count == table->column_cap) {
        table->column_cap = table->column_cap ? 2 * table->column_cap : 32;
        table->columns = need(realloc(table->columns, table->column_cap *
                                                    sizeof *table->columns));
    }
    column = need(calloc(1, sizeof *column));
    snprintf(column->name, sizeof column->name, "%s", name);
    slot_of(&table->by_name, mf_cstr(name))->key.ptr = column->name;
    table->columns[table->column_count] = column;
    return table->column_count++;
}

struct column *table_column(struct table *table, const char *name)
{
    return table->columns[place_of(table, name)];
}

bool column_missing(const struct tables *t, const struct column *column)
{
    return !column->known && !column->full && column->batch == t->batch;
}

void table_find_full(const struct tables *t, struct table *table)
{
    uint32_t there = 0;

    for (uint32_t i = 0; i < table->column_count; i++)
        there += table->columns[i]->known;
    for (uint32_t i = 0; i < table->column_count; i++) {
        struct column *column = table->columns[i];

        if (column->known || column->batch != t->batch)
            continue;
        column->full = there >= COLUMNS_MAX;
        there += !column->full;
    }
}

/* ---- rows ---- */

struct row *table_row(struct tables *t, struct table *table, uint32_t event,
                      uint32_t cells)
{
    struct row *row;

    if (table->row_count == table->row_cap) {
        table->row_cap = table->row_cap ? 2 * table->row_cap : 64;
        table->rows = need(realloc(table->rows,
                                   table->row_cap * sizeof *table->rows));
    }
    if (table->event_count == table->event_cap) {
        table->event_cap = table->event_cap ? 2 * table->event_cap : 64;
        table->events = need(realloc(table->events, table->event_cap *
                                                    sizeof *table->events));
    }
    table->events[table->event_count++] = event;
    row = &table->rows[table->row_count++];
    row->event = event;
    row->count = 0;
    row->number = ++t->rows;
    row->cells = pool_alloc(&t->pool, cells * sizeof *row->cells);
    return row;
}

/* What the first value of a new column fixes is its type; whole numbers give
 * way to fractions of the same batch. */
static void settle_type(struct tables *t, struct column *column,
                        const struct value *v)
{
    bool first = column->batch != t->batch;

    column->batch = t->batch;
    if (column->known)
        return;
    if (first)
        column->type = v->type;
    else if (column->type == TYPE_INT && v->type == TYPE_FLOAT)
        column->type = TYPE_FLOAT;
}

void row_add(struct tables *t, struct table *table, struct row *row,
             const char *name, const struct value *v)
{
    uint32_t at = place_of(table, name);
    struct column *column = table->columns[at];
    struct cell *cell = &row->cells[row->count];

    cell->column = at;
    cell->value = *v;
    if (column->row == row->number) { /* two names that became one */
        if (!mf_eq(row_value(table, row, name)->text, v->text))
            rows_discard(t, table, row, cell); /* the first counts */
        return;
    }
    column->row = row->number;
    row->count++;
    if (v->text.len) /* an empty one tells nothing about the type */
        settle_type(t, column, v);
}

const struct value *row_value(const struct table *table,
                              const struct row *row, const char *column)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (strcmp(table->columns[row->cells[i].column]->name, column) == 0)
            return &row->cells[i].value;
    return NULL;
}

/* a's values, and those of b that a has not. */
static void join_rows(struct tables *t, struct row *a, const struct row *b)
{
    struct cell *cells = pool_alloc(&t->pool, (a->count + b->count) *
                                                  sizeof *cells);
    uint32_t n = a->count, i;

    memcpy(cells, a->cells, n * sizeof *cells);
    for (uint32_t k = 0; k < b->count; k++) {
        for (i = 0; i < a->count; i++)
            if (a->cells[i].column == b->cells[k].column)
                break;
        if (i == a->count)
            cells[n++] = b->cells[k];
    }
    a->cells = cells;
    a->count = n;
}

static bool is_older(const struct table *table, const struct row *a,
                     const struct row *b)
{
    const struct value *x = row_value(table, a, "received_at");
    const struct value *y = row_value(table, b, "received_at");
    size_t n;

    if (!x || !y)
        return false;
    n = x->text.len < y->text.len ? x->text.len : y->text.len;
    return memcmp(x->text.ptr, y->text.ptr, n) < 0;
}

void table_row_done(struct tables *t, struct table *table)
{
    struct row *row = &table->rows[table->row_count - 1], *before;
    const struct value *id = row_value(table, row, "id");
    uint32_t *at;
    bool fresh;

    if (!id || (table->upsert && t->append))
        return;
    at = index_at(&table->by_id, id->text, &fresh);
    if (fresh) {
        *at = table->row_count - 1;
        return;
    }
    table->row_count--;
    before = &table->rows[*at];
    if (!table->upsert)
        return;
    if (is_older(table, row, before)) {
        join_rows(t, before, row);
    } else {
        join_rows(t, row, before);
        *before = *row;
    }
}

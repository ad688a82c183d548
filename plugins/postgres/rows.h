/* SPDX-License-Identifier: Apache-2.0
 *
 * rows.h - from events to the rows of tables, for all warehouses: PostgreSQL,
 * Redshift and BigQuery share these parts, which know no server.
 *
 * names.c      text to the names of schemas, tables and columns
 * values.c     what type a value has, and how it is written for a column
 * tables.c     the tables of a batch: their columns and rows, in memory
 * rows.c       from an event to its rows
 *
 * Memory: what is known of tables lives as long as the instance; what belongs
 * to a batch is in its pool and goes with the next one. */
#ifndef PLUGINS_ROWS_H
#define PLUGINS_ROWS_H

#include <manifold/kit.h>
#include <stdbool.h>

#define NAME_BYTES     128    /* of any name, its NUL included */
#define COLUMNS_MAX    1500   /* of a table; Redshift ends at 1,600 */
#define TABLES_KEPT    20000  /* in memory, and */
#define COLUMNS_KEPT   500000 /* those of all of them */
#define ERROR_BYTES    512
#define DEPTH_MAX      64     /* of nested objects, as in an event */

/* ---- values.c ---- */

enum type { /* of a value, and of a column */
    TYPE_BOOL,
    TYPE_INT,
    TYPE_FLOAT,
    TYPE_TIME,
    TYPE_TEXT,
    TYPES,
    TYPE_JSON = TYPES, /* a column somebody else made: json, jsonb */
    TYPE_OTHER         /* another such: the server is to judge the text */
};

struct value {
    enum type type;
    mf_str text; /* as a column of text would have it */
    mf_str raw;  /* its JSON */
};

enum fit {
    FIT,
    FIT_PART, /* something of it was left out */
    FIT_NOT
};

struct out { /* text that grows */
    char *data;
    size_t len, cap;
};

struct table;
struct warehouse;

struct dialect {
    size_t name_max;       /* bytes of a name */
    bool limit_in_bytes;   /* varchar(n) counts bytes, else characters */
    bool plain_escapes;    /* COPY takes \ and the very byte, and no \n */
    bool one_column;       /* an ALTER TABLE adds one column, no more */
    bool keys;             /* a primary key holds */
    bool loaded_at;        /* the column that BigQuery has beside uuid_ts */
    const char *types[TYPES]; /* the last with %u */
    const char *table_end; /* behind the columns of CREATE TABLE */
    const char *lock_end;  /* behind the table's name in LOCK */
    const char *stage_end; /* behind the columns of a staging table */
    const char *const *reserved; /* words no name may be, sorted */
    size_t reserved_count;
    void (*settings)(struct warehouse *w, mf_call *c); /* of its own */
    void (*forget)(struct warehouse *w); /* gives back w->own; may be NULL */
    /* The rows of a table, in COPY's text format, into its staging table.
     * 0, or -1 with db.error told. NULL: by the connection itself, to staging
     * tables that are kept and empty themselves at COMMIT. */
    int (*fill)(struct warehouse *w, mf_call *c, const struct table *table,
                const char *columns, const struct out *rows);
};

/* False for what is no value: null, absent, and an empty object. */
bool value_read(mf_call *c, mf_val v, struct value *to);
/* How well a column of that type holds it. */
enum fit value_fit(enum type column, const struct value *v);
/* Appends it as a field of COPY's text format; limit: the most that a column
 * of text holds, 0 for any. Nothing is appended for FIT_NOT. */
void value_write(const struct dialect *d, enum type column, uint32_t limit,
                 const struct value *v, struct out *to);

void out_add(struct out *o, const char *bytes, size_t len);
void out_text(struct out *o, const char *text);
/* "name" as SQL wants it, 'text' likewise. */
void out_name(struct out *o, const char *name);
void out_quoted(struct out *o, const char *text);
void out_format(struct out *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void out_free(struct out *o);

/* ---- names.c ---- */

/* words and capitals as snake_case, cut to what the server takes; never "". */
void name_of(const struct dialect *d, mf_str text, char to[NAME_BYTES]);
/* The same for a member of an object that has a name already. */
void name_below(const struct dialect *d, const char *above, mf_str text,
                char to[NAME_BYTES]);
/* Puts an underscore before a name that the server or we have taken. */
void name_free(const struct dialect *d, const char *const *taken, size_t n,
               char name[NAME_BYTES]);

/* ---- tables.c ---- */

struct column {
    char name[NAME_BYTES];
    enum type type;
    uint32_t limit;  /* of text, 0: none */
    bool known;      /* the database has it */
    bool full;       /* there is no room for it in the table */
    uint64_t row;    /* number of the last that has it */
    uint32_t batch;  /* the last that had a value for it */
    uint32_t place;  /* load.c: among those used */
};

struct cell {
    uint32_t column;
    struct value value;
};

struct row {
    struct cell *cells;
    uint64_t number; /* of all that were ever made */
    uint32_t count;
    uint32_t event; /* that it is of */
};

struct index { /* from text to a number; texts are borrowed */
    struct slot {
        mf_str key;
        uint32_t value;
    } *slots;
    size_t cap, count;
};

struct table {
    char schema[NAME_BYTES], name[NAME_BYTES];
    char *key;       /* schema and name */
    bool upsert;     /* one row an id, the newest values */
    bool looked, known; /* asked for in the database; there */
    bool unique;     /* the database itself refuses a second row of an id */
    uint32_t stage;  /* number of its staging table, 0: none in this session */
    bool stage_old;  /* that has not all columns */
    struct column **used; /* load.c: with values of the batch; in its pool */
    uint32_t used_count;
    bool viewed;     /* its view is there, or cannot be */
    struct column **columns;
    uint32_t column_count, column_cap;
    struct index by_name;

    uint32_t batch; /* that the following belongs to */
    struct row *rows;
    uint32_t row_count, row_cap;
    uint32_t *events; /* all that wanted a row in it, also if none was added */
    uint32_t event_count, event_cap;
    struct index by_id;
    bool failed, data_fault; /* not loaded; because of what is in it */
    char error[ERROR_BYTES];
};

struct pool {
    struct chunk *chunks;
    size_t left;
    char *next;
};

void *pool_alloc(struct pool *p, size_t size);
void pool_clear(struct pool *p);

/* The number of key, or a new one; *fresh says which. */
uint32_t *index_at(struct index *x, mf_str key, bool *fresh);
void index_clear(struct index *x);
void index_free(struct index *x);

struct tables {
    struct table **list;
    uint32_t count, cap;
    struct index by_key;
    struct pool pool; /* of the batch */
    uint64_t rows;
    uint32_t batch;
    bool append; /* states are not joined: each call's is a row */
};

void tables_begin(struct tables *t); /* a batch */
void tables_free(struct tables *t); /* and ready for use again */
/* Names come from events, and nothing bounds them but what is forgotten. */
bool tables_too_many(const struct tables *t);
/* Nothing of the database is known any more. */
void tables_forget(struct tables *t);
struct table *table_named(struct tables *t, const char *schema,
                          const char *name);
bool table_in_batch(const struct tables *t, const struct table *table);
/* The batch's tables by their names: in this order they are changed, so that
 * two loaders do not wait for each other. In the pool. */
struct table **tables_sorted(struct tables *t, uint32_t *n);
/* The batch has a value for it, and the database could have it but has not. */
bool column_missing(const struct tables *t, const struct column *column);
/* Columns beyond what a table can have are not asked for. */
void table_find_full(const struct tables *t, struct table *table);
/* A row with room for so many cells. */
struct row *table_row(struct tables *t, struct table *table, uint32_t event,
                      uint32_t cells);
/* Its last row, complete: dropped if the batch has its id already, or joined
 * with the one that has, where ids are upserted. */
void table_row_done(struct tables *t, struct table *table);
struct column *table_column(struct table *table, const char *name);
void row_add(struct tables *t, struct table *table, struct row *row,
             const char *name, const struct value *v);
/* The value of a row in that column, or NULL. */
const struct value *row_value(const struct table *table,
                              const struct row *row, const char *column);

/* ---- rows.c ---- */

/* Adds the rows of an event; NULL, or why it can have none. */
const char *rows_of_event(struct tables *t, const struct dialect *d,
                          mf_call *c, const char *schema, mf_val event,
                          uint32_t number);
/* The rows of a batch's events, of those that are listed; schema: "" for one
 * each source. Who can have none has its result. The action's first path is
 * the event. */
void rows_of_events(struct tables *t, const struct dialect *d, mf_call *c,
                    const char *schema, const mf_event *const *events,
                    const uint32_t *list, uint32_t n);
/* One more row, about a value that its column could not hold whole. */
void rows_discard(struct tables *t, const struct table *of,
                  const struct row *row, const struct cell *cell);
/* The same of all values that their columns cannot hold. */
void rows_discard_all(struct tables *t);

#endif

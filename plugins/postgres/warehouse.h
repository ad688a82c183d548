/* SPDX-License-Identifier: Apache-2.0
 *
 * warehouse.h - what the parts of a warehouse destination know of each other.
 * PostgreSQL and Redshift share all of them but the dialect.
 *
 * rows.h       events as rows, which is the same for all warehouses
 * resolve.c    the addresses of the server, within the deadline
 * db.c         the connection; nothing in it waits beyond a deadline
 * catalog.c    which tables and columns there are, and making those missing
 * load.c       the rows of a batch into the database, in one transaction
 * warehouse.c  the destination: settings, batches, results */
#ifndef PLUGINS_WAREHOUSE_H
#define PLUGINS_WAREHOUSE_H

#include "rows.h"

#include <libpq-fe.h>

/* ---- resolve.c ---- */

struct lookup;

/* Appends the addresses of a host, and its name as often, as libpq takes them.
 * NULL, or why there are none. *pending is what is still being asked. */
const char *resolve(struct lookup **pending, const char *host,
                    int64_t wait_ms, struct out *hosts,
                    struct out *addresses);

/* ---- db.c ---- */

#define CONNECT_OPTIONS 16

struct db {
    PGconn *conn; /* NULL: there is none */
    struct lookup *lookup;
    int64_t deadline; /* of what is being done, Unix ms */
    char state[6];    /* SQLSTATE of the last failure, "" if none came */
    char error[ERROR_BYTES];
    bool lost; /* the last failure was one of the connection */
    uint32_t inserts; /* done since db_start() */
};

/* The first keyword is the host's; the last NULL. */
int db_connect(struct db *db, const char *const *keywords,
               const char *const *values);
void db_close(struct db *db);
/* 0, or -1 with error told. */
int db_exec(struct db *db, const char *sql);
/* The rows of an answer, NULL on a failure; PQclear() it. */
PGresult *db_query(struct db *db, const char *sql);
/* Statements with COPY ... FROM STDIN among them, step by step: start, for
 * each of these await and put, finish. db.inserts counts the INSERTs done. */
int db_start(struct db *db, const char *sql);
int db_await_copy(struct db *db);
int db_put_copy(struct db *db, const char *bytes, size_t len);
int db_finish(struct db *db);
/* How long is left of what is being done, ms; 1 at the least. */
int64_t db_left(const struct db *db);
/* True if what failed was the data, and not the server or its state. */
bool db_data_fault(const struct db *db);
/* True if it was the server or its state: other commands would fail too. */
bool db_server_fault(const struct db *db);

/* ---- the destination ---- */

struct warehouse;

extern const struct dialect warehouse_dialect;

struct warehouse {
    const struct dialect *dialect;
    struct db db;
    struct tables tables;
    struct index schemas; /* those that are known to be there */
    struct out sql, data;
    const char *keywords[CONNECT_OPTIONS], *values[CONNECT_OPTIONS];
    char schema[NAME_BYTES]; /* "" : one for each source */
    uint32_t text_limit, stages;
    uint32_t slice; /* events of one transaction at the most */
    int64_t patience; /* ms that all of a batch may take */
    int64_t used; /* Unix ms; when the connection was last of use */
    void *own;    /* the dialect's */
};

/* A connection, the one that is open or a new one. */
int warehouse_connect(struct warehouse *w);
/* Forgets the connection and all that was known through it. */
void warehouse_reset(struct warehouse *w);

/* ---- catalog.c ---- */

/* Appends "schema"."table". */
void out_table(struct out *o, const struct table *table);
/* Learns what the database has of the batch's tables. 0, or -1 as db_exec. */
int catalog_look(struct warehouse *w);
/* Makes what is missing. A table that cannot be made has failed, the others
 * go on; -1: the connection is gone. */
int catalog_grow(struct warehouse *w);

/* ---- load.c ---- */

/* The batch's tables that have not failed, in one transaction. A table at
 * fault is marked failed and the others are loaded without it. -1: nothing
 * is known to be loaded; see db. */
int load_batch(struct warehouse *w, mf_call *c);
/* "manifold_stage_7" */
void out_stage(struct out *o, const struct table *table);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * redo.c - see redo.h. A change in the log: the statement's number, then a
 * place, a kind and the bytes of each value, then a 0 for a place. */
#include "state/redo.h"

#include "base/mem.h"

#include <string.h>

struct value {
    uint32_t place; /* from 1; 0: the change ends */
    uint32_t kind;  /* SQLITE_INTEGER, SQLITE_TEXT, SQLITE_BLOB */
    uint64_t n;     /* the integer, or how many bytes follow */
};

/* In place of a statement's number: its text follows. */
#define BY_TEXT UINT32_MAX

void redo_init(struct redo *r)
{
    memset(r, 0, sizeof *r);
    buf_init(&r->log, REDO_BYTES_MAX);
}

void redo_deinit(struct redo *r)
{
    buf_deinit(&r->log);
}

void redo_begin(struct redo *r, uint32_t statement)
{
    r->log.len = r->kept;
    r->values = 0;
    buf_add(&r->log, &statement, sizeof statement);
}

void redo_begin_sql(struct redo *r, const char *sql)
{
    uint32_t len = (uint32_t)strlen(sql);

    redo_begin(r, BY_TEXT);
    buf_add(&r->log, &len, sizeof len);
    buf_add(&r->log, sql, len);
}

static void put(struct redo *r, int at, int kind, uint64_t n)
{
    struct value v = { (uint32_t)at, (uint32_t)kind, n };

    buf_add(&r->log, &v, sizeof v);
    r->values++;
}

void redo_int(struct redo *r, sqlite3_stmt *q, int at, int64_t v)
{
    sqlite3_bind_int64(q, at, v);
    put(r, at, SQLITE_INTEGER, (uint64_t)v);
}

void redo_double(struct redo *r, sqlite3_stmt *q, int at, double v)
{
    uint64_t bits;

    sqlite3_bind_double(q, at, v);
    memcpy(&bits, &v, sizeof bits);
    put(r, at, SQLITE_FLOAT, bits);
}

void redo_text(struct redo *r, sqlite3_stmt *q, int at, mf_str s)
{
    sqlite3_bind_text64(q, at, s.ptr ? s.ptr : "", s.len, SQLITE_TRANSIENT,
                        SQLITE_UTF8);
    put(r, at, SQLITE_TEXT, s.len);
    buf_add(&r->log, s.ptr ? s.ptr : "", s.len);
}

void redo_blob(struct redo *r, sqlite3_stmt *q, int at, const void *bytes,
               size_t n)
{
    sqlite3_bind_blob64(q, at, bytes, n, SQLITE_TRANSIENT);
    put(r, at, SQLITE_BLOB, n);
    buf_add(&r->log, n ? bytes : "", n);
}

void redo_keep(struct redo *r, sqlite3_stmt *q)
{
    struct value end = { 0, 0, 0 };

    ASSERT(r->values == (unsigned)sqlite3_bind_parameter_count(q));
    buf_add(&r->log, &end, sizeof end);
    ASSERT(!r->log.full);
    r->kept = r->log.len;
}

void redo_undo(struct redo *r, size_t size)
{
    r->kept = r->log.len = size;
}

void redo_clear(struct redo *r)
{
    r->kept = 0;
    buf_clear(&r->log);
}

/* Binds the values at *at, which moves behind them. */
static void bind_all(struct redo *r, sqlite3_stmt *q, size_t *at)
{
    struct value v;

    for (;;) {
        const char *bytes;

        memcpy(&v, r->log.data + *at, sizeof v);
        *at += sizeof v;
        if (!v.place)
            return;
        bytes = r->log.data + *at;
        if (v.kind == SQLITE_INTEGER) {
            sqlite3_bind_int64(q, (int)v.place, (int64_t)v.n);
            continue;
        }
        if (v.kind == SQLITE_FLOAT) {
            double d;

            memcpy(&d, &v.n, sizeof d);
            sqlite3_bind_double(q, (int)v.place, d);
            continue;
        }
        if (v.kind == SQLITE_TEXT)
            sqlite3_bind_text64(q, (int)v.place, bytes, v.n, SQLITE_STATIC,
                                SQLITE_UTF8);
        else
            sqlite3_bind_blob64(q, (int)v.place, bytes, v.n, SQLITE_STATIC);
        *at += v.n;
    }
}

/* The statement at *at, which moves behind what names it; *own: to be
 * finalized. NULL: SQLite refuses it. */
static sqlite3_stmt *statement_at(struct redo *r, sqlite3 *db,
                                  sqlite3_stmt *const *statements, size_t *at,
                                  bool *own)
{
    sqlite3_stmt *q = NULL;
    uint32_t which, len;

    memcpy(&which, r->log.data + *at, sizeof which);
    *at += sizeof which;
    *own = which == BY_TEXT;
    if (!*own) {
        sqlite3_reset(statements[which]);
        sqlite3_clear_bindings(statements[which]);
        return statements[which];
    }
    memcpy(&len, r->log.data + *at, sizeof len);
    *at += sizeof len;
    sqlite3_prepare_v2(db, r->log.data + *at, (int)len, &q, NULL);
    *at += len;
    return q;
}

int redo_replay(struct redo *r, sqlite3 *db, sqlite3_stmt *const *statements)
{
    size_t at = 0;

    while (at < r->kept) {
        bool own;
        sqlite3_stmt *q = statement_at(r, db, statements, &at, &own);
        int rc;

        if (!q)
            return sqlite3_errcode(db);
        bind_all(r, q, &at);
        rc = sqlite3_step(q);
        sqlite3_reset(q);
        sqlite3_clear_bindings(q); /* the log may move */
        if (own)
            sqlite3_finalize(q);
        if (rc != SQLITE_DONE)
            return rc;
    }
    return SQLITE_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * query.c - statements that are prepared for one use; see inner.h. */
#include "state/inner.h"

#include <stdarg.h>

static int failed(struct state *s, struct err *e)
{
    return err_set(e, "state.db: %s", sqlite3_errmsg(state_db(s)));
}

static int begin(struct query *q, struct state *s, const char *sql,
                 struct err *e, const char *kinds, va_list ap)
{
    struct redo *r = state_redo(s);

    q->s = s;
    state_refresh(s);
    if (sqlite3_prepare_v2(state_db(s), sql, -1, &q->q, NULL) != SQLITE_OK)
        return failed(s, e);
    redo_begin_sql(r, sql);
    for (int i = 0; kinds[i]; i++)
        if (kinds[i] == 's')
            redo_text(r, q->q, i + 1, *va_arg(ap, const mf_str *));
        else if (kinds[i] == 'd')
            redo_double(r, q->q, i + 1, va_arg(ap, double));
        else
            redo_int(r, q->q, i + 1, va_arg(ap, int64_t));
    return 0;
}

int query_begin(struct query *q, struct state *s, const char *sql,
                struct err *e, const char *kinds, ...)
{
    va_list ap;
    int rc;

    va_start(ap, kinds);
    rc = begin(q, s, sql, e, kinds, ap);
    va_end(ap);
    return rc;
}

bool query_next(struct query *q)
{
    return sqlite3_step(q->q) == SQLITE_ROW;
}

int query_end(struct query *q, struct err *e)
{
    /* finalize repeats what the last step gave. */
    return sqlite3_finalize(q->q) == SQLITE_OK ? 0 : failed(q->s, e);
}

int64_t query_int(const struct query *q, int column)
{
    return sqlite3_column_int64(q->q, column);
}

mf_str query_text(const struct query *q, int column)
{
    const char *p = (const char *)sqlite3_column_text(q->q, column);

    return (mf_str){ p, (size_t)sqlite3_column_bytes(q->q, column) };
}

int query_run(struct state *s, struct err *e, const char *sql,
              const char *kinds, ...)
{
    struct query q;
    va_list ap;
    int rc;

    va_start(ap, kinds);
    rc = begin(&q, s, sql, e, kinds, ap);
    va_end(ap);
    if (rc != 0)
        return -1;
    rc = state_change(s, q.q, e);
    sqlite3_finalize(q.q);
    return rc;
}

int64_t query_one(struct state *s, int64_t otherwise, const char *sql,
                  const char *kinds, ...)
{
    struct query q;
    struct err e;
    va_list ap;
    int rc;

    va_start(ap, kinds);
    rc = begin(&q, s, sql, &e, kinds, ap);
    va_end(ap);
    if (rc != 0)
        return otherwise;
    if (query_next(&q))
        otherwise = query_int(&q, 0);
    query_end(&q, &e);
    return otherwise;
}

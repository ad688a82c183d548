/* SPDX-License-Identifier: Apache-2.0
 *
 * db.c - the connection to the database, over libpq without blocking: every
 * wait ends at the deadline of what is being done, and the connection with
 * it, since nobody knows then what the server is at.
 *
 * A failure that the server tells leaves the connection as it is. */
#include "warehouse.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#define COPY_CHUNK (256 << 10)

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t db_left(const struct db *db)
{
    int64_t left = db->deadline - now_ms();

    return left > 0 ? left : 1;
}

/* ---- failures ---- */

static int fail(struct db *db, const char *text)
{
    size_t len;

    snprintf(db->error, sizeof db->error, "%s", text);
    for (len = strlen(db->error); len && db->error[len - 1] == '\n'; len--)
        db->error[len - 1] = '\0';
    return -1;
}

static int lose(struct db *db, const char *text)
{
    fail(db, text);
    db->lost = true;
    db->state[0] = '\0';
    if (db->conn)
        PQfinish(db->conn);
    db->conn = NULL;
    return -1;
}

static int lose_conn(struct db *db)
{
    char text[ERROR_BYTES];

    snprintf(text, sizeof text, "%s", PQerrorMessage(db->conn));
    return lose(db, text[0] ? text : "the connection broke");
}

/* Takes what the server says against a command; frees the result. */
static int refuse(struct db *db, PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

    snprintf(db->state, sizeof db->state, "%s", state ? state : "");
    db->lost = false;
    fail(db, text ? text : PQresultErrorMessage(r));
    PQclear(r);
    if (PQstatus(db->conn) == CONNECTION_BAD)
        lose(db, PQerrorMessage(db->conn));
    return -1;
}

/* A class of SQLSTATE is its first two letters. 22 data, 23 constraints, 54
 * what is too big for the server: the same rows will fail again. */
static bool is_class(const struct db *db, const char *const *classes)
{
    for (; *classes; classes++)
        if (strncmp(db->state, *classes, strlen(*classes)) == 0)
            return true;
    return false;
}

bool db_data_fault(const struct db *db)
{
    static const char *const classes[] = { "22", "23", "54", NULL };

    return !db->lost && is_class(db, classes);
}

/* 25 the transaction's state, 40 it was rolled back, 53 no room, 55P03 a lock,
 * 57 stopped or cancelled, 58 its machine, XX itself. */
bool db_server_fault(const struct db *db)
{
    static const char *const classes[] = { "25", "40", "53", "55P03",
                                           "57", "58", "XX", NULL };

    return db->lost || is_class(db, classes);
}

/* ---- waiting ---- */

static int await(struct db *db, short events)
{
    struct pollfd p = { PQsocket(db->conn), events, 0 };
    int64_t left;
    int n;

    do {
        left = db->deadline - now_ms();
        n = left > 0 ? poll(&p, 1, left > 60000 ? 60000 : (int)left) : 0;
    } while ((n < 0 && errno == EINTR) || (n == 0 && left > 60000));
    if (n > 0)
        return 0;
    return lose(db, "no answer within the destination's timeout");
}

static int flush(struct db *db)
{
    int n;

    while ((n = PQflush(db->conn)) > 0) {
        if (await(db, POLLIN | POLLOUT) != 0)
            return -1;
        if (!PQconsumeInput(db->conn))
            return lose_conn(db);
    }
    return n < 0 ? lose_conn(db) : 0;
}

/* The next result, NULL at the end of a command's; -1: lost. */
static int next(struct db *db, PGresult **r)
{
    if (flush(db) != 0)
        return -1;
    while (PQisBusy(db->conn)) {
        if (await(db, POLLIN) != 0)
            return -1;
        if (!PQconsumeInput(db->conn))
            return lose_conn(db);
    }
    *r = PQgetResult(db->conn);
    return 0;
}

/* ---- the connection ---- */

/* What is there already is no news. */
static void no_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

/* Starts with the addresses that the host has now; a directory is none. */
static int start(struct db *db, const char *const *keywords,
                 const char *const *values)
{
    const char *k[CONNECT_OPTIONS + 2] = { "hostaddr" };
    const char *v[CONNECT_OPTIONS + 2];
    struct out hosts = { 0 }, addresses = { 0 };
    const char *why = NULL;
    size_t n = 0;

    for (; keywords[n] && n < CONNECT_OPTIONS; n++) {
        k[n + 1] = keywords[n];
        v[n + 1] = values[n];
    }
    k[n + 1] = NULL;
    out_text(&addresses, "");
    if (v[1][0] != '/') {
        why = resolve(&db->lookup, v[1], db_left(db), &hosts, &addresses);
        v[1] = why ? v[1] : hosts.data;
    }
    v[0] = addresses.data;
    if (!why)
        db->conn = PQconnectStartParams(k, v, 0);
    out_free(&hosts);
    out_free(&addresses);
    return why ? lose(db, why) : 0;
}

int db_connect(struct db *db, const char *const *keywords,
               const char *const *values)
{
    PostgresPollingStatusType at = PGRES_POLLING_WRITING;

    if (start(db, keywords, values) != 0)
        return -1;
    if (!db->conn)
        return lose(db, "out of memory");
    if (PQstatus(db->conn) == CONNECTION_BAD)
        return lose_conn(db);
    while (at != PGRES_POLLING_OK) {
        if (at == PGRES_POLLING_FAILED)
            return lose_conn(db);
        if (await(db, at == PGRES_POLLING_READING ? POLLIN : POLLOUT) != 0)
            return -1;
        at = PQconnectPoll(db->conn);
    }
    PQsetnonblocking(db->conn, 1);
    PQsetNoticeReceiver(db->conn, no_notice, NULL);
    return 0;
}

void db_close(struct db *db)
{
    if (db->conn)
        PQfinish(db->conn);
    db->conn = NULL;
}

/* ---- commands ---- */

/* The rest of a command, after a failure that was told. */
static void drain(struct db *db)
{
    PGresult *r;

    while (db->conn && next(db, &r) == 0 && r)
        PQclear(r);
}

/* Reads on to the end of the command, or to a COPY that wants its rows. The
 * last result, or NULL. */
static PGresult *read_on(struct db *db)
{
    PGresult *r, *last = NULL;

    for (;;) {
        ExecStatusType status;

        if (next(db, &r) != 0)
            break;
        if (!r)
            return last;
        PQclear(last);
        last = r;
        status = PQresultStatus(r);
        if (status == PGRES_COPY_IN)
            return r;
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            refuse(db, r);
            drain(db);
            return NULL;
        }
        db->inserts += strncmp(PQcmdStatus(r), "INSERT", 6) == 0;
    }
    PQclear(last);
    return NULL;
}

int db_start(struct db *db, const char *sql)
{
    db->inserts = 0;
    if (!db->conn)
        return lose(db, "there is no connection");
    return PQsendQuery(db->conn, sql) ? flush(db) : lose_conn(db);
}

PGresult *db_query(struct db *db, const char *sql)
{
    return db_start(db, sql) == 0 ? read_on(db) : NULL;
}

int db_exec(struct db *db, const char *sql)
{
    PGresult *r = db_query(db, sql);
    bool done;

    if (!r)
        return -1;
    /* A transaction that had failed ends so, and as if it were well. */
    done = strcmp(sql, "COMMIT") != 0 || strcmp(PQcmdStatus(r), "COMMIT") == 0;
    PQclear(r);
    return done ? 0 : lose(db, "the transaction was rolled back");
}

int db_await_copy(struct db *db)
{
    PGresult *r = read_on(db);
    bool wanted = r && PQresultStatus(r) == PGRES_COPY_IN;

    if (!r)
        return -1;
    PQclear(r);
    return wanted ? 0 : lose(db, "the server did not ask for the rows");
}

int db_put_copy(struct db *db, const char *bytes, size_t len)
{
    while (len) {
        int n = len < COPY_CHUNK ? (int)len : COPY_CHUNK;
        int rc = PQputCopyData(db->conn, bytes, n);

        if (rc < 0)
            return lose_conn(db);
        if (flush(db) != 0)
            return -1;
        if (rc > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    while (PQputCopyEnd(db->conn, NULL) == 0)
        if (flush(db) != 0)
            return -1;
    return flush(db);
}

int db_finish(struct db *db)
{
    PGresult *r = read_on(db);

    if (!r)
        return -1;
    PQclear(r);
    return 0;
}

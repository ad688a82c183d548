/* SPDX-License-Identifier: Apache-2.0
 *
 * state.c - see state.h. SQLite in WAL mode with synchronous FULL; every
 * statement is prepared once. Values are bound by redo.h, so that a change
 * outlives a transaction that the disk has ended. */
#include "state/state.h"

#include "state/inner.h"

#include "base/mem.h"
#include "base/text.h"
#include "state/redo.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_VERSION 1

static const char schema[] =
    "CREATE TABLE source(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE lane("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " source INTEGER NOT NULL REFERENCES source(id),"
    " destination TEXT NOT NULL, start INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " accepted INTEGER NOT NULL DEFAULT 0,"
    " delivered INTEGER NOT NULL DEFAULT 0,"
    " filtered INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0,"
    " attempts INTEGER NOT NULL DEFAULT 0, retries INTEGER NOT NULL DEFAULT 0,"
    " lost INTEGER NOT NULL DEFAULT 0, pending BLOB,"
    " replay INTEGER NOT NULL DEFAULT 0," /* its job; 0: the live lane */
    " until INTEGER NOT NULL DEFAULT 0,"  /* the last it reads, 0: none */
    " mark INTEGER NOT NULL,"
    " letters INTEGER NOT NULL DEFAULT 0,"
    " letter_bytes INTEGER NOT NULL DEFAULT 0,"
    " UNIQUE(source, destination, replay));"
    /* since: TTL counts from there and not from the receipt, where it is not
     * 0. event: the letter's own copy, of a part that was dead before. */
    "CREATE TABLE retry("
    " lane INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " subscription INTEGER NOT NULL, segment INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, due INTEGER NOT NULL, first INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, status INTEGER NOT NULL,"
    " event_dead INTEGER NOT NULL, error TEXT NOT NULL,"
    " since INTEGER NOT NULL DEFAULT 0, event TEXT NOT NULL DEFAULT '',"
    " order1 INTEGER NOT NULL DEFAULT 0, order2 INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY(lane, seq, subscription)) WITHOUT ROWID;"
    LETTERS_SCHEMA
    REPLAYS_SCHEMA
    "CREATE TABLE attempt(" /* letter: 0 while its part waits */
    " lane INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " subscription INTEGER NOT NULL, letter INTEGER NOT NULL,"
    " n INTEGER NOT NULL, at INTEGER NOT NULL, status INTEGER NOT NULL,"
    " error TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL,"
    " PRIMARY KEY(lane, seq, subscription, letter, n)) WITHOUT ROWID;"
    "CREATE TRIGGER retry_ends AFTER DELETE ON retry BEGIN"
    " DELETE FROM attempt WHERE lane = OLD.lane AND seq = OLD.seq"
    " AND subscription = OLD.subscription AND letter = 0; END;"
    "CREATE TRIGGER dead_begins AFTER INSERT ON dead BEGIN"
    " UPDATE OR REPLACE attempt SET letter = NEW.id WHERE lane = NEW.lane"
    " AND seq = NEW.seq AND subscription = NEW.subscription AND letter = 0;"
    " END;"
    "CREATE TRIGGER dead_ends AFTER DELETE ON dead BEGIN"
    " DELETE FROM attempt WHERE lane = OLD.lane AND seq = OLD.seq"
    " AND subscription = OLD.subscription AND letter = OLD.id; END;"
    REFUSED_SCHEMA
    "CREATE TABLE token("
    " destination TEXT PRIMARY KEY, origin TEXT NOT NULL,"
    " tokens TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE paused("
    " destination TEXT PRIMARY KEY, why TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE pace("
    " destination TEXT PRIMARY KEY,"
    " tokens INTEGER NOT NULL," /* millionths of one */
    " at INTEGER NOT NULL, out INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE dead_range("
    " lane INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " count INTEGER NOT NULL, reason INTEGER NOT NULL, at INTEGER NOT NULL,"
    " PRIMARY KEY(lane, reason, first)) WITHOUT ROWID;"
    "CREATE TABLE outcome_segment("
    " n INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, least INTEGER NOT NULL,"
    " greatest INTEGER NOT NULL);"
    "CREATE TABLE outcome_base("
    " segment INTEGER NOT NULL, lane INTEGER NOT NULL,"
    " delivered INTEGER NOT NULL, filtered INTEGER NOT NULL,"
    " dead INTEGER NOT NULL, lost INTEGER NOT NULL,"
    " PRIMARY KEY(segment, lane)) WITHOUT ROWID;";

enum statement {
    SOURCE_FIND, SOURCE_ADD, LANE_FIND, LANE_ADD, LANE_PUT, LANE_ALL,
    RETRY_PUT, RETRY_DROP, RETRY_DEAD, RETRY_ALL, SEGMENT_PUT, SEGMENT_DROP,
    BASE_DROP, SEGMENT_ALL, BASE_PUT, RANGE_PUT, RANGE_COUNT, RANGE_OLDEST,
    RANGE_DROP, RANGE_LIST, ATTEMPT_ADD, ATTEMPT_TRIM,
    STATEMENTS
};

#define LANE_COLUMNS                                                           \
    "l.id, l.source, l.destination, s.name, l.seq, l.segment, l.offset,"      \
    " l.accepted, l.delivered, l.filtered, l.dead, l.attempts, l.retries,"    \
    " l.lost, l.pending, l.start, l.replay, l.until, l.mark"                  \
    " FROM lane l JOIN source s ON s.id = l.source"

static const char *const texts[STATEMENTS] = {
    [SOURCE_FIND] = "SELECT id FROM source WHERE name = ?1",
    [SOURCE_ADD] = "INSERT INTO source(name) VALUES(?1)",
    [LANE_FIND] = "SELECT " LANE_COLUMNS
                  " WHERE l.source = ?1 AND l.destination = ?2"
                  " AND l.replay = ?3",
    [LANE_ADD] = "INSERT INTO lane(source, destination, start, seq, segment,"
                 " offset, replay, until, mark)"
                 " VALUES(?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)",
    [LANE_PUT] = "UPDATE lane SET seq = ?2, segment = ?3, offset = ?4,"
                 " accepted = ?5, delivered = ?6, filtered = ?7, dead = ?8,"
                 " attempts = ?9, retries = ?10, lost = ?11, pending = ?12"
                 " WHERE id = ?1",
    [LANE_ALL] = "SELECT " LANE_COLUMNS " ORDER BY l.id",
    [RETRY_PUT] = "INSERT INTO retry(lane, seq, subscription, segment, offset,"
                  " due, first, attempts, status, event_dead, error,"
                  " order1, order2) VALUES"
                  "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
                  " ON CONFLICT DO UPDATE SET due = ?6, first = ?7,"
                  " attempts = ?8, status = ?9, event_dead = ?10, error = ?11,"
                  " order1 = ?12, order2 = ?13",
    [RETRY_DROP] = "DELETE FROM retry WHERE lane = ?1 AND seq = ?2"
                   " AND subscription = ?3",
    [RETRY_DEAD] = "UPDATE retry SET event_dead = ?3"
                   " WHERE lane = ?1 AND seq = ?2",
    [RETRY_ALL] = "SELECT * FROM retry WHERE lane = ?1 ORDER BY seq",
    [SEGMENT_PUT] = "INSERT OR REPLACE INTO outcome_segment"
                    " VALUES(?1, ?2, ?3, ?4)",
    [SEGMENT_DROP] = "DELETE FROM outcome_segment WHERE n = ?1",
    [BASE_DROP] = "DELETE FROM outcome_base WHERE segment = ?1",
    [SEGMENT_ALL] = "SELECT * FROM outcome_segment ORDER BY n",
    [RANGE_PUT] = "INSERT OR REPLACE INTO dead_range"
                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [RANGE_COUNT] = "SELECT count(*) FROM dead_range"
                    " WHERE lane = ?1 AND reason = ?2",
    [RANGE_OLDEST] = "SELECT first, last, count, at FROM dead_range"
                     " WHERE lane = ?1 AND reason = ?2"
                     " ORDER BY first LIMIT 2",
    [RANGE_DROP] = "DELETE FROM dead_range"
                   " WHERE lane = ?1 AND reason = ?2 AND first = ?3",
    [RANGE_LIST] = "SELECT r.lane, r.reason, r.first, r.last, r.count, r.at"
                   " FROM dead_range r JOIN lane l ON l.id = r.lane"
                   " WHERE l.destination = ?1 ORDER BY r.first DESC LIMIT ?2",
    [ATTEMPT_ADD] = "INSERT OR REPLACE INTO attempt"
                    " VALUES(?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9)",
    [ATTEMPT_TRIM] = "DELETE FROM attempt WHERE lane = ?1 AND seq = ?2"
                     " AND subscription = ?3 AND letter = 0 AND n <= ?4",
    [BASE_PUT] = "INSERT OR REPLACE INTO outcome_base"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
};

struct state {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    bool in_transaction;
    bool stale; /* the changes of `redo` are not in the database's view */
    struct redo redo;
};

sqlite3 *state_db(struct state *s)
{
    return s->db;
}

struct redo *state_redo(struct state *s)
{
    return &s->redo;
}

static int failed(struct state *s, const char *doing, struct err *e)
{
    return err_set(e, "state.db: %s: %s", doing, sqlite3_errmsg(s->db));
}

static int run(struct state *s, const char *sql, const char *doing,
               struct err *e)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(s, doing, e);
    return 0;
}

static int read_number(struct state *s, const char *sql, int64_t *out)
{
    sqlite3_stmt *q;
    int rc = -1;

    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
        return -1;
    if (sqlite3_step(q) == SQLITE_ROW) {
        *out = sqlite3_column_int64(q, 0);
        rc = 0;
    }
    sqlite3_finalize(q);
    return rc;
}

static int prepare_schema(struct state *s, const char *path, struct err *e)
{
    int64_t version = 0;

    if (run(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
               "PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 2000;"
               /* What is not committed needs no disk: it can be made again
                * on a full one, and read. */
               "PRAGMA cache_spill = OFF;",
            "it cannot be opened", e) != 0)
        return -1;
    if (read_number(s, "PRAGMA user_version", &version) != 0)
        return failed(s, "its version cannot be read", e);
    if (version == STATE_VERSION)
        return 0;
    if (version != 0)
        return err_set(e,
                       "%s has version %lld, this program writes %d: run the "
                       "newer program, or move the file aside",
                       path, (long long)version, STATE_VERSION);
    if (run(s, "BEGIN IMMEDIATE", "it cannot be made", e) != 0 ||
        run(s, schema, "its tables cannot be made", e) != 0 ||
        run(s, "PRAGMA user_version = 1; COMMIT", "it cannot be made", e) != 0)
        return -1;
    return 0;
}

/* Events and tokens stand in it. SQLite gives its other files the same mode. */
static int make_private(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || fchmod(fd, 0600) != 0) {
        err_sys(e, "%s cannot be made", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    close(fd);
    return 0;
}

struct state *state_open(const char *path, struct err *e)
{
    struct state *s = xcalloc(1, sizeof *s);

    redo_init(&s->redo);
    if (make_private(path, e) != 0)
        goto fail;
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        err_set(e, "%s cannot be opened: %s", path, sqlite3_errmsg(s->db));
        goto fail;
    }
    if (prepare_schema(s, path, e) != 0)
        goto fail;
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->statements[i], NULL) != SQLITE_OK) {
            failed(s, texts[i], e);
            goto fail;
        }
    return s;
fail:
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    redo_deinit(&s->redo);
    free(s);
    return NULL;
}

void state_close(struct state *s)
{
    struct err ignored;

    if (!s)
        return;
    state_commit(s, &ignored);
    state_abandon(s);
}

void state_abandon(struct state *s)
{
    if (!s)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    redo_deinit(&s->redo);
    free(s);
}

bool state_dirty(const struct state *s)
{
    return s->in_transaction;
}

bool state_strained(const struct state *s)
{
    return s->redo.kept > STATE_STRAINED;
}

/* Makes every change since the last commit again, in a transaction of its
 * own, after SQLite has given theirs up. */
static int revive(struct state *s)
{
    int rc = SQLITE_OK;

    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->stale = true;
    s->in_transaction = true; /* there is something to commit */
    rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = redo_replay(&s->redo, s->db, s->statements);
    s->stale = rc != SQLITE_OK;
    return s->stale ? -1 : 0;
}

/* On failure (a full disk, one that fails) nothing is lost: the changes are
 * made again at once, so that they can be read, and the next call tries to
 * make them durable. */
int state_commit(struct state *s, struct err *e)
{
    if (!s->in_transaction)
        return 0;
    if (s->stale && revive(s) != 0)
        return failed(s, "the changes cannot be made again yet", e);
    if (run(s, "COMMIT", "the changes cannot be made durable", e) != 0) {
        revive(s);
        return -1;
    }
    s->in_transaction = false;
    redo_clear(&s->redo);
    return 0;
}

void state_refresh(struct state *s)
{
    if (s->stale)
        revive(s);
}

static sqlite3_stmt *use(struct state *s, enum statement which)
{
    sqlite3_stmt *q = s->statements[which];

    state_refresh(s);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    redo_begin(&s->redo, which);
    return q;
}

static void bind_text(struct state *s, sqlite3_stmt *q, int at, mf_str v)
{
    redo_text(&s->redo, q, at, v);
}

static void bind_int(struct state *s, sqlite3_stmt *q, int at, int64_t v)
{
    redo_int(&s->redo, q, at, v);
}

/* Whether the storage failed, and not the statement. */
static bool storage_failed(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_NOMEM:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return true;
    default:
        return false;
    }
}

/* Runs a writing statement inside the gathering transaction. */
int state_change(struct state *s, sqlite3_stmt *q, struct err *e)
{
    size_t before = s->redo.kept;
    int rc = SQLITE_OK;

    redo_keep(&s->redo, q);
    if (!s->in_transaction)
        rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK && !s->stale) {
        s->in_transaction = true;
        rc = sqlite3_step(q);
        sqlite3_reset(q);
        if (rc == SQLITE_DONE)
            return 0;
    }
    if (!s->stale && !storage_failed(rc)) {
        redo_undo(&s->redo, before);
        return failed(s, "a change was refused", e);
    }
    if (revive(s) == 0)
        return 0;
    return failed(s, "a change is kept and will be made again", e);
}

static mf_str text_at(sqlite3_stmt *q, int column)
{
    const char *p = (const char *)sqlite3_column_text(q, column);

    return (mf_str){ p, (size_t)sqlite3_column_bytes(q, column) };
}

uint32_t state_source(struct state *s, const char *name, struct err *e)
{
    sqlite3_stmt *q = use(s, SOURCE_FIND);
    uint32_t id = 0;

    bind_text(s, q, 1, mf_cstr(name));
    if (sqlite3_step(q) == SQLITE_ROW)
        id = (uint32_t)sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    if (id)
        return id;
    q = use(s, SOURCE_ADD);
    bind_text(s, q, 1, mf_cstr(name));
    if (state_change(s, q, e) != 0)
        return 0;
    return (uint32_t)sqlite3_last_insert_rowid(s->db);
}

static void read_lane(sqlite3_stmt *q, struct state_lane *out)
{
    size_t bytes = (size_t)sqlite3_column_bytes(q, 14);
    struct counters *c = &out->counters;

    out->id = (uint32_t)sqlite3_column_int64(q, 0);
    out->source = (uint32_t)sqlite3_column_int64(q, 1);
    snprintf(out->destination, sizeof out->destination, "%s",
             (const char *)sqlite3_column_text(q, 2));
    snprintf(out->source_name, sizeof out->source_name, "%s",
             (const char *)sqlite3_column_text(q, 3));
    out->next.seq = (uint64_t)sqlite3_column_int64(q, 4);
    out->next.segment = (uint64_t)sqlite3_column_int64(q, 5);
    out->next.offset = (uint64_t)sqlite3_column_int64(q, 6);
    c->accepted = (uint64_t)sqlite3_column_int64(q, 7);
    c->delivered = (uint64_t)sqlite3_column_int64(q, 8);
    c->filtered = (uint64_t)sqlite3_column_int64(q, 9);
    c->dead = (uint64_t)sqlite3_column_int64(q, 10);
    c->attempts = (uint64_t)sqlite3_column_int64(q, 11);
    c->retries = (uint64_t)sqlite3_column_int64(q, 12);
    c->lost = (uint64_t)sqlite3_column_int64(q, 13);
    out->start = (uint64_t)sqlite3_column_int64(q, 15);
    out->pending_count = (uint32_t)(bytes / sizeof *out->pending);
    out->replay = (uint32_t)sqlite3_column_int64(q, 16);
    out->until = (uint64_t)sqlite3_column_int64(q, 17);
    out->mark = (uint64_t)sqlite3_column_int64(q, 18);
    out->pending = NULL;
    if (out->pending_count) {
        out->pending = xcalloc(out->pending_count, sizeof *out->pending);
        memcpy(out->pending, sqlite3_column_blob(q, 14),
               out->pending_count * sizeof *out->pending);
    }
}

static int64_t new_mark(void)
{
    int64_t mark;

    random_bytes(&mark, sizeof mark);
    return mark;
}

int state_lane_open(struct state *s, uint32_t source, const char *destination,
                    uint32_t replay, uint64_t until,
                    struct journal_pos start, struct state_lane *out,
                    bool *made, struct err *e)
{
    *made = false;
    for (;;) {
        sqlite3_stmt *q = use(s, LANE_FIND);
        int rc;

        bind_int(s, q, 1, source);
        bind_text(s, q, 2, mf_cstr(destination));
        bind_int(s, q, 3, replay);
        rc = sqlite3_step(q);
        if (rc == SQLITE_ROW)
            read_lane(q, out);
        sqlite3_reset(q);
        if (rc == SQLITE_ROW)
            return 0;
        if (rc != SQLITE_DONE || *made)
            return failed(s, "a lane cannot be read", e);
        q = use(s, LANE_ADD);
        bind_int(s, q, 1, source);
        bind_text(s, q, 2, mf_cstr(destination));
        bind_int(s, q, 3, (int64_t)start.seq);
        bind_int(s, q, 4, (int64_t)start.segment);
        bind_int(s, q, 5, (int64_t)start.offset);
        bind_int(s, q, 6, replay);
        bind_int(s, q, 7, (int64_t)until);
        bind_int(s, q, 8, new_mark());
        if (state_change(s, q, e) != 0)
            return -1;
        *made = true;
    }
}

int state_lane_put(struct state *s, const struct msg_lane_state *m,
                   const struct journal_pos *pending, struct err *e)
{
    sqlite3_stmt *q = use(s, LANE_PUT);
    const struct counters *c = &m->counters;

    bind_int(s, q, 1, m->lane);
    bind_int(s, q, 2, (int64_t)m->next.seq);
    bind_int(s, q, 3, (int64_t)m->next.segment);
    bind_int(s, q, 4, (int64_t)m->next.offset);
    bind_int(s, q, 5, (int64_t)c->accepted);
    bind_int(s, q, 6, (int64_t)c->delivered);
    bind_int(s, q, 7, (int64_t)c->filtered);
    bind_int(s, q, 8, (int64_t)c->dead);
    bind_int(s, q, 9, (int64_t)c->attempts);
    bind_int(s, q, 10, (int64_t)c->retries);
    bind_int(s, q, 11, (int64_t)c->lost);
    redo_blob(&s->redo, q, 12, pending, m->pending_count * sizeof *pending);
    return state_change(s, q, e);
}

int state_lanes(struct state *s,
                void (*each)(void *arg, const struct state_lane *lane),
                void *arg, struct err *e)
{
    sqlite3_stmt *q = use(s, LANE_ALL);
    int rc;

    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct state_lane lane;

        read_lane(q, &lane);
        each(arg, &lane);
        free(lane.pending);
    }
    sqlite3_reset(q);
    return rc == SQLITE_DONE ? 0 : failed(s, "lanes cannot be read", e);
}

static void bind_key(struct state *s, sqlite3_stmt *q,
                     const struct msg_retry_key *k)
{
    bind_int(s, q, 1, k->lane);
    bind_int(s, q, 2, (int64_t)k->seq);
    bind_int(s, q, 3, k->subscription);
}

int state_retry_put(struct state *s, const struct msg_retry *r, mf_str error,
                    struct err *e)
{
    sqlite3_stmt *q = use(s, RETRY_PUT);

    bind_key(s, q, &r->key);
    bind_int(s, q, 4, (int64_t)r->at.segment);
    bind_int(s, q, 5, (int64_t)r->at.offset);
    bind_int(s, q, 6, r->due_ms);
    bind_int(s, q, 7, r->first_ms);
    bind_int(s, q, 8, r->attempts);
    bind_int(s, q, 9, r->status);
    bind_int(s, q, 10, r->event_dead);
    bind_text(s, q, 11, error);
    for (int k = 0; k < ORDER_KEYS; k++)
        bind_int(s, q, 12 + k, (int64_t)r->order[k]);
    return state_change(s, q, e);
}

int state_attempt_add(struct state *s, const struct msg_retry *r,
                      const struct attempt *a, struct err *e)
{
    sqlite3_stmt *q = use(s, ATTEMPT_ADD);

    bind_key(s, q, &r->key);
    bind_int(s, q, 4, r->attempts);
    bind_int(s, q, 5, a->when_ms);
    bind_int(s, q, 6, r->status);
    bind_text(s, q, 7, a->error);
    bind_text(s, q, 8, a->request);
    bind_text(s, q, 9, a->response);
    if (state_change(s, q, e) != 0)
        return -1;
    if (r->attempts <= ATTEMPTS_KEPT)
        return 0;
    q = use(s, ATTEMPT_TRIM);
    bind_key(s, q, &r->key);
    bind_int(s, q, 4, (int64_t)r->attempts - ATTEMPTS_KEPT);
    return state_change(s, q, e);
}

int state_retry_drop(struct state *s, const struct msg_retry_key *k,
                     struct err *e)
{
    sqlite3_stmt *q = use(s, RETRY_DROP);

    bind_key(s, q, k);
    return state_change(s, q, e);
}

int state_retries(struct state *s, uint32_t lane,
                  void (*each)(void *arg, const struct msg_retry *r,
                               mf_str error, mf_str event),
                  void *arg, struct err *e)
{
    sqlite3_stmt *q = use(s, RETRY_ALL);
    int rc;

    bind_int(s, q, 1, lane);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct msg_retry r = { .key = { lane,
                                        (uint32_t)sqlite3_column_int64(q, 2),
                                        (uint64_t)sqlite3_column_int64(q, 1) } };
        mf_str error = text_at(q, 10), event = text_at(q, 12);

        r.at.seq = r.key.seq;
        r.at.segment = (uint64_t)sqlite3_column_int64(q, 3);
        r.at.offset = (uint64_t)sqlite3_column_int64(q, 4);
        r.due_ms = sqlite3_column_int64(q, 5);
        r.first_ms = sqlite3_column_int64(q, 6);
        r.attempts = (uint32_t)sqlite3_column_int64(q, 7);
        r.status = (int32_t)sqlite3_column_int64(q, 8);
        r.event_dead = (uint32_t)sqlite3_column_int64(q, 9);
        for (int k = 0; k < ORDER_KEYS; k++)
            r.order[k] = (uint64_t)sqlite3_column_int64(q, 13 + k);
        r.error_len = (uint32_t)error.len;
        r.since_ms = sqlite3_column_int64(q, 11);
        each(arg, &r, error, event);
    }
    sqlite3_reset(q);
    return rc == SQLITE_DONE ? 0 : failed(s, "retries cannot be read", e);
}

int state_segment_put(struct state *s, const struct ledger_segment *g,
                      struct err *e)
{
    sqlite3_stmt *q = use(s, SEGMENT_PUT);

    bind_int(s, q, 1, (int64_t)g->n);
    bind_int(s, q, 2, (int64_t)g->bytes);
    bind_int(s, q, 3, (int64_t)g->least);
    bind_int(s, q, 4, (int64_t)g->greatest);
    return state_change(s, q, e);
}

int state_segment_drop(struct state *s, uint64_t n, struct err *e)
{
    sqlite3_stmt *q = use(s, SEGMENT_DROP);

    bind_int(s, q, 1, (int64_t)n);
    if (state_change(s, q, e) != 0)
        return -1;
    q = use(s, BASE_DROP);
    bind_int(s, q, 1, (int64_t)n);
    return state_change(s, q, e);
}

int state_segments(struct state *s,
                   void (*each)(void *arg, const struct ledger_segment *g),
                   void *arg, struct err *e)
{
    sqlite3_stmt *q = use(s, SEGMENT_ALL);
    int rc;

    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct ledger_segment g = { (uint64_t)sqlite3_column_int64(q, 0),
                                     (uint64_t)sqlite3_column_int64(q, 1),
                                     (uint64_t)sqlite3_column_int64(q, 2),
                                     (uint64_t)sqlite3_column_int64(q, 3) };

        each(arg, &g);
    }
    sqlite3_reset(q);
    return rc == SQLITE_DONE ? 0 : failed(s, "segments cannot be read", e);
}

int state_base_put(struct state *s, uint64_t n, uint32_t lane,
                   const struct ledger_sums *sums, struct err *e)
{
    sqlite3_stmt *q = use(s, BASE_PUT);

    bind_int(s, q, 1, (int64_t)n);
    bind_int(s, q, 2, lane);
    bind_int(s, q, 3, (int64_t)sums->delivered);
    bind_int(s, q, 4, (int64_t)sums->filtered);
    bind_int(s, q, 5, (int64_t)sums->dead);
    bind_int(s, q, 6, (int64_t)sums->lost);
    return state_change(s, q, e);
}

static int put_range(struct state *s, const struct dead_range *r,
                     struct err *e)
{
    sqlite3_stmt *q = use(s, RANGE_PUT);

    bind_int(s, q, 1, r->lane);
    bind_int(s, q, 2, (int64_t)r->from);
    bind_int(s, q, 3, (int64_t)r->to);
    bind_int(s, q, 4, (int64_t)r->count);
    bind_int(s, q, 5, r->reason);
    bind_int(s, q, 6, r->when_ms);
    return state_change(s, q, e);
}

static sqlite3_stmt *use_range(struct state *s, enum statement which,
                               const struct dead_range *r)
{
    sqlite3_stmt *q = use(s, which);

    bind_int(s, q, 1, r->lane);
    bind_int(s, q, 2, r->reason);
    return q;
}

/* The two oldest of the lane and reason become one. */
static int join_oldest(struct state *s, const struct dead_range *like,
                       struct err *e)
{
    struct dead_range old[2];
    sqlite3_stmt *q = use_range(s, RANGE_OLDEST, like);
    unsigned n = 0;

    while (n < 2 && sqlite3_step(q) == SQLITE_ROW)
        old[n++] = (struct dead_range){ like->lane, like->reason,
                                        (uint64_t)sqlite3_column_int64(q, 0),
                                        (uint64_t)sqlite3_column_int64(q, 1),
                                        (uint64_t)sqlite3_column_int64(q, 2),
                                        sqlite3_column_int64(q, 3) };
    sqlite3_reset(q);
    if (n < 2)
        return 0;
    q = use_range(s, RANGE_DROP, like);
    bind_int(s, q, 3, (int64_t)old[1].from);
    if (state_change(s, q, e) != 0)
        return -1;
    old[0].to = old[1].to > old[0].to ? old[1].to : old[0].to;
    old[0].count += old[1].count;
    old[0].when_ms = old[1].when_ms;
    return put_range(s, &old[0], e);
}

int state_range_put(struct state *s, const struct dead_range *r,
                    struct err *e)
{
    sqlite3_stmt *q;
    int64_t n = 0;

    if (put_range(s, r, e) != 0)
        return -1;
    q = use_range(s, RANGE_COUNT, r);
    if (sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return n > DEAD_RANGES_MAX ? join_oldest(s, r, e) : 0;
}

int state_ranges(struct state *s, const char *destination, unsigned limit,
                 void (*each)(void *arg, const struct dead_range *r),
                 void *arg, struct err *e)
{
    sqlite3_stmt *q = use(s, RANGE_LIST);
    int rc;

    bind_text(s, q, 1, mf_cstr(destination));
    bind_int(s, q, 2, limit);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct dead_range r = { (uint32_t)sqlite3_column_int64(q, 0),
                                (uint32_t)sqlite3_column_int64(q, 1),
                                (uint64_t)sqlite3_column_int64(q, 2),
                                (uint64_t)sqlite3_column_int64(q, 3),
                                (uint64_t)sqlite3_column_int64(q, 4),
                                sqlite3_column_int64(q, 5) };

        each(arg, &r);
    }
    sqlite3_reset(q);
    return rc == SQLITE_DONE ? 0 : failed(s, "ranges cannot be read", e);
}

int state_retry_mark(struct state *s, uint32_t lane, uint64_t seq, bool dead,
                     struct err *e)
{
    sqlite3_stmt *q = use(s, RETRY_DEAD);

    bind_int(s, q, 1, lane);
    bind_int(s, q, 2, (int64_t)seq);
    bind_int(s, q, 3, dead);
    return state_change(s, q, e);
}

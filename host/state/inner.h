/* SPDX-License-Identifier: Apache-2.0
 *
 * inner.h - what the files of state.db share; not for other layers.
 *
 *   state.c    lanes, retries, tokens, pauses; the transaction
 *   letters.c  dead letters and the jobs on them
 *   refused.c  letters of events that ingest refused
 *   replays.c  replays
 *   query.c    statements that are prepared for one use
 *
 * Statements of letters.c, refused.c and replays.c are prepared for each use: they run
 * for an operator, or for an event that is given up. */
#ifndef STATE_INNER_H
#define STATE_INNER_H

#include "state/redo.h"
#include "state/state.h"

#include <sqlite3.h>

sqlite3 *state_db(struct state *s);
struct redo *state_redo(struct state *s);
/* Before anything is read: it must have what was changed. */
void state_refresh(struct state *s);
/* Runs a writing statement inside the gathering transaction; what it does and
 * all its values have been written down in the redo. */
int state_change(struct state *s, sqlite3_stmt *q, struct err *e);

/* A statement in use. */
struct query {
    struct state *s;
    sqlite3_stmt *q;
};

/* Parameters are bound in order by `kinds`: i int64_t, d double, s const
 * mf_str *. -1 with e told. */
int query_begin(struct query *q, struct state *s, const char *sql,
                struct err *e, const char *kinds, ...);
bool query_next(struct query *q);
/* 0 if it ended well. */
int query_end(struct query *q, struct err *e);
int64_t query_int(const struct query *q, int column);
mf_str query_text(const struct query *q, int column);
/* One that writes, from begin to end. */
int query_run(struct state *s, struct err *e, const char *sql,
              const char *kinds, ...);
/* The one number that it gives, or `otherwise`. */
int64_t query_one(struct state *s, int64_t otherwise, const char *sql,
                  const char *kinds, ...);

/* bytes: of the letter's texts. A lane knows the sums of its letters. */
#define LETTERS_SCHEMA                                                         \
    "CREATE TABLE dead("                                                       \
    " id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL,"        \
    " lane INTEGER NOT NULL, seq INTEGER NOT NULL,"                            \
    " subscription INTEGER NOT NULL, source INTEGER NOT NULL,"                 \
    " segment INTEGER NOT NULL, offset INTEGER NOT NULL,"                      \
    " first INTEGER NOT NULL, at INTEGER NOT NULL,"                            \
    " attempts INTEGER NOT NULL, reason INTEGER NOT NULL,"                     \
    " status INTEGER NOT NULL, bytes INTEGER NOT NULL, error TEXT NOT NULL,"   \
    " action TEXT NOT NULL, message_id TEXT NOT NULL, name TEXT NOT NULL,"     \
    " version TEXT NOT NULL, hash TEXT NOT NULL);"                             \
    "CREATE UNIQUE INDEX dead_by_part ON dead(lane, seq, subscription);"       \
    "CREATE INDEX dead_by_destination ON dead(destination, id);"               \
    "CREATE TABLE dead_text("                                                  \
    " id INTEGER PRIMARY KEY, event TEXT NOT NULL, request TEXT NOT NULL,"     \
    " response TEXT NOT NULL);"                                                \
    "CREATE TRIGGER dead_in AFTER INSERT ON dead BEGIN"                        \
    " UPDATE lane SET letters = letters + 1,"                                  \
    " letter_bytes = letter_bytes + NEW.bytes WHERE id = NEW.lane; END;"       \
    "CREATE TRIGGER dead_out AFTER DELETE ON dead BEGIN"                       \
    " UPDATE lane SET letters = letters - 1,"                                  \
    " letter_bytes = letter_bytes - OLD.bytes WHERE id = OLD.lane;"            \
    " DELETE FROM dead_text WHERE id = OLD.id; END;"                           \
    "CREATE TABLE dead_dropped("                                               \
    " destination TEXT NOT NULL, why INTEGER NOT NULL,"                        \
    " count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"  \
    " PRIMARY KEY(destination, why)) WITHOUT ROWID;"                           \
    "CREATE TABLE dead_job("                                                   \
    " id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL,"        \
    " verb INTEGER NOT NULL, filter TEXT NOT NULL, begun INTEGER NOT NULL,"    \
    " cursor INTEGER NOT NULL, last INTEGER NOT NULL,"                         \
    " count INTEGER NOT NULL, skipped INTEGER NOT NULL,"                       \
    " ended INTEGER NOT NULL);"

/* Of events that ingest refused. bytes: of their texts. */
#define REFUSED_SCHEMA                                                         \
    "CREATE TABLE ingest_dead("                                                \
    " id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL,"          \
    " at INTEGER NOT NULL, code TEXT NOT NULL, message_id TEXT NOT NULL,"      \
    " bytes INTEGER NOT NULL, envelope TEXT NOT NULL, event TEXT NOT NULL);"   \
    "CREATE INDEX ingest_dead_by_source ON ingest_dead(source, id);"           \
    "CREATE TABLE ingest_dead_sum("                                            \
    " source INTEGER PRIMARY KEY, letters INTEGER NOT NULL,"                   \
    " bytes INTEGER NOT NULL, dropped INTEGER NOT NULL);"                      \
    "CREATE TRIGGER ingest_dead_in AFTER INSERT ON ingest_dead BEGIN"          \
    " INSERT INTO ingest_dead_sum VALUES(NEW.source, 1, NEW.bytes, 0)"         \
    " ON CONFLICT DO UPDATE SET letters = letters + 1,"                        \
    " bytes = bytes + excluded.bytes; END;"                                    \
    "CREATE TRIGGER ingest_dead_out AFTER DELETE ON ingest_dead BEGIN"         \
    " UPDATE ingest_dead_sum SET letters = letters - 1,"                       \
    " bytes = bytes - OLD.bytes WHERE source = OLD.source; END;"

#define REPLAYS_SCHEMA                                                         \
    "CREATE TABLE replay("                                                     \
    " id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL,"        \
    " filter TEXT NOT NULL, rate REAL NOT NULL,"                               \
    " from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,"                    \
    " first INTEGER NOT NULL, last INTEGER NOT NULL,"                          \
    " begun INTEGER NOT NULL, ended INTEGER NOT NULL,"                         \
    " stopped INTEGER NOT NULL);"

#endif

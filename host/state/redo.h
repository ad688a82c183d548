/* SPDX-License-Identifier: Apache-2.0
 *
 * redo.h - the changes of a transaction, kept until it is durable.
 *
 * SQLite rolls a transaction back when the disk is full or fails, at its
 * COMMIT or in the middle, and all that was in it is gone: cursors that moved
 * on, retries and dead letters that nobody else remembers. So each change is
 * written down here as well, statement and values, and made again. */
#ifndef STATE_REDO_H
#define STATE_REDO_H

#include "base/buf.h"

#include <manifold/types.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* All of them together; the supervisor takes no more reports of workers long
 * before (STATE_STRAINED). */
#define REDO_BYTES_MAX (256u << 20)

struct redo {
    struct buf log;
    size_t kept;    /* bytes of whole changes */
    unsigned values; /* of the change being written down */
};

void redo_init(struct redo *r);
void redo_deinit(struct redo *r);

/* A change begins; one that was begun and not kept is forgotten. */
void redo_begin(struct redo *r, uint32_t statement);
/* The same for a statement that is prepared for this use alone. */
void redo_begin_sql(struct redo *r, const char *sql);
/* Binds, and writes the value down. */
void redo_int(struct redo *r, sqlite3_stmt *q, int at, int64_t v);
void redo_double(struct redo *r, sqlite3_stmt *q, int at, double v);
void redo_text(struct redo *r, sqlite3_stmt *q, int at, mf_str s);
void redo_blob(struct redo *r, sqlite3_stmt *q, int at, const void *bytes,
               size_t n);
/* The change that was begun is one of those to make again. Every value of q
 * must have been bound here. */
void redo_keep(struct redo *r, sqlite3_stmt *q);
/* The last one kept, of the size it began at, is not: it was refused. */
void redo_undo(struct redo *r, size_t size);
/* They are durable. */
void redo_clear(struct redo *r);

/* Makes all of them again; SQLITE_OK, or what SQLite said to the first that
 * failed. */
int redo_replay(struct redo *r, sqlite3 *db,
                sqlite3_stmt *const *statements);

#endif

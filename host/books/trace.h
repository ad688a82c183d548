/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.h - one event in the books: where it stands in the journal, and what
 * the outcome log and state.db say became of it in a lane. */
#ifndef BOOKS_TRACE_H
#define BOOKS_TRACE_H

#include "books/books.h"
#include "json/json.h"

#define TRACE_FOUND_MAX   16  /* events of one messageId that are told */
#define TRACE_PARTS_MAX   256 /* of an event in a lane */
#define TRACE_LETTERS_MAX 50  /* and ranges, and retries, each */

struct trace_found {
    uint64_t seq, segment; /* segment 0: its bytes are gone */
    uint32_t source;
    int64_t received_ms;
    char source_name[72];
    char *event; /* owned; NULL: its bytes are gone */
    size_t event_len;
};

/* By the id files, newest first; of every source, or of the one named. */
int trace_find(struct books *b, mf_str message_id, mf_str source,
               struct trace_found out[TRACE_FOUND_MAX], size_t *n,
               struct err *e);
void trace_found_free(struct trace_found *list, size_t n);

/* What the outcome log says of one event in all lanes of its source: the log
 * is read once. */
struct trace;
typedef const char *trace_words(unsigned reason);
/* reason: the words of an enum select_reason, which is not known here. */
struct trace *trace_new(struct books *b, uint32_t source, uint64_t seq,
                        trace_words *reason);
void trace_free(struct trace *t);
/* Members of an object that is open: standing, parts, retries, letters. */
int trace_lane(struct trace *t, const struct books_lane *l,
               struct json_out *w, struct err *e);
/* Elements of an array that is open: dead letters with that messageId, of any
 * lane of the source (of any, if ""), for an event that the journal has no
 * more. *n: how many. */
int trace_letters(struct books *b, mf_str message_id, mf_str source,
                  struct json_out *w, size_t *n, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * fql.h - the filter language, compiled once and matched in place.
 *
 * Two dialects. FQL_SUBSCRIPTION is what triggers are written in and means
 * what Segment's own parser makes of it, oddities included, so that a
 * workspace moves over unchanged. FQL_FILTER is the larger documented
 * language of destination filters. A compiled filter is read-only and may be
 * shared; what to do with a filter that does not compile is the caller's. */
#ifndef MAPPING_FQL_H
#define MAPPING_FQL_H

#include "base/err.h"
#include "json/json.h"

enum fql_dialect { FQL_SUBSCRIPTION, FQL_FILTER };

#define FQL_LENGTH_MAX 5120 /* bytes of one filter */
#define FQL_DEPTH_MAX  32   /* parentheses, calls, lists and ! inside another */

struct fql;

/* NULL on a fault, with *e told and *offset at its first byte; either may be
 * NULL. The result is owned by the caller. */
struct fql *fql_compile(mf_str text, enum fql_dialect dialect, struct err *e,
                        size_t *offset);
/* event is an object of checked JSON. A filter whose evaluation fails (a
 * number where a bool is needed, say) does not match. */
bool fql_match(const struct fql *q, mf_val event, struct arena *scratch);
/* The same, telling the third outcome apart. */
enum fql_verdict { FQL_NO, FQL_YES, FQL_FAULT };
enum fql_verdict fql_eval(const struct fql *q, mf_val event,
                          struct arena *scratch);
void fql_free(struct fql *q); /* NULL is fine */

/* When several filters meet one event: its members are found once. */
#define FQL_ROOTS 7
struct fql_view {
    mf_val event;
    mf_val root[FQL_ROOTS]; /* type event name userId properties traits ... */
};
void fql_view_init(struct fql_view *view, mf_val event);
enum fql_verdict fql_eval_view(const struct fql *q,
                               const struct fql_view *view,
                               struct arena *scratch);

/* The conditions of a subscription as JSON: {"type":"group","operator":"and",
 * "children":[...]}, in Segment's names; and the way back. Only for
 * FQL_SUBSCRIPTION. */
void fql_write_tree(const struct fql *q, struct json_out *w);
struct fql *fql_from_tree(mf_val tree, struct err *e);
/* The text that fql_compile() would read the same from. */
void fql_write_text(const struct fql *q, struct buf *b);

#endif

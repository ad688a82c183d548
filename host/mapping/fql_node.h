/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_node.h - what the two dialects of fql.h share inside this layer: the
 * compiled form of a subscription, path lookup, and string tests in place. */
#ifndef MAPPING_FQL_NODE_H
#define MAPPING_FQL_NODE_H

#include "mapping/fql.h"

enum fql_root {
    ROOT_TYPE, ROOT_EVENT, ROOT_NAME, ROOT_USER_ID,
    ROOT_PROPERTIES, ROOT_TRAITS, ROOT_CONTEXT,
    ROOT_NONE
};

enum fql_op {
    OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE,
    OP_CONTAINS, OP_NOT_CONTAINS, OP_STARTS, OP_NOT_STARTS,
    OP_ENDS, OP_NOT_ENDS, OP_EXISTS, OP_NOT_EXISTS,
    OP_IS_TRUE, OP_IS_FALSE, OP_NUMBER_EQ, OP_NUMBER_NE,
    OP_UNKNOWN /* any other token in an operator's place: never true */
};

enum fql_kind { NODE_AND, NODE_OR, NODE_CONDITION, NODE_FAULT };

/* Nodes stand in preorder; those of a group reach up to `end`. */
struct fql_node {
    enum fql_kind kind;
    enum fql_root root;
    enum fql_op op;
    uint32_t end;
    uint32_t path, path_len; /* segments, in fql.segments */
    mf_str name;             /* the path as written, dots and all */
    mf_str op_text;          /* of OP_UNKNOWN */
    uint32_t value_type;     /* MF_STRING, MF_NUMBER, MF_BOOL or MF_ABSENT */
    mf_str text;             /* String(value) */
    double number;           /* Number(value) */
};

struct fql_filter; /* fql_filter.c */

struct fql {
    enum fql_dialect dialect;
    struct fql_node *nodes;
    uint32_t node_count, node_room;
    mf_str *segments;
    uint32_t segment_count, segment_room;
    char *strings; /* everything the above points to */
    size_t strings_len, strings_room;
    struct fql_filter *filter; /* of FQL_FILTER, in place of the nodes */
};

extern const char *const fql_op_names[OP_UNKNOWN]; /* "=", "contains", ... */
extern const char *const fql_type_names[ROOT_NONE]; /* "event-type", ... */
extern const char *const fql_root_names[ROOT_NONE]; /* "type", ... */

enum fql_root fql_root_named(mf_str name);
bool fql_root_has_path(enum fql_root root);

/* ---- building (fql.c) ---- */

/* strings_room must be enough for all that will be put in. */
struct fql *fql_new(enum fql_dialect dialect, size_t strings_room);
mf_str fql_put(struct fql *q, mf_str text);
/* Cuts the node's name at [ . ] into segments. */
void fql_cut_path(struct fql *q, struct fql_node *n);
struct fql_node *fql_add(struct fql *q, enum fql_kind kind);
/* A group of one child gives way to the child; in any case sets `end`. */
void fql_close_group(struct fql *q, uint32_t at);

/* ---- evaluating (fql.c) ---- */

/* One step of a path as JavaScript's value[key]. */
mf_val fql_step(mf_val v, mf_str key, struct arena *scratch);
/* The path from a root; stops at the first falsy value and gives it. */
mf_val fql_walk(mf_val v, const mf_str *segments, uint32_t count,
                struct arena *scratch);
/* A string value's text, without copying where it has no escapes. */
mf_str fql_text(mf_val v, struct arena *scratch);

/* ---- the dialects ---- */

struct fql *fql_subscription(mf_str text, struct err *e, size_t *offset);
struct fql_filter *fql_filter_compile(mf_str text, struct err *e,
                                      size_t *offset);
enum fql_verdict fql_filter_eval(const struct fql_filter *f,
                                 const struct fql_view *view,
                                 struct arena *scratch);
void fql_filter_free(struct fql_filter *f);

#endif

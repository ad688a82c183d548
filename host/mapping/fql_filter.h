/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_filter.h - the compiled form of a destination filter: made by
 * fql_filter.c, run by fql_filter_eval.c. */
#ifndef MAPPING_FQL_FILTER_H
#define MAPPING_FQL_FILTER_H

#include "mapping/fql_node.h"

enum filter_kind {
    FILTER_ALL,
    FILTER_OR, FILTER_AND, FILTER_NOT,         /* children: any, any, one */
    FILTER_COMPARE,                            /* two */
    FILTER_NULL, FILTER_TRUE, FILTER_FALSE, FILTER_NUMBER, FILTER_STRING,
    FILTER_LIST, FILTER_CALL,                  /* any, the arguments */
    FILTER_PATH
};

enum filter_op {
    FILTER_EQ, FILTER_NE, FILTER_LE, FILTER_GE, FILTER_LT, FILTER_GT, FILTER_IN
};

enum filter_function {
    F_CONTAINS, F_LENGTH, F_LOWERCASE, F_UPPERCASE, F_SNAKECASE, F_KEBABCASE,
    F_TITLECASE, F_TYPEOF, F_MATCH, F_BOOL, F_STRING, F_NUMBER,
    F_COUNT
};

struct filter_node {
    enum filter_kind kind;
    enum filter_op op;
    enum filter_function function;
    uint32_t first, next;    /* child, sibling: 0 for none */
    uint32_t children;
    uint32_t path, path_len; /* segments after the first */
    enum fql_root root;      /* of a path, or ROOT_NONE: s names it */
    double number;
    mf_str s;
    char *json;              /* a list of nothing but literals, or NULL */
};

struct fql_filter {
    struct filter_node *nodes; /* node 0 is no child of any */
    uint32_t count, room, root;
    mf_str *segments;
    uint32_t segment_count, segment_room;
    char *strings; /* everything the above points to */
    size_t strings_len;
};

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * compile.h - what compile.c and refs.c share while a schema is compiled. */
#ifndef SCHEMA_COMPILE_H
#define SCHEMA_COMPILE_H

#include "schema/node.h"

struct named { /* a schema that an $id names */
    mf_str uri;
    mf_val schema;
};

struct pending { /* a $ref that is not followed yet */
    struct draft7_node *node;
    mf_val ref;
    mf_str base;
};

struct compiler {
    struct draft7 *s;
    struct arena *a;
    draft7_tell *tell;
    void *arg;
    mf_val root;
    mf_str root_uri;
    struct draft7_node *first, **end; /* all of them */
    struct draft7_node **memo; /* by the text they stand at */
    uint32_t memo_size, node_count;
    struct named *named;
    struct pending *pending;
    size_t named_count, named_room, pending_count, pending_room;
    unsigned faults;
};

/* Tells what is wrong at a byte of the text. */
void compile_fault(struct compiler *c, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The node of a place; base: what references in it count from. */
struct draft7_node *compile_node(struct compiler *c, mf_val schema,
                                 mf_str base);

/* ---- refs.c ---- */
/* All that are pending, also those that come up meanwhile. */
void refs_follow(struct compiler *c);
/* Tells of schemas that would never end. */
void refs_find_loops(struct compiler *c);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * node.h - the compiled form of a schema. What a schema says of numbers,
 * strings, arrays and objects stands apart, so that one that says little is
 * small. All of it stands in the arena of the compiler. */
#ifndef SCHEMA_NODE_H
#define SCHEMA_NODE_H

#include "schema/draft7.h"
#include "schema/formats.h"
#include "schema/number.h"
#include "schema/regex.h"

enum {
    T_NULL = 1, T_BOOLEAN = 2, T_NUMBER = 4, T_INTEGER = 8, T_STRING = 16,
    T_ARRAY = 32, T_OBJECT = 64
};

#define NO_LIMIT UINT64_MAX

struct nodes {
    const struct draft7_node **list;
    uint32_t count;
};

struct number_rules {
    bool has_minimum, has_maximum, has_above, has_below, has_multiple;
    struct number minimum, maximum, above, below, multiple;
    mf_str words[5]; /* as they were written, in that order */
};

struct string_rules {
    uint64_t shortest, longest; /* characters */
    const struct regex *pattern;
    mf_str pattern_text;
    const struct string_format *format;
};

struct array_rules {
    const struct draft7_node *items;  /* all of them; NULL: see below */
    struct nodes first;               /* each by its place */
    const struct draft7_node *others; /* past those; NULL: anything */
    const struct draft7_node *contains;
    uint64_t fewest, most;
    bool unique;
};

struct property {
    mf_str key;
    const struct draft7_node *node; /* NULL: only required */
    uint32_t required;              /* number + 1 among those; 0: it is not */
};

struct pattern_property {
    const struct regex *regex;
    const struct draft7_node *node;
};

struct dependency {
    mf_str key;
    const struct draft7_node *node; /* NULL: these keys */
    mf_str *keys;
    uint32_t key_count;
};

struct object_rules {
    struct property *properties;
    uint32_t *slots; /* number + 1 by hash of the key, open addressing */
    uint32_t count, mask, required;
    struct pattern_property *patterns;
    uint32_t pattern_count;
    const struct draft7_node *additional, *names; /* NULL: anything */
    uint64_t fewest, most;
    struct dependency *dependencies;
    uint32_t dependency_count;
};

struct combined {
    struct nodes all, any, one;
    const struct draft7_node *none;
    const struct draft7_node *condition, *then, *otherwise;
};

struct draft7_node {
    const char *at;
    unsigned types; /* 0: any */
    bool never;     /* the schema `false` */
    bool constant;  /* choices is one, by const */
    unsigned char mark; /* of the search for loops */
    unsigned char height; /* of schemas applied to the same value */
    struct draft7_node *next; /* in the order they were met */
    const struct draft7_node *ref; /* then nothing else counts */
    mf_val *choices;
    uint32_t choice_count;
    struct number_rules *number;
    struct string_rules *string;
    struct array_rules *array;
    struct object_rules *object;
    struct combined *combined;
};

struct regex_held {
    struct regex *regex;
    struct regex_held *next;
};

struct draft7 {
    const struct draft7_node *root;
    struct regex_held *regexes;
    size_t regex_bytes;
};

uint32_t node_hash(mf_str key);
/* NULL: it is not among them. */
const struct property *object_property(const struct object_rules *o,
                                       mf_str key);

#endif

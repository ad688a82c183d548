/* SPDX-License-Identifier: Apache-2.0
 *
 * schema_node.h - the compiled form of schema.h: what a value must be, the
 * members of an object, and which members others make necessary. */
#ifndef MAPPING_SCHEMA_NODE_H
#define MAPPING_SCHEMA_NODE_H

#include "mapping/format.h"
#include "mapping/schema.h"

#include <regex.h>

/* In the order in which coercion tries them. */
enum {
    TYPE_STRING = 1, TYPE_NUMBER = 2, TYPE_INTEGER = 4, TYPE_BOOLEAN = 8,
    TYPE_OBJECT = 16, TYPE_ARRAY = 32, TYPE_NULL = 64
};

struct schema_object;

/* An expression that a whole string must match. */
struct schema_pattern {
    regex_t compiled;
    mf_str text; /* as it was written */
    struct schema_pattern *next; /* of the same schema, to be freed */
};

struct schema_rule {
    unsigned types;
    const struct format *format; /* of strings, or NULL */
    const struct schema_pattern *pattern; /* of strings, or NULL */
    bool has_minimum, has_maximum;
    double minimum, maximum;     /* of numbers; of strings, their length */
    mf_val *choices;
    uint32_t choice_count;
    const struct schema_object *object; /* its members, or NULL: anything */
};

struct schema_field {
    mf_str key;
    mf_str label; /* "" if there is none */
    struct schema_rule rule;
    struct schema_rule items; /* when rule.types is TYPE_ARRAY */
    bool required;
};

struct schema_object {
    struct schema_field *fields;
    uint32_t count;
    bool open;       /* unknown members stay */
    uint32_t *slots; /* field numbers + 1 by hash of the key */
    uint32_t mask;
};

struct schema_condition {
    mf_str *path; /* one or two keys from the root */
    uint32_t path_len;
    bool negated;
    bool strict; /* one of several: only absence counts, not null */
    mf_val value; /* MF_ABSENT: about being there at all */
};

/* Field `field` of the root (and `inner` of its object) is required if ... */
struct schema_demand {
    mf_str field, inner; /* inner "" if there is none */
    bool any;
    struct schema_condition *conditions;
    uint32_t count;
};

struct schema {
    struct schema_pattern *patterns;
    struct arena arena; /* everything below stands in it */
    struct schema_object root;
    struct schema_demand *demands;
    uint32_t demand_count;
};

uint32_t schema_hash(mf_str key);

#endif

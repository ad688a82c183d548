/* SPDX-License-Identifier: Apache-2.0
 *
 * draft7.h - JSON Schema, draft-07: compiled once, applied to JSON in place.
 *
 * All of the validation vocabulary, with `format` asserted for the formats of
 * formats.h and patterns as ECMA-262 has them. $ref reaches what the same
 * document holds, by pointer or by $id; nothing is ever fetched. What is not
 * known is passed over, as the standard wants it.
 *
 * A compiled schema never changes, and any number of threads may use it, each
 * with a scratch of its own. However schema and value are made, applying one
 * to the other ends after DRAFT7_STEPS_MAX steps; then the report says so. Of
 * two equal keys in an object both must be valid. */
#ifndef SCHEMA_DRAFT7_H
#define SCHEMA_DRAFT7_H

#include "base/mem.h"
#include "json/json.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define DRAFT7_NODES_MAX  20000  /* schemas in one document */
#define DRAFT7_REGEX_BYTES_MAX (16u << 20) /* of its patterns, compiled */
#define DRAFT7_NEST_MAX   64     /* of schemas applied to the same value */
#define DRAFT7_DEPTH_MAX  512    /* of schemas applied inside another */
#define DRAFT7_STEPS_MAX  200000 /* of one application */
#define DRAFT7_ERRORS_MAX 16     /* told of one value; the rest are counted */

struct draft7;

/* at: the byte of the schema's text that is wrong. */
typedef void draft7_tell(void *arg, const char *at, const char *text);

/* schema is checked JSON that must stay for as long as the result is used;
 * so must the arena. NULL when something was told. */
struct draft7 *draft7_compile(mf_val schema, struct arena *a,
                              draft7_tell *tell, void *arg);
/* Frees what is not in the arena; NULL is fine. */
void draft7_free(struct draft7 *s);
size_t draft7_regex_bytes(const struct draft7 *s); /* beside the arena */

/* One thread's room to work in. */
struct draft7_scratch;
struct draft7_scratch *draft7_scratch_new(void);
void draft7_scratch_free(struct draft7_scratch *k);
/* Forgets what reports point to; before each new value. */
void draft7_scratch_reset(struct draft7_scratch *k);
struct arena *draft7_scratch_arena(struct draft7_scratch *k);

struct draft7_step { /* of the way to a value */
    mf_str key;      /* ptr NULL: an element of an array */
    size_t index;
};

struct draft7_error {
    const char *type; /* "Required", a literal */
    mf_str field;     /* "properties.products[0].price", or "(root)" */
    mf_str text;      /* what is wrong, field and all */
    const struct draft7_step *path; /* of the field, from the root */
    unsigned path_len;
};

struct draft7_report { /* points into the scratch and the value */
    struct draft7_error errors[DRAFT7_ERRORS_MAX];
    unsigned count;
    unsigned left_off; /* beyond */
    bool gave_up;      /* it took more than DRAFT7_STEPS_MAX steps */
    bool only_there;   /* set before: what is missing is no error to tell */
};

/* Adds to the report, which the caller has cleared. True: the value is valid.
 * A schema that gave up is an error of type "Limit". */
bool draft7_validate(const struct draft7 *s, mf_val value,
                     struct draft7_scratch *k, struct draft7_report *r);

/* What says of one member of the root, by `properties`; NULL: nothing. */
struct draft7_node;
const struct draft7_node *draft7_member(const struct draft7 *s, mf_str key);
/* Whether that names a member of the object it is for: by `properties` or
 * `patternProperties`, its own or those of an allOf or $ref in it. */
bool draft7_names(const struct draft7_node *n, mf_str key,
                  struct draft7_scratch *k);

#endif

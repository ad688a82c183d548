/* SPDX-License-Identifier: Apache-2.0
 *
 * schema.h - the fields of an action, or settings, compiled to a checker.
 *
 * A payload is cleaned of empty values, coerced, stripped of unknown members
 * and checked, with the outcome and the words of the original: its schema
 * validator runs with coerceTypes "array", allErrors and removeAdditional. */
#ifndef MAPPING_SCHEMA_H
#define MAPPING_SCHEMA_H

#include "base/err.h"
#include "json/json.h"

#define SCHEMA_FIELDS_MAX 1000 /* in one object */
#define SCHEMA_DEPTH_MAX  8    /* properties inside properties */
#define SCHEMA_ERRORS_MAX 16   /* told of one payload */

struct schema;

/* fields is the manifest's array of objects: key, label, type, required,
 * required_if {match, conditions [{fieldKey, operator, value}]}, multiple,
 * choices, format, min, max, allow_null, additional_properties, properties;
 * members it does not know are others'. Owned by the caller; it borrows
 * nothing from fields. NULL with *e told. */
struct schema *schema_compile(mf_val fields, struct err *e);
void schema_free(struct schema *s); /* NULL is fine */

/* The payload as it reaches the action, in the arena, or MF_ABSENT with *e
 * holding the text of every fault, in the words of the original.
 * batch: "" at the root is kept, as the batch path of the original does; it
 * is the way to check settings too. */
mf_val schema_apply(const struct schema *s, mf_val payload, bool batch,
                    struct arena *a, struct err *e);

#endif

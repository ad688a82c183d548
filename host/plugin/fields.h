/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.h - the fields of an action and the settings, as a manifest writes
 * them, checked and turned into what schema.h compiles.
 *
 * A manifest uses the catalogue's names (min, allow_null, required_if); the
 * schema takes those of the original's code (minimum, allowNull, an object as
 * `required`). The translation stands here and nowhere else. */
#ifndef PLUGIN_FIELDS_H
#define PLUGIN_FIELDS_H

#include "mapping/schema.h"
#include "plugin/reader.h"

#define FIELDS_MAX 1000 /* in one object */

enum fields_use { FIELDS_ACTION, FIELDS_SETTINGS };

/* array may be absent: no fields. 0 with *schema owned by the caller, or -1
 * with the reader's fault told. */
int fields_compile(struct reader *r, mf_val array, enum fields_use use,
                   struct schema **schema);
/* { key: default } of those that have one, in the arena; extra is added when
 * it is not absent, under extra_key. */
mf_val fields_defaults(struct arena *a, mf_val array, const char *extra_key,
                       mf_val extra);
/* The field of that key, or MF_ABSENT. */
mf_val fields_find(mf_val array, mf_str key);
/* Keys in order, ends in NULL; in the arena. type NULL: of any type. */
const char *const *fields_keys(struct arena *a, mf_val array,
                               const char *type);
/* The array as schema.h wants it, in the arena: for a checker of one field. */
mf_val fields_translate(struct arena *a, mf_val array, bool required);

#endif

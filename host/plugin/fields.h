/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.h - the fields of an action and the settings, as a manifest writes
 * them: every member checked with its place before schema.h, which knows no
 * places, compiles them. */
#ifndef PLUGIN_FIELDS_H
#define PLUGIN_FIELDS_H

#include "mapping/schema.h"
#include "plugin/reader.h"

#define FIELDS_MAX 1000 /* in one object */

enum fields_use { FIELDS_ACTION, FIELDS_SETTINGS };

/* Checks the manifest's `fields`, an object of fields that actions refer to by
 * name; absent is fine. */
int fields_check_shared(struct reader *r, mf_val shared);
/* array may be absent: no fields. An element that is a string stands for the
 * field of that name in shared. *whole is the array with those written out, in
 * the arena (or array itself), for the functions below. 0 with *schema owned
 * by the caller, or -1 with the reader's fault told. */
int fields_compile(struct reader *r, mf_val array, mf_val shared,
                   enum fields_use use, mf_val *whole,
                   struct schema **schema);
/* { key: default } of those that have one, in the arena; extra is added when
 * it is not absent, under extra_key. */
mf_val fields_defaults(struct arena *a, mf_val array, const char *extra_key,
                       mf_val extra);
/* The defaults, with the members of mapping in their place or besides. */
mf_val fields_over(struct arena *a, mf_val defaults, mf_val mapping);
/* The field of that key, or MF_ABSENT. */
mf_val fields_find(mf_val array, mf_str key);
/* Keys in order, ends in NULL; in the arena. type NULL: of any type. */
const char *const *fields_keys(struct arena *a, mf_val array,
                               const char *type);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * mapping.h - Segment's mapping directives: from an event to a payload.
 *
 * A mapping is JSON in which objects with one @key are directives. It is
 * compiled once; evaluating it reads the event in one pass and writes the
 * payload as JSON text into the caller's arena. A compiled mapping is const:
 * any number of evaluations may run on it at a time.
 *
 * What an action does with the payload afterwards (dropping empty values,
 * making arrays of `multiple` fields, validation) is schema.h's. */
#ifndef MAPPING_MAPPING_H
#define MAPPING_MAPPING_H

#include "base/err.h"
#include "base/mem.h"
#include "json/json.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>

#define MAPPING_NODES_MAX 20000 /* in one compiled mapping */
#define MAPPING_FAULT_TEXT 256
#define LIQUID_TEMPLATE_MAX 1000 /* UTF-16 units, as the original counts */
#define LIQUID_STEPS_MAX 20000   /* nodes, filters and loop turns */
#define LIQUID_OUTPUT_MAX 262144 /* bytes, captures included */

struct mapping;

/* json is checked JSON and need not outlive the call. NULL and the first
 * fault in *e, worded as the original words it. Owned by the caller. */
struct mapping *mapping_compile(mf_val json, struct err *e);
void mapping_free(struct mapping *m); /* NULL is fine */

/* All static faults at once. at points into json, to the value at fault, so
 * that its place in a file can be told. Returns how many there were. */
typedef void mapping_fault_fn(void *context, const char *at, const char *text);
unsigned mapping_check(mf_val json, mapping_fault_fn *tell, void *context);
/* What the original accepts and then refuses with every event: a @liquid that
 * cannot be read, directives that are wrong inside arrays and @literal. For
 * a mapping in which mapping_check() found nothing. */
unsigned mapping_lint(mf_val json, mapping_fault_fn *tell, void *context);

/* The payload, in the arena or pointing into event. MF_ABSENT and e->text
 * empty: the mapping is one directive that gave undefined. MF_ABSENT and
 * e->text filled: a directive refused what it met, or the payload would not
 * fit into the arena's soft limit (never passed from here). */
mf_val mapping_eval(const struct mapping *m, mf_val event, struct arena *a,
                    struct err *e);

/* The same over a root that is never written down: an object with these
 * members, such as payload, settings and event of a declared request. */
struct mapping_part {
    mf_str name;
    mf_val value;
};
#define MAPPING_PARTS_MAX 8
mf_val mapping_eval_parts(const struct mapping *m,
                          const struct mapping_part *parts, unsigned count,
                          struct arena *a, struct err *e);

/* What stands in the mapping under __segment_internal_sync_mode and
 * __segment_internal_matching_key (they stay members of the payload too, as
 * in the original). "" when it is not there or no string. */
mf_str mapping_sync_mode(const struct mapping *m);
mf_str mapping_matching_key(const struct mapping *m);

/* Every @path, @template, @arrayPath and @liquid key of a mapping in the order
 * they stand ("$." kept), for field choices and required-field checks. */
typedef void mapping_key_fn(void *context, mf_str key);
void mapping_keys(mf_val json, mapping_key_fn *tell, void *context);

/* get() of the original on any value, for paths known only at run time.
 * "" and "." give the value itself; the walk stops at the first falsy value
 * and gives that. path_get_dollar() first drops one "$." as @path does. */
mf_val path_get(mf_val root, mf_str path, struct arena *a);
mf_val path_get_dollar(mf_val root, mf_str path, struct arena *a);

/* render() of the original: {{{x}}} and {{x}}. Returns text, not JSON. */
mf_str template_render(mf_str text, mf_val root, struct arena *a);
/* flattenObject(): value must be an object or array. */
mf_val flatten(mf_val value, mf_str prefix, mf_str separator, bool omit_arrays,
               struct arena *a);
/* A liquid template over root, or -1 and *e. *out is in the arena. */
int liquid_render(mf_str text, mf_val root, struct arena *a, mf_str *out,
                  struct err *e);

/* JavaScript's String(v): text of a string, "1,2" of [1,2],
 * "[object Object]", "null", "undefined". */
mf_str js_string(mf_val v, struct arena *a);
/* JSON.stringify(v): no white space, escapes and numbers as JavaScript writes
 * them, the last of equal keys. Integers keep all their digits. */
mf_val js_stringify(mf_val v, struct arena *a);
/* !v: undefined, null, false, 0, "" */
bool js_falsy(mf_val v);

#endif

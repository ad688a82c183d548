/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.h - a tracking plan: which events there are, and what is in them.
 *
 * A plan is a file as Segment's Public API answers it, {"rules": [{"key",
 * "type", "version", "jsonSchema"}]} alone or under "data", or as its Config
 * API did, {"rules": {"global", "events": [{"name", "version", "rules"}],
 * "identify", "group"}}; comments are allowed. Each schema is applied to the
 * whole event.
 *
 * A compiled plan never changes: any number of threads may read it. */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "base/faults.h"
#include "schema/draft7.h"

#include <stdint.h>

#define PLAN_BYTES_MAX  (16u << 20)  /* of a file */
#define PLAN_RULES_MAX  10000
#define PLAN_MEMORY_MAX (128u << 20) /* of what it is compiled to */
#define PLAN_NAME_MAX   256          /* bytes kept of its name and its id */

enum plan_kind {
    PLAN_TRACK,
    PLAN_IDENTIFY,
    PLAN_GROUP,
    PLAN_PAGE,
    PLAN_SCREEN,
    PLAN_COMMON,
    PLAN_KINDS
};

struct plan_rule {
    enum plan_kind kind;
    mf_str key; /* of a track event, page or screen; "" for the rest */
    int64_t version;
    mf_val text;
    struct draft7 *schema;
    const struct draft7_node *members; /* of its properties or traits */
};

struct plan;

/* text is copied; path is what faults name. NULL when f has new errors. The
 * result is held once. */
struct plan *plan_compile(mf_str text, const char *path, struct faults *f);
/* The file, compiled. at: where a fault of reading it is told. */
struct plan *plan_read(const char *path, struct place at, struct faults *f);
/* Every plan that a configuration names, and controls without one. */
struct config;
void plan_check_all(const struct config *c, struct faults *f);
struct plan *plan_hold(struct plan *p);
void plan_release(struct plan *p); /* NULL is fine */

mf_str plan_name(const struct plan *p); /* "" if it has none */
mf_str plan_id(const struct plan *p);
size_t plan_rules(const struct plan *p);
/* The rule of that version, of the oldest if there is none; NULL: none. */
const struct plan_rule *plan_find(const struct plan *p, enum plan_kind kind,
                                  mf_str key, int64_t version);

#endif

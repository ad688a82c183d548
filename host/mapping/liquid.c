/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid.c - @liquid. */
#include "mapping/kit.h"

struct liquid {
    mf_str text;
};

struct liquid *liquid_parse(mf_str text, struct arena *a, struct err *e)
{
    struct liquid *l = arena_alloc(a, sizeof *l);

    (void)e;
    l->text = text;
    return l;
}

int liquid_run(const struct liquid *l, mf_val root, struct arena *a,
               mf_str *out, struct err *e)
{
    (void)root;
    (void)a;
    (void)e;
    *out = l->text;
    return 0;
}

void liquid_keys(mf_str text, mapping_key_fn *tell, void *context)
{
    (void)text;
    (void)tell;
    (void)context;
}

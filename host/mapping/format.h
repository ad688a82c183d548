/* SPDX-License-Identifier: Apache-2.0
 *
 * format.h - what strings of a named format must look like, as the validator
 * of the original judges them (ajv-formats, "full" mode). */
#ifndef MAPPING_FORMAT_H
#define MAPPING_FORMAT_H

#include <manifold/types.h>
#include <stdbool.h>

struct format {
    const char *name;
    const char *label;      /* in "must be a valid ... string" */
    bool (*holds)(mf_str s); /* NULL: every string does */
};

/* NULL for a name that is not known. */
const struct format *format_named(mf_str name);

#endif

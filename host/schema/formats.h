/* SPDX-License-Identifier: Apache-2.0
 *
 * formats.h - what strings of a named format must look like, as draft-07 and
 * the RFCs it names have it. mapping/format.h has those of another validator,
 * which lets more pass as a date or an address; where both agree, its checks
 * are used. */
#ifndef SCHEMA_FORMATS_H
#define SCHEMA_FORMATS_H

#include <manifold/types.h>
#include <stdbool.h>

struct string_format {
    const char *name;
    bool (*holds)(mf_str s); /* NULL: `other` is asked by name */
    const char *other;       /* in mapping/format.h */
};

/* NULL for a name that is not known: it says nothing then. */
const struct string_format *string_format_named(mf_str name);
bool string_format_holds(const struct string_format *f, mf_str s);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.h - references between parts of one document: RFC 3986, section 5, as
 * far as finding out whether two of them name the same needs it. */
#ifndef SCHEMA_URI_H
#define SCHEMA_URI_H

#include "base/mem.h"

/* The reference as it is meant where `base` holds, in the arena. */
mf_str uri_resolve(mf_str base, mf_str reference, struct arena *a);
/* What stands before the # and what behind it; *fragment has ptr NULL when
 * there is no #. */
mf_str uri_split(mf_str uri, mf_str *fragment);

#endif

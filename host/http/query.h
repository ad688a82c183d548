/* SPDX-License-Identifier: Apache-2.0
 *
 * query.h - the query of a URL, one parameter after the other. */
#ifndef HTTP_QUERY_H
#define HTTP_QUERY_H

#include "base/mem.h"

#include <manifold/types.h>
#include <stdbool.h>

/* Takes the next parameter off *query; name and value as they stand, not
 * decoded. One without '=' has the value "", one without a name is passed
 * over. False at the end. */
bool http_query_next(mf_str *query, mf_str *name, mf_str *value);
/* The decoded value of the first parameter of that name, in the arena; ptr is
 * NULL when there is none, or when it is not percent-encoded. */
mf_str http_query_value(mf_str query, mf_str name, struct arena *a);
/* Decoded, plus signs as the spaces of forms; in the arena. */
bool http_query_decode(mf_str text, struct arena *a, mf_str *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * params.h - the query and the body of a request, as members of a question to
 * the supervisor. */
#ifndef ADMIN_PARAMS_H
#define ADMIN_PARAMS_H

#include "json/json.h"

#define PARAMS_MAX 32 /* of a query */

/* "params": {...}, all strings, from an undecoded query; a name without a
 * value is "". NULL, or what is wrong with the query. */
const char *params_write(struct json_out *w, mf_str query);
/* "body": the object that it holds, {} where it is empty. NULL, or what is
 * wrong with it. */
const char *params_write_body(struct json_out *w, mf_str body);

#endif

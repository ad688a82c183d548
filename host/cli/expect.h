/* SPDX-License-Identifier: Apache-2.0
 *
 * expect.h - what a case expects held against what came out.
 *
 * `requests` are all of them in order, none where the member is missing:
 * method, URL (the query's order aside), the headers that are listed (null:
 * must not be there), and the body as json, form, body or body_base64 (none
 * of them, or "": no body). `error` and `results` compare the members listed;
 * a message must be contained. Where `results` are listed, `error` may be left
 * out. What is not listed otherwise must not be there. */
#ifndef CLI_EXPECT_H
#define CLI_EXPECT_H

#include "json/json.h"

#define DIFF_PATH_MAX 256
#define DIFF_TEXT_MAX 512

struct diff {
    char path[DIFF_PATH_MAX];                 /* "requests[0].json.a" */
    char want[DIFF_TEXT_MAX], got[DIFF_TEXT_MAX]; /* shortened */
    char why[DIFF_TEXT_MAX];                  /* instead of want and got */
};

/* True when they agree. Both are objects of checked JSON. */
bool expect_holds(mf_val expect, mf_val out, struct arena *a, struct diff *d);
/* Members of a case that are not known, such as misspelled ones: the first,
 * or "". */
mf_str expect_unknown(mf_val object, const char *const *known,
                      struct arena *a);

#endif

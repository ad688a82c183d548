/* SPDX-License-Identifier: Apache-2.0
 *
 * params.c - see params.h. */
#include "admin/params.h"

#include "base/text.h"

#include <string.h>

#define PARAM_BYTES_MAX 16384

/* Up to the next `sep`, which is passed; all that is left where there is none.
 */
static mf_str cut(mf_str *s, char sep)
{
    const char *at = s->len ? memchr(s->ptr, sep, s->len) : NULL;
    mf_str one = { s->ptr, at ? (size_t)(at - s->ptr) : s->len };

    s->ptr += one.len + (at != NULL);
    s->len -= one.len + (at != NULL);
    return one;
}

static bool decode(struct buf *b, mf_str s)
{
    buf_clear(b);
    return percent_decode(b, s, true) && !b->full;
}

const char *params_write(struct json_out *w, mf_str query)
{
    const char *fault = NULL;
    unsigned n = 0;
    struct buf b;

    buf_init(&b, PARAM_BYTES_MAX);
    json_key(w, MF_STR("params"));
    json_begin_object(w);
    while (query.len && !fault) {
        mf_str value = cut(&query, '&'), key = cut(&value, '=');

        if (key.len == 0)
            continue;
        if (++n > PARAMS_MAX) {
            fault = "the query has too many parameters";
        } else if (!decode(&b, key)) {
            fault = "the query is not percent-encoded";
        } else {
            json_key(w, buf_view(&b));
            if (!decode(&b, value))
                fault = "the query is not percent-encoded";
            json_str(w, buf_view(&b));
        }
    }
    json_end_object(w);
    buf_deinit(&b);
    return fault;
}

const char *params_write_body(struct json_out *w, mf_str body)
{
    body = str_trim(body);
    json_key(w, MF_STR("body"));
    if (body.len == 0) {
        json_begin_object(w);
        json_end_object(w);
        return NULL;
    }
    if (json_check(body, JSON_DEPTH_MAX, NULL) != 0 ||
        json_root(body).type != MF_OBJECT) {
        json_null(w);
        return "the body is not a JSON object";
    }
    json_val(w, json_root(body));
    return NULL;
}

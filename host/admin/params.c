/* SPDX-License-Identifier: Apache-2.0
 *
 * params.c - see params.h. */
#include "admin/params.h"

#include "base/text.h"
#include "http/query.h"

#define PARAM_BYTES_MAX 16384

static bool decode(struct buf *b, mf_str s)
{
    buf_clear(b);
    return percent_decode(b, s, true) && !b->full;
}

const char *params_write(struct json_out *w, mf_str query)
{
    const char *fault = NULL;
    mf_str key, value;
    unsigned n = 0;
    struct buf b;

    buf_init(&b, PARAM_BYTES_MAX);
    json_key(w, MF_STR("params"));
    json_begin_object(w);
    while (!fault && http_query_next(&query, &key, &value)) {
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

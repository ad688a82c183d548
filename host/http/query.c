/* SPDX-License-Identifier: Apache-2.0
 *
 * query.c - see query.h. */
#include "http/query.h"

#include "base/text.h"

#include <string.h>

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

bool http_query_next(mf_str *query, mf_str *name, mf_str *value)
{
    while (query->len) {
        *value = cut(query, '&');
        *name = cut(value, '=');
        if (name->len)
            return true;
    }
    return false;
}

bool http_query_decode(mf_str text, struct arena *a, mf_str *out)
{
    struct buf b;
    bool ok;

    buf_init(&b, text.len + 1);
    ok = percent_decode(&b, text, true) && !b.full;
    if (ok)
        *out = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return ok;
}

mf_str http_query_value(mf_str query, mf_str name, struct arena *a)
{
    mf_str key, value, found = { NULL, 0 };

    while (http_query_next(&query, &key, &value))
        if (mf_eq(key, name)) {
            if (!http_query_decode(value, a, &found))
                found = (mf_str){ NULL, 0 };
            break;
        }
    return found;
}

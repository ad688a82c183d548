/* SPDX-License-Identifier: Apache-2.0
 *
 * pixel.c - see pixel.h. */
#include "ingest/pixel.h"

#include "base/text.h"
#include "http/query.h"

#include <string.h>

struct param {
    mf_str name; /* what is left of it below the object in hand */
    mf_str value;
    bool done;
};

#define FAULT(c, m) (*fault = (struct event_fault){ (c), (m) }, -1)

/* ---- parameters as an object ---- */

static mf_str first_part(mf_str name)
{
    const char *dot = name.len ? memchr(name.ptr, '.', name.len) : NULL;

    return dot ? (mf_str){ name.ptr, (size_t)(dot - name.ptr) } : name;
}

static bool begins_with(const struct param *p, mf_str part)
{
    return !p->done && mf_eq(first_part(p->name), part);
}

/* Those of p[0..n) that begin with that part and have more behind it, without
 * it, in the arena; *value is the last of those that have not. */
static size_t gather(struct param *p, size_t n, mf_str part, struct arena *a,
                     struct param **below, mf_str *value)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += begins_with(&p[i], part) && p[i].name.len > part.len;
    *below = arena_alloc(a, count * sizeof **below);
    count = 0;
    for (size_t i = 0; i < n; i++) {
        mf_str rest = p[i].name;

        if (!begins_with(&p[i], part))
            continue;
        p[i].done = true;
        if (rest.len == part.len) {
            *value = p[i].value;
            continue;
        }
        rest.ptr += part.len + 1;
        rest.len -= part.len + 1;
        (*below)[count++] = (struct param){ rest, p[i].value, false };
    }
    return count;
}

/* Where a name is both a text and an object, it is the object. */
static void write_level(struct json_out *w, struct param *p, size_t n,
                        struct arena *a)
{
    json_begin_object(w);
    for (size_t i = 0; i < n; i++) {
        mf_str part = first_part(p[i].name), value = { "", 0 };
        struct param *below;
        size_t count;

        if (p[i].done)
            continue;
        count = gather(p + i, n - i, part, a, &below, &value);
        json_key(w, part);
        if (count)
            write_level(w, below, count, a);
        else
            json_str(w, value);
    }
    json_end_object(w);
}

static size_t dots(mf_str name)
{
    size_t n = 0;

    for (size_t i = 0; i < name.len; i++)
        n += name.ptr[i] == '.';
    return n;
}

static int read_params(mf_str query, struct arena *a, struct param *p,
                       size_t *n, struct event_fault *fault)
{
    mf_str name, value;

    *n = 0;
    while (http_query_next(&query, &name, &value)) {
        struct param *one = &p[*n];

        if (*n == PIXEL_PARAMS_MAX)
            return FAULT("too_many_members",
                         "a pixel may have 256 parameters");
        if (!http_query_decode(name, a, &one->name) ||
            !http_query_decode(value, a, &one->value))
            return FAULT("invalid_query", "the query is not percent-encoded");
        if (dots(one->name) >= PIXEL_DEPTH_MAX)
            return FAULT("invalid_query",
                         "a parameter's name has more than 15 dots");
        one->done = false;
        ++*n;
    }
    return 0;
}

static int from_params(mf_str query, struct arena *a, struct buf *to,
                       struct event_fault *fault)
{
    struct param *p = arena_alloc(a, PIXEL_PARAMS_MAX * sizeof *p);
    struct json_out w;
    size_t n;

    if (read_params(query, a, p, &n, fault) != 0)
        return -1;
    json_out_init(&w, to);
    write_level(&w, p, n, a);
    return 0;
}

/* ---- data ---- */

/* A plus sign is one of base64's own here, not the space of forms. */
static int from_data(mf_str value, struct buf *to, struct event_fault *fault)
{
    struct buf plain;
    bool ok;

    buf_init(&plain, value.len + 1);
    ok = percent_decode(&plain, value, false) &&
         base64_decode(to, buf_view(&plain));
    buf_deinit(&plain);
    return ok ? 0 : FAULT("invalid_base64", "data is not base64");
}

int pixel_event(mf_str query, struct arena *a, mf_str *text,
                struct event_fault *fault)
{
    mf_str rest = query, name, value;
    bool has_data = false;
    struct buf b;
    int status;

    while (!has_data && http_query_next(&rest, &name, &value))
        has_data = mf_eq(name, MF_STR("data"));
    /* A byte becomes six at the most, \u0001, and a part of a name as many
     * and quotes, colon, comma and braces. */
    buf_init(&b, query.len * 12 + 16);
    status = has_data ? from_data(value, &b, fault)
                      : from_params(query, a, &b, fault);
    if (status == 0)
        *text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return status;
}

/* ---- the answer ---- */

void pixel_reply(struct http_request *r, struct arena *a, mf_str extra)
{
    static const char dot[] =
        "GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" /* size, two colours */
        "!\xf9\4\1\0\0\0\0"                        /* the first is clear */
        ",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;";
    mf_str headers = arena_printf(a,
                                  "%.*sCache-Control: no-store\r\n"
                                  "Cross-Origin-Resource-Policy: "
                                  "cross-origin\r\n",
                                  (int)extra.len, extra.ptr);

    http_reply(r, 200, "image/gif", headers,
               (mf_str){ dot, sizeof dot - 1 });
}

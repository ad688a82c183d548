/* SPDX-License-Identifier: Apache-2.0
 *
 * declared.c - the requests that the manifest declares, of actions that have
 * no code: directives over payload, settings, event and auth give method,
 * URL, headers, query and body. */
#include "plugin/inner.h"

/* The payloads of a batch as one array. */
static mf_val payloads(struct call *c)
{
    struct json_out w;
    struct buf b;
    mf_val v;

    buf_init(&b, CALL_INPUT_BYTES);
    json_out_init(&w, &b);
    json_begin_array(&w);
    for (uint32_t k = 0; k < c->scope.count; k++)
        json_val(&w, c->events[c->scope.base + k]->payload);
    json_end_array(&w);
    v = json_root(arena_copy(&c->in, buf_view(&b)));
    buf_deinit(&b);
    return v;
}

static void add_headers(struct request *r, mf_val headers)
{
    struct arena *a = &r->call->in;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(headers, &it, &key, &v))
        if (v.type != MF_NULL)
            request_header(r, json_unescape(key, a), js_string(v, a));
}

static void add_pairs(struct request *r, mf_val pairs,
                      void add(struct request *, mf_str, mf_str))
{
    struct arena *a = &r->call->in;
    mf_iter it = { { 0 } }, each = { { 0 } };
    mf_str key, none;
    mf_val v, one;

    while (json_next(pairs, &it, &key, &v)) {
        if (v.type == MF_NULL)
            continue;
        if (v.type != MF_ARRAY) {
            add(r, json_unescape(key, a), js_string(v, a));
            continue;
        }
        for (each = (mf_iter){ { 0 } }; json_next(v, &each, &none, &one);)
            add(r, json_unescape(key, a), js_string(one, a));
    }
}

/* A string under a content type that is not JSON is the text itself. */
static bool is_text_body(mf_val headers, mf_val body, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key, type;
    mf_val v;

    if (body.type != MF_STRING)
        return false;
    while (json_next(headers, &it, &key, &v)) {
        if (!str_ieq(json_unescape(key, a), MF_STR("content-type")))
            continue;
        type = json_text(v, a);
        return type.len && !memmem(type.ptr, type.len, "json", 4);
    }
    return false;
}

static void add_body(struct request *r, mf_val parts)
{
    struct arena *a = &r->call->in;
    mf_val body = json_get(parts, MF_STR("body"));
    mf_val form = json_get(parts, MF_STR("form"));
    mf_val headers = json_get(parts, MF_STR("headers"));
    struct writer *w;

    if (form.type == MF_OBJECT) {
        request_body(r, NULL);
        add_pairs(r, form, request_form);
    } else if (body.type != MF_ABSENT) {
        w = request_body(r, "application/json");
        if (is_text_body(headers, body, a))
            buf_str(&w->buf, json_text(body, a));
        else
            json_val(&w->out, body);
        if (w->buf.full)
            r->call->body_bytes = (size_t)MF_ARENA_BYTES + 1;
    }
}

int declared_perform(struct call *c, const struct declared_request *d,
                     bool batch)
{
    struct mapping_part parts[MAPPING_PARTS_MAX];
    struct err e = { "" };
    struct request *r;
    mf_str method;
    unsigned n;
    mf_val v;

    ASSERT(d);
    n = call_parts(c, parts);
    if (batch)
        parts[n++] = (struct mapping_part){ MF_STR("payloads"), payloads(c) };
    v = mapping_eval_parts(d->parts, parts, n, &c->in, &e);
    if (v.type != MF_OBJECT) {
        host_table.fail(&c->pub, MF_INVALID,
                        e.text[0] ? mf_cstr(e.text)
                                  : MF_STR("the declared request is empty"));
        c->whole_failed = true;
        return MF_INVALID;
    }
    method = json_text(json_get(v, MF_STR("method")), &c->in);
    r = request_new(c, method,
                    json_text(json_get(v, MF_STR("url")), &c->in));
    add_headers(r, json_get(v, MF_STR("headers")));
    add_pairs(r, json_get(v, MF_STR("query")), request_query);
    add_body(r, v);
    return MF_OK;
}

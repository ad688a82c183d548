/* SPDX-License-Identifier: Apache-2.0
 *
 * hostwrite.c - the part of the host table with which a plugin writes JSON and
 * puts requests together.
 *
 * A key is written only when its value comes, so that an absent value leaves
 * nothing behind. */
#include "plugin/inner.h"

static struct call *of(mf_call *c)
{
    return (struct call *)c;
}

/* ---- writing ---- */

static void w_full(struct writer *w)
{
    if (w->buf.full && w->call->may_jump)
        call_overflow(w->call);
}

/* The key, however it was given, if a value may follow here. */
static void w_start(struct writer *w, const char *key)
{
    if (key) {
        json_key(&w->out, mf_cstr(key));
    } else if (w->has_key) {
        json_key(&w->out, w->key);
        w->has_key = false;
    }
}

mf_writer *h_value(mf_call *pub)
{
    return &writer_new(of(pub))->pub;
}

mf_val h_done(mf_writer *pub)
{
    struct writer *w = (struct writer *)pub;
    struct call *c = w->call;
    mf_str text = { "", 0 };
    mf_val v;

    if (w->out.depth != 0 || w->has_key) {
        c->fault = "mf_done() of an unfinished value: mf_w_end() is missing";
    } else {
        call_room(c, w->buf.len);
        text = arena_copy(c->mem, buf_view(&w->buf));
    }
    v = text.len ? json_root(text) : (mf_val){ NULL, 0, MF_ABSENT };
    writer_spare(w);
    call_checked(c);
    return v;
}

static void w_begin(struct writer *w, const char *key, bool array)
{
    uint64_t bit;

    if (w->out.depth >= WRITER_DEPTH_MAX) {
        w->buf.full = true;
        w_full(w);
        return;
    }
    w_start(w, key);
    if (array)
        json_begin_array(&w->out);
    else
        json_begin_object(&w->out);
    bit = 1ull << w->out.depth;
    w->arrays = array ? w->arrays | bit : w->arrays & ~bit;
    w_full(w);
}

void h_w_object(mf_writer *w, const char *key)
{
    w_begin((struct writer *)w, key, false);
}

void h_w_array(mf_writer *w, const char *key)
{
    w_begin((struct writer *)w, key, true);
}

void h_w_end(mf_writer *pub)
{
    struct writer *w = (struct writer *)pub;

    if (w->out.depth == 0) {
        w->call->fault = "mf_w_end() without a beginning";
        return;
    }
    w->has_key = false;
    if (w->arrays >> w->out.depth & 1)
        json_end_array(&w->out);
    else
        json_end_object(&w->out);
    w_full(w);
}

void h_w_key(mf_writer *pub, mf_str key)
{
    struct writer *w = (struct writer *)pub;

    w->key = key;
    w->has_key = true;
}

void h_w_val(mf_writer *pub, const char *key, mf_val v)
{
    struct writer *w = (struct writer *)pub;

    if (v.type == MF_ABSENT) {
        w->has_key = false;
        return;
    }
    w_start(w, key);
    json_val(&w->out, v);
    w_full(w);
}

void h_w_str(mf_writer *pub, const char *key, mf_str s)
{
    struct writer *w = (struct writer *)pub;

    w_start(w, key);
    json_str(&w->out, s);
    w_full(w);
}

void h_w_int(mf_writer *pub, const char *key, int64_t v)
{
    struct writer *w = (struct writer *)pub;

    w_start(w, key);
    json_int(&w->out, v);
    w_full(w);
}

void h_w_num(mf_writer *pub, const char *key, double v)
{
    struct writer *w = (struct writer *)pub;

    w_start(w, key);
    json_num(&w->out, v);
    w_full(w);
}

void h_w_bool(mf_writer *pub, const char *key, uint32_t v)
{
    struct writer *w = (struct writer *)pub;

    w_start(w, key);
    json_bool(&w->out, v != 0);
    w_full(w);
}

void h_w_raw(mf_writer *pub, mf_str bytes)
{
    struct writer *w = (struct writer *)pub;

    buf_str(&w->buf, bytes);
    w_full(w);
}

/* ---- requests ---- */

static struct request *open_request(mf_request *r)
{
    return (struct request *)r;
}

mf_request *h_request(mf_call *pub, const char *method, mf_str url)
{
    struct call *c = of(pub);

    if (c->request_count >= MF_REQUESTS_MAX && c->may_jump)
        call_overflow(c);
    return &request_new(c, mf_cstr(method), url)->pub;
}

void h_header(mf_request *r, const char *name, mf_str value)
{
    request_header(open_request(r), mf_cstr(name), value);
}

void h_query(mf_request *r, const char *name, mf_str value)
{
    request_query(open_request(r), mf_cstr(name), value);
}

mf_writer *h_body(mf_request *r, const char *content_type)
{
    return &request_body(open_request(r), content_type)->pub;
}

void h_body_text(mf_request *r, const char *content_type, mf_str bytes)
{
    struct writer *w = request_body(open_request(r), content_type);

    buf_clear(&w->buf);
    buf_str(&w->buf, bytes);
    w_full(w);
}

void h_form(mf_request *r, const char *name, mf_str value)
{
    request_form(open_request(r), mf_cstr(name), value);
    w_full(open_request(r)->body);
}

void h_covers(mf_request *pub, uint32_t index)
{
    struct request *r = open_request(pub);
    struct call *c = r->call;
    uint32_t *old = r->covers;

    if (index >= c->scope.count) {
        c->fault = "mf_covers() of an event that the call has not";
        return;
    }
    if (r->cover_cap == 0 || r->cover_count == r->cover_cap) {
        if (r->cover_cap == 0) /* what was inherited does not count */
            r->cover_count = 0;
        r->cover_cap = r->cover_cap ? r->cover_cap * 2 : 8;
        r->covers = arena_alloc(&c->in, r->cover_cap * sizeof *r->covers);
        if (r->cover_count)
            memcpy(r->covers, old, r->cover_count * sizeof *old);
    }
    r->covers[r->cover_count++] = c->scope.base + index;
}

uint32_t h_covered(const mf_request *pub, uint32_t k)
{
    const struct request *r = (const struct request *)pub;

    if (k >= request_cover_count(r))
        return MF_ALL;
    return request_covered(r, k) - r->scope.base;
}

void h_option(mf_request *pub, uint32_t id, int64_t value)
{
    struct request *r = open_request(pub);

    if (id == MF_OPT_TIMEOUT_MS && value > 0)
        r->out.timeout_ms = value;
    else if (id == MF_OPT_NO_AUTH)
        r->no_auth = value != 0;
    else if (id == MF_OPT_GZIP)
        r->out.gzip = value != 0;
    else if (id == MF_OPT_DELAY_MS && value > 0)
        r->out.delay_ms = value < MF_DELAY_MAX_MS ? value : MF_DELAY_MAX_MS;
}

void h_tag(mf_request *pub, uint32_t step, void *state)
{
    open_request(pub)->step = step;
    open_request(pub)->tag = state;
}

uint32_t h_step(const mf_request *pub, void **state)
{
    const struct request *r = (const struct request *)pub;

    if (state)
        *state = r->tag;
    return r->step;
}


/* SPDX-License-Identifier: Apache-2.0
 *
 * request.c - a request while the plugin puts it together, and what the host
 * adds before it may go: the manifest's headers and credentials, the check of
 * where it goes, the endpoint that stands in for the real one. */
#include "plugin/inner.h"

#include "mapping/hashing.h"

#include <stdio.h>

#define COVERS_FIRST  8
#define HEADERS_FIRST 8

/* ---- building ---- */

struct request *request_new(struct call *c, mf_str method, mf_str url)
{
    struct request *r = arena_zalloc(&c->in, sizeof *r);

    if (c->request_count == c->request_cap) {
        c->request_cap = c->request_cap ? c->request_cap * 2 : 8;
        c->requests = xrealloc(c->requests,
                               c->request_cap * sizeof *c->requests);
    }
    r->pub.h = &host_table;
    r->call = c;
    r->state = REQUEST_NEW;
    r->scope = c->scope;
    if (c->answered && c->answered->covers) {
        r->covers = c->answered->covers;
        r->cover_count = c->answered->cover_count;
    }
    r->out.id = c->request_count;
    r->out.method = arena_copy(&c->in, method).ptr;
    r->out.url = arena_copy(&c->in, url);
    c->requests[c->request_count++] = r;
    return r;
}

static struct call_header *header_named(struct request *r, mf_str name)
{
    for (size_t k = 0; k < r->out.header_count; k++)
        if (str_ieq(r->out.headers[k].name, name))
            return &r->out.headers[k];
    return NULL;
}

void request_header(struct request *r, mf_str name, mf_str value)
{
    struct call_header *h = header_named(r, name);
    struct arena *a = &r->call->in;

    if (h) {
        h->value = arena_copy(a, value);
        return;
    }
    if (r->out.header_count > HEADERS_MAX)
        return; /* request_finish() will tell */
    if (r->out.header_count == r->header_cap) {
        struct call_header *old = r->out.headers;

        r->header_cap = r->header_cap ? r->header_cap * 2 : HEADERS_FIRST;
        r->out.headers = arena_alloc(a, r->header_cap * sizeof *old);
        if (r->out.header_count)
            memcpy(r->out.headers, old, r->out.header_count * sizeof *old);
    }
    h = &r->out.headers[r->out.header_count++];
    h->name = arena_copy(a, name);
    for (char *p = (char *)h->name.ptr; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p += 'a' - 'A';
    h->value = arena_copy(a, value);
}

void request_query(struct request *r, mf_str name, mf_str value)
{
    mf_str url = r->out.url;
    const char *hash = memchr(url.ptr, '#', url.len);
    struct writer *scratch = writer_new(r->call);
    struct buf *b = &scratch->buf;

    if (hash)
        url.len = (size_t)(hash - url.ptr);
    buf_str(b, url);
    if (!memchr(url.ptr, '?', url.len))
        buf_char(b, '?');
    else if (url.ptr[url.len - 1] != '?' && url.ptr[url.len - 1] != '&')
        buf_char(b, '&');
    percent_encode(b, name);
    buf_char(b, '=');
    percent_encode(b, value);
    r->out.url = arena_copy(&r->call->in, buf_view(b));
    writer_spare(scratch);
}

struct writer *request_body(struct request *r, const char *content_type)
{
    if (!r->body)
        r->body = writer_new(r->call);
    r->content_type = content_type;
    return r->body;
}

void request_form(struct request *r, mf_str name, mf_str value)
{
    struct buf *b = &request_body(r, "application/x-www-form-urlencoded")->buf;

    if (b->len)
        buf_char(b, '&');
    form_encode(b, name);
    buf_char(b, '=');
    form_encode(b, value);
    r->form = true;
}

uint32_t request_cover_count(const struct request *r)
{
    return r->covers ? r->cover_count : r->scope.count;
}

/* Absolute index of the k-th event it carries. */
uint32_t request_covered(const struct request *r, uint32_t k)
{
    return r->covers ? r->covers[k] : r->scope.base + k;
}

/* ---- what the manifest adds ---- */

unsigned call_parts(const struct call *c,
                    struct mapping_part parts[MAPPING_PARTS_MAX])
{
    const struct call_event *first = c->scope.count
                                         ? c->events[c->scope.base]
                                         : NULL;
    mf_val none = { NULL, 0, MF_ABSENT };
    unsigned n = 0;

    parts[n++] = (struct mapping_part){ MF_STR("payload"),
                                        first ? first->payload : none };
    parts[n++] = (struct mapping_part){ MF_STR("event"),
                                        first ? first->event : none };
    parts[n++] = (struct mapping_part){ MF_STR("settings"),
                                        c->instance->settings };
    parts[n++] = (struct mapping_part){ MF_STR("auth"), c->auth };
    return n;
}

static void standard_ready(struct call *c)
{
    const struct manifest *m = c->instance->plugin->manifest;
    struct mapping_part parts[MAPPING_PARTS_MAX];
    mf_val none = { NULL, 0, MF_ABSENT };
    struct err e;
    unsigned n;

    if (c->standard.ready && c->standard.base == c->scope.base)
        return;
    n = call_parts(c, parts);
    c->standard.ready = true;
    c->standard.base = c->scope.base;
    c->standard.auth = m->auth ? mapping_eval_parts(m->auth, parts, n, &c->in,
                                                    &e)
                               : none;
    c->standard.headers = m->headers ? mapping_eval_parts(m->headers, parts, n,
                                                          &c->in, &e)
                                     : none;
}

/* The plugin's own headers stand; the manifest's fill the gaps. */
static void add_missing(struct request *r, mf_str name, mf_str value)
{
    if (!header_named(r, name))
        request_header(r, name, value);
}

static void add_basic(struct request *r, mf_val auth)
{
    struct arena *a = &r->call->in;
    mf_val user = json_get(auth, MF_STR("username"));
    mf_val password = json_get(auth, MF_STR("password"));
    mf_str u = { "", 0 }, p = { "", 0 };
    struct writer *scratch;

    if (user.type <= MF_NULL && password.type <= MF_NULL)
        return;
    if (user.type > MF_NULL)
        u = js_string(user, a);
    if (password.type > MF_NULL)
        p = js_string(password, a);
    u = arena_printf(a, "%.*s:%.*s", (int)u.len, u.ptr, (int)p.len, p.ptr);
    scratch = writer_new(r->call);
    buf_puts(&scratch->buf, "Basic ");
    base64_encode(&scratch->buf, u);
    add_missing(r, MF_STR("authorization"), buf_view(&scratch->buf));
    writer_spare(scratch);
}

static void add_bearer(struct request *r)
{
    struct arena *a = &r->call->in;
    mf_val v = json_get(r->call->auth, MF_STR("accessToken"));
    mf_str token;

    if (v.type <= MF_NULL) /* one that needs no fetching */
        v = json_get(r->call->standard.auth, MF_STR("access_token"));
    token = json_text(v, a);
    if (token.len)
        add_missing(r, MF_STR("authorization"),
                    arena_printf(a, "Bearer %.*s", (int)token.len, token.ptr));
}

/* Name and password instead of a token: what oauth2 may have besides. */
static bool has_user(struct call *c)
{
    mf_val user = json_get(c->standard.auth, MF_STR("username"));

    return json_text(user, &c->in).len != 0;
}

static void add_standard(struct request *r)
{
    const struct manifest *m = r->call->instance->plugin->manifest;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    standard_ready(r->call);
    while (json_next(r->call->standard.headers, &it, &key, &v))
        if (v.type != MF_NULL)
            add_missing(r, json_unescape(key, &r->call->in),
                        js_string(v, &r->call->in));
    if (strcmp(m->auth_scheme, "basic") == 0 || has_user(r->call))
        add_basic(r, r->call->standard.auth);
    else if (strncmp(m->auth_scheme, "oauth2", 6) == 0)
        add_bearer(r);
}

/* ---- checks ---- */

static bool is_token(mf_str s)
{
    for (size_t k = 0; k < s.len; k++) {
        unsigned char c = (unsigned char)s.ptr[k];

        if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c))
            return false;
    }
    return s.len > 0;
}

/* Tab, and all up to U+00FF that is no control character. */
static bool is_header_value(mf_str s)
{
    for (size_t k = 0; k < s.len; k++) {
        unsigned char c = (unsigned char)s.ptr[k];

        if ((c < ' ' && c != '\t') || c == 0x7f || c > 0xc3)
            return false;
    }
    return true;
}

static int headers_legal(struct request *r)
{
    for (size_t k = 0; k < r->out.header_count; k++) {
        const struct call_header *h = &r->out.headers[k];

        if (!is_token(h->name)) {
            r->why = call_message(r->call, "%.*s is not a legal HTTP header "
                                         "name",
                                (int)h->name.len, h->name.ptr);
            return -1;
        }
        if (!is_header_value(h->value)) {
            r->why = call_message(r->call, "%.*s is not a legal HTTP header "
                                         "value",
                                (int)h->value.len, h->value.ptr);
            return -1;
        }
    }
    if (r->out.header_count <= HEADERS_MAX)
        return 0;
    r->why = call_message(r->call, "more than %d headers", HEADERS_MAX);
    return -1;
}

/* scheme://host:port of a URL is what stands before its path. */
static mf_str path_of(mf_str url)
{
    const char *p = memmem(url.ptr, url.len, "://", 3);
    size_t skip = p ? (size_t)(p - url.ptr) + 3 : 0;

    while (skip < url.len && url.ptr[skip] != '/' && url.ptr[skip] != '?')
        skip++;
    return (mf_str){ url.ptr + skip, url.len - skip };
}

static int place(struct request *r, mf_str *host)
{
    struct call *c = r->call;
    mf_str path;

    if (url_normalise(r->out.url, &c->in, &r->out.real_url, host) < 0) {
        r->why = call_message(c, "Invalid URL: %.*s", (int)r->out.url.len,
                            r->out.url.ptr);
        return -1;
    }
    r->out.url = r->out.real_url;
    if (!c->instance->endpoint.len)
        return 0;
    path = path_of(r->out.real_url);
    r->out.url = arena_printf(&c->in, "%.*s%.*s",
                              (int)c->instance->endpoint.len,
                              c->instance->endpoint.ptr, (int)path.len,
                              path.ptr);
    return 0;
}

static int body_ready(struct request *r)
{
    struct writer *w = r->body;

    if (!w)
        return 0;
    r->out.body = buf_view(&w->buf);
    r->out.has_body = true;
    r->call->body_bytes += w->buf.len;
    if (r->content_type)
        add_missing(r, MF_STR("content-type"), mf_cstr(r->content_type));
    if (r->form || (w->out.depth == 0 && !w->has_key))
        return 0;
    r->call->fault = "a body was left unfinished: mf_w_end() is missing";
    r->why = mf_cstr(r->call->fault);
    r->why_status = 500;
    return -1;
}

int request_finish(struct request *r)
{
    struct call *c = r->call;
    mf_str host;

    r->state = REQUEST_DONE; /* unless all goes well */
    r->why_status = MF_INVALID;
    if (!is_token(mf_cstr(r->out.method))) {
        r->why = call_message(c, "%s is not a valid HTTP method.",
                            r->out.method);
        return -1;
    }
    if (place(r, &host) < 0 || body_ready(r) < 0)
        return -1;
    if (!r->no_auth)
        add_standard(r);
    if (headers_legal(r) < 0)
        return -1;
    if (!r->no_auth &&
        strcmp(c->instance->plugin->manifest->auth_scheme, "aws_sigv4") == 0)
        request_sign_aws(r, c->standard.auth, host);
    if (host_allowed(c->instance, host)) {
        r->state = REQUEST_QUEUED;
        return 0;
    }
    r->state = REQUEST_REFUSED;
    r->why = call_message(c, "%s may not send to %.*s: add it to manifest "
                           "hosts",
                        c->instance->plugin->manifest->slug, (int)host.len,
                        host.ptr);
    return 0;
}

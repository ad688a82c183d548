/* SPDX-License-Identifier: Apache-2.0
 *
 * sign.c - keyed digests, and AWS signature version 4 made of them.
 *
 * The manifest's auth gives accessKeyId, secretAccessKey, region, service
 * and, with temporary credentials, sessionToken. */
#include "plugin/inner.h"

#include <stdio.h>
#include <stdlib.h>

#define QUERY_PAIRS_MAX 256

size_t hmac_bytes(enum hash_algorithm h, mf_str key, mf_str data,
                  struct arena *a, unsigned char out[HASH_BYTES_MAX])
{
    size_t block = h == HASH_SHA512 || h == HASH_SHA384 ? 128 : 64, n;
    unsigned char pad[128 + HASH_BYTES_MAX] = { 0 };
    char *p = arena_alloc(a, block + data.len);

    if (key.len > block)
        hash_bytes(h, key, pad);
    else if (key.len)
        memcpy(pad, key.ptr, key.len);
    for (size_t k = 0; k < block; k++) {
        p[k] = (char)(pad[k] ^ 0x36);
        pad[k] ^= 0x5c;
    }
    if (data.len)
        memcpy(p + block, data.ptr, data.len);
    n = hash_bytes(h, (mf_str){ p, block + data.len }, pad + block);
    return hash_bytes(h, (mf_str){ (char *)pad, block + n }, out);
}

static mf_str chain(mf_str key, mf_str data, struct arena *a)
{
    unsigned char out[HASH_BYTES_MAX];
    size_t n = hmac_bytes(HASH_SHA256, key, data, a, out);

    return arena_copy(a, (mf_str){ (char *)out, n });
}

static int by_text(const void *a, const void *b)
{
    const mf_str *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int d = n ? memcmp(x->ptr, y->ptr, n) : 0;

    return d ? d : (x->len > y->len) - (x->len < y->len);
}

static int by_name(const void *a, const void *b)
{
    const struct call_header *x = a, *y = b;

    return by_text(&x->name, &y->name);
}

/* Escaped as the signature wants it, whatever the URL left as it is. */
static void put_strict(struct buf *b, mf_str s, bool slashes)
{
    for (size_t k = 0; k < s.len; k++) {
        unsigned char c = (unsigned char)s.ptr[k];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9') || (c && strchr("-._~", c)) ||
            (slashes && c == '/'))
            buf_char(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

static mf_str strict(mf_str s, struct arena *a)
{
    struct buf plain, out;
    mf_str text;

    buf_init(&plain, URL_BYTES_MAX);
    buf_init(&out, 3 * URL_BYTES_MAX);
    if (!percent_decode(&plain, s, false)) {
        buf_clear(&plain);
        buf_str(&plain, s);
    }
    put_strict(&out, buf_view(&plain), false);
    text = arena_copy(a, buf_view(&out));
    buf_deinit(&plain);
    buf_deinit(&out);
    return text;
}

/* S3 signs the path in its one true escaping; all others escape what goes over
 * the wire once more. */
static void put_path(struct buf *b, mf_str path, bool s3)
{
    struct buf plain;

    buf_init(&plain, URL_BYTES_MAX);
    if (path.len == 0)
        buf_char(b, '/');
    else if (s3 && percent_decode(&plain, path, false))
        put_strict(b, buf_view(&plain), true);
    else
        put_strict(b, path, true);
    buf_deinit(&plain);
}

#define PAIR_GAP '\1' /* below all that stands in a name: sorts by names */

/* The pairs of the query, by name and then by value. */
static void put_query(struct buf *b, mf_str query, struct arena *a)
{
    mf_str pairs[QUERY_PAIRS_MAX];
    size_t n = 0, from = 0;

    for (size_t k = 0; k <= query.len && n < QUERY_PAIRS_MAX; k++) {
        mf_str one = { query.ptr + from, k - from }, name, value = { "", 0 };
        const char *equals;

        if (k < query.len && query.ptr[k] != '&')
            continue;
        from = k + 1;
        if (one.len == 0)
            continue;
        equals = memchr(one.ptr, '=', one.len);
        name = (mf_str){ one.ptr, equals ? (size_t)(equals - one.ptr)
                                         : one.len };
        if (equals)
            value = (mf_str){ equals + 1, one.len - name.len - 1 };
        name = strict(name, a);
        value = strict(value, a);
        pairs[n++] = arena_printf(a, "%.*s%c%.*s", (int)name.len, name.ptr,
                                  PAIR_GAP, (int)value.len, value.ptr);
    }
    qsort(pairs, n, sizeof *pairs, by_text);
    for (size_t k = 0; k < n; k++) {
        if (k)
            buf_char(b, '&');
        for (size_t i = 0; i < pairs[k].len; i++)
            buf_char(b, pairs[k].ptr[i] == PAIR_GAP ? '=' : pairs[k].ptr[i]);
    }
}

/* Without blanks at its ends, and with one where there are many. */
static void put_value(struct buf *b, mf_str value)
{
    value = str_trim(value);
    for (size_t k = 0; k < value.len; k++)
        if (value.ptr[k] != ' ' || value.ptr[k - 1] != ' ')
            buf_char(b, value.ptr[k]);
}

static mf_str canonical(const struct request *r, const struct call_header *h,
                        size_t n, bool s3, mf_str *names)
{
    struct arena *a = &r->call->in;
    mf_str url = r->out.real_url, s;
    struct buf b;
    size_t at = 8;
    const char *q = memchr(url.ptr, '?', url.len);
    size_t path_end = q ? (size_t)(q - url.ptr) : url.len;

    while (at < path_end && url.ptr[at] != '/')
        at++;
    buf_init(&b, MF_ARENA_BYTES);
    buf_printf(&b, "%s\n", r->out.method);
    put_path(&b, (mf_str){ url.ptr + at, path_end - at }, s3);
    buf_char(&b, '\n');
    if (q)
        put_query(&b, (mf_str){ q + 1, url.len - path_end - 1 }, a);
    buf_char(&b, '\n');
    for (size_t k = 0; k < n; k++) {
        buf_printf(&b, "%s:", h[k].name.ptr);
        put_value(&b, h[k].value);
        buf_char(&b, '\n');
    }
    buf_char(&b, '\n');
    at = b.len;
    for (size_t k = 0; k < n; k++)
        buf_printf(&b, "%s%s", k ? ";" : "", h[k].name.ptr);
    *names = arena_copy(a, (mf_str){ b.data + at, b.len - at });
    buf_char(&b, '\n');
    buf_str(&b, hash_text(HASH_SHA256, HASH_HEX, r->out.body, a));
    s = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return s;
}

static mf_str auth_text(struct call *c, mf_val auth, const char *name)
{
    return json_text(json_get(auth, mf_cstr(name)), &c->in);
}

static mf_str signing_key(struct arena *a, mf_str secret, mf_str day,
                          mf_str region, mf_str service)
{
    mf_str key = arena_printf(a, "AWS4%.*s", (int)secret.len, secret.ptr);

    key = chain(key, day, a);
    key = chain(key, region, a);
    key = chain(key, service, a);
    return chain(key, MF_STR("aws4_request"), a);
}

/* "20260112T100000Z" */
static mf_str stamp_of(struct call *c)
{
    char iso[TIME_TEXT];

    time_iso(c->now, iso);
    return arena_printf(&c->in, "%.4s%.2s%.2sT%.2s%.2s%.2sZ", iso, iso + 5,
                        iso + 8, iso + 11, iso + 14, iso + 17);
}

void request_sign_aws(struct request *r, mf_val auth, mf_str host)
{
    struct call *c = r->call;
    struct arena *a = &c->in;
    mf_str region = auth_text(c, auth, "region");
    mf_str service = auth_text(c, auth, "service");
    mf_str id = auth_text(c, auth, "accessKeyId");
    mf_str session = auth_text(c, auth, "sessionToken");
    mf_str stamp = stamp_of(c), day = { stamp.ptr, 8 }, scope, text, names;
    struct call_header *sorted;
    unsigned char mac[HASH_BYTES_MAX];
    bool s3 = mf_eq(service, MF_STR("s3"));
    struct buf hex;
    size_t n;

    request_header(r, MF_STR("host"), host);
    request_header(r, MF_STR("x-amz-date"), stamp);
    if (session.len)
        request_header(r, MF_STR("x-amz-security-token"), session);
    if (s3) /* asks for it; others do not */
        request_header(r, MF_STR("x-amz-content-sha256"),
                       hash_text(HASH_SHA256, HASH_HEX, r->out.body, a));
    n = r->out.header_count;
    sorted = arena_alloc(a, n * sizeof *sorted);
    memcpy(sorted, r->out.headers, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_name);
    scope = arena_printf(a, "%.8s/%.*s/%.*s/aws4_request", stamp.ptr,
                         (int)region.len, region.ptr, (int)service.len,
                         service.ptr);
    text = hash_text(HASH_SHA256, HASH_HEX,
                     canonical(r, sorted, n, s3, &names), a);
    text = arena_printf(a, "AWS4-HMAC-SHA256\n%s\n%s\n%.*s", stamp.ptr,
                        scope.ptr, (int)text.len, text.ptr);
    n = hmac_bytes(HASH_SHA256,
                   signing_key(a, auth_text(c, auth, "secretAccessKey"), day,
                               region, service),
                   text, a, mac);
    buf_init(&hex, 2 * HASH_BYTES_MAX + 1);
    hex_encode(&hex, mac, n);
    text = arena_printf(a,
                        "AWS4-HMAC-SHA256 Credential=%.*s/%s, "
                        "SignedHeaders=%s, Signature=%.*s",
                        (int)id.len, id.ptr, scope.ptr, names.ptr,
                        (int)hex.len, hex.data);
    buf_deinit(&hex);
    request_header(r, MF_STR("authorization"), text);
}

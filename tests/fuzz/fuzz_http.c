/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_http.c - what strangers send first: request heads, chunked bodies,
 * gzip.
 *
 * The first byte of the input seeds how it is cut. Whole and cut, in memory
 * that ends with the bytes given, must come to the same verdict, the same
 * fields and the same data; what was read must lie inside the input. */
#include "http/gzip.h"
#include "http/parse.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define BODY_MAX  65536
#define HEAD_MAX_ 4096
#define FIELDS_   16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t piece(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return 1 + (*seed >> 24) % ((*seed >> 20) % 2 ? 3 : 200);
}

/* A head fed in pieces, each from a place of exactly its size. */
static int32_t head_cut(struct http_head *h, mf_str in, uint32_t seed)
{
    size_t len = 0;
    int32_t rc = 0;

    while (rc == 0 && len < in.len) {
        size_t n = piece(&seed);
        char *copy;

        len = n < in.len - len ? len + n : in.len;
        copy = xmalloc(len);
        memcpy(copy, in.ptr, len);
        rc = http_head_feed(h, copy, len);
        free(copy);
    }
    return rc;
}

static void inside(struct http_span s, int32_t head)
{
    ASSERT(s.at + s.len <= (uint32_t)head);
}

/* Rules that a head which was let through must keep. */
static void check_head(const struct http_head *h, const char *base,
                       int32_t size)
{
    ASSERT(size > 0 && (uint32_t)size <= h->max);
    ASSERT(h->method.len > 0 && h->count <= FIELDS_);
    ASSERT(!(h->chunked && h->has_length));
    ASSERT(h->minor == 0 || h->known[HTTP_HOST]);
    ASSERT(!memchr(base, 0, (size_t)size));
    ASSERT(memcmp(base + size - 4, "\r\n\r\n", 4) == 0);
    inside(h->method, size);
    inside(h->path, size);
    inside(h->query, size);
    for (unsigned i = 0; i < h->count; i++) {
        inside(h->field[i].name, size);
        inside(h->field[i].value, size);
        ASSERT(h->field[i].name.len > 0);
    }
    for (int k = 0; k < HTTP_KNOWN; k++) {
        ASSERT(h->known[k] <= h->count);
        http_head_known(h, base, (enum http_known)k);
    }
}

static size_t fuzz_head(mf_str in, uint32_t seed)
{
    struct http_head whole, cut;
    int32_t a, b;

    http_head_init(&whole, HEAD_MAX_, FIELDS_);
    http_head_init(&cut, HEAD_MAX_, FIELDS_);
    a = http_head_feed(&whole, in.ptr, in.len);
    b = head_cut(&cut, in, seed);
    ASSERT(a == b && whole.fault == cut.fault);
    if (a <= 0)
        return 0;
    check_head(&whole, in.ptr, a);
    ASSERT(whole.length == cut.length && whole.chunked == cut.chunked);
    ASSERT(whole.count == cut.count && whole.keep_alive == cut.keep_alive);
    ASSERT(memcmp(whole.field, cut.field,
                  whole.count * sizeof whole.field[0]) == 0);
    return (size_t)a;
}

static int chunks_cut(mf_str in, uint32_t seed, struct buf *out, size_t *used)
{
    struct http_chunks c;
    int rc = 0;

    http_chunks_init(&c);
    *used = 0;
    while (rc == 0 && *used < in.len) {
        size_t n = seed ? piece(&seed) : in.len, made, u;
        char *copy;

        n = n < in.len - *used ? n : in.len - *used;
        copy = xmalloc(n);
        memcpy(copy, in.ptr + *used, n);
        rc = http_chunks_feed(&c, copy, &made, copy, n, &u);
        ASSERT(made <= u && u <= n && (rc != 0 || u == n));
        buf_add(out, copy, made);
        *used += u;
        free(copy);
    }
    return rc;
}

static void fuzz_chunks(mf_str in, uint32_t seed)
{
    struct buf whole, cut;
    size_t used_a, used_b;
    int a, b;

    buf_init(&whole, in.len);
    buf_init(&cut, in.len);
    a = chunks_cut(in, 0, &whole, &used_a);
    b = chunks_cut(in, seed | 1, &cut, &used_b);
    ASSERT(a == b && used_a == used_b);
    ASSERT(mf_eq(buf_view(&whole), buf_view(&cut)));
    buf_deinit(&whole);
    buf_deinit(&cut);
}

static void fuzz_gzip(mf_str in)
{
    static struct gunzip *g;
    struct buf out, again, packed;
    struct err e;

    if (!g)
        g = gunzip_new();
    buf_init(&out, BODY_MAX);
    if (gunzip_run(g, in, &out, &e) == 0) {
        buf_init(&packed, 2 * BODY_MAX);
        buf_init(&again, BODY_MAX);
        ASSERT(gzip(buf_view(&out), 1, &packed, &e) == 0);
        ASSERT(gunzip_run(g, buf_view(&packed), &again, &e) == 0);
        ASSERT(mf_eq(buf_view(&out), buf_view(&again)));
        buf_deinit(&packed);
        buf_deinit(&again);
    }
    ASSERT(out.len <= BODY_MAX && out.cap <= BODY_MAX);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mf_str in;
    size_t head;

    if (size < 2)
        return 0;
    in = (mf_str){ (const char *)data + 1, size - 1 };
    head = fuzz_head(in, data[0]);
    fuzz_chunks((mf_str){ in.ptr + head, in.len - head }, data[0]);
    fuzz_gzip(in);
    return 0;
}

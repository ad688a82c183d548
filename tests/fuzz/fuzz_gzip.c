/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_gzip.c - what a gzip body may hold behind a head and sums that are
 * right, which chance alone would hardly find.
 *
 * The first byte says how much of the text may be kept: around what it is,
 * or so little that it is a bomb. The rest is a deflate stream. It is packed
 * as one member or two, and must come to what zlib makes of the stream in one
 * step, or be refused where zlib refuses it or the limit is passed. */
#include "base/buf.h"
#include "base/mem.h"
#include "http/gzip.h"

#include <string.h>
#include <zlib.h>

#define TEXT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char text[TEXT_MAX];

/* The size of the text, or -1. *used: bytes of the stream. */
static int64_t reference(mf_str in, size_t *used)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)in.ptr,
                   .avail_in = (uInt)in.len,
                   .next_out = (Bytef *)text, .avail_out = TEXT_MAX };
    int64_t n = -1;

    ASSERT(inflateInit2(&z, -MAX_WBITS) == Z_OK);
    if (inflate(&z, Z_FINISH) == Z_STREAM_END)
        n = (int64_t)(TEXT_MAX - z.avail_out);
    *used = in.len - z.avail_in;
    inflateEnd(&z);
    return n;
}

static void put_le(struct buf *to, uint32_t n)
{
    for (int i = 0; i < 32; i += 8)
        buf_char(to, (char)(n >> i & 0xff));
}

static void put_member(struct buf *to, mf_str stream, size_t text_len)
{
    buf_add(to, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
    buf_str(to, stream);
    put_le(to, (uint32_t)crc32(0, (const Bytef *)text, (uInt)text_len));
    put_le(to, (uint32_t)text_len);
}

static size_t limit_of(uint8_t how, size_t whole)
{
    size_t near = how & 7; /* 3: exactly the text */

    if (how & 0x40)
        return whole / 2 + 1;
    return whole + near > 3 ? whole + near - 3 : 1;
}

static void check_text(struct gunzip *g, mf_str packed, size_t one,
                       unsigned members, size_t limit)
{
    struct buf out;
    struct err e;
    int rc;

    buf_init(&out, limit);
    rc = gunzip_run(g, packed, &out, &e);
    ASSERT((rc == 0) == (one * members <= limit));
    ASSERT(out.full == (rc != 0));
    ASSERT(out.len <= limit && out.cap <= limit);
    for (unsigned i = 0; rc == 0 && i < members; i++)
        ASSERT(one == 0 || memcmp(out.data + i * one, text, one) == 0);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gunzip *g;
    struct buf packed, out;
    unsigned members;
    struct err e;
    size_t used;
    int64_t n;

    if (size < 2)
        return 0;
    if (!g)
        g = gunzip_new();
    members = data[0] & 0x80 ? 2 : 1;
    n = reference((mf_str){ (const char *)data + 1, size - 1 }, &used);
    buf_init(&packed, 2 * size + 64);
    if (n >= 0) {
        mf_str stream = { (const char *)data + 1, used };

        for (unsigned i = 0; i < members; i++)
            put_member(&packed, stream, (size_t)n);
        check_text(g, buf_view(&packed), (size_t)n, members,
                   limit_of(data[0], (size_t)n * members));
    } else {
        put_member(&packed, (mf_str){ (const char *)data + 1, size - 1 }, 0);
        buf_init(&out, TEXT_MAX);
        ASSERT(gunzip_run(g, buf_view(&packed), &out, &e) != 0);
        buf_deinit(&out);
    }
    buf_deinit(&packed);
    return 0;
}

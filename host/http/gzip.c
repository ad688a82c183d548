/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip.c - see gzip.h. zlib checks each member's CRC and length. */
#include "http/gzip.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define GZIP_WINDOW (MAX_WBITS + 16) /* gzip only, no zlib, no raw */
#define STEP_MIN    1024
#define STEP_MAX    262144

struct gunzip {
    z_stream z;
};

/* Room for the next step: some times the input at first, as JSON packs. */
static size_t step_size(const struct buf *out, size_t in_len)
{
    size_t want = in_len > STEP_MAX / 6 ? STEP_MAX : in_len * 6;
    size_t rest = out->max - out->len;

    if (want < STEP_MIN)
        want = STEP_MIN;
    return want < rest ? want : rest;
}

/* One call of inflate. When out is at its limit a byte is offered apart, so
 * that a text of exactly the limit can still end. */
static int step(z_stream *z, struct buf *out, size_t in_len)
{
    size_t n = step_size(out, in_len);
    Bytef over;
    int rc;

    z->next_out = n ? (Bytef *)buf_room(out, n) : &over;
    z->avail_out = n ? (uInt)n : 1;
    rc = inflate(z, Z_NO_FLUSH);
    if (n)
        out->len += n - z->avail_out;
    else if (z->avail_out == 0)
        out->full = true;
    return rc;
}

/* One member; *z stands behind it. */
static int member(z_stream *z, struct buf *out, size_t in_len, struct err *e)
{
    for (;;) {
        int rc = step(z, out, in_len);

        if (out->full)
            return err_set(e, "gzip: more than %zu bytes", out->max);
        if (rc == Z_STREAM_END)
            return 0;
        if (rc == Z_BUF_ERROR ||
            (rc == Z_OK && z->avail_in == 0 && z->avail_out != 0))
            return err_set(e, "gzip: the stream is cut short");
        if (rc == Z_NEED_DICT)
            return err_set(e, "gzip: a dictionary is asked for");
        ASSERT(rc != Z_MEM_ERROR && rc != Z_STREAM_ERROR);
        if (rc != Z_OK)
            return err_set(e, "gzip: %s", z->msg ? z->msg : "damaged");
    }
}

struct gunzip *gunzip_new(void)
{
    struct gunzip *g = xcalloc(1, sizeof *g);
    int rc = inflateInit2(&g->z, GZIP_WINDOW);

    ASSERT(rc == Z_OK);
    return g;
}

void gunzip_free(struct gunzip *g)
{
    if (!g)
        return;
    inflateEnd(&g->z);
    free(g);
}

int gunzip_run(struct gunzip *g, mf_str in, struct buf *out, struct err *e)
{
    if (in.len == 0)
        return err_set(e, "gzip: the body is empty");
    if (in.len > UINT_MAX)
        return err_set(e, "gzip: the body is too long");
    g->z.next_in = (Bytef *)in.ptr;
    g->z.avail_in = (uInt)in.len;
    do {
        inflateReset(&g->z);
        if (member(&g->z, out, in.len, e))
            return -1;
    } while (g->z.avail_in > 0);
    return 0;
}

int gunzip(mf_str in, struct buf *out, struct err *e)
{
    struct gunzip *g = gunzip_new();
    int rc = gunzip_run(g, in, out, e);

    gunzip_free(g);
    return rc;
}

int gzip(mf_str in, int level, struct buf *out, struct err *e)
{
    z_stream z;
    uLong bound;
    char *to;
    int rc;

    ASSERT(level >= 1 && level <= 9);
    if (in.len > UINT_MAX / 2)
        return err_set(e, "gzip: the text is too long");
    memset(&z, 0, sizeof z);
    rc =
        deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY);
    ASSERT(rc == Z_OK);
    bound = deflateBound(&z, in.len);
    to = buf_room(out, bound);
    if (!to) {
        deflateEnd(&z);
        return err_set(e, "gzip: no room for %lu bytes", bound);
    }
    z.next_in = (Bytef *)in.ptr;
    z.avail_in = (uInt)in.len;
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)bound;
    rc = deflate(&z, Z_FINISH);
    ASSERT(rc == Z_STREAM_END);
    out->len += bound - z.avail_out;
    deflateEnd(&z);
    return 0;
}

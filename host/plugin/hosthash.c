/* SPDX-License-Identifier: Apache-2.0
 *
 * hosthash.c - the part of the host table with digests and encodings. */
#include "plugin/inner.h"

static struct call *of(mf_call *c)
{
    return (struct call *)c;
}

/* ---- digests and encodings ---- */

static int algorithm_of(uint32_t algorithm)
{
    switch (algorithm) {
    case MF_SHA1:
        return HASH_SHA1;
    case MF_MD5:
        return HASH_MD5;
    case MF_SHA512:
        return HASH_SHA512;
    default:
        return HASH_SHA256;
    }
}

mf_str h_digest(mf_call *pub, uint32_t algorithm, mf_str data)
{
    struct call *c = of(pub);
    unsigned char out[HASH_BYTES_MAX];
    size_t n = hash_bytes((enum hash_algorithm)algorithm_of(algorithm), data,
                          out);
    mf_str s = arena_copy(c->mem, (mf_str){ (char *)out, n });

    call_checked(c);
    return s;
}

mf_str h_hmac(mf_call *pub, uint32_t algorithm, mf_str key, mf_str data)
{
    struct call *c = of(pub);
    unsigned char out[HASH_BYTES_MAX];
    mf_str s;

    call_room(c, data.len);
    s.len = hmac_bytes((enum hash_algorithm)algorithm_of(algorithm), key, data,
                       c->mem, out);
    s = arena_copy(c->mem, (mf_str){ (char *)out, s.len });
    call_checked(c);
    return s;
}

mf_str h_encode(mf_call *pub, uint32_t how, mf_str data)
{
    struct call *c = of(pub);
    struct writer *w;
    mf_str s;

    call_room(c, data.len);
    w = writer_new(c);
    switch (how) {
    case MF_HEX:
        hex_encode(&w->buf, data.ptr, data.len);
        break;
    case MF_BASE64:
        base64_encode(&w->buf, data);
        break;
    case MF_BASE64URL:
        base64url_encode(&w->buf, data);
        break;
    case MF_PERCENT:
        percent_encode(&w->buf, data);
        break;
    default:
        form_encode(&w->buf, data);
    }
    if (w->buf.full)
        call_room(c, SIZE_MAX);
    s = arena_copy(c->mem, buf_view(&w->buf));
    writer_spare(w);
    call_checked(c);
    return s;
}

static bool hex_decode(struct buf *b, mf_str text)
{
    int high = -1;

    for (size_t k = 0; k < text.len; k++) {
        char ch = text.ptr[k];
        int d = ch >= '0' && ch <= '9'                ? ch - '0'
                : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10
                                                       : -1;

        if (d < 0)
            return false;
        if (high >= 0)
            buf_char(b, (char)(high << 4 | d));
        high = high < 0 ? d : -1;
    }
    return high < 0;
}

mf_str h_decode(mf_call *pub, uint32_t how, mf_str text)
{
    struct call *c = of(pub);
    mf_str s = { NULL, 0 };
    struct writer *w;
    bool ok;

    call_room(c, text.len);
    w = writer_new(c);
    if (how == MF_HEX)
        ok = hex_decode(&w->buf, text);
    else if (how == MF_BASE64 || how == MF_BASE64URL)
        ok = base64_decode(&w->buf, text);
    else
        ok = percent_decode(&w->buf, text, how == MF_FORM);
    if (ok)
        s = arena_copy(c->mem, buf_view(&w->buf));
    writer_spare(w);
    call_checked(c);
    return s;
}

mf_str h_smart_hash(mf_call *pub, uint32_t algorithm, uint32_t how,
                    mf_str text)
{
    struct call *c = of(pub);
    mf_str out = { "", 0 };

    hash_smart((enum hash_algorithm)algorithm_of(algorithm),
               how == MF_BASE64 ? HASH_BASE64 : HASH_HEX, text, NULL, c->mem,
               &out, NULL);
    call_checked(c);
    return out;
}


/* SPDX-License-Identifier: Apache-2.0
 *
 * hashing.c - see hashing.h. */
#include "mapping/hashing.h"

#include "base/text.h"
#include "base/unicase.h"
#include "mapping/jsvalue.h"

#include <openssl/evp.h>

static const struct algorithm {
    const char *name;
    const EVP_MD *(*digest)(void);
    size_t bytes;
} algorithms[] = {
    [HASH_MD5] = { "md5", EVP_md5, 16 },
    [HASH_SHA1] = { "sha1", EVP_sha1, 20 },
    [HASH_SHA224] = { "sha224", EVP_sha224, 28 },
    [HASH_SHA256] = { "sha256", EVP_sha256, 32 },
    [HASH_SHA384] = { "sha384", EVP_sha384, 48 },
    [HASH_SHA512] = { "sha512", EVP_sha512, 64 },
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_base64(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
}

int hash_algorithm_named(mf_str name)
{
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        if (mf_eq(name, mf_cstr(algorithms[i].name)))
            return (int)i;
    return -1;
}

size_t hash_bytes(enum hash_algorithm h, mf_str data,
                  unsigned char out[HASH_BYTES_MAX])
{
    unsigned len = 0;

    ASSERT((size_t)h < COUNT_OF(algorithms));
    ASSERT(EVP_Digest(data.len ? data.ptr : "", data.len, out, &len,
                      algorithms[h].digest(), NULL) == 1);
    return len;
}

mf_str hash_text(enum hash_algorithm h, enum hash_encoding encoding,
                 mf_str data, struct arena *a)
{
    unsigned char digest[HASH_BYTES_MAX];
    size_t n = hash_bytes(h, data, digest);
    struct buf b;
    mf_str text;

    buf_init(&b, 2 * HASH_BYTES_MAX);
    if (encoding == HASH_HEX)
        hex_encode(&b, digest, n);
    else
        base64_encode(&b, (mf_str){ (const char *)digest, n });
    text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return text;
}

bool hash_looks_done(enum hash_algorithm h, enum hash_encoding encoding,
                     mf_str value)
{
    size_t bytes = algorithms[h].bytes, padding = (3 - bytes % 3) % 3;

    if (encoding == HASH_HEX) {
        if (value.len != 2 * bytes)
            return false;
        for (size_t i = 0; i < value.len; i++)
            if (!is_hex(value.ptr[i]))
                return false;
        return true;
    }
    if (value.len != (bytes + 2) / 3 * 4)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (i < value.len - padding ? !is_base64(value.ptr[i])
                                    : value.ptr[i] != '=')
            return false;
    return true;
}

int hash_smart(enum hash_algorithm h, enum hash_encoding encoding,
               mf_str value, hash_clean *clean, struct arena *a, mf_str *out,
               struct err *e)
{
    *out = (mf_str){ "", 0 };
    if (js_trim(value).len == 0)
        return 0;
    if (hash_looks_done(h, encoding, value)) {
        *out = value;
        return 0;
    }
    if (clean)
        value = clean(value, a);
    if (value.len == 0)
        return err_set(e, "Cannot hash an empty string");
    *out = hash_text(h, encoding, value, a);
    return 0;
}

mf_str clean_trim_lower(mf_str value, struct arena *a)
{
    mf_str s = js_trim(value);
    struct buf b;

    buf_init(&b, s.len * UNICASE_GROWTH);
    utf8_lower(&b, s);
    s = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return s;
}

mf_str clean_digits(mf_str value, struct arena *a)
{
    char *to = arena_alloc(a, value.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] >= '0' && value.ptr[i] <= '9')
            to[n++] = value.ptr[i];
    return (mf_str){ to, n };
}

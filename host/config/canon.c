/* SPDX-License-Identifier: Apache-2.0
 *
 * canon.c - one way to write each JSON value, and fingerprints of it.
 *
 * Two texts that mean the same give the same bytes, so their fingerprints can
 * be compared across loads: keys in byte order, each text escaped the same
 * way, no white space. */
#include "config/member.h"

#include "base/text.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct pair {
    mf_str key;
    mf_val value;
};

static int by_key(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    size_t n = a->key.len < b->key.len ? a->key.len : b->key.len;
    int c = n ? memcmp(a->key.ptr, b->key.ptr, n) : 0;

    if (c)
        return c;
    if (a->key.len != b->key.len)
        return a->key.len < b->key.len ? -1 : 1;
    return a->value.raw < b->value.raw ? -1 : 1; /* keys that stand twice */
}

static void write_object(struct json_out *w, mf_val v)
{
    size_t n = json_count(v), i = 0;
    struct pair *pairs = xcalloc(n, sizeof *pairs);
    mf_iter it = { { 0 } };
    struct arena names;
    mf_str raw;

    arena_init(&names, SIZE_MAX / 8);
    for (; i < n && json_next(v, &it, &raw, &pairs[i].value); i++)
        pairs[i].key = json_unescape(raw, &names);
    if (n)
        qsort(pairs, n, sizeof *pairs, by_key);
    json_begin_object(w);
    for (i = 0; i < n; i++) {
        json_key(w, pairs[i].key);
        canon_write(w, pairs[i].value);
    }
    json_end_object(w);
    arena_deinit(&names);
    free(pairs);
}

void canon_write(struct json_out *w, mf_val v)
{
    mf_iter it = { { 0 } };
    struct arena text;
    mf_str key;
    mf_val e;

    switch (v.type) {
    case MF_OBJECT:
        write_object(w, v);
        break;
    case MF_ARRAY:
        json_begin_array(w);
        while (json_next(v, &it, &key, &e))
            canon_write(w, e);
        json_end_array(w);
        break;
    case MF_STRING:
        arena_init(&text, SIZE_MAX / 8);
        json_str(w, json_text(v, &text));
        arena_deinit(&text);
        break;
    default:
        json_val(w, v);
    }
}

void canon_print(mf_str bytes, char out[CONFIG_PRINT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf hex;

    ASSERT(EVP_Digest(bytes.ptr, bytes.len, digest, &len, EVP_sha256(),
                      NULL) == 1);
    buf_init(&hex, CONFIG_PRINT - 1);
    hex_encode(&hex, digest, (CONFIG_PRINT - 1) / 2);
    memcpy(out, hex.data, CONFIG_PRINT - 1);
    out[CONFIG_PRINT - 1] = 0;
    buf_deinit(&hex);
}

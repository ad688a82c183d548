/* SPDX-License-Identifier: Apache-2.0
 *
 * hashing.h - digests of personal data, hashed only if they are not yet.
 *
 * Customers send e-mail addresses and phone numbers both plain and already
 * hashed. A value that already looks like a digest of the wanted kind is
 * left alone; anything else is normalised and then hashed. */
#ifndef MAPPING_HASHING_H
#define MAPPING_HASHING_H

#include "base/err.h"
#include "base/mem.h"

enum hash_algorithm {
    HASH_MD5,
    HASH_SHA1,
    HASH_SHA224,
    HASH_SHA256,
    HASH_SHA384,
    HASH_SHA512
};

enum hash_encoding { HASH_HEX, HASH_BASE64 };

#define HASH_BYTES_MAX 64

/* Normalises a value before it is hashed; borrowed or in the arena. */
typedef mf_str hash_clean(mf_str value, struct arena *a);

/* "sha256" and so on; -1 for a name that is not known. */
int hash_algorithm_named(mf_str name);

/* Writes the digest's bytes, returns how many. */
size_t hash_bytes(enum hash_algorithm h, mf_str data,
                  unsigned char out[HASH_BYTES_MAX]);
mf_str hash_text(enum hash_algorithm h, enum hash_encoding encoding,
                 mf_str data, struct arena *a);
/* True if value has the form of such a digest. */
bool hash_looks_done(enum hash_algorithm h, enum hash_encoding encoding,
                     mf_str value);

/* *out: "" for a value of nothing but white space; the value itself when it
 * looks hashed; else the digest of clean(value). clean may be NULL. -1, *out
 * "" and *e told when cleaning leaves nothing. */
int hash_smart(enum hash_algorithm h, enum hash_encoding encoding,
               mf_str value, hash_clean *clean, struct arena *a, mf_str *out,
               struct err *e);

/* The cleaners that the recorded destinations build on. */
mf_str clean_trim_lower(mf_str value, struct arena *a); /* e-mail, names */
mf_str clean_digits(mf_str value, struct arena *a);     /* phone numbers */

#endif

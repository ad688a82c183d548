/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - JSON in place: check once, then read values where they stand.
 *
 * json_check() is strict RFC 8259 plus limits. Everything else here takes text
 * that passed it and never looks past the value it was given. There is no
 * tree: an mf_val is the exact text of one value, and a walk is a scan.
 *
 * Of two equal keys in an object the last counts, as in JavaScript. */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include "base/buf.h"
#include "base/mem.h"

#include <manifold/types.h>
#include <stdbool.h>

#define JSON_DEPTH_MAX 64

struct json_fault {
    size_t offset;    /* of the first byte that is wrong */
    const char *what; /* a literal, such as "a comma or ] was expected" */
};

/* The whole text is one value with optional white space around it.
 * depth_max counts nested arrays and objects, at most JSON_DEPTH_MAX.
 * 0, or -1 with *fault filled (fault may be NULL). */
int json_check(mf_str text, unsigned depth_max, struct json_fault *fault);
/* Line and column (both from 1, column in bytes) of an offset. */
void json_place(mf_str text, size_t offset, unsigned *line, unsigned *column);

/* The value that checked text holds. */
mf_val json_root(mf_str text);
/* For readers that go through checked text once, byte by byte. p is at the
 * first byte of a value; MF_ABSENT at end. */
mf_val json_value_at(const char *p, const char *end);
/* p is at an opening quote; returns the place after the closing one. */
const char *json_string_end(const char *p, const char *end);

/* Members of an object: key without quotes but with escapes, as it stands.
 * Elements of an array: key is { NULL, 0 }. Returns false past the end, and
 * at once for any other type. */
bool json_next(mf_val container, mf_iter *it, mf_str *raw_key, mf_val *value);
/* True if the raw (still escaped) key says name. */
bool json_key_is(mf_str raw_key, mf_str name);
mf_val json_get(mf_val object, mf_str name); /* MF_ABSENT if not there */
mf_val json_at(mf_val array, size_t index);
size_t json_count(mf_val container);

/* The text of a string value, unescaped. Points into the value where it has
 * no escapes, else into the arena. "" for other types. A lone surrogate
 * becomes U+FFFD. */
mf_str json_text(mf_val v, struct arena *a);
mf_str json_unescape(mf_str raw, struct arena *a); /* content of the quotes */
double json_number(mf_val v, double otherwise);
/* Exact: false when v is no number, has a fraction that is not 0, or does not
 * fit. 1e3 and 5.0 are integers. */
bool json_integer(mf_val v, int64_t *out);
static inline bool json_is_true(mf_val v)
{
    return v.type == MF_BOOL && v.raw[0] == 't';
}
/* Deep equality as values: key order and escapes aside, numbers by value. */
bool json_equal(mf_val a, mf_val b, struct arena *scratch);

/* Values made of literals. */
#define JSON_NULL  ((mf_val){ "null", 4, MF_NULL })
#define JSON_TRUE  ((mf_val){ "true", 4, MF_BOOL })
#define JSON_FALSE ((mf_val){ "false", 5, MF_BOOL })
mf_val json_from_text(struct arena *a, mf_str s); /* quotes and escapes */
mf_val json_from_number(struct arena *a, double v); /* NaN, inf: null */
mf_val json_from_int(struct arena *a, int64_t v);
static inline mf_val json_from_bool(bool v)
{
    return v ? JSON_TRUE : JSON_FALSE;
}

/* ---- writing: a stream into a buffer, commas kept by the writer ---- */

struct json_out {
    struct buf *b;
    uint64_t filled; /* bit d: something stands at depth d already */
    unsigned depth;
    bool after_key;
};

void json_out_init(struct json_out *w, struct buf *b);
void json_begin_object(struct json_out *w);
void json_begin_array(struct json_out *w);
void json_end_object(struct json_out *w);
void json_end_array(struct json_out *w);
void json_key(struct json_out *w, mf_str key);         /* escapes it */
void json_key_raw(struct json_out *w, mf_str raw_key); /* already escaped */
void json_val(struct json_out *w, mf_val v); /* MF_ABSENT writes null */
void json_str(struct json_out *w, mf_str s);
void json_int(struct json_out *w, int64_t v);
void json_num(struct json_out *w, double v);
void json_bool(struct json_out *w, bool v);
void json_null(struct json_out *w);
/* Escaped as JSON.stringify does, without quotes. Bytes that are not UTF-8
 * become U+FFFD. */
void json_escape(struct buf *b, mf_str s);

#define json_kstr(w, k, s)  (json_key(w, MF_STR(k)), json_str(w, s))
#define json_kint(w, k, v)  (json_key(w, MF_STR(k)), json_int(w, v))
#define json_kbool(w, k, v) (json_key(w, MF_STR(k)), json_bool(w, v))
#define json_kval(w, k, v)  (json_key(w, MF_STR(k)), json_val(w, v))

#endif

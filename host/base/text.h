/* SPDX-License-Identifier: Apache-2.0
 *
 * text.h - small text work shared by every layer: times, hex, base64,
 * percent-encoding, numbers, UUIDs. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/buf.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

/* "2026-01-12T10:00:00.000Z" and a NUL. */
#define TIME_TEXT 32
void time_iso(int64_t ms, char out[TIME_TEXT]);
/* Reads ISO 8601 as SDKs write it: date alone; date and time with 'T', 't' or
 * a space; seconds and a fraction of 1 to 9 digits optional; Z, +hh:mm,
 * +hhmm, +hh or nothing (then UTC). Digits past the millisecond are cut.
 * Returns false and leaves *ms alone on anything else. */
bool time_parse(mf_str s, int64_t *ms);
/* Civil date of a day count since 1970-01-01, and back. */
void civil_from_days(int64_t days, int *y, int *m, int *d);
int64_t days_from_civil(int y, int m, int d);

void hex_encode(struct buf *b, const void *bytes, size_t n);
void base64_encode(struct buf *b, mf_str bytes);
void base64url_encode(struct buf *b, mf_str bytes); /* no padding */
/* Either alphabet, padding optional, white space refused. */
bool base64_decode(struct buf *b, mf_str text);
/* encodeURIComponent: all but A-Z a-z 0-9 - _ . ! ~ * ' ( ) */
void percent_encode(struct buf *b, mf_str s);
/* application/x-www-form-urlencoded: all but A-Z a-z 0-9 * - . _, space is + */
void form_encode(struct buf *b, mf_str s);
bool percent_decode(struct buf *b, mf_str s, bool plus_is_space);

/* A whole decimal number and nothing else, or false. */
bool parse_u64(mf_str s, uint64_t *out);
bool parse_i64(mf_str s, int64_t *out);
/* "10s" "4h" "500ms" "2m" "1d", or a bare number of seconds; result in ms. */
bool parse_duration(mf_str s, int64_t *ms);
/* "20GiB" "512MB" "4096"; K/M/G/T with B = 1000s, with iB = 1024s. */
bool parse_size(mf_str s, uint64_t *bytes);
/* "500/s" "30/m" "1000/h"; result in events a second. */
bool parse_rate(mf_str s, double *per_second);

/* A number as JavaScript's String() prints it: "1e+21", "0.1", "-0" is "0",
 * "NaN", "Infinity". Returns the length. */
#define NUMBER_TEXT 32
size_t number_text(double v, char out[NUMBER_TEXT]);

/* 36 characters and a NUL, version 4, from the system's random source. */
#define UUID_TEXT 37
void uuid4(char out[UUID_TEXT]);
void random_bytes(void *out, size_t n);

/* Strict UTF-8: no overlong forms, surrogates or values past U+10FFFF. */
bool utf8_valid(const char *p, size_t len);
/* At most `most` bytes of valid UTF-8, no character cut in two. */
mf_str utf8_cut(mf_str s, size_t most);
/* Appends one code point. */
void utf8_put(struct buf *b, uint32_t code_point);

bool str_ieq(mf_str a, mf_str b); /* ASCII case-insensitive */
bool str_starts(mf_str s, mf_str prefix);
bool str_ends(mf_str s, mf_str suffix);
mf_str str_trim(mf_str s); /* ASCII white space at both ends */
/* True if word is in list, which ends in NULL. */
bool text_among(const char *word, const char *const *list);
/* The name in list nearest to word by edit distance, or NULL when none is
 * within a third of its length: for "did you mean". list ends in NULL. */
const char *nearest(const char *word, const char *const *list);

#endif

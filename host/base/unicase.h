/* SPDX-License-Identifier: Apache-2.0
 *
 * unicase.h - upper and lower case as JavaScript's toUpperCase() and
 * toLowerCase() have them, whatever the locale, and its length of a text. */
#ifndef BASE_UNICASE_H
#define BASE_UNICASE_H

#include "base/buf.h"

#include <stdint.h>

/* Room a result may need, as a multiple of what went in. */
#define UNICASE_GROWTH 3

/* s is valid UTF-8. Both append. */
void utf8_lower(struct buf *b, mf_str s);
void utf8_upper(struct buf *b, mf_str s);
/* One code point to one; those that become several stay what they are. */
uint32_t unicase_lower(uint32_t code_point);
uint32_t unicase_upper(uint32_t code_point);
/* The code point at *p, which moves past it but never past end. */
uint32_t utf8_next(const char **p, const char *end);
/* UTF-16 units of valid UTF-8: what .length gives. */
size_t utf16_length(mf_str s);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * jsvalue.h - JavaScript's readings of text, where the original leans on
 * them: Number(text), and whether new Date(text) is a date. */
#ifndef MAPPING_JSVALUE_H
#define MAPPING_JSVALUE_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>

/* Number(text): NaN for what is no number, 0 for white space alone. Decimal,
 * 0x, 0o and 0b forms, Infinity. */
double js_to_number(mf_str text);

/* What the original takes for a point in time: a number of seconds as text, or
 * what `dayjs` and new Date() can read. */
bool js_date_like(mf_str text);

/* White space and line ends as JavaScript counts them; text.trim(). */
bool js_is_space(uint32_t code_point);
mf_str js_trim(mf_str text);

size_t js_code_points(mf_str text);

#endif

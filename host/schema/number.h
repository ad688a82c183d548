/* SPDX-License-Identifier: Apache-2.0
 *
 * number.h - numbers as they are written: 0.1 is a tenth, and 0.3 a multiple
 * of it. Up to NUMBER_DIGITS digits they are exact; beyond, as doubles. */
#ifndef SCHEMA_NUMBER_H
#define SCHEMA_NUMBER_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define NUMBER_DIGITS 36

struct number { /* mantissa times ten to the exponent */
    bool exact, negative;
    unsigned __int128 mantissa; /* no factor of ten, unless 0 */
    int64_t exponent;
    double value;
};

/* v is a number. */
struct number number_of(mf_val v);
int number_compare(const struct number *a, const struct number *b);
bool number_is_whole(const struct number *n);
/* by is above 0. */
bool number_is_multiple(const struct number *n, const struct number *by);
uint64_t number_hash(const struct number *n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * histogram.h - how long things took, in as many counts as there are bounds
 * and one for what took longer. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 18

/* Milliseconds; a count holds what took at most so long, and longer than the
 * bound before. */
extern const double histogram_bounds_ms[HISTOGRAM_BOUNDS];

struct histogram {
    uint64_t counts[HISTOGRAM_BOUNDS + 1];
    uint64_t sum_ns;
};

/* Which count it belongs to. */
unsigned histogram_place(int64_t ns);
void histogram_add(struct histogram *h, int64_t ns); /* negative: as 0 */

#endif

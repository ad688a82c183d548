/* SPDX-License-Identifier: Apache-2.0
 *
 * histogram.c - see histogram.h. */
#include "base/histogram.h"

const double histogram_bounds_ms[HISTOGRAM_BOUNDS] = {
    0.25, 0.5, 1,    2.5,  5,     10,    25,     50,      100,
    250,  500, 1000, 2500, 10000, 60000, 600000, 3600000, 14400000,
};

unsigned histogram_place(int64_t ns)
{
    double ms = (double)ns / 1e6;
    unsigned i = 0;

    while (i < HISTOGRAM_BOUNDS && ms > histogram_bounds_ms[i])
        i++;
    return i;
}

void histogram_add(struct histogram *h, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    h->counts[histogram_place(ns)]++;
    h->sum_ns += (uint64_t)ns;
}

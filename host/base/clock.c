/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.c - see clock.h. */
#include "base/clock.h"

#include <time.h>

_Atomic int64_t clock_skew_ms, clock_mono_skew_ms;

static int64_t read_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000 + clock_skew_ms;
}

int64_t clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC) + clock_mono_skew_ms * 1000000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

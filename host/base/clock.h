/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.h - the two clocks, behind a seam that tests turn.
 *
 * clock_ms() is what people read and may jump; clock_mono_ms() only moves
 * forward and is what waits are measured with. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_ms(void);      /* Unix time, milliseconds */
int64_t clock_mono_ms(void); /* monotonic, milliseconds */
int64_t clock_mono_ns(void);

/* Tests only: added to either clock, in milliseconds. */
extern _Atomic int64_t clock_skew_ms, clock_mono_skew_ms;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff.h - when to try again. Pure arithmetic over times handed in, so that
 * tests need no clock. */
#ifndef DELIVERY_BACKOFF_H
#define DELIVERY_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 1000   /* before the second attempt, at the most */
#define BACKOFF_LAST_MS  300000 /* between attempts, at the most */

/* Full jitter: uniform over [0, min(last, first * 2^(attempts-1))], but no
 * sooner than retry_after_ms. attempts counts those made so far, from 1;
 * chance is uniform over 64 bits. */
int64_t backoff_ms(uint32_t attempts, int64_t first_ms, int64_t last_ms,
                   int64_t retry_after_ms, uint64_t chance);

#endif

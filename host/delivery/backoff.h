/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff.h - when to try again, and how often one may try at all. Pure
 * arithmetic over times handed in, so that tests need no clock. */
#ifndef DELIVERY_BACKOFF_H
#define DELIVERY_BACKOFF_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FIRST_MS 1000   /* before the second attempt, at the most */
#define BACKOFF_LAST_MS  300000 /* between attempts, at the most */

/* Full jitter: uniform over [0, min(last, first * 2^(attempts-1))], but no
 * sooner than retry_after_ms. attempts counts those made so far, from 1;
 * chance is uniform over 64 bits. */
int64_t backoff_ms(uint32_t attempts, int64_t first_ms, int64_t last_ms,
                   int64_t retry_after_ms, uint64_t chance);

/* Retry-After as seconds or as an HTTP date; milliseconds from now, 0 for
 * what cannot be read or lies in the past; at most a day. */
int64_t retry_after_ms(mf_str value, int64_t now_ms);

/* A token bucket of one second's worth, at least one token. */
struct bucket {
    double rate, tokens; /* rate 0: no limit */
    int64_t at_ms;
};

void bucket_init(struct bucket *b, double per_second, int64_t now_ms);
bool bucket_take(struct bucket *b, int64_t now_ms);
/* Milliseconds until a token is there. */
int64_t bucket_wait_ms(const struct bucket *b, int64_t now_ms);

#endif

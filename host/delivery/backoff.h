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

/* A token bucket of one second's worth, at least one token. */
struct bucket {
    double rate, tokens; /* rate 0: no limit */
    int64_t at_ms;
};

void bucket_init(struct bucket *b, double per_second, int64_t now_ms);
bool bucket_take(struct bucket *b, int64_t now_ms);
/* Takes one that may not be there: it is owed. */
void bucket_owe(struct bucket *b, int64_t now_ms);
/* How much is in it, less than nothing if it owes; and to put so much there,
 * at most what it can hold. */
double bucket_level(const struct bucket *b, int64_t now_ms);
void bucket_set(struct bucket *b, double tokens, int64_t now_ms);
/* Milliseconds until a token is there. */
int64_t bucket_wait_ms(const struct bucket *b, int64_t now_ms);

#endif

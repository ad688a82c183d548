/* SPDX-License-Identifier: Apache-2.0
 *
 * bucket.h - a token bucket: how often something may happen. Pure arithmetic
 * over times handed in, so that tests need no clock. It holds one second's
 * worth, at least one token, unless `burst` says otherwise; what is taken
 * beyond that is owed. */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    double rate, tokens; /* rate 0: no limit */
    double burst;        /* the most it holds; 0: a second's worth */
    int64_t at_ms;
};

/* Full, with the burst of a second's worth. */
void bucket_init(struct bucket *b, double per_second, int64_t now_ms);
/* Another rate and burst; what is in it, or owed, stays, as far as it fits. */
void bucket_change(struct bucket *b, double per_second, double burst,
                   int64_t now_ms);
bool bucket_take(struct bucket *b, int64_t now_ms);
/* n at once. More than it can hold are taken when it is full, and the rest is
 * owed: so nothing is refused for ever, and the rate holds. */
bool bucket_take_many(struct bucket *b, double n, int64_t now_ms);
/* Takes so many that may not be there: they are owed. Less than none are
 * given back. */
void bucket_owe_many(struct bucket *b, double n, int64_t now_ms);
void bucket_owe(struct bucket *b, int64_t now_ms);
/* How much is in it, less than nothing if it owes; and to put so much there,
 * at most what it can hold. */
double bucket_level(const struct bucket *b, int64_t now_ms);
void bucket_set(struct bucket *b, double tokens, int64_t now_ms);
/* Milliseconds until a token is there; until n may be taken. */
int64_t bucket_wait_ms(const struct bucket *b, int64_t now_ms);
int64_t bucket_wait_many_ms(const struct bucket *b, double n, int64_t now_ms);

#endif

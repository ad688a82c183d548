/* SPDX-License-Identifier: Apache-2.0
 *
 * bucket.c - see bucket.h. */
#include "base/bucket.h"

#include <math.h>

/* Sums of fractions come a little short of the whole that they are. */
#define NEARLY 1e-6

static double capacity(const struct bucket *b)
{
    double n = b->burst > 0 ? b->burst : b->rate;

    return n < 1 ? 1 : n;
}

/* How much must be there for n to be taken. */
static double needed(const struct bucket *b, double n)
{
    return n > capacity(b) ? capacity(b) : n;
}

void bucket_init(struct bucket *b, double per_second, int64_t now_ms)
{
    b->rate = per_second;
    b->burst = 0;
    b->tokens = capacity(b);
    b->at_ms = now_ms;
}

void bucket_change(struct bucket *b, double per_second, double burst,
                   int64_t now_ms)
{
    double level = bucket_level(b, now_ms);

    b->rate = per_second;
    b->burst = burst;
    bucket_set(b, level, now_ms);
}

double bucket_level(const struct bucket *b, int64_t now_ms)
{
    double t = b->tokens;

    if (now_ms > b->at_ms)
        t += b->rate * (double)(now_ms - b->at_ms) / 1000;
    return t > capacity(b) ? capacity(b) : t;
}

void bucket_set(struct bucket *b, double tokens, int64_t now_ms)
{
    b->tokens = tokens > capacity(b) ? capacity(b) : tokens;
    b->at_ms = now_ms;
}

bool bucket_take_many(struct bucket *b, double n, int64_t now_ms)
{
    if (b->rate <= 0)
        return true;
    b->tokens = bucket_level(b, now_ms);
    b->at_ms = now_ms;
    if (b->tokens + NEARLY < needed(b, n))
        return false;
    b->tokens -= n;
    return true;
}

bool bucket_take(struct bucket *b, int64_t now_ms)
{
    return bucket_take_many(b, 1, now_ms);
}

void bucket_owe_many(struct bucket *b, double n, int64_t now_ms)
{
    if (b->rate > 0)
        bucket_set(b, bucket_level(b, now_ms) - n, now_ms);
}

void bucket_owe(struct bucket *b, int64_t now_ms)
{
    bucket_owe_many(b, 1, now_ms);
}

int64_t bucket_wait_many_ms(const struct bucket *b, double n, int64_t now_ms)
{
    double short_of;

    if (b->rate <= 0)
        return 0;
    short_of = needed(b, n) - bucket_level(b, now_ms);
    return short_of <= NEARLY ? 0 : (int64_t)ceil(short_of * 1000 / b->rate);
}

int64_t bucket_wait_ms(const struct bucket *b, int64_t now_ms)
{
    return bucket_wait_many_ms(b, 1, now_ms);
}

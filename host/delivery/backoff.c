/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff.c - see backoff.h. */
#include "delivery/backoff.h"

#include <math.h>

int64_t backoff_ms(uint32_t attempts, int64_t first_ms, int64_t last_ms,
                   int64_t retry_after, uint64_t chance)
{
    int64_t most = first_ms, wait;

    for (uint32_t i = 1; i < attempts && most < last_ms; i++)
        most *= 2;
    if (most > last_ms)
        most = last_ms;
    wait = (int64_t)((double)most *
                     ((double)(chance >> 11) / 9007199254740992.0));
    return wait < retry_after ? retry_after : wait;
}

static double burst(const struct bucket *b)
{
    return b->rate < 1 ? 1 : b->rate;
}

void bucket_init(struct bucket *b, double per_second, int64_t now_ms)
{
    b->rate = per_second;
    b->tokens = burst(b);
    b->at_ms = now_ms;
}

double bucket_level(const struct bucket *b, int64_t now_ms)
{
    double t = b->tokens;

    if (now_ms > b->at_ms)
        t += b->rate * (double)(now_ms - b->at_ms) / 1000;
    return t > burst(b) ? burst(b) : t;
}

void bucket_set(struct bucket *b, double tokens, int64_t now_ms)
{
    b->tokens = tokens > burst(b) ? burst(b) : tokens;
    b->at_ms = now_ms;
}

bool bucket_take(struct bucket *b, int64_t now_ms)
{
    if (b->rate <= 0)
        return true;
    b->tokens = bucket_level(b, now_ms);
    b->at_ms = now_ms;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

void bucket_owe(struct bucket *b, int64_t now_ms)
{
    if (b->rate <= 0)
        return;
    b->tokens = bucket_level(b, now_ms) - 1;
    b->at_ms = now_ms;
}

int64_t bucket_wait_ms(const struct bucket *b, int64_t now_ms)
{
    double t;

    if (b->rate <= 0)
        return 0;
    t = bucket_level(b, now_ms);
    return t >= 1 ? 0 : (int64_t)ceil((1 - t) * 1000 / b->rate);
}

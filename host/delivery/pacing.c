/* SPDX-License-Identifier: Apache-2.0
 *
 * pacing.c - see pacing.h. */
#include "delivery/pacing.h"

#include <math.h>

void pacing_init(struct pacing *p, double rate, double retry_rate,
                 int64_t now_ms)
{
    bucket_init(&p->calls, rate, now_ms);
    bucket_init(&p->retries, retry_rate > 0 ? retry_rate : RETRIES_LEAST,
                now_ms);
    p->retry_rate = retry_rate;
    p->firsts = 0;
    p->firsts_ms = now_ms;
}

/* First attempts a second, an average that forgets. */
static void fade(struct pacing *p, int64_t now_ms)
{
    double seconds = (double)(now_ms - p->firsts_ms) / 1000;

    if (seconds <= 0)
        return;
    p->firsts *= exp(-seconds / FIRSTS_OVER_S);
    p->firsts_ms = now_ms;
}

double pacing_ceiling(struct pacing *p, int64_t now_ms)
{
    if (p->retry_rate > 0)
        return p->retry_rate;
    fade(p, now_ms);
    return p->firsts * RETRIES_SHARE > RETRIES_LEAST
               ? p->firsts * RETRIES_SHARE
               : RETRIES_LEAST;
}

/* What was saved up at another rate stays, within the new one's bounds. */
static void set_ceiling(struct pacing *p, int64_t now_ms)
{
    bucket_set(&p->retries, bucket_level(&p->retries, now_ms), now_ms);
    p->retries.rate = pacing_ceiling(p, now_ms);
}

bool pacing_may(struct pacing *p, bool retry, int64_t now_ms)
{
    if (bucket_wait_ms(&p->calls, now_ms) > 0)
        return false;
    if (!retry)
        return true;
    set_ceiling(p, now_ms);
    return bucket_wait_ms(&p->retries, now_ms) == 0;
}

void pacing_take(struct pacing *p, bool retry, int64_t now_ms)
{
    bucket_take(&p->calls, now_ms);
    if (retry) {
        bucket_take(&p->retries, now_ms);
        return;
    }
    fade(p, now_ms);
    p->firsts += 1 / FIRSTS_OVER_S;
}

int64_t pacing_wait_ms(struct pacing *p, bool retry, int64_t now_ms)
{
    int64_t calls = bucket_wait_ms(&p->calls, now_ms), retries;

    if (!retry)
        return calls;
    set_ceiling(p, now_ms);
    retries = bucket_wait_ms(&p->retries, now_ms);
    return retries > calls ? retries : calls;
}

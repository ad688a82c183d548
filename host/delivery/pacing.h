/* SPDX-License-Identifier: Apache-2.0
 *
 * pacing.h - how often a destination may be called: its declared rate, and
 * the ceiling on calls that repeat earlier ones. Pure arithmetic over times
 * handed in.
 *
 * Where no retry_rate is declared the ceiling is RETRIES_LEAST a second, or
 * RETRIES_SHARE of the recent rate of first attempts if that is more. The
 * share is what a service that works must be able to bear beside its load: a
 * client that repeats everything thrice quadruples the load in the moment in
 * which the far side can bear it least, one that adds a fifth does not. While
 * a far side is down there are no first attempts but probes, so that the
 * ceiling sinks to its floor, and the retries of an outage come back spread
 * out beside the fresh events instead of as a wave before them. The floor is
 * there so that a quiet destination does not wait for a minute over the one
 * event that failed. */
#ifndef DELIVERY_PACING_H
#define DELIVERY_PACING_H

#include "base/bucket.h"

#define RETRIES_LEAST 10.0  /* a second */
#define RETRIES_SHARE 0.2   /* of first attempts */
#define FIRSTS_OVER_S 10.0  /* time over which these are averaged */

struct pacing {
    struct bucket calls;   /* of any kind; rate 0: no limit */
    struct bucket retries;
    double retry_rate;     /* declared, 0: derived */
    double firsts;         /* first attempts a second, recently */
    int64_t firsts_ms;     /* when that was reckoned */
};

/* Buckets begin full. */
void pacing_init(struct pacing *p, double rate, double retry_rate,
                 int64_t now_ms);
/* May a call go now? */
bool pacing_may(struct pacing *p, bool retry, int64_t now_ms);
/* It goes; it must have been allowed. */
void pacing_take(struct pacing *p, bool retry, int64_t now_ms);
/* Milliseconds until one may. */
int64_t pacing_wait_ms(struct pacing *p, bool retry, int64_t now_ms);
/* Retries a second, as of now. */
double pacing_ceiling(struct pacing *p, int64_t now_ms);

#endif

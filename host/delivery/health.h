/* SPDX-License-Identifier: Apache-2.0
 *
 * health.h - whether a far side is served, probed, or left in quiet. Pure
 * arithmetic over times handed in, so that tests need no clock.
 *
 * The breaker: BREAKER_FAILURES in a row and only probes go out, one at a
 * time, PROBE_FIRST_MS to PROBE_LAST_MS apart; one success ends it. */
#ifndef DELIVERY_HEALTH_H
#define DELIVERY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 10     /* in a row, until only probes go out */
#define PROBE_FIRST_MS   500    /* before a probe, at the least */
#define PROBE_LAST_MS    60000  /* between probes, at the most */
#define HOLD_MAX_MS      300000 /* of quiet that a Retry-After can ask for */

struct health {
    unsigned failures; /* retryable ones in a row */
    unsigned probes;   /* of these, since they reached the breaker */
    int64_t probe_ms;  /* monotonic; when the next one may go */
    int64_t hold_ms;   /* monotonic; the far side asked for quiet until then */
};

enum health_change { HEALTH_SAME, HEALTH_ILL, HEALTH_WELL };

bool health_probing(const struct health *h);
/* A call has ended. probe: it had left while the breaker was open. */
enum health_change health_judge(struct health *h, bool failed, bool probe,
                                int64_t now_ms, uint64_t chance);
/* It asked for quiet. */
void health_hold(struct health *h, int64_t wait_ms, int64_t now_ms);

#endif

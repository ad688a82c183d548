/* SPDX-License-Identifier: Apache-2.0
 *
 * health.c - see health.h. */
#include "delivery/health.h"

#include "delivery/backoff.h"

bool health_probing(const struct health *h)
{
    return h->failures >= BREAKER_FAILURES;
}

/* Only a probe's failure makes the next one wait longer: those that were
 * already under way say nothing new. */
enum health_change health_judge(struct health *h, bool failed, bool probe,
                                int64_t now_ms, uint64_t chance)
{
    bool was_probing = health_probing(h);

    if (!failed) {
        h->failures = h->probes = 0;
        return was_probing ? HEALTH_WELL : HEALTH_SAME;
    }
    if (h->failures < BREAKER_FAILURES)
        h->failures++;
    if (!health_probing(h) || (was_probing && !probe))
        return HEALTH_SAME;
    if (h->probes < UINT32_MAX)
        h->probes++;
    h->probe_ms = now_ms + backoff_ms(h->probes, BACKOFF_FIRST_MS,
                                      PROBE_LAST_MS, PROBE_FIRST_MS, chance);
    return was_probing ? HEALTH_SAME : HEALTH_ILL;
}

/* About the far side, not about the one event that it was said of. */
void health_hold(struct health *h, int64_t wait_ms, int64_t now_ms)
{
    int64_t until = now_ms + (wait_ms < HOLD_MAX_MS ? wait_ms : HOLD_MAX_MS);

    if (until > h->hold_ms)
        h->hold_ms = until;
}

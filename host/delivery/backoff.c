/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff.c - see backoff.h. */
#include "delivery/backoff.h"

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

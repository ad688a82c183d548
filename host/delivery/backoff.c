/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff.c - see backoff.h. */
#include "delivery/backoff.h"

#include "base/text.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define RETRY_AFTER_MAX_MS 86400000

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

/* "Sun, 06 Nov 1994 08:49:37 GMT", the one form that RFC 9110 lets senders
 * make, and the two old ones that it lets them have made. */
static bool http_date(const char *text, int64_t *ms)
{
    static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT",
                                         "%A, %d-%b-%y %H:%M:%S GMT",
                                         "%a %b %d %H:%M:%S %Y" };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm;
        const char *end;

        memset(&tm, 0, sizeof tm);
        end = strptime(text, forms[i], &tm);
        if (end && *end == 0) {
            *ms = (int64_t)timegm(&tm) * 1000;
            return true;
        }
    }
    return false;
}

int64_t retry_after_ms(mf_str value, int64_t now_ms)
{
    char text[64];
    uint64_t seconds;
    int64_t ms;

    value = str_trim(value);
    if (parse_u64(value, &seconds)) {
        ms = seconds > RETRY_AFTER_MAX_MS / 1000
                 ? RETRY_AFTER_MAX_MS
                 : (int64_t)seconds * 1000;
        return ms;
    }
    if (value.len >= sizeof text)
        return 0;
    if (value.len)
        memcpy(text, value.ptr, value.len);
    text[value.len] = 0;
    if (!http_date(text, &ms) || ms <= now_ms)
        return 0;
    ms -= now_ms;
    return ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : ms;
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

static double tokens_at(const struct bucket *b, int64_t now_ms)
{
    double t = b->tokens;

    if (now_ms > b->at_ms)
        t += b->rate * (double)(now_ms - b->at_ms) / 1000;
    return t > burst(b) ? burst(b) : t;
}

bool bucket_take(struct bucket *b, int64_t now_ms)
{
    if (b->rate <= 0)
        return true;
    b->tokens = tokens_at(b, now_ms);
    b->at_ms = now_ms;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

int64_t bucket_wait_ms(const struct bucket *b, int64_t now_ms)
{
    double t;

    if (b->rate <= 0)
        return 0;
    t = tokens_at(b, now_ms);
    return t >= 1 ? 0 : (int64_t)ceil((1 - t) * 1000 / b->rate);
}

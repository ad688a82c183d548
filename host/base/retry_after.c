/* SPDX-License-Identifier: Apache-2.0
 *
 * retry_after.c - see retry_after.h. */
#include "base/retry_after.h"

#include "base/text.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define UNIX_SECONDS_MAX (UINT64_C(1) << 40)

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

/* Until ms, which is a time; 0 if it lies in the past. */
static int64_t until(int64_t ms, int64_t now_ms)
{
    ms -= now_ms;
    return ms <= 0 ? 0 : ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : ms;
}

int64_t rate_reset_ms(mf_str value, int64_t now_ms)
{
    uint64_t seconds;
    int64_t ms;

    if (!parse_u64(str_trim(value), &seconds))
        return retry_after_ms(value, now_ms);
    if (seconds <= RETRY_AFTER_MAX_MS / 1000)
        return (int64_t)seconds * 1000;
    if (seconds >= UNIX_SECONDS_MAX)
        return 0;
    ms = until((int64_t)seconds * 1000, now_ms);
    return ms < RETRY_AFTER_MAX_MS ? ms : 0;
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
    return http_date(text, &ms) ? until(ms, now_ms) : 0;
}

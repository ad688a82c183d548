/* SPDX-License-Identifier: Apache-2.0
 *
 * retry_after.h - the one header by which a far side says when to come back. */
#ifndef BASE_RETRY_AFTER_H
#define BASE_RETRY_AFTER_H

#include <manifold/types.h>
#include <stdint.h>

#define RETRY_AFTER_MAX_MS 86400000 /* a longer wait is cut to this */

/* Seconds, or an HTTP date in any of its three forms; milliseconds from now, 0
 * for what cannot be read or lies in the past. */
int64_t retry_after_ms(mf_str value, int64_t now_ms);
/* The same of a header that holds seconds or, where it is too large for them,
 * the Unix time in seconds at which a limit is lifted; one that is a day away
 * or more is not believed. */
int64_t rate_reset_ms(mf_str value, int64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * when.h - a moment as an operator writes it: "2026-01-12T10:00:00Z" or a date
 * alone, Unix milliseconds, "now", or how long ago, "-2h". */
#ifndef BASE_WHEN_H
#define BASE_WHEN_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define WHEN_FORMS                                                             \
    "a time such as 2026-01-12T10:00:00Z, Unix milliseconds, now, or -2h"

/* False for anything else; moments before 1970 too. */
bool when_parse(mf_str text, int64_t now_ms, int64_t *ms);

#endif

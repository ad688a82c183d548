/* SPDX-License-Identifier: Apache-2.0
 *
 * when.c - see when.h. */
#include "base/when.h"

#include "base/text.h"

bool when_parse(mf_str text, int64_t now_ms, int64_t *ms)
{
    int64_t ago;

    text = str_trim(text);
    if (mf_eq(text, MF_STR("now"))) {
        *ms = now_ms;
        return true;
    }
    if (text.len > 1 && text.ptr[0] == '-') {
        if (!parse_duration((mf_str){ text.ptr + 1, text.len - 1 }, &ago) ||
            ago > now_ms)
            return false;
        *ms = now_ms - ago;
        return true;
    }
    /* A bare number is milliseconds; a year alone would be one too. */
    if (parse_i64(text, ms))
        return *ms >= 0 && text.len > 8;
    return time_parse(text, ms) && *ms >= 0;
}

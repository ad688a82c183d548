/* SPDX-License-Identifier: Apache-2.0
 *
 * glob.c - see glob.h. After a mismatch only the last * is tried again with
 * one more character: an earlier one could never do better. */
#include "mapping/glob.h"

#include "base/unicase.h"

#include <stdint.h>

/* One character of a set or of the pattern itself, \ taken off. */
static bool set_char(const char **p, const char *end, uint32_t *c)
{
    *c = 0;
    if (*p < end && **p == '\\')
        ++*p;
    if (*p == end)
        return false;
    *c = utf8_next(p, end);
    return true;
}

/* p is past the [. True if c is in the set; *p moves past the ]. Sets *valid
 * to false, and stays in the dark, when the set is not well formed. */
static bool in_set(const char **p, const char *end, uint32_t c, bool *valid)
{
    bool found = false, first = true;
    uint32_t low, high;

    while (*p < end && (first || **p != ']') && *valid) {
        first = false;
        *valid = set_char(p, end, &low);
        high = low;
        if (end - *p >= 2 && **p == '-' && (*p)[1] != ']') {
            ++*p;
            *valid = set_char(p, end, &high) && high >= low;
        }
        found |= low <= c && c <= high;
    }
    *valid = *valid && *p < end;
    *p += *valid;
    return found && *valid;
}

bool glob_valid(mf_str pattern)
{
    const char *p = pattern.ptr, *end = pattern.ptr + pattern.len;
    bool valid = true;

    while (p < end && valid) {
        char c = *p++;

        if (c == '[') {
            in_set(&p, end, 0, &valid);
        } else if (c == '\\') {
            if (p == end)
                return false;
            utf8_next(&p, end);
        }
    }
    return valid;
}

/* Matches one element of a valid pattern, no *, against the character at *s.
 * Both move on when it fits. */
static bool one(const char **p, const char *pend, const char **s,
                const char *send)
{
    const char *q = *p, *t = *s;
    bool valid = true, fits;
    uint32_t c, want;

    if (q == pend || t == send)
        return false;
    c = utf8_next(&t, send);
    if (*q == '?') {
        q++;
        fits = true;
    } else if (*q == '[') {
        q++;
        fits = in_set(&q, pend, c, &valid);
    } else {
        fits = set_char(&q, pend, &want) && want == c;
    }
    if (!fits)
        return false;
    *p = q;
    *s = t;
    return true;
}

int glob_match(mf_str pattern, mf_str text)
{
    const char *p = pattern.ptr, *pend = p + pattern.len;
    const char *s = text.ptr, *send = s + text.len;
    const char *star = NULL, *retry = NULL;

    if (!glob_valid(pattern))
        return -1;
    for (unsigned steps = 0; steps < GLOB_STEPS_MAX; steps++) {
        if (p < pend && *p == '*') {
            star = ++p;
            retry = s;
        } else if (s == send && p == pend) {
            return 1;
        } else if (!one(&p, pend, &s, send)) {
            if (!star || retry == send)
                return 0;
            utf8_next(&retry, send);
            p = star;
            s = retry;
        }
    }
    return -1;
}

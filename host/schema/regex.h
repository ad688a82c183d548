/* SPDX-License-Identifier: Apache-2.0
 *
 * regex.h - expressions of ECMA-262, by PCRE2, with a bound on what one match
 * may cost.
 *
 * Why PCRE2: patterns have look-ahead and back references, which no automaton
 * does, and POSIX's regexec() knows neither limits nor \d. Its own extensions
 * are refused where ECMA-262 gives the text another meaning. */
#ifndef SCHEMA_REGEX_H
#define SCHEMA_REGEX_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>

#define REGEX_PATTERN_MAX 8192 /* bytes */
#define REGEX_WHY         160
/* What one match may cost: of the engine's own count, which goes up with each
 * place it comes back to. */
#define REGEX_COST_BASE 2000
#define REGEX_COST_BYTE 64

struct regex;
struct regex_room; /* of one thread */

/* NULL with the reason in why. */
struct regex *regex_compile(mf_str pattern, char why[REGEX_WHY]);
void regex_free(struct regex *r); /* NULL is fine */
size_t regex_bytes(const struct regex *r);

struct regex_room *regex_room_new(void);
void regex_room_free(struct regex_room *m);

enum regex_verdict { REGEX_NO, REGEX_YES, REGEX_GAVE_UP };

/* Anywhere in the text, which is UTF-8. */
enum regex_verdict regex_match(const struct regex *r, mf_str text,
                               struct regex_room *m);

#endif

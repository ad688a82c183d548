/* SPDX-License-Identifier: Apache-2.0
 *
 * glob.h - patterns of whole texts: * any run, ? one character, [abc] and
 * [a-z] one of a set, \x the character x. */
#ifndef MAPPING_GLOB_H
#define MAPPING_GLOB_H

#include <manifold/types.h>
#include <stdbool.h>

#define GLOB_STEPS_MAX 1000000 /* characters looked at in one match */

/* False when a [ is not closed, a range runs backwards or a \ ends it. */
bool glob_valid(mf_str pattern);
/* 1, 0, or -1 when the pattern is not valid or took too many steps. */
int glob_match(mf_str pattern, mf_str text);

#endif

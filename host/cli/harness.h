/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.h - the child of `manifold test` that plays one plugin's cases. */
#ifndef CLI_HARNESS_H
#define CLI_HARNESS_H

#include "cli/cases.h"

#define CASE_FILES_MAX 1000 /* in one cases folder */

/* Loads the plugin and plays its cases from number `from` on. Tells on fd, a
 * JSON object a line: {"begin": what}, then {"passed"|"skipped": true} or
 * {"failure": text} (without a begin: of the plugin as a whole); at the end
 * {"actions", "covered", "done": true}. */
void harness_child(const char *so, const char *cases, size_t from, int fd);

#endif

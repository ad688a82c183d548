/* SPDX-License-Identifier: Apache-2.0
 *
 * target.h - the receivers of a campaign: one listening socket, a behaviour
 * for each first part of a path, and every event that arrives written down in
 * the tally. Outlives the server it receives from. */
#ifndef CLI_TARGET_H
#define CLI_TARGET_H

#include "cli/tally.h"

#include <signal.h>

/* Serves on 127.0.0.1:port until *stop. */
int target_run(int port, struct tally_file *tally,
               const volatile sig_atomic_t *stop, struct err *e);

#endif

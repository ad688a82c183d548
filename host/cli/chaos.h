/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos.h - what the files of `manifold chaos` share. */
#ifndef CLI_CHAOS_H
#define CLI_CHAOS_H

#include <signal.h>

/* The parts by themselves, for campaigns that a script leads: argv[0] is the
 * word ("load", "sink" or "tally"). Exit status; EXIT_USAGE for other words. */
int chaos_tool(int argc, char **argv);

/* Set by TERM and INT once chaos_catch() was called. */
extern volatile sig_atomic_t chaos_stop;
void chaos_catch(void);

#endif

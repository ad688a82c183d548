/* SPDX-License-Identifier: Apache-2.0
 *
 * commands.h - the commands of the program, one function each. argv[0] is the
 * command's name; what they return is the exit status. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

int cmd_map(int argc, char **argv);
int cmd_test(int argc, char **argv);

#endif

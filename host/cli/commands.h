/* SPDX-License-Identifier: Apache-2.0
 *
 * commands.h - the commands of the program, one function each. argv[0] is the
 * command's name; what they return is the exit status. Data goes to standard
 * output, talk to standard error. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_plugins(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_new(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_sink(int argc, char **argv);
int cmd_chaos(int argc, char **argv);
int cmd_pause(int argc, char **argv); /* and resume */
int cmd_dead(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_explain(int argc, char **argv);

#endif

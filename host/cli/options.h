/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - how every command reads its options: before or after operands,
 * --help on standard output with status 0, a wrong one with its usage on
 * standard error and status 2. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <getopt.h>

/* The ends of the lists given to option_next(). */
#define OPTION_HELP { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 }
#define OPTION_JSON { "json", 0, NULL, 'j' }
#define OPTION_CONFIG { "config", 1, NULL, 'c' }

/* The next option's letter with optarg set, -1 after the last: then
 * argv[optind..] are the operands. Ends the program after --help and after
 * what is no option of the command. */
int option_next(int argc, char **argv, const char *shorts,
                const struct option *longs, const char *usage);
/* Says what is wrong, then the usage; returns EXIT_USAGE. */
int usage_error(const char *usage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same unless between `least` and `most` operands are left. */
int operands_check(int argc, int least, int most, const char *usage);

#endif

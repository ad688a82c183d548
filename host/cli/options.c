/* SPDX-License-Identifier: Apache-2.0
 *
 * options.c - see options.h. */
#include "cli/options.h"

#include "cli/commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int option_next(int argc, char **argv, const char *shorts,
                const struct option *longs, const char *usage)
{
    int o = getopt_long(argc, argv, shorts, longs, NULL);

    if (o == 'h') {
        fputs(usage, stdout);
        exit(fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED);
    }
    if (o == '?') { /* getopt_long has said what */
        fputs(usage, stderr);
        exit(EXIT_USAGE);
    }
    return o;
}

int usage_error(const char *usage, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fputs(usage, stderr);
    return EXIT_USAGE;
}

int operands_check(int argc, int least, int most, const char *usage)
{
    int n = argc - optind;

    if (n < least)
        return usage_error(usage, "an operand is missing");
    if (n > most)
        return usage_error(usage, "too many operands: %d, at most %d", n,
                           most);
    return EXIT_OK;
}

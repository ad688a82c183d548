/* SPDX-License-Identifier: Apache-2.0
 *
 * scaffold.h - the texts that `manifold new` writes, one file each. @SLUG@ and
 * @NAME@ in them stand for the plugin's slug and its name for people. */
#ifndef CLI_SCAFFOLD_H
#define CLI_SCAFFOLD_H

#include <stddef.h>

/* Which plugins a file belongs to. */
enum scaffold_for {
    FOR_ALL,
    FOR_DECLARED, /* without C */
    FOR_CODED,    /* with --c */
    FOR_OUTSIDE   /* not in Manifold's own repository */
};

struct scaffold_file {
    const char *path; /* in the plugin's folder */
    enum scaffold_for wanted;
    const char *text;
};

extern const struct scaffold_file scaffold_files[];
extern const size_t scaffold_file_count;

#endif

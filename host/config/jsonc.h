/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonc.h - JSON with comments, made plain JSON where it stands.
 *
 * Line and block comments and a byte order mark become spaces, so every
 * offset, line and column stays what it was. Everything else is as strict as
 * json_check(): a trailing comma is a fault. */
#ifndef CONFIG_JSONC_H
#define CONFIG_JSONC_H

#include <manifold/types.h>
#include <stddef.h>

#define JSONC_DEPTH_MAX 56

struct jsonc_fault {
    size_t offset;
    char text[256]; /* what, and what to do */
};

/* Blanks the comments of text in place, then checks it. 0, or -1 with the
 * first fault. After 0 the text may be walked with json.h. */
int jsonc_read(char *text, size_t len, struct jsonc_fault *fault);

#endif

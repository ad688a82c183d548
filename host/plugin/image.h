/* SPDX-License-Identifier: Apache-2.0
 *
 * image.h - a plugin file as bytes: checked, hashed, its manifest read, all
 * before any of its code could run.
 *
 * The checks are those of design: x86-64 or aarch64 ELF shared object whose
 * tables lie inside the file; the ABI stamp and the manifest present; exports
 * only mf_destination_v1; no writable and executable segment, executable
 * stack, text relocation, or static TLS. A plugin of kind "http" has besides
 * no constructors, no writable data, no thread-local storage, and imports at
 * most the mem* and str* family and what the compiler calls on its own
 * (__stack_chk_fail, __*_chk, sanitizer runtimes in sanitizer builds).
 * Bytes after the last section are legal: they make another version. */
#ifndef PLUGIN_IMAGE_H
#define PLUGIN_IMAGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_BYTES_MAX (64u << 20)
#define IMAGE_HASH_TEXT 17 /* first 8 bytes of SHA-256 in hex, and a NUL */

struct image {
    char *bytes; /* owned */
    size_t len;
    char hash[IMAGE_HASH_TEXT];
    uint32_t abi_major, abi_minor;
    const char *manifest; /* into bytes */
    size_t manifest_len;
};

/* Reads the file (twice fstat'ed: one that changes meanwhile is an error that
 * says to try again) and checks it. dir may be AT_FDCWD. */
int image_read(int dir, const char *path, struct image *out, struct err *e);
/* The same for a file that is open; fd stays the caller's. */
int image_read_fd(int fd, const char *name, struct image *out, struct err *e);
/* The same for bytes at hand; takes them over. */
int image_check(char *bytes, size_t len, const char *name, struct image *out,
                struct err *e);
void image_free(struct image *i);

/* Whether this host holds http plugins to the rules on constructors, writable
 * data and imports: false in sanitizer builds, whose runtimes break them. */
extern const bool image_strict;
int image_check_as(char *bytes, size_t len, const char *name, bool strict,
                   struct image *out, struct err *e);

#endif

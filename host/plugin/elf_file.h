/* SPDX-License-Identifier: Apache-2.0
 *
 * elf_file.h - a shared object as bytes, read the way the loader reads it.
 *
 * elf_read() checks what every plugin must satisfy and fills the struct; the
 * other functions then answer questions. Nothing here trusts a number of the
 * file: every offset is checked against its length before it is followed, and
 * every loop ends at a named limit or at the file's length. */
#ifndef PLUGIN_ELF_FILE_H
#define PLUGIN_ELF_FILE_H

#include "base/err.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_SEGMENTS_MAX  64
#define ELF_LIBRARIES_MAX 64
#define ELF_NAME          512 /* of a section, symbol or library */

/* Made with bytes, len, name and err filled in; bytes are borrowed. */
struct elf {
    const char *bytes;
    size_t len;
    const char *name; /* for errors */
    struct err *err;
    Elf64_Ehdr head;
    Elf64_Phdr load[ELF_SEGMENTS_MAX], dynamic, relro;
    unsigned loads;
    bool has_dynamic, has_relro, has_stack, has_tls;
    uint64_t tag[DT_NUM]; /* of the dynamic segment; 0: not there */
    uint64_t gnu_hash, flags_1;
    uint64_t needed[ELF_LIBRARIES_MAX];
    unsigned needed_count;
    uint64_t symbols;
};

/* Tells "NAME: what"; returns -1. */
int elf_refuse(const struct elf *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* 0, or -1 with f->err told: not an ELF shared object of this machine, cut
 * short, or of a shape that no plugin may have. */
int elf_read(struct elf *f);
/* size bytes at that place of the file; false if they are not all there. */
bool elf_get(const struct elf *f, uint64_t offset, void *to, size_t size);
/* The section of that name, with all its bytes in the file. */
bool elf_section(const struct elf *f, const char *name, Elf64_Shdr *s);
/* The file's bytes behind an address of the loaded object, or NULL when they
 * do not all come from the file. */
const char *elf_at(const struct elf *f, uint64_t address, uint64_t size);
/* A text of the dynamic string table, made harmless to print. */
const char *elf_text(const struct elf *f, uint64_t offset, char out[ELF_NAME]);
/* The same for bytes at hand. */
const char *elf_clean(const char *p, const char *end, char out[ELF_NAME]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture.h - the smallest plugin file there can be, written by hand.
 *
 * For tests: each part of it can be bent alone, and no compiler is needed to
 * make one. It passes all checks but holds no code and cannot be loaded. */
#ifndef PLUGIN_FIXTURE_H
#define PLUGIN_FIXTURE_H

#include <elf.h>
#include <stdint.h>
#include <string.h>

#define FAKE_SIZE 8192

#if defined(__x86_64__)
#define MACHINE   EM_X86_64
#define FOREIGN   EM_AARCH64
#define IRELATIVE R_X86_64_IRELATIVE
#else
#define MACHINE   EM_AARCH64
#define FOREIGN   EM_X86_64
#define IRELATIVE R_AARCH64_IRELATIVE
#endif

/* Where the parts of the hand-made file stand. */
enum {
    AT_HEADERS = 64, AT_HASH = 0x300, AT_SYMBOLS = 0x340, AT_NAMES = 0x400,
    AT_RELOCATIONS = 0x500, AT_NOTE = 0x580, AT_SECTION_NAMES = 0x600,
    AT_MANIFEST = 0x700, AT_DYNAMIC = 0x1000, AT_SECTIONS = 0x1200
};

enum { LOAD_TEXT, LOAD_DATA, DYNAMIC, RELRO, STACK, SPARE, SEGMENTS };
enum { SYM_NULL, SYM_IMPORT, SYM_EXPORT, SYM_SPARE, SYMBOLS };
enum { SEC_NULL, SEC_NOTE, SEC_MANIFEST, SEC_NAMES, SECTIONS };
enum {
    TAG_HASH, TAG_SYMTAB, TAG_STRTAB, TAG_STRSZ, TAG_SYMENT, TAG_RELA,
    TAG_RELASZ, TAG_NEEDED, TAG_SPARE, TAG_SPARE2, TAG_END, TAGS
};

struct fake {
    _Alignas(16) char bytes[FAKE_SIZE];
    size_t len;
    Elf64_Ehdr *head;
    Elf64_Phdr *segment;
    Elf64_Sym *symbol;
    Elf64_Rela *relocation;
    Elf64_Dyn *tag;
    Elf64_Shdr *section;
    uint32_t *note, *hash;
    char *names;
};

#define NAMES                                                                  \
    "\0memcpy\0mf_destination_v1\0libc.so.6\0libevil.so\0system\0"             \
    "mf_destination_v2\0__asan_init\0other\0"
#define NAME_IMPORT 1
#define NAME_EXPORT 8
#define NAME_LIBC   26
#define NAME_EVIL   36
#define NAME_SYSTEM 47
#define NAME_V2     54
#define NAME_ASAN   72
#define NAME_OTHER  84

static inline void fake_tags(struct fake *f)
{
    const Elf64_Dyn tags[TAGS] = {
        [TAG_HASH] = { DT_HASH, { AT_HASH } },
        [TAG_SYMTAB] = { DT_SYMTAB, { AT_SYMBOLS } },
        [TAG_STRTAB] = { DT_STRTAB, { AT_NAMES } },
        [TAG_STRSZ] = { DT_STRSZ, { sizeof NAMES } },
        [TAG_SYMENT] = { DT_SYMENT, { sizeof(Elf64_Sym) } },
        [TAG_RELA] = { DT_RELA, { AT_RELOCATIONS } },
        [TAG_RELASZ] = { DT_RELASZ, { sizeof(Elf64_Rela) } },
        [TAG_NEEDED] = { DT_NEEDED, { NAME_LIBC } },
        [TAG_SPARE] = { DT_SONAME, { NAME_OTHER } },
        [TAG_SPARE2] = { DT_SONAME, { NAME_OTHER } },
    };

    memcpy(f->tag, tags, sizeof tags);
}

static inline void fake_sections(struct fake *f, size_t manifest_len)
{
    static const char names[] = "\0.note.manifold\0.manifold.manifest\0.names";

    memcpy(f->bytes + AT_SECTION_NAMES, names, sizeof names);
    f->section[SEC_NOTE] = (Elf64_Shdr){ .sh_name = 1, .sh_type = SHT_NOTE,
                                         .sh_offset = AT_NOTE, .sh_size = 32 };
    f->section[SEC_MANIFEST] =
        (Elf64_Shdr){ .sh_name = 16, .sh_type = SHT_PROGBITS,
                      .sh_offset = AT_MANIFEST,
                      .sh_size = manifest_len };
    f->section[SEC_NAMES] =
        (Elf64_Shdr){ .sh_name = 35, .sh_type = SHT_STRTAB,
                      .sh_offset = AT_SECTION_NAMES, .sh_size = sizeof names };
}

static inline void fake_segments(struct fake *f)
{
    f->segment[LOAD_TEXT] = (Elf64_Phdr){ .p_type = PT_LOAD,
                                          .p_flags = PF_R | PF_X,
                                          .p_filesz = 0x1000,
                                          .p_memsz = 0x1000 };
    f->segment[LOAD_DATA] =
        (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_W,
                      .p_offset = AT_DYNAMIC, .p_vaddr = AT_DYNAMIC,
                      .p_filesz = 0x200, .p_memsz = 0x200 };
    f->segment[DYNAMIC] = (Elf64_Phdr){ .p_type = PT_DYNAMIC,
                                        .p_offset = AT_DYNAMIC,
                                        .p_vaddr = AT_DYNAMIC,
                                        .p_filesz = TAGS * sizeof(Elf64_Dyn),
                                        .p_memsz = TAGS * sizeof(Elf64_Dyn) };
    f->segment[RELRO] = f->segment[LOAD_DATA];
    f->segment[RELRO].p_type = PT_GNU_RELRO;
    f->segment[STACK] =
        (Elf64_Phdr){ .p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W };
}

/* The manifest has less than 2 KB. */
static inline void fake_make(struct fake *f, const char *manifest)
{
    memset(f, 0, sizeof *f);
    f->len = AT_SECTIONS + SECTIONS * sizeof(Elf64_Shdr);
    f->head = (void *)f->bytes;
    f->segment = (void *)(f->bytes + AT_HEADERS);
    f->symbol = (void *)(f->bytes + AT_SYMBOLS);
    f->relocation = (void *)(f->bytes + AT_RELOCATIONS);
    f->tag = (void *)(f->bytes + AT_DYNAMIC);
    f->section = (void *)(f->bytes + AT_SECTIONS);
    f->note = (void *)(f->bytes + AT_NOTE);
    f->hash = (void *)(f->bytes + AT_HASH);
    f->names = f->bytes + AT_NAMES;
    *f->head = (Elf64_Ehdr){
        .e_ident = { 0x7F, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_DYN, .e_machine = MACHINE, .e_version = EV_CURRENT,
        .e_phoff = AT_HEADERS, .e_shoff = AT_SECTIONS,
        .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = SEGMENTS, .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = SECTIONS, .e_shstrndx = SEC_NAMES
    };
    memcpy(f->names, NAMES, sizeof NAMES);
    f->hash[0] = 1;
    f->hash[1] = SYMBOLS - 1; /* the spare one is not there */
    f->symbol[SYM_IMPORT] =
        (Elf64_Sym){ NAME_IMPORT, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0,
                     SHN_UNDEF, 0, 0 };
    f->symbol[SYM_EXPORT] =
        (Elf64_Sym){ NAME_EXPORT, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 1,
                     AT_DYNAMIC, 56 };
    f->symbol[SYM_SPARE] =
        (Elf64_Sym){ NAME_OTHER, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 64,
                     8 };
    f->relocation[0].r_info = ELF64_R_INFO(SYM_IMPORT, 1);
    memcpy(f->note, (const uint32_t[]){ 9, 8, 1 }, 12);
    memcpy(f->note + 3, "manifold", 9);
    f->note[6] = 1;
    memcpy(f->bytes + AT_MANIFEST, manifest, strlen(manifest));
    fake_tags(f);
    fake_sections(f, strlen(manifest));
    fake_segments(f);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * image.c - see image.h.
 *
 * Two readers look at an ELF file: tools by its section headers, the dynamic
 * loader by its program headers. The manifest and the stamp are sections and
 * are read as such; whatever the loader acts upon (symbols, constructors,
 * relocations) is read the way the loader does, so that section headers that
 * lie change nothing. Every offset comes from the file and is checked against
 * its length before it is followed; every loop ends at a named limit or at
 * the file's length. */
#include "plugin/image.h"

#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/json.h"
#include "plugin/manifest.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <manifold/destination.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef MANIFOLD_SANITIZE
const bool image_strict = false;
#else
const bool image_strict = true;
#endif

#if defined(__x86_64__)
#define OWN_MACHINE   EM_X86_64
#define OWN_IRELATIVE R_X86_64_IRELATIVE
#elif defined(__aarch64__)
#define OWN_MACHINE   EM_AARCH64
#define OWN_IRELATIVE R_AARCH64_IRELATIVE
#else
#error "plugins are known for x86-64 and aarch64 alone"
#endif

#define SECTIONS_MAX 4096
#define SEGMENTS_MAX 64
#define DYNAMIC_MAX  1024
#define NAME_MAX_LEN 512 /* of a section, symbol or library */
#define PAGE         4096

#define STAMP_SECTION    ".note.manifold"
#define MANIFEST_SECTION ".manifold.manifest"
#define SYMBOL_PREFIX    "mf_destination_v"

struct elf {
    const char *bytes;
    size_t len;
    const char *name; /* for errors */
    bool strict;
    struct err *err;
    Elf64_Ehdr head;
    Elf64_Phdr load[SEGMENTS_MAX], dynamic, relro;
    unsigned loads;
    bool has_dynamic, has_relro, has_stack, has_tls;
    uint64_t tag[DT_NUM]; /* of the dynamic segment; 0: not there */
    uint64_t gnu_hash, flags_1;
    uint64_t needed[64];
    unsigned needed_count;
    uint64_t symbols;
};

/* What a plugin of kind http may import: pure functions over memory it was
 * given, and what compilers call on their own. Ends in NULL. */
static const char *const imports[] = {
    "memcpy",       "memmove",      "memset",      "memcmp",
    "memchr",       "memrchr",      "memmem",      "strlen",
    "strnlen",      "strcmp",       "strncmp",     "strcasecmp",
    "strncasecmp",  "strchr",       "strrchr",     "strchrnul",
    "strstr",       "strcasestr",   "strspn",      "strcspn",
    "strpbrk",      "stpcpy",       "stpncpy",     "strncpy",
    "strtol",       "strtoul",      "strtoll",     "strtoull",
    "strtod",       "bcmp",         "rawmemchr",   "__memcpy_chk",
    "__memmove_chk", "__memset_chk", "__mempcpy_chk", "mempcpy",
    "__strncpy_chk", "__stpncpy_chk", "__stpcpy_chk", "__strcpy_chk",
    "__strcat_chk", "__strncat_chk", "__stack_chk_fail",
    "__stack_chk_guard", NULL,
};

/* Libraries whose loading runs nothing that is not already running. */
static const char *const libraries[] = {
    "libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", NULL,
};

/* ---- reading what may lie ---- */

__attribute__((format(printf, 2, 3)))
static int refuse(const struct elf *f, const char *format, ...)
{
    char what[ERR_TEXT];
    va_list ap;

    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    return err_set(f->err, "%s: %s", f->name, what);
}

static bool inside(const struct elf *f, uint64_t offset, uint64_t size)
{
    return offset <= f->len && size <= f->len - offset;
}

static bool get(const struct elf *f, uint64_t offset, void *to, size_t size)
{
    if (!inside(f, offset, size))
        return false;
    memcpy(to, f->bytes + offset, size);
    return true;
}

/* The file's bytes behind an address of the loaded object, or NULL when they
 * do not all come from the file. */
static const char *at_address(const struct elf *f, uint64_t address,
                              uint64_t size)
{
    for (unsigned i = 0; i < f->loads; i++) {
        const Elf64_Phdr *s = &f->load[i];

        if (address < s->p_vaddr || address - s->p_vaddr > s->p_filesz ||
            size > s->p_filesz - (address - s->p_vaddr))
            continue;
        return f->bytes + s->p_offset + (address - s->p_vaddr);
    }
    return NULL;
}

/* Printable and bounded: a hostile name must not reach a terminal. */
static const char *clean(const char *p, const char *end,
                         char out[NAME_MAX_LEN])
{
    size_t n = 0;

    for (; p < end && *p && n < NAME_MAX_LEN - 1; p++)
        out[n++] = *p > ' ' && *p < 127 ? *p : '?';
    out[n] = 0;
    return out;
}

static bool listed(const char *name, const char *const *list)
{
    while (*list && strcmp(*list, name) != 0)
        list++;
    return *list != NULL;
}

/* ---- header and sections ---- */

static int no_elf(const struct elf *f)
{
    size_t text = 0;

    if (f->len == 0)
        return refuse(f, "the file is empty; is it still being copied?");
    while (text < f->len && text < 64 &&
           ((f->bytes[text] >= ' ' && f->bytes[text] < 127) ||
            strchr("\t\r\n", f->bytes[text])) &&
           f->bytes[text])
        text++;
    if (text == f->len || text == 64)
        return refuse(f, "not a plugin: a text file, not an ELF shared object");
    if (f->len < sizeof f->head && f->bytes[0] == ELFMAG0)
        return refuse(f, "truncated: the ELF header ends at byte %zu, the "
                         "file has %zu; is it still being copied?",
                      sizeof f->head, f->len);
    return refuse(f, "not a plugin: not an ELF shared object");
}

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86-64";
    case EM_AARCH64:
        return "aarch64";
    case EM_386:
        return "32-bit x86";
    case EM_ARM:
        return "32-bit ARM";
    case EM_RISCV:
        return "RISC-V";
    default:
        return "another machine";
    }
}

static int read_header(struct elf *f)
{
    if (!get(f, 0, &f->head, sizeof f->head) ||
        memcmp(f->head.e_ident, ELFMAG, SELFMAG) != 0)
        return no_elf(f);
    if (f->head.e_ident[EI_CLASS] != ELFCLASS64 ||
        f->head.e_ident[EI_DATA] != ELFDATA2LSB ||
        f->head.e_machine != OWN_MACHINE)
        return refuse(f, "built for %s, this host is %s",
                      machine_name(f->head.e_machine),
                      machine_name(OWN_MACHINE));
    if (f->head.e_type != ET_DYN)
        return refuse(f, "not a plugin: an ELF file, but no shared object");
    if (f->head.e_version != EV_CURRENT ||
        f->head.e_ident[EI_VERSION] != EV_CURRENT)
        return refuse(f, "not a plugin: an ELF version nobody knows");
    return 0;
}

static bool section(const struct elf *f, unsigned i, Elf64_Shdr *s)
{
    return get(f, f->head.e_shoff + (uint64_t)i * sizeof *s, s, sizeof *s);
}

static int check_sections(const struct elf *f)
{
    uint64_t n = f->head.e_shnum, end;
    Elf64_Shdr s;

    if (f->head.e_shoff == 0 || n == 0)
        return refuse(f, "no section headers: strip plugins with `strip "
                         "--strip-unneeded` at most");
    if (n > SECTIONS_MAX || f->head.e_shentsize != sizeof s ||
        f->head.e_shstrndx >= n)
        return refuse(f, "damaged: its section headers make no sense");
    if (__builtin_add_overflow(f->head.e_shoff, n * sizeof s, &end) ||
        end > f->len)
        return refuse(f, "truncated: section headers end at byte %llu, the "
                         "file has %zu; is it still being copied?",
                      (unsigned long long)f->head.e_shoff +
                          (unsigned long long)(n * sizeof s),
                      f->len);
    for (unsigned i = 0; i < n; i++) {
        section(f, i, &s);
        if (s.sh_type != SHT_NOBITS && s.sh_type != SHT_NULL &&
            !inside(f, s.sh_offset, s.sh_size))
            return refuse(f, "truncated: section %u ends at byte %llu, the "
                             "file has %zu; is it still being copied?",
                          i,
                          (unsigned long long)s.sh_offset +
                              (unsigned long long)s.sh_size,
                          f->len);
    }
    section(f, f->head.e_shstrndx, &s);
    if (s.sh_type != SHT_STRTAB)
        return refuse(f, "damaged: its section headers are empty; is it "
                         "still being copied?");
    return 0;
}

/* The section of that name, with bytes in the file. */
static bool find_section(const struct elf *f, const char *name, Elf64_Shdr *s)
{
    size_t want = strlen(name) + 1;
    Elf64_Shdr names;

    section(f, f->head.e_shstrndx, &names);
    for (unsigned i = 0; i < f->head.e_shnum; i++) {
        section(f, i, s);
        if (s->sh_type == SHT_NOBITS || s->sh_type == SHT_NULL ||
            s->sh_name > names.sh_size || names.sh_size - s->sh_name < want)
            continue;
        if (memcmp(f->bytes + names.sh_offset + s->sh_name, name, want) == 0)
            return true;
    }
    return false;
}

/* ---- segments ---- */

static int take_load(struct elf *f, const Elf64_Phdr *p)
{
    const Elf64_Phdr *before = f->loads ? &f->load[f->loads - 1] : NULL;
    uint64_t end;

    if (p->p_filesz > p->p_memsz || p->p_memsz > IMAGE_BYTES_MAX ||
        __builtin_add_overflow(p->p_vaddr, p->p_memsz, &end) ||
        (before && p->p_vaddr < before->p_vaddr + before->p_memsz))
        return refuse(f, "damaged: its segments overlap or are out of bounds");
    if ((p->p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
        return refuse(f, "a segment is both writable and executable; link "
                         "without -N and without -z execstack");
    f->load[f->loads++] = *p;
    return 0;
}

static int take_segment(struct elf *f, const Elf64_Phdr *p)
{
    if (p->p_type != PT_NULL && !inside(f, p->p_offset, p->p_filesz))
        return refuse(f, "truncated: a segment ends at byte %llu, the file "
                         "has %zu; is it still being copied?",
                      (unsigned long long)p->p_offset +
                          (unsigned long long)p->p_filesz,
                      f->len);
    switch (p->p_type) {
    case PT_LOAD:
        return take_load(f, p);
    case PT_INTERP:
        return refuse(f, "not a plugin: a program; link it with -shared");
    case PT_DYNAMIC:
        if (f->has_dynamic)
            return refuse(f, "damaged: two dynamic segments");
        f->has_dynamic = true;
        f->dynamic = *p;
        return 0;
    case PT_GNU_RELRO:
        if (f->has_relro)
            return refuse(f, "damaged: two relro segments");
        f->has_relro = true;
        f->relro = *p;
        return 0;
    case PT_GNU_STACK:
        f->has_stack = true;
        if (p->p_flags & PF_X)
            return refuse(f, "asks for an executable stack; link with "
                             "-z noexecstack");
        return 0;
    case PT_TLS:
        f->has_tls = true;
        return 0;
    default:
        return 0;
    }
}

static int read_segments(struct elf *f)
{
    uint64_t n = f->head.e_phnum;
    Elf64_Phdr p;

    if (n == 0 || n > SEGMENTS_MAX || f->head.e_phentsize != sizeof p ||
        !inside(f, f->head.e_phoff, n * sizeof p))
        return refuse(f, "damaged: its program headers make no sense");
    for (unsigned i = 0; i < n; i++) {
        get(f, f->head.e_phoff + i * sizeof p, &p, sizeof p);
        if (take_segment(f, &p) != 0)
            return -1;
    }
    if (!f->has_stack)
        return refuse(f, "asks for an executable stack (no GNU_STACK header); "
                         "link with -z noexecstack");
    if (!f->has_dynamic)
        return refuse(f, "not a plugin: no dynamic segment");
    return 0;
}

/* ---- the dynamic segment ---- */

static int take_tag(struct elf *f, const Elf64_Dyn *d)
{
    switch (d->d_tag) {
    case DT_NEEDED:
        if (f->needed_count == COUNT_OF(f->needed))
            return refuse(f, "needs more than %zu libraries",
                          COUNT_OF(f->needed));
        f->needed[f->needed_count++] = d->d_un.d_val;
        return 0;
    case DT_GNU_HASH:
        f->gnu_hash = d->d_un.d_ptr;
        return 0;
    case DT_FLAGS_1:
        f->flags_1 = d->d_un.d_val;
        return 0;
    case DT_FILTER:
    case DT_AUXILIARY:
        return refuse(f, "is a filter for another library");
    default:
        if (d->d_tag > 0 && d->d_tag < DT_NUM)
            f->tag[d->d_tag] = d->d_un.d_val;
        return 0;
    }
}

static int read_dynamic(struct elf *f)
{
    uint64_t n = f->dynamic.p_filesz / sizeof(Elf64_Dyn);
    const char *p = at_address(f, f->dynamic.p_vaddr, n * sizeof(Elf64_Dyn));
    Elf64_Dyn d = { .d_tag = DT_NULL };
    uint64_t flags;

    if (!p || n > DYNAMIC_MAX)
        return refuse(f, "damaged: its dynamic segment is not in the file");
    for (uint64_t i = 0; i < n; i++) {
        memcpy(&d, p + i * sizeof d, sizeof d);
        if (d.d_tag == DT_NULL)
            break;
        if (take_tag(f, &d) != 0)
            return -1;
    }
    flags = f->tag[DT_FLAGS];
    if (f->tag[DT_TEXTREL] || flags & DF_TEXTREL)
        return refuse(f, "has text relocations; compile with -fPIC");
    if (flags & DF_STATIC_TLS)
        return refuse(f, "uses static thread-local storage; compile without "
                         "-ftls-model=initial-exec");
    if (f->flags_1 & DF_1_PIE)
        return refuse(f, "not a plugin: a program; link it with -shared");
    return 0;
}

static bool get_u32(const struct elf *f, uint64_t address, uint32_t *v)
{
    const char *p = at_address(f, address, sizeof *v);

    if (p)
        memcpy(v, p, sizeof *v);
    return p != NULL;
}

/* Walks the last chain to its end: the loader knows no other count. */
static bool count_gnu_hash(struct elf *f)
{
    uint32_t buckets, first, bloom, last = 0, v = 0;
    uint64_t at, chains;

    if (!get_u32(f, f->gnu_hash, &buckets) ||
        !get_u32(f, f->gnu_hash + 4, &first) ||
        !get_u32(f, f->gnu_hash + 8, &bloom))
        return false;
    at = f->gnu_hash + 16 + (uint64_t)bloom * 8;
    chains = at + (uint64_t)buckets * 4;
    if (buckets && !at_address(f, at, (uint64_t)buckets * 4))
        return false;
    for (uint32_t i = 0; i < buckets; i++) {
        get_u32(f, at + (uint64_t)i * 4, &v);
        last = v > last ? v : last;
    }
    f->symbols = first;
    if (last < first)
        return true;
    for (uint64_t i = last;; i++) {
        if (!get_u32(f, chains + (i - first) * 4, &v))
            return false;
        if (v & 1) {
            f->symbols = i + 1;
            return true;
        }
    }
}

static int count_symbols(struct elf *f)
{
    uint32_t chains;
    bool ok = false;

    if (f->gnu_hash)
        ok = count_gnu_hash(f);
    else if (f->tag[DT_HASH] && get_u32(f, f->tag[DT_HASH] + 4, &chains)) {
        f->symbols = chains;
        ok = true;
    }
    if (!ok || f->tag[DT_SYMENT] != sizeof(Elf64_Sym) ||
        !at_address(f, f->tag[DT_STRTAB], f->tag[DT_STRSZ]) ||
        !at_address(f, f->tag[DT_SYMTAB], f->symbols * sizeof(Elf64_Sym)))
        return refuse(f, "damaged: its symbol table is not in the file");
    return 0;
}

static const char *dynamic_text(const struct elf *f, uint64_t offset,
                                char out[NAME_MAX_LEN])
{
    uint64_t size = f->tag[DT_STRSZ];
    const char *text = at_address(f, f->tag[DT_STRTAB], size);

    if (!text || offset >= size)
        return "?";
    return clean(text + offset, text + size, out);
}

/* ---- symbols ---- */

/* A sanitizer's runtime is the host's; it exports and imports at will. */
static bool of_sanitizer(const char *name)
{
    static const char *const prefixes[] = {
        "__asan_",      "__ubsan_",    "__sanitizer_", "__odr_asan",
        "__tsan_",      "__start_asan", "__stop_asan",  "__lsan_",
        "__start___sanc", "__stop___sanc", "libasan.",  "libubsan.",
        "libtsan.",
    };

    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (str_starts(mf_cstr(name), mf_cstr(prefixes[i])))
            return true;
    return false;
}

static int refuse_sanitizer(const struct elf *f, const char *name)
{
    return refuse(f, "built with a sanitizer (it needs %s), this host is not",
                  name);
}

static bool is_descriptor(const char *name)
{
    uint64_t version;

    return str_starts(mf_cstr(name), MF_STR(SYMBOL_PREFIX)) &&
           parse_u64(mf_cstr(name + sizeof SYMBOL_PREFIX - 1), &version);
}

static int check_import(const struct elf *f, const Elf64_Sym *s,
                        const char *name)
{
    if (!*name || listed(name, imports) || !f->strict)
        return 0;
    if (of_sanitizer(name))
        return refuse_sanitizer(f, name);
    /* Left undefined by the linker's start files; NULL does no harm. */
    return refuse(f, "imports %s%s: a plugin of kind http may call nothing "
                     "but the host and the mem* and str* functions",
                  name,
                  ELF64_ST_BIND(s->st_info) == STB_WEAK
                      ? " (weakly; link with -nostartfiles)"
                      : "");
}

static int check_export(const struct elf *f, const Elf64_Sym *s,
                        const char *name, unsigned *descriptors)
{
    unsigned bind = ELF64_ST_BIND(s->st_info);

    if (bind == STB_LOCAL)
        return 0;
    if (is_descriptor(name) && ELF64_ST_TYPE(s->st_info) == STT_OBJECT) {
        if (strcmp(name, SYMBOL_PREFIX "1") == 0)
            ++*descriptors;
        return 0;
    }
    if (of_sanitizer(name) && !f->strict)
        return 0;
    return refuse(f, "exports %s: a plugin exports mf_destination_v1 alone; "
                     "compile with -fvisibility=hidden",
                  name);
}

static int check_symbols(const struct elf *f, bool http)
{
    const char *table =
        at_address(f, f->tag[DT_SYMTAB], f->symbols * sizeof(Elf64_Sym));
    unsigned descriptors = 0;
    char name[NAME_MAX_LEN];
    Elf64_Sym s;

    for (uint64_t i = 1; i < f->symbols; i++) {
        memcpy(&s, table + i * sizeof s, sizeof s);
        dynamic_text(f, s.st_name, name);
        if (s.st_shndx == SHN_UNDEF) {
            if (http && check_import(f, &s, name) != 0)
                return -1;
            continue;
        }
        if (check_export(f, &s, name, &descriptors) != 0)
            return -1;
        if (http && f->strict && ELF64_ST_TYPE(s.st_info) == STT_GNU_IFUNC)
            return refuse(f, "%s is chosen by code at load time (ifunc)",
                          name);
    }
    if (descriptors != 1)
        return refuse(f, "does not export mf_destination_v1");
    return 0;
}

/* ---- what else a plugin of kind http must not have ---- */

static int check_relocations(const struct elf *f, uint64_t at, uint64_t size)
{
    uint64_t n = size / sizeof(Elf64_Rela);
    const char *p = at_address(f, at, n * sizeof(Elf64_Rela));
    Elf64_Rela r;

    if (n && !p)
        return refuse(f, "damaged: its relocations are not in the file");
    for (uint64_t i = 0; i < n; i++) {
        memcpy(&r, p + i * sizeof r, sizeof r);
        if (ELF64_R_SYM(r.r_info) >= f->symbols && ELF64_R_SYM(r.r_info))
            return refuse(f, "damaged: a relocation names no symbol");
        if (f->strict && ELF64_R_TYPE(r.r_info) == OWN_IRELATIVE)
            return refuse(f, "has a relocation that runs code (ifunc)");
    }
    return 0;
}

static int check_constructors(const struct elf *f)
{
    static const struct {
        int tag, size;
        const char *what;
    } list[] = {
        { DT_INIT, DT_INIT, "an initialiser (_init)" },
        { DT_INIT_ARRAY, DT_INIT_ARRAYSZ, "a constructor" },
        { DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ, "a constructor" },
        { DT_FINI, DT_FINI, "a finaliser (_fini)" },
        { DT_FINI_ARRAY, DT_FINI_ARRAYSZ, "a destructor" },
    };

    for (size_t i = 0; i < COUNT_OF(list); i++)
        if (f->tag[list[i].tag] && f->tag[list[i].size])
            return refuse(f, "has %s: it would run before the host could "
                             "stop it; remove it, link with -nostartfiles",
                          list[i].what);
    return 0;
}

/* The name of the data object at an address, for the error that it must not
 * be there; "" if the file was stripped of its symbols. */
static const char *object_at(const struct elf *f, uint64_t from, uint64_t to,
                             char out[NAME_MAX_LEN])
{
    Elf64_Shdr table, names;
    Elf64_Sym s;

    if (!find_section(f, ".symtab", &table) ||
        !find_section(f, ".strtab", &names))
        return "";
    for (uint64_t i = 0; i < table.sh_size / sizeof s; i++) {
        get(f, table.sh_offset + i * sizeof s, &s, sizeof s);
        if (ELF64_ST_TYPE(s.st_info) == STT_OBJECT && s.st_value >= from &&
            s.st_value < to && s.st_name < names.sh_size)
            return clean(f->bytes + names.sh_offset + s.st_name,
                         f->bytes + names.sh_offset + names.sh_size, out);
    }
    return "";
}

/* Whatever is writable must be what the loader seals after relocation. */
static int check_writable(const struct elf *f)
{
    uint64_t sealed = f->relro.p_vaddr + f->relro.p_memsz;
    char name[NAME_MAX_LEN];

    for (unsigned i = 0; i < f->loads; i++) {
        const Elf64_Phdr *s = &f->load[i];
        uint64_t end = s->p_vaddr + s->p_memsz, from = s->p_vaddr;
        const char *what;

        if (!(s->p_flags & PF_W) || s->p_memsz == 0)
            continue;
        if (f->has_relro && f->relro.p_vaddr <= s->p_vaddr && sealed >= end)
            continue;
        if (f->has_relro && f->relro.p_vaddr <= s->p_vaddr && sealed > from)
            from = sealed;
        what = object_at(f, from, end, name);
        return refuse(f, "has %llu bytes of writable data%s%s: a plugin of "
                         "kind http keeps no state in globals; make them "
                         "const, link with -z relro -z now",
                      (unsigned long long)(end - from), *what ? ", such as " : "",
                      what);
    }
    return 0;
}

static int check_http(const struct elf *f)
{
    char name[NAME_MAX_LEN];

    if (!f->strict)
        return 0;
    for (unsigned i = 0; i < f->needed_count; i++) {
        if (listed(dynamic_text(f, f->needed[i], name), libraries))
            continue;
        if (of_sanitizer(name))
            return refuse_sanitizer(f, name);
        return refuse(f, "needs the library %s: a plugin of kind http links "
                         "against nothing",
                      name);
    }
    if (check_constructors(f) != 0)
        return -1;
    if (f->has_tls)
        return refuse(f, "has thread-local storage: a plugin of kind http "
                         "keeps no state");
    return check_writable(f);
}

/* ---- what it says of itself ---- */

static int read_stamp(const struct elf *f, struct image *out)
{
    struct {
        uint32_t namesz, descsz, type;
        char owner[12];
        uint32_t major, minor;
    } note;
    Elf64_Shdr s;

    if (!find_section(f, STAMP_SECTION, &s))
        return refuse(f, "not a plugin: no " STAMP_SECTION
                         " section; build it with manifold_plugin()");
    if (s.sh_size < sizeof note || !get(f, s.sh_offset, &note, sizeof note) ||
        note.namesz != 9 || note.descsz != 8 || note.type != 1 ||
        memcmp(note.owner, "manifold", 9) != 0)
        return refuse(f, "damaged: its " STAMP_SECTION " section is not one");
    out->abi_major = note.major;
    out->abi_minor = note.minor;
    if (note.major != MF_ABI_MAJOR)
        return refuse(f, "built for ABI %u, this host speaks %u", note.major,
                      MF_ABI_MAJOR);
    return 0;
}

static int read_manifest(const struct elf *f, struct image *out)
{
    Elf64_Shdr s;

    if (!find_section(f, MANIFEST_SECTION, &s))
        return refuse(f, "not a plugin: no " MANIFEST_SECTION
                         " section; build it with manifold_plugin()");
    if (s.sh_size == 0 || s.sh_size > MANIFEST_BYTES_MAX)
        return refuse(f, "its manifest has %llu bytes, 1 to %u are allowed",
                      (unsigned long long)s.sh_size, MANIFEST_BYTES_MAX);
    out->manifest = f->bytes + s.sh_offset;
    out->manifest_len = (size_t)s.sh_size;
    return 0;
}

/* Whether the stricter rules hold: everything that does not clearly say
 * "native" is http. */
static int read_kind(const struct elf *f, const struct image *i, bool *http)
{
    mf_str text = { i->manifest, i->manifest_len };
    struct json_fault fault;
    unsigned line, column;
    mf_val kind;

    if (json_check(text, JSON_DEPTH_MAX, &fault) != 0) {
        json_place(text, fault.offset, &line, &column);
        return refuse(f, "its manifest is not JSON: line %u, column %u: %s",
                      line, column, fault.what);
    }
    kind = json_get(json_root(text), MF_STR("kind"));
    *http = !(kind.type == MF_STRING &&
              mf_eq((mf_str){ kind.raw, kind.len }, MF_STR("\"native\"")));
    return 0;
}

static int check(struct elf *f, struct image *out)
{
    bool http = true;

    if (read_header(f) != 0 || check_sections(f) != 0 ||
        read_segments(f) != 0 || read_stamp(f, out) != 0 ||
        read_manifest(f, out) != 0 || read_kind(f, out, &http) != 0 ||
        read_dynamic(f) != 0 || count_symbols(f) != 0)
        return -1;
    if (http && check_http(f) != 0)
        return -1;
    if (check_symbols(f, http) != 0)
        return -1;
    if (http && (check_relocations(f, f->tag[DT_RELA],
                                   f->tag[DT_RELASZ]) != 0 ||
                 check_relocations(f, f->tag[DT_JMPREL],
                                   f->tag[DT_PLTRELSZ]) != 0))
        return -1;
    return 0;
}

static void hash(const char *bytes, size_t len, char out[IMAGE_HASH_TEXT])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    ASSERT(EVP_Digest(bytes, len, sum, &n, EVP_sha256(), NULL) == 1);
    for (unsigned i = 0; i < (IMAGE_HASH_TEXT - 1) / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

/* ---- public ---- */

int image_check_as(char *bytes, size_t len, const char *name, bool strict,
                   struct image *out, struct err *e)
{
    struct elf f = { .bytes = bytes, .len = len, .name = name,
                     .strict = strict, .err = e };

    *out = (struct image){ .bytes = bytes, .len = len };
    if (check(&f, out) != 0) {
        image_free(out);
        return -1;
    }
    hash(bytes, len, out->hash);
    return 0;
}

int image_check(char *bytes, size_t len, const char *name, struct image *out,
                struct err *e)
{
    return image_check_as(bytes, len, name, image_strict, out, e);
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ino == b->st_ino &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

int image_read_fd(int fd, const char *name, struct image *out, struct err *e)
{
    struct stat before, after;
    char *bytes;

    *out = (struct image){ 0 };
    if (fstat(fd, &before) != 0)
        return err_sys(e, "%s: cannot be examined", name);
    if (!S_ISREG(before.st_mode))
        return err_set(e, "%s: not a regular file", name);
    if ((uint64_t)before.st_size > IMAGE_BYTES_MAX)
        return err_set(e, "%s: %lld bytes, a plugin has at most %u", name,
                       (long long)before.st_size, IMAGE_BYTES_MAX);
    bytes = xmalloc((size_t)before.st_size + 1);
    errno = 0;
    if (io_pread_all(fd, bytes, (size_t)before.st_size, 0) != 0) {
        free(bytes);
        if (errno == 0)
            return err_set(e, "%s: changed while it was read; try again", name);
        return err_sys(e, "%s: cannot be read", name);
    }
    if (fstat(fd, &after) != 0 || !same(&before, &after)) {
        free(bytes);
        return err_set(e, "%s: changed while it was read; try again", name);
    }
    return image_check(bytes, (size_t)before.st_size, name, out, e);
}

int image_read(int dir, const char *path, struct image *out, struct err *e)
{
    int fd = io.openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0), rc;

    *out = (struct image){ 0 };
    if (fd < 0)
        return err_sys(e, "%s: cannot be opened", path);
    rc = image_read_fd(fd, path, out, e);
    close(fd);
    return rc;
}

void image_free(struct image *i)
{
    free(i->bytes);
    *i = (struct image){ 0 };
}

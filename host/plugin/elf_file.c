/* SPDX-License-Identifier: Apache-2.0
 *
 * elf_file.c - see elf_file.h. */
#include "plugin/elf_file.h"

#include "base/mem.h"
#include "plugin/image.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#error "plugins are known for x86-64 and aarch64 alone"
#endif

#define SECTIONS_MAX 4096
#define DYNAMIC_MAX  1024

/* ---- reading what may lie ---- */

int elf_refuse(const struct elf *f, const char *format, ...)
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

bool elf_get(const struct elf *f, uint64_t offset, void *to, size_t size)
{
    if (!inside(f, offset, size))
        return false;
    memcpy(to, f->bytes + offset, size);
    return true;
}

const char *elf_at(const struct elf *f, uint64_t address, uint64_t size)
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
const char *elf_clean(const char *p, const char *end, char out[ELF_NAME])
{
    size_t n = 0;

    for (; p < end && *p && n < ELF_NAME - 1; p++)
        out[n++] = *p > ' ' && *p < 127 ? *p : '?';
    out[n] = 0;
    return out;
}

/* ---- header and sections ---- */

static int no_elf(const struct elf *f)
{
    size_t text = 0;

    if (f->len == 0)
        return elf_refuse(f, "the file is empty; is it still being copied?");
    while (text < f->len && text < 64 &&
           ((f->bytes[text] >= ' ' && f->bytes[text] < 127) ||
            strchr("\t\r\n", f->bytes[text])) &&
           f->bytes[text])
        text++;
    if (text == f->len || text == 64)
        return elf_refuse(
            f, "not a plugin: a text file, not an ELF shared object");
    if (f->len < sizeof f->head && f->bytes[0] == ELFMAG0)
        return elf_refuse(f,
                          "truncated: the ELF header ends at byte %zu, the "
                          "file has %zu; is it still being copied?",
                          sizeof f->head, f->len);
    return elf_refuse(f, "not a plugin: not an ELF shared object");
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
    if (!elf_get(f, 0, &f->head, sizeof f->head) ||
        memcmp(f->head.e_ident, ELFMAG, SELFMAG) != 0)
        return no_elf(f);
    if (f->head.e_ident[EI_CLASS] != ELFCLASS64 ||
        f->head.e_ident[EI_DATA] != ELFDATA2LSB ||
        f->head.e_machine != OWN_MACHINE)
        return elf_refuse(f, "built for %s, this host is %s",
                          machine_name(f->head.e_machine),
                          machine_name(OWN_MACHINE));
    if (f->head.e_type != ET_DYN)
        return elf_refuse(f, "not a plugin: an ELF file, but no shared object");
    if (f->head.e_version != EV_CURRENT ||
        f->head.e_ident[EI_VERSION] != EV_CURRENT)
        return elf_refuse(f, "not a plugin: an ELF version nobody knows");
    return 0;
}

static bool section(const struct elf *f, unsigned i, Elf64_Shdr *s)
{
    return elf_get(f, f->head.e_shoff + (uint64_t)i * sizeof *s, s, sizeof *s);
}

static int check_sections(const struct elf *f)
{
    uint64_t n = f->head.e_shnum, end;
    Elf64_Shdr s;

    if (f->head.e_shoff == 0 || n == 0)
        return elf_refuse(f, "no section headers: strip plugins with `strip "
                             "--strip-unneeded` at most");
    if (n > SECTIONS_MAX || f->head.e_shentsize != sizeof s ||
        f->head.e_shstrndx >= n)
        return elf_refuse(f, "damaged: its section headers make no sense");
    if (__builtin_add_overflow(f->head.e_shoff, n * sizeof s, &end) ||
        end > f->len)
        return elf_refuse(f,
                          "truncated: section headers end at byte %llu, the "
                          "file has %zu; is it still being copied?",
                          (unsigned long long)f->head.e_shoff +
                              (unsigned long long)(n * sizeof s),
                          f->len);
    for (unsigned i = 0; i < n; i++) {
        section(f, i, &s);
        if (s.sh_type != SHT_NOBITS && s.sh_type != SHT_NULL &&
            !inside(f, s.sh_offset, s.sh_size))
            return elf_refuse(f,
                              "truncated: section %u ends at byte %llu, the "
                              "file has %zu; is it still being copied?",
                              i,
                              (unsigned long long)s.sh_offset +
                                  (unsigned long long)s.sh_size,
                              f->len);
    }
    section(f, f->head.e_shstrndx, &s);
    if (s.sh_type != SHT_STRTAB)
        return elf_refuse(f, "damaged: its section headers are empty; is it "
                             "still being copied?");
    return 0;
}

bool elf_section(const struct elf *f, const char *name, Elf64_Shdr *s)
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
        return elf_refuse(f,
                          "damaged: its segments overlap or are out of bounds");
    if ((p->p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
        return elf_refuse(f, "a segment is both writable and executable; link "
                             "without -N and without -z execstack");
    f->load[f->loads++] = *p;
    return 0;
}

static int take_segment(struct elf *f, const Elf64_Phdr *p)
{
    if (p->p_type != PT_NULL && !inside(f, p->p_offset, p->p_filesz))
        return elf_refuse(f,
                          "truncated: a segment ends at byte %llu, the file "
                          "has %zu; is it still being copied?",
                          (unsigned long long)p->p_offset +
                              (unsigned long long)p->p_filesz,
                          f->len);
    switch (p->p_type) {
    case PT_LOAD:
        return take_load(f, p);
    case PT_INTERP:
        return elf_refuse(f, "not a plugin: a program; link it with -shared");
    case PT_DYNAMIC:
        if (f->has_dynamic)
            return elf_refuse(f, "damaged: two dynamic segments");
        f->has_dynamic = true;
        f->dynamic = *p;
        return 0;
    case PT_GNU_RELRO:
        if (f->has_relro)
            return elf_refuse(f, "damaged: two relro segments");
        f->has_relro = true;
        f->relro = *p;
        return 0;
    case PT_GNU_STACK:
        f->has_stack = true;
        if (p->p_flags & PF_X)
            return elf_refuse(f, "asks for an executable stack; link with "
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

    if (n == 0 || n > ELF_SEGMENTS_MAX || f->head.e_phentsize != sizeof p ||
        !inside(f, f->head.e_phoff, n * sizeof p))
        return elf_refuse(f, "damaged: its program headers make no sense");
    for (unsigned i = 0; i < n; i++) {
        elf_get(f, f->head.e_phoff + i * sizeof p, &p, sizeof p);
        if (take_segment(f, &p) != 0)
            return -1;
    }
    if (!f->has_stack)
        return elf_refuse(f,
                          "asks for an executable stack (no GNU_STACK header); "
                          "link with -z noexecstack");
    if (!f->has_dynamic)
        return elf_refuse(f, "not a plugin: no dynamic segment");
    return 0;
}

/* ---- the dynamic segment ---- */

static int take_tag(struct elf *f, const Elf64_Dyn *d)
{
    switch (d->d_tag) {
    case DT_NEEDED:
        if (f->needed_count == COUNT_OF(f->needed))
            return elf_refuse(f, "needs more than %zu libraries",
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
        return elf_refuse(f, "is a filter for another library");
    default:
        if (d->d_tag > 0 && d->d_tag < DT_NUM)
            f->tag[d->d_tag] = d->d_un.d_val;
        return 0;
    }
}

static int read_dynamic(struct elf *f)
{
    uint64_t n = f->dynamic.p_filesz / sizeof(Elf64_Dyn);
    const char *p = elf_at(f, f->dynamic.p_vaddr, n * sizeof(Elf64_Dyn));
    Elf64_Dyn d = { .d_tag = DT_NULL };
    uint64_t flags;

    if (!p || n > DYNAMIC_MAX)
        return elf_refuse(f, "damaged: its dynamic segment is not in the file");
    for (uint64_t i = 0; i < n; i++) {
        memcpy(&d, p + i * sizeof d, sizeof d);
        if (d.d_tag == DT_NULL)
            break;
        if (take_tag(f, &d) != 0)
            return -1;
    }
    flags = f->tag[DT_FLAGS];
    if (f->tag[DT_TEXTREL] || flags & DF_TEXTREL)
        return elf_refuse(f, "has text relocations; compile with -fPIC");
    if (flags & DF_STATIC_TLS)
        return elf_refuse(f,
                          "uses static thread-local storage; compile without "
                          "-ftls-model=initial-exec");
    if (f->flags_1 & DF_1_PIE)
        return elf_refuse(f, "not a plugin: a program; link it with -shared");
    return 0;
}

static bool get_u32(const struct elf *f, uint64_t address, uint32_t *v)
{
    const char *p = elf_at(f, address, sizeof *v);

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
    if (buckets && !elf_at(f, at, (uint64_t)buckets * 4))
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
        !elf_at(f, f->tag[DT_STRTAB], f->tag[DT_STRSZ]) ||
        !elf_at(f, f->tag[DT_SYMTAB], f->symbols * sizeof(Elf64_Sym)))
        return elf_refuse(f, "damaged: its symbol table is not in the file");
    return 0;
}

const char *elf_text(const struct elf *f, uint64_t offset, char out[ELF_NAME])
{
    uint64_t size = f->tag[DT_STRSZ];
    const char *text = elf_at(f, f->tag[DT_STRTAB], size);

    if (!text || offset >= size)
        text = "?", offset = 0, size = 1;
    return elf_clean(text + offset, text + size, out);
}

int elf_read(struct elf *f)
{
    if (read_header(f) != 0 || check_sections(f) != 0 ||
        read_segments(f) != 0 || read_dynamic(f) != 0)
        return -1;
    return count_symbols(f);
}

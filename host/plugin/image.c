/* SPDX-License-Identifier: Apache-2.0
 *
 * image.c - see image.h.
 *
 * Two readers look at an ELF file: tools by its section headers, the dynamic
 * loader by its program headers. The manifest and the stamp are sections and
 * are read as such; whatever the loader acts upon (symbols, constructors,
 * relocations) is read the way the loader does, so that section headers that
 * lie change nothing. What is true of every shared object is elf_file.c's. */
#include "plugin/image.h"

#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "plugin/elf_file.h"
#include "plugin/manifest.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <manifold/destination.h>
#include <openssl/evp.h>
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

#ifdef __x86_64__
#define RUNS_CODE R_X86_64_IRELATIVE
#else
#define RUNS_CODE R_AARCH64_IRELATIVE
#endif

#define STAMP_SECTION    ".note.manifold"
#define MANIFEST_SECTION ".manifold.manifest"
#define SYMBOL_PREFIX    "mf_destination_v"

/* What a plugin of kind http may import: pure functions over memory it was
 * given, and what compilers call on their own. Ends in NULL. */
/* clang-format off */
static const char *const imports[] = {
    "memcpy", "memmove", "memset", "memcmp", "memchr", "memrchr", "memmem",
    "strlen", "strnlen", "strcmp", "strncmp", "strcasecmp", "strncasecmp",
    "strchr", "strrchr", "strchrnul", "strstr", "strcasestr", "strspn",
    "strcspn", "strpbrk", "stpcpy", "stpncpy", "strncpy", "strtol", "strtoul",
    "strtoll", "strtoull", "strtod", "bcmp", "rawmemchr", "__memcpy_chk",
    "__memmove_chk", "__memset_chk", "__mempcpy_chk", "mempcpy",
    "__strncpy_chk", "__stpncpy_chk", "__stpcpy_chk", "__strcpy_chk",
    "__strcat_chk", "__strncat_chk", "__stack_chk_fail", "__stack_chk_guard",
    NULL,
};
/* clang-format on */

/* Libraries whose loading runs nothing that is not already running. */
static const char *const libraries[] = { "libc.so.6", "ld-linux-x86-64.so.2",
                                         "ld-linux-aarch64.so.1", NULL };

/* ---- symbols ---- */

/* A sanitizer's runtime is the host's; it exports and imports at will. */
static bool of_sanitizer(const char *name)
{
    static const char *const prefixes[] = {
        "__asan_",        "__ubsan_",      "__sanitizer_", "__odr_asan",
        "__tsan_",        "__start_asan",  "__stop_asan",  "__lsan_",
        "__start___sanc", "__stop___sanc", "libasan.",     "libubsan.",
        "libtsan.",
    };

    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (str_starts(mf_cstr(name), mf_cstr(prefixes[i])))
            return true;
    return false;
}

static int refuse_sanitizer(const struct elf *f, const char *name)
{
    return elf_refuse(
        f, "built with a sanitizer (it needs %s), this host is not", name);
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
    if (!*name || text_among(name, imports))
        return 0;
    if (of_sanitizer(name))
        return refuse_sanitizer(f, name);
    /* Left undefined by the linker's start files; NULL does no harm. */
    return elf_refuse(f,
                      "imports %s%s: a plugin of kind http may call nothing "
                      "but the host and the mem* and str* functions",
                      name,
                      ELF64_ST_BIND(s->st_info) == STB_WEAK
                          ? " (weakly; link with -nostartfiles)"
                          : "");
}

static int check_export(const struct elf *f, const Elf64_Sym *s,
                        const char *name, bool strict, unsigned *descriptors)
{
    unsigned bind = ELF64_ST_BIND(s->st_info);

    if (bind == STB_LOCAL)
        return 0;
    if (is_descriptor(name) && ELF64_ST_TYPE(s->st_info) == STT_OBJECT) {
        if (strcmp(name, SYMBOL_PREFIX "1") == 0)
            ++*descriptors;
        return 0;
    }
    if (of_sanitizer(name) && !strict)
        return 0;
    return elf_refuse(f,
                      "exports %s: a plugin exports mf_destination_v1 alone; "
                      "compile with -fvisibility=hidden",
                      name);
}

static int check_symbols(const struct elf *f, bool http, bool strict)
{
    const char *table =
        elf_at(f, f->tag[DT_SYMTAB], f->symbols * sizeof(Elf64_Sym));
    unsigned descriptors = 0;
    char name[ELF_NAME];
    Elf64_Sym s;

    for (uint64_t i = 1; i < f->symbols; i++) {
        memcpy(&s, table + i * sizeof s, sizeof s);
        elf_text(f, s.st_name, name);
        if (s.st_shndx == SHN_UNDEF) {
            if (http && strict && check_import(f, &s, name) != 0)
                return -1;
            continue;
        }
        if (check_export(f, &s, name, strict, &descriptors) != 0)
            return -1;
        if (http && strict && ELF64_ST_TYPE(s.st_info) == STT_GNU_IFUNC)
            return elf_refuse(f, "%s is chosen by code at load time (ifunc)",
                              name);
    }
    if (descriptors != 1)
        return elf_refuse(f, "does not export mf_destination_v1");
    return 0;
}

/* ---- what else a plugin of kind http must not have ---- */

static int check_relocations(const struct elf *f, uint64_t at, uint64_t size)
{
    uint64_t n = size / sizeof(Elf64_Rela);
    const char *p = elf_at(f, at, n * sizeof(Elf64_Rela));
    Elf64_Rela r;

    if (n && !p)
        return elf_refuse(f, "damaged: its relocations are not in the file");
    for (uint64_t i = 0; i < n; i++) {
        memcpy(&r, p + i * sizeof r, sizeof r);
        if (ELF64_R_SYM(r.r_info) >= f->symbols && ELF64_R_SYM(r.r_info))
            return elf_refuse(f, "damaged: a relocation names no symbol");
        if (ELF64_R_TYPE(r.r_info) == RUNS_CODE)
            return elf_refuse(f, "has a relocation that runs code (ifunc)");
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
            return elf_refuse(f,
                              "has %s: it would run before the host could "
                              "stop it; remove it, link with -nostartfiles",
                              list[i].what);
    return 0;
}

/* The name of the data object at an address, for the error that it must not
 * be there; "" if the file was stripped of its symbols. */
static const char *object_at(const struct elf *f, uint64_t from, uint64_t to,
                             char out[ELF_NAME])
{
    Elf64_Shdr table, names;
    Elf64_Sym s;

    if (!elf_section(f, ".symtab", &table) ||
        !elf_section(f, ".strtab", &names))
        return "";
    for (uint64_t i = 0; i < table.sh_size / sizeof s; i++) {
        elf_get(f, table.sh_offset + i * sizeof s, &s, sizeof s);
        if (ELF64_ST_TYPE(s.st_info) == STT_OBJECT && s.st_value >= from &&
            s.st_value < to && s.st_name < names.sh_size)
            return elf_clean(f->bytes + names.sh_offset + s.st_name,
                             f->bytes + names.sh_offset + names.sh_size, out);
    }
    return "";
}

/* Whatever is writable must be what the loader seals after relocation. */
static int check_writable(const struct elf *f)
{
    uint64_t sealed = f->relro.p_vaddr + f->relro.p_memsz;
    char name[ELF_NAME];

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
        return elf_refuse(f,
                          "has %llu bytes of writable data%s%s: a plugin of "
                          "kind http keeps no state in globals; make them "
                          "const, link with -z relro -z now",
                          (unsigned long long)(end - from),
                          *what ? ", such as " : "", what);
    }
    return 0;
}

static int check_http(const struct elf *f)
{
    char name[ELF_NAME];

    for (unsigned i = 0; i < f->needed_count; i++) {
        if (text_among(elf_text(f, f->needed[i], name), libraries))
            continue;
        if (of_sanitizer(name))
            return refuse_sanitizer(f, name);
        return elf_refuse(f,
                          "needs the library %s: a plugin of kind http links "
                          "against nothing",
                          name);
    }
    if (check_constructors(f) != 0)
        return -1;
    if (f->has_tls)
        return elf_refuse(f, "has thread-local storage: a plugin of kind http "
                             "keeps no state");
    if (check_relocations(f, f->tag[DT_RELA], f->tag[DT_RELASZ]) != 0 ||
        check_relocations(f, f->tag[DT_JMPREL], f->tag[DT_PLTRELSZ]) != 0)
        return -1;
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

    if (!elf_section(f, STAMP_SECTION, &s))
        return elf_refuse(f, "not a plugin: no " STAMP_SECTION
                             " section; build it with manifold_plugin()");
    if (s.sh_size < sizeof note ||
        !elf_get(f, s.sh_offset, &note, sizeof note) || note.namesz != 9 ||
        note.descsz != 8 || note.type != 1 ||
        memcmp(note.owner, "manifold", 9) != 0)
        return elf_refuse(f,
                          "damaged: its " STAMP_SECTION " section is not one");
    out->abi_major = note.major;
    out->abi_minor = note.minor;
    if (note.major != MF_ABI_MAJOR)
        return elf_refuse(f, "built for ABI %u, this host speaks %u",
                          note.major, MF_ABI_MAJOR);
    return 0;
}

static int read_manifest(const struct elf *f, struct image *out)
{
    Elf64_Shdr s;

    if (!elf_section(f, MANIFEST_SECTION, &s))
        return elf_refuse(f, "not a plugin: no " MANIFEST_SECTION
                             " section; build it with manifold_plugin()");
    if (s.sh_size == 0 || s.sh_size > MANIFEST_BYTES_MAX)
        return elf_refuse(f, "its manifest has %llu bytes, 1 to %u are allowed",
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
        return elf_refuse(f, "its manifest is not JSON: line %u, column %u: %s",
                          line, column, fault.what);
    }
    kind = json_get(json_root(text), MF_STR("kind"));
    *http = !(kind.type == MF_STRING &&
              mf_eq((mf_str){ kind.raw, kind.len }, MF_STR("\"native\"")));
    return 0;
}

static int check(struct elf *f, bool strict, struct image *out)
{
    bool http = true;

    if (elf_read(f) != 0 || read_stamp(f, out) != 0 ||
        read_manifest(f, out) != 0 || read_kind(f, out, &http) != 0)
        return -1;
    if (http && strict && check_http(f) != 0)
        return -1;
    return check_symbols(f, http, strict);
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
    struct elf f = { .bytes = bytes, .len = len, .name = name, .err = e };

    *out = (struct image){ .bytes = bytes, .len = len };
    if (check(&f, strict, out) != 0) {
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * image_test.c - plugin files that are right, wrong, cut short and hostile.
 *
 * A smallest possible plugin is written by hand, so that each rule can be
 * broken alone and no compiler is needed. Where the build has made real
 * plugins beside this program, they are read, cut and bent too. */
#include "plugin/image.h"

#include "base/io.h"
#include "base/mem.h"
#include "plugin/fixture.h"

#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MANIFEST "{\"slug\":\"fake\"}"

/* A copy on the heap of exactly that length, so that one byte too far is
 * seen by the sanitizer. */
static int judge(const char *bytes, size_t len, bool strict, struct image *i,
                 struct err *e)
{
    char *copy = xmalloc(len ? len : 1);

    if (len)
        memcpy(copy, bytes, len);
    *e = (struct err){ "" };
    return image_check_as(copy, len, "fake.so", strict, i, e);
}

static void expect_refused(const struct fake *f, const char *why)
{
    struct image i;
    struct err e;

    if (judge(f->bytes, f->len, true, &i, &e) == 0) {
        image_free(&i);
        fail_msg("accepted, but should say: %s", why);
    }
    if (strncmp(e.text, "fake.so: ", 9) != 0 || !strstr(e.text, why))
        fail_msg("says \"%s\", should say: %s", e.text, why);
    assert_null(i.bytes);
}

static void test_right(void **state)
{
    struct image i, longer;
    struct fake f;
    struct err e;

    (void)state;
    fake_make(&f, MANIFEST);
    if (judge(f.bytes, f.len, true, &i, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(i.abi_major, 1);
    assert_int_equal(i.abi_minor, 0);
    assert_int_equal(i.manifest_len, sizeof MANIFEST - 1);
    assert_memory_equal(i.manifest, MANIFEST, i.manifest_len);
    assert_int_equal(strlen(i.hash), 16);

    /* Bytes behind the last section: legal, and another version. */
    assert_int_equal(judge(f.bytes, f.len + 1, true, &longer, &e), 0);
    assert_string_not_equal(i.hash, longer.hash);
    image_free(&i);
    image_free(&longer);
}

/* The hash is that of the SHA-256 of the file. */
static void test_hash(void **state)
{
    char line[256], path[] = "/tmp/image_test.XXXXXX", command[64];
    int fd = mkstemp(path);
    struct image i;
    struct fake f;
    struct err e;
    FILE *p;

    (void)state;
    fake_make(&f, MANIFEST);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, f.bytes, f.len), 0);
    snprintf(command, sizeof command, "sha256sum %s", path);
    p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof line, p));
    pclose(p);
    assert_int_equal(image_read(AT_FDCWD, path, &i, &e), 0);
    assert_memory_equal(i.hash, line, 16);
    image_free(&i);
    close(fd);
    unlink(path);
}

/* ---- one rule broken at a time ---- */

static void foreign(struct fake *f) { f->head->e_machine = FOREIGN; }
static void class32(struct fake *f)
{
    f->head->e_ident[EI_CLASS] = ELFCLASS32;
    f->head->e_machine = EM_386;
}
static void object(struct fake *f) { f->head->e_type = ET_REL; }
static void no_sections(struct fake *f) { f->head->e_shnum = 0; }
static void zero_sections(struct fake *f)
{
    memset(f->section, 0, SECTIONS * sizeof *f->section);
}
static void far_sections(struct fake *f)
{
    f->head->e_shoff = FAKE_SIZE * 9ull;
}
static void wrapped_sections(struct fake *f) { f->head->e_shoff = -32; }
static void far_section(struct fake *f)
{
    f->section[SEC_MANIFEST].sh_size = -1;
}
static void no_segments(struct fake *f) { f->head->e_phnum = 0; }
static void far_segment(struct fake *f)
{
    f->segment[LOAD_DATA].p_offset = -16;
}
static void both(struct fake *f) { f->segment[LOAD_DATA].p_flags |= PF_X; }
static void stack(struct fake *f) { f->segment[STACK].p_flags |= PF_X; }
static void no_stack(struct fake *f) { f->segment[STACK].p_type = PT_NULL; }
static void overlap(struct fake *f) { f->segment[LOAD_DATA].p_vaddr = 0x800; }
static void program(struct fake *f) { f->segment[SPARE].p_type = PT_INTERP; }
static void tls(struct fake *f) { f->segment[SPARE].p_type = PT_TLS; }
static void no_dynamic(struct fake *f)
{
    f->segment[DYNAMIC].p_type = PT_NULL;
}
static void two_dynamic(struct fake *f)
{
    f->segment[SPARE] = f->segment[DYNAMIC];
}
static void far_dynamic(struct fake *f)
{
    f->segment[DYNAMIC].p_vaddr = 0x7000;
}
static void textrel(struct fake *f) { f->tag[TAG_SPARE].d_tag = DT_TEXTREL; }
static void textrel_flag(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_FLAGS, { DF_TEXTREL } };
}
static void static_tls(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_FLAGS, { DF_STATIC_TLS } };
}
static void pie(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_FLAGS_1, { DF_1_PIE } };
}
static void filter(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_FILTER, { NAME_EVIL } };
}
static void needs(struct fake *f)
{
    f->tag[TAG_NEEDED].d_un.d_val = NAME_EVIL;
}
static void constructor(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_INIT_ARRAY, { AT_DYNAMIC } };
    f->tag[TAG_SPARE2] = (Elf64_Dyn){ DT_INIT_ARRAYSZ, { 8 } };
}
static void initialiser(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_INIT, { 64 } };
}
static void destructor(struct fake *f)
{
    f->tag[TAG_SPARE] = (Elf64_Dyn){ DT_FINI_ARRAY, { AT_DYNAMIC } };
    f->tag[TAG_SPARE2] = (Elf64_Dyn){ DT_FINI_ARRAYSZ, { 8 } };
}
static void writable(struct fake *f)
{
    f->segment[LOAD_DATA].p_memsz += 24;
}
static void no_relro(struct fake *f) { f->segment[RELRO].p_type = PT_NULL; }
static void imports(struct fake *f) { f->symbol[1].st_name = NAME_SYSTEM; }
static void imports_asan(struct fake *f) { f->symbol[1].st_name = NAME_ASAN; }
static void exports(struct fake *f) { f->hash[1] = SYMBOLS; }
static void no_export(struct fake *f)
{
    f->symbol[SYM_EXPORT].st_info = ELF64_ST_INFO(STB_LOCAL, STT_OBJECT);
}
static void export_function(struct fake *f)
{
    f->symbol[SYM_EXPORT].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
}
static void only_v2(struct fake *f) { f->symbol[2].st_name = NAME_V2; }
static void many_symbols(struct fake *f) { f->hash[1] = 0xFFFFFFFF; }
static void far_names(struct fake *f)
{
    f->tag[TAG_STRTAB].d_un.d_ptr = 0xFF0;
}
static void far_hash(struct fake *f) { f->tag[TAG_HASH].d_un.d_ptr = -2; }
static void far_relocations(struct fake *f)
{
    f->tag[TAG_RELASZ].d_un.d_val = -1;
}
static void relocation_symbol(struct fake *f)
{
    f->relocation[0].r_info = ELF64_R_INFO(77, 1);
}
static void ifunc(struct fake *f)
{
    f->relocation[0].r_info = ELF64_R_INFO(0, IRELATIVE);
}
static void no_stamp(struct fake *f) { f->section[SEC_NOTE].sh_name = 0; }
static void bad_stamp(struct fake *f) { f->note[3] = 0; }
static void short_stamp(struct fake *f) { f->section[SEC_NOTE].sh_size = 8; }
static void abi2(struct fake *f) { f->note[6] = 2; }
static void no_manifest(struct fake *f)
{
    f->section[SEC_MANIFEST].sh_type = SHT_NOBITS;
}
static void empty_manifest(struct fake *f)
{
    f->section[SEC_MANIFEST].sh_size = 0;
}
static void bad_manifest(struct fake *f) { f->bytes[AT_MANIFEST + 1] = '['; }
static void text(struct fake *f)
{
    memset(f->bytes, 'a', f->len);
}
static void noise(struct fake *f) { memset(f->bytes, 1, f->len); }
static void empty(struct fake *f) { f->len = 0; }
static void stub(struct fake *f) { f->len = 20; }

static const struct {
    void (*spoil)(struct fake *);
    const char *why;
} rules[] = {
    { foreign, "built for " },
    { class32, "built for 32-bit x86, this host is " },
    { object, "no shared object" },
    { no_sections, "no section headers" },
    { zero_sections, "is it still being copied?" },
    { far_sections, "truncated: section headers end at byte 73984, the file "
                    "has 4864; is it still being copied?" },
    { wrapped_sections, "truncated: section headers" },
    { far_section, "truncated: section 2 ends" },
    { no_segments, "program headers" },
    { far_segment, "truncated: a segment ends" },
    { both, "both writable and executable" },
    { stack, "executable stack" },
    { no_stack, "executable stack" },
    { overlap, "segments overlap" },
    { program, "a program" },
    { tls, "thread-local storage" },
    { no_dynamic, "no dynamic segment" },
    { two_dynamic, "two dynamic segments" },
    { far_dynamic, "dynamic segment is not in the file" },
    { textrel, "text relocations" },
    { textrel_flag, "text relocations" },
    { static_tls, "static thread-local storage" },
    { pie, "a program" },
    { filter, "filter" },
    { needs, "needs the library libevil.so" },
    { constructor, "has a constructor" },
    { initialiser, "has an initialiser" },
    { destructor, "has a destructor" },
    { writable, "has 24 bytes of writable data" },
    { no_relro, "has 512 bytes of writable data" },
    { imports, "imports system" },
    { imports_asan, "built with a sanitizer" },
    { exports, "exports other" },
    { no_export, "does not export mf_destination_v1" },
    { export_function, "exports mf_destination_v1" },
    { only_v2, "does not export mf_destination_v1" },
    { many_symbols, "symbol table is not in the file" },
    { far_names, "symbol table is not in the file" },
    { far_hash, "symbol table is not in the file" },
    { far_relocations, "relocations are not in the file" },
    { relocation_symbol, "a relocation names no symbol" },
    { ifunc, "ifunc" },
    { no_stamp, "not a plugin: no .note.manifold section" },
    { bad_stamp, "damaged: its .note.manifold section" },
    { short_stamp, "damaged: its .note.manifold section" },
    { abi2, "built for ABI 2, this host speaks 1" },
    { no_manifest, "not a plugin: no .manifold.manifest section" },
    { empty_manifest, "its manifest has 0 bytes" },
    { bad_manifest, "its manifest is not JSON: line 1, column 2" },
    { text, "a text file" },
    { noise, "not an ELF shared object" },
    { empty, "empty" },
    { stub, "truncated: the ELF header ends at byte 64, the file has 20" },
};

static void test_rules(void **state)
{
    struct fake f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        fake_make(&f, MANIFEST);
        rules[i].spoil(&f);
        expect_refused(&f, rules[i].why);
    }
}

/* What only a plugin of kind http must not have, a native one may. */
static void test_native(void **state)
{
    static const char native[] = "{\"kind\":\"native\"}";
    static void (*const fine[])(struct fake *) = {
        needs, constructor, initialiser, destructor, writable, no_relro,
        imports, tls,
    };
    static void (*const never[])(struct fake *) = {
        both, stack, textrel, static_tls, exports, no_export, abi2,
    };
    struct image i;
    struct fake f;
    struct err e;

    (void)state;
    for (size_t k = 0; k < COUNT_OF(fine) + COUNT_OF(never); k++) {
        bool good = k < COUNT_OF(fine);

        fake_make(&f, MANIFEST);
        memcpy(f.bytes + AT_MANIFEST, native, sizeof native);
        f.section[SEC_MANIFEST].sh_size = sizeof native - 1;
        (good ? fine[k] : never[k - COUNT_OF(fine)])(&f);
        if (judge(f.bytes, f.len, true, &i, &e) == 0)
            image_free(&i);
        if (good != !e.text[0])
            fail_msg("%zu: %s", k, e.text);
    }
}

/* Every length but the whole is refused, and none is read past its end. */
static void test_truncated(void **state)
{
    struct image i;
    struct fake f;
    struct err e;

    (void)state;
    fake_make(&f, MANIFEST);
    for (size_t len = 0; len < f.len; len++) {
        assert_int_equal(judge(f.bytes, len, true, &i, &e), -1);
        assert_non_null(strstr(e.text, "still being copied?"));
    }
}

/* Every byte bent in some ways: whatever the answer, no byte outside is
 * touched (the sanitizer watches). */
static void test_bent(void **state)
{
    static const unsigned char values[] = { 0, 1, 0x7F, 0x80, 0xFF };
    unsigned accepted = 0;
    struct image i;
    struct fake f;
    struct err e;

    (void)state;
    fake_make(&f, MANIFEST);
    for (size_t at = 0; at < f.len; at++)
        for (size_t k = 0; k < COUNT_OF(values); k++) {
            char was = f.bytes[at];

            f.bytes[at] = (char)values[k];
            if (judge(f.bytes, f.len, true, &i, &e) == 0) {
                accepted++;
                image_free(&i);
            } else {
                assert_true(e.text[0]);
            }
            f.bytes[at] = was;
        }
    assert_true(accepted > 0);
}

/* ---- files ---- */

static void test_files(void **state)
{
    struct image i;
    struct err e;

    (void)state;
    assert_int_equal(image_read(AT_FDCWD, "/proc/self/exe", &i, &e), -1);
    assert_non_null(strstr(e.text, "a program; link it with -shared"));
    assert_int_equal(image_read(AT_FDCWD, "/nowhere/x.so", &i, &e), -1);
    assert_non_null(strstr(e.text, "/nowhere/x.so: cannot be opened"));
    assert_int_equal(image_read(AT_FDCWD, "/dev/null", &i, &e), -1);
    assert_non_null(strstr(e.text, "not a regular file"));
    assert_int_equal(image_read(AT_FDCWD, "/etc/passwd", &i, &e), -1);
    assert_non_null(strstr(e.text, "a text file"));
}

static ssize_t grow_then_read(int fd, void *to, size_t n, off_t at)
{
    ssize_t got = io_real.pread(fd, to, n, at);

    assert_int_equal(ftruncate(fd, FAKE_SIZE), 0);
    return got;
}

static ssize_t cut_then_read(int fd, void *to, size_t n, off_t at)
{
    assert_int_equal(ftruncate(fd, 10), 0);
    return io_real.pread(fd, to, n, at);
}

static void test_changing(void **state)
{
    static ssize_t (*const ways[])(int, void *, size_t, off_t) = {
        grow_then_read, cut_then_read
    };
    char path[] = "/tmp/image_test.XXXXXX";
    int fd = mkstemp(path);
    struct image i;
    struct fake f;
    struct err e;

    (void)state;
    assert_true(fd >= 0);
    for (size_t k = 0; k < COUNT_OF(ways); k++) {
        fake_make(&f, MANIFEST);
        assert_int_equal(io_pwrite_all(fd, f.bytes, f.len, 0), 0);
        assert_int_equal(ftruncate(fd, (off_t)f.len), 0);
        io.pread = ways[k];
        assert_int_equal(image_read_fd(fd, "x.so", &i, &e), -1);
        io.pread = io_real.pread;
        assert_string_equal(e.text, "x.so: changed while it was read; try "
                                    "again");
    }
    close(fd);
    unlink(path);
}

/* ---- what this build has made ---- */

static void bend_real(const char *bytes, size_t len)
{
    unsigned seed = 1;
    struct image i;
    struct err e;

    for (unsigned k = 0; k < 300; k++) {
        size_t cut = (size_t)rand_r(&seed) % len;

        assert_int_equal(judge(bytes, cut, image_strict, &i, &e), -1);
    }
    for (unsigned k = 0; k < 300; k++) {
        char *copy = xmalloc(len);

        memcpy(copy, bytes, len);
        for (unsigned n = 0; n < 8; n++) /* headers first: they matter */
            copy[(size_t)rand_r(&seed) % (n < 4 ? 1024 : len)] =
                (char)rand_r(&seed);
        if (image_check(copy, len, "bent.so", &i, &e) == 0)
            image_free(&i);
    }
}

static void test_built(void **state)
{
    char self[PATH_MAX], pattern[PATH_MAX + 16];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    struct image i;
    struct err e;
    glob_t found;

    (void)state;
    assert_true(n > 0);
    self[n] = 0;
    snprintf(pattern, sizeof pattern, "%s/plugins/*.so", dirname(self));
    if (glob(pattern, 0, NULL, &found) != 0)
        skip();
    for (size_t k = 0; k < found.gl_pathc; k++) {
        if (image_read(AT_FDCWD, found.gl_pathv[k], &i, &e) != 0)
            fail_msg("%s", e.text);
        if (k < 3)
            bend_real(i.bytes, i.len);
        image_free(&i);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),     cmocka_unit_test(test_hash),
        cmocka_unit_test(test_rules),     cmocka_unit_test(test_native),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_bent),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_changing),
        cmocka_unit_test(test_built),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * load_test.c - plugins of this build loaded, and code that does not agree
 * with its manifest or comes from another time refused.
 *
 * Skipped where the plugins have not been built beside this program. */
#include "plugin/image.h"
#include "plugin/instance.h"

#include "base/io.h"

#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CODED "webhook" /* a plugin of kind http with code for `send` alone */

static void path_of(const char *slug, char out[PATH_MAX + 100])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    assert_true(n > 0);
    self[n] = 0;
    snprintf(out, PATH_MAX + 100, "%s/plugins/%s.so", dirname(self), slug);
    if (access(out, R_OK) != 0 && !strchr(slug, '*'))
        skip();
}

static void test_all(void **state)
{
    char pattern[PATH_MAX + 100];
    struct err e = { "" };
    struct plugin *p;
    glob_t found;

    (void)state;
    path_of("*", pattern);
    if (glob(pattern, 0, NULL, &found) != 0)
        skip();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        p = plugin_open(found.gl_pathv[i], &e);
        if (!p)
            fail_msg("%s", e.text);
        assert_int_equal(strlen(p->hash), 16);
        assert_true(p->code->size >= sizeof(mf_destination));
        manifest_free(p->manifest);
        free(p);
    }
    globfree(&found);
}

#define HEAD(kind)                                                             \
    "{\"slug\":\"webhook\",\"name\":\"W\",\"version\":\"1\",\"docs\":"         \
    "\"https://x\",\"hosts\":[\"*\"]," kind "\"actions\":["
#define SEND    "{\"slug\":\"send\",\"fields\":[]"
#define REQUEST ",\"request\":{\"method\":\"GET\",\"url\":\"https://x\"}"

static const struct {
    const char *manifest, *error;
} disagreements[] = {
    { HEAD("") SEND "}]}", NULL },
    { HEAD("") SEND "},{\"slug\":\"more\",\"fields\":[]}]}",
      "webhook: the action more has neither a `request` in the manifest nor "
      "code" },
    { HEAD("") SEND "},{\"slug\":\"more\",\"fields\":[]" REQUEST "}]}", NULL },
    { HEAD("") SEND REQUEST "}]}",
      "webhook: send is declared by `request` and coded as well" },
    { HEAD("") "{\"slug\":\"other\",\"fields\":[]" REQUEST "}]}",
      "webhook: its code has an action send that its manifest has not" },
    { HEAD("\"kind\":\"native\",") SEND "}]}",
      "webhook: the action send has no deliver()" },
    { "{}", "manifest.json:1:1: a manifest must have `slug`" },
};

static void test_agreement(void **state)
{
    char path[PATH_MAX + 100];

    (void)state;
    path_of(CODED, path);
    for (size_t i = 0; i < COUNT_OF(disagreements); i++) {
        const char *text = disagreements[i].manifest;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct err e = { "" };
        struct plugin *p =
            plugin_load(fd, text, strlen(text), "0123456789abcdef", &e);

        if (!p != !!disagreements[i].error ||
            (!p && !strstr(e.text, disagreements[i].error)))
            fail_msg("%zu: %s", i, e.text);
        if (p)
            manifest_free(p->manifest);
        free(p);
    }
}

/* Where the descriptor stands in the file. */
static size_t descriptor_at(const char *bytes)
{
    const Elf64_Ehdr *h = (const void *)bytes;
    const Elf64_Shdr *s = (const void *)(bytes + h->e_shoff);
    const Elf64_Phdr *p = (const void *)(bytes + h->e_phoff);

    for (unsigned i = 0; i < h->e_shnum; i++) {
        const Elf64_Sym *sym = (const void *)(bytes + s[i].sh_offset);
        const char *names = bytes + s[s[i].sh_link].sh_offset;

        if (s[i].sh_type != SHT_DYNSYM)
            continue;
        for (; strcmp(names + sym->st_name, "mf_destination_v1") != 0; sym++)
            ;
        for (unsigned k = 0; k < h->e_phnum; k++)
            if (p[k].p_type == PT_LOAD && sym->st_value >= p[k].p_vaddr &&
                sym->st_value < p[k].p_vaddr + p[k].p_filesz)
                return sym->st_value - p[k].p_vaddr + p[k].p_offset;
    }
    fail_msg("no descriptor");
    return 0;
}

static void test_versions(void **state)
{
    static const struct {
        size_t offset;
        uint32_t value;
        const char *error;
    } changes[] = {
        { offsetof(mf_destination, size), 48,
          "webhook: its descriptor has 48 bytes, ABI 1.0 has 56" },
        { offsetof(mf_destination, size), 4096, NULL },
        { offsetof(mf_destination, abi_minor), 7, NULL },
        { offsetof(mf_destination, needs_minor), 7,
          "webhook: needs a host of ABI 1.7, this one speaks 1.0" },
        { offsetof(mf_destination, action_size), 48, "makes no sense" },
        { offsetof(mf_destination, action_size), 57, "makes no sense" },
        { offsetof(mf_destination, action_count), 100000, "makes no sense" },
    };
    char path[PATH_MAX + 100], copy[] = "/tmp/load_test.XXXXXX";
    struct err e = { "" };
    char *bytes;
    size_t len, at;

    (void)state;
    path_of(CODED, path);
    assert_int_equal(io_read_file(AT_FDCWD, path, IMAGE_BYTES_MAX, &bytes,
                                  &len, &e), 0);
    at = descriptor_at(bytes);
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        char *field = bytes + at + changes[i].offset, was[4];
        struct plugin *p;
        int fd;

        snprintf(copy, sizeof copy, "/tmp/load_test.XXXXXX");
        fd = mkstemp(copy);
        memcpy(was, field, 4);
        memcpy(field, &changes[i].value, 4);
        assert_int_equal(io_write_all(fd, bytes, len), 0);
        memcpy(field, was, 4);
        close(fd);
        p = plugin_open(copy, &e);
        unlink(copy);
        if (!p != !!changes[i].error ||
            (!p && !strstr(e.text, changes[i].error)))
            fail_msg("%zu: %s", i, e.text);
        if (p)
            manifest_free(p->manifest);
        free(p);
    }
    free(bytes);
}

static void test_not_code(void **state)
{
    static const char manifest[] = HEAD("") SEND "}]}";
    struct err e = { "" };
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_null(plugin_load(fd, manifest, sizeof manifest - 1, "", &e));
    assert_non_null(strstr(e.text, "webhook: cannot be loaded: "));
    assert_null(strstr(e.text, "/proc/self/fd"));
    close(fd);
    assert_null(plugin_open("/nowhere.so", &e));
    assert_non_null(strstr(e.text, "/nowhere.so: cannot be opened"));
    assert_null(plugin_open("/etc/passwd", &e));
    assert_non_null(strstr(e.text, "a text file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_not_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

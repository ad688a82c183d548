/* SPDX-License-Identifier: Apache-2.0
 *
 * new.c - `manifold new`: a plugin folder that builds and passes its own
 * cases as it is. It makes a folder and never touches one that is there, nor
 * any file beside it. */
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/scaffold.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "plugin/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 65536 /* of one file written */

struct project {
    const char *slug;
    char name[PLUGIN_SLUG];
    char *folder; /* owned */
    bool coded, inside;
};

static const char usage[] =
    "usage: manifold new [--c] [--dir DIR] SLUG\n"
    "\n"
    "Makes the folder DIR/SLUG of a new plugin that builds and passes its\n"
    "cases as it is. DIR is plugins/ in Manifold's repository, else the\n"
    "current directory; outside the repository a CMakeLists.txt comes with it.\n"
    "\n"
    "  --c        with one action written in C, beside the declared one\n"
    "  --dir DIR  where to make it\n";

/* ---- what is wanted ---- */

static bool is_slug(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len < PLUGIN_SLUG && s[0] != '-' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* "acme-audience" is "Acme Audience" to people. */
static void name_of(const char *slug, char *out)
{
    bool start = true;

    for (; *slug; slug++) {
        char c = *slug == '-' ? ' ' : *slug;

        *out++ = start && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        start = c == ' ';
    }
    *out = 0;
}

/* Manifold's own repository is where the plugins have the API beside them. */
static bool in_repository(void)
{
    return access("CMakeLists.txt", F_OK) == 0 &&
           access("plugins", F_OK) == 0 &&
           access("plugin-api/ManifoldPlugin.cmake", F_OK) == 0;
}

static bool same_place(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* ---- writing ---- */

static char *filled(const char *text, const struct project *p)
{
    struct buf b;

    buf_init(&b, TEXT_MAX);
    while (*text) {
        if (strncmp(text, "@SLUG@", 6) == 0) {
            buf_puts(&b, p->slug);
            text += 6;
        } else if (strncmp(text, "@NAME@", 6) == 0) {
            buf_puts(&b, p->name);
            text += 6;
        } else {
            buf_char(&b, *text++);
        }
    }
    buf_char(&b, 0);
    ASSERT(!b.full);
    return b.data;
}

static bool is_wanted(const struct project *p, enum scaffold_for wanted)
{
    switch (wanted) {
    case FOR_DECLARED:
        return !p->coded;
    case FOR_CODED:
        return p->coded;
    case FOR_OUTSIDE:
        return !p->inside;
    default:
        return true;
    }
}

static int write_file(const struct project *p, const struct scaffold_file *f,
                      struct err *e)
{
    char *name = filled(f->path, p), *text = filled(f->text, p);
    char *path = xasprintf("%s/%s", p->folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int rc = 0;

    if (fd < 0 || io_write_all(fd, text, strlen(text)) != 0)
        rc = err_sys(e, "%s", path);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = err_sys(e, "%s", path);
    if (rc == 0)
        puts(path);
    free(path);
    free(text);
    free(name);
    return rc;
}

static int make_folder(const struct project *p, struct err *e)
{
    char *cases = xasprintf("%s/cases", p->folder);
    int rc = 0;

    if (mkdir(p->folder, 0777) != 0)
        rc = errno == EEXIST
                 ? err_set(e, "%s is there already; it was left as it is",
                           p->folder)
                 : err_sys(e, "%s", p->folder);
    else if (mkdir(cases, 0777) != 0)
        rc = err_sys(e, "%s", cases);
    free(cases);
    return rc;
}

static void tell_next(const struct project *p)
{
    if (p->inside)
        fprintf(stderr,
                "\nNext:\n"
                "  edit %s/manifest.json\n"
                "  cmake -S . -B build && cmake --build build\n"
                "  build/manifold test %s\n",
                p->folder, p->folder);
    else
        fprintf(stderr,
                "\nNext:\n"
                "  cd %s\n"
                "  edit manifest.json\n"
                "  cmake -S . -B build && cmake --build build\n"
                "  manifold test .\n",
                p->folder);
}

static int make(const struct project *p)
{
    struct err e;

    if (make_folder(p, &e) != 0)
        goto failed;
    for (size_t i = 0; i < scaffold_file_count; i++)
        if (is_wanted(p, scaffold_files[i].wanted) &&
            write_file(p, &scaffold_files[i], &e) != 0)
            goto failed;
    fflush(stdout);
    tell_next(p);
    return EXIT_OK;
failed:
    fprintf(stderr, "manifold new: %s\n", e.text);
    return EXIT_FAILED;
}

int cmd_new(int argc, char **argv)
{
    static const struct option options[] = { { "c", 0, NULL, 'x' },
                                             { "dir", 1, NULL, 'd' },
                                             OPTION_HELP };
    struct project p = { 0 };
    const char *dir = NULL;
    int o, rc;

    while ((o = option_next(argc, argv, "", options, usage)) != -1) {
        p.coded |= o == 'x';
        dir = o == 'd' ? optarg : dir;
    }
    if (operands_check(argc, 1, 1, usage) != EXIT_OK)
        return EXIT_USAGE;
    p.slug = argv[optind];
    if (!is_slug(p.slug)) {
        fprintf(stderr, "manifold new: \"%s\" is no slug: it begins with a-z "
                        "or 0-9 and holds only those and -, %d at most\n",
                p.slug, PLUGIN_SLUG - 1);
        return EXIT_USAGE;
    }
    name_of(p.slug, p.name);
    if (!dir)
        dir = in_repository() ? "plugins" : ".";
    p.inside = in_repository() && same_place(dir, "plugins");
    p.folder = strcmp(dir, ".") == 0 ? xstrdup(p.slug)
                                     : xasprintf("%s/%s", dir, p.slug);
    rc = make(&p);
    free(p.folder);
    return rc;
}

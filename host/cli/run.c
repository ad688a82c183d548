/* SPDX-License-Identifier: Apache-2.0
 *
 * run.c - `manifold run` and `manifold check`. */
#include "cli/commands.h"
#include "cli/common.h"

#include "base/mem.h"
#include "base/text.h"
#include "plugin/instance.h"
#include "plugin/store.h"
#include "supervisor/supervisor.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_OF_ONE 50 /* told of one destination */

static int usage(const char *text)
{
    fputs(text, stderr);
    return EXIT_USAGE;
}

/* ---- check ---- */

struct found {
    const struct plugin_files *files;
    struct manifest *manifests[PLUGIN_FILES_MAX]; /* beside files->list */
};

/* The reader of the configuration has looked at conditions already. */
static bool told_there(const struct faults *f, struct place at)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].at.line == at.line &&
            f->list[i].at.column == at.column &&
            strcmp(f->list[i].at.file, at.file) == 0)
            return true;
    return false;
}

static void check_destination(const struct config *c,
                              const struct conf_destination *d,
                              struct found *found, struct faults *f)
{
    struct instance_fault list[FAULTS_OF_ONE];
    struct instance_config ic = { .name = d->name,
                                  .settings = d->settings,
                                  .subscriptions = d->subscriptions.json,
                                  .filter = d->filter,
                                  .endpoint = mf_cstr(d->endpoint) };
    const struct plugin_file *file = d->plugin
                                         ? plugins_find(found->files,
                                                        d->plugin)
                                         : NULL;
    const struct manifest *m;
    size_t n;

    if (!d->plugin)
        return; /* told already */
    if (!file) {
        const char *names[PLUGIN_FILES_MAX + 1] = { NULL };
        const char *near;

        for (size_t i = 0; i < found->files->count; i++)
            names[i] = found->files->list[i].slug;
        near = nearest(d->plugin, names);
        faults_error(f, config_place(c, &d->plugin),
                     "there is no plugin \"%s\" in %s; %s%s%s", d->plugin,
                     c->plugins_dir,
                     near ? "did you mean \"" : "put its .so there",
                     near ? near : "", near ? "\"?" : "");
        return;
    }
    if (file->refused) {
        faults_error(f, config_place(c, &d->plugin), "%s", file->refused);
        return;
    }
    m = found->manifests[file - found->files->list];
    if (!m || config_is_broken(c, d->settings))
        return;
    n = instance_check(m, &ic, list, FAULTS_OF_ONE);
    for (size_t i = 0; i < n && i < FAULTS_OF_ONE; i++) {
        struct place at = list[i].at ? config_place_of(c, list[i].at)
                                     : config_place(c, d);

        if (!list[i].at || !told_there(f, at))
            faults_error(f, at, "%s", list[i].err.text);
    }
}

static void check_plugins(const struct config *c, struct faults *f)
{
    struct found *found = xcalloc(1, sizeof *found);
    struct plugin_files files = { 0 };
    struct err e;

    if (!c->plugins_dir)
        goto out;
    if (plugins_scan(c->plugins_dir, NULL, NULL, &files, &e) != 0) {
        faults_error(f, config_place(c, &c->plugins_dir), "%s", e.text);
        goto out;
    }
    found->files = &files;
    for (size_t i = 0; i < files.count; i++) {
        struct plugin_file *p = &files.list[i];

        if (p->refused)
            continue;
        found->manifests[i] =
            manifest_parse(xstrndup(p->manifest, p->manifest_len),
                           p->manifest_len, p->path, &e);
        if (!found->manifests[i]) {
            free(p->refused);
            p->refused = xstrdup(e.text);
        }
    }
    for (size_t i = 0; i < c->destinations.count; i++)
        check_destination(c, &c->destinations.list[i], found, f);
    for (size_t i = 0; i < files.count; i++)
        manifest_free(found->manifests[i]);
    plugins_free(&files);
out:
    free(found);
}

/* Loads and checks everything that can be known without a side effect. NULL
 * after an error; warnings are printed either way. */
static struct config *load_checked(const char *path)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct config *c = NULL;
    struct buf b;
    int rc;

    faults_init(f);
    rc = config_load(path, &c, f);
    if (c)
        check_plugins(c, f);
    faults_sort(f);
    buf_init(&b, 1u << 20);
    faults_write(f, &b);
    if (c)
        redact_buf(c->secrets, &b, 0);
    if (b.len)
        fwrite(b.data, 1, b.len, stderr);
    buf_deinit(&b);
    if (rc != 0 || f->errors) {
        config_free(c);
        c = NULL;
    }
    faults_deinit(f);
    free(f);
    return c;
}

int cmd_check(int argc, char **argv)
{
    const char *path = NULL;
    struct config *c;
    int o;

    while ((o = getopt(argc, argv, "c:")) != -1) {
        if (o != 'c')
            return usage("usage: manifold check [-c FILE]\n");
        path = optarg;
    }
    if (optind != argc)
        return usage("usage: manifold check [-c FILE]\n");
    c = load_checked(config_path(path));
    if (!c)
        return EXIT_CONFIG;
    fprintf(stderr, "%s: ok, %zu sources, %zu destinations\n",
            config_path(path), c->sources.count, c->destinations.count);
    config_free(c);
    return EXIT_OK;
}

/* ---- run ---- */

int cmd_run(int argc, char **argv)
{
    const char *path = NULL;
    struct config *c;
    int o;

    while ((o = getopt(argc, argv, "c:")) != -1) {
        if (o != 'c')
            return usage("usage: manifold run [-c FILE]\n");
        path = optarg;
    }
    if (optind != argc)
        return usage("usage: manifold run [-c FILE]\n");
    path = config_path(path);
    c = config_or_complain(path);
    if (!c)
        return EXIT_CONFIG;
    return supervisor_run(path, c);
}

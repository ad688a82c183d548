/* SPDX-License-Identifier: Apache-2.0
 *
 * run.c - `manifold run` and `manifold check`. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/mem.h"
#include "base/text.h"
#include "plan/plan.h"
#include "plugin/instance.h"
#include "plugin/store.h"
#include "supervisor/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_OF_ONE 50 /* told of one destination */

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

static void write_faults_json(const struct faults *f, struct buf *to)
{
    struct json_out w;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_kint(&w, "errors", (int64_t)f->errors);
    json_kint(&w, "left_off", (int64_t)f->left_off);
    json_key(&w, MF_STR("faults"));
    json_begin_array(&w);
    for (size_t i = 0; i < f->count; i++) {
        const struct fault *x = &f->list[i];

        json_begin_object(&w);
        json_kstr(&w, "file", mf_cstr(x->at.file ? x->at.file : ""));
        json_kint(&w, "line", x->at.line);
        json_kint(&w, "column", x->at.column);
        json_kstr(&w, "severity",
                  x->warning ? MF_STR("warning") : MF_STR("error"));
        json_kstr(&w, "text", mf_cstr(x->text));
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    buf_char(to, '\n');
}

/* Everything that can be known without a side effect. */
static int check(const char *path, bool json)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct certificate shown;
    struct config *c = NULL;
    struct buf b;
    int rc;

    faults_init(f);
    rc = config_load(path, &c, f);
    if (c) {
        check_plugins(c, f);
        plan_check_all(c, f);
    }
    if (rc == 0 && certificate_load(c, &shown, f) == 0)
        certificate_deinit(&shown);
    rc = rc != 0 || f->errors ? EXIT_CONFIG : EXIT_OK;
    faults_sort(f);
    buf_init(&b, 1u << 20);
    if (json)
        write_faults_json(f, &b);
    else
        faults_write(f, &b);
    if (c)
        redact_buf(c->secrets, &b, 0);
    if (b.len)
        fwrite(b.data, 1, b.len, json ? stdout : stderr);
    buf_deinit(&b);
    if (rc == EXIT_OK)
        fprintf(stderr, "%s: ok, %zu sources, %zu destinations\n", path,
                c->sources.count, c->destinations.count);
    config_free(c);
    faults_deinit(f);
    free(f);
    return rc;
}

int cmd_check(int argc, char **argv)
{
    static const struct option options[] = { OPTION_CONFIG, OPTION_JSON,
                                             OPTION_HELP };
    static const char usage[] =
        "usage: manifold check [-c FILE] [--json]\n"
        "\n"
        "Configuration, tracking plans, plugins, settings and mappings, without\n"
        "a side effect: each fault as FILE:LINE:COLUMN, what, and what to do;\n"
        "status 78.\n";
    const char *path = NULL;
    bool json = false;
    int o;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        json |= o == 'j';
    }
    if (operands_check(argc, 0, 0, usage) != EXIT_OK)
        return EXIT_USAGE;
    return check(config_path(path), json);
}

/* ---- run ---- */

/* A start has no plan to go on with, other than a reload. */
static bool plans_can_be_used(const struct config *c)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct buf b;
    bool ok;

    faults_init(f);
    plan_check_all(c, f);
    faults_sort(f);
    buf_init(&b, 1u << 20);
    faults_write(f, &b);
    if (b.len)
        fwrite(b.data, 1, b.len, stderr);
    ok = f->errors == 0;
    buf_deinit(&b);
    faults_deinit(f);
    free(f);
    return ok;
}

int cmd_run(int argc, char **argv)
{
    static const struct option options[] = { OPTION_CONFIG, OPTION_HELP };
    static const char usage[] =
        "usage: manifold run [-c FILE]\n"
        "\n"
        "The server, in the foreground. HUP reloads, TERM and INT drain and\n"
        "stop.\n";
    const char *path = NULL;
    struct config *c;
    int o;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1)
        path = optarg;
    if (operands_check(argc, 0, 0, usage) != EXIT_OK)
        return EXIT_USAGE;
    path = config_path(path);
    c = config_or_complain(path);
    if (!c)
        return EXIT_CONFIG;
    if (!plans_can_be_used(c)) {
        config_free(c);
        return EXIT_CONFIG;
    }
    return supervisor_run(path, c);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * plugins.c - `manifold plugins`: what lies in the plugins directory, what a
 * plugin asks for, or what the static check says of a file. */
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/options.h"

#include "base/mem.h"
#include "json/json.h"
#include "plugin/manifest.h"
#include "plugin/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_MAX (64u << 20)

static void print_field(mf_val f, struct arena *a)
{
    mf_str key = json_text(json_get(f, MF_STR("key")), a);
    mf_str type = json_text(json_get(f, MF_STR("type")), a);
    mf_str label = json_text(json_get(f, MF_STR("label")), a);
    mf_str help = json_text(json_get(f, MF_STR("description")), a);
    mf_val def = json_get(f, MF_STR("default"));
    bool required =
        json_is_true(json_get(f, MF_STR("required"))) ||
        json_is_true(json_get(f, MF_STR("required_to_deliver")));

    if (f.type == MF_STRING) { /* a shared field */
        printf("    %.*s\n", (int)f.len - 2, f.raw + 1);
        return;
    }
    printf("    %-28.*s %-9.*s%s %.*s%s%.*s", (int)key.len, key.ptr,
           (int)type.len, type.ptr, required ? "required" : "        ",
           (int)label.len, label.ptr, help.len ? ": " : "", (int)help.len,
           help.ptr);
    if (def.type > MF_NULL)
        printf(" [%.*s]", (int)(def.len > 60 ? 60 : def.len), def.raw);
    putchar('\n');
}

static void print_manifest(const struct manifest *m, const char *hash)
{
    struct arena a;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val f;

    arena_init(&a, 64 << 20);
    printf("%s  %s\n", m->slug, m->name);
    printf("  version %s, kind %s, content %s\n", m->version,
           m->kind == PLUGIN_NATIVE ? "native" : "http", hash);
    if (m->docs)
        printf("  %s\n", m->docs);
    printf("  sends to:");
    for (const char *const *h = m->hosts; h && *h; h++)
        printf(" %s", *h);
    printf("\n\n  settings\n");
    while (json_next(m->settings_json, &it, &key, &f))
        print_field(f, &a);
    for (size_t i = 0; i < m->action_count; i++) {
        const struct manifest_action *ac = &m->actions[i];

        printf("\n  action %s: %s\n", ac->slug, ac->title);
        if (ac->subscribe)
            printf("    when %s\n", ac->subscribe);
        if (ac->batch_size)
            printf("    in batches of %u\n", ac->batch_size);
        it = (mf_iter){ { 0 } };
        while (json_next(ac->fields_json, &it, &key, &f))
            print_field(f, &a);
    }
    if (m->preset_count)
        printf("\n  presets\n");
    for (size_t i = 0; i < m->preset_count; i++)
        printf("    %-28s %s%s%s%s\n", m->presets[i].name,
               m->presets[i].action, m->presets[i].subscribe ? " when " : "",
               m->presets[i].subscribe ? m->presets[i].subscribe : "",
               m->presets[i].automatic ? "" : " (not by itself)");
    arena_deinit(&a);
}

static int print_json(const char *text, size_t len, const char *hash)
{
    printf("{\"hash\":\"%s\",\"abi\":\"1.0\",\"state\":\"ok\","
           "\"manifest\":%.*s}\n",
           hash, (int)len, text);
    return EXIT_OK;
}

static int show(const char *text, size_t len, const char *name,
                const char *hash, bool json)
{
    struct manifest *m;
    struct err e;

    m = manifest_parse(xstrndup(text, len), len, name, &e);
    if (!m) {
        fprintf(stderr, "%s\n", e.text);
        return EXIT_FAILED;
    }
    if (json)
        print_json(text, len, hash);
    else
        print_manifest(m, hash);
    manifest_free(m);
    return EXIT_OK;
}

static int show_file(const char *path, bool json)
{
    struct image image;
    struct err e;
    int rc;

    if (image_read(AT_FDCWD, path, &image, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        return EXIT_FAILED;
    }
    rc = show(image.manifest, image.manifest_len, path, image.hash, json);
    image_free(&image);
    return rc;
}

static void list_text(const struct plugin_files *files)
{
    struct err e;

    printf("%-28s %-10s %-7s %-17s %s\n", "PLUGIN", "VERSION", "KIND",
           "CONTENT", "STATE");
    for (size_t i = 0; i < files->count; i++) {
        const struct plugin_file *f = &files->list[i];
        struct manifest *m =
            f->refused ? NULL
                       : manifest_parse(xstrndup(f->manifest,
                                                 f->manifest_len),
                                        f->manifest_len, f->path, &e);

        printf("%-28s %-10s %-7s %-17s %s\n", f->slug, m ? m->version : "-",
               !m                          ? "-"
               : m->kind == PLUGIN_NATIVE ? "native"
                                          : "http",
               f->refused ? "-" : f->hash,
               f->refused ? f->refused : m ? "ok" : e.text);
        manifest_free(m);
    }
}

static void list_json(const struct plugin_files *files)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, OUT_MAX);
    json_out_init(&w, &b);
    json_begin_array(&w);
    for (size_t i = 0; i < files->count; i++) {
        const struct plugin_file *f = &files->list[i];

        json_begin_object(&w);
        json_kstr(&w, "slug", mf_cstr(f->slug));
        json_kstr(&w, "path", mf_cstr(f->path));
        json_kstr(&w, "state", f->refused ? MF_STR("refused") : MF_STR("ok"));
        if (f->refused) {
            json_kstr(&w, "problem", mf_cstr(f->refused));
        } else {
            json_kstr(&w, "hash", mf_cstr(f->hash));
            json_kstr(&w, "abi", MF_STR("1.0"));
            json_kval(&w, "manifest",
                      json_root((mf_str){ f->manifest, f->manifest_len }));
        }
        json_end_object(&w);
    }
    json_end_array(&w);
    buf_char(&b, '\n');
    fwrite(b.data, 1, b.len, stdout);
    buf_deinit(&b);
}

static int from_directory(const char *config_option, const char *slug,
                          bool json)
{
    struct config *c = config_or_complain(config_path(config_option));
    struct plugin_files files;
    const struct plugin_file *f;
    struct err e;
    int rc = EXIT_OK;

    if (!c)
        return EXIT_CONFIG;
    if (plugins_scan(c->plugins_dir, NULL, NULL, &files, &e) != 0) {
        fprintf(stderr, "manifold plugins: %s\n", e.text);
        config_free(c);
        return EXIT_FAILED;
    }
    if (!slug) {
        if (json)
            list_json(&files);
        else
            list_text(&files);
    } else if (!(f = plugins_find(&files, slug)) || f->refused) {
        fprintf(stderr, "manifold plugins: %s\n",
                f ? f->refused : "there is no such plugin in the directory");
        rc = EXIT_FAILED;
    } else {
        rc = show(f->manifest, f->manifest_len, f->path, f->hash, json);
    }
    plugins_free(&files);
    config_free(c);
    return rc;
}

int cmd_plugins(int argc, char **argv)
{
    static const struct option options[] = { OPTION_CONFIG, OPTION_JSON,
                                             OPTION_HELP };
    static const char usage[] =
        "usage: manifold plugins [-c FILE] [--json] [SLUG | FILE.so]\n"
        "\n"
        "What is in the plugins directory; with SLUG its settings, actions\n"
        "and presets; with FILE.so the static check and the manifest, needing\n"
        "no configuration.\n";
    const char *path = NULL, *what;
    bool json = false;
    int o;

    while ((o = option_next(argc, argv, "c:", options, usage)) != -1) {
        if (o == 'c')
            path = optarg;
        json |= o == 'j';
    }
    if (operands_check(argc, 0, 1, usage) != EXIT_OK)
        return EXIT_USAGE;
    what = optind < argc ? argv[optind] : NULL;
    if (what && (strchr(what, '/') || access(what, R_OK) == 0 ||
                 (strlen(what) > 3 &&
                  strcmp(what + strlen(what) - 3, ".so") == 0)))
        return show_file(what, json);
    return from_directory(path, what, json);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * catalog_test.c - every destination of the catalogue, written as a manifest.
 *
 * Settings, actions, fields and presets are taken over as they stand, so that
 * what a manifest cannot say shows here. Needs MANIFOLD_VECTORS. */
#include "plugin/manifest.h"

#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CATALOG_MAX (64u << 20)

/* Its catalogue entry has one action twice: no manifest can. */
static const char *const twice[] = { "salesforce-marketing-cloud", NULL };

/* From a member of the catalogue to the one of a manifest. */
struct rename {
    const char *from, *to;
};

static const struct rename field_names[] = {
    { "key", "key" },
    { "type", "type" },
    { "required", "required" },
    { "required_if", "required_if" },
    { "depends_on", "depends_on" },
    { "default", "default" },
    { "multiple", "multiple" },
    { "choices", "choices" },
    { "format", "format" },
    { "min", "min" },
    { "max", "max" },
    { "allow_null", "allow_null" },
    { "additional_properties", "additional_properties" },
    { "hidden", "hidden" },
    { "dynamic", "dynamic" },
    { NULL, NULL },
};
static const struct rename setting_names[] = {
    { "key", "key" },         { "type", "type" },
    { "required", "required" }, { "required_if", "required_if" },
    { "depends_on", "depends_on" }, { "default", "default" },
    { "multiple", "multiple" }, { "choices", "choices" },
    { "format", "format" },   { NULL, NULL },
};
static const struct rename action_names[] = {
    { "slug", "slug" },
    { "title", "title" },
    { "defaultSubscription", "subscribe" },
    { "hidden", "hidden" },
    { NULL, NULL },
};
static const struct rename preset_names[] = {
    { "name", "name" }, { "action", "action" },   { "subscribe", "subscribe" },
    { "type", "type" }, { "mapping", "mapping" }, { NULL, NULL },
};
static const struct rename batch_names[] = {
    { "batch_bytes", "bytes" },
    { "batch_keys", "keys" },
    { NULL, NULL },
};

static void copy(struct json_out *w, mf_val from, const struct rename *names)
{
    for (; names->from; names++) {
        mf_val v = json_get(from, mf_cstr(names->from));

        if (v.type <= MF_NULL)
            continue;
        json_key(w, mf_cstr(names->to));
        json_val(w, v);
    }
}

static void write_fields(struct json_out *w, mf_val list,
                         const struct rename *names)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    json_begin_array(w);
    while (json_next(list, &it, &key, &v)) {
        mf_val inner = json_get(v, MF_STR("properties"));

        json_begin_object(w);
        copy(w, v, names);
        if (inner.type == MF_ARRAY) {
            json_key(w, MF_STR("properties"));
            write_fields(w, inner, names);
        }
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_action(struct json_out *w, mf_val a)
{
    mf_val mode = json_get(a, MF_STR("sync_mode"));
    mf_val size = json_get(a, MF_STR("batch_size"));
    int64_t n;

    json_begin_object(w);
    copy(w, a, action_names);
    if (json_is_true(json_get(a, MF_STR("batch")))) {
        json_key(w, MF_STR("batch"));
        json_begin_object(w);
        json_key(w, MF_STR("size"));
        json_int(w, json_integer(size, &n) && n > 0 ? n : 1000);
        copy(w, a, batch_names);
        json_end_object(w);
    }
    if (mode.type == MF_OBJECT)
        json_kval(w, "sync_mode", mode);
    json_key(w, MF_STR("fields"));
    write_fields(w, json_get(a, MF_STR("fields")), field_names);
    json_end_object(w);
}

/* Browser actions have presets here but no action: those are left out. */
static bool has_action(mf_val entry, mf_val slug)
{
    mf_val actions = json_get(entry, MF_STR("actions"));
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(actions, &it, &key, &v)) {
        v = json_get(v, MF_STR("slug"));
        if (v.len == slug.len && memcmp(v.raw, slug.raw, v.len) == 0)
            return true;
    }
    return false;
}

static void write_lists(struct json_out *w, mf_val entry)
{
    mf_iter actions = { { 0 } }, presets = { { 0 } };
    mf_str key;
    mf_val v;

    json_key(w, MF_STR("settings"));
    write_fields(w, json_get(entry, MF_STR("settings")), setting_names);
    json_key(w, MF_STR("actions"));
    json_begin_array(w);
    while (json_next(json_get(entry, MF_STR("actions")), &actions, &key, &v))
        write_action(w, v);
    json_end_array(w);
    json_key(w, MF_STR("presets"));
    json_begin_array(w);
    while (json_next(json_get(entry, MF_STR("presets")), &presets, &key, &v)) {
        if (!has_action(entry, json_get(v, MF_STR("action"))))
            continue;
        json_begin_object(w);
        copy(w, v, preset_names);
        json_end_object(w);
    }
    json_end_array(w);
}

static struct manifest *as_manifest(mf_val entry, struct err *e)
{
    struct json_out w;
    struct buf b;
    struct manifest *m;

    buf_init(&b, MANIFEST_BYTES_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kval(&w, "slug", json_get(entry, MF_STR("dir")));
    json_kval(&w, "name", json_get(entry, MF_STR("name")));
    json_kstr(&w, "version", MF_STR("1.0.0"));
    json_kstr(&w, "docs", MF_STR("https://docs.example/"));
    json_kval(&w, "hosts", json_root(MF_STR("[\"*\"]")));
    write_lists(&w, entry);
    json_end_object(&w);
    assert_false(b.full);
    m = manifest_parse(xstrndup(b.data, b.len), b.len, "manifest", e);
    buf_deinit(&b);
    return m;
}

static void test_catalog(void **state)
{
    const char *dir = getenv("MANIFOLD_VECTORS");
    unsigned read = 0, wrong = 0;
    mf_iter it = { { 0 } };
    struct arena a;
    struct err e;
    char *text, *path;
    size_t len;
    mf_str key;
    mf_val v;

    (void)state;
    if (!dir)
        skip();
    path = xasprintf("%s/actions/catalog.json", dir);
    if (io_read_file(AT_FDCWD, path, CATALOG_MAX, &text, &len, &e) != 0)
        fail_msg("%s", e.text);
    free(path);
    assert_int_equal(json_check((mf_str){ text, len }, JSON_DEPTH_MAX, NULL),
                     0);
    arena_init(&a, SIZE_MAX / 8);
    v = json_root((mf_str){ text, len });
    for (mf_val all = v; json_next(all, &it, &key, &v); read++) {
        mf_str slug = arena_copy(&a, json_text(json_get(v, MF_STR("dir")), &a));
        struct manifest *m = as_manifest(v, &e);

        if (!m != text_among(slug.ptr, twice)) {
            print_error("%s: %s\n", slug.ptr, m ? "was to be refused" : e.text);
            wrong++;
        }
        if (m)
            assert_int_equal(m->action_count,
                             json_count(json_get(v, MF_STR("actions"))));
        manifest_free(m);
    }
    assert_true(read > 100);
    assert_int_equal(wrong, 0);
    arena_deinit(&a);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_catalog) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

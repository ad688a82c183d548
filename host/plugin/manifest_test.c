/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_test.c - what a manifest may say, and how it is told it may not.
 *
 * Faults are made by replacing a piece of one good manifest; each must be
 * told with its line, column and words. The manifests of plugins/ are read as
 * well. */
#include "plugin/manifest.h"

#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char good[] =
    "{\n"
    "\"slug\": \"acme\", \"name\": \"Acme Audience\",\n"
    "\"integrations_names\": [\"Acme\", \"Acme 2\"],\n"
    "\"version\": \"1.0.0\", \"docs\": \"https://docs.acme.example/\",\n"
    "\"kind\": \"http\",\n"
    "\"hosts\": [\"api.acme.example\", \"*.acme.example\",\n"
    "  \"{region}.acme.example\"],\n"
    "\"auth\": {\"scheme\": \"basic\",\n"
    "  \"username\": {\"@path\": \"$.settings.apiKey\"}, \"password\": \"\"},\n"
    "\"headers\": {\"x-v\": \"2\"},\n"
    "\"settings\": [\n"
    "  {\"key\": \"apiKey\", \"type\": \"password\", \"required\": true,\n"
    "   \"pattern\": \"ak_[0-9]{4}\"},\n"
    "  {\"key\": \"region\", \"type\": \"string\", \"default\": \"us\",\n"
    "   \"choices\": [\"us\", {\"label\": \"Europe\", \"value\": \"eu\"}]}],\n"
    "\"actions\": [\n"
    "  {\"slug\": \"track\", \"title\": \"Track\",\n"
    "   \"subscribe\": \"type = \\\"track\\\"\",\n"
    "   \"batch\": {\"size\": 500, \"bytes\": 4000, \"keys\": [\"email\"],\n"
    "     \"default\": false},\n"
    "   \"serialize_by\": \"email\",\n"
    "   \"sync_mode\": {\"default\": \"add\", \"choices\": [\"add\"]},\n"
    "   \"fields\": [\n"
    "     {\"key\": \"email\", \"type\": \"string\", \"required\": true,\n"
    "      \"default\": {\"@path\": \"$.properties.email\"}},\n"
    "     {\"key\": \"revenue\", \"type\": \"number\",\n"
    "      \"required_if\": {\"match\": \"all\", \"conditions\": [\n"
    "        {\"fieldKey\": \"email\", \"operator\": \"is\",\n"
    "         \"value\": \"x\"}]}},\n"
    "     {\"key\": \"items\", \"type\": \"object\", \"multiple\": true,\n"
    "      \"additional_properties\": true,\n"
    "      \"properties\": [{\"key\": \"id\", \"type\": \"integer\",\n"
    "                        \"min\": 1, \"max\": 9}]}],\n"
    "   \"request\": {\"method\": \"POST\",\n"
    "     \"url\": \"https://api.acme.example/v2\",\n"
    "     \"headers\": {\"x-user\": {\"@path\": \"$.payload.email\"}},\n"
    "     \"body\": {\"@path\": \"$.payload\"}},\n"
    "   \"batch_request\": {\"method\": \"POST\",\n"
    "     \"url\": {\"@template\": \"https://{{settings.region}}.x/\"},\n"
    "     \"form\": {\"a\": \"b\"}}},\n"
    "  {\"slug\": \"coded\", \"fields\": []}],\n"
    "\"presets\": [\n"
    "  {\"name\": \"Track\", \"action\": \"track\",\n"
    "   \"subscribe\": \"event = \\\"A\\\"\", \"type\": \"automatic\",\n"
    "   \"mapping\": {\"email\": {\"@path\": \"$.userId\"},\n"
    "     \"items\": {\"id\": 1}}},\n"
    "  {\"name\": \"Once\", \"action\": \"track\", \"type\": \"specificEvent\"}"
    "],\n"
    "\"testAuthentication\": {\"request\": {\"method\": \"GET\",\n"
    "  \"url\": \"https://api.acme.example/me\"}},\n"
    "\"onDelete\": {\"request\": {\"method\": \"DELETE\",\n"
    "  \"url\": \"https://api.acme.example/users\"}}\n"
    "}\n";

static struct manifest *parse(const char *text, struct err *e)
{
    *e = (struct err){ "" };
    return manifest_parse(xstrdup(text), strlen(text), "acme.json", e);
}

static void test_good(void **state)
{
    const struct manifest_action *a;
    struct manifest *m;
    struct err e;
    mf_str text;

    (void)state;
    m = parse(good, &e);
    if (!m)
        fail_msg("%s", e.text);
    assert_string_equal(m->slug, "acme");
    assert_string_equal(m->name, "Acme Audience");
    assert_string_equal(m->version, "1.0.0");
    assert_string_equal(m->integrations_names[1], "Acme 2");
    assert_null(m->integrations_names[2]);
    assert_string_equal(m->hosts[2], "{region}.acme.example");
    assert_null(m->hosts[3]);
    assert_int_equal(m->kind, PLUGIN_HTTP);
    assert_false(m->pauses_on_gone);
    assert_string_equal(m->auth_scheme, "basic");
    assert_non_null(m->auth);
    assert_non_null(m->headers);
    assert_string_equal(m->secret_settings[0], "apiKey");
    assert_null(m->secret_settings[1]);
    assert_int_equal(m->action_count, 2);
    assert_non_null(m->test);
    assert_non_null(m->on_delete);

    a = manifest_action(m, MF_STR("track"));
    assert_ptr_equal(a, &m->actions[0]);
    assert_int_equal(a->batch_size, 500);
    assert_int_equal(a->batch_bytes, 4000);
    assert_string_equal(a->batch_keys[0], "email");
    assert_null(a->batch_keys[1]);
    assert_false(a->batch_default);
    assert_string_equal(a->serialize_by, "email");
    assert_string_equal(a->subscribe, "type = \"track\"");
    assert_non_null(a->request);
    assert_non_null(a->batch_request);
    text = (mf_str){ a->default_mapping.raw, a->default_mapping.len };
    assert_true(mf_eq(text, MF_STR("{\"email\":{\"@path\":"
                                   " \"$.properties.email\"},"
                                   "\"__segment_internal_sync_mode\":"
                                   "\"add\"}")) ||
                mf_eq(text, MF_STR("{\"email\":{\"@path\": "
                                   "\"$.properties.email\"},"
                                   "\"__segment_internal_sync_mode\":"
                                   "\"add\"}")));
    assert_null(m->actions[1].request);
    assert_int_equal(m->actions[1].batch_size, 0);
    assert_null(m->actions[1].batch_keys[0]);
    assert_string_equal(m->actions[1].title, "coded");

    assert_int_equal(m->preset_count, 2);
    assert_true(m->presets[0].automatic);
    assert_false(m->presets[1].automatic);
    assert_ptr_equal(m->presets[1].mapping.raw, a->default_mapping.raw);
    text = (mf_str){ m->presets[0].mapping.raw, m->presets[0].mapping.len };
    assert_true(mf_eq(text,
                      MF_STR("{\"__segment_internal_sync_mode\":\"add\","
                             "\"email\":{\"@path\": \"$.userId\"},"
                             "\"items\":{\"id\": 1}}")));
    assert_null(manifest_action(m, MF_STR("trac")));
    manifest_free(m);
}

static void test_schema(void **state)
{
    struct arena arena;
    struct manifest *m;
    struct err e;
    mf_val out;

    (void)state;
    m = parse(good, &e);
    assert_non_null(m);
    arena_init(&arena, 1 << 20);
    out = schema_apply(m->settings,
                       json_root(MF_STR("{\"apiKey\":\"ak_1234\",\"x\":1}")), false,
                       &arena, &e);
    assert_int_equal(out.type, MF_OBJECT);
    assert_int_equal(json_get(out, MF_STR("x")).type, MF_ABSENT);
    out = schema_apply(m->settings, json_root(MF_STR("{}")), false, &arena, &e);
    assert_int_equal(out.type, MF_ABSENT);
    assert_non_null(strstr(e.text, "apiKey"));
    out = schema_apply(m->actions[0].fields,
                       json_root(MF_STR("{\"email\":\"e\",\"items\":{\"id\":"
                                        "\"3\"}}")),
                       false, &arena, &e);
    assert_int_equal(out.type, MF_OBJECT);
    arena_deinit(&arena);
    manifest_free(m);
}

/* One piece replaced by another; what it must say. */
static const struct {
    const char *from, *to, *error;
} faults[] = {
    { "\"slug\": \"acme\"", "\"slug\": \"Acme\"",
      "acme.json:2:9: `slug` must be" },
    { "\"slug\": \"acme\", ", "",
      "acme.json:1:1: a manifest must have `slug`" },
    { "\"name\": \"Acme Audience\"", "\"name\": \"\"",
      "acme.json:2:25: `name` must be a string that is not empty" },
    { "\"name\": \"Acme Audience\"", "\"name\": 3",
      "acme.json:2:25: `name` must be a string" },
    { "\"name\": \"Acme Audience\"", "\"nmae\": \"A\"",
      "acme.json:2:17: a manifest has no member `nmae`; did you mean `name`?" },
    { "\"kind\": \"http\"", "\"docs\": \"https://x\"",
      "acme.json:5:1: `docs` stands here twice" },
    { "\"1.0.0\"", "\"one\"", "acme.json:4:12: `version` must be like 1.0.0" },
    { "\"https://docs.acme.example/\"", "\"docs\"",
      "acme.json:4:29: `docs` must be the URL" },
    { "\"kind\": \"http\"", "\"kind\": \"https\"",
      "acme.json:5:9: `kind` must be http or native" },
    { "\"kind\": \"http\"", "\"kind\": \"http\", \"gone\": \"hold\"",
      "acme.json:5:25: `gone` must be pause or reject" },
    { "\"kind\": \"http\"", "\"kind\": \"native\"",
      "a native plugin does its own I/O" },
    { "\"*.acme.example\"", "\"*acme.example\"", "`*acme.example` is no host" },
    { "{region}", "{zone}", "`{zone}.acme.example` names no setting" },
    { "\"hosts\": [\"api.acme.example\", \"*.acme.example\",\n"
      "  \"{region}.acme.example\"]",
      "\"hosts\": []",
      "acme.json:6:10: `hosts` must name where requests may go" },
    { "\"scheme\": \"basic\"", "\"scheme\": \"oauth1\"",
      "acme.json:8:20: `scheme` must be one of" },
    { "\"username\"", "\"user\"",
      "acme.json:9:3: `auth` of this scheme has no member `user`" },
    { "\"username\": {\"@path\": \"$.settings.apiKey\"}, ", "",
      "`auth` of this scheme must have `username`" },
    { "\"scheme\": \"basic\",\n"
      "  \"username\": {\"@path\": \"$.settings.apiKey\"}, \"password\": \"\"",
      "\"scheme\": \"oauth2\", \"grant\": \"implicit\"",
      "`grant` must be client_credentials" },
    { "\"scheme\": \"basic\",\n"
      "  \"username\": {\"@path\": \"$.settings.apiKey\"}, \"password\": \"\"",
      "\"scheme\": \"oauth2\", \"grant\": \"jwt_bearer\"",
      "a `grant` needs `token_url`" },
    { "\"scheme\": \"basic\",\n"
      "  \"username\": {\"@path\": \"$.settings.apiKey\"}, \"password\": \"\"",
      "\"scheme\": \"oauth2\", \"grant\": \"jwt_bearer\", "
      "\"token_url\": \"https://api.acme.example/t\"",
      "the grant jwt_bearer needs `private_key`" },
    { "\"scheme\": \"basic\",\n"
      "  \"username\": {\"@path\": \"$.settings.apiKey\"}, \"password\": \"\"",
      "\"scheme\": \"oauth2\", \"grant\": \"client_credentials\", "
      "\"client_id\": \"c\", \"token_url\": \"https://evil.example/t\"",
      "the host of https://evil.example/t is not in `hosts`" },
    { "\"scheme\": \"basic\",\n"
      "  \"username\": {\"@path\": \"$.settings.apiKey\"}, \"password\": \"\"",
      "\"scheme\": \"oauth2\", \"client_auth\": \"header\"",
      "`client_auth` must be body or basic" },
    { "{\"@path\": \"$.settings.apiKey\"}", "{\"@pat\": \"x\"}",
      "acme.json:9:15: auth: " },
    { "\"type\": \"password\"", "\"type\": \"secret\"",
      "acme.json:12:29: no such type `secret`" },
    { "\"type\": \"number\"", "\"type\": \"numbr\"",
      "no such type `numbr`; did you mean `number`?" },
    { "\"pattern\": \"ak_[0-9]{4}\"", "\"pattern\": \"ak_[0-9\"",
      "acme.json:13:15: `pattern` is not a POSIX extended expression" },
    { "\"default\": \"us\"", "\"default\": \"cn\"",
      "acme.json:14:50: `default`: " },
    { "\"key\": \"region\"", "\"key\": \"apiKey\"",
      "acme.json:14:11: the key `apiKey` stands here twice" },
    { "\"choices\": [\"us\",", "\"choices\": [[],",
      "a choice must be a value or {label, value}" },
    { "\"slug\": \"track\", ", "",
      "acme.json:17:3: an action must have `slug`" },
    { "\"slug\": \"coded\"", "\"slug\": \"track\"",
      "the action `track` stands here twice" },
    { "\"subscribe\": \"type = \\\"track\\\"\"", "\"subscribe\": \"\\\"\"",
      "acme.json:18:" },
    { "\"size\": 500", "\"size\": 0",
      "acme.json:19:22: `size` must be a whole number above 0" },
    { "\"size\": 500, ", "", "`batch` must have `size`" },
    { "\"keys\": [\"email\"]", "\"keys\": [\"emial\"]",
      "batch key: no such field `emial`; did you mean `email`?" },
    { "\"serialize_by\": \"email\"", "\"serialize_by\": \"mail\"",
      "acme.json:21:20: serialize_by: no such field `mail`; did you mean "
      "`email`?" },
    { "\"choices\": [\"add\"]", "\"choices\": [\"upsert\"]",
      "`add` is not among `choices`" },
    { "\"choices\": [\"add\"]", "\"choices\": [\"added\"]",
      "no such sync mode `added`" },
    { "{\"@path\": \"$.properties.email\"}", "{\"@nope\": 1}",
      "acme.json:25:18: `default`: " },
    { "\"fieldKey\": \"email\"", "\"fieldKey\": \"mail\"",
      "no field `mail` is here" },
    { "\"match\": \"all\"", "\"match\": \"some\"",
      "`match` must be all or any" },
    { "\"key\": \"items\", \"type\": \"object\"",
      "\"key\": \"items\", \"type\": \"string\"",
      "only a field of type object has `properties`" },
    { "\"type\": \"integer\"", "\"type\": \"int\"", "no such type `int`" },
    { "\"min\": 1", "\"minimum\": 1", "a field has no member `minimum`" },
    { "\"key\": \"id\"", "\"key\": \"a\\\"b\"", "cannot be a key" },
    { "\"method\": \"POST\"", "\"method\": \"POSTS\"",
      "no such method `POSTS`; did you mean `POST`?" },
    { "\"url\": \"https://api.acme.example/v2\",", "",
      "a request must have `url`" },
    { "https://api.acme.example/v2", "api.acme.example/v2",
      "`url` must begin with https://" },
    { "https://api.acme.example/me", "https://api.other.example/me",
      "the host of https://api.other.example/me is not in `hosts`" },
    { "\"form\": {\"a\": \"b\"}", "\"form\": {}, \"body\": 1",
      "a request has `body` or `form`, not both" },
    { "\"body\": {\"@path\": \"$.payload\"}", "\"body\": {\"@path\": {}}",
      "request: " },
    { "\"batch\": {\"size\": 500, \"bytes\": 4000, \"keys\": [\"email\"],\n"
      "     \"default\": false},\n",
      "", "`batch_request` without `batch`" },
    { "\"action\": \"track\",\n", "\"action\": \"trak\",\n",
      "no such action `trak`; did you mean `track`?" },
    { "\"subscribe\": \"event = \\\"A\\\"\"", "\"subscribe\": \"event\"",
      "acme.json:44:18: a value is missing" },
    { "\"type\": \"automatic\"", "\"type\": \"auto\"",
      "`type` must be automatic or specificEvent" },
    { "{\"email\": {\"@path\": \"$.userId\"}",
      "{\"emial\": {\"@path\": \"$.userId\"}",
      "acme.json:45:16: mapping: no such field `emial`; did you mean "
      "`email`?" },
    { "{\"@path\": \"$.userId\"}", "{\"@nope\": {}}",
      "acme.json:45:25: mapping: " },
    { "\"testAuthentication\": {\"request\"",
      "\"testAuthentication\": {\"requests\"", "did you mean `request`?" },
    { "\"onDelete\": {\"request\"", "\"onDelete\": {\"requests\"",
      "`onDelete` has no member `requests`" },
    { "\"fields\": []}", "\"fields\": [\"emial\"]}",
      "acme.json:41:32: no field `emial` stands in `fields`" },
    { "}\n}\n", "}\n", "acme.json:5" },
};

static char *replaced(const char *from, const char *to)
{
    const char *at = strstr(good, from);

    if (!at)
        fail_msg("not there: %s", from);
    return xasprintf("%.*s%s%s", (int)(at - good), good, to,
                     at + strlen(from));
}

static void test_faults(void **state)
{
    unsigned wrong = 0;
    struct err e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        char *text = replaced(faults[i].from, faults[i].to);

        manifest_free(parse(text, &e));
        if (strncmp(e.text, "acme.json:", 10) != 0 ||
            !strstr(e.text, faults[i].error)) {
            print_error("says \"%s\", should say: %s\n", e.text,
                        faults[i].error);
            wrong++;
        }
        free(text);
    }
    assert_int_equal(wrong, 0);
}

/* Who pauses on a 410: by its own word, or because people name the URL. */
static void test_gone(void **state)
{
    static const struct {
        const char *from, *to;
        bool pauses;
    } table[] = {
        { "\"{region}.acme.example\"]", "\"*\"]", true },
        { "\"{region}.acme.example\"]", "\"*\"], \"gone\": \"reject\"",
          false },
        { "\"{region}.acme.example\"]",
          "\"{region}.acme.example\"], \"gone\": \"pause\"", true },
    };
    struct err e = { "" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char *text = replaced(table[i].from, table[i].to);
        struct manifest *m = parse(text, &e);

        if (!m)
            fail_msg("%s", e.text);
        assert_int_equal(m->pauses_on_gone, table[i].pauses);
        manifest_free(m);
        free(text);
    }
}

/* Fields that actions share are written out; what they lack is told. */
static void test_shared(void **state)
{
    static const char shared[] =
        "\"fields\": {\"mail\": {\"type\": \"string\","
        " \"default\": {\"@path\": \"$.e\"}},"
        " \"other\": {\"key\": \"mail\", \"type\": \"number\"},"
        " \"late\": {\"type\": \"string\", \"required_if\": {\"conditions\":"
        " [{\"fieldKey\": \"mail\", \"operator\": \"is\"}]}}},\n";
    static const struct {
        const char *fields, *error;
    } uses[] = {
        { "[\"mail\", \"late\"]", "" },
        { "[\"other\"]", "" },
        { "[\"mail\", \"other\"]", "the key `mail` stands here twice" },
        { "[\"mail\", {\"key\": \"mail\", \"type\": \"string\"}]",
          "the key `mail` stands here twice" },
        { "[\"late\"]", "`required_if` of this field names a field" },
        { "[\"mali\"]", "no field `mali` stands in `fields`; did you mean "
                        "`mail`?" },
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        char *text = xasprintf(
            "{\"slug\":\"a\",\"name\":\"A\",\"version\":\"1\",\"docs\":"
            "\"https://a\",\"hosts\":[\"*\"],%s\"actions\":[{\"slug\":\"x\","
            "\"fields\":%s}]}",
            shared, uses[i].fields);
        struct manifest *m = parse(text, &e);

        assert_int_equal(m != NULL, uses[i].error[0] == 0);
        assert_non_null(strstr(e.text, uses[i].error));
        if (i == 0)
            assert_memory_equal(m->actions[0].default_mapping.raw,
                                "{\"mail\":{\"@path\": \"$.e\"}}", 26);
        manifest_free(m);
        free(text);
    }
}

/* Each text cut short at each byte is a fault and nothing worse. */
static void test_cut(void **state)
{
    struct err e;

    (void)state;
    for (size_t n = 0; n < sizeof good - 4; n++)
        assert_null(manifest_parse(xstrndup(good, n), n, "acme.json", &e));
}

/* Any byte may be any other: no outcome but a manifest or a fault. */
static void test_bent(void **state)
{
    unsigned seed = 7;
    struct err e;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        char *text = xstrdup(good);

        text[(size_t)rand_r(&seed) % (sizeof good - 1)] =
            "\"{}[]:,\\0@$.e-\n"[rand_r(&seed) % 15];
        manifest_free(manifest_parse(text, sizeof good - 1, "acme.json", &e));
    }
}

static void test_repository(void **state)
{
    char *pattern = xasprintf("%.*s/plugins/*/manifest.json",
                              (int)(sizeof TEST_DATA -
                                    sizeof "/host/plugin/testdata"),
                              TEST_DATA);
    struct manifest *m;
    struct err e;
    glob_t found;
    size_t len;
    char *text;
    int rc;

    (void)state;
    rc = glob(pattern, 0, NULL, &found);
    free(pattern);
    if (rc != 0)
        skip();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = strstr(found.gl_pathv[i], "/plugins/") + 9;

        if (io_read_file(AT_FDCWD, found.gl_pathv[i], MANIFEST_BYTES_MAX,
                         &text, &len, &e) != 0)
            fail_msg("%s", e.text);
        m = manifest_parse(text, len, path, &e);
        if (!m)
            fail_msg("%s", e.text);
        if (strncmp(path, m->slug, strlen(m->slug)) != 0 ||
            path[strlen(m->slug)] != '/')
            fail_msg("%s says its slug is %s", path, m->slug);
        manifest_free(m);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_schema),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_shared),
        cmocka_unit_test(test_cut), cmocka_unit_test(test_gone),
        cmocka_unit_test(test_bent), cmocka_unit_test(test_repository),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * select_test.c - which events a destination wants, what they are mapped to,
 * and what an instance says of its subscriptions. */
#include "plugin/testplugin.h"

#include "json/json.h"
#include "plugin/inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct plugin plugin;
static struct instance *instance;
static struct arena arena;

static mf_val value(const char *text)
{
    mf_str s = mf_cstr(text);

    assert_int_equal(json_check(s, JSON_DEPTH_MAX, NULL), 0);
    return json_root(s);
}

static int begin(void **state)
{
    (void)state;
    test_plugin_open(&plugin);
    arena_init(&arena, 1u << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    manifest_free(plugin.manifest);
    arena_deinit(&arena);
    return 0;
}

static int after(void **state)
{
    (void)state;
    instance_free(instance);
    instance = NULL;
    arena_reset(&arena);
    return 0;
}

static void open_as(struct instance_config c)
{
    struct instance_fault fault;

    after(NULL);
    c.name = "main";
    instance = instance_new(&plugin, &c, &fault);
    if (!instance)
        fail_msg("%s", fault.err.text);
}

static void open_subs(const char *subscriptions)
{
    open_as((struct instance_config){ .subscriptions = value(subscriptions) });
}

/* The event is wanted by `count` subscriptions, or not for that reason. */
static void wants(const char *event, enum select_reason reason, size_t count)
{
    uint8_t subs[SUBSCRIPTIONS_MAX];
    size_t n;

    assert_int_equal(instance_select(instance, value(event), subs, &n, &arena),
                     reason);
    assert_int_equal(n, count);
}

#define TRACK "\"type\":\"track\",\"event\":\"Paid\""

static void test_presets(void **state)
{
    (void)state;
    open_as((struct instance_config){ .lenient = false });
    assert_int_equal(instance_subscriptions(instance), 2);
    wants("{" TRACK "}", SELECT_MATCHED, 2);
    wants("{\"type\":\"track\",\"event\":\"Seen\"}", SELECT_MATCHED, 1);
    wants("{\"type\":\"page\"}", SELECT_NO_MATCH, 0);
}

static void test_integrations(void **state)
{
    static const struct {
        const char *object;
        bool wanted;
    } table[] = {
        { "{}", true },
        { "{\"All\":true}", true },
        { "{\"All\":false}", false },
        { "{\"All\":false,\"Acme\":true}", true },
        { "{\"All\":false,\"Acme Audience\":{\"x\":1}}", true },
        { "{\"Acme\":false}", false },
        { "{\"Acme Audience\":false}", false },
        { "{\"acme\":false}", true },
        { "{\"All\":true,\"Acme\":false}", false },
        { "{\"Acme\":null}", true },
        { "{\"Other\":false}", true },
        { "{\"main\":true,\"Acme\":false}", true },
        { "{\"main\":false}", false },
        { "[]", true },
    };
    char event[256];

    (void)state;
    open_as((struct instance_config){ .lenient = false });
    for (size_t k = 0; k < COUNT_OF(table); k++) {
        snprintf(event, sizeof event, "{" TRACK ",\"integrations\":%s}",
                 table[k].object);
        wants(event,
              table[k].wanted ? SELECT_MATCHED : SELECT_INTEGRATIONS,
              table[k].wanted ? 2 : 0);
    }
}

static void test_bundled(void **state)
{
    (void)state;
    open_as((struct instance_config){ .lenient = false });
    wants("{" TRACK ",\"_metadata\":{\"bundled\":[\"Segment.io\"]}}",
          SELECT_MATCHED, 2);
    wants("{" TRACK ",\"_metadata\":{\"bundled\":[\"Segment.io\",\"Acme\"]}}",
          SELECT_BUNDLED, 0);
    wants("{" TRACK ",\"_metadata\":{\"unbundled\":[\"Acme\"]}}",
          SELECT_MATCHED, 2);
}

static void test_consent(void **state)
{
#define CONSENT(prefs)                                                         \
    "{" TRACK ",\"context\":{\"consent\":{\"categoryPreferences\":" prefs "}}}"
    (void)state;
    open_as((struct instance_config){ .consent = value("[\"ads\"]") });
    wants("{" TRACK "}", SELECT_MATCHED, 2);
    wants(CONSENT("{\"ads\":true}"), SELECT_MATCHED, 2);
    wants(CONSENT("{\"ads\":false}"), SELECT_CONSENT, 0);
    wants(CONSENT("{}"), SELECT_CONSENT, 0);
    open_as((struct instance_config){ .lenient = false });
    wants(CONSENT("{}"), SELECT_MATCHED, 2);
#undef CONSENT
}

static void test_filter(void **state)
{
    (void)state;
    open_as((struct instance_config){
        .filter = MF_STR("userId != 'nobody'") });
    wants("{" TRACK ",\"userId\":\"u\"}", SELECT_MATCHED, 2);
    wants("{" TRACK ",\"userId\":\"nobody\"}", SELECT_FILTER, 0);
}

static void test_subscriptions(void **state)
{
    uint8_t subs[SUBSCRIPTIONS_MAX];
    size_t n;

    (void)state;
    open_subs("[{\"action\":\"one\",\"subscribe\":\"type = \\\"page\\\"\"},"
              "{\"action\":\"one\",\"subscribe\":\"type = \\\"track\\\"\","
              "\"enabled\":false},"
              "{\"action\":\"steps\",\"subscribe\":\"type = \\\"track\\\"\","
              "\"name\":\"mine\"}]");
    assert_int_equal(instance_select(instance, value("{" TRACK "}"), subs, &n,
                                     &arena),
                     SELECT_MATCHED);
    assert_int_equal(n, 1);
    assert_int_equal(subs[0], 2);
    assert_string_equal(instance_action(instance, 2)->slug, "steps");
    assert_true(mf_eq(instance_subscription_name(instance, 2),
                      MF_STR("mine")));
    assert_false(mf_eq(instance_subscription_name(instance, 0),
                       instance_subscription_name(instance, 1)));
}

static void test_batch_limits(void **state)
{
    (void)state;
    open_subs("[{\"action\":\"batch\",\"subscribe\":\"type = \\\"a\\\"\"},"
              "{\"action\":\"batch\",\"subscribe\":\"type = \\\"a\\\"\","
              "\"mapping\":{\"enable_batching\":false}},"
              "{\"action\":\"batch\",\"subscribe\":\"type = \\\"a\\\"\","
              "\"mapping\":{\"batch_size\":3,\"batch_bytes\":100}},"
              "{\"action\":\"halves\",\"subscribe\":\"type = \\\"a\\\"\"},"
              "{\"action\":\"one\",\"subscribe\":\"type = \\\"a\\\"\"}]");
    assert_int_equal(instance_batch_size(instance, 0), 10);
    assert_int_equal(instance_batch_bytes(instance, 0), 4000);
    assert_string_equal(instance_serialize_by(instance, 0), "id");
    assert_int_equal(instance_batch_size(instance, 1), 1);
    assert_int_equal(instance_batch_size(instance, 2), 3);
    assert_int_equal(instance_batch_bytes(instance, 2), 100);
    assert_int_equal(instance_batch_size(instance, 3), 10);
    assert_int_equal(instance_batch_size(instance, 4), 1); /* cannot */
}

static void test_map_and_key(void **state)
{
    struct err e;
    mf_val v;

    (void)state;
    open_subs("[{\"action\":\"batch\",\"subscribe\":\"type = \\\"a\\\"\","
              "\"mapping\":{\"id\":{\"@path\":\"$.u\"},\"n\":{\"@path\":"
              "\"$.n\"}}}]");
    v = instance_map(instance, 0, value("{\"u\":\"x\",\"n\":\"7\",\"z\":1}"),
                     false, &arena, &e);
    assert_true(json_equal(v, value("{\"id\":\"x\",\"n\":7}"), &arena));
    assert_true(mf_eq(instance_batch_key(instance, 0, v, &arena),
                      instance_batch_key(instance, 0,
                                         value("{\"id\":\"y\",\"n\":7}"),
                                         &arena)));
    assert_false(mf_eq(instance_batch_key(instance, 0, v, &arena),
                       instance_batch_key(instance, 0,
                                          value("{\"id\":\"x\",\"n\":8}"),
                                          &arena)));
    v = instance_map(instance, 0, value("{\"n\":\"seven\"}"), false, &arena,
                     &e);
    assert_int_equal(v.type, MF_ABSENT);
    assert_non_null(strstr(e.text, "must be an integer"));
}

/* All paths of an action are filled in one pass, however they are written. */
static void test_path_tree(void **state)
{
    static const char *const paths[] = {
        "a", "a.b", "$.a.c[1].d", "a.c.0", "x.y.z", "n.deep", "a['b']", "a.b",
        "a.c.length",
    };
    static const char *const want[] = {
        "{\"b\":1,\"c\":[true,{\"d\":\"e\"}]}", "1", "\"e\"", "true", NULL,
        "null", "1", "1", "2",
    };
    struct path_tree *tree = path_tree_new(paths, COUNT_OF(paths), &arena);
    const mf_val *read;

    (void)state;
    read = path_tree_read(tree,
                          value("{\"a\":{\"b\":0},\"n\":null,\"x\":"
                                "{\"y\":\"s\"},\"a\":{\"b\":1,\"c\":"
                                "[true,{\"d\":\"e\"}]}}"),
                          &arena);
    for (size_t k = 0; k < COUNT_OF(paths); k++) {
        if (!want[k])
            assert_int_equal(path_tree_get(tree, read, k).type, MF_ABSENT);
        else
            assert_true(json_equal(path_tree_get(tree, read, k),
                                   value(want[k]), &arena));
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, after)
    const struct CMUnitTest tests[] = {
        T(test_presets), T(test_integrations), T(test_bundled),
        T(test_consent), T(test_filter), T(test_subscriptions),
        T(test_batch_limits), T(test_map_and_key), T(test_path_tree),
    };

    return cmocka_run_group_tests(tests, begin, end);
}

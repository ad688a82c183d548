/* SPDX-License-Identifier: Apache-2.0
 *
 * check_test.c - configured settings, subscriptions and mappings that are
 * right and wrong, and that each fault stands at the value it is about. */
#include "plugin/instance.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX 20

static const char text[] =
    "{\"slug\": \"acme\", \"name\": \"Acme\", \"version\": \"1.0\","
    "\"docs\": \"https://x\", \"hosts\": [\"*\"],"
    "\"settings\": ["
    "{\"key\": \"apiKey\", \"type\": \"password\", \"required\": true,"
    " \"pattern\": \"ak_[0-9]{4}\", \"description\": \"See Keys.\"},"
    "{\"key\": \"region\", \"type\": \"string\", \"default\": \"us\","
    " \"required\": true, \"choices\": [\"us\", \"eu\"]},"
    "{\"key\": \"port\", \"type\": \"integer\", \"min\": 1, \"max\": 99},"
    "{\"key\": \"user\", \"type\": \"string\", \"required_if\": "
    " {\"conditions\": [{\"fieldKey\": \"region\", \"operator\": \"is\","
    "  \"value\": \"eu\"}]}},"
    "{\"key\": \"tags\", \"type\": \"string\", \"multiple\": true,"
    " \"pattern\": \"[a-z]+\"}],"
    "\"actions\": ["
    "{\"slug\": \"track\", \"subscribe\": \"type = \\\"track\\\"\","
    " \"batch\": {\"size\": 10}, \"fields\": ["
    " {\"key\": \"email\", \"type\": \"string\", \"required\": true,"
    "  \"format\": \"email\", \"default\": {\"@path\": \"$.e\"}},"
    " {\"key\": \"revenue\", \"type\": \"number\"},"
    " {\"key\": \"kind\", \"type\": \"string\", \"choices\": [\"a\", \"b\"]},"
    " {\"key\": \"data\", \"type\": \"object\"}]},"
    "{\"slug\": \"page\", \"fields\": []}],"
    "\"presets\": [{\"name\": \"P\", \"action\": \"track\","
    " \"type\": \"automatic\"}]}";

static struct manifest *manifest(const char *from)
{
    struct err e = { "" };
    struct manifest *m =
        manifest_parse(xstrdup(from), strlen(from), "acme", &e);

    if (!m)
        fail_msg("%s", e.text);
    return m;
}

struct expected {
    const char *settings, *subscriptions, *filter;
    const char *at; /* NULL: no place; else where this text begins */
    const char *what; /* NULL: no fault at all */
};

#define GOOD "{\"apiKey\": \"ak_1234\"}"

static const struct expected cases[] = {
    { GOOD, NULL, NULL, NULL, NULL },
    { "{\"apiKey\": \"ak_1234\", \"port\": \"8\", \"tags\": [\"x\", \"y\"],"
      " \"region\": \"eu\", \"user\": \"x\"}", NULL, NULL, NULL, NULL },
    { "{\"apiKey\": \"ak_1234\", \"region\": \"\"}", NULL, NULL, "\"\"",
      "the setting `region` of acme is missing" },
    { NULL, NULL, NULL, NULL,
      "the setting `apiKey` of acme is missing: See Keys." },
    { "{ \"port\": 8}", NULL, NULL, "{ \"port\"",
      "the setting `apiKey` of acme is missing" },
    { "{\"apiKey\": \"\"}", NULL, NULL, "\"\"",
      "the setting `apiKey` of acme is missing" },
    { "[]", NULL, NULL, "[]", "`settings` must be an object" },
    { "{\"apiKey\": \"ak_1234\", \"apikey\": 1}", NULL, NULL, "\"apikey\"",
      "acme has no setting `apikey`; did you mean `apiKey`?" },
    { "{\"apiKey\": \"ak_12345\"}", NULL, NULL, "\"ak_12345\"",
      "`apiKey` must match ak_[0-9]{4}" },
    { "{\"apiKey\": \"xak_1234\"}", NULL, NULL, "\"xak_1234\"",
      "`apiKey` must match ak_[0-9]{4}" },
    { "{\"apiKey\": {}}", NULL, NULL, "{}}", "`apiKey`: " },
    { "{\"apiKey\": \"ak_1234\", \"region\": \"cn\"}", NULL, NULL, "\"cn\"",
      "`region`: " },
    { "{\"apiKey\": \"ak_1234\", \"port\": 100}", NULL, NULL, "100",
      "`port`: " },
    { "{\"apiKey\": \"ak_1234\", \"port\": \"x\"}", NULL, NULL, "\"x\"",
      "`port`: " },
    { "{\"apiKey\": \"ak_1234\", \"tags\": [\"x\", \"Y\"]}", NULL, NULL,
      "\"Y\"", "`tags` must match [a-z]+" },
    { "{\"apiKey\": \"ak_1234\", \"region\": \"eu\"}", NULL, NULL,
      "{\"apiKey\"", "settings of acme: " },
    { "{\"apiKey\": \"ak_1234\", \"region\": \"eu\", \"user\": \"u\"}", NULL,
      NULL, NULL, NULL },

    { GOOD, "{}", NULL, "{}", "`subscriptions` must be an array" },
    { GOOD, "[]", NULL, "[]", "`subscriptions` is empty" },
    { GOOD, "[7]", NULL, "7", "a subscription must be an object" },
    { GOOD, "[{}]", NULL, "{}", "a subscription must name its `action`, one "
                                "of track, page" },
    { GOOD, "[{\"action\": \"trakc\"}]", NULL, "\"trakc\"",
      "acme has no action `trakc`; did you mean `track`?" },
    { GOOD, "[{\"action\": \"identify\"}]", NULL, "\"identify\"",
      "acme has no action `identify`; it has track, page" },
    { GOOD, "[{\"action\": \"track\"}]", NULL, NULL, NULL },
    { GOOD, "[{\"action\": \"page\"}]", NULL, "{\"action\"",
      "page has no trigger of its own" },
    { GOOD, "[{\"action\": \"page\", \"subscribe\": \"type = \\\"page\\\"\"}]",
      NULL, NULL, NULL },
    { GOOD, "[{\"action\": \"page\", \"subscribe\": 1}]", NULL, "1}",
      "`subscribe` must be a string" },
    { GOOD, "[{\"action\": \"page\", \"subscribe\": \"type \\u003d "
            "\\\"page\"}]",
      NULL, "\\\"page\"}", "subscribe: " },
    { GOOD, "[{\"action\": \"track\", \"mapping\": []}]", NULL, "[]",
      "`mapping` must be an object" },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"email\": \"a@b.co\","
            " \"revenu\": 1}}]",
      NULL, "\"revenu\"",
      "track has no such field `revenu`; did you mean `revenue`?" },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"revenue\": 1}}]", NULL,
      "{\"revenue\"", "track requires the field `email`: map it" },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"email\": "
            "{\"@path\": \"$.x\"}, \"revenue\": {\"@paht\": \"$.y\"}}}]",
      NULL, "{\"@paht\"", "mapping: " },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"email\": "
            "{\"@path\": \"$.x\"}, \"kind\": \"c\"}}]",
      NULL, "\"c\"", "`kind`: " },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"email\": \"nobody\"}}]",
      NULL, "\"nobody\"", "`email`: " },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"email\": \"a@b.co\","
            " \"data\": {\"x\": {\"@path\": \"$.x\"}},"
            " \"__segment_internal_sync_mode\": \"add\","
            " \"enable_batching\": true, \"batch_size\": 5}}]",
      NULL, NULL, NULL },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"email\": \"a@b.co\","
            " \"onMappingSave\": {\"outputs\": {\"id\": \"l1\"}}}}]",
      NULL, NULL, NULL },
    { GOOD, "[{\"action\": \"page\", \"subscribe\": \"type = \\\"page\\\"\","
            " \"mapping\": {\"batch_size\": 5}}]",
      NULL, "\"batch_size\"", "page has no such field `batch_size`" },
    { GOOD, "[{\"action\": \"track\", \"mapping\": {\"@path\": "
            "\"$.properties\"}}]",
      NULL, NULL, NULL },
    { GOOD, NULL, "type = \"track\"", NULL, NULL },
    { GOOD, NULL, "type = ", NULL, "filter: " },
};

static mf_val value(const char *json)
{
    mf_val none = { NULL, 0, MF_ABSENT };

    if (!json)
        return none;
    assert_int_equal(json_check(mf_cstr(json), JSON_DEPTH_MAX, NULL), 0);
    return json_root(mf_cstr(json));
}

static size_t check(const struct manifest *m, const struct expected *x,
                    struct instance_fault faults[MAX])
{
    struct instance_config c = { .name = "d",
                                 .settings = value(x->settings),
                                 .subscriptions = value(x->subscriptions),
                                 .filter = mf_cstr(x->filter) };

    return instance_check(m, &c, faults, MAX);
}

/* Where the fault must stand: the marker in either text. */
static const char *place(const struct expected *x)
{
    const char *at = NULL;

    if (x->at && x->subscriptions)
        at = strstr(x->subscriptions, x->at);
    if (x->at && !at)
        at = strstr(x->settings, x->at);
    return at;
}

static void test_cases(void **state)
{
    struct instance_fault faults[MAX];
    struct manifest *m = manifest(text);
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct expected *x = &cases[i];
        size_t n = check(m, x, faults);
        bool ok = n == (x->what ? 1 : 0);

        if (ok && n)
            ok = strstr(faults[0].err.text, x->what) &&
                 faults[0].at == place(x);
        if (ok)
            continue;
        wrong++;
        print_error("case %zu: %zu faults, \"%s\" at \"%s\"; expected \"%s\" "
                    "at \"%s\"\n",
                    i, n, n ? faults[0].err.text : "",
                    n && faults[0].at ? faults[0].at : "",
                    x->what ? x->what : "", x->at ? x->at : "");
    }
    assert_int_equal(wrong, 0);
    manifest_free(m);
}

/* All faults of one configuration at once, and no more than there is room. */
static void test_many(void **state)
{
    static const struct expected x = {
        "{\"apiKey\": \"no\", \"what\": 1, \"port\": 0}",
        "[{\"action\": \"nope\"}, {\"action\": \"track\", \"mapping\": "
        "{\"email\": {\"@path\": 1}, \"data\": {\"@json\": {\"mode\": 1}}}},"
        "{\"action\": \"page\"}]",
        "(", NULL, NULL
    };
    struct instance_config c = { .settings = value(x.settings),
                                 .subscriptions = value(x.subscriptions) };
    struct instance_fault faults[MAX];
    struct manifest *m = manifest(text);

    (void)state;
    assert_true(check(m, &x, faults) >= 8);
    assert_int_equal(instance_check(m, &c, faults, 3), 3);
    assert_int_equal(instance_check(m, &c, faults, 0), 0);
    manifest_free(m);
}

/* One fault in a mapping hides no other. */
static void test_beside_a_broken_directive(void **state)
{
    static const struct expected x = {
        GOOD, "[{\"action\": \"track\", \"mapping\": {\"revenu\": 1, "
              "\"kind\": {\"@paht\": \"$.y\"}}}]", NULL, NULL, NULL
    };
    struct instance_fault faults[MAX];
    struct manifest *m = manifest(text);

    (void)state;
    assert_int_equal(check(m, &x, faults), 3);
    assert_non_null(strstr(faults[0].err.text, "invalid directive"));
    assert_non_null(strstr(faults[1].err.text, "did you mean `revenue`?"));
    assert_non_null(strstr(faults[2].err.text, "requires the field `email`"));
    manifest_free(m);
}

static void test_required_to_deliver(void **state)
{
    struct instance_config c = { .settings = value("{}") };
    struct instance_fault faults[MAX];
    struct manifest *m = manifest(
        "{\"slug\": \"acme\", \"name\": \"Acme\", \"version\": \"1.0\","
        "\"docs\": \"https://x\", \"hosts\": [\"*\"], \"settings\": ["
        "{\"key\": \"site\", \"type\": \"string\","
        " \"required_to_deliver\": true}],"
        "\"actions\": [{\"slug\": \"page\", \"fields\": [],"
        " \"subscribe\": \"type = \\\"page\\\"\"}]}");

    (void)state;
    c.subscriptions = value("[{\"action\": \"page\"}]");
    assert_int_equal(instance_check(m, &c, faults, MAX), 1);
    assert_string_equal(faults[0].err.text,
                        "the setting `site` of acme is missing");
    c.settings = value("{\"site\": \"x\"}");
    assert_int_equal(instance_check(m, &c, faults, MAX), 0);
    manifest_free(m);
}

static void test_no_presets(void **state)
{
    static const struct expected x = { GOOD, NULL, NULL, NULL, NULL };
    struct instance_fault faults[MAX];
    char *copy = xasprintf(
        "%.*s]}", (int)(strstr(text, "{\"name\": \"P\"") - text), text);
    struct manifest *m = manifest(copy);

    (void)state;
    assert_int_equal(check(m, &x, faults), 1);
    assert_null(faults[0].at);
    assert_non_null(strstr(faults[0].err.text,
                           "acme has no presets: say in `subscriptions` which "
                           "action is to have which events; its actions are "
                           "track, page"));
    manifest_free(m);
    free(copy);
}

/* No configured value may be repeated in what is told: it may be a secret. */
static void test_secrets(void **state)
{
    static const struct expected tries[] = {
        { "{\"apiKey\": \"hunter2\"}", NULL, NULL, NULL, NULL },
        { "{\"apiKey\": {\"hunter2\": 1}}", NULL, NULL, NULL, NULL },
        { "{\"apiKey\": \"ak_1234\", \"region\": \"hunter2\"}", NULL, NULL,
          NULL, NULL },
        { "{\"apiKey\": \"ak_1234\", \"port\": \"hunter2\"}", NULL, NULL,
          NULL, NULL },
    };
    struct instance_fault faults[MAX];
    struct manifest *m = manifest(text);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(tries); i++) {
        size_t n = check(m, &tries[i], faults);

        assert_true(n > 0);
        for (size_t k = 0; k < n; k++)
            assert_null(strstr(faults[k].err.text, "hunter2"));
    }
    manifest_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_beside_a_broken_directive),
        cmocka_unit_test(test_required_to_deliver),
        cmocka_unit_test(test_no_presets),
        cmocka_unit_test(test_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

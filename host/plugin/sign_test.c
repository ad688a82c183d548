/* SPDX-License-Identifier: Apache-2.0
 *
 * sign_test.c - AWS signatures against the published test suite of signature
 * version 4, and keyed digests against RFC 2104's and RFC 4231's examples. */
#include "plugin/inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char manifest_text[] =
    "{\"slug\":\"aws\",\"name\":\"Aws\",\"version\":\"1.0.0\","
    "\"docs\":\"https://docs.example/\",\"kind\":\"http\","
    "\"hosts\":[\"example.amazonaws.com\"],"
    "\"auth\":{\"scheme\":\"aws_sigv4\",\"accessKeyId\":\"AKIDEXAMPLE\","
    "\"secretAccessKey\":\"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\","
    "\"region\":\"us-east-1\",\"service\":\"service\"},"
    "\"settings\":[],\"actions\":["
    "{\"slug\":\"get\",\"title\":\"G\",\"description\":\"G\",\"fields\":["
    "{\"key\":\"url\",\"label\":\"U\",\"type\":\"string\","
    "\"description\":\"U\",\"default\":{\"@path\":\"$.url\"}}],"
    "\"request\":{\"method\":\"GET\",\"url\":{\"@path\":\"$.payload.url\"}}}]}";

static struct plugin plugin;

static int begin(void **state)
{
    struct err e = { "" };

    (void)state;
    plugin.manifest = manifest_parse(xstrdup(manifest_text),
                                     sizeof manifest_text - 1, "test", &e);
    if (!plugin.manifest)
        fail_msg("%s", e.text);
    return 0;
}

static int end(void **state)
{
    (void)state;
    manifest_free(plugin.manifest);
    return 0;
}

static void signed_as(const char *url, const char *signature)
{
    struct instance_config c = {
        .name = "aws", .lenient = true, .fixed = true,
        .subscriptions = json_root(MF_STR("[{\"action\":\"get\"}]")),
        .now = 1440938160000, /* 2015-08-30T12:36:00Z */
    };
    struct instance *i = instance_new(&plugin, &c, NULL);
    struct call *call = call_new(i, 0);
    struct call_answer a = { .status = 200 };
    const struct call_request *r;
    const char *got = NULL;
    char payload[256];

    snprintf(payload, sizeof payload, "{\"url\":\"%s\"}", url);
    call_add(call, json_root(MF_STR("{}")), json_root(mf_cstr(payload)));
    call_start(call);
    r = call_next(call);
    assert_non_null(r);
    for (size_t k = 0; k < r->header_count; k++)
        if (mf_eq(r->headers[k].name, MF_STR("authorization")))
            got = r->headers[k].value.ptr;
    assert_non_null(got);
    assert_non_null(strstr(got, "Credential=AKIDEXAMPLE/20150830/us-east-1/"
                                "service/aws4_request, "
                                "SignedHeaders=host;x-amz-date, "));
    assert_string_equal(strstr(got, "Signature=") + 10, signature);
    call_answer(call, r->id, &a);
    call_free(call);
    instance_free(i);
}

static void test_suite(void **state)
{
    (void)state;
    signed_as("https://example.amazonaws.com/",
              "5fa00fa31553b73ebf1942676e86291e"
              "8372ff2a2260956d9b8aae1d763fbf31");
    signed_as("https://example.amazonaws.com/?Param2=value2&Param1=value1",
              "b97d918cfa904a5beff61c982a1b6f45"
              "8b799221646efd99d3219ec94cdf2500");
}

static void hmac_is(enum hash_algorithm h, mf_str key, const char *data,
                    const char *want)
{
    unsigned char out[HASH_BYTES_MAX];
    struct arena a;
    struct buf hex;

    arena_init(&a, 1u << 20);
    buf_init(&hex, 1024);
    hex_encode(&hex, out, hmac_bytes(h, key, mf_cstr(data), &a, out));
    assert_int_equal(hex.len, strlen(want));
    assert_memory_equal(hex.data, want, hex.len);
    buf_deinit(&hex);
    arena_deinit(&a);
}

static void test_hmac(void **state)
{
    char key[131];

    (void)state;
    hmac_is(HASH_MD5, MF_STR("Jefe"), "what do ya want for nothing?",
            "750c783e6ab0b503eaa86e310a5db738");
    hmac_is(HASH_SHA256, MF_STR("Jefe"), "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac_is(HASH_SHA512, MF_STR("Jefe"), "what do ya want for nothing?",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
    memset(key, 0xaa, sizeof key);
    hmac_is(HASH_SHA256, (mf_str){ key, sizeof key },
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),
        cmocka_unit_test(test_hmac),
    };

    return cmocka_run_group_tests(tests, begin, end);
}

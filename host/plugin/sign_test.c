/* SPDX-License-Identifier: Apache-2.0
 *
 * sign_test.c - AWS signatures against the published test suite of signature
 * version 4 and the examples in the manuals of IAM and S3, and keyed digests
 * against RFC 2104's and RFC 4231's. */
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
    "\"hosts\":[\"*.amazonaws.com\"],"
    "\"auth\":{\"scheme\":\"aws_sigv4\",\"accessKeyId\":\"%s\","
    "\"secretAccessKey\":\"wJalrXUtnFEMI/K7MDENG%cbPxRfiCYEXAMPLEKEY\","
    "\"region\":\"us-east-1\",\"service\":\"%s\"%s},"
    "\"settings\":[],\"actions\":["
    "{\"slug\":\"get\",\"title\":\"G\",\"description\":\"G\",\"fields\":["
    "{\"key\":\"url\",\"label\":\"U\",\"type\":\"string\","
    "\"description\":\"U\",\"default\":{\"@path\":\"$.url\"}}],"
    "\"request\":{\"method\":\"GET\",\"url\":{\"@path\":\"$.payload.url\"},"
    "\"headers\":{%s}}}]}";

/* Two keys are used in AWS's own examples. */
struct example {
    const char *id, *service, *headers, *url;
    char sign; /* in the secret */
    int64_t now;
    const char *names, *signature, *session;
};

static struct plugin plugin;

static void begin(const struct example *x)
{
    struct err e = { "" };
    char *text = xasprintf(manifest_text, x->id, x->sign, x->service,
                           x->session ? x->session : "", x->headers);

    plugin.manifest = manifest_parse(text, strlen(text), "test", &e);
    if (!plugin.manifest)
        fail_msg("%s", e.text);
}

static void has(const char *where, const char *name, const char *value)
{
    const char *at = strstr(where, name);

    assert_non_null(at);
    if (strncmp(at + strlen(name), value, strlen(value)) != 0)
        fail_msg("%s is in %s", name, where);
}

static void signed_as(const struct example *x)
{
    struct instance_config c = {
        .name = "aws", .lenient = true, .fixed = true,
        .subscriptions = json_root(MF_STR("[{\"action\":\"get\"}]")),
        .now = x->now,
    };
    struct call_answer a = { .status = 200 };
    const struct call_request *r;
    const char *got = NULL;
    struct instance *i;
    struct call *call;
    char payload[256];

    begin(x);
    i = instance_new(&plugin, &c, NULL);
    call = call_new(i, 0);
    snprintf(payload, sizeof payload, "{\"url\":\"%s\"}", x->url);
    call_add(call, json_root(MF_STR("{}")), json_root(mf_cstr(payload)));
    call_start(call);
    r = call_next(call);
    assert_non_null(r);
    for (size_t k = 0; k < r->header_count; k++)
        if (mf_eq(r->headers[k].name, MF_STR("authorization")))
            got = r->headers[k].value.ptr;
    assert_non_null(got);
    has(got, "Credential=", x->id);
    has(got, "SignedHeaders=", x->names);
    has(got, "Signature=", x->signature);
    call_answer(call, r->id, &a);
    call_free(call);
    instance_free(i);
    manifest_free(plugin.manifest);
}

#define SUITE "AKIDEXAMPLE", "service", ""
#define AT_2015 '+', 1440938160000 /* 2015-08-30T12:36:00Z */
#define S3(headers) "AKIAIOSFODNN7EXAMPLE", "s3", headers
#define AT_2013 '/', 1369353600000 /* 2013-05-24T00:00:00Z */
#define BUCKET "https://examplebucket.s3.amazonaws.com"
#define S3_NAMES "host;x-amz-content-sha256;x-amz-date, "

static void test_suite(void **state)
{
    static const struct example examples[] = {
        { SUITE, "https://example.amazonaws.com/", AT_2015,
          "host;x-amz-date, ",
          "5fa00fa31553b73ebf1942676e86291e"
          "8372ff2a2260956d9b8aae1d763fbf31" },
        { SUITE, "https://example.amazonaws.com/?Param2=value2&Param1=value1",
          AT_2015, "host;x-amz-date, ",
          "b97d918cfa904a5beff61c982a1b6f45"
          "8b799221646efd99d3219ec94cdf2500" },
        { SUITE, "https://example.amazonaws.com/?\\u1234=bar", AT_2015,
          "host;x-amz-date, ",
          "2cdec8eed098649ff3a119c94853b13c"
          "643bcf08f8b0a1d91e12c9027818dd04" },
        { "AKIDEXAMPLE", "iam",
          "\"content-type\":"
          "\"application/x-www-form-urlencoded; charset=utf-8\"",
          "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
          AT_2015, "content-type;host;x-amz-date, ",
          "5d672d79c15b13162d9279b0855cfba6"
          "789a8edb4c82c400e06b5924a6f2b5d7" },
    };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(examples); k++)
        signed_as(&examples[k]);
}

/* The examples of S3's own manual. */
static void test_s3(void **state)
{
    static const struct example examples[] = {
        { S3("\"range\":\"bytes=0-9\""), BUCKET "/test.txt", AT_2013,
          "host;range;x-amz-content-sha256;x-amz-date, ",
          "f0e8bdb87c964420e857bd35b5d6ed31"
          "0bd44f0170aba48dd91039c6036bdb41" },
        { S3(""), BUCKET "/?lifecycle", AT_2013, S3_NAMES,
          "fea454ca298b7da1c68078a5d1bdbfbb"
          "e0d65c699e0f91ac7a200a0136783543" },
        { S3(""), BUCKET "/?prefix=J&max-keys=2", AT_2013, S3_NAMES,
          "34b48302e7b5fa45bde8084f4b7868a8"
          "6f0a534bc59db6670ed5711ef69dc6f7" },
    };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(examples); k++)
        signed_as(&examples[k]);
}

/* What the examples leave out; reckoned with another implementation. */
static void test_escapes(void **state)
{
    static const struct example examples[] = {
        { "AKIDEXAMPLE", "service", "\"x-y\":\"1   2\"",
          "https://example.amazonaws.com/a%20b/c=d?b=1&a-b=2&a=3", AT_2015,
          "host;x-amz-date;x-y, ",
          "b444ced0797522c96fe977cfd20cd2ab"
          "632f014e556371a9e88adbe821b893e1" },
        { S3(""), BUCKET "/day=1/c%20d$.txt", AT_2013,
          "host;x-amz-content-sha256;x-amz-date;x-amz-security-token, ",
          "60119b458abf42f2f4c15784efb78d14"
          "fce7523335da959616b37d54e9e8da8a",
          ",\"sessionToken\":\"tok/en==\"" },
    };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(examples); k++)
        signed_as(&examples[k]);
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
        cmocka_unit_test(test_s3),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_hmac),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

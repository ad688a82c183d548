/* SPDX-License-Identifier: Apache-2.0
 *
 * hashing_test.c - digests and audience membership: by hand, and against what
 * the original recorded (actions/_core.json of MANIFOLD_VECTORS). */
#include "mapping/core_vectors.h"
#include "mapping/hashing.h"
#include "mapping/membership.h"

static mf_val parse(const char *json)
{
    assert_int_equal(json_check(mf_cstr(json), JSON_DEPTH_MAX, NULL), 0);
    return json_root(mf_cstr(json));
}

static void report(const char *function, unsigned passed, unsigned total)
{
    printf("%s: %u/%u\n", function, passed, total);
    assert_true(total > 0);
    assert_true(passed * 100 >= total * 99);
}

static void is_text(mf_str got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

/* ---- by hand ---- */

static void digests(void **state)
{
    (void)state;
    is_text(hash_text(HASH_MD5, HASH_HEX, MF_STR("abc"), &arena),
            "900150983cd24fb0d6963f7d28e17f72");
    is_text(hash_text(HASH_SHA1, HASH_BASE64, MF_STR("abc"), &arena),
            "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
    is_text(hash_text(HASH_SHA256, HASH_HEX, (mf_str){ NULL, 0 }, &arena),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(hash_algorithm_named(MF_STR("sha512")), HASH_SHA512);
    assert_int_equal(hash_algorithm_named(MF_STR("SHA512")), -1);
    assert_int_equal(hash_algorithm_named(MF_STR("")), -1);
}

static void hashed_values_are_left_alone(void **state)
{
    mf_str hex = MF_STR("900150983CD24FB0d6963f7d28e17f72");
    mf_str base64 = MF_STR("qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
    mf_str out;

    (void)state;
    assert_int_equal(hash_smart(HASH_MD5, HASH_HEX, hex, clean_digits, &arena,
                                &out, NULL),
                     0);
    assert_ptr_equal(out.ptr, hex.ptr);
    assert_true(hash_looks_done(HASH_SHA1, HASH_BASE64, base64));
    assert_false(hash_looks_done(HASH_SHA1, HASH_HEX, base64));
    assert_false(hash_looks_done(HASH_SHA1, HASH_BASE64,
                                 MF_STR("qZk+NkcGgWq6PiVxeFDCbJzQ2J=0")));
    assert_false(hash_looks_done(HASH_MD5, HASH_HEX,
                                 MF_STR("x00150983cd24fb0d6963f7d28e17f72")));
    assert_false(hash_looks_done(HASH_MD5, HASH_HEX,
                                 MF_STR("00150983cd24fb0d6963f7d28e17f72")));
}

static void cleaning_comes_before_hashing(void **state)
{
    struct err e;
    mf_str out;

    (void)state;
    is_text(clean_trim_lower(MF_STR("\xc2\xa0 A\xc3\x89" "B\t"), &arena),
            "a\xc3\xa9" "b");
    is_text(clean_digits(MF_STR("+1 (706) 7-67"), &arena), "1706767");
    assert_int_equal(hash_smart(HASH_SHA1, HASH_BASE64, MF_STR(" ABC\n"),
                                clean_trim_lower, &arena, &out, NULL),
                     0);
    is_text(out, "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
    assert_int_equal(hash_smart(HASH_SHA1, HASH_HEX, MF_STR(" \xe2\x80\xa8"),
                                NULL, &arena, &out, NULL),
                     0);
    is_text(out, "");
    assert_int_equal(hash_smart(HASH_SHA1, HASH_HEX, MF_STR("none"),
                                clean_digits, &arena, &out, &e),
                     -1);
    assert_string_equal(e.text, "Cannot hash an empty string");
    is_text(out, "");
}

static void members_come_and_go(void **state)
{
    static const struct {
        const char *event, *mode, *features;
        enum membership want;
    } rows[] = {
        { "{\"type\":\"track\",\"event\":\"updated\"}", "update", "{}",
          MEMBERSHIP_IN },
        { "{\"type\":\"track\",\"event\":\"deleted\"}", "mirror", "{}",
          MEMBERSHIP_OUT },
        { "{\"type\":\"track\",\"event\":\"deleted\"}", "upsert", "{}",
          MEMBERSHIP_NONE },
        { "{\"type\":\"page\",\"event\":\"new\"}", "add", "{}",
          MEMBERSHIP_NONE },
        { "[]", "add", "{}", MEMBERSHIP_NONE },
        { "{\"type\":\"track\",\"event\":\"new\",\"properties\":{\"k\":false},"
          "\"context\":{\"personas\":{\"computation_class\":\"audience\","
          "\"computation_key\":\"k\"}}}",
          "add", "{}", MEMBERSHIP_OUT },
        { "{\"type\":\"track\",\"properties\":{\"s\":false},\"context\":{"
          "\"personas\":{\"computation_class\":\"journey_step\","
          "\"computation_key\":\"s\"}}}",
          "", "{\"actions-legacy-journeys-audience-membership\":true}",
          MEMBERSHIP_OUT },
        { "{\"type\":\"track\",\"properties\":{},\"context\":{\"personas\":{"
          "\"computation_class\":\"audience\",\"computation_key\":\"s\"}}}",
          "", "{\"actions-legacy-journeys-audience-membership\":true}",
          MEMBERSHIP_NONE },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(membership_of(parse(rows[i].event),
                                       mf_cstr(rows[i].mode),
                                       parse(rows[i].features), &arena),
                         rows[i].want);
}

/* ---- vectors ---- */

static mf_str member(mf_val v, const char *name)
{
    return json_text(json_get(v, mf_cstr(name)), &arena);
}

static bool hashes_as_recorded(mf_val v)
{
    mf_str clean_name = member(v, "clean"), value = member(v, "value"), out;
    enum hash_encoding encoding =
        mf_eq(member(v, "digest"), MF_STR("hex")) ? HASH_HEX : HASH_BASE64;
    hash_clean *clean = mf_eq(clean_name, MF_STR("digits")) ? clean_digits
                        : mf_eq(clean_name, MF_STR("trim_lower"))
                            ? clean_trim_lower
                            : NULL;
    int h = hash_algorithm_named(member(v, "algo")), rc;
    struct err e;

    assert_true(h >= 0);
    rc = hash_smart((enum hash_algorithm)h, encoding, value, clean, &arena,
                    &out, &e);
    if (hash_looks_done((enum hash_algorithm)h, encoding, value) !=
        json_is_true(json_get(v, MF_STR("already"))))
        return false;
    if (json_get(v, MF_STR("error")).type != MF_ABSENT)
        return rc == -1 && mf_eq(member(v, "error"), mf_cstr(e.text));
    return rc == 0 && mf_eq(out, member(v, "out"));
}

static void hashing_vectors(void **state)
{
    mf_val list = vectors("hashing_probe"), v;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    mf_str key;

    (void)state;
    for (; json_next(list, &it, &key, &v); total++)
        passed += hashes_as_recorded(v);
    report("hashing", passed, total);
}

static bool member_as_recorded(const char *function, mf_val v)
{
    mf_val args = json_get(v, MF_STR("args")), event = json_at(args, 0);
    mf_val out = json_get(v, MF_STR("out"));
    mf_str mode = json_text(json_at(args, 1), &arena);
    enum membership want = out.type != MF_BOOL  ? MEMBERSHIP_NONE
                           : json_is_true(out) ? MEMBERSHIP_IN
                                               : MEMBERSHIP_OUT;
    enum membership got =
        function[0] == 'e'   ? membership_engage(event, JSON_NULL, &arena)
        : function[2] == 't' ? membership_retl(event, mode, &arena)
                             : membership_of(event, mode, json_at(args, 2),
                                             &arena);

    return got == want;
}

static void membership_vectors(void **state)
{
    static const char *const functions[] = { "engageAudienceMembership",
                                             "retlAudienceMembership",
                                             "resolveAudienceMembership" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        mf_val list = vectors(functions[i]), v;
        unsigned passed = 0, total = 0;
        mf_iter it = { { 0 } };
        mf_str key;

        for (; json_next(list, &it, &key, &v); total++)
            passed += member_as_recorded(functions[i], v);
        report(functions[i], passed, total);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(hashed_values_are_left_alone),
        cmocka_unit_test(cleaning_comes_before_hashing),
        cmocka_unit_test(members_come_and_go),
        cmocka_unit_test(hashing_vectors),
        cmocka_unit_test(membership_vectors),
    };

    return cmocka_run_group_tests(tests, load, unload);
}

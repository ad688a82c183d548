/* SPDX-License-Identifier: Apache-2.0 */
#include "http/cert_fixture.h"

#include "base/mem.h"

#include <stdio.h>

static struct made root, leaf, other, late, rsa, nameless;
static char *root_pem, *leaf_pem, *leaf_key, *other_key, *other_pem;

static int setup(void **state)
{
    (void)state;
    root = make((struct wish){ "root", -DAY_S, 900 * DAY_S, NULL, 0 });
    leaf = make((struct wish){ "one.test", -DAY_S, 30 * DAY_S, &root, 0 });
    other = make((struct wish){ "two.test", -DAY_S, 30 * DAY_S, NULL, 0 });
    late = make((struct wish){ "late.test", -9 * DAY_S, -DAY_S, NULL, 0 });
    rsa = make((struct wish){ "rsa.test", -DAY_S, DAY_S, NULL, 1024 });
    nameless = make((struct wish){ NULL, -DAY_S, DAY_S, NULL, 0 });
    root_pem = cert_pem(&root);
    leaf_pem = cert_pem(&leaf);
    leaf_key = key_pem(&leaf, NULL);
    other_pem = cert_pem(&other);
    other_key = key_pem(&other, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unmake(&root);
    unmake(&leaf);
    unmake(&other);
    unmake(&late);
    unmake(&rsa);
    unmake(&nameless);
    free(root_pem);
    free(leaf_pem);
    free(leaf_key);
    free(other_pem);
    free(other_key);
    return 0;
}

static struct tls_facts taken(const char *chain, const char *key)
{
    struct tls_facts f;
    enum tls_blame blame;
    struct err e = { "" };
    struct http_tls *t = http_tls_new(mf_cstr(chain), mf_cstr(key), &f,
                                      &blame, &e);

    if (!t)
        fail_msg("refused: %s", e.text);
    assert_int_equal(blame, TLS_NO_BLAME);
    http_tls_free(http_tls_ref(t));
    http_tls_free(t);
    return f;
}

static void refused(const char *chain, const char *key, enum tls_blame who,
                    const char *because)
{
    enum tls_blame blame = TLS_NO_BLAME;
    struct err e = { "" };

    if (http_tls_new(mf_cstr(chain), mf_cstr(key), NULL, &blame, &e))
        fail_msg("taken, though %s", because);
    if (!strstr(e.text, because))
        fail_msg("\"%s\" does not say \"%s\"", e.text, because);
    assert_int_equal(blame, who);
}

static char *joined(const char *a, const char *b)
{
    char *text = malloc(strlen(a) + strlen(b) + 1);

    assert_non_null(text);
    memcpy(text, a, strlen(a));
    memcpy(text + strlen(a), b, strlen(b) + 1);
    return text;
}

static void test_facts(void **state)
{
    int64_t now = time(NULL);
    char *chain = joined(leaf_pem, root_pem), *wild = joined(leaf_pem,
                                                             other_pem);
    char *text = cert_pem(&nameless), *key = key_pem(&nameless, NULL);
    struct tls_facts f = taken(chain, leaf_key);

    (void)state;
    assert_int_equal(f.certificates, 2);
    assert_true(f.named && f.ordered);
    assert_in_range(f.not_after, now + 30 * DAY_S - 60, now + 30 * DAY_S);
    assert_in_range(f.not_before, now - DAY_S - 60, now - DAY_S);
    assert_false(taken(wild, leaf_key).ordered);
    f = taken(text, key);
    assert_false(f.named);
    assert_int_equal(f.certificates, 1);
    free(chain);
    free(wild);
    free(text);
    free(key);
}

/* Told by the facts, and for the caller to judge: it can still be served. */
static void test_expired_ones_are_taken(void **state)
{
    char *text = cert_pem(&late), *key = key_pem(&late, NULL);

    (void)state;
    assert_true(taken(text, key).not_after < time(NULL));
    free(text);
    free(key);
}

static void test_one_file_may_hold_both(void **state)
{
    char *both = joined(leaf_key, leaf_pem);

    (void)state;
    assert_int_equal(taken(both, both).certificates, 1);
    free(both);
}

static void test_what_is_wrong_is_told(void **state)
{
    char *swapped = joined(root_pem, leaf_pem);
    char *secret = key_pem(&leaf, "pass"), *cut = strdup(leaf_pem);
    char *weak = cert_pem(&rsa), *weak_key = key_pem(&rsa, NULL);
    char *many = strdup("");

    (void)state;
    refused("", leaf_key, TLS_BLAME_CHAIN, "holds no certificate in PEM");
    refused(leaf_key, leaf_key, TLS_BLAME_CHAIN, "holds no certificate");
    refused("\x30\x82", leaf_key, TLS_BLAME_CHAIN, "holds no certificate");
    cut[strlen(cut) / 2] = 0;
    refused(cut, leaf_key, TLS_BLAME_CHAIN, "a certificate in it is malformed");
    refused(leaf_pem, "", TLS_BLAME_KEY, "holds no private key in PEM");
    refused(leaf_pem, leaf_pem, TLS_BLAME_KEY, "holds no private key in PEM");
    refused(leaf_pem, other_key, TLS_BLAME_KEY,
            "is not the key of the certificate");
    refused(swapped, leaf_key, TLS_BLAME_CHAIN, "put it first");
    refused(leaf_pem, secret, TLS_BLAME_KEY, "is encrypted");
    refused(weak, weak_key, TLS_BLAME_CHAIN, "too small");
    for (int i = 0; i < TLS_CHAIN_MAX + 1; i++) {
        char *more = joined(many, i ? root_pem : leaf_pem);

        free(many);
        many = more;
    }
    refused(many, leaf_key, TLS_BLAME_CHAIN, "more than 16 certificates");
    free(many);
    free(swapped);
    free(secret);
    free(cut);
    free(weak);
    free(weak_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_expired_ones_are_taken),
        cmocka_unit_test(test_one_file_may_hold_both),
        cmocka_unit_test(test_what_is_wrong_is_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

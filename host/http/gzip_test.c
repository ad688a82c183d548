/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip_test.c - whole, cut, damaged, joined and exploding gzip bodies. */
#include "http/gzip.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIG (4u << 20)

/* A text that packs as JSON does. */
static void make_text(struct buf *b, size_t len)
{
    unsigned n = 0;

    buf_init(b, len + 128);
    while (b->len < len)
        buf_printf(b, "{\"event\":\"e%u\",\"id\":%u},", n % 7, n * 2654435761u),
            n++;
    b->len = len;
}

static void pack(mf_str text, struct buf *out)
{
    buf_init(out, BIG * 2);
    assert_int_equal(gzip(text, 6, out, NULL), 0);
}

static void texts_come_back(void **state)
{
    const size_t sizes[] = { 0, 1, 17, 1000, 70000, 3000000 };
    struct gunzip *g = gunzip_new();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct buf text, packed, out;

        make_text(&text, sizes[i]);
        pack(buf_view(&text), &packed);
        buf_init(&out, BIG);
        assert_int_equal(gunzip_run(g, buf_view(&packed), &out, NULL), 0);
        assert_true(mf_eq(buf_view(&out), buf_view(&text)));
        buf_deinit(&text);
        buf_deinit(&packed);
        buf_deinit(&out);
    }
    gunzip_free(g);
}

static void the_limit_is_exact(void **state)
{
    struct buf text, packed, out;
    struct err e;

    (void)state;
    make_text(&text, 5000);
    pack(buf_view(&text), &packed);
    for (size_t max = 4998; max <= 5002; max++) {
        int rc;

        buf_init(&out, max);
        rc = gunzip(buf_view(&packed), &out, &e);
        assert_int_equal(rc, max < 5000 ? -1 : 0);
        assert_int_equal(out.full, max < 5000);
        assert_true(out.len <= max && out.cap <= max);
        buf_deinit(&out);
    }
    buf_deinit(&text);
    buf_deinit(&packed);
}

/* 64 MiB of zeros in 64 KiB: refused at the limit, with its memory only. */
static void a_bomb_stops(void **state)
{
    char *zeros = xcalloc(1, 64u << 20);
    struct buf packed, out;
    struct err e;

    (void)state;
    buf_init(&packed, 65u << 20);
    assert_int_equal(gzip((mf_str){ zeros, 64u << 20 }, 9, &packed, &e), 0);
    assert_true(packed.len < 100000);
    buf_init(&out, 1u << 20);
    assert_int_equal(gunzip(buf_view(&packed), &out, &e), -1);
    assert_true(out.full);
    assert_true(out.cap <= 1u << 20);
    buf_deinit(&packed);
    buf_deinit(&out);
    free(zeros);
}

static void every_cut_is_refused(void **state)
{
    struct buf text, packed, out;
    struct err e;

    (void)state;
    make_text(&text, 3000);
    pack(buf_view(&text), &packed);
    for (size_t n = 0; n < packed.len; n++) {
        char *cut = xmalloc(n + 1); /* so that a read past it is seen */

        memcpy(cut, packed.data, n);
        buf_init(&out, BIG);
        assert_int_equal(gunzip((mf_str){ cut, n }, &out, &e), -1);
        assert_false(out.full);
        assert_true(e.text[0]);
        buf_deinit(&out);
        free(cut);
    }
    buf_deinit(&text);
    buf_deinit(&packed);
}

/* After one flipped bit the text is refused or still the same: the header's
 * free fields and the padding behind the last code mean nothing. */
static void no_flip_changes_the_text(void **state)
{
    struct buf text, packed, out;
    struct gunzip *g = gunzip_new();
    unsigned refused = 0;

    (void)state;
    make_text(&text, 400);
    pack(buf_view(&text), &packed);
    for (size_t bit = 0; bit < packed.len * 8; bit++) {
        packed.data[bit / 8] ^= (char)(1 << bit % 8);
        buf_init(&out, BIG);
        if (gunzip_run(g, buf_view(&packed), &out, NULL))
            refused++;
        else
            assert_true(mf_eq(buf_view(&out), buf_view(&text)));
        buf_deinit(&out);
        packed.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    /* 49 bits of time, flags and system may be anything; a few of padding */
    assert_true(refused > packed.len * 8 - 49 - 8);
    gunzip_free(g);
    buf_deinit(&text);
    buf_deinit(&packed);
}

static void members_are_joined(void **state)
{
    struct buf two, out;
    struct err e;

    (void)state;
    buf_init(&two, BIG);
    assert_int_equal(gzip(MF_STR("{\"a\":"), 1, &two, &e), 0);
    assert_int_equal(gzip(MF_STR(""), 9, &two, &e), 0);
    assert_int_equal(gzip(MF_STR("1}"), 9, &two, &e), 0);
    buf_init(&out, BIG);
    assert_int_equal(gunzip(buf_view(&two), &out, &e), 0);
    assert_true(mf_eq(buf_view(&out), MF_STR("{\"a\":1}")));
    buf_deinit(&out);
    /* the limit is that of the whole */
    buf_init(&out, 6);
    assert_int_equal(gunzip(buf_view(&two), &out, &e), -1);
    assert_true(out.full);
    buf_deinit(&out);
    buf_deinit(&two);
}

static void what_follows_is_refused(void **state)
{
    const mf_str tails[] = { MF_STR("x"), MF_STR("\0"), MF_STR("\x1f"),
                             MF_STR("\x1f\x8b"), MF_STR("{}") };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        struct buf packed, out;

        pack(MF_STR("{}"), &packed);
        buf_str(&packed, tails[i]);
        buf_init(&out, BIG);
        assert_int_equal(gunzip(buf_view(&packed), &out, NULL), -1);
        buf_deinit(&out);
        buf_deinit(&packed);
    }
}

static void other_formats_are_refused(void **state)
{
    const mf_str texts[] = {
        MF_STR(""),
        MF_STR("{\"a\":1}"),
        MF_STR("\x78\x9c\x03\x00\x00\x00\x00\x01"), /* zlib */
        MF_STR("\x03\x00"),                         /* raw deflate */
        MF_STR("\x28\xb5\x2f\xfd\x00\x00"),         /* zstd */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct buf out;
        struct err e;

        buf_init(&out, BIG);
        assert_int_equal(gunzip(texts[i], &out, &e), -1);
        assert_true(e.text[0]);
        buf_deinit(&out);
    }
}

/* A decoder used after a refusal starts anew. */
static void a_refusal_leaves_nothing(void **state)
{
    struct gunzip *g = gunzip_new();
    struct buf packed, out;

    (void)state;
    pack(MF_STR("abc"), &packed);
    buf_init(&out, 100);
    assert_int_equal(gunzip_run(g, (mf_str){ packed.data, 12 }, &out, NULL),
                     -1);
    buf_clear(&out);
    assert_int_equal(gunzip_run(g, buf_view(&packed), &out, NULL), 0);
    assert_true(mf_eq(buf_view(&out), MF_STR("abc")));
    buf_deinit(&out);
    buf_deinit(&packed);
    gunzip_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(a_bomb_stops),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(no_flip_changes_the_text),
        cmocka_unit_test(members_are_joined),
        cmocka_unit_test(what_follows_is_refused),
        cmocka_unit_test(other_formats_are_refused),
        cmocka_unit_test(a_refusal_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void times_round_trip(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        { "2026-01-12T10:00:00Z", 1768212000000 },
        { "2026-01-12T10:00:00.123456789Z", 1768212000123 },
        { "2026-01-12T11:00:00.5+01:00", 1768212000500 },
        { "2026-01-12T11:00:00+0100", 1768212000000 },
        { "2026-01-12", 1768176000000 },
        { "1970-01-01T00:00:00.000Z", 0 },
        { "1969-12-31T23:59:59.999Z", -1 },
        { "2024-02-29T00:00Z", 1709164800000 },
    };
    static const char *const bad[] = { "", "2026", "2026-13-01", "2026-02-30",
                                       "2023-02-29", "2026-01-12T25:00:00Z",
                                       "2026-01-12T10:00:00Zx", "tomorrow",
                                       "2026-01-12T10:00:00.Z" };
    char out[TIME_TEXT];
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(time_parse(mf_cstr(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(time_parse(mf_cstr(bad[i]), &ms));
    time_iso(1768212000123, out);
    assert_string_equal(out, "2026-01-12T10:00:00.123Z");
    time_iso(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999Z");
}

static void numbers_print_as_javascript_does(void **state)
{
    static const struct {
        double v;
        const char *text;
    } rows[] = {
        { 0, "0" },          { -0.0, "0" },          { 1, "1" },
        { -1.5, "-1.5" },    { 0.1, "0.1" },         { 1e21, "1e+21" },
        { 1e20, "100000000000000000000" },           { 1e-6, "0.000001" },
        { 1e-7, "1e-7" },    { 1.5e-9, "1.5e-9" },   { 123456.789, "123456.789" },
        { 0.1 + 0.2, "0.30000000000000004" },        { NAN, "NaN" },
        { -INFINITY, "-Infinity" },                  { 5e-324, "5e-324" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 9007199254740993.0, "9007199254740992" },
    };
    char out[NUMBER_TEXT];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        number_text(rows[i].v, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void units(void **state)
{
    int64_t ms;
    uint64_t bytes;
    double rate;

    (void)state;
    assert_true(parse_duration(MF_STR("4h"), &ms) && ms == 14400000);
    assert_true(parse_duration(MF_STR("250ms"), &ms) && ms == 250);
    assert_true(parse_duration(MF_STR("1.5s"), &ms) && ms == 1500);
    assert_false(parse_duration(MF_STR("4 hours"), &ms));
    assert_false(parse_duration(MF_STR("-1s"), &ms));
    assert_true(parse_size(MF_STR("20GiB"), &bytes) &&
                bytes == 20ull << 30);
    assert_true(parse_size(MF_STR("512MB"), &bytes) && bytes == 512000000);
    assert_true(parse_size(MF_STR("4096"), &bytes) && bytes == 4096);
    assert_false(parse_size(MF_STR("4X"), &bytes));
    assert_true(parse_rate(MF_STR("30/m"), &rate) && rate == 0.5);
    assert_false(parse_rate(MF_STR("0/s"), &rate));
}

static void encodings(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    base64_encode(&b, MF_STR("any carnal pleas"));
    assert_true(mf_eq(buf_view(&b), MF_STR("YW55IGNhcm5hbCBwbGVhcw==")));
    buf_clear(&b);
    assert_true(base64_decode(&b, MF_STR("YW55IGNhcm5hbCBwbGVhcw")));
    assert_true(mf_eq(buf_view(&b), MF_STR("any carnal pleas")));
    buf_clear(&b);
    assert_false(base64_decode(&b, MF_STR("YW55*")));
    buf_clear(&b);
    percent_encode(&b, MF_STR("a b&\xc3\xa9(1)"));
    assert_true(mf_eq(buf_view(&b), MF_STR("a%20b%26%C3%A9(1)")));
    buf_clear(&b);
    form_encode(&b, MF_STR("a b(~)"));
    assert_true(mf_eq(buf_view(&b), MF_STR("a+b%28%7E%29")));
    buf_clear(&b);
    assert_true(percent_decode(&b, MF_STR("a%20b+c"), true));
    assert_true(mf_eq(buf_view(&b), MF_STR("a b c")));
    assert_false(percent_decode(&b, MF_STR("%2"), true));
    buf_deinit(&b);
}

static void utf8(void **state)
{
    (void)state;
    assert_true(utf8_valid("caf\xc3\xa9 \xf0\x9f\x9a\x80", 10));
    assert_false(utf8_valid("\xc0\x80", 2));
    assert_false(utf8_valid("\xed\xa0\x80", 3));
    assert_false(utf8_valid("\xf4\x90\x80\x80", 4));
    assert_false(utf8_valid("\xc3", 1));
}

static void no_character_is_cut_in_two(void **state)
{
    static const mf_str s = MF_STR("a\xc3\xa9\xf0\x9f\x98\x80z");
    static const size_t lengths[] = { 0, 1, 1, 3, 3, 3, 3, 7, 8, 8 };

    (void)state;
    for (size_t most = 0; most < COUNT_OF(lengths); most++) {
        mf_str got = utf8_cut(s, most);

        assert_int_equal(got.len, lengths[most]);
        assert_true(utf8_valid(got.ptr, got.len));
    }
}

static void a_buffer_stops_at_its_maximum(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    buf_puts(&b, "12345678");
    assert_false(b.full);
    buf_char(&b, '9');
    assert_true(b.full);
    assert_int_equal(b.len, 8);
    buf_deinit(&b);
}

static void an_arena_says_when_it_is_past_its_limit(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1000);
    arena_alloc(&a, 900);
    assert_false(a.overflowed);
    arena_alloc(&a, 900);
    assert_true(a.overflowed);
    arena_reset(&a);
    assert_false(a.overflowed);
    assert_true(mf_eq(arena_printf(&a, "%d", 42), MF_STR("42")));
    arena_deinit(&a);
}

static void suggestions(void **state)
{
    static const char *const names[] = { "revenue", "currency", "url", NULL };

    (void)state;
    assert_string_equal(nearest("revenu", names), "revenue");
    assert_string_equal(nearest("Currency", names), "currency");
    assert_null(nearest("completely", names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(numbers_print_as_javascript_does),
        cmocka_unit_test(units),
        cmocka_unit_test(encodings),
        cmocka_unit_test(utf8),
        cmocka_unit_test(no_character_is_cut_in_two),
        cmocka_unit_test(a_buffer_stops_at_its_maximum),
        cmocka_unit_test(an_arena_says_when_it_is_past_its_limit),
        cmocka_unit_test(suggestions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

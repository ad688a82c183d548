/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c_test.c - known sums (RFC 3720 B.4), and both ways against each other
 * over every length and alignment that takes another path. */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void known(void **state)
{
    unsigned char b[32];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    memset(b, 0, sizeof b);
    assert_int_equal(crc32c(0, b, sizeof b), 0x8a9136aau);
    memset(b, 0xff, sizeof b);
    assert_int_equal(crc32c(0, b, sizeof b), 0x62a8ab43u);
    for (unsigned i = 0; i < sizeof b; i++)
        b[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, b, sizeof b), 0x46dd794eu);
    assert_int_equal(crc32c_table(0, b, sizeof b), 0x46dd794eu);
}

static void ways_agree(void **state)
{
    static unsigned char b[4096];
    uint32_t x = 12345;

    (void)state;
    for (size_t i = 0; i < sizeof b; i++) {
        x = x * 1664525 + 1013904223;
        b[i] = (unsigned char)(x >> 24);
    }
    for (size_t n = 0; n < 2000; n++) {
        size_t from = n % 17, cut = n / 3;
        uint32_t whole = crc32c(7, b + from, n);

        assert_int_equal(whole, crc32c_table(7, b + from, n));
        assert_int_equal(whole, crc32c(crc32c(7, b + from, cut),
                                       b + from + cut, n - cut));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known),
        cmocka_unit_test(ways_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Key 00..0f, text 00, 01, ...: the reference's vectors of 128 bits. */
static void vectors(void **state)
{
    static const struct {
        size_t n;
        const char *sum;
    } known[] = {
        { 0, "a3817f04ba25a8e66df67214c7550293" },
        { 1, "da87c1d86b99af44347659119b22fc45" },
        { 7, "a1f1ebbed8dbc153c0b84aa61ff08239" },
        { 8, "3b62a9ba6258f5610f83e264f31497b4" },
        { 15, "5493e99933b0a8117e08ec0f97cfc3d9" },
        { 63, "5150d1772f50834a503e069a973fbd7c" },
    };
    unsigned char key[16], text[64], out[16];
    char hex[33];

    (void)state;
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)i;
    memcpy(key, text, sizeof key);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        siphash128(key, text, known[k].n, out);
        for (int i = 0; i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x", out[i]);
        assert_string_equal(hex, known[k].sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(vectors) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

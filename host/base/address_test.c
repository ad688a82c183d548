/* SPDX-License-Identifier: Apache-2.0
 *
 * Which addresses are private, of either family. */
#include "base/address.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void private_addresses_are_known(void **state)
{
    static const struct {
        const char *text;
        bool is_private;
    } rows[] = {
        { "0.0.0.0", true },          { "10.1.2.3", true },
        { "100.63.255.255", false },  { "100.64.0.1", true },
        { "100.127.255.255", true },  { "100.128.0.0", false },
        { "127.0.0.1", true },        { "127.255.255.254", true },
        { "128.0.0.1", false },       { "169.254.169.254", true },
        { "172.15.0.1", false },      { "172.16.0.1", true },
        { "172.31.255.255", true },   { "172.32.0.1", false },
        { "192.0.0.8", true },        { "192.0.2.1", false },
        { "192.168.0.1", true },      { "192.169.0.1", false },
        { "198.18.0.1", true },       { "198.20.0.1", false },
        { "8.8.8.8", false },         { "223.255.255.255", false },
        { "224.0.0.1", true },        { "255.255.255.255", true },
        { "::", true },               { "::1", true },
        { "fe80::1", true },          { "fc00::1", true },
        { "fd12::1", true },          { "ff02::1", true },
        { "::ffff:127.0.0.1", true }, { "::ffff:8.8.8.8", false },
        { "::127.0.0.1", true },      { "64:ff9b::10.0.0.1", true },
        { "64:ff9b::8.8.8.8", false }, { "2002:7f00:1::", true },
        { "2002:808:808::", false },  { "2001:4860:4860::8888", false },
        { "2a00:1450::1", false },    { "3fff:ffff::1", false },
    };
    struct sockaddr_un_like {
        sa_family_t family;
    } other = { AF_UNIX };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        const struct sockaddr *a = (struct sockaddr *)&v6;

        if (inet_pton(AF_INET, rows[i].text, &v4.sin_addr) == 1)
            a = (struct sockaddr *)&v4;
        else
            assert_int_equal(inet_pton(AF_INET6, rows[i].text,
                                       &v6.sin6_addr),
                             1);
        if (address_is_private(a) != rows[i].is_private)
            fail_msg("%s is %sprivate", rows[i].text,
                     rows[i].is_private ? "" : "not ");
    }
    assert_true(address_is_private((struct sockaddr *)&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_addresses_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

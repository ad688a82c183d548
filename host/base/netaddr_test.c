/* SPDX-License-Identifier: Apache-2.0 */
#include "base/netaddr.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_addresses_are_read_strictly(void **state)
{
    static const struct {
        const char *text, *again; /* again NULL: refused */
    } rows[] = {
        { "192.0.2.7", "192.0.2.7" },
        { "0.0.0.0", "0.0.0.0" },
        { "255.255.255.255", "255.255.255.255" },
        { "::ffff:192.0.2.7", "192.0.2.7" },
        { "::1", "::1" },
        { "2001:DB8:0:0::7", "2001:db8::7" },
        { "::", "::" },
        { "", NULL },
        { " 192.0.2.7", NULL },
        { "192.0.2.7 ", NULL },
        { "192.0.2", NULL },
        { "192.0.2.256", NULL },
        { "192.0.2.7:80", NULL },
        { "0x7f.0.0.1", NULL },
        { "010.0.0.1", NULL },
        { "[::1]", NULL },
        { "fe80::1%eth0", NULL },
        { ":::", NULL },
        { "localhost", NULL },
        { "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", NULL },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[NETADDR_TEXT];
        struct netaddr a;

        if (netaddr_parse(mf_cstr(rows[i].text), &a) != !!rows[i].again)
            fail_msg("%s", rows[i].text);
        if (!rows[i].again)
            continue;
        netaddr_text(&a, text);
        assert_string_equal(text, rows[i].again);
    }
    assert_false(netaddr_parse((mf_str){ "1.2.3.4\0", 8 }, &(struct netaddr){
                                                               { 0 } }));
}

static void test_blocks_hold_what_they_say(void **state)
{
    static const struct {
        const char *block, *in, *out;
    } rows[] = {
        { "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
        { "10.0.0.0/8", "10.0.0.0", "9.255.255.255" },
        { "192.0.2.128/25", "192.0.2.128", "192.0.2.127" },
        { "192.0.2.7", "192.0.2.7", "192.0.2.6" },
        { "192.0.2.7/32", "192.0.2.7", "192.0.2.8" },
        { "0.0.0.0/0", "203.0.113.9", "2001:db8::1" },
        { "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::" },
        { "2001:db8:8000::/33", "2001:db8:8000::", "2001:db8:7fff::" },
        { "::1", "::1", "::2" },
        { "fc00::/7", "fdff::1", "fe00::" },
        { "::/0", "10.0.0.1", NULL },
        { "::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct netaddr in, out;
        struct netblock b;

        assert_true(netblock_parse(mf_cstr(rows[i].block), &b));
        assert_true(netaddr_parse(mf_cstr(rows[i].in), &in));
        if (!netblock_has(&b, &in))
            fail_msg("%s has not %s", rows[i].block, rows[i].in);
        if (!rows[i].out)
            continue;
        assert_true(netaddr_parse(mf_cstr(rows[i].out), &out));
        if (netblock_has(&b, &out))
            fail_msg("%s has %s", rows[i].block, rows[i].out);
    }
}

static void test_bad_blocks_are_refused(void **state)
{
    static const char *const bad[] = {
        "",          "/8",           "10.0.0.0/",   "10.0.0.0/33",
        "10.0.0.1/8", "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/8/8",
        "10.0/8",    "::/129",       "2001:db8::1/32", "all",
        "10.0.0.0/8 ", "10.0.0.0/18446744073709551615",
    };
    struct netblock b;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (netblock_parse(mf_cstr(bad[i]), &b))
            fail_msg("%s is taken", bad[i]);
}

static void test_sockets_addresses(void **state)
{
    struct sockaddr_storage ss = { 0 };
    struct sockaddr_in *v4 = (void *)&ss;
    struct netaddr a;
    char text[NETADDR_TEXT];

    (void)state;
    ss.ss_family = AF_UNIX;
    assert_false(netaddr_of(&ss, &a));
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(0xc0000207);
    assert_true(netaddr_of(&ss, &a));
    assert_true(netaddr_is_v4(&a));
    netaddr_text(&a, text);
    assert_string_equal(text, "192.0.2.7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_read_strictly),
        cmocka_unit_test(test_blocks_hold_what_they_say),
        cmocka_unit_test(test_bad_blocks_are_refused),
        cmocka_unit_test(test_sockets_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

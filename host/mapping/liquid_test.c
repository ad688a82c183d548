/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_test.c - @liquid: tags, expressions, filters, limits. */
#include "mapping/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SOFT (8u << 20)

#define EVENT                                                                \
    "{\"type\":\"track\",\"n\":null,\"z\":0,\"f\":false,\"e\":\"\","         \
    "\"id\":9007199254740993,\"price\":19.989,\"name\":\"Gr\\u00fc\\u00dfe\"," \
    "\"p\":{\"a b\":\"sp\",\"list\":[3,\"x\",null,[1,2]],\"size\":5,"        \
    "\"items\":[{\"k\":\"u\",\"v\":2},{\"k\":\"w\",\"v\":3}]},"              \
    "\"q\":\"?rtid=77&x=1\",\"time\":\"2026-03-05T07:08:09.045Z\"}"

struct row {
    const char *text, *want; /* "! text" for an error */
};

static void check_rows(const struct row *rows, size_t count)
{
    mf_str event = MF_STR(EVENT);
    struct arena a;

    assert_int_equal(json_check(event, JSON_DEPTH_MAX, NULL), 0);
    arena_init(&a, SOFT);
    for (size_t i = 0; i < count; i++) {
        struct err e = { "" };
        char got[2048];
        mf_str out;

        arena_reset(&a);
        if (liquid_render(mf_cstr(rows[i].text), json_root(event), &a, &out,
                          &e) == 0)
            snprintf(got, sizeof got, "%.*s", (int)out.len, out.ptr);
        else
            snprintf(got, sizeof got, "! %s", e.text);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", rows[i].text, rows[i].want,
                     got);
    }
    arena_deinit(&a);
}

#define ROWS(name, ...)                                   \
    static void name(void **state)                        \
    {                                                     \
        static const struct row rows[] = { __VA_ARGS__ }; \
                                                          \
        (void)state;                                      \
        check_rows(rows, COUNT_OF(rows));                 \
    }

ROWS(outputs,
    { "", "" },
    { "plain { } %} text", "plain { } %} text" },
    { "{{ type }}|{{type}}|{{ no }}|{{ n }}|{{ z }}|{{ f }}",
      "track|track|||0|false" },
    { "{{ id }} {{ price }}", "9007199254740993 19.989" },
    { "{{ p.list }} {{ p }}", "3x12 [object Object]" },
    { "{{ p['a b'] }}{{ p[\"a b\"] }}{{ ['type'] }}", "spsptrack" },
    { "{{ p.list[0] }}{{ p.list.first }}{{ p.list.last }}{{ p.list[-1][1] }}",
      "33122" },
    { "{{ p.list.size }} {{ p.size }} {{ type.size }} {{ p.items[0].size }}",
      "4 5 5 2" },
    { "{{ p.items[0].k }}{{ p.items.1.v }}{{ p[nil] }}", "u3" },
    { "{{ 'it''s' }}{{ \"a\\n\\u0041\" }}{{ -1.50 }}{{ (1..4) }}",
      "ita\nA-1.51234" },
    { "{{ true }}{{ nil }}{{ empty }}{{ blank }}", "true" })

ROWS(white_space,
    { "a \n {{- type -}} \n b", "atrackb" },
    { "a {%- if true -%} b {%- endif -%} c", "abc" },
    { "a {{- ' x ' }} b", "a x  b" })

ROWS(tags,
    { "{% if type == 'track' %}y{% else %}n{% endif %}", "y" },
    { "{% if z %}zero is true{% endif %}{% if n %}no{% endif %}",
      "zero is true" },
    { "{% if no %}1{% elsif f %}2{% elsif e %}3{% else %}4{% endif %}", "3" },
    { "{% unless f %}1{% endunless %}{% unless z %}2{% else %}3"
      "{% endunless %}", "13" },
    { "{% assign a = p.items[1] %}{% assign a = a.k %}{{ a }}", "w" },
    { "{% capture c %}<{{ type }}>{% endcapture %}{{ c }}{{ c.size }}",
      "<track>7" },
    { "a{% comment %}{{ x | }}{% if %}{% endcomment %}b{% # note %}c", "abc" },
    { "{% raw %}{{ type }}{% if %}{% endraw %}!", "{{ type }}{% if %}!" },
    { "{% increment i %}{% increment i %}{{ i }}{% decrement j %}{{ j }}",
      "012-1-1" },
    { "{% increment z %}{{ z }}", "01" },
    { "{% cycle 'a','b' %}{% cycle 'a','b' %}{% cycle 'a','b' %}"
      "{% cycle g: 1, 2 %}", "aba1" },
    { "{% echo type | upcase %}", "TRACK" },
    { "{% liquid\n assign x = 'v'\n if x\n echo x\n endif\n%}", "v" },
    { "a{% break %}b", "a" })

ROWS(operators,
    { "{{ 1 < 2 }}{{ 'a' < 'b' }}{{ 2 >= '10' }}{{ no < 1 }}{{ n < 1 }}",
      "truetruefalsefalsetrue" },
    { "{{ 1 == 1.0 }}{{ 1 == '1' }}{{ n == nil }}{{ no == nil }}{{ f == nil }}",
      "truefalsetruetruefalse" },
    { "{{ e == empty }}{{ ' ' == blank }}{{ n == blank }}{{ p == empty }}",
      "truetruetruefalse" },
    { "{{ type contains 'rac' }}{{ p.list contains 'x' }}{{ z contains 0 }}",
      "truetruefalse" },
    { "{{ true or false and false }}{{ false and false or true }}",
      "truefalse" },
    { "{{ not f }}{{ not true or true }}{{ not z == 0 }}", "truetruefalse" })

ROWS(text_filters,
    { "{{ type | append: '!' | prepend: '<' }}", "<track!" },
    { "{{ name | upcase }} {{ name | downcase }} {{ 'aB' | capitalize }}",
      "GR\xc3\x9cSSE gr\xc3\xbc\xc3\x9f" "e Ab" },
    { "{{ ' x ' | strip }}|{{ ' x ' | lstrip }}|{{ ' x ' | rstrip }}|"
      "{{ '--x-' | strip: '-' }}", "x|x | x|x" },
    { "{{ 'aXbXc' | replace: 'X', '-' }} {{ 'aXbXc' | remove: 'X' }}",
      "a-b-c abc" },
    { "{{ 'aXbXc' | replace_first: 'X', '$&' }} "
      "{{ 'aXbXc' | replace_last: 'X', '.' }} {{ 'aXbXc' | remove_last: 'X' }}"
      " {{ 'aXbXc' | remove_first: 'X' }}", "a$&bXc aXb.c aXbc abXc" },
    { "{{ 'abc' | replace: '', '.' }}", "a.b.c" },
    { "{{ 'Hello there' | truncate: 8 }} {{ name | truncate: 4, '' }}",
      "Hello... Gr\xc3\xbc\xc3\x9f" },
    { "{{ 'one two  three' | truncatewords: 2 }}", "one two..." },
    { "{{ 'a  b\n c' | normalize_whitespace }} {{ 'a b' | number_of_words }}",
      "a b c 2" },
    { "{{ '<a href=\"x\">&amp;</a>' | escape }}",
      "&lt;a href=&#34;x&#34;&gt;&amp;amp;&lt;/a&gt;" },
    { "{{ '<p>&amp; &' | escape_once }}", "&lt;p&gt;&amp; &amp;" },
    { "{{ '<p>x<script>1>2</script><!-- > -->y<' | strip_html }}", "xy<" },
    { "{{ 'a b&\xc3\xbc' | url_encode }} {{ 'a+b%26' | url_decode }}",
      "a+b%26%C3%BC a b&" },
    { "{{ \"it's (1)\" | cgi_escape }} {{ 'a b/[c]' | uri_escape }}",
      "it%27s+%281%29 a%20b/[c]" },
    { "{{ 'hi' | base64_encode }} {{ 'aGk=' | base64_decode }}", "aGk= hi" },
    { "{{ 'A b, C!' | slugify }}", "a-b-c" },
    { "{{ e | default: 'd' }}{{ f | default: 'd' }}{{ z | default: 'd' }}"
      "{{ f | default: 'd', allow_false: true }}", "dd0false" },
    { "{{ p.items | json }} {{ no | json }}",
      "[{\"k\":\"u\",\"v\":2},{\"k\":\"w\",\"v\":3}] " },
    { "{{ type | no_such_filter: 1 | upcase }}", "TRACK" })

ROWS(number_filters,
    { "{{ z | plus: 1 }} {{ '5' | minus: 2 }} {{ 3 | times: 1.5 }}",
      "1 3 4.5" },
    { "{{ 7 | divided_by: 2 }} {{ 7 | divided_by: 2, true }} "
      "{{ 7 | divided_by: 0 }} {{ 7 | modulo: 4 }}", "3.5 3 Infinity 3" },
    { "{{ price | round }} {{ price | round: 2 }} {{ -1.5 | round }} "
      "{{ 1.2 | ceil }} {{ 1.8 | floor }} {{ -3 | abs }}",
      "20 19.99 -1 2 1 3" },
    { "{{ 4 | at_least: 5 }} {{ 4 | at_most: 3 }} {{ 'x' | plus: 1 }} "
      "{{ 1 | plus }}", "5 3 1 NaN" },
    { "{{ 0.1 | plus: 0.2 }} {{ 'x' | to_integer }}",
      "0.30000000000000004 NaN" })

ROWS(list_filters,
    { "{{ p.list | join }}|{{ p.list | join: ', ' }}", "3 x  1,2|3, x, , 1,2" },
    { "{{ q | split: 'rtid=' | last | split: '&' | first }}", "77" },
    { "{{ 'a,b,,' | split: ',' | size }} {{ '' | split: ',' | size }} "
      "{{ 'abc' | split: '' | join: '-' }}", "2 0 a-b-c" },
    { "{{ p.list | compact | size }} {{ 'abc' | size }} {{ 5 | size }}",
      "3 3 0" },
    { "{{ 'abcdef' | slice: 1, 3 }} {{ 'abc' | slice: -2, 2 }} "
      "{{ p.list | slice: 0, 2 | join }}", "bcd bc 3 x" },
    { "{{ p.items | where: 'k', 'w' | first | json }} "
      "{{ p.items | where: 'no' | size }} {{ p.items | sum: 'v' }}",
      "{\"k\":\"w\",\"v\":3} 0 5" },
    { "{{ 'a b' | split: ' ' | push: 'c' | shift | unshift: 'z' | join }} "
      "{{ 'a b' | split: ' ' | pop | join }}", "z b c a" })

ROWS(dates,
    { "{{ time | date: '%Y-%m-%d %H:%M:%S.%L %z' }}",
      "2026-03-05 07:08:09.045 +0000" },
    { "{{ time | date: '%-d/%-m/%y %e %j %a %A %b %B %p %I %l %q %%' }}",
      "5/3/26  5 064 Thu Thursday Mar March AM 07  7 th %" },
    { "{{ time | date: '%^a %10Y %s %N %:z', '+05:30' }}",
      "THU 0000002026 1772694489 450000000 +05:30" },
    { "{{ 0 | date: '%F' }} {{ 86400 | date: '%Y-%m-%d' }} "
      "{{ '86400' | date: '%u %w %U' }}", "%F 1970-01-02 5 5 00" },
    { "{{ 'March 14, 2026' | date: '%Y-%m-%d' }} "
      "{{ 'Tue, 03 Feb 2026 10:11:12 GMT' | date: '%d.%m. %H:%M:%S' }} "
      "{{ '3 Feb 2026 1:02 PM +0200' | date: '%H:%M' }}",
      "2026-03-14 03.02. 10:11:12 11:02" },
    { "{{ time | date_to_xmlschema }} {{ time | date_to_rfc822 }}",
      "2026-03-05T07:08:09+00:00 Thu, 05 Mar 2026 07:08:09 +0000" },
    { "{{ time | date_to_string }} {{ time | date_to_long_string: 'ordinal',"
      " 'US' }}", "05 Mar 2026 March 5th, 2026" },
    { "{{ 'soon' | date: '%Y' }} {{ no | date }}", "soon " },
    { "{{ time | date }}", "Thursday, March 5, 2026 at 7:08 am +0000" })

ROWS(errors,
    { "a\n {{ type ", "! output \"{{ type \" not closed, line:2, col:2" },
    { "{% if x %}", "! tag {% if x %} not closed, line:1, col:1" },
    { "\xc3\xa4{% wrong %}", "! tag \"wrong\" not found, line:1, col:2" },
    { "{% else %}", "! tag \"else\" not found, line:1, col:1" },
    { "{% for a in b %}", "! tag \"for\" is disabled, line:1, col:1" },
    { "{{ type | sort }}", "! filter \"sort\" is disabled, line:1, col:1" },
    { "{% assign = 1 %}", "! expected variable name, line:1, col:11" },
    { "{{ a ! }}", "! expected \"|\" before filter, line:1, col:6" },
    { "{{ a | }}", "" },
    { "{{ a | ? }}", "" },
    { "{{ a | b c }}", "! expected \":\" after filter name, line:1, col:10" },
    { "{{ }}", "! invalid value expression: \" \", line:1, col:4" },
    { "{{ 'a' | append }}",
      "! append expect 2 arguments, line:1, col:1" },
    { "{{ '%zz' | url_decode }}", "! URI malformed, line:1, col:1" },
    { "{% raw %}x", "! raw \"{% raw %}x\" not closed, line:1, col:1" })

ROWS(limits,
    { "{{ (1..99999999) }}", "! memory alloc limit exceeded, line:1, col:1" },
    { "{% assign a = '0123456789abcdef' %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}"
      "{% assign a = a | append: a %}{% assign a = a | append: a %}",
      "! memory alloc limit exceeded, line:1, col:456" })

static void long_template(void **state)
{
    char text[LIQUID_TEMPLATE_MAX + 2];
    struct err e = { "" };
    struct arena a;
    mf_str out;

    (void)state;
    arena_init(&a, SOFT);
    memset(text, 'x', sizeof text);
    assert_int_equal(liquid_render((mf_str){ text, LIQUID_TEMPLATE_MAX },
                                   json_root(MF_STR("{}")), &a, &out, &e), 0);
    assert_int_equal(out.len, LIQUID_TEMPLATE_MAX);
    assert_int_equal(liquid_render((mf_str){ text, LIQUID_TEMPLATE_MAX + 1 },
                                   json_root(MF_STR("{}")), &a, &out, &e), -1);
    assert_string_equal(e.text, "liquid template values are limited to 1000 "
                                "characters");
    memset(text, '[', sizeof text);
    memcpy(text, "{{a", 3);
    assert_int_equal(liquid_render((mf_str){ text, LIQUID_TEMPLATE_MAX },
                                   json_root(MF_STR("{}")), &a, &out, &e), -1);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs),        cmocka_unit_test(white_space),
        cmocka_unit_test(tags),           cmocka_unit_test(operators),
        cmocka_unit_test(text_filters),   cmocka_unit_test(number_filters),
        cmocka_unit_test(list_filters),   cmocka_unit_test(dates),
        cmocka_unit_test(errors),         cmocka_unit_test(limits),
        cmocka_unit_test(long_template),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * write.c - the streaming writer of json.h. */
#include "base/text.h"
#include "json/json.h"
#include "json/scan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void json_out_init(struct json_out *w, struct buf *b)
{
    *w = (struct json_out){ b, 0, 0, false };
}

/* Before any value or key: the comma, if one is due. */
static void comma(struct json_out *w)
{
    uint64_t bit = 1ull << w->depth;

    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->filled & bit)
        buf_char(w->b, ',');
    w->filled |= bit;
}

static void begin(struct json_out *w, char open)
{
    comma(w);
    buf_char(w->b, open);
    w->depth++;
    ASSERT(w->depth < 64);
    w->filled &= ~(1ull << w->depth);
}

static void end(struct json_out *w, char close)
{
    ASSERT(w->depth > 0 && !w->after_key);
    w->depth--;
    buf_char(w->b, close);
}

void json_begin_object(struct json_out *w)
{
    begin(w, '{');
}

void json_begin_array(struct json_out *w)
{
    begin(w, '[');
}

void json_end_object(struct json_out *w)
{
    end(w, '}');
}

void json_end_array(struct json_out *w)
{
    end(w, ']');
}

void json_key_raw(struct json_out *w, mf_str raw_key)
{
    comma(w);
    buf_char(w->b, '"');
    buf_str(w->b, raw_key);
    buf_add(w->b, "\":", 2);
    w->after_key = true;
}

void json_key(struct json_out *w, mf_str key)
{
    comma(w);
    buf_char(w->b, '"');
    json_escape(w->b, key);
    buf_add(w->b, "\":", 2);
    w->after_key = true;
}

void json_val(struct json_out *w, mf_val v)
{
    comma(w);
    if (v.type == MF_ABSENT)
        buf_add(w->b, "null", 4);
    else
        buf_add(w->b, v.raw, v.len);
}

void json_str(struct json_out *w, mf_str s)
{
    comma(w);
    buf_char(w->b, '"');
    json_escape(w->b, s);
    buf_char(w->b, '"');
}

void json_int(struct json_out *w, int64_t v)
{
    comma(w);
    buf_printf(w->b, "%lld", (long long)v);
}

void json_num(struct json_out *w, double v)
{
    char text[NUMBER_TEXT];

    comma(w);
    if (!isfinite(v))
        buf_add(w->b, "null", 4);
    else
        buf_add(w->b, text, number_text(v, text));
}

void json_bool(struct json_out *w, bool v)
{
    comma(w);
    buf_puts(w->b, v ? "true" : "false");
}

void json_null(struct json_out *w)
{
    comma(w);
    buf_add(w->b, "null", 4);
}

/* Length of the UTF-8 sequence at p, 0 where it is broken. */
static size_t sequence(const char *p, size_t left)
{
    for (size_t n = 2; n <= 4 && n <= left; n++)
        if (utf8_valid(p, n))
            return n;
    return 0;
}

static void escape_one(struct buf *b, unsigned char c)
{
    static const char letters[] = "btn\0fr"; /* from 8 to 13, 11 has none */

    if (c == '"' || c == '\\') {
        buf_char(b, '\\');
        buf_char(b, (char)c);
    } else if (c >= 8 && c <= 13 && letters[c - 8]) {
        buf_char(b, '\\');
        buf_char(b, letters[c - 8]);
    } else {
        buf_printf(b, "\\u%04x", c);
    }
}

void json_escape(struct buf *b, mf_str s)
{
    size_t i = 0;

    while (i < s.len) {
        size_t from = i, n;

        i = (size_t)(scan_plain(s.ptr + i, s.ptr + s.len) - s.ptr);
        buf_add(b, s.ptr + from, i - from);
        if (i == s.len)
            break;
        if ((unsigned char)s.ptr[i] < 0x80) {
            escape_one(b, (unsigned char)s.ptr[i++]);
        } else if ((n = sequence(s.ptr + i, s.len - i)) > 0) {
            buf_add(b, s.ptr + i, n);
            i += n;
        } else {
            buf_add(b, "\xef\xbf\xbd", 3);
            i++;
        }
    }
}

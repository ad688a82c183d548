/* SPDX-License-Identifier: Apache-2.0
 *
 * parse.c - see parse.h.
 *
 * A head is read line by line: a line feed is looked for from where the last
 * look ended, so feeding single bytes costs no more than feeding all. Chunked
 * bodies go through a state machine, their data in whole runs. */
#include "http/parse.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS_MAX 18 /* below 2^63 */
#define CHUNK_DIGITS_MAX  15

enum chunk_state {
    C_SIZE,
    C_SIZE_SPACE,
    C_EXT,
    C_SIZE_LF,
    C_DATA,
    C_DATA_CR,
    C_DATA_LF,
    C_LINE,
    C_NAME,
    C_VALUE,
    C_TRAILER_LF,
    C_END_LF,
    C_DONE
};

static const struct {
    const char *code, *text;
} faults[HTTP_FAULTS] = {
    [HTTP_NO_FAULT] = { "ok", "No fault" },
    [HTTP_BAD_LINE] = { "malformed_request",
                        "The request line is not that of HTTP/1.x" },
    [HTTP_BAD_VERSION] = { "unsupported_version",
                           "Only HTTP/1.0 and HTTP/1.1 are spoken here" },
    [HTTP_BAD_HEADER] = { "malformed_header", "A header line is malformed" },
    [HTTP_BAD_HOST] = { "invalid_host",
                        "Exactly one valid Host header is required" },
    [HTTP_BAD_LENGTH] = { "invalid_content_length",
                          "Content-Length must be one decimal number" },
    [HTTP_BAD_TRANSFER] = { "invalid_transfer_encoding",
                            "Transfer-Encoding may only be chunked, in "
                            "HTTP/1.1, without Content-Length" },
    [HTTP_BAD_CHUNK] = { "malformed_chunk", "The chunked body is malformed" },
    [HTTP_HEAD_TOO_LARGE] = { "headers_too_large",
                              "The request's headers are too large" },
    [HTTP_SLOW_HEAD] = { "request_timeout",
                         "The request's headers took too long" },
    [HTTP_SLOW_BODY] = { "request_timeout",
                         "The request's body came too slowly" },
    [HTTP_NOT_TLS] = { "https_required",
                       "HTTPS is spoken here; send to https:// instead of "
                       "http://" },
    [HTTP_TOO_LARGE] = { "payload_too_large", "The body is too large" },
    [HTTP_BAD_GZIP] = { "invalid_gzip", "The body is not valid gzip" },
    [HTTP_BAD_ENCODING] = { "unsupported_content_encoding",
                            "Content-Encoding may be gzip or identity" },
    [HTTP_OVERLOADED] = { "overloaded",
                          "The server has no room for this body now" },
};

/* RFC 9110 tchar. */
static const uint8_t token_char[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1,
    ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1,
    ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,
    ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1,
    ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1,
    ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1,
    ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,
    ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1,
    ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1,
    ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

static const mf_str known_names[HTTP_KNOWN] = {
    [HTTP_HOST] = { "host", 4 },
    [HTTP_CONTENT_LENGTH] = { "content-length", 14 },
    [HTTP_CONTENT_TYPE] = { "content-type", 12 },
    [HTTP_CONTENT_ENCODING] = { "content-encoding", 16 },
    [HTTP_TRANSFER_ENCODING] = { "transfer-encoding", 17 },
    [HTTP_AUTHORIZATION] = { "authorization", 13 },
    [HTTP_ORIGIN] = { "origin", 6 },
    [HTTP_CONNECTION] = { "connection", 10 },
    [HTTP_EXPECT] = { "expect", 6 },
    [HTTP_X_RETRY_COUNT] = { "x-retry-count", 13 },
    [HTTP_ACCESS_CONTROL_REQUEST_HEADERS] = { "access-control-request-headers",
                                              30 },
    [HTTP_ACCEPT_ENCODING] = { "accept-encoding", 15 },
    [HTTP_USER_AGENT] = { "user-agent", 10 },
    [HTTP_X_FORWARDED_FOR] = { "x-forwarded-for", 15 },
};

static bool fail(struct http_head *h, enum http_fault f)
{
    h->fault = f;
    return false;
}

static bool same(const char *a, const char *b, size_t n)
{
    return strncasecmp(a, b, n) == 0;
}

/* A tab, or anything that is no control byte. */
static bool text_byte(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool is_text(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101u, high = ones << 7;

    while (n >= 8) {
        uint64_t w, del;

        memcpy(&w, p, 8);
        del = w ^ ones * 0x7f;
        if ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & high)
            break; /* a control byte; the loop below knows tabs */
        p += 8;
        n -= 8;
    }
    for (; n; p++, n--)
        if (!text_byte((unsigned char)*p))
            return false;
    return true;
}

static size_t token_length(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && token_char[(unsigned char)p[i]])
        i++;
    return i;
}

static int known_header(const char *name, size_t n)
{
    for (int k = 0; k < HTTP_KNOWN; k++)
        if (known_names[k].len == n && same(known_names[k].ptr, name, n))
            return k;
    return -1;
}

/* ---- the request line ---- */

/* Visible ASCII without '#': a fragment is not sent. */
static bool target_ok(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '#')
            return false;
    return n > 0;
}

/* "/p?q", "http://host/p?q" and "*"; anything else is refused. */
static bool read_target(struct http_head *h, const char *base, size_t at,
                        size_t n)
{
    const char *p = base + at, *end = p + n, *mark;

    if (!target_ok(p, n))
        return fail(h, HTTP_BAD_LINE);
    if (n >= 7 && same(p, "http://", 7))
        p += 7;
    else if (n >= 8 && same(p, "https://", 8))
        p += 8;
    else if (*p != '/' && !(n == 1 && *p == '*'))
        return fail(h, HTTP_BAD_LINE);
    if (p != base + at) {
        const char *host = p;

        while (p < end && *p != '/' && *p != '?')
            p++;
        if (p == host)
            return fail(h, HTTP_BAD_LINE);
    }
    mark = memchr(p, '?', (size_t)(end - p));
    h->path.at = (uint16_t)(p - base);
    h->path.len = (uint16_t)((mark ? mark : end) - p);
    if (mark) {
        h->query.at = (uint16_t)(mark + 1 - base);
        h->query.len = (uint16_t)(end - mark - 1);
    }
    return true;
}

static bool read_line(struct http_head *h, const char *base, size_t at,
                      size_t n)
{
    const char *p = base + at, *end = p + n, *target, *space;
    size_t method = token_length(p, n);

    if (method == 0 || method == n || p[method] != ' ')
        return fail(h, HTTP_BAD_LINE);
    h->method = (struct http_span){ (uint16_t)at, (uint16_t)method };
    target = p + method + 1;
    space = memchr(target, ' ', (size_t)(end - target));
    if (!space)
        return fail(h, HTTP_BAD_LINE);
    if (end - space != 9 || memcmp(space + 1, "HTTP/", 5) != 0)
        return fail(h, HTTP_BAD_LINE);
    if (memcmp(space + 6, "1.", 2) != 0 || (space[8] != '0' && space[8] != '1'))
        return fail(h, HTTP_BAD_VERSION);
    h->minor = (uint8_t)(space[8] - '0');
    return read_target(h, base, (size_t)(target - base),
                       (size_t)(space - target));
}

/* ---- header lines ---- */

static bool read_length(struct http_head *h, mf_str v)
{
    uint64_t n = 0;

    if (h->has_length || v.len == 0 || v.len > LENGTH_DIGITS_MAX)
        return fail(h, HTTP_BAD_LENGTH);
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return fail(h, HTTP_BAD_LENGTH);
        n = n * 10 + (uint64_t)(v.ptr[i] - '0');
    }
    h->has_length = true;
    h->length = n;
    return true;
}

static bool host_ok(mf_str v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        bool alnum =
            (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

        if (!alnum && (c == 0 || !strchr("-._~%!$&'()*+;=:[]", c)))
            return false;
    }
    return true;
}

/* What framing depends on is judged as it is read. */
static bool take_known(struct http_head *h, int k, mf_str v)
{
    if (h->known[k])
        h->several |= 1u << k;
    else
        h->known[k] = (uint8_t)(h->count + 1);
    switch (k) {
    case HTTP_HOST:
        if ((h->several & 1u << k) || !host_ok(v))
            return fail(h, HTTP_BAD_HOST);
        break;
    case HTTP_CONTENT_LENGTH:
        return read_length(h, v);
    case HTTP_TRANSFER_ENCODING:
        if ((h->several & 1u << k) || v.len != 7 || !same(v.ptr, "chunked", 7))
            return fail(h, HTTP_BAD_TRANSFER);
        h->chunked = true;
        break;
    case HTTP_EXPECT:
        h->expects_continue = v.len == 12 && same(v.ptr, "100-continue", 12);
        break;
    default:
        break;
    }
    return true;
}

static bool read_field(struct http_head *h, const char *base, size_t at,
                       size_t n)
{
    const char *p = base + at, *value, *end = p + n;
    size_t name = token_length(p, n);
    struct http_field *f;
    int k;

    if (name == 0 || name == n || p[name] != ':')
        return fail(h, HTTP_BAD_HEADER);
    if (h->count == h->max_fields)
        return fail(h, HTTP_HEAD_TOO_LARGE);
    value = p + name + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (!is_text(value, (size_t)(end - value)))
        return fail(h, HTTP_BAD_HEADER);
    f = &h->field[h->count];
    f->name = (struct http_span){ (uint16_t)at, (uint16_t)name };
    f->value =
        (struct http_span){ (uint16_t)(value - base), (uint16_t)(end - value) };
    k = known_header(p, name);
    if (k >= 0 && !take_known(h, k, http_span_of(base, f->value)))
        return false;
    h->count++;
    return true;
}

static bool connection_says(const struct http_head *h, const char *base,
                            mf_str token)
{
    mf_str name = known_names[HTTP_CONNECTION];

    if (!h->known[HTTP_CONNECTION])
        return false;
    for (unsigned i = h->known[HTTP_CONNECTION] - 1u; i < h->count; i++) {
        struct http_span n = h->field[i].name;

        if (n.len == name.len && same(base + n.at, name.ptr, name.len) &&
            http_list_has(http_span_of(base, h->field[i].value), token))
            return true;
        if (!(h->several & 1u << HTTP_CONNECTION))
            break;
    }
    return false;
}

static bool finish(struct http_head *h, const char *base)
{
    if (h->minor == 1 && !h->known[HTTP_HOST])
        return fail(h, HTTP_BAD_HOST);
    if (h->chunked && (h->has_length || h->minor == 0))
        return fail(h, HTTP_BAD_TRANSFER);
    if (h->minor == 1)
        h->keep_alive = !connection_says(h, base, MF_STR("close"));
    else
        h->keep_alive = connection_says(h, base, MF_STR("keep-alive")) &&
                        !connection_says(h, base, MF_STR("close"));
    if (h->minor == 0)
        h->expects_continue = false;
    return true;
}

/* One line without its CRLF. 1 when it ended the head, -1 on a fault. */
static int take_line(struct http_head *h, const char *base, size_t at, size_t n)
{
    if (!h->in_fields) {
        if (n == 0 && !h->skipped_line) {
            h->skipped_line = true;
            return 0;
        }
        h->in_fields = true;
        return read_line(h, base, at, n) ? 0 : -1;
    }
    if (n == 0)
        return finish(h, base) ? 1 : -1;
    return read_field(h, base, at, n) ? 0 : -1;
}

/* ---- chunks ---- */

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool chunk_size_byte(struct http_chunks *c, unsigned char b)
{
    int d = hex_digit(b);

    if (d >= 0) {
        c->left = c->left << 4 | (uint64_t)d;
        return ++c->digits <= CHUNK_DIGITS_MAX;
    }
    if (c->digits == 0)
        return false;
    if (b == '\r')
        c->state = C_SIZE_LF;
    else if (b == ';')
        c->state = C_EXT;
    else if (b == ' ' || b == '\t')
        c->state = C_SIZE_SPACE;
    else
        return false;
    return true;
}

static bool chunk_ext_byte(struct http_chunks *c, unsigned char b)
{
    if (++c->ext_bytes > HTTP_CHUNK_EXT_MAX)
        return false;
    if (c->state == C_SIZE_SPACE) {
        /* White space may only lead to an extension. */
        if (b == ';')
            c->state = C_EXT;
        return b == ';' || b == ' ' || b == '\t';
    }
    if (b == '\r')
        c->state = C_SIZE_LF;
    return b == '\r' || text_byte(b);
}

static bool trailer_byte(struct http_chunks *c, unsigned char b)
{
    if (++c->trailer_bytes > HTTP_TRAILER_MAX)
        return false;
    switch (c->state) {
    case C_LINE:
        if (b == '\r') {
            c->state = C_END_LF;
            return true;
        }
        c->state = C_NAME;
        return token_char[b] && ++c->trailers <= HTTP_TRAILERS_MAX;
    case C_NAME:
        if (b == ':')
            c->state = C_VALUE;
        return b == ':' || token_char[b];
    case C_VALUE:
        if (b == '\r')
            c->state = C_TRAILER_LF;
        return b == '\r' || text_byte(b);
    default:
        c->state = C_LINE;
        return b == '\n';
    }
}

/* Every byte that is not chunk data. */
static bool frame_byte(struct http_chunks *c, unsigned char b)
{
    switch (c->state) {
    case C_SIZE:
        return chunk_size_byte(c, b);
    case C_SIZE_SPACE:
    case C_EXT:
        return chunk_ext_byte(c, b);
    case C_SIZE_LF:
        c->state = c->left ? C_DATA : C_LINE;
        return b == '\n';
    case C_DATA_CR:
        c->state = C_DATA_LF;
        return b == '\r';
    case C_DATA_LF:
        c->state = C_SIZE;
        c->digits = 0;
        return b == '\n';
    case C_END_LF:
        c->state = C_DONE;
        return b == '\n';
    default:
        return trailer_byte(c, b);
    }
}

/* ---- public ---- */

const char *http_fault_code(enum http_fault f)
{
    ASSERT(f < HTTP_FAULTS);
    return faults[f].code;
}

const char *http_fault_text(enum http_fault f)
{
    ASSERT(f < HTTP_FAULTS);
    return faults[f].text;
}

const char *http_fault_kind(enum http_fault f)
{
    return f == HTTP_SLOW_HEAD   ? "slow_headers"
           : f == HTTP_SLOW_BODY ? "slow_body"
                                 : http_fault_code(f);
}

void http_head_init(struct http_head *h, uint32_t max, uint32_t max_fields)
{
    ASSERT(max <= UINT16_MAX && max_fields <= HTTP_FIELDS_MAX);
    memset(h, 0, offsetof(struct http_head, field));
    h->max = max;
    h->max_fields = max_fields;
}

int32_t http_head_feed(struct http_head *h, const char *base, size_t len)
{
    ASSERT(h->fault == HTTP_NO_FAULT);
    while (h->scanned < len) {
        const char *lf = memchr(base + h->scanned, '\n', len - h->scanned);
        size_t at = h->line, end;
        int rc;

        /* Another protocol may never send a line. */
        if (!h->in_fields && base[at] != '\r' &&
            !token_char[(unsigned char)base[at]]) {
            fail(h, HTTP_BAD_LINE);
            return -1;
        }
        if (!lf) {
            if (len > h->max) {
                fail(h, HTTP_HEAD_TOO_LARGE);
                return -1;
            }
            h->scanned = (uint32_t)len;
            return 0;
        }
        end = (size_t)(lf - base);
        if (end >= h->max) {
            fail(h, HTTP_HEAD_TOO_LARGE);
            return -1;
        }
        h->scanned = h->line = (uint32_t)end + 1;
        if (end == at || base[end - 1] != '\r') {
            fail(h, h->in_fields ? HTTP_BAD_HEADER : HTTP_BAD_LINE);
            return -1;
        }
        rc = take_line(h, base, at, end - 1 - at);
        if (rc)
            return rc < 0 ? -1 : (int32_t)h->line;
    }
    return 0;
}

mf_str http_head_known(const struct http_head *h, const char *base,
                       enum http_known k)
{
    if (!h->known[k])
        return (mf_str){ NULL, 0 };
    return http_span_of(base, h->field[h->known[k] - 1].value);
}

mf_str http_head_named(const struct http_head *h, const char *base, mf_str name)
{
    for (unsigned i = 0; i < h->count; i++) {
        struct http_span n = h->field[i].name;

        if (n.len == name.len && same(base + n.at, name.ptr, name.len))
            return http_span_of(base, h->field[i].value);
    }
    return (mf_str){ NULL, 0 };
}

bool http_list_has(mf_str list, mf_str token)
{
    size_t i = 0;

    while (i < list.len) {
        size_t from, to;

        while (i < list.len && (list.ptr[i] == ',' || list.ptr[i] == ' ' ||
                                list.ptr[i] == '\t'))
            i++;
        from = i;
        while (i < list.len && list.ptr[i] != ',')
            i++;
        to = i;
        while (to > from &&
               (list.ptr[to - 1] == ' ' || list.ptr[to - 1] == '\t'))
            to--;
        if (to - from == token.len &&
            same(list.ptr + from, token.ptr, token.len))
            return true;
    }
    return false;
}

void http_chunks_init(struct http_chunks *c)
{
    memset(c, 0, sizeof *c);
}

int http_chunks_feed(struct http_chunks *c, char *to, size_t *made,
                     const char *raw, size_t n, size_t *used)
{
    size_t i = 0, out = 0;
    bool ok = true;

    while (ok && i < n && c->state != C_DONE) {
        if (c->state == C_DATA) {
            size_t run = n - i < c->left ? n - i : (size_t)c->left;

            if (to && to + out != raw + i)
                memmove(to + out, raw + i, run);
            out += run;
            i += run;
            c->left -= run;
            if (c->left == 0)
                c->state = C_DATA_CR;
            continue;
        }
        ok = frame_byte(c, (unsigned char)raw[i++]);
    }
    *made = out;
    *used = i;
    if (!ok)
        return -1;
    return c->state == C_DONE ? 1 : 0;
}

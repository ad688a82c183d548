/* SPDX-License-Identifier: Apache-2.0
 *
 * url.c - http and https URLs as the WHATWG URL standard writes them.
 *
 * Only what such URLs can hold: scheme, host (names, IPv4, [IPv6]), port,
 * path, query. The fragment is dropped, for it is never sent. Names that are
 * not ASCII are refused rather than guessed at. */
#include "plugin/inner.h"

struct parts {
    mf_str scheme, user, host, port, path, query;
    bool has_query;
};

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* White space and control bytes at the ends do not count. */
static mf_str stripped(mf_str s)
{
    while (s.len && (unsigned char)*s.ptr <= ' ')
        s.ptr++, s.len--;
    while (s.len && (unsigned char)s.ptr[s.len - 1] <= ' ')
        s.len--;
    return s;
}

/* Tabs and line ends inside do not count either. */
static mf_str untabbed(mf_str s, struct arena *a)
{
    char *out;
    size_t n = 0;

    if (!memchr(s.ptr, '\t', s.len) && !memchr(s.ptr, '\n', s.len) &&
        !memchr(s.ptr, '\r', s.len))
        return s;
    out = arena_alloc(a, s.len);
    for (size_t k = 0; k < s.len; k++)
        if (s.ptr[k] != '\t' && s.ptr[k] != '\n' && s.ptr[k] != '\r')
            out[n++] = s.ptr[k];
    return (mf_str){ out, n };
}

static size_t find(mf_str s, size_t from, const char *any)
{
    while (from < s.len && !(s.ptr[from] && strchr(any, s.ptr[from])))
        from++;
    return from;
}

static mf_str slice(mf_str s, size_t from, size_t to)
{
    return (mf_str){ s.ptr + from, to - from };
}

static int split_authority(mf_str s, struct parts *p)
{
    size_t at = s.len, colon;

    while (at > 0 && s.ptr[at - 1] != '@')
        at--;
    if (at > 0) {
        p->user = slice(s, 0, at - 1);
        s = slice(s, at, s.len);
    }
    colon = s.len && s.ptr[0] == '[' ? find(s, 0, "]") : 0;
    colon = find(s, colon, ":");
    p->host = slice(s, 0, colon);
    if (colon < s.len)
        p->port = slice(s, colon + 1, s.len);
    return p->host.len ? 0 : -1;
}

static int split(mf_str s, struct parts *p)
{
    size_t k = 0, end;

    while (k < s.len && (is_alpha(s.ptr[k]) || is_digit(s.ptr[k]) ||
                         (k && strchr("+-.", s.ptr[k]))))
        k++;
    if (k == 0 || k == s.len || s.ptr[k] != ':')
        return -1;
    p->scheme = slice(s, 0, k);
    if (!str_ieq(p->scheme, MF_STR("http")) &&
        !str_ieq(p->scheme, MF_STR("https")))
        return -1;
    k++;
    while (k < s.len && (s.ptr[k] == '/' || s.ptr[k] == '\\'))
        k++;
    s.len = find(s, k, "#");
    end = find(s, k, "/\\?");
    if (split_authority(slice(s, k, end), p) < 0)
        return -1;
    k = find(s, end, "?");
    p->path = slice(s, end, k);
    p->has_query = k < s.len;
    if (p->has_query)
        p->query = slice(s, k + 1, s.len);
    return 0;
}

/* Escapes that a name may be written with, undone; then lower case. */
static int put_host(struct buf *b, mf_str host)
{
    size_t from = b->len;
    bool bracket = host.ptr[0] == '[';

    if (memchr(host.ptr, '%', host.len)) {
        if (!percent_decode(b, host, false))
            return -1;
    } else {
        buf_str(b, host);
    }
    if (b->len == from || (bracket && b->data[b->len - 1] != ']'))
        return -1;
    for (size_t k = from; k < b->len; k++) {
        unsigned char c = (unsigned char)b->data[k];

        if (c <= ' ' || c >= 0x7f || strchr("#/<>?@\\^|%", c))
            return -1;
        if (!bracket && (c == ':' || c == '[' || c == ']'))
            return -1;
        if (c >= 'A' && c <= 'Z')
            b->data[k] = (char)(c + 'a' - 'A');
    }
    return 0;
}

static int put_port(struct buf *b, mf_str port, bool tls)
{
    uint64_t n;

    if (port.len == 0)
        return 0;
    if (!parse_u64(port, &n) || n > 65535)
        return -1;
    if (n != (tls ? 443u : 80u))
        buf_printf(b, ":%u", (unsigned)n);
    return 0;
}

static void put_escaped(struct buf *b, mf_str s, const char *also)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t k = 0; k < s.len; k++) {
        unsigned char c = (unsigned char)s.ptr[k];

        if (c <= ' ' || c >= 0x7f || strchr(also, c)) {
            buf_char(b, '%');
            buf_char(b, hex[c >> 4]);
            buf_char(b, hex[c & 15]);
        } else {
            buf_char(b, (char)c);
        }
    }
}

/* "." and ".." also where a dot is written %2e. */
static unsigned dots(mf_str s)
{
    unsigned n = 0;

    for (size_t k = 0; k < s.len; n++) {
        if (s.ptr[k] == '.')
            k++;
        else if (s.len - k >= 3 && s.ptr[k] == '%' && s.ptr[k + 1] == '2' &&
                 (s.ptr[k + 2] | 32) == 'e')
            k += 3;
        else
            return 0;
    }
    return n <= 2 ? n : 0;
}

static void put_path(struct buf *b, mf_str path)
{
    size_t root = b->len, k = 0, end;

    if (path.len == 0)
        buf_char(b, '/');
    while (k < path.len) {
        mf_str part;

        end = find(path, k + 1, "/\\");
        part = slice(path, k + 1, end);
        switch (dots(part)) {
        case 2:
            while (b->len > root && b->data[--b->len] != '/')
                ;
            /* fall through */
        case 1:
            if (end == path.len)
                buf_char(b, '/');
            break;
        default:
            buf_char(b, '/');
            put_escaped(b, part, "\"<>`{}^");
        }
        k = end;
    }
    if (b->len == root)
        buf_char(b, '/');
}

/* Already as it would be written: nothing to escape, lower or take out. */
static bool is_plain(mf_str s, size_t *host_from, size_t *host_to)
{
    size_t k = 0, slash;

    if (str_starts(s, MF_STR("https://")))
        k = 8;
    else if (str_starts(s, MF_STR("http://")))
        k = 7;
    *host_from = k;
    while (k < s.len && ((s.ptr[k] >= 'a' && s.ptr[k] <= 'z') ||
                         is_digit(s.ptr[k]) || s.ptr[k] == '-' ||
                         s.ptr[k] == '.'))
        k++;
    *host_to = slash = k;
    if (*host_from == 0 || k == *host_from || k == s.len || s.ptr[k] != '/')
        return false;
    for (; k < s.len; k++) {
        unsigned char c = (unsigned char)s.ptr[k];

        if (c <= ' ' || c >= 0x7f || strchr("\"<>`{}^'#\\", c))
            return false;
        if (c == '/' && k + 1 < s.len &&
            (s.ptr[k + 1] == '.' || s.ptr[k + 1] == '%'))
            return false;
    }
    return slash < s.len;
}

int url_normalise(mf_str url, struct arena *a, mf_str *out, mf_str *host)
{
    struct parts p = { 0 };
    struct buf b;
    size_t from, to;
    bool tls;
    int rc = -1;

    if (url.len == 0 || url.len > URL_BYTES_MAX)
        return -1;
    if (is_plain(url, &from, &to)) {
        *out = url;
        *host = slice(url, from, to);
        return 0;
    }
    url = untabbed(stripped(url), a);
    if (split(url, &p) < 0)
        return -1;
    tls = p.scheme.len == 5;
    buf_init(&b, URL_BYTES_MAX * 3);
    buf_puts(&b, tls ? "https://" : "http://");
    if (p.user.len) {
        put_escaped(&b, p.user, "\"<>`{}^#?/;=@[\\]|");
        buf_char(&b, '@');
    }
    from = b.len;
    if (put_host(&b, p.host) < 0)
        goto done;
    to = b.len;
    if (put_port(&b, p.port, tls) < 0)
        goto done;
    put_path(&b, p.path);
    if (p.has_query) {
        buf_char(&b, '?');
        put_escaped(&b, p.query, "\"<>'");
    }
    *out = arena_copy(a, buf_view(&b));
    *host = slice(*out, from, to);
    rc = b.full ? -1 : 0;
done:
    buf_deinit(&b);
    return rc;
}

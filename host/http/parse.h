/* SPDX-License-Identifier: Apache-2.0
 *
 * parse.h - HTTP/1.x requests read strictly, byte by byte or all at once.
 *
 * Pure: no allocation, no descriptors, no clock. The head parser keeps offsets
 * into the caller's buffer, so the buffer may move between two calls. What two
 * readers could understand in two ways is refused here: two lengths, length
 * beside chunks, white space before a colon, folded lines, bare line feeds,
 * control bytes. Verdicts do not depend on how the bytes were cut. */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FIELDS_MAX    64
#define HTTP_HEAD_MAX      16384 /* default, and at most 65535 */
#define HTTP_CHUNK_EXT_MAX 16384 /* extension bytes in one body */
#define HTTP_TRAILER_MAX   16384
#define HTTP_TRAILERS_MAX  64

/* Up to HTTP_NOT_TLS the server answers by itself and closes; from
 * HTTP_TOO_LARGE on the request reaches the handler, which answers. */
enum http_fault {
    HTTP_NO_FAULT,
    HTTP_BAD_LINE, /* request line */
    HTTP_BAD_VERSION,
    HTTP_BAD_HEADER,
    HTTP_BAD_HOST,     /* none, several, or not a host */
    HTTP_BAD_LENGTH,   /* Content-Length */
    HTTP_BAD_TRANSFER, /* Transfer-Encoding, or beside Content-Length */
    HTTP_BAD_CHUNK,
    HTTP_HEAD_TOO_LARGE,
    HTTP_SLOW_HEAD,
    HTTP_SLOW_BODY,
    HTTP_NOT_TLS,   /* plain HTTP where TLS is spoken */
    HTTP_TOO_LARGE, /* body over the limit, encoded or decoded */
    HTTP_BAD_GZIP,
    HTTP_BAD_ENCODING, /* a Content-Encoding that is not known */
    HTTP_OVERLOADED,   /* no room for the body now: 503 */
    HTTP_FAULTS
};

/* "malformed_header" and "a sentence for people". */
const char *http_fault_code(enum http_fault f);
const char *http_fault_text(enum http_fault f);
/* The code, but that what is too slow says which part was: for metrics. */
const char *http_fault_kind(enum http_fault f);

/* Headers that have a place of their own; the first of several is there. */
enum http_known {
    HTTP_HOST,
    HTTP_CONTENT_LENGTH,
    HTTP_CONTENT_TYPE,
    HTTP_CONTENT_ENCODING,
    HTTP_TRANSFER_ENCODING,
    HTTP_AUTHORIZATION,
    HTTP_ORIGIN,
    HTTP_CONNECTION,
    HTTP_EXPECT,
    HTTP_X_RETRY_COUNT,
    HTTP_ACCESS_CONTROL_REQUEST_HEADERS,
    HTTP_ACCEPT_ENCODING,
    HTTP_USER_AGENT,
    HTTP_X_FORWARDED_FOR,
    HTTP_KNOWN
};

struct http_span {
    uint16_t at, len;
};

struct http_field {
    struct http_span name, value;
};

/* Offsets count from the first byte given to http_head_feed(). */
struct http_head {
    uint32_t max; /* bytes of the whole head */
    uint32_t max_fields;
    uint32_t line;    /* where the line being read begins */
    uint32_t scanned; /* no line feed before this */
    enum http_fault fault;
    bool in_fields;    /* the request line is done */
    bool skipped_line; /* one empty line before a request is forgiven */
    bool chunked, has_length, keep_alive, expects_continue;
    uint8_t minor;             /* HTTP/1.minor */
    uint8_t known[HTTP_KNOWN]; /* index + 1 into field[] */
    uint32_t several;          /* bit k: more than one of the known header k */
    uint16_t count;
    uint64_t length;                      /* of the body, when has_length */
    struct http_span method, path, query; /* raw, the query without '?' */
    struct http_field field[HTTP_FIELDS_MAX];
};

/* max_fields is at most HTTP_FIELDS_MAX. */
void http_head_init(struct http_head *h, uint32_t max, uint32_t max_fields);
/* base[0..len) is everything received since the request began. Returns the
 * size of the head when it is whole, 0 when more is needed, -1 with h->fault. */
int32_t http_head_feed(struct http_head *h, const char *base, size_t len);

static inline mf_str http_span_of(const char *base, struct http_span s)
{
    return (mf_str){ base + s.at, s.len };
}

/* ptr is NULL when the header is not there. */
mf_str http_head_known(const struct http_head *h, const char *base,
                       enum http_known k);
/* Any header by name, whatever its case; the first of several. */
mf_str http_head_named(const struct http_head *h, const char *base,
                       mf_str name);

/* True when the comma-separated list holds the token, whatever its case. */
bool http_list_has(mf_str list, mf_str token);

/* ---- chunked bodies ---- */

struct http_chunks {
    uint8_t state;
    uint8_t digits;
    uint16_t trailers;
    uint32_t ext_bytes, trailer_bytes;
    uint64_t left; /* data bytes of this chunk still to come */
};

void http_chunks_init(struct http_chunks *c);
/* Reads raw[0..n) and moves the data found to `to`, which may be raw itself
 * or lie before it. *used = raw bytes read, *made = data bytes written.
 * Returns 1 at the end of the body, 0 when more is needed, -1 on a fault. With
 * to == NULL data is counted and thrown away. */
int http_chunks_feed(struct http_chunks *c, char *to, size_t *made,
                     const char *raw, size_t n, size_t *used);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * scalar.c - see scalar.h.
 *
 * A default is read by the same functions, with no file behind it; it is a
 * literal of ours, so it never has a fault. */
#include "config/scalar.h"

#include "base/io.h"
#include "base/netaddr.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A write key in the file that is shorter is a word, such as the name of its
 * source, and hiding every such word would spoil what people read. */
#define KEY_REDACT_MIN  16
#define HASHED_FILE_MAX (16u << 20)

/* ---- texts ---- */

bool scalar_in_range(const struct member *m, double v)
{
    return (m->min == 0 && m->max == 0) || (v >= m->min && v <= m->max);
}

static bool has_controls(mf_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    return false;
}

const char *scalar_text(struct reader *r, const struct member *m, mf_val v)
{
    struct arena *a = &r->c->private->arena;
    bool fql;
    mf_str s;

    if (v.type != MF_STRING)
        return NULL;
    s = json_text(v, a);
    fql = m->kind == KIND_FILTER || m->kind == KIND_SUBSCRIBE;
    if (s.len == 0 || memchr(s.ptr, 0, s.len) || (!fql && has_controls(s)) ||
        !scalar_in_range(m, (double)s.len))
        return NULL;
    return arena_copy(a, s).ptr;
}

static enum kind_read keep(const char *text, void *target)
{
    if (!text)
        return READ_WRONG;
    *(const char **)target = text;
    return READ_OK;
}

enum kind_read scalar_read_text(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    return keep(scalar_text(r, m, v), target);
}

bool scalar_is_name(const char *s)
{
    size_t n = 0;

    for (; s[n]; n++)
        if (!((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') ||
              (s[n] >= '0' && s[n] <= '9') || s[n] == '_' || s[n] == '.' ||
              s[n] == '-'))
            return false;
    return n > 0 && n <= CONFIG_NAME_MAX && strcmp(s, ".") != 0 &&
           strcmp(s, "..") != 0;
}

enum kind_read scalar_read_name(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    const char *text = scalar_text(r, m, v);

    return keep(text && scalar_is_name(text) ? text : NULL, target);
}

/* Printable ASCII without space and what else is named. */
static bool is_key_text(const char *s, char without)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 127 || *s == without)
            return false;
    return true;
}

enum kind_read scalar_read_secret(struct reader *r, const struct member *m,
                                  mf_val v, void *target)
{
    const char *text = scalar_text(r, m, v);

    if (!text || !is_key_text(text, m->kind == KIND_WRITE_KEY ? ':' : 0))
        return READ_WRONG;
    if (m->kind == KIND_TOKEN || strlen(text) >= KEY_REDACT_MIN)
        redact_add(r->c->secrets, mf_cstr(text));
    return keep(text, target);
}

enum kind_read scalar_read_path(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    const char *text = scalar_text(r, m, v);

    if (text && *text != '/')
        text = arena_printf(&r->c->private->arena, "%s/%s", r->file->dir, text)
                   .ptr;
    return keep(text, target);
}

enum kind_read scalar_read_file(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    enum kind_read got = scalar_read_path(r, m, v, target);
    const char *path;
    struct stat st;

    if (got != READ_OK)
        return got;
    path = *(const char **)target;
    if (stat(path, &st) != 0 || access(path, R_OK) != 0) {
        conf_fault(r, v.raw,
                     "\"%s\": %s cannot be read: %s; correct the path, or let "
                     "this user read the file",
                     m->key, path, strerror(errno));
        return READ_TOLD;
    }
    if (!S_ISREG(st.st_mode)) {
        conf_fault(r, v.raw, "\"%s\": %s is not a file; name a file",
                     m->key, path);
        return READ_TOLD;
    }
    return READ_OK;
}

/* "http://host:port" of an URL that has nothing else. */
enum kind_read scalar_read_origin(struct reader *r, const struct member *m,
                                  mf_val v, void *target)
{
    const char *text = scalar_text(r, m, v), *host, *end, *colon;
    mf_str port;
    uint64_t number;

    if (!text)
        return READ_WRONG;
    if (strncmp(text, "http://", 7) == 0)
        host = text + 7;
    else if (strncmp(text, "https://", 8) == 0)
        host = text + 8;
    else
        return READ_WRONG;
    end = host + strcspn(host, "/?#@");
    if ((*end && strcmp(end, "/") != 0) || !is_key_text(host, '\\'))
        return READ_WRONG;
    colon = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : host;
    if (!colon)
        return READ_WRONG;
    colon = memchr(colon, ':', (size_t)(end - colon));
    if (colon) {
        port = (mf_str){ colon + 1, (size_t)(end - colon) - 1 };
        if (!parse_u64(port, &number) || number == 0 || number > 65535)
            return READ_WRONG;
    }
    if ((colon ? colon : end) == host)
        return READ_WRONG;
    return keep(arena_copy(&r->c->private->arena,
                           (mf_str){ text, (size_t)(end - text) })
                    .ptr,
                target);
}

void scalar_write_text(struct json_out *w, const struct member *m,
                       const void *target)
{
    const char *text = *(const char *const *)target;

    (void)m;
    if (text)
        json_str(w, mf_cstr(text));
    else
        json_null(w);
}

void scalar_write_file(struct json_out *w, const struct member *m,
                       const void *target)
{
    const char *path = *(const char *const *)target;
    char *text, print[CONFIG_PRINT];
    size_t len;

    scalar_write_text(w, m, target);
    json_key(w, MF_STR("content"));
    if (path && io_read_file(AT_FDCWD, path, HASHED_FILE_MAX, &text, &len,
                             NULL) == 0) {
        canon_print((mf_str){ text, len }, print);
        explicit_bzero(text, len);
        free(text);
        json_str(w, mf_cstr(print));
    } else {
        json_null(w);
    }
}

/* ---- numbers ---- */

enum kind_read scalar_read_bool(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    (void)r;
    (void)m;
    if (v.type != MF_BOOL)
        return READ_WRONG;
    *(bool *)target = json_is_true(v);
    return READ_OK;
}

void scalar_write_bool(struct json_out *w, const struct member *m,
                       const void *target)
{
    (void)m;
    json_bool(w, *(const bool *)target);
}

enum kind_read scalar_read_int(struct reader *r, const struct member *m,
                               mf_val v, void *target)
{
    int64_t n;

    (void)r;
    if (!json_integer(v, &n) || !scalar_in_range(m, (double)n))
        return READ_WRONG;
    *(int64_t *)target = m->kind == KIND_SECONDS ? n * 1000 : n;
    return READ_OK;
}

enum kind_read scalar_read_duration(struct reader *r, const struct member *m,
                                    mf_val v, void *target)
{
    int64_t ms;
    mf_str s = v.type == MF_NUMBER ? (mf_str){ v.raw, v.len }
                                   : json_text(v, &r->c->private->arena);

    if ((v.type != MF_NUMBER && v.type != MF_STRING) ||
        !parse_duration(s, &ms) || !scalar_in_range(m, (double)ms))
        return READ_WRONG;
    *(int64_t *)target = ms;
    return READ_OK;
}

enum kind_read scalar_read_size(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    uint64_t bytes;
    mf_str s = v.type == MF_NUMBER ? (mf_str){ v.raw, v.len }
                                   : json_text(v, &r->c->private->arena);

    if ((v.type != MF_NUMBER && v.type != MF_STRING) ||
        !parse_size(s, &bytes) || !scalar_in_range(m, (double)bytes))
        return READ_WRONG;
    *(uint64_t *)target = bytes;
    return READ_OK;
}

void scalar_write_int(struct json_out *w, const struct member *m,
                      const void *target)
{
    (void)m;
    json_int(w, *(const int64_t *)target); /* sizes are below 2^63 */
}

enum kind_read scalar_read_rate(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    mf_str s = json_text(v, &r->c->private->arena);

    if (v.type != MF_STRING || !parse_rate(s, target) ||
        !scalar_in_range(m, *(double *)target)) {
        *(double *)target = 0;
        return READ_WRONG;
    }
    return READ_OK;
}

void scalar_write_rate(struct json_out *w, const struct member *m,
                       const void *target)
{
    (void)m;
    json_num(w, *(const double *)target);
}

enum kind_read scalar_read_choice(struct reader *r, const struct member *m,
                                  mf_val v, void *target)
{
    const char *const *words = m->more;
    mf_str s = json_text(v, &r->c->private->arena);

    for (int i = 0; v.type == MF_STRING && words[i]; i++)
        if (mf_eq(s, mf_cstr(words[i]))) {
            *(int *)target = i;
            return READ_OK;
        }
    return READ_WRONG;
}

void scalar_write_choice(struct json_out *w, const struct member *m,
                         const void *target)
{
    const char *const *words = m->more;

    json_str(w, mf_cstr(words[*(const int *)target]));
}

/* ---- addresses ---- */

static bool split_address(const char *text, char host[INET6_ADDRSTRLEN],
                          uint16_t *port)
{
    const char *colon = strrchr(text, ':'), *from = text, *to = colon;
    uint64_t number;

    if (!colon || !parse_u64(mf_cstr(colon + 1), &number) || number > 65535)
        return false;
    if (*text == '[') {
        from++;
        to--;
        if (to < from || *to != ']')
            return false;
    }
    if ((size_t)(to - from) >= INET6_ADDRSTRLEN)
        return false;
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    *port = (uint16_t)number;
    return true;
}

enum kind_read scalar_read_address(struct reader *r, const struct member *m,
                                   mf_val v, void *target)
{
    static const unsigned char one[16] = { [15] = 1 }, /* ::1 */
                               mapped[13] = { [10] = 255, [11] = 255,
                                              [12] = 127 };
    struct conf_address *to = target;
    char host[INET6_ADDRSTRLEN];
    const char *text = scalar_text(r, m, v);
    unsigned char raw[16];

    if (text && strncmp(text, "fd:", 3) == 0) {
        to->text = text;
        to->socket = text + 3;
        return scalar_is_name(to->socket) ? READ_OK : READ_WRONG;
    }
    if (!text || !split_address(text, host, &to->port))
        return READ_WRONG;
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof host, "127.0.0.1");
    if (*text == '[') {
        if (inet_pton(AF_INET6, host, raw) != 1)
            return READ_WRONG;
        to->loopback = memcmp(raw, one, 16) == 0 ||
                       memcmp(raw, mapped, sizeof mapped) == 0;
    } else if (*host && strcmp(host, "*") != 0) {
        if (inet_pton(AF_INET, host, raw) != 1)
            return READ_WRONG;
        to->loopback = raw[0] == 127;
    }
    to->text = text;
    if (*host && strcmp(host, "*") != 0)
        to->host = arena_copy(&r->c->private->arena, mf_cstr(host)).ptr;
    return READ_OK;
}

enum kind_read scalar_read_block(struct reader *r, const struct member *m,
                                 mf_val v, void *target)
{
    const char *text = scalar_text(r, m, v);
    struct netblock block;

    return keep(text && netblock_parse(mf_cstr(text), &block) ? text : NULL,
                target);
}

void scalar_write_address(struct json_out *w, const struct member *m,
                          const void *target)
{
    const struct conf_address *a = target;

    scalar_write_text(w, m, &a->text);
}

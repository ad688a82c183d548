/* SPDX-License-Identifier: Apache-2.0
 *
 * conf_file.c - see conf_file.h.
 *
 * Replacement works on the raw text between the quotes, in one pass from the
 * left, and never looks into what it has put in. Keys are left alone: a
 * string is a key when a colon follows it. */
#include "config/conf_file.h"

#include "base/io.h"
#include "base/text.h"
#include "config/jsonc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DUPLICATES_MAX 20  /* told of one object */
#define QUOTED_KEY     100 /* bytes of a key in a message */

/* ---- places ---- */

static void find_lines(struct conf_file *f)
{
    size_t n = 1;

    for (size_t i = 0; i < f->source_len; i++)
        n += f->source[i] == '\n';
    f->lines = xmalloc(n * sizeof *f->lines);
    f->lines[0] = 0;
    f->line_count = 1;
    for (size_t i = 0; i < f->source_len; i++)
        if (f->source[i] == '\n')
            f->lines[f->line_count++] = i + 1;
}

static struct place source_place(const struct conf_file *f, size_t offset)
{
    size_t low = 0, high = f->line_count;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (f->lines[mid] <= offset)
            low = mid;
        else
            high = mid;
    }
    return (struct place){ f->path, (unsigned)low + 1,
                           (unsigned)(offset - f->lines[low]) + 1 };
}

/* The first segment that ends behind the offset. */
static size_t segment_at(const struct conf_file *f, size_t offset)
{
    size_t low = 0, high = f->segment_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (f->segments[mid].out + f->segments[mid].out_len <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static size_t source_offset(const struct conf_file *f, size_t offset)
{
    size_t i = segment_at(f, offset);

    if (i < f->segment_count && f->segments[i].out <= offset) {
        const struct segment *s = &f->segments[i];

        return s->kind == SEGMENT_BROKEN ? s->in + (offset - s->out) : s->in;
    }
    if (i == 0)
        return offset;
    return f->segments[i - 1].in + f->segments[i - 1].in_len +
           (offset - f->segments[i - 1].out - f->segments[i - 1].out_len);
}

struct place conf_file_place(const struct conf_file *f, const char *at)
{
    return source_place(f, source_offset(f, (size_t)(at - f->text.data)));
}

struct place conf_file_whole(const struct conf_file *f)
{
    return (struct place){ f->path, 0, 0 };
}

size_t conf_file_segment(const struct conf_file *f, const char *at)
{
    return segment_at(f, (size_t)(at - f->text.data));
}

const char *conf_file_quote(const struct conf_file *f, mf_val v,
                            char out[CONF_QUOTE])
{
    size_t from = source_offset(f, (size_t)(v.raw - f->text.data)), n;
    mf_val whole = json_root((mf_str){ f->source + from,
                                       f->source_len - from });

    n = whole.len;
    if (n < CONF_QUOTE) {
        memcpy(out, whole.raw, n);
        out[n] = 0;
        return out;
    }
    n = CONF_QUOTE - 4;
    while (n > 0 && ((unsigned char)whole.raw[n] & 0xC0) == 0x80)
        n--; /* not inside a character */
    memcpy(out, whole.raw, n);
    memcpy(out + n, "...", 4);
    return out;
}

/* ---- keys that stand twice ---- */

/* The closing quote of the string that opens at i, in checked text. */
static size_t string_end(const char *s, size_t i)
{
    for (i++; s[i] != '"'; i++)
        if (s[i] == '\\')
            i++;
    return i;
}

struct key {
    mf_str name;
    const char *at; /* in the source */
};

static int key_order(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int c = n ? memcmp(a->name.ptr, b->name.ptr, n) : 0;

    if (c)
        return c;
    if (a->name.len != b->name.len)
        return a->name.len < b->name.len ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

static void tell_twice(const struct conf_file *f, struct faults *faults,
                       const struct key *first, const struct key *again)
{
    struct place one = source_place(f, (size_t)(first->at - f->source));
    size_t open = (size_t)(again->at - f->source);
    size_t len = string_end(f->source, open) - open - 1;

    faults_error(faults, source_place(f, open),
                 "the key \"%.*s\" stands twice in this object, first at "
                 "%u:%u; remove one of them",
                 (int)(len < QUOTED_KEY ? len : QUOTED_KEY), again->at + 1,
                 one.line, one.column);
}

static void check_keys(const struct conf_file *f, mf_val v,
                       struct faults *faults)
{
    size_t n = v.type == MF_OBJECT ? json_count(v) : 0, told = 0, i = 0;
    struct key *keys = xcalloc(n, sizeof *keys), *first = keys;
    mf_iter it = { { 0 } };
    struct arena names;
    mf_val value;
    mf_str raw;

    arena_init(&names, SIZE_MAX / 8);
    while (json_next(v, &it, &raw, &value)) {
        if (v.type == MF_OBJECT)
            keys[i++] = (struct key){ json_unescape(raw, &names),
                                      raw.ptr - 1 };
        check_keys(f, value, faults);
    }
    if (n)
        qsort(keys, n, sizeof *keys, key_order);
    for (i = 1; i < n; i++) {
        if (!mf_eq(keys[i].name, first->name))
            first = &keys[i];
        else if (told++ < DUPLICATES_MAX)
            tell_twice(f, faults, first, &keys[i]);
    }
    arena_deinit(&names);
    free(keys);
}

/* ---- replacing ---- */

struct expand {
    struct conf_file *f;
    const struct config_env *env;
    struct faults *faults;
};

static void copy(struct expand *x, size_t from, size_t to)
{
    buf_add(&x->f->text, x->f->source + from, to - from);
}

static struct segment *add_segment(struct conf_file *f, size_t in,
                                   size_t in_len, enum segment_kind kind)
{
    struct segment *s;

    if (f->segment_count == f->segment_room) {
        f->segment_room = f->segment_room ? f->segment_room * 2 : 16;
        f->segments = xrealloc(f->segments,
                               f->segment_room * sizeof *f->segments);
    }
    s = &f->segments[f->segment_count++];
    *s = (struct segment){ f->text.len, 0, in, in_len, kind, false };
    return s;
}

static void put_broken(struct expand *x, size_t in, size_t in_len)
{
    struct segment *s = add_segment(x->f, in, in_len, SEGMENT_BROKEN);

    copy(x, in, in + in_len);
    s->out_len = x->f->text.len - s->out;
}

static bool put_value(struct expand *x, size_t in, size_t in_len,
                      const char *what, mf_str value)
{
    struct place at = source_place(x->f, in);
    struct segment *s;

    if (value.len > CONFIG_SECRET_MAX) {
        faults_error(x->faults, at,
                     "what %s stands for is longer than %d bytes; use "
                     "something shorter",
                     what, CONFIG_SECRET_MAX);
        return false;
    }
    if (!utf8_valid(value.ptr, value.len)) {
        faults_error(x->faults, at,
                     "what %s stands for is not UTF-8; encode it, for example "
                     "as base64",
                     what);
        return false;
    }
    s = add_segment(x->f, in, in_len, SEGMENT_REPLACED);
    json_escape(&x->f->text, value);
    s->out_len = x->f->text.len - s->out;
    return true;
}

static bool is_variable(const char *name)
{
    if (!*name || (*name >= '0' && *name <= '9'))
        return false;
    for (; *name; name++)
        if (!((*name >= 'a' && *name <= 'z') ||
              (*name >= 'A' && *name <= 'Z') ||
              (*name >= '0' && *name <= '9') || *name == '_'))
            return false;
    return true;
}

static bool expand_variable(struct expand *x, size_t in, size_t in_len,
                            const char *name)
{
    struct place at = source_place(x->f, in);
    const char *value;

    if (!is_variable(name)) {
        faults_error(x->faults, at,
                     "\"%.64s\" cannot be the name of a variable; write "
                     "${NAME} with letters, digits and _, ${file:PATH}, or "
                     "$${ where ${ itself is meant",
                     name);
        return false;
    }
    value = x->env->lookup(x->env->context, name);
    if (!value) {
        faults_error(x->faults, at,
                     "the variable %s is not set; set it in the environment, "
                     "or write $${%s} where the text itself is meant",
                     name, name);
        return false;
    }
    return put_value(x, in, in_len, name, mf_cstr(value));
}

static bool expand_secret(struct expand *x, size_t in, size_t in_len,
                          const char *path)
{
    char *full = *path == '/' ? xstrdup(path)
                              : xasprintf("%s/%s", x->f->dir, path);
    char *value = NULL;
    size_t len = 0;
    struct err e;
    bool done = false;

    if (!*path) {
        faults_error(x->faults, source_place(x->f, in),
                     "${file:} names no file; write ${file:PATH}");
    } else if (io_read_file(AT_FDCWD, full, CONFIG_SECRET_MAX, &value, &len,
                            &e) != 0) {
        faults_error(x->faults, source_place(x->f, in),
                     "%s; correct the path, or let this user read the file",
                     e.text);
    } else {
        size_t kept = len;

        if (kept > 0 && value[kept - 1] == '\n')
            kept--;
        if (kept < len && kept > 0 && value[kept - 1] == '\r')
            kept--;
        done = put_value(x, in, in_len, "the file", (mf_str){ value, kept });
        explicit_bzero(value, len);
    }
    free(value);
    free(full);
    return done;
}

/* The ${ at `at`, inside a string that ends at `end`. Returns where it ends. */
static size_t expand_one(struct expand *x, size_t at, size_t end)
{
    const char *s = x->f->source, *close = memchr(s + at, '}', end - at);
    struct arena names;
    size_t in_len;
    mf_str name;
    char *text;
    bool done;

    if (!close) {
        faults_error(x->faults, source_place(x->f, at),
                     "this ${ is never closed; add the missing }, or write "
                     "$${ where ${ itself is meant");
        put_broken(x, at, end - at);
        return end;
    }
    in_len = (size_t)(close + 1 - s) - at;
    arena_init(&names, SIZE_MAX / 8);
    name = json_unescape((mf_str){ s + at + 2, in_len - 3 }, &names);
    text = xstrndup(name.ptr, name.len);
    if (str_starts(name, MF_STR("file:")))
        done = expand_secret(x, at, in_len, text + 5);
    else
        done = expand_variable(x, at, in_len, text);
    if (!done)
        put_broken(x, at, in_len);
    free(text);
    arena_deinit(&names);
    return at + in_len;
}

/* The content of a string value, from..to in the source. */
static void expand_string(struct expand *x, size_t from, size_t to)
{
    const char *s = x->f->source;
    size_t i = from;

    if (!memmem(s + from, to - from, "${", 2)) {
        copy(x, from, to);
        return;
    }
    while (i < to) {
        if (s[i] == '\\') {
            copy(x, i, i + 2);
            i += 2;
        } else if (to - i >= 3 && memcmp(s + i, "$${", 3) == 0) {
            struct segment *g = add_segment(x->f, i, 3, SEGMENT_ESCAPE);

            copy(x, i + 1, i + 3);
            g->out_len = 2;
            i += 3;
        } else if (to - i >= 2 && s[i] == '$' && s[i + 1] == '{') {
            i = expand_one(x, i, to);
        } else {
            copy(x, i, i + 1);
            i++;
        }
    }
}

static bool is_key(const struct conf_file *f, size_t after)
{
    while (after < f->source_len && strchr(" \t\r\n", f->source[after]))
        after++;
    return after < f->source_len && f->source[after] == ':';
}

static int expand_all(struct expand *x)
{
    struct conf_file *f = x->f;
    size_t done = 0, i = 0;

    buf_init(&f->text, CONFIG_TEXT_MAX);
    while (i < f->source_len) {
        size_t end;

        if (f->source[i] != '"') {
            i++;
            continue;
        }
        end = string_end(f->source, i);
        if (!is_key(f, end + 1)) {
            copy(x, done, i + 1);
            expand_string(x, i + 1, end);
            done = end;
        }
        i = end + 1;
    }
    copy(x, done, f->source_len);
    if (!f->text.full)
        return 0;
    faults_error(x->faults, conf_file_whole(f),
                 "the file is longer than %u bytes after replacing ${}; "
                 "split it into conf.d",
                 CONFIG_TEXT_MAX);
    return -1;
}

/* ---- reading ---- */

static char *absolute_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    char here[4096], *dir, *full;

    if (!slash)
        dir = xstrdup("");
    else
        dir = xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (*dir == '/' || !getcwd(here, sizeof here))
        return dir;
    full = *dir ? xasprintf("%s/%s", strcmp(here, "/") ? here : "", dir)
                : xstrdup(here);
    free(dir);
    return full;
}

int conf_file_read(struct conf_file *f, const char *path,
                   const struct config_env *env, struct faults *faults)
{
    struct expand x = { f, env, faults };
    struct jsonc_fault bad;
    struct err e;
    size_t skip;
    mf_val root;

    f->path = xstrdup(path);
    f->dir = absolute_dir(path);
    if (io_read_file(AT_FDCWD, path, CONFIG_FILE_MAX, &f->source,
                     &f->source_len, &e) != 0) {
        skip = str_starts(mf_cstr(e.text), mf_cstr(path)) ? strlen(path) + 1
                                                          : 0;
        faults_error(faults, conf_file_whole(f),
                     "%s; name a file that this user can read",
                     e.text + skip);
        return -1;
    }
    find_lines(f);
    if (jsonc_read(f->source, f->source_len, &bad) != 0) {
        faults_error(faults, source_place(f, bad.offset), "%s", bad.text);
        return -1;
    }
    root = json_root((mf_str){ f->source, f->source_len });
    if (root.type != MF_OBJECT) {
        faults_error(faults,
                     source_place(f, (size_t)(root.raw - f->source)),
                     "the configuration must be one object; write { ... }");
        return -1;
    }
    check_keys(f, root, faults);
    return expand_all(&x);
}

void conf_file_deinit(struct conf_file *f)
{
    if (f->source)
        explicit_bzero(f->source, f->source_len);
    if (f->text.data)
        explicit_bzero(f->text.data, f->text.len);
    free(f->path);
    free(f->dir);
    free(f->source);
    buf_deinit(&f->text);
    free(f->segments);
    free(f->lines);
    memset(f, 0, sizeof *f);
}

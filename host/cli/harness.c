/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.c - see harness.h.
 *
 * A native plugin's payloads are compared, if the case expects any; where it
 * has `responses`, deliver() is run and its requests are compared as those of
 * others are; where it expects `files`, with ${TMP} in the case standing for
 * an empty directory, and the files left there are what came out. */
#include "cli/harness.h"

#include "cli/expect.h"

#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CASE_ARENA_BYTES (256u << 20)
#define FILES_MAX        1000

struct harness {
    struct plugin *plugin;
    const char *cases;
    size_t from, at;
    int fd;
    char tmp[64]; /* "" until a case wants it */
    bool *covered;
};

static const char *const case_members[] = {
    "what", "id", "kind", "action", "settings", "auth", "oauth", "mapping",
    "event", "events", "features", "subscriptionMetadata", "now", "responses",
    "source",
    "expect", "skip", NULL
};
static const char *const expect_members[] = {
    "requests", "error", "results", "filtered", "payloads", "token", "files",
    NULL
};

/* ---- telling ---- */

static void send_line(struct harness *h, struct buf *b)
{
    buf_char(b, '\n');
    if (io_write_all(h->fd, b->data, b->len) != 0)
        _exit(1); /* nobody listens */
    buf_deinit(b);
}

static void tell(struct harness *h, const char *key, const char *text)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, CASE_BYTES_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, mf_cstr(key));
    if (text)
        json_str(&w, mf_cstr(text));
    else
        json_bool(&w, true);
    json_end_object(&w);
    send_line(h, &b);
}

static void tell_end(struct harness *h)
{
    const struct manifest *m = h->plugin->manifest;
    struct json_out w;
    size_t n = 0;
    struct buf b;

    for (size_t k = 0; k < m->action_count; k++)
        n += h->covered[k];
    buf_init(&b, CASE_BYTES_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kint(&w, "actions", (int64_t)m->action_count);
    json_kint(&w, "covered", (int64_t)n);
    json_kbool(&w, "done", true);
    json_end_object(&w);
    send_line(h, &b);
}

/* ---- files of native plugins ---- */

static void empty_tmp(struct harness *h)
{
    struct dirent *entry;
    DIR *d = opendir(h->tmp);

    while (d && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "files": {name: content} of what is in the directory. */
static void write_files(struct harness *h, struct json_out *w)
{
    char *names[FILES_MAX], *text;
    struct dirent *entry;
    struct err e;
    size_t n = 0, len;
    DIR *d = opendir(h->tmp);

    json_key(w, MF_STR("files"));
    json_begin_object(w);
    while (d && n < FILES_MAX && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[n++] = xstrdup(entry->d_name);
    qsort(names, n, sizeof *names, by_name);
    for (size_t k = 0; k < n; k++) {
        if (io_read_file(dirfd(d), names[k], CASE_BYTES_MAX, &text, &len,
                         &e) == 0) {
            json_key(w, mf_cstr(names[k]));
            json_str(w, (mf_str){ text, len });
            free(text);
        }
        free(names[k]);
    }
    if (d)
        closedir(d);
    json_end_object(w);
}

static bool wants_files(mf_val input)
{
    return json_get(json_get(input, MF_STR("expect")), MF_STR("files")).type ==
           MF_OBJECT;
}

/* The case with every ${TMP} replaced. */
static mf_val with_tmp(struct harness *h, mf_val input, struct arena *a)
{
    static const char word[] = "${TMP}";
    const char *at = input.raw, *end = at + input.len, *hit;
    struct buf b;
    mf_str text;

    if (!memmem(at, input.len, word, sizeof word - 1))
        return input;
    if (!h->tmp[0]) {
        const char *base = getenv("TMPDIR");

        snprintf(h->tmp, sizeof h->tmp, "%.40s/manifold-XXXXXX",
                 base ? base : "/tmp");
        if (!mkdtemp(h->tmp))
            h->tmp[0] = 0;
    }
    buf_init(&b, CASE_BYTES_MAX);
    for (; at < end; at = hit + sizeof word - 1) {
        hit = memmem(at, (size_t)(end - at), word, sizeof word - 1);
        buf_add(&b, at, (size_t)((hit ? hit : end) - at));
        if (!hit)
            break;
        buf_puts(&b, h->tmp);
    }
    text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return json_root(text);
}

/* ---- one case ---- */

static const char *play(struct harness *h, mf_val input, struct buf *out)
{
    struct case_options o = { .fixed = true, .deliver = wants_files(input) };
    const char *fault = NULL;
    struct json_out w;

    buf_clear(out);
    json_out_init(&w, out);
    if (h->tmp[0])
        empty_tmp(h);
    case_run(h->plugin, input, &o, &w, &fault);
    if (!o.deliver || out->len == 0)
        return fault;
    out->data[out->len - 1] = ','; /* instead of the closing brace */
    json_out_init(&w, out);
    write_files(h, &w);
    buf_char(out, '}');
    return fault;
}

static void tell_diff(struct harness *h, const struct diff *d)
{
    char text[4 * DIFF_TEXT_MAX];

    if (d->why[0])
        snprintf(text, sizeof text, "%s: %s", d->path, d->why);
    else
        snprintf(text, sizeof text, "%s\n  want %s\n  got  %s", d->path,
                 d->want, d->got);
    tell(h, "failure", text);
}

/* A fault in how the case is written. */
static const char *case_fault(mf_val input, struct arena *a)
{
    mf_val expect = json_get(input, MF_STR("expect"));
    mf_str odd = expect_unknown(input, case_members, a);

    if (odd.len)
        return arena_printf(a, "a case has no member `%.*s`", (int)odd.len,
                            odd.ptr).ptr;
    if (expect.type != MF_OBJECT)
        return "the case has no `expect`";
    odd = expect_unknown(expect, expect_members, a);
    if (odd.len)
        return arena_printf(a, "`expect` has no member `%.*s`", (int)odd.len,
                            odd.ptr).ptr;
    return NULL;
}

static void judge_case(struct harness *h, mf_val input, struct arena *a)
{
    struct buf first, second;
    const char *fault;
    struct diff d;

    buf_init(&first, 4ull * CASE_BYTES_MAX);
    buf_init(&second, 4ull * CASE_BYTES_MAX);
    fault = play(h, input, &first);
    play(h, input, &second);
    if (fault)
        tell(h, "failure", fault);
    else if (first.full || json_check(buf_view(&first), JSON_DEPTH_MAX,
                                      NULL) != 0)
        tell(h, "failure", "what came out is no JSON");
    else if (!expect_holds(json_get(input, MF_STR("expect")),
                           json_root(buf_view(&first)), a, &d))
        tell_diff(h, &d);
    else if (!mf_eq(buf_view(&first), buf_view(&second)))
        tell(h, "failure", "the second run came out otherwise: the plugin "
                           "keeps something between calls");
    else
        tell(h, "passed", NULL);
    buf_deinit(&first);
    buf_deinit(&second);
}

static void cover(struct harness *h, mf_val input, struct arena *a)
{
    const struct manifest *m = h->plugin->manifest;
    mf_str action = json_text(json_get(input, MF_STR("action")), a);

    for (size_t k = 0; k < m->action_count; k++)
        if (mf_eq(action, mf_cstr(m->actions[k].slug)))
            h->covered[k] = true;
}

static void one_case(struct harness *h, const char *file, mf_val input)
{
    mf_str what;
    struct arena a;
    const char *fault;

    arena_init(&a, CASE_ARENA_BYTES);
    cover(h, input, &a);
    if (h->at++ < h->from)
        goto out;
    what = json_text(json_get(input, MF_STR("what")), &a);
    what = arena_printf(&a, "%s: %.*s", file,
                        what.len ? (int)what.len : 14,
                        what.len ? what.ptr : "(without what)");
    tell(h, "begin", what.ptr);
    fault = case_fault(input, &a);
    if (fault)
        tell(h, "failure", fault);
    else if (json_get(input, MF_STR("skip")).type == MF_STRING)
        tell(h, "skipped", NULL);
    else
        judge_case(h, with_tmp(h, input, &a), &a);
out:
    arena_deinit(&a);
}

static void one_file(struct harness *h, int dir, const char *name)
{
    mf_iter it = { { 0 } };
    struct json_fault f;
    unsigned line, column;
    struct err e;
    char *text, *told;
    size_t len;
    mf_str key;
    mf_val v, root;

    if (io_read_file(dir, name, CASE_BYTES_MAX, &text, &len, &e) != 0) {
        tell(h, "failure", e.text);
        return;
    }
    if (json_check((mf_str){ text, len }, JSON_DEPTH_MAX, &f) != 0) {
        json_place((mf_str){ text, len }, f.offset, &line, &column);
        told = xasprintf("%s:%u:%u: %s", name, line, column, f.what);
        if (h->at >= h->from)
            tell(h, "failure", told);
        free(told);
    } else {
        root = json_root((mf_str){ text, len });
        if (root.type == MF_OBJECT)
            one_case(h, name, root);
        while (root.type == MF_ARRAY && json_next(root, &it, &key, &v))
            one_case(h, name, v);
    }
    free(text);
}

static void all_files(struct harness *h)
{
    char *names[CASE_FILES_MAX];
    struct dirent *entry;
    DIR *d = opendir(h->cases);
    size_t n = 0;

    while (d && n < CASE_FILES_MAX && (entry = readdir(d)))
        if (str_ends(mf_cstr(entry->d_name), MF_STR(".json")))
            names[n++] = xstrdup(entry->d_name);
    qsort(names, n, sizeof *names, by_name);
    for (size_t k = 0; k < n; k++) {
        one_file(h, dirfd(d), names[k]);
        free(names[k]);
    }
    if (d)
        closedir(d);
    if (h->at == 0)
        tell(h, "failure", "there are no cases");
}

void harness_child(const char *so, const char *cases, size_t from, int fd)
{
    struct harness h = { .cases = cases, .from = from, .fd = fd };
    struct err e = { "" };

    h.plugin = plugin_open(so, &e);
    if (!h.plugin) {
        tell(&h, "failure", e.text);
        tell(&h, "done", NULL);
        return;
    }
    h.covered = xcalloc(h.plugin->manifest->action_count + 1,
                        sizeof *h.covered);
    all_files(&h);
    tell_end(&h);
    if (h.tmp[0]) {
        empty_tmp(&h);
        rmdir(h.tmp);
    }
    free(h.covered);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c - `manifold map`: what a plugin would send, without sending it.
 *
 * One JSON object a line in, one a line out, in the same order. A line that
 * is no JSON is answered like any other, with an error, and the next one is
 * read. */
#include "cli/cases.h"
#include "cli/commands.h"
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 65536

struct lines {
    struct buf held;
    size_t from; /* of the next line in held */
    bool eof, too_long;
};

static const char usage[] =
    "usage: manifold map --plugin FILE [--fixed]\n"
    "\n"
    "Reads one JSON object a line from standard input and writes, a line\n"
    "each, the requests the plugin would make. Nothing is sent.\n"
    "\n"
    "  --plugin FILE  the plugin's .so\n"
    "  --fixed        clock, chance and UUIDs of the input, not of the day\n";

/* One line without its end; false at the end of input. A line that is longer
 * than CASE_BYTES_MAX is read to its end and given as "". */
static bool next_line(struct lines *in, mf_str *line)
{
    ssize_t got;
    char *room, *end;
    size_t scanned = in->from;

    for (;;) {
        end = in->held.len > scanned
                  ? memchr(in->held.data + scanned, '\n',
                           in->held.len - scanned)
                  : NULL;
        if (end || (in->eof && in->held.len > in->from))
            break;
        if (in->eof)
            return false;
        scanned = in->held.len;
        room = buf_room(&in->held, READ_BYTES);
        if (!room && in->from) {
            buf_drop(&in->held, in->from);
            scanned -= in->from;
            in->from = 0;
            continue;
        }
        if (!room) {
            in->too_long = true;
            buf_clear(&in->held);
            scanned = 0;
            continue;
        }
        got = read(STDIN_FILENO, room, READ_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        in->eof = got <= 0;
        if (got > 0)
            in->held.len += (size_t)got;
    }
    if (!end)
        end = in->held.data + in->held.len;
    *line = (mf_str){ in->held.data + in->from,
                      (size_t)(end - in->held.data) - in->from };
    in->from += line->len + (end < in->held.data + in->held.len);
    if (in->too_long)
        line->len = 0;
    return true;
}

static void refuse(struct json_out *w, const char *what, size_t offset)
{
    char text[256];

    snprintf(text, sizeof text, "byte %zu: %s", offset + 1, what);
    json_begin_object(w);
    json_key(w, MF_STR("id"));
    json_null(w);
    json_key(w, MF_STR("requests"));
    json_begin_array(w);
    json_end_array(w);
    json_key(w, MF_STR("error"));
    json_begin_object(w);
    json_kint(w, "status", 400);
    json_kstr(w, "message", mf_cstr(text));
    json_end_object(w);
    json_end_object(w);
}

static void one_line(struct plugin *p, mf_str line, bool too_long,
                     const struct case_options *o, struct buf *out)
{
    struct json_fault f = { 0, "" };
    const char *fault = NULL;
    struct json_out w;
    mf_val v;

    json_out_init(&w, out);
    if (too_long) {
        refuse(&w, "the line is longer than 64 MiB", CASE_BYTES_MAX);
        return;
    }
    if (json_check(line, JSON_DEPTH_MAX, &f) < 0) {
        refuse(&w, f.what, f.offset);
        return;
    }
    v = json_root(line);
    if (v.type != MF_OBJECT)
        refuse(&w, "an object was expected", 0);
    else
        case_run(p, v, o, &w, &fault);
    if (fault)
        fprintf(stderr, "manifold map: %s: %s\n", p->manifest->slug, fault);
}

static bool is_blank(mf_str s)
{
    for (size_t k = 0; k < s.len; k++)
        if (!strchr(" \t\r", s.ptr[k]))
            return false;
    return true;
}

static int map_lines(struct plugin *p, const struct case_options *o)
{
    struct lines in = { .eof = false };
    struct buf out;
    mf_str line;
    int rc = 0;

    buf_init(&in.held, CASE_BYTES_MAX + READ_BYTES);
    buf_init(&out, 4ull * CASE_BYTES_MAX);
    while (next_line(&in, &line)) {
        if (is_blank(line) && !in.too_long)
            continue;
        buf_clear(&out);
        one_line(p, line, in.too_long, o, &out);
        in.too_long = false;
        buf_char(&out, '\n');
        if (fwrite(out.data, 1, out.len, stdout) != out.len ||
            fflush(stdout) != 0) {
            fprintf(stderr, "manifold map: cannot write: %s\n",
                    strerror(errno));
            rc = 1;
            break;
        }
    }
    buf_deinit(&in.held);
    buf_deinit(&out);
    return rc;
}

int cmd_map(int argc, char **argv)
{
    static const struct option options[] = {
        { "plugin", 1, NULL, 'p' }, { "fixed", 0, NULL, 'f' }, OPTION_JSON,
        OPTION_HELP
    };
    struct case_options o = { .fixed = false };
    const char *file = NULL;
    struct plugin *p;
    struct err e = { "" };
    int rc, c;

    while ((c = option_next(argc, argv, "", options, usage)) != -1) {
        if (c == 'p')
            file = optarg;
        o.fixed |= c == 'f';
    }
    if (operands_check(argc, 0, 0, usage) != EXIT_OK)
        return EXIT_USAGE;
    if (!file)
        return usage_error(usage, "map: --plugin FILE is missing");
    p = plugin_open(file, &e);
    if (!p) {
        fprintf(stderr, "manifold map: %s\n", e.text);
        return 1;
    }
    rc = map_lines(p, &o);
    plugin_free(p);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * conf_file.h - one file of the configuration: read, checked, expanded.
 *
 * Two texts are kept. The source is the file with its comments blanked; the
 * text is the source with ${NAME}, ${file:PATH} and $${ replaced inside string
 * values, and is what everybody walks. Segments say where the two differ, so
 * that any byte of the text has an exact place in the file. */
#ifndef CONFIG_CONF_FILE_H
#define CONFIG_CONF_FILE_H

#include "config/config.h"

enum segment_kind {
    SEGMENT_ESCAPE,   /* $${ became ${ */
    SEGMENT_REPLACED, /* a value stands here */
    SEGMENT_BROKEN    /* it could not be replaced and stands as it was */
};

struct segment {
    size_t out, out_len; /* in the text */
    size_t in, in_len;   /* in the source */
    enum segment_kind kind;
    bool plain; /* what it stands for need not be kept secret */
};

struct conf_file {
    char *path; /* owned; as messages show it */
    char *dir;  /* owned; absolute: what relative paths count from */
    char *source;
    size_t source_len;
    struct buf text;
    struct segment *segments; /* owned; in order, apart from each other */
    size_t segment_count, segment_room;
    size_t *lines; /* owned; offset of each line's first byte */
    size_t line_count;
};

/* Reads path into a file that is all zero. 0, or -1 when there is nothing to
 * walk: not readable, not JSON, not an object. Faults inside the JSON (keys
 * that stand twice, ${} that cannot be replaced) are told but leave 0. */
int conf_file_read(struct conf_file *f, const char *path,
                   const struct config_env *env, struct faults *faults);
void conf_file_deinit(struct conf_file *f); /* wipes */

static inline bool conf_file_holds(const struct conf_file *f, const char *at)
{
    return f->text.data && at >= f->text.data &&
           at < f->text.data + f->text.len;
}

/* The place of a byte of the text. */
struct place conf_file_place(const struct conf_file *f, const char *at);
struct place conf_file_whole(const struct conf_file *f);
/* The first segment that ends behind `at`: the next ones follow it. Returns
 * segment_count past the last. */
size_t conf_file_segment(const struct conf_file *f, const char *at);
/* A value as its author wrote it, that is without what ${} stands for; cut
 * to what fits. */
#define CONF_QUOTE 64
const char *conf_file_quote(const struct conf_file *f, mf_val v,
                            char out[CONF_QUOTE]);

#endif

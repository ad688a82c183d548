/* SPDX-License-Identifier: Apache-2.0
 *
 * store.h - the host's own copies of plugins, and what the operator has laid
 * into the plugins directory.
 *
 * The host never maps the operator's file: it may be overwritten at any time.
 * What was read and checked is kept under data_dir/plugins by its content, as
 * <slug>-<hash>.so, and workers map that. A copy never changes once it has
 * its name. */
#ifndef PLUGIN_STORE_H
#define PLUGIN_STORE_H

#include "base/err.h"
#include "plugin/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define STORE_KEEP        3    /* copies of a slug that pruning leaves */
#define STORE_COPIES_MAX  1000 /* of one slug; more are not looked at */
#define PLUGIN_FILES_MAX  1000 /* in the plugins directory */
#define PLUGIN_SLUG       65   /* with the NUL */
#define PLUGIN_FRESH_MS   2000

/* ---- copies ---- */

struct plugin_store;

/* data_dir/plugins, made if it is not there; what a crash left half-written is
 * removed. data_dir is an open directory and stays the caller's. NULL with *e
 * told. */
struct plugin_store *store_new(int data_dir, struct err *e);
void store_free(struct plugin_store *s); /* NULL is fine */

/* Puts the image's bytes there, durably; does nothing but note the time when
 * the same bytes are there already. */
int store_put(struct plugin_store *s, const struct image *image,
              const char *slug, struct err *e);
/* A descriptor to map the copy from, owned by the caller; -1 with *e told.
 * Where the directory is mounted noexec it is of a sealed memory file. */
int store_open(struct plugin_store *s, const char *slug, const char *hash,
               struct err *e);

struct store_copy {
    char hash[IMAGE_HASH_TEXT];
    int64_t put_ms; /* when it was last put */
    uint64_t bytes;
};

/* Copies of a slug, the one put last first; how many, or -1 with *e told. */
int store_list(struct plugin_store *s, const char *slug,
               struct store_copy out[], size_t max, struct err *e);
/* Removes all but the STORE_KEEP put last and those whose hash is in in_use
 * (ends in NULL; may be NULL). */
int store_prune(struct plugin_store *s, const char *slug,
                const char *const *in_use, struct err *e);

/* ---- the plugins directory ---- */

/* What a file looks like from outside: the same again means the same bytes. */
struct plugin_stamp {
    uint64_t device, inode, bytes;
    struct timespec modified, changed;
};

bool plugin_stamp_same(const struct plugin_stamp *a,
                       const struct plugin_stamp *b);

struct plugin_file {
    char slug[PLUGIN_SLUG]; /* from the file's name */
    char *path;             /* with the directory */
    char *refused;          /* why it is no plugin; NULL: it is one */
    bool fresh;             /* refused, but changed just now: perhaps it is
                               still being copied, look again */
    bool reread;            /* it was read this time, not known before */
    char hash[IMAGE_HASH_TEXT];
    uint32_t abi_major, abi_minor;
    char *manifest; /* text; NULL when refused */
    size_t manifest_len;
    struct plugin_stamp stamp;
};

struct plugin_files {
    struct plugin_file *list; /* by slug */
    size_t count;
};

/* Looks at every DIR/NAME.so. A file that has not changed since `before` (may
 * be NULL) is not read again. Good ones are put into the store, unless that is
 * NULL; one that cannot be is refused. -1 with *e told when the directory
 * itself cannot be read; then *out is empty. */
int plugins_scan(const char *dir, struct plugin_store *store,
                 const struct plugin_files *before, struct plugin_files *out,
                 struct err *e);
void plugins_free(struct plugin_files *f);
const struct plugin_file *plugins_find(const struct plugin_files *f,
                                       const char *slug);

#endif

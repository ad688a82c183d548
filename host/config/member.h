/* SPDX-License-Identifier: Apache-2.0
 *
 * member.h - objects of the configuration as tables of their members.
 *
 * A table says for each key what it holds, where that goes, its default, its
 * range and what it is for. Reading, defaults, faults, help and fingerprints
 * all come from the table; a kind of value is one row in member.c. */
#ifndef CONFIG_MEMBER_H
#define CONFIG_MEMBER_H

#include "config/conf_file.h"

#define MEMBERS_MAX 24   /* in one table */
#define ENTRIES_MAX 5000 /* sources, or destinations */
#define LIST_MAX    5000 /* elements of one array */

enum member_kind {
    KIND_TEXT,      /* const char * */
    KIND_NAME,      /* const char *; of a source, destination or plugin */
    KIND_WRITE_KEY, /* const char *; secret */
    KIND_TOKEN,     /* const char *; secret */
    KIND_PATH,      /* const char *, absolute */
    KIND_FILE,      /* the same; can be read */
    KIND_ORIGIN,    /* const char * */
    KIND_BOOL,      /* bool */
    KIND_INT,       /* int64_t */
    KIND_SECONDS,   /* int64_t, milliseconds; a number of seconds */
    KIND_DURATION,  /* int64_t, milliseconds */
    KIND_SIZE,      /* uint64_t, bytes */
    KIND_RATE,      /* double, a second */
    KIND_CHOICE,    /* int; more: the words */
    KIND_ADDRESS,   /* struct conf_address */
    KIND_ADDRESSES, /* struct conf_addresses */
    KIND_NAMES,     /* struct conf_texts */
    KIND_BROKERS,   /* struct conf_texts */
    KIND_TEXTS,     /* struct conf_texts */
    KIND_BLOCKS,    /* struct conf_texts; each is a block of addresses */
    KIND_FILTER,    /* mf_str: FQL_FILTER that compiles */
    KIND_SUBSCRIBE, /* mf_str: FQL_SUBSCRIPTION that compiles */
    KIND_JSON,      /* mf_val, an object */
    KIND_TEXT_MAP,  /* mf_val, an object of strings */
    KIND_MAPPING,   /* mf_val, an object that is a mapping */
    KIND_OBJECT,    /* a struct; more: its shape */
    KIND_OBJECTS,   /* struct member_list; more: the shape of each */
    KIND_ENTRIES    /* struct member_list; more: the shape of each by name */
};

/* How every list of a struct config begins: { pointer, count }. */
struct member_list {
    void *list;
    size_t count;
};
/* What KIND_OBJECTS fills: the text too, for who reads it by other rules. */
struct member_objects {
    struct member_list objects;
    mf_val json;
};

struct member {
    const char *key;
    enum member_kind kind;
    size_t offset;
    const char *preset; /* the default as JSON; NULL: all zero */
    bool required;
    double min, max; /* of the number, or of the text's length; both 0: any */
    const void *more;
    const char *help;
};

struct shape {
    const char *what; /* "a source" */
    const struct member *members; /* the last has no key */
    size_t size;
};

/* Where a member's value came from, to be found by the member's address. */
struct member_place {
    const void *member;
    const char *at; /* in the text of a file */
};

struct config_private {
    struct arena arena;
    struct conf_file *files;
    size_t file_count;
    struct member_place *places;
    size_t place_count, place_room;
    bool sorted;
    struct conf_source **sources; /* by name */
    struct conf_destination **destinations;
    char sections[MEMBERS_MAX][CONFIG_PRINT]; /* as in the top table */
};

struct reader {
    struct config *c;
    struct conf_file *file; /* NULL while a default is read */
    struct faults *faults;
};

void member_note_place(struct config *c, const void *member, const char *at);
/* Once everything is read: from then on places are found by search. */
void member_sort_places(struct config *c);
/* A member that stands in a file, as its author wrote it. */
const char *member_quote(const struct config *c, const void *member,
                         char out[CONF_QUOTE]);
/* One object's members, as far as they stand in it. seen has MEMBERS_MAX
 * places, all NULL at first; an object in several files is read with several
 * calls that share it. */
void member_read(struct reader *r, const struct shape *s, mf_val object,
                 void *base, const char **seen);
/* Defaults for the rest, and a fault for each that is required. at: the
 * object they are missing from. */
void member_finish(struct reader *r, const struct shape *s, const char *at,
                   void *base, const char **seen);
/* A member, or all of an object, as JSON that depends on nothing but what is
 * configured: keys in the table's order, durations in milliseconds. */
void member_write(struct json_out *w, const struct member *m,
                  const void *base);
void member_write_all(struct json_out *w, const struct shape *s,
                      const void *base);
/* {key, type, default, required, help} of each member and those below. */
void member_describe(struct json_out *w, const struct shape *s,
                     const char *prefix);

/* JSON with the keys of its objects in order and one way to write each text.
 * Numbers keep their digits. */
void canon_write(struct json_out *w, mf_val v);
/* 128 bits of SHA-256 in hex. */
void canon_print(mf_str bytes, char out[CONFIG_PRINT]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * kit.h - what the files of the mapping-kit share; outside it only the paths
 * that a plugin names are read with it (plugin/payload.c).
 *
 * members.c  objects as JavaScript has them: equal keys once, indices first
 * js.c       String(), JSON.stringify(), truth
 * path.c     get(), and the trie that reads many paths in one pass
 * template.c {{...}}
 * flatten.c  @flatten
 * check.c    what is wrong with a mapping before any event is seen
 * compile.c  from JSON to nodes
 * eval.c     from nodes and an event to a payload
 * directive.c  each directive: its options compiled, what it does
 * keys.c     which members of the event a mapping names
 * liquid*.c  @liquid */
#ifndef MAPPING_KIT_H
#define MAPPING_KIT_H

#include "mapping/mapping.h"

#define ABSENT ((mf_val){ NULL, 0, MF_ABSENT })

/* ---- text that grows inside an arena, up to the arena's soft limit ---- */

/* b never uses the heap. Past the limit nothing is stored any more and the
 * arena's `overflowed` is set, which whoever owns the event looks at. */
struct out {
    struct buf b;
    struct arena *a;
};

void out_init(struct out *o, struct arena *a, size_t first);
bool out_grow(struct out *o, size_t n);
static inline bool out_need(struct out *o, size_t n)
{
    return o->b.cap - o->b.len >= n || out_grow(o, n);
}
static inline void out_add(struct out *o, const char *p, size_t n)
{
    if (n && out_need(o, n)) {
        memcpy(o->b.data + o->b.len, p, n);
        o->b.len += n;
    }
}
static inline void out_char(struct out *o, char c)
{
    if (out_need(o, 1))
        o->b.data[o->b.len++] = c;
}
void out_escaped(struct out *o, mf_str s); /* no quotes */
static inline mf_str out_str(const struct out *o)
{
    return (mf_str){ o->b.data, o->b.len };
}

/* ---- members of an object ---- */

#define INDEX_NONE UINT32_MAX

struct member {
    mf_str key; /* raw, in its shortest escaping */
    mf_val value;
    uint32_t index; /* what the key is as an array index, or INDEX_NONE */
};

struct members {
    struct arena *a;
    struct member *list;
    uint32_t count, cap;
    uint32_t *table; /* of list places + 1, once there are many */
    uint32_t mask;
    bool indices;
};

/* Past the arena's soft limit no more members are kept and `overflowed` is
 * set. */
void members_init(struct members *m, struct arena *a);
/* The value of an equal key is replaced where it stands. */
void members_set(struct members *m, mf_str raw_key, mf_val value);
void members_of(struct members *m, struct arena *a, mf_val object);
/* Object.assign(m, v): members, elements by index, characters of a text. */
void members_spread(struct members *m, mf_val v);
struct member *members_find(struct members *m, mf_str raw_key);
/* Indices first and rising, as JavaScript orders keys. Call it last. */
void members_order(struct members *m);
/* {"k":v,...} without those that are MF_ABSENT. */
mf_val members_object(struct members *m);
uint32_t array_index(mf_str key); /* "0", "17"; else INDEX_NONE */

/* ---- values ---- */

mf_val text_val(struct arena *a, mf_str s); /* a JSON string */
mf_val out_val(const struct out *o);        /* of complete JSON */
bool js_space(uint32_t c); /* what trim() and \s take for white space */
const char *type_name(mf_val v);            /* realTypeOf() */
void js_number(struct out *o, mf_val v);    /* as String() prints it */
/* String(v); escaped: as it would stand between the quotes of JSON. */
void js_string_to(struct out *o, mf_val v, bool escaped);
void js_stringify_to(struct out *o, mf_val v);

/* ---- paths ---- */

/* The next segment of *path, which moves on; quotes are removed. False past
 * the last one. */
bool path_segment(mf_str *path, mf_str *segment, struct arena *a);
/* path without its first "$.". */
mf_str path_plain(mf_str path, struct arena *a);
/* One step of get(): v itself when it is falsy. */
mf_val path_step(mf_val v, mf_str key, struct arena *a);

struct trie_node {
    mf_str key;
    uint32_t index;       /* the key as an array index */
    uint32_t first, next; /* children; 0 ends, since 0 is the root */
    uint32_t children;
    uint32_t reach;       /* children up to this index, plus one */
    uint32_t buckets;     /* where its part of trie.buckets starts */
    uint32_t mask;
    bool length;          /* has a child "length" */
};

/* Paths over one kind of root. A path's number is its node's: slots[0] is the
 * root itself. */
struct trie {
    struct trie_node *nodes;
    uint32_t count, cap;
    uint32_t *buckets;  /* first child of a hash */
    uint32_t *chain;    /* by node: next child of the same hash */
    bool whole;         /* some path is the root itself */
};

void trie_init(struct trie *t, struct arena *a);
uint32_t trie_add(struct trie *t, mf_str path, struct arena *a);
void trie_seal(struct trie *t, struct arena *a);
/* slots has t->count places, all MF_ABSENT. */
void trie_read(const struct trie *t, mf_val root, mf_val *slots,
               struct arena *a);
void trie_read_part(const struct trie *t, mf_str name, mf_val value,
                    mf_val *slots, struct arena *a);

/* ---- templates ---- */

#define SLOT_NONE UINT32_MAX

struct piece {
    mf_str text;   /* escaped for JSON; before the slot */
    uint32_t slot; /* or SLOT_NONE */
    bool triple;   /* its value may hold placeholders itself */
};

struct template {
    struct piece *pieces;
    uint32_t count;
    mf_str text;  /* as written, for when a value brings braces along */
    bool dynamic; /* cannot be taken apart beforehand */
};

void template_compile(struct template *t, mf_str text, struct trie *paths,
                      struct arena *a);

/* ---- compiled mappings ---- */

struct node;
struct eval;
struct frame;
struct compiling;

/* What a directive does to the event at hand; rule is what its compiler made
 * of its options. */
typedef mf_val directive_run(struct eval *c, const struct frame *f,
                             const void *rule);

enum node_kind {
    N_RAW,
    N_OBJECT,
    N_ARRAY,
    N_PATH,
    N_TEMPLATE,
    N_DIRECTIVE,
    N_NOTHING, /* undefined */
    N_THROW    /* what the original throws when it gets here */
};

struct field {
    mf_str head; /* ,"key": */
    struct node *value;
};

struct node {
    enum node_kind kind;
    union {
        mf_val raw;
        struct {
            struct field *list;
            uint32_t count;
        } fields;
        struct {
            struct node **list;
            uint32_t count;
        } items;
        uint32_t slot;
        struct template template;
        struct {
            directive_run *run;
            const void *rule;
            bool merges; /* it is @merge, which another one looks into */
        } directive;
        mf_str message;
    } u;
};

struct mapping {
    struct arena a;
    struct node *root;
    struct trie paths;
    size_t constants; /* bytes of the payload known beforehand, about */
    mf_str sync_mode, matching_key;
};

struct compiling {
    struct mapping *m;
    struct arena *a;
    struct trie *paths; /* of the payload that is read at this place */
    uint32_t nodes;
    bool too_many;
};

struct node *compile_value(struct compiling *c, mf_val v);
/* The object is a directive: it has this @key. */
struct node *compile_directive(struct compiling *c, mf_str name, mf_val value);
struct node *node_new(struct compiling *c, enum node_kind kind);
struct node *node_throw(struct compiling *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct node *node_path(struct compiling *c, mf_str path);
/* A member of an object with plain keys; the last of equal ones. */
mf_val option(mf_val object, const char *name);
/* Faults of a mapping as one text, NULL if it has none. The root directive
 * has then been given its members. */
const char *faults_text(mf_val *mapping, struct arena *a);

/* ---- evaluation ---- */

struct eval {
    struct arena *a;
    struct err *e;
    struct out out; /* what is being written */
    bool failed;
};

/* One payload that paths are read from. */
struct frame {
    const struct trie *paths;
    mf_val *slots;
    mf_val root; /* MF_ABSENT while there are only parts */
    const struct mapping_part *parts;
    unsigned count;
};

void frame_init(struct eval *c, struct frame *f, const struct trie *paths);
void frame_read(struct eval *c, struct frame *f, mf_val root);
mf_val frame_root(struct eval *c, const struct frame *f);
const char *frame_type(const struct frame *f);

mf_val value_of(struct eval *c, const struct frame *f, const struct node *n);
/* Appends to c->out; false if there was nothing (undefined). */
bool write_node(struct eval *c, const struct frame *f, const struct node *n);
/* False, having failed, once the event's share of memory is used up. */
bool eval_room(struct eval *c);
/* Always MF_ABSENT. */
mf_val eval_fail(struct eval *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- checking ---- */

#define ROOT_DIRECTIVE "__segment_internal_directive"

struct fault_list {
    mapping_fault_fn *tell;
    void *context;
    unsigned count;
};

/* Moves the other members of a mapping into its root directive, if it has
 * one. False after a fault. moved says where the bytes of the result came
 * from. */
struct moved {
    struct piece_of {
        const char *to, *from;
        size_t len;
    } *list;
    uint32_t count;
};
bool root_directive(mf_val json, mf_val *result, struct moved *moved,
                    struct arena *a, struct fault_list *f);
struct checking;
struct stack;
bool check_value(struct checking *c, mf_val v, const struct stack *at);
void check_mapping(mf_val v, struct arena *a, struct fault_list *f);

/* ---- liquid ---- */

struct liquid;
/* Both borrow text; the result is in the arena. */
struct liquid *liquid_parse(mf_str text, struct arena *a, struct err *e);
int liquid_run(const struct liquid *l, mf_val root, struct arena *a,
               mf_str *out, struct err *e);

/* The variables a template names, in order, each once. */
void liquid_keys(mf_str text, mapping_key_fn *tell, void *context);

#endif

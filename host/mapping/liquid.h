/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid.h - what the files of @liquid share.
 *
 * liquid.c         from text to nodes
 * liquid_expr.c    from text to expressions
 * liquid_value.c   what values are, equal, print as
 * liquid_run.c     from nodes to text
 * liquid_filter.c  filters on text and numbers, and the table of all
 * liquid_list.c    filters on lists
 * liquid_date.c    date filters
 * liquid_keys.c    which members of the event a template names
 *
 * The language is liquidjs 10 as Segment runs it: unknown filters and
 * variables are let pass, only own members are read, and what could loop or
 * reach outside (for, tablerow, include, render, layout, case, map, sort ...)
 * is disabled. So a template runs at most once through its nodes. */
#ifndef MAPPING_LIQUID_H
#define MAPPING_LIQUID_H

#include "mapping/kit.h"

#define LIQUID_LIST_MAX  10000 /* elements of a list a filter or range makes */
#define LIQUID_ARGS_MAX  8
#define LIQUID_DEPTH_MAX 32 /* tags and brackets inside another */

/* ---- values ---- */

enum lv_type {
    LV_UNDEFINED,
    LV_NULL,
    LV_BOOL,
    LV_NUMBER,
    LV_STRING,
    LV_ARRAY,
    LV_OBJECT,
    LV_NIL,   /* the words nil and null: equal to undefined and null */
    LV_EMPTY, /* the word empty */
    LV_BLANK  /* the word blank */
};

struct lv {
    enum lv_type type;
    union {
        bool truth;
        struct {
            double value;
            mf_str digits; /* as the event has it, or "" */
        } number;
        mf_str text;
        struct {
            const struct lv *list; /* NULL: elements are still json's */
            mf_val json;
            uint32_t count;
        } array;
        mf_val object;
    } u;
};

#define LV(type_) ((struct lv){ .type = (type_) })

/* ---- what is parsed ---- */

enum lx_kind { LX_VALUE, LX_NAME, LX_RANGE, LX_ACCESS };

/* A value as written. LX_NAME is one word of a path. */
struct lx {
    enum lx_kind kind;
    struct lv value;       /* of LX_VALUE; the text of LX_NAME */
    const struct lx *base; /* LX_ACCESS: or NULL; LX_RANGE: from */
    const struct lx *to;   /* LX_RANGE */
    const struct lx **path;
    uint32_t count;
};

enum l_operator {
    OP_NONE, /* an operand */
    OP_EQ, OP_NE, OP_GT, OP_LT, OP_GE, OP_LE, OP_CONTAINS,
    OP_NOT, OP_AND, OP_OR
};

struct l_step { /* of an expression in postfix order */
    enum l_operator op;
    const struct lx *operand;
};

struct l_argument {
    mf_str key; /* "" for one by place */
    const struct lx *value;
};

struct l_filter {
    mf_str name;
    struct l_argument args[LIQUID_ARGS_MAX];
    uint32_t count;
    struct l_filter *next;
};

struct l_value {
    struct l_step *steps;
    uint32_t count;
    struct l_filter *filters;
};

enum l_kind {
    LN_TEXT, LN_OUTPUT, LN_IF, LN_ASSIGN, LN_CAPTURE, LN_INCREMENT,
    LN_DECREMENT, LN_CYCLE, LN_STOP
};

struct l_branch {
    struct l_value when;
    bool negated, always;
    struct l_node *nodes;
    struct l_branch *next;
};

struct l_node {
    enum l_kind kind;
    size_t at; /* where it stands, for errors */
    mf_str text;            /* LN_TEXT; the name of a variable */
    struct l_value value;   /* LN_OUTPUT, LN_ASSIGN */
    struct l_branch *branches;
    struct l_node *inner;   /* LN_CAPTURE */
    const struct lx *group; /* LN_CYCLE */
    const struct lx **list;
    uint32_t count;
    struct l_node *next;
};

struct liquid {
    mf_str text;
    struct l_node *nodes;
};

/* ---- parsing expressions ---- */

struct l_parser {
    mf_str text; /* all of it, for places */
    struct arena *a;
    struct err *e;
    bool failed;
    unsigned depth;
};

/* One tag's or output's own text while it is read. */
struct l_scan {
    struct l_parser *p;
    size_t at, end; /* offsets in p->text */
};

/* Takes one token and what belongs to it; returns the place of the next node,
 * place itself if there was nothing to keep. */
struct stream;
struct l_node **l_read_node(struct stream *s, struct l_node **place);
/* "message, line:1, col:1". Keeps the first. */
void liquid_fault(struct l_parser *p, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void liquid_place(struct err *e, mf_str text, size_t at);
void l_skip_blank(struct l_scan *s);
mf_str l_identifier(struct l_scan *s);
bool l_quoted(struct l_scan *s, mf_str *text);
const struct lx *l_value_token(struct l_scan *s); /* NULL if there is none */
void l_filtered(struct l_scan *s, struct l_value *v);
bool l_read_to(struct l_scan *s, char c); /* past c */
int l_peek(const struct l_scan *s, size_t n); /* -1 past the end */

/* ---- running ---- */

struct l_variable {
    mf_str name;
    struct lv value;
    struct l_variable *next;
};

struct l_run {
    const struct liquid *l;
    mf_val root;
    struct arena *a;
    struct err *e;
    bool failed, stopped;
    unsigned steps;
    size_t at;                   /* of the node that runs */
    struct l_variable *assigned; /* before the event's */
    struct l_variable *counters; /* in place of the event's */
    struct l_variable *cycles;
};

void liquid_fail(struct l_run *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *liquid_alloc(struct l_run *r, size_t size); /* NULL and failed */
bool liquid_step(struct l_run *r);
struct lv lx_value(struct l_run *r, const struct lx *x);
struct lv l_evaluate(struct l_run *r, const struct l_value *v);
void liquid_nodes(struct l_run *r, const struct l_node *n, struct out *o);

struct lv lv_json(struct l_run *r, mf_val v);
struct lv lv_text(mf_str s);
struct lv lv_number(double v);
struct lv lv_bool(bool v);
/* A list to be filled, of count places; count 0 after a failure. */
struct lv lv_array(struct l_run *r, uint32_t count, struct lv **list);
/* Elements; one that is no array is a list of itself, nil an empty one. */
const struct lv *lv_list(struct l_run *r, const struct lv *v, uint32_t *count);
struct lv lv_member(struct l_run *r, struct lv v, struct lv key);
mf_str lv_string(struct l_run *r, struct lv v); /* as it is printed */
double lv_to_number(struct l_run *r, struct lv v); /* Number(v) */
double lv_or_zero(struct l_run *r, struct lv v);   /* NaN becomes 0 */
bool lv_truthy(struct lv v);
bool lv_nil(struct lv v);
bool lv_equal(struct l_run *r, struct lv x, struct lv y);
void lv_write_json(struct l_run *r, struct out *o, struct lv v);

/* ---- filters ---- */

struct l_call {
    struct l_run *r;
    struct lv args[LIQUID_ARGS_MAX];
    mf_str keys[LIQUID_ARGS_MAX];
    uint32_t count;
};

typedef struct lv l_filter_fn(struct l_call *c, struct lv v);

struct l_filter_entry {
    const char *name;
    l_filter_fn *run; /* NULL: disabled */
};

/* Argument i, or undefined. */
static inline struct lv l_arg(const struct l_call *c, uint32_t i)
{
    return i < c->count ? c->args[i] : LV(LV_UNDEFINED);
}

struct lv liquid_filter(struct l_call *c, mf_str name, struct lv v);
extern const struct l_filter_entry liquid_list_filters[];
extern const struct l_filter_entry liquid_date_filters[];

#endif

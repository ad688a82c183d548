/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_tree.c - a subscription as a tree of JSON, and as text again.
 *
 * Names, members and their order are Segment's, so that what their tools
 * store can be read and what ours show looks familiar. */
#include "mapping/fql_node.h"

#include "base/text.h"
#include "mapping/jsvalue.h"

#include <math.h>

/* ---- to JSON ---- */

static void write_value(const struct fql_node *n, struct json_out *w)
{
    if (n->value_type == MF_ABSENT)
        return;
    json_key(w, MF_STR("value"));
    if (n->value_type == MF_NUMBER && isfinite(n->number))
        json_num(w, n->number);
    else if (n->value_type == MF_BOOL)
        json_bool(w, n->number != 0);
    else
        json_str(w, n->text);
}

static void write_condition(const struct fql_node *n, struct json_out *w)
{
    json_begin_object(w);
    json_kstr(w, "type", mf_cstr(fql_type_names[n->root]));
    if (fql_root_has_path(n->root))
        json_kstr(w, "name", n->name);
    json_kstr(w, "operator", n->op == OP_UNKNOWN
                                 ? n->op_text
                                 : mf_cstr(fql_op_names[n->op]));
    write_value(n, w);
    json_end_object(w);
}

static void write_node(const struct fql *q, uint32_t at, struct json_out *w)
{
    const struct fql_node *n = &q->nodes[at];

    if (n->kind == NODE_CONDITION) {
        write_condition(n, w);
        return;
    }
    if (n->kind == NODE_FAULT) {
        json_null(w);
        return;
    }
    json_begin_object(w);
    json_kstr(w, "type", MF_STR("group"));
    json_kstr(w, "operator", n->kind == NODE_OR ? MF_STR("or") : MF_STR("and"));
    json_key(w, MF_STR("children"));
    json_begin_array(w);
    for (uint32_t i = at + 1; i < n->end; i = q->nodes[i].end)
        write_node(q, i, w);
    json_end_array(w);
    json_end_object(w);
}

void fql_write_tree(const struct fql *q, struct json_out *w)
{
    ASSERT(q->dialect == FQL_SUBSCRIPTION);
    write_node(q, 0, w);
}

/* ---- from JSON ---- */

struct reader {
    struct fql *q;
    struct arena *a;
    struct err *e;
};

static mf_str member(const struct reader *r, mf_val v, mf_str name)
{
    return json_text(json_get(v, name), r->a);
}

static void read_value(const struct reader *r, struct fql_node *n, mf_val v)
{
    char number[NUMBER_TEXT];

    n->value_type = v.type;
    if (v.type == MF_NUMBER) {
        n->number = json_number(v, 0);
        n->text = fql_put(r->q, (mf_str){ number,
                                          number_text(n->number, number) });
    } else if (v.type == MF_STRING) {
        n->text = fql_put(r->q, json_text(v, r->a));
        n->number = js_to_number(n->text);
    } else if (v.type == MF_BOOL) {
        n->text = fql_put(r->q, (mf_str){ v.raw, v.len });
        n->number = json_is_true(v);
    } else {
        n->value_type = MF_ABSENT;
        n->text = MF_STR("undefined");
        n->number = js_to_number(n->text);
    }
}

static int read_condition(const struct reader *r, mf_val v, mf_str type)
{
    mf_str op = member(r, v, MF_STR("operator"));
    struct fql_node *n;
    int root, i;

    for (root = 0; root < ROOT_NONE; root++)
        if (mf_eq(type, mf_cstr(fql_type_names[root])))
            break;
    if (root == ROOT_NONE)
        return err_set(r->e, "\"%.*s\" is no type of a condition",
                       (int)(type.len < 80 ? type.len : 80), type.ptr);
    for (i = 0; i < OP_UNKNOWN; i++)
        if (mf_eq(op, mf_cstr(fql_op_names[i])))
            break;
    n = fql_add(r->q, NODE_CONDITION);
    n->root = (enum fql_root)root;
    n->op = (enum fql_op)i;
    if (n->op == OP_UNKNOWN)
        n->op_text = fql_put(r->q, op);
    if (fql_root_has_path(n->root)) {
        n->name = fql_put(r->q, member(r, v, MF_STR("name")));
        fql_cut_path(r->q, n);
    }
    read_value(r, n, json_get(v, MF_STR("value")));
    return 0;
}

static int read_node(const struct reader *r, mf_val v, unsigned depth)
{
    mf_str type = member(r, v, MF_STR("type")), key;
    uint32_t at = r->q->node_count;
    mf_iter it = { { 0 } };
    mf_val child;

    if (v.type == MF_NULL) { /* as fql_write_tree() writes a group of none */
        fql_add(r->q, NODE_FAULT);
        return 0;
    }
    if (!mf_eq(type, MF_STR("group")))
        return read_condition(r, v, type);
    if (depth == FQL_DEPTH_MAX)
        return err_set(r->e, "groups are nested too deep");
    fql_add(r->q, mf_eq(member(r, v, MF_STR("operator")), MF_STR("or"))
                      ? NODE_OR
                      : NODE_AND);
    while (json_next(json_get(v, MF_STR("children")), &it, &key, &child))
        if (read_node(r, child, depth + 1) != 0)
            return -1;
    r->q->nodes[at].end = r->q->node_count;
    return 0;
}

struct fql *fql_from_tree(mf_val tree, struct err *e)
{
    struct arena a;
    struct reader r = { NULL, &a, e };

    if (json_get(tree, MF_STR("children")).type != MF_ARRAY) {
        err_set(e, "a group of conditions was expected");
        return NULL;
    }
    arena_init(&a, SIZE_MAX / 8);
    /* A number is written anew, and stands in no fewer bytes than
     * {"value":1}. */
    r.q = fql_new(FQL_SUBSCRIPTION, (size_t)tree.len * 4 + NUMBER_TEXT);
    if (read_node(&r, tree, 0) != 0) {
        fql_free(r.q);
        r.q = NULL;
    }
    arena_deinit(&a);
    return r.q;
}

/* ---- to text ---- */

static bool in_name(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (c & 0xC0) == 0x80;
}

/* A word with a backslash before what could not stand in it. */
static void put_word(mf_str word, struct buf *b)
{
    bool taken = mf_eq(word, MF_STR("and")) || mf_eq(word, MF_STR("or")) ||
                 mf_eq(word, MF_STR("null"));

    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        bool first = i == 0 && (taken || c == '-' || (c >= '0' && c <= '9'));

        if (first || !in_name(c))
            buf_char(b, '\\');
        buf_char(b, (char)c);
    }
}

/* Dots between two words stay; one with nothing beside it is escaped. */
static void put_name(const struct fql_node *n, struct buf *b)
{
    const char *p = n->name.ptr, *end, *dot;

    buf_puts(b, fql_root_names[n->root]);
    if (!fql_root_has_path(n->root))
        return;
    end = p + n->name.len;
    buf_puts(b, n->name.len && *p != '.' ? "." : "\\.");
    for (; p < end; p = dot + 1) {
        bool last;

        dot = memchr(p, '.', (size_t)(end - p));
        last = !dot;
        dot = last ? end : dot;
        put_word((mf_str){ p, (size_t)(dot - p) }, b);
        if (!last)
            buf_puts(b, dot == p || dot + 1 == end || dot[1] == '.' ? "\\."
                                                                   : ".");
    }
}

/* Strings know no escapes: with a quote inside, a value is a word. */
static void put_text(mf_str s, struct buf *b)
{
    if (s.len && memchr(s.ptr, '"', s.len)) {
        put_word(s, b);
        return;
    }
    buf_char(b, '"');
    buf_str(b, s);
    buf_char(b, '"');
}

static void put_call(const struct fql_node *n, struct buf *b)
{
    bool contains = n->op == OP_CONTAINS || n->op == OP_NOT_CONTAINS;
    bool plain = contains && n->value_type != MF_STRING;

    buf_puts(b, (n->op - OP_CONTAINS) % 2 == 1 ? "!" : "");
    buf_puts(b, contains ? "contains(" : "match(");
    put_name(n, b);
    buf_puts(b, plain ? ", " : ", \"");
    if (n->op == OP_ENDS || n->op == OP_NOT_ENDS)
        buf_char(b, '*');
    buf_str(b, n->text);
    if (n->op == OP_STARTS || n->op == OP_NOT_STARTS)
        buf_char(b, '*');
    buf_puts(b, plain ? ")" : "\")");
}

/* Digits and points alone, as numbers are written in a filter. */
static bool plain_number(mf_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(s.ptr[i] >= '0' && s.ptr[i] <= '9') && s.ptr[i] != '.' &&
            !(i == 0 && s.ptr[i] == '-'))
            return false;
    return s.len > 0;
}

static void put_numeric(const struct fql_node *n, struct buf *b)
{
    char digits[NUMBER_TEXT];
    mf_str number = { digits, number_text(n->number, digits) };
    bool plain = plain_number(number);

    if (plain && n->op == OP_NUMBER_EQ)
        buf_char(b, '=');
    else if (plain && n->op == OP_NUMBER_NE)
        buf_puts(b, "!=");
    else
        buf_puts(b, fql_op_names[n->op]);
    buf_char(b, ' ');
    if (plain)
        buf_str(b, number);
    else
        put_text(number, b);
}

static void put_comparison(const struct fql_node *n, struct buf *b)
{
    static const char *const fixed[] = { " != null", " = null", " = true",
                                         " = false" };
    bool named = n->root != ROOT_TYPE && n->root != ROOT_EVENT;

    put_name(n, b);
    if (n->op >= OP_EXISTS && n->op <= OP_IS_FALSE && named) {
        buf_puts(b, fixed[n->op - OP_EXISTS]);
        return;
    }
    buf_char(b, ' ');
    if ((n->op >= OP_LT && n->op <= OP_GE) || n->op == OP_NUMBER_EQ ||
        n->op == OP_NUMBER_NE) {
        put_numeric(n, b);
        return;
    }
    if (n->op == OP_UNKNOWN)
        put_word(n->op_text.len ? n->op_text : MF_STR("unknown"), b);
    else
        buf_puts(b, fql_op_names[n->op]);
    buf_char(b, ' ');
    if (n->value_type == MF_BOOL || (n->value_type == MF_NUMBER &&
                                     plain_number(n->text)))
        buf_str(b, n->text);
    else
        put_text(n->text, b);
}

/* Whether a condition can stand as contains(...) or match(...): the functions
 * know no `type` and no quotes in what they look for, and inside parentheses
 * the one that closes them would close the group as well. */
static bool is_call(const struct fql_node *n, bool closes_group)
{
    return n->op >= OP_CONTAINS && n->op <= OP_NOT_ENDS &&
           n->root != ROOT_TYPE && !closes_group &&
           !(n->text.len && memchr(n->text.ptr, '"', n->text.len));
}

static void put_node(const struct fql *q, uint32_t at, bool inner,
                     struct buf *b)
{
    const struct fql_node *n = &q->nodes[at];
    bool first = true;

    for (uint32_t i = at + 1; i < n->end; i = q->nodes[i].end) {
        const struct fql_node *child = &q->nodes[i];

        if (!first)
            buf_puts(b, n->kind == NODE_OR ? " or " : " and ");
        first = false;
        if (child->kind != NODE_CONDITION) {
            buf_char(b, '(');
            put_node(q, i, true, b);
            buf_char(b, ')');
        } else if (is_call(child, inner && child->end < n->end)) {
            put_call(child, b);
        } else {
            put_comparison(child, b);
        }
    }
}

void fql_write_text(const struct fql *q, struct buf *b)
{
    ASSERT(q->dialect == FQL_SUBSCRIPTION);
    put_node(q, q->nodes[0].end > 1 && q->nodes[1].kind != NODE_CONDITION &&
                        q->nodes[1].end == q->nodes[0].end
                    ? 1
                    : 0,
             false, b);
}

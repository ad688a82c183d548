/* SPDX-License-Identifier: Apache-2.0
 *
 * fql.c - what both dialects share, and the evaluation of subscriptions.
 *
 * A subscription is a list of conditions in preorder. An event is walked once
 * for its seven members that conditions can start from (fql_view); after that
 * a condition is a lookup and one comparison on the bytes of the event. */
#include "mapping/fql_node.h"

#include "base/text.h"
#include "base/unicase.h"
#include "mapping/jsvalue.h"
#include "mapping/mapping.h"

#include <stdlib.h>

const char *const fql_op_names[OP_UNKNOWN] = {
    "=", "!=", "<", "<=", ">", ">=",
    "contains", "not_contains", "starts_with", "not_starts_with",
    "ends_with", "not_ends_with", "exists", "not_exists",
    "is_true", "is_false", "number_equals", "number_not_equals",
};

const char *const fql_type_names[ROOT_NONE] = {
    "event-type", "event", "name", "userId",
    "event-property", "event-trait", "event-context",
};

const char *const fql_root_names[ROOT_NONE] = {
    "type", "event", "name", "userId", "properties", "traits", "context",
};

/* ---- building ---- */

enum fql_root fql_root_named(mf_str name)
{
    for (int i = 0; i < ROOT_NONE; i++)
        if (mf_eq(name, mf_cstr(fql_root_names[i])))
            return (enum fql_root)i;
    return ROOT_NONE;
}

bool fql_root_has_path(enum fql_root root)
{
    return root >= ROOT_PROPERTIES && root < ROOT_NONE;
}

struct fql *fql_new(enum fql_dialect dialect, size_t strings_room)
{
    struct fql *q = xcalloc(1, sizeof *q);

    q->dialect = dialect;
    q->strings = xmalloc(strings_room);
    q->strings_room = strings_room;
    return q;
}

mf_str fql_put(struct fql *q, mf_str text)
{
    char *to = q->strings + q->strings_len;

    ASSERT(text.len <= q->strings_room - q->strings_len);
    if (text.len)
        memcpy(to, text.ptr, text.len);
    q->strings_len += text.len;
    return (mf_str){ to, text.len };
}

void fql_cut_path(struct fql *q, struct fql_node *n)
{
    const char *p = n->name.ptr, *end = p + n->name.len;

    n->path = q->segment_count;
    while (p < end) {
        const char *from = p;

        while (p < end && *p != '[' && *p != '.' && *p != ']')
            p++;
        if (p > from) {
            if (q->segment_count == q->segment_room) {
                q->segment_room = q->segment_room * 2 + 4;
                q->segments = xrealloc(q->segments, q->segment_room *
                                                    sizeof *q->segments);
            }
            q->segments[q->segment_count++] =
                (mf_str){ from, (size_t)(p - from) };
        }
        p++;
    }
    n->path_len = q->segment_count - n->path;
}

struct fql_node *fql_add(struct fql *q, enum fql_kind kind)
{
    struct fql_node *n;

    if (q->node_count == q->node_room) {
        q->node_room = q->node_room * 2 + 4;
        q->nodes = xrealloc(q->nodes, q->node_room * sizeof *q->nodes);
    }
    n = &q->nodes[q->node_count++];
    memset(n, 0, sizeof *n);
    n->kind = kind;
    n->end = q->node_count;
    return n;
}

void fql_close_group(struct fql *q, uint32_t at)
{
    struct fql_node *group = &q->nodes[at];

    group->end = q->node_count;
    if (at + 1 == q->node_count || group[1].end != q->node_count)
        return;
    q->node_count--;
    memmove(group, group + 1, (q->node_count - at) * sizeof *group);
    for (uint32_t i = at; i < q->node_count; i++)
        q->nodes[i].end--;
}

/* ---- looking up ---- */

/* An array index as a property key: digits without a leading zero. */
static bool index_of(mf_str key, size_t *index)
{
    uint64_t v;

    if (key.len == 0 || key.len > 9 || (key.len > 1 && key.ptr[0] == '0') ||
        !parse_u64(key, &v))
        return false;
    *index = (size_t)v;
    return true;
}

mf_val fql_step(mf_val v, mf_str key, struct arena *scratch)
{
    size_t index;

    switch (v.type) {
    case MF_OBJECT:
        return json_get(v, key);
    case MF_ARRAY:
        if (index_of(key, &index))
            return json_at(v, index);
        if (mf_eq(key, MF_STR("length")))
            return json_from_int(scratch, (int64_t)json_count(v));
        break;
    case MF_STRING:
        if (mf_eq(key, MF_STR("length")))
            return json_from_int(scratch,
                                 (int64_t)utf16_length(fql_text(v, scratch)));
        break;
    }
    return (mf_val){ NULL, 0, MF_ABSENT };
}

mf_val fql_walk(mf_val v, const mf_str *segments, uint32_t count,
                struct arena *scratch)
{
    for (uint32_t i = 0; i < count && !js_falsy(v); i++)
        v = fql_step(v, segments[i], scratch);
    return v;
}

mf_str fql_text(mf_val v, struct arena *scratch)
{
    return json_text(v, scratch);
}

static enum fql_root root_of(mf_str key)
{
    static const char *const *const name = fql_root_names;

    switch (key.len) {
    case 4:
        if (memcmp(key.ptr, name[ROOT_TYPE], 4) == 0)
            return ROOT_TYPE;
        return memcmp(key.ptr, name[ROOT_NAME], 4) == 0 ? ROOT_NAME : ROOT_NONE;
    case 5:
        return memcmp(key.ptr, name[ROOT_EVENT], 5) == 0 ? ROOT_EVENT
                                                         : ROOT_NONE;
    case 6:
        if (memcmp(key.ptr, name[ROOT_USER_ID], 6) == 0)
            return ROOT_USER_ID;
        return memcmp(key.ptr, name[ROOT_TRAITS], 6) == 0 ? ROOT_TRAITS
                                                          : ROOT_NONE;
    case 7:
        return memcmp(key.ptr, name[ROOT_CONTEXT], 7) == 0 ? ROOT_CONTEXT
                                                           : ROOT_NONE;
    case 10:
        return memcmp(key.ptr, name[ROOT_PROPERTIES], 10) == 0
                   ? ROOT_PROPERTIES
                   : ROOT_NONE;
    }
    return ROOT_NONE;
}

void fql_view_init(struct fql_view *view, mf_val event)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    memset(view, 0, sizeof *view);
    view->event = event;
    if (event.type != MF_OBJECT)
        return;
    while (json_next(event, &it, &key, &v)) {
        enum fql_root root = root_of(key);

        if (root == ROOT_NONE && memchr(key.ptr, '\\', key.len))
            for (root = 0; root < ROOT_NONE; root++)
                if (json_key_is(key, mf_cstr(fql_root_names[root])))
                    break;
        if (root != ROOT_NONE)
            view->root[root] = v;
    }
}

/* ---- conditions ---- */

/* True if the string value v says text, without unescaping plain strings. */
static bool says(mf_val v, mf_str text, struct arena *scratch)
{
    mf_str raw;

    if (v.type != MF_STRING)
        return false;
    raw = (mf_str){ v.raw + 1, v.len - 2 };
    if (!memchr(raw.ptr, '\\', raw.len))
        return mf_eq(raw, text);
    return mf_eq(json_unescape(raw, scratch), text);
}

static bool compare(const struct fql_node *n, mf_val v)
{
    double d;

    if (v.type != MF_NUMBER)
        return false;
    d = json_number(v, 0);
    switch (n->op) {
    case OP_LT:
        return d < n->number;
    case OP_LE:
        return d <= n->number;
    case OP_GT:
        return d > n->number;
    case OP_GE:
        return d >= n->number;
    case OP_NUMBER_EQ:
        return d == n->number;
    default:
        return d != n->number;
    }
}

static bool string_test(const struct fql_node *n, mf_val v,
                        struct arena *scratch)
{
    mf_str s;

    if (v.type != MF_STRING)
        return false;
    s = fql_text(v, scratch);
    switch (n->op) {
    case OP_CONTAINS: case OP_NOT_CONTAINS:
        return (n->text.len == 0 ||
                memmem(s.ptr, s.len, n->text.ptr, n->text.len)) ==
               (n->op == OP_CONTAINS);
    case OP_STARTS: case OP_NOT_STARTS:
        return str_starts(s, n->text) == (n->op == OP_STARTS);
    default:
        return str_ends(s, n->text) == (n->op == OP_ENDS);
    }
}

static bool condition(const struct fql *q, const struct fql_node *n,
                      const struct fql_view *view, struct arena *scratch)
{
    mf_val v = view->root[n->root];

    if (n->path_len)
        v = fql_walk(v, q->segments + n->path, n->path_len, scratch);
    else if (fql_root_has_path(n->root))
        v = (mf_val){ NULL, 0, MF_ABSENT };
    switch (n->op) {
    case OP_EQ:
        return says(v, n->text, scratch);
    case OP_NE:
        return !says(v, n->text, scratch);
    case OP_EXISTS:
        return v.type != MF_ABSENT && v.type != MF_NULL;
    case OP_NOT_EXISTS:
        return v.type == MF_ABSENT || v.type == MF_NULL;
    case OP_IS_TRUE:
        return json_is_true(v);
    case OP_IS_FALSE:
        return v.type == MF_BOOL && !json_is_true(v);
    case OP_LT: case OP_LE: case OP_GT: case OP_GE:
    case OP_NUMBER_EQ: case OP_NUMBER_NE:
        return compare(n, v);
    case OP_UNKNOWN:
        return false;
    default:
        return string_test(n, v, scratch);
    }
}

/* Depth is bounded where trees are built. */
static enum fql_verdict node_eval(const struct fql *q, uint32_t at,
                                  const struct fql_view *view,
                                  struct arena *scratch)
{
    const struct fql_node *n = &q->nodes[at];
    bool any = n->kind == NODE_OR;

    if (n->kind == NODE_CONDITION)
        return condition(q, n, view, scratch) ? FQL_YES : FQL_NO;
    if (n->kind == NODE_FAULT)
        return FQL_FAULT;
    for (uint32_t i = at + 1; i < n->end; i = q->nodes[i].end) {
        enum fql_verdict v = node_eval(q, i, view, scratch);

        if (v == FQL_FAULT || (v == FQL_YES) == any)
            return v;
    }
    return any ? FQL_NO : FQL_YES;
}

/* ---- the interface ---- */

struct fql *fql_compile(mf_str text, enum fql_dialect dialect, struct err *e,
                        size_t *offset)
{
    size_t unwanted;
    struct fql *q;

    if (!offset)
        offset = &unwanted;
    *offset = 0;
    if (text.len > FQL_LENGTH_MAX) {
        *offset = FQL_LENGTH_MAX;
        err_set(e, "a filter may have %d bytes at most", FQL_LENGTH_MAX);
        return NULL;
    }
    if (dialect == FQL_SUBSCRIPTION)
        return fql_subscription(text, e, offset);
    q = fql_new(dialect, 1);
    q->filter = fql_filter_compile(text, e, offset);
    if (q->filter)
        return q;
    fql_free(q);
    return NULL;
}

void fql_free(struct fql *q)
{
    if (!q)
        return;
    fql_filter_free(q->filter);
    free(q->nodes);
    free(q->segments);
    free(q->strings);
    free(q);
}

enum fql_verdict fql_eval_view(const struct fql *q,
                               const struct fql_view *view,
                               struct arena *scratch)
{
    if (q->dialect == FQL_FILTER)
        return fql_filter_eval(q->filter, view, scratch);
    return node_eval(q, 0, view, scratch);
}

enum fql_verdict fql_eval(const struct fql *q, mf_val event,
                          struct arena *scratch)
{
    struct fql_view view;

    fql_view_init(&view, event);
    return fql_eval_view(q, &view, scratch);
}

bool fql_match(const struct fql *q, mf_val event, struct arena *scratch)
{
    return fql_eval(q, event, scratch) == FQL_YES;
}

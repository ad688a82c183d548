/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_subscription.c - reads a trigger as Segment's own parser reads it.
 *
 * That parser is lenient in ways workspaces have come to rely on: tokens it
 * does not know are skipped, one group has one operator (the last and/or
 * seen), parentheses nest once, the end of the text is a value named "eos",
 * and after a closing quote, "!", "<" or ">" its lexer looks for the end of a
 * word. All of that is kept here; none of it is in the filter dialect. */
#include "mapping/fql_node.h"

#include "base/text.h"
#include "mapping/jsvalue.h"

#include <stdlib.h>

enum token_type {
    T_IDENT, T_STRING, T_NUMBER, T_NULL, T_OPERATOR, T_CONDITIONAL,
    T_DOT, T_COMMA, T_PAREN_LEFT, T_PAREN_RIGHT, T_BRACKET, T_END
};

struct token {
    enum token_type type;
    mf_str value;  /* strings keep their quotes */
    size_t offset;
};

struct lexer {
    const char *text, *p, *end;
    const char *fault;  /* what is wrong at p */
    struct token *token;
    size_t count;
    char *scratch;      /* values of identifiers, unescaped and joined */
    size_t scratch_len;
};

/* ---- letters ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_ident(char c)
{
    return is_alpha(c) || is_digit(c) || c == '_' || c == '-' || c == '\\';
}

static bool ends_word(const struct lexer *l, const char *p)
{
    return p >= l->end || is_space(*p) || *p == ',' || *p == ']' || *p == ')';
}

/* ---- tokens ---- */

static bool lex_fault(struct lexer *l, const char *at, const char *what)
{
    l->p = at;
    l->fault = what;
    return false;
}

static bool push(struct lexer *l, enum token_type type, mf_str value,
                 const char *at)
{
    l->token[l->count++] =
        (struct token){ type, value, (size_t)(at - l->text) };
    return true;
}

/* Takes `rest` if it comes next and a word ends after it. Text that runs out
 * in the middle is used up all the same. */
static bool accept(struct lexer *l, const char *rest)
{
    size_t n = strlen(rest), have = (size_t)(l->end - l->p);

    for (size_t i = 0; i < n && i < have; i++)
        if (ends_word(l, l->p + i))
            return false;
    if (have < n) {
        l->p = l->end;
        return false;
    }
    if (memcmp(l->p, rest, n) != 0 || !ends_word(l, l->p + n))
        return false;
    l->p += n;
    return true;
}

static bool lex_string(struct lexer *l, const char *from)
{
    const char *close = memchr(l->p, *from, (size_t)(l->end - l->p));

    if (!close)
        return lex_fault(l, from, "this string does not end");
    l->p = close;
    if (ends_word(l, close + 1))
        l->p++;
    return push(l, T_STRING, (mf_str){ from, (size_t)(close + 1 - from) },
                from);
}

static bool lex_number(struct lexer *l, const char *from)
{
    bool point = false;

    while (l->p < l->end && (is_digit(*l->p) || *l->p == '.')) {
        if (*l->p == '.') {
            if (ends_word(l, l->p + 1))
                return lex_fault(l, l->p, "a digit must follow the point");
            if (point)
                return lex_fault(l, l->p, "a number has one point at most");
            point = true;
        }
        l->p++;
    }
    return push(l, T_NUMBER, (mf_str){ from, (size_t)(l->p - from) }, from);
}

static bool lex_ident(struct lexer *l, const char *from)
{
    char *start = l->scratch + l->scratch_len, *to = start;

    if (*from == '\\') /* the caller took one character */
        l->p = from;
    else
        *to++ = *from;
    while (l->p < l->end && is_ident(*l->p)) {
        if (*l->p == '\\') {
            const char *after = ++l->p;

            if (after == l->end)
                return lex_fault(l, after, "a character must follow \\");
            *to++ = *l->p++;
            while (l->p < l->end && ((unsigned char)*l->p & 0xC0) == 0x80)
                *to++ = *l->p++;
        } else {
            *to++ = *l->p++;
        }
    }
    if (!ends_word(l, l->p) && *l->p != '.' && *l->p != '(' && *l->p != '=' &&
        *l->p != '!')
        return lex_fault(l, l->p, "a name cannot go on with this");
    l->scratch_len += (size_t)(to - start) + 1; /* room for a dot */
    return push(l, T_IDENT, (mf_str){ start, (size_t)(to - start) }, from);
}

static bool lex_word(struct lexer *l, const char *from)
{
    if (*from == 'a' && accept(l, "nd"))
        return push(l, T_CONDITIONAL, MF_STR("and"), from);
    if (*from == 'o' && accept(l, "r"))
        return push(l, T_CONDITIONAL, MF_STR("or"), from);
    if (*from == 'n' && accept(l, "ull"))
        return push(l, T_NULL, MF_STR("null"), from);
    return lex_ident(l, from);
}

static bool lex_operator(struct lexer *l, const char *from)
{
    if (*from == '=')
        return push(l, T_OPERATOR, MF_STR("="), from);
    if (*from == '!') {
        if (l->p < l->end && (is_alpha(*l->p) || *l->p == '('))
            return push(l, T_OPERATOR, MF_STR("!"), from);
        if (accept(l, "="))
            return push(l, T_OPERATOR, MF_STR("!="), from);
        return lex_fault(l, from, "after ! comes = and a space, a name or (");
    }
    if (accept(l, "="))
        return push(l, T_OPERATOR,
                    *from == '<' ? MF_STR("<=") : MF_STR(">="), from);
    return push(l, T_OPERATOR, (mf_str){ from, 1 }, from);
}

static bool lex_one(struct lexer *l)
{
    static const struct {
        char c;
        enum token_type type;
    } single[] = {
        { '.', T_DOT },        { ',', T_COMMA },       { '(', T_PAREN_LEFT },
        { ')', T_PAREN_RIGHT }, { '[', T_BRACKET },     { ']', T_BRACKET },
    };
    const char *from = l->p++;

    if (is_alpha(*from) || *from == '_' || *from == '\\')
        return lex_word(l, from);
    if (*from == '!' || *from == '=' || *from == '<' || *from == '>')
        return lex_operator(l, from);
    if (is_digit(*from) || *from == '-' || *from == '+')
        return lex_number(l, from);
    if (*from == '"' || *from == '\'')
        return lex_string(l, from);
    for (size_t i = 0; i < COUNT_OF(single); i++)
        if (*from == single[i].c)
            return push(l, single[i].type, (mf_str){ from, 1 }, from);
    return lex_fault(l, from, "this character has no meaning here");
}

/* name . name becomes one name. Their texts stand side by side with a byte
 * between them, which takes the dot. */
static void join_names(struct lexer *l)
{
    size_t out = 0;

    for (size_t i = 0; i < l->count; i++) {
        struct token *last = out ? &l->token[out - 1] : NULL;

        if (!last || last->type != T_IDENT || l->token[i].type != T_DOT ||
            i + 1 >= l->count || l->token[i + 1].type != T_IDENT) {
            l->token[out++] = l->token[i];
            continue;
        }
        i++;
        l->scratch[last->value.ptr + last->value.len - l->scratch] = '.';
        last->value.len += 1 + l->token[i].value.len;
    }
    l->count = out;
}

/* ---- conditions ---- */

struct parser {
    struct fql *q;
    const struct token *t, *end; /* what is left */
    const char *fault;
    size_t offset;
};

static bool fault(struct parser *p, const struct token *at, const char *what)
{
    p->fault = what;
    p->offset = at->offset;
    return false;
}

static const struct token *next(struct parser *p)
{
    return p->t < p->end ? p->t++ : NULL;
}

static bool is_function(const struct token *t)
{
    return t->type == T_IDENT && (mf_eq(t->value, MF_STR("contains")) ||
                                  mf_eq(t->value, MF_STR("match")));
}

/* The value of a token as text: strings lose one double quote at each end. */
static mf_str token_text(struct fql *q, const struct token *t)
{
    mf_str s = t->value;
    char number[NUMBER_TEXT];

    if (t->type == T_NUMBER) {
        s = (mf_str){ number, number_text(js_to_number(t->value), number) };
    } else if (t->type == T_STRING) {
        if (s.len && s.ptr[0] == '"')
            s.ptr++, s.len--;
        if (s.len && s.ptr[s.len - 1] == '"')
            s.len--;
    }
    return fql_put(q, s);
}

static void set_value(struct fql *q, struct fql_node *n, const struct token *t)
{
    n->text = token_text(q, t);
    n->number = js_to_number(n->text);
    n->value_type = MF_STRING;
    if (!fql_root_has_path(n->root))
        return;
    if (t->type == T_NUMBER)
        n->value_type = MF_NUMBER;
    else if (t->type == T_IDENT && (mf_eq(t->value, MF_STR("true")) ||
                                    mf_eq(t->value, MF_STR("false")))) {
        n->value_type = MF_BOOL;
        n->number = t->value.len == 4;
    }
}

/* "properties.a.b" is the path a.b; a bare "properties" is a path too. */
static void set_path(struct fql *q, struct fql_node *n, mf_str written)
{
    mf_str root = mf_cstr(fql_root_names[n->root]);

    if (!fql_root_has_path(n->root))
        return;
    if (written.len > root.len && written.ptr[root.len] == '.') {
        written.ptr += root.len + 1;
        written.len -= root.len + 1;
    }
    n->name = fql_put(q, written);
    fql_cut_path(q, n);
}

/* The names of the functions' tests are operators too, as in `event contains
 * "x"`: nothing writes them so, but the original lets them through. */
static enum fql_op comparison(const struct fql_node *n, mf_str op,
                              const struct token *value)
{
    bool equal = mf_eq(op, MF_STR("="));
    int i;

    for (i = 0; i < OP_UNKNOWN; i++)
        if (mf_eq(op, mf_cstr(fql_op_names[i])))
            break;
    if (i > OP_NE || n->root == ROOT_TYPE || n->root == ROOT_EVENT)
        return (enum fql_op)i;
    if (mf_eq(value->value, MF_STR("null")))
        return equal ? OP_NOT_EXISTS : OP_EXISTS;
    if (equal && mf_eq(value->value, MF_STR("true")))
        return OP_IS_TRUE;
    if (equal && mf_eq(value->value, MF_STR("false")))
        return OP_IS_FALSE;
    if (value->type == T_NUMBER && fql_root_has_path(n->root))
        return equal ? OP_NUMBER_EQ : OP_NUMBER_NE;
    return (enum fql_op)i;
}

static bool parse_condition(struct parser *p, const struct token *name,
                            enum fql_root root)
{
    const struct token *op = next(p), *value = next(p);
    struct fql_node *n;

    if (!op)
        return fault(p, name, "an operator is missing");
    if (!value)
        return fault(p, name, "a value is missing");
    n = fql_add(p->q, NODE_CONDITION);
    n->root = root;
    set_path(p->q, n, name->value);
    n->op = comparison(n, op->value, value);
    if (n->op == OP_UNKNOWN)
        n->op_text = fql_put(p->q, op->value);
    if (n->op < OP_EXISTS || n->op > OP_IS_FALSE || op->type == T_IDENT)
        set_value(p->q, n, value);
    return true;
}

/* The root of a function's first argument: event, name, userId as they are;
 * the others by how the word begins. */
static enum fql_root argument_root(mf_str word)
{
    enum fql_root root = fql_root_named(word);

    if (root == ROOT_TYPE)
        return ROOT_NONE;
    for (int i = ROOT_PROPERTIES; i < ROOT_NONE; i++)
        if (str_starts(word, mf_cstr(fql_root_names[i])))
            return (enum fql_root)i;
    return root;
}

static void set_match(struct fql_node *n, const struct token *value,
                      bool negated)
{
    if (str_ends(value->value, MF_STR("*\""))) {
        n->op = negated ? OP_NOT_STARTS : OP_STARTS;
        n->text.len--;
        return;
    }
    n->op = negated ? OP_NOT_ENDS : OP_ENDS;
    while (n->text.len) { /* one character from the front */
        n->text.ptr++;
        n->text.len--;
        if (!n->text.len || ((unsigned char)*n->text.ptr & 0xC0) != 0x80)
            break;
    }
}

static bool parse_function(struct parser *p, const struct token *function,
                           bool negated)
{
    const struct token *argument, *value;
    enum fql_root root;
    struct fql_node *n;

    next(p); /* ( */
    argument = next(p);
    next(p); /* , */
    value = argument ? next(p) : NULL;
    if (!value)
        return fault(p, function, "two arguments are expected");
    next(p); /* ) */
    root = argument_root(argument->value);
    if (root == ROOT_NONE)
        return true;
    n = fql_add(p->q, NODE_CONDITION);
    n->root = root;
    set_path(p->q, n, argument->value);
    n->text = token_text(p->q, value);
    n->value_type = MF_STRING;
    if (function->value.ptr[0] == 'm')
        set_match(n, value, negated);
    else
        n->op = negated ? OP_NOT_CONTAINS : OP_CONTAINS;
    return true;
}

static bool parse_name(struct parser *p, const struct token *t)
{
    const char *dot = memchr(t->value.ptr, '.', t->value.len);
    mf_str first = t->value;
    enum fql_root root;

    if (dot)
        first.len = (size_t)(dot - first.ptr);
    root = fql_root_named(first);
    if (root != ROOT_NONE)
        return parse_condition(p, t, root);
    return !is_function(t) || parse_function(p, t, false);
}

/* !contains(...) and !match(...); any other ! is skipped. */
static bool parse_negation(struct parser *p, const struct token *t)
{
    const struct token *function;

    if (t->value.ptr[0] != '!' || t->value.len != 1 || p->t >= p->end ||
        !is_function(p->t))
        return true;
    function = next(p);
    return parse_function(p, function, true);
}

/* The conditions up to p->end under one operator. What stands in parentheses
 * ends at the first ), so that those inside it are never closed: the depth
 * is two. */
static bool parse_group(struct parser *p)
{
    const struct token *end = p->end, *t;
    uint32_t at = p->q->node_count;
    enum fql_kind kind = NODE_AND;
    bool ok = true;

    fql_add(p->q, NODE_AND);
    while (ok && (t = next(p)) && t->type != T_END) {
        if (t->type == T_IDENT) {
            ok = parse_name(p, t);
        } else if (t->type == T_CONDITIONAL) {
            kind = t->value.len == 2 ? NODE_OR : NODE_AND;
        } else if (t->type == T_OPERATOR) {
            ok = parse_negation(p, t);
        } else if (t->type == T_PAREN_LEFT) {
            for (p->end = p->t; p->end < end; p->end++)
                if (p->end->type == T_PAREN_RIGHT)
                    break;
            if (p->end == end)
                return fault(p, t, "this ( is not closed");
            ok = parse_group(p);
            p->t = p->end + 1;
            p->end = end;
        }
    }
    p->q->nodes[at].kind = kind;
    if (at + 1 == p->q->node_count) /* the original has no node at all here */
        p->q->nodes[at].kind = NODE_FAULT;
    fql_close_group(p->q, at);
    return ok;
}

/* The root is a group even around one condition. */
static void wrap_root(struct fql *q)
{
    if (q->nodes[0].kind != NODE_CONDITION)
        return;
    fql_add(q, NODE_AND);
    memmove(q->nodes + 1, q->nodes, (q->node_count - 1) * sizeof *q->nodes);
    memset(q->nodes, 0, sizeof *q->nodes);
    q->nodes[0].kind = NODE_AND;
    q->nodes[0].end = q->node_count;
    for (uint32_t i = 1; i < q->node_count; i++)
        q->nodes[i].end++;
}

static size_t strings_needed(const struct lexer *l)
{
    size_t n = 1;

    for (size_t i = 0; i < l->count; i++)
        n += l->token[i].value.len + 4 +
             (l->token[i].type == T_NUMBER ? NUMBER_TEXT : 0);
    return n;
}

static struct fql *parse_tokens(const struct lexer *l, struct err *e,
                                size_t *offset)
{
    struct parser p = { NULL, l->token, l->token + l->count, NULL, 0 };

    p.q = fql_new(FQL_SUBSCRIPTION, strings_needed(l));
    if (parse_group(&p) && p.q->nodes[0].kind == NODE_FAULT)
        p.fault = "there is no condition here";
    if (!p.fault) {
        wrap_root(p.q);
        return p.q;
    }
    *offset = p.offset;
    err_set(e, "%s", p.fault);
    fql_free(p.q);
    return NULL;
}

struct fql *fql_subscription(mf_str text, struct err *e, size_t *offset)
{
    struct lexer l = { text.ptr, text.ptr, text.ptr + text.len, NULL,
                       NULL, 0, NULL, 0 };
    struct fql *q = NULL;
    bool ok = true;

    l.token = xmalloc((text.len + 1) * sizeof *l.token);
    l.scratch = xmalloc(2 * text.len + 1);
    while (ok && l.p < l.end) {
        if (is_space(*l.p))
            l.p++;
        else
            ok = lex_one(&l);
    }
    if (ok) {
        push(&l, T_END, MF_STR("eos"), l.end);
        join_names(&l);
        q = parse_tokens(&l, e, offset);
    } else {
        *offset = (size_t)(l.p - text.ptr);
        err_set(e, "%s", l.fault);
    }
    free(l.scratch);
    free(l.token);
    return q;
}

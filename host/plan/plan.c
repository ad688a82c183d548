/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.c - see plan.h. Rules stand in the order of kind, key and version, so
 * that the versions of an event follow each other; a table leads to the first
 * of them. */
#include "plan/plan.h"

#include "base/io.h"
#include "base/text.h"
#include "config/jsonc.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct plan {
    atomic_uint holders;
    struct arena arena;
    char *text;
    size_t len;
    mf_str name, id;
    struct plan_rule *rules;
    size_t count, room, regex_bytes;
    uint32_t *table; /* number of the first rule of a key + 1, by hash */
    uint32_t mask;
};

struct reader {
    struct plan *p;
    const char *path;
    struct faults *faults;
};

static const char *const kind_words[PLAN_KINDS + 1] = {
    "TRACK", "IDENTIFY", "GROUP", "PAGE", "SCREEN", "COMMON", NULL
};

/* ---- faults ---- */

static struct place place_of(const struct reader *r, const char *at)
{
    struct place p = { .file = r->path };

    json_place((mf_str){ r->p->text, r->p->len }, (size_t)(at - r->p->text),
               &p.line, &p.column);
    return p;
}

static void tell(void *arg, const char *at, const char *text)
{
    struct reader *r = arg;

    faults_error(r->faults, place_of(r, at), "%s", text);
}

/* ---- rules ---- */

static void add_rule(struct reader *r, enum plan_kind kind, mf_str key,
                     int64_t version, mf_val schema, const char *at)
{
    bool traits = kind == PLAN_IDENTIFY || kind == PLAN_GROUP;
    struct plan *p = r->p;
    struct plan_rule *rule;

    if (schema.type == MF_ABSENT) {
        tell(r, at, "this rule has no schema; add \"jsonSchema\": {...}");
        return;
    }
    if (p->count == PLAN_RULES_MAX) {
        faults_error(r->faults, place_of(r, at),
                     "a plan may have %d rules; give some of its sources one "
                     "of their own", PLAN_RULES_MAX);
        return;
    }
    if (p->count == p->room) {
        p->room = p->room ? p->room * 2 : 64;
        p->rules = xrealloc(p->rules, p->room * sizeof *p->rules);
    }
    rule = &p->rules[p->count];
    *rule = (struct plan_rule){ .kind = kind, .key = key, .version = version,
                                .text = schema };
    rule->schema = draft7_compile(schema, &p->arena, tell, r);
    if (!rule->schema)
        return;
    p->count++;
    rule->members = draft7_member(rule->schema, traits ? MF_STR("traits")
                                                       : MF_STR("properties"));
    p->regex_bytes += draft7_regex_bytes(rule->schema);
    if (p->arena.used + p->regex_bytes > PLAN_MEMORY_MAX)
        faults_error(r->faults, place_of(r, at),
                     "this plan takes more than %u MiB of memory; make it "
                     "smaller", PLAN_MEMORY_MAX >> 20);
}

static bool read_version(struct reader *r, mf_val v, int64_t *version)
{
    *version = 1;
    if (v.type <= MF_NULL || json_integer(v, version))
        return true;
    tell(r, v.raw, "a version must be a whole number");
    return false;
}

/* Its place in kind_words, or -1. */
static int kind_of(struct reader *r, mf_val type, const char *at)
{
    mf_str word = json_text(type, &r->p->arena);
    const char *near;

    for (int i = 0; i < PLAN_KINDS; i++)
        if (str_ieq(word, mf_cstr(kind_words[i])))
            return i;
    near = nearest(arena_copy(&r->p->arena, word).ptr, kind_words);
    faults_error(r->faults, place_of(r, type.raw ? type.raw : at),
                 "\"type\" must be TRACK, IDENTIFY, GROUP, PAGE, SCREEN or "
                 "COMMON%s%s%s",
                 near ? "; did you mean " : "", near ? near : "",
                 near ? "?" : "");
    return -1;
}

/* {"key", "type", "version", "jsonSchema"} */
static void read_rule(struct reader *r, mf_val v)
{
    mf_val key = json_get(v, MF_STR("key"));
    mf_str name = json_text(key, &r->p->arena);
    int kind = v.type == MF_OBJECT
                   ? kind_of(r, json_get(v, MF_STR("type")), v.raw)
                   : -1;
    int64_t version;

    if (v.type != MF_OBJECT) {
        tell(r, v.raw, "a rule must be an object with \"key\", \"type\", "
                       "\"version\" and \"jsonSchema\"");
        return;
    }
    if (kind < 0 || !read_version(r, json_get(v, MF_STR("version")), &version))
        return;
    if (kind == PLAN_TRACK && name.len == 0) {
        tell(r, v.raw, "a rule of type TRACK needs the name of its event; "
                       "add \"key\": \"...\"");
        return;
    }
    if (kind == PLAN_IDENTIFY || kind == PLAN_GROUP || kind == PLAN_COMMON)
        name = MF_STR("");
    add_rule(r, (enum plan_kind)kind, name, version,
             json_get(v, MF_STR("jsonSchema")), v.raw);
}

/* {"name", "version", "rules"} */
static void read_event(struct reader *r, mf_val v)
{
    mf_str name = json_text(json_get(v, MF_STR("name")), &r->p->arena);
    int64_t version;

    if (name.len == 0) {
        tell(r, v.raw, "an event needs a name; add \"name\": \"...\"");
        return;
    }
    if (read_version(r, json_get(v, MF_STR("version")), &version))
        add_rule(r, PLAN_TRACK, name, version, json_get(v, MF_STR("rules")),
                 v.raw);
}

static void read_one(struct reader *r, mf_val rules, const char *name,
                     enum plan_kind kind)
{
    mf_val v = json_get(rules, mf_cstr(name));

    if (v.type > MF_NULL)
        add_rule(r, kind, MF_STR(""), 1, v, v.raw);
}

static void read_rules(struct reader *r, mf_val rules)
{
    mf_val list = rules, v;
    mf_iter it = { { 0 } };
    mf_str key;

    if (rules.type == MF_OBJECT) {
        read_one(r, rules, "global", PLAN_COMMON);
        read_one(r, rules, "identify", PLAN_IDENTIFY);
        read_one(r, rules, "group", PLAN_GROUP);
        list = json_get(rules, MF_STR("events"));
        if (list.type == MF_ABSENT)
            return;
    }
    if (list.type != MF_ARRAY) {
        tell(r, list.raw ? list.raw : r->p->text,
             "a plan has its rules in \"rules\", an array of {\"key\", "
             "\"type\", \"version\", \"jsonSchema\"}");
        return;
    }
    while (json_next(list, &it, &key, &v)) {
        if (rules.type == MF_OBJECT)
            read_event(r, v);
        else
            read_rule(r, v);
    }
}

/* ---- order ---- */

static int compare_keys(mf_str a, mf_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int rule_order(const void *left, const void *right)
{
    const struct plan_rule *a = left, *b = right;
    int keys;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    keys = compare_keys(a->key, b->key);
    if (keys)
        return keys;
    if (a->version != b->version)
        return a->version < b->version ? -1 : 1;
    return (a->text.raw > b->text.raw) - (a->text.raw < b->text.raw);
}

static bool same_key(const struct plan_rule *a, enum plan_kind kind,
                     mf_str key)
{
    return a->kind == kind && mf_eq(a->key, key);
}

static uint32_t hash_of(enum plan_kind kind, mf_str key) /* FNV-1a */
{
    uint32_t h = 2166136261u ^ (uint32_t)kind;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.ptr[i]) * 16777619u;
    return h;
}

static void put_in_order(struct reader *r)
{
    struct plan *p = r->p;
    uint32_t size = 16;

    if (p->count)
        qsort(p->rules, p->count, sizeof *p->rules, rule_order);
    while (size < p->count * 2)
        size *= 2;
    p->table = xcalloc(size, sizeof *p->table);
    p->mask = size - 1;
    for (size_t i = 0; i < p->count; i++) {
        const struct plan_rule *rule = &p->rules[i];
        uint32_t at = hash_of(rule->kind, rule->key) & p->mask;

        if (i && same_key(rule - 1, rule->kind, rule->key)) {
            if (rule->version == rule[-1].version)
                faults_error(r->faults, place_of(r, rule->text.raw),
                             "%s%s%.*s has version %lld already; give each "
                             "of its rules a version of its own",
                             kind_words[rule->kind], rule->key.len ? " " : "",
                             (int)rule->key.len, rule->key.ptr,
                             (long long)rule->version);
            continue;
        }
        while (p->table[at])
            at = (at + 1) & p->mask;
        p->table[at] = (uint32_t)i + 1;
    }
}

/* ---- the whole ---- */

static mf_str short_text(struct reader *r, mf_val v)
{
    return arena_copy(&r->p->arena,
                      utf8_cut(json_text(v, &r->p->arena), PLAN_NAME_MAX));
}

static void read_plan(struct reader *r, mf_val root)
{
    mf_val data = json_get(root, MF_STR("data")), more, about;

    if (data.type == MF_OBJECT)
        root = data;
    about = json_get(root, MF_STR("trackingPlan"));
    if (about.type != MF_OBJECT)
        about = root;
    r->p->name = short_text(r, json_get(about, MF_STR("name")));
    r->p->id = short_text(r, json_get(about, MF_STR("id")));
    more = json_get(json_get(root, MF_STR("pagination")), MF_STR("next"));
    if (more.type == MF_STRING)
        faults_warn(r->faults, place_of(r, more.raw),
                    "this is one page of several; put the rules of all into "
                    "one file");
    read_rules(r, json_get(root, MF_STR("rules")));
}

struct plan *plan_compile(mf_str text, const char *path, struct faults *f)
{
    struct plan *p = xcalloc(1, sizeof *p);
    struct reader r = { p, path, f };
    size_t errors = f->errors;
    struct jsonc_fault bad;

    atomic_init(&p->holders, 1);
    arena_init(&p->arena, PLAN_MEMORY_MAX);
    p->text = xstrndup(text.ptr, text.len);
    p->len = text.len;
    if (jsonc_read(p->text, p->len, &bad) != 0)
        tell(&r, p->text + bad.offset, bad.text);
    else if (json_root((mf_str){ p->text, p->len }).type != MF_OBJECT)
        tell(&r, p->text, "a plan is an object: {\"rules\": [...]}");
    else
        read_plan(&r, json_root((mf_str){ p->text, p->len }));
    if (f->errors == errors)
        put_in_order(&r);
    if (f->errors == errors)
        return p;
    plan_release(p);
    return NULL;
}

struct plan *plan_read(const char *path, struct place at, struct faults *f)
{
    struct err e = { "" };
    struct plan *p;
    size_t len;
    char *text;

    if (io_read_file(AT_FDCWD, path, PLAN_BYTES_MAX, &text, &len, &e) != 0) {
        faults_error(f, at, "%s; a tracking plan may have %u MiB", e.text,
                     PLAN_BYTES_MAX >> 20);
        return NULL;
    }
    p = plan_compile((mf_str){ text, len }, path, f);
    free(text);
    return p;
}

struct plan *plan_hold(struct plan *p)
{
    atomic_fetch_add(&p->holders, 1);
    return p;
}

void plan_release(struct plan *p)
{
    if (!p || atomic_fetch_sub(&p->holders, 1) != 1)
        return;
    for (size_t i = 0; i < p->count; i++)
        draft7_free(p->rules[i].schema);
    arena_deinit(&p->arena);
    free(p->rules);
    free(p->table);
    free(p->text);
    free(p);
}

mf_str plan_name(const struct plan *p)
{
    return p->name;
}

mf_str plan_id(const struct plan *p)
{
    return p->id;
}

size_t plan_rules(const struct plan *p)
{
    return p->count;
}

const struct plan_rule *plan_find(const struct plan *p, enum plan_kind kind,
                                  mf_str key, int64_t version)
{
    uint32_t at = hash_of(kind, key) & p->mask;
    const struct plan_rule *first;

    while (p->table[at] &&
           !same_key(&p->rules[p->table[at] - 1], kind, key))
        at = (at + 1) & p->mask;
    if (!p->table[at])
        return NULL;
    first = &p->rules[p->table[at] - 1];
    for (const struct plan_rule *r = first;
         r < p->rules + p->count && same_key(r, kind, key); r++)
        if (r->version == version)
            return r;
    return first;
}

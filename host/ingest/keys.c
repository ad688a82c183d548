/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.c - see keys.h. */
#include "ingest/keys.h"

#include "base/mem.h"
#include "json/json.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(mf_str s) /* FNV-1a */
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
    return h;
}

static void free_sources(struct source *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        free(s[i].name);
        free(s[i].write_key);
        gate_release(s[i].gate);
    }
    free(s);
}

void keys_deinit(struct keys *k)
{
    free_sources(k->sources, k->count);
    free(k->table);
    plans_deinit(&k->plans);
    memset(k, 0, sizeof *k);
}

static int64_t number_of(mf_val o, const char *key)
{
    int64_t v = 0;

    json_integer(json_get(o, mf_cstr(key)), &v);
    return v;
}

static void make_table(struct keys *k)
{
    uint32_t size = 16;

    while (size < k->count * 2)
        size *= 2;
    free(k->table);
    k->table = xcalloc(size, sizeof *k->table);
    k->mask = size - 1;
    for (uint32_t i = 0; i < k->count; i++) {
        uint64_t at = k->sources[i].hash & k->mask;

        while (k->table[at])
            at = (at + 1) & k->mask;
        k->table[at] = i + 1;
    }
}

static void add_rejections(struct source *s, const char *code, uint64_t n)
{
    for (size_t i = 0; i < REJECT_CODES_MAX; i++) {
        struct reject_count *c = &s->rejected[i];

        if (!c->code)
            c->code = code;
        if (strcmp(c->code, code) == 0) {
            c->n += n;
            return;
        }
    }
}

static void keep_counters(struct source *to, const struct keys *old)
{
    for (uint32_t i = 0; i < old->count; i++)
        if (old->sources[i].id == to->id) {
            to->letters = old->sources[i].letters;
            to->received = old->sources[i].received;
            to->bytes = old->sources[i].bytes;
            to->duplicates = old->sources[i].duplicates;
            memcpy(to->rejected, old->sources[i].rejected,
                   sizeof to->rejected);
        }
}

void keys_replace(struct keys *k, struct keys *with)
{
    for (uint32_t i = 0; i < with->count; i++)
        keep_counters(&with->sources[i], k);
    keys_deinit(k);
    *k = *with;
}

void keys_copy(struct keys *to, const struct keys *from)
{
    *to = *from;
    to->sources = xcalloc(from->count + 1, sizeof *to->sources);
    to->table = NULL;
    memset(&to->plans, 0, sizeof to->plans); /* its gates hold what they need */
    for (uint32_t i = 0; i < from->count; i++) {
        const struct source *s = &from->sources[i];

        to->sources[i].id = s->id;
        to->sources[i].name = xstrdup(s->name);
        to->sources[i].write_key = xstrdup(s->write_key);
        to->sources[i].hash = s->hash;
        to->sources[i].gate = s->gate ? gate_hold(s->gate) : NULL;
        to->sources[i].violations_to = s->violations_to;
        to->sources[i].blocked_to = s->blocked_to;
    }
    make_table(to);
}

void keys_copy_counters(struct keys *to, const struct keys *from)
{
    size_t bytes = from->count * sizeof *from->sources;

    if (to->count != from->count)
        to->sources = xrealloc(to->sources, bytes + sizeof *to->sources);
    to->count = from->count;
    if (bytes)
        memcpy(to->sources, from->sources, bytes);
    for (uint32_t i = 0; i < to->count; i++) {
        to->sources[i].name = to->sources[i].write_key = NULL;
        to->sources[i].gate = NULL;
    }
}

void keys_clear_counters(struct keys *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        struct source *s = &k->sources[i];

        s->received = s->bytes = s->duplicates = 0;
        memset(s->rejected, 0, sizeof s->rejected);
    }
}

static void add_counters(struct source *to, const struct source *from)
{
    to->received += from->received;
    to->bytes += from->bytes;
    to->duplicates += from->duplicates;
    for (size_t i = 0; i < REJECT_CODES_MAX && from->rejected[i].code; i++)
        add_rejections(to, from->rejected[i].code, from->rejected[i].n);
}

void keys_add_counters(struct keys *k, const struct keys *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        uint32_t at = i; /* as a rule: they are copies of one list */

        if (at >= k->count || k->sources[at].id != from->sources[i].id)
            for (at = 0; at < k->count; at++)
                if (k->sources[at].id == from->sources[i].id)
                    break;
        if (at < k->count)
            add_counters(&k->sources[at], &from->sources[i]);
    }
}

/* ---- gates ---- */

static struct gate *gate_of(const struct keys *k, uint32_t id)
{
    for (uint32_t i = 0; i < k->count; i++)
        if (k->sources[i].id == id)
            return k->sources[i].gate;
    return NULL;
}

/* Sources are named by their id, which is not 0. */
static uint32_t number_of_source(const struct keys *k, int64_t id)
{
    for (uint32_t i = 0; id && i < k->count; i++)
        if (k->sources[i].id == id)
            return i + 1;
    return 0;
}

static void read_gate(struct keys *new, const struct keys *old,
                      struct source *s, mf_val o)
{
    mf_val schema = json_get(o, MF_STR("schema"));
    int64_t plan = number_of(o, "plan");

    if (schema.type != MF_OBJECT)
        return;
    s->gate = gate_new(mf_cstr(s->name), schema,
                       plan ? plans_take(&new->plans, (uint64_t)plan) : NULL,
                       gate_of(old, s->id));
    s->violations_to = number_of_source(new, number_of(o, "violations_to"));
    s->blocked_to = number_of_source(new, number_of(o, "blocked_to"));
}

/* When all sources are known, since they name each other. */
static void read_gates(struct keys *new, struct keys *old, mf_val list)
{
    mf_iter it = { { 0 } };
    uint32_t i = 0;
    mf_str key;
    mf_val o;

    new->plans = old->plans;
    memset(&old->plans, 0, sizeof old->plans);
    while (json_next(list, &it, &key, &o))
        read_gate(new, old, &new->sources[i++], o);
    plans_sweep(&new->plans);
}

int keys_update(struct keys *k, mf_str json, struct err *e)
{
    struct keys new = { 0 };
    mf_iter it = { { 0 } };
    mf_val root, list, o;
    struct arena a;
    mf_str key;

    if (json_check(json, JSON_DEPTH_MAX, NULL) != 0)
        return err_set(e, "the configuration of ingest is not JSON");
    root = json_root(json);
    new.max_event_bytes = (uint64_t)number_of(root, "max_event_bytes");
    new.max_batch_bytes = (uint64_t)number_of(root, "max_batch_bytes");
    new.dedupe_window_ms = number_of(root, "dedupe_window_ms");
    new.dedupe_memory = (uint64_t)number_of(root, "dedupe_memory");
    new.retention_ms = number_of(root, "retention_ms");
    new.max_bytes = (uint64_t)number_of(root, "max_bytes");
    connections_read(root, &new.connections);
    new.threads = (unsigned)number_of(root, "threads");
    new.number = (uint64_t)number_of(root, "number");
    list = json_get(root, MF_STR("sources"));
    new.sources = xcalloc(json_count(list) + 1, sizeof *new.sources);
    arena_init(&a, 64 << 20);
    while (json_next(list, &it, &key, &o)) {
        struct source *s = &new.sources[new.count++];
        mf_str name = json_text(json_get(o, MF_STR("name")), &a);
        mf_str secret = json_text(json_get(o, MF_STR("write_key")), &a);

        s->id = (uint32_t)number_of(o, "id");
        s->name = xstrndup(name.ptr, name.len);
        s->write_key = xstrndup(secret.ptr, secret.len);
        s->hash = hash_of(secret);
    }
    arena_deinit(&a);
    read_gates(&new, k, list);
    make_table(&new);
    keys_replace(k, &new);
    return 0;
}

struct source *keys_find(struct keys *k, mf_str write_key)
{
    uint64_t h = hash_of(write_key);

    if (!k->table)
        return NULL;
    for (uint64_t at = h & k->mask; k->table[at]; at = (at + 1) & k->mask) {
        struct source *s = &k->sources[k->table[at] - 1];

        if (s->hash == h && mf_eq(mf_cstr(s->write_key), write_key))
            return s;
    }
    return NULL;
}

struct source *keys_nth(struct keys *k, uint32_t number)
{
    return number ? &k->sources[number - 1] : NULL;
}

void source_kept(struct source *s, size_t bytes, bool duplicate)
{
    if (duplicate) {
        s->duplicates++;
        return;
    }
    s->received++;
    s->bytes += bytes;
}

void source_reject(struct source *s, const char *code)
{
    source_reject_many(s, code, 1);
}

void source_reject_many(struct source *s, const char *code, uint64_t n)
{
    add_rejections(s, code, n);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - what is configured, held against the manifest; no plugin code.
 *
 * Unlike instance_new(), which stops at the first fault, this tells all of
 * them, each at the value that is wrong, so that `manifold check` can print
 * FILE:LINE:COLUMN. No text of a fault repeats a configured value: it may be
 * a secret. */
#include "plugin/inner.h"

#include "plugin/fields.h"
#include "plugin/reader.h"

#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_SOFT (64u << 20)
#define INTERNAL   "__segment_internal_"
#define DIRECTIVE  "__segment_internal_directive"

struct check {
    const struct manifest *m;
    struct instance_fault *faults;
    size_t max, count;
    struct arena arena;
};

/* What Segment's hooks gave when a mapping was saved stands beside its fields;
 * plugins may read it. */
static const char *const hooks[] = { "onMappingSave", "retlOnMappingSave",
                                     NULL };

/* What an action that batches understands in its mapping, declared or not. */
static const char *const batch_controls[] = {
    "enable_batching", "batch_size", "batch_bytes", "batch_keys", NULL,
};

__attribute__((format(printf, 3, 4)))
static void add(struct check *c, const char *at, const char *format, ...)
{
    struct instance_fault *f;
    va_list ap;

    if (c->count == c->max)
        return;
    f = &c->faults[c->count++];
    f->at = at;
    va_start(ap, format);
    vsnprintf(f->err.text, sizeof f->err.text, format, ap);
    va_end(ap);
}

static const char *text_of(struct check *c, mf_val v)
{
    return arena_copy(&c->arena, json_text(v, &c->arena)).ptr;
}

/* Nothing was given: the schema drops these before it looks. */
static bool is_empty(mf_val v)
{
    return v.type <= MF_NULL || (v.type == MF_STRING && v.len == 2);
}

/* ---- one plain value against its field ---- */

static bool matches(const char *pattern, const char *text)
{
    char *whole = xasprintf("^(%s)$", pattern);
    regex_t compiled;
    bool ok = false;

    if (regcomp(&compiled, whole, REG_EXTENDED | REG_NOSUB) == 0) {
        ok = regexec(&compiled, text, 0, NULL, 0) == 0;
        regfree(&compiled);
    }
    free(whole);
    return ok;
}

static void check_pattern(struct check *c, mf_val field, mf_val v)
{
    mf_val pattern = json_get(field, MF_STR("pattern"));
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    if (pattern.type != MF_STRING)
        return;
    while (json_next(v, &it, &key, &one)) /* of `multiple` ones, each */
        if (v.type == MF_ARRAY && one.type == MF_STRING)
            check_pattern(c, field, one);
    if (v.type == MF_STRING &&
        !matches(text_of(c, pattern), text_of(c, v)))
        add(c, v.raw, "`%s` must match %s",
            text_of(c, json_get(field, MF_STR("key"))), text_of(c, pattern));
}

/* Type, choices, format and bounds, by a schema of that field alone. */
static void check_value(struct check *c, mf_val field, mf_val v)
{
    mf_val key = json_get(field, MF_STR("key"));
    mf_str list = arena_printf(&c->arena, "[%.*s]", (int)field.len, field.raw);
    mf_str object = arena_printf(&c->arena, "{%.*s:%.*s}", (int)key.len,
                                 key.raw, (int)v.len, v.raw);
    size_t before = c->count;
    struct err why = { "" };
    struct schema *s;

    /* The schema would tell it too, but not which of several values. */
    check_pattern(c, field, v);
    if (c->count != before)
        return;
    s = schema_compile(json_root(list), NULL);
    if (!s)
        return;
    if (schema_apply(s, json_root(object), false, &c->arena, &why).type ==
        MF_ABSENT)
        add(c, v.raw, "`%s`: %s", text_of(c, key), why.text);
    schema_free(s);
}

/* ---- settings ---- */

static void check_given(struct check *c, mf_val settings)
{
    mf_iter it = { { 0 } };
    mf_str raw;
    mf_val v;

    while (json_next(settings, &it, &raw, &v)) {
        mf_str key = arena_copy(&c->arena, json_unescape(raw, &c->arena));
        mf_val field = fields_find(c->m->settings_json, key);

        if (field.type == MF_ABSENT)
            add(c, raw.ptr - 1, "%s has no setting `%s`%s", c->m->slug,
                key.ptr,
                reader_hint(&c->arena, key.ptr,
                            fields_keys(&c->arena, c->m->settings_json,
                                        NULL)));
        else if (!is_empty(v))
            check_value(c, field, v);
    }
}

static bool is_required(mf_val setting)
{
    return json_is_true(json_get(setting, MF_STR("required"))) ||
           json_is_true(json_get(setting, MF_STR("required_to_deliver")));
}

static void check_missing(struct check *c, mf_val settings, const char *at)
{
    mf_iter it = { { 0 } };
    mf_str ignored;
    mf_val field;

    while (json_next(c->m->settings_json, &it, &ignored, &field)) {
        const char *key = text_of(c, json_get(field, MF_STR("key")));
        const char *help =
            text_of(c, json_get(field, MF_STR("description")));
        mf_val v = json_get(settings, mf_cstr(key));

        if (!is_required(field) || !is_empty(v) ||
            (v.type == MF_ABSENT &&
             json_get(field, MF_STR("default")).type > MF_NULL))
            continue;
        add(c, v.raw ? v.raw : at, "the setting `%s` of %s is missing%s%s", key,
            c->m->slug, *help ? ": " : "", help);
    }
}

/* What is required only sometimes shows when all is there and right. */
static void check_settings(struct check *c, mf_val settings)
{
    size_t before = c->count;
    struct err why = { "" };
    const char *at;
    mf_val filled;

    if (settings.type != MF_OBJECT && settings.type != MF_ABSENT) {
        add(c, settings.raw, "`settings` must be an object");
        return;
    }
    at = settings.raw;
    if (settings.type == MF_ABSENT)
        settings = json_root(MF_STR("{}"));
    check_given(c, settings);
    check_missing(c, settings, at);
    if (c->count != before)
        return;
    filled = settings_filled(c->m, settings, &c->arena);
    if (schema_apply(c->m->settings, filled, false, &c->arena, &why).type ==
        MF_ABSENT)
        add(c, at, "settings of %s: %s", c->m->slug, why.text);
}

/* ---- mappings ---- */

static void tell_mapping(void *context, const char *at, const char *text)
{
    struct check *c = context;

    add(c, at, "mapping: %s", text);
}

static bool is_directive(mf_val v)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    return v.type == MF_OBJECT && json_next(v, &it, &key, &one) && key.len &&
           key.ptr[0] == '@';
}

/* A directive somewhere inside: what it gives is not known yet. */
static bool is_plain(mf_val v)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    if (is_directive(v))
        return false;
    while (json_next(v, &it, &key, &one))
        if (!is_plain(one))
            return false;
    return true;
}

static void check_mapping_key(struct check *c,
                              const struct manifest_action *a, mf_str raw,
                              mf_val v)
{
    mf_str key = arena_copy(&c->arena, json_unescape(raw, &c->arena));
    mf_val field = fields_find(a->fields_json, key);

    if (field.type != MF_ABSENT) {
        if (!is_empty(v) && is_plain(v))
            check_value(c, field, v);
        return;
    }
    if (str_starts(key, MF_STR(INTERNAL)) || text_among(key.ptr, hooks) ||
        (a->batch_size && text_among(key.ptr, batch_controls)))
        return;
    add(c, raw.ptr - 1, "%s has no such field `%s`%s", a->slug, key.ptr,
        reader_hint(&c->arena, key.ptr,
                    fields_keys(&c->arena, a->fields_json, NULL)));
}

static void check_required(struct check *c, const struct manifest_action *a,
                           mf_val mapping)
{
    mf_iter it = { { 0 } };
    mf_str ignored;
    mf_val field;

    while (json_next(a->fields_json, &it, &ignored, &field)) {
        const char *key = text_of(c, json_get(field, MF_STR("key")));

        if (json_is_true(json_get(field, MF_STR("required"))) &&
            json_get(mapping, mf_cstr(key)).type == MF_ABSENT)
            add(c, mapping.raw, "%s requires the field `%s`: map it", a->slug,
                key);
    }
}

static void check_mapping(struct check *c, const struct manifest_action *a,
                          mf_val mapping)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (mapping.type == MF_ABSENT)
        return;
    if (mapping.type != MF_OBJECT) {
        add(c, mapping.raw, "`mapping` must be an object");
        return;
    }
    mapping_check(mapping, tell_mapping, c);
    if (is_directive(mapping))
        return;
    while (json_next(mapping, &it, &key, &v))
        check_mapping_key(c, a, key, v);
    if (json_get(mapping, MF_STR(DIRECTIVE)).type == MF_ABSENT)
        check_required(c, a, mapping);
}

/* ---- subscriptions ---- */

static const char *const *action_slugs(struct check *c)
{
    const char **list =
        arena_zalloc(&c->arena, (c->m->action_count + 1) * sizeof *list);

    for (size_t i = 0; i < c->m->action_count; i++)
        list[i] = c->m->actions[i].slug;
    return list;
}

/* "a, b, c", cut where an error has no room for more. */
static const char *action_list(struct check *c)
{
    struct buf b;
    mf_str text;

    buf_init(&b, ERR_TEXT / 2);
    for (size_t i = 0; i < c->m->action_count; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", c->m->actions[i].slug);
    text = arena_copy(&c->arena, buf_view(&b));
    buf_deinit(&b);
    return text.ptr;
}

static void check_trigger(struct check *c, const struct manifest_action *a,
                          mf_val whole)
{
    mf_val v = json_get(whole, MF_STR("subscribe"));
    struct err why = { "" };
    size_t offset = 0;
    struct fql *q;

    if (v.type <= MF_NULL) {
        if (!a->subscribe)
            add(c, whole.raw, "%s has no trigger of its own: say in "
                              "`subscribe` which events it is to have",
                a->slug);
        return;
    }
    if (v.type != MF_STRING) {
        add(c, v.raw, "`subscribe` must be a string");
        return;
    }
    q = fql_compile(json_text(v, &c->arena), FQL_SUBSCRIPTION, &why, &offset);
    if (!q)
        add(c, reader_in(v, offset), "subscribe: %s", why.text);
    fql_free(q);
}

static void check_subscription(struct check *c, mf_val v)
{
    mf_val slug = json_get(v, MF_STR("action"));
    const struct manifest_action *a;

    if (v.type != MF_OBJECT) {
        add(c, v.raw, "a subscription must be an object");
        return;
    }
    if (slug.type != MF_STRING) {
        add(c, slug.raw ? slug.raw : v.raw,
            "a subscription must name its `action`, one of %s",
            action_list(c));
        return;
    }
    a = manifest_action(c->m, json_text(slug, &c->arena));
    if (!a) {
        const char *text = text_of(c, slug);
        const char *hint = reader_hint(&c->arena, text, action_slugs(c));

        add(c, slug.raw, "%s has no action `%s`%s%s", c->m->slug, text,
            *hint ? hint : "; it has ", *hint ? "" : action_list(c));
        return;
    }
    check_trigger(c, a, v);
    check_mapping(c, a, json_get(v, MF_STR("mapping")));
}

static void check_presets(struct check *c)
{
    for (size_t i = 0; i < c->m->preset_count; i++)
        if (c->m->presets[i].automatic)
            return;
    add(c, NULL, "%s has no presets: say in `subscriptions` which action is "
                 "to have which events; its actions are %s",
        c->m->slug, action_list(c));
}

static void check_subscriptions(struct check *c, mf_val list)
{
    size_t n = json_count(list);
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (list.type == MF_ABSENT)
        check_presets(c);
    else if (list.type != MF_ARRAY)
        add(c, list.raw, "`subscriptions` must be an array");
    else if (n == 0)
        add(c, list.raw, "`subscriptions` is empty: leave it out to have the "
                         "presets, or name an action of %s",
            action_list(c));
    else if (n > SUBSCRIPTIONS_MAX)
        add(c, list.raw, "more than %d subscriptions", SUBSCRIPTIONS_MAX);
    else
        while (json_next(list, &it, &key, &v))
            check_subscription(c, v);
}

static void check_filter(struct check *c, mf_str filter)
{
    struct err why = { "" };
    struct fql *q;

    if (filter.len == 0)
        return;
    q = fql_compile(filter, FQL_FILTER, &why, NULL);
    if (!q)
        add(c, NULL, "filter: %s", why.text);
    fql_free(q);
}

size_t instance_check(const struct manifest *m,
                      const struct instance_config *c,
                      struct instance_fault *faults, size_t max)
{
    struct check check = { .m = m, .faults = faults, .max = max };

    arena_init(&check.arena, ARENA_SOFT);
    check_settings(&check, c->settings);
    check_subscriptions(&check, c->subscriptions);
    check_filter(&check, c->filter);
    arena_deinit(&check.arena);
    return check.count;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c - see manifest.h; plugin-api/MANIFEST.md describes the text.
 *
 * Each kind of object has a table of its members and a struct they are read
 * into; what the tables cannot say is checked afterwards. Everything ends up
 * in one arena, but for the compiled schemas and mappings, which are freed by
 * manifest_free(). */
#include "plugin/manifest.h"

#include "base/mem.h"
#include "base/text.h"
#include "mapping/fql.h"
#include "plugin/fields.h"
#include "plugin/reader.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_SOFT     (64u << 20) /* a manifest has 4 MB at most */
#define ACTIONS_MAX    200
#define PRESETS_MAX    200
#define HOSTS_MAX      100
#define BATCH_SIZE_MAX 1000000
#define BATCH_KEYS_MAX 4
#define SLUG_MAX       64
#define NAME_BYTES_MAX 100
#define SYNC_MODE      "__segment_internal_sync_mode"
#define INTERNAL       "__segment_internal_"

/* ---- what is read, before it is checked and compiled ---- */

struct raw_top {
    const char *slug, *name, *version, *docs, *kind, *gone;
    const char *const *names, *const *hosts;
    mf_val auth, headers, settings, fields, actions, presets;
    mf_val test, on_delete;
};

#define TOP(member) offsetof(struct raw_top, member)
static const struct member top_table[] = {
    { "slug", TOP(slug), MEMBER_TEXT, true },
    { "name", TOP(name), MEMBER_TEXT, true },
    { "version", TOP(version), MEMBER_TEXT, true },
    { "docs", TOP(docs), MEMBER_TEXT, true },
    { "kind", TOP(kind), MEMBER_TEXT },
    { "integrations_names", TOP(names), MEMBER_TEXTS },
    { "hosts", TOP(hosts), MEMBER_TEXTS },
    { "gone", TOP(gone), MEMBER_TEXT },
    { "auth", TOP(auth), MEMBER_OBJECT },
    { "headers", TOP(headers), MEMBER_OBJECT },
    { "settings", TOP(settings), MEMBER_ARRAY },
    { "fields", TOP(fields), MEMBER_OBJECT },
    { "actions", TOP(actions), MEMBER_ARRAY, true },
    { "presets", TOP(presets), MEMBER_ARRAY },
    { "testAuthentication", TOP(test), MEMBER_OBJECT },
    { "onDelete", TOP(on_delete), MEMBER_OBJECT },
};

struct raw_action {
    const char *slug, *title, *description, *subscribe, *serialize_by;
    bool hidden;
    mf_val batch, sync_mode, fields, request, batch_request;
};

#define ACT(member) offsetof(struct raw_action, member)
static const struct member action_table[] = {
    { "slug", ACT(slug), MEMBER_TEXT, true },
    { "title", ACT(title), MEMBER_TEXT },
    { "description", ACT(description), MEMBER_TEXT },
    { "subscribe", ACT(subscribe), MEMBER_TEXT },
    { "hidden", ACT(hidden), MEMBER_BOOL },
    { "batch", ACT(batch), MEMBER_OBJECT },
    { "serialize_by", ACT(serialize_by), MEMBER_TEXT },
    { "sync_mode", ACT(sync_mode), MEMBER_OBJECT },
    { "fields", ACT(fields), MEMBER_ARRAY, true },
    { "request", ACT(request), MEMBER_OBJECT },
    { "batch_request", ACT(batch_request), MEMBER_OBJECT },
};

struct raw_batch {
    uint64_t size, bytes;
    const char *const *keys;
    bool by_default;
};

#define BATCH(member) offsetof(struct raw_batch, member)
static const struct member batch_table[] = {
    { "size", BATCH(size), MEMBER_COUNT, true },
    { "bytes", BATCH(bytes), MEMBER_COUNT },
    { "keys", BATCH(keys), MEMBER_TEXTS },
    { "default", BATCH(by_default), MEMBER_BOOL },
};

struct raw_sync_mode {
    const char *fallback, *label, *description;
    const char *const *choices;
};

#define SYNC(member) offsetof(struct raw_sync_mode, member)
static const struct member sync_table[] = {
    { "default", SYNC(fallback), MEMBER_TEXT },
    { "label", SYNC(label), MEMBER_TEXT },
    { "description", SYNC(description), MEMBER_TEXT },
    { "choices", SYNC(choices), MEMBER_TEXTS, true },
};

struct raw_request {
    mf_val method, url, headers, query, body, form, each;
};

#define REQ(member) offsetof(struct raw_request, member)
static const struct member request_table[] = {
    { "method", REQ(method), MEMBER_ANY, true },
    { "url", REQ(url), MEMBER_ANY, true },
    { "headers", REQ(headers), MEMBER_OBJECT },
    { "query", REQ(query), MEMBER_OBJECT },
    { "body", REQ(body), MEMBER_ANY },
    { "form", REQ(form), MEMBER_OBJECT },
    { "each", REQ(each), MEMBER_ANY },
};

struct raw_preset {
    const char *name, *action, *subscribe, *type;
    mf_val mapping;
};

#define PRE(member) offsetof(struct raw_preset, member)
static const struct member preset_table[] = {
    { "name", PRE(name), MEMBER_TEXT, true },
    { "action", PRE(action), MEMBER_TEXT, true },
    { "subscribe", PRE(subscribe), MEMBER_TEXT },
    { "type", PRE(type), MEMBER_TEXT },
    { "mapping", PRE(mapping), MEMBER_OBJECT },
};

static const struct member special_table[] = {
    { "request", 0, MEMBER_OBJECT, true },
};

/* Members of `auth` are directives, but for these three. */
struct raw_auth {
    const char *scheme, *grant, *client_auth;
    mf_val any;
};

#define AUTH(member) offsetof(struct raw_auth, member)
#define SCHEME       { "scheme", AUTH(scheme), MEMBER_TEXT, true }
#define VALUE(name)  { name, AUTH(any), MEMBER_ANY }
#define MUST(name)   { name, AUTH(any), MEMBER_ANY, true }
static const struct member bare_table[] = { SCHEME };
static const struct member basic_table[] = {
    SCHEME, MUST("username"), VALUE("password"),
};
static const struct member oauth2_table[] = {
    SCHEME,
    { "grant", AUTH(grant), MEMBER_TEXT },
    VALUE("token_url"),
    VALUE("client_id"),
    VALUE("client_secret"),
    { "client_auth", AUTH(client_auth), MEMBER_TEXT },
    VALUE("refresh_token"),
    VALUE("access_token"),
    VALUE("scope"),
    VALUE("audience"),
    VALUE("issuer"),
    VALUE("subject"),
    VALUE("private_key"),
    VALUE("key_id"),
    VALUE("username"),
    VALUE("password"),
};
static const struct member aws_table[] = {
    SCHEME,          MUST("accessKeyId"), MUST("secretAccessKey"),
    MUST("region"),  MUST("service"),     VALUE("sessionToken"),
};

static const struct scheme {
    const char *name;
    const struct member *table;
    size_t count;
} schemes[] = {
    { "none", bare_table, COUNT_OF(bare_table) },
    { "custom", bare_table, COUNT_OF(bare_table) },
    { "basic", basic_table, COUNT_OF(basic_table) },
    { "oauth2", oauth2_table, COUNT_OF(oauth2_table) },
    { "aws_sigv4", aws_table, COUNT_OF(aws_table) },
};

static const char *const methods[] = {
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", NULL,
};
static const char *const grants[] = {
    "client_credentials", "refresh_token", "jwt_bearer", NULL,
};
static const char *const sync_modes[] = {
    "add", "update", "upsert", "delete", "mirror", NULL,
};

/* ---- small checks ---- */

static bool good_slug(const char *slug)
{
    size_t n = strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return slug[n] == 0 && n <= SLUG_MAX && slug[0] != '-';
}

static bool good_version(const char *v)
{
    size_t n = strspn(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789.+-");

    return v[n] == 0 && n <= NAME_BYTES_MAX && v[0] >= '0' && v[0] <= '9';
}

static bool is_url(const char *s)
{
    return str_starts(mf_cstr(s), MF_STR("https://")) ||
           str_starts(mf_cstr(s), MF_STR("http://"));
}

static bool good_host(const char *host)
{
    const char *p = host;

    if (strcmp(host, "*") == 0)
        return true;
    if (p[0] == '*' && p[1] == '.')
        p += 2;
    return *p && p[strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                             "XYZ0123456789.-_{}:[]")] == 0;
}

/* ---- mappings, requests, triggers ---- */

struct first_fault {
    const char *at;
    char text[MAPPING_FAULT_TEXT];
};

static void keep_first(void *context, const char *at, const char *text)
{
    struct first_fault *f = context;

    if (f->at)
        return;
    f->at = at;
    memcpy(f->text, text, strnlen(text, sizeof f->text - 1));
}

static struct mapping *compile(struct reader *r, mf_val json, const char *what)
{
    struct first_fault first = { 0 };
    struct mapping *m;
    struct err why;

    if (mapping_check(json, keep_first, &first) != 0) {
        reader_fault(r, first.at, "%s: %s", what, first.text);
        return NULL;
    }
    m = mapping_compile(json, &why);
    if (!m)
        reader_fault(r, json.raw, "%s: %s", what, why.text);
    return m;
}

static int check_trigger(struct reader *r, mf_val whole, const char *text)
{
    struct err why;
    size_t offset = 0;
    struct fql *q =
        fql_compile(mf_cstr(text), FQL_SUBSCRIPTION, &why, &offset);

    if (!q)
        return reader_fault(r,
                            reader_in(json_get(whole, MF_STR("subscribe")),
                                      offset),
                            "%s", why.text);
    fql_free(q);
    return 0;
}

/* The host part of a URL that has no directive in it, against `hosts`. */
static bool host_allowed(const char *url, const char *const *hosts)
{
    const char *p = strstr(url, "://");
    mf_str host;

    if (!p)
        return false;
    p += 3;
    host = (mf_str){ p, strcspn(p, "/?#") };
    for (; *hosts; hosts++) {
        const char *open = strpbrk(*hosts, "*}");

        if (open ? str_ends(host, mf_cstr(open + 1))
                 : str_ieq(mf_cstr(*hosts), host))
            return true;
    }
    return false;
}

static struct declared_request *compile_request(struct reader *r, mf_val v,
                                                const char *const *hosts)
{
    struct raw_request q = { 0 };
    struct declared_request *d;
    const char *text;

    if (reader_object(r, v, request_table, COUNT_OF(request_table), &q,
                      "a request") != 0)
        return NULL;
    text = q.method.type == MF_STRING ? reader_text(r, q.method) : "GET";
    if (!text_among(text, methods)) {
        reader_fault(r, q.method.raw, "no such method `%s`%s", text,
                     reader_hint(r->arena, text, methods));
        return NULL;
    }
    if (q.body.type && q.form.type) {
        reader_fault(r, q.form.raw, "a request has `body` or `form`, not both");
        return NULL;
    }
    text = q.url.type == MF_STRING ? reader_text(r, q.url) : "https://*";
    if (!is_url(text)) {
        reader_fault(r, q.url.raw, "`url` must begin with https:// or http://");
        return NULL;
    }
    if (q.url.type == MF_STRING && !host_allowed(text, hosts)) {
        reader_fault(r, q.url.raw, "the host of %s is not in `hosts`", text);
        return NULL;
    }
    d = arena_zalloc(r->arena, sizeof *d);
    d->parts = compile(r, v, "request");
    return d->parts ? d : NULL;
}

/* ---- actions ---- */

static int check_field_name(struct reader *r, mf_val fields, const char *at,
                            const char *name, const char *what)
{
    if (fields_find(fields, mf_cstr(name)).type != MF_ABSENT)
        return 0;
    return reader_fault(r, at, "%s: no such field `%s`%s", what, name,
                        reader_hint(r->arena, name,
                                    fields_keys(r->arena, fields, NULL)));
}

static int take_batch(struct reader *r, mf_val v, mf_val fields,
                      struct manifest_action *a)
{
    struct raw_batch b = { .by_default = true };
    const char *const *key;
    size_t n = 0;

    if (reader_object(r, v, batch_table, COUNT_OF(batch_table), &b,
                      "`batch`") != 0)
        return -1;
    if (b.size > BATCH_SIZE_MAX)
        return reader_fault(r, reader_at(v, "size"), "`size` is at most %d",
                            BATCH_SIZE_MAX);
    for (key = b.keys; key && *key; key++, n++)
        if (check_field_name(r, fields, reader_at(v, "keys"), *key,
                             "batch key") != 0)
            return -1;
    if (n > BATCH_KEYS_MAX)
        return reader_fault(r, reader_at(v, "keys"), "more than %d batch keys",
                            BATCH_KEYS_MAX);
    a->batch_size = (uint32_t)b.size;
    a->batch_bytes = b.bytes;
    if (b.keys)
        a->batch_keys = b.keys;
    a->batch_default = b.by_default;
    return 0;
}

static int take_sync_mode(struct reader *r, mf_val v)
{
    struct raw_sync_mode s = { 0 };

    if (reader_object(r, v, sync_table, COUNT_OF(sync_table), &s,
                      "`sync_mode`") != 0)
        return -1;
    for (const char *const *c = s.choices; *c; c++)
        if (!text_among(*c, sync_modes))
            return reader_fault(r, reader_at(v, "choices"),
                                "no such sync mode `%s`%s", *c,
                                reader_hint(r->arena, *c, sync_modes));
    if (s.fallback && !text_among(s.fallback, s.choices))
        return reader_fault(r, reader_at(v, "default"),
                            "`%s` is not among `choices`", s.fallback);
    return 0;
}

static int take_requests(struct reader *r, const struct raw_action *raw,
                         const struct manifest *m, struct manifest_action *a)
{
    if (raw->batch_request.type && !raw->batch.type)
        return reader_fault(r, raw->batch_request.raw,
                            "`batch_request` without `batch`");
    if (raw->batch_request.type && !raw->request.type)
        return reader_fault(r, raw->batch_request.raw,
                            "`batch_request` without `request`");
    if (raw->request.type && m->kind == PLUGIN_NATIVE)
        return reader_fault(r, raw->request.raw,
                            "a native plugin does its own I/O: no `request`");
    if (raw->request.type) {
        a->request = compile_request(r, raw->request, m->hosts);
        if (!a->request)
            return -1;
    }
    if (raw->batch_request.type) {
        a->batch_request = compile_request(r, raw->batch_request, m->hosts);
        if (!a->batch_request)
            return -1;
    }
    return 0;
}

static int check_action(struct reader *r, const struct raw_action *raw,
                        mf_val v)
{
    if (strlen(raw->slug) > SLUG_MAX || strpbrk(raw->slug, " \t\r\n\"\\/"))
        return reader_fault(r, reader_at(v, "slug"),
                            "`%s` cannot be an action's slug", raw->slug);
    if (raw->subscribe && check_trigger(r, v, raw->subscribe) != 0)
        return -1;
    return raw->serialize_by ? check_field_name(r, raw->fields,
                                                reader_at(v, "serialize_by"),
                                                raw->serialize_by,
                                                "serialize_by")
                             : 0;
}

static int take_action(struct reader *r, mf_val v, mf_val shared,
                       struct manifest *m)
{
    static const char *const none[] = { NULL };
    struct raw_action raw = { 0 };
    struct manifest_action *a = &m->actions[m->action_count];

    if (reader_object(r, v, action_table, COUNT_OF(action_table), &raw,
                      "an action") != 0)
        return -1;
    if (manifest_action(m, mf_cstr(raw.slug)))
        return reader_fault(r, reader_at(v, "slug"),
                            "the action `%s` stands here twice", raw.slug);
    m->action_count++;
    *a = (struct manifest_action){ .slug = raw.slug,
                                   .title = raw.title ? raw.title : raw.slug,
                                   .subscribe = raw.subscribe,
                                   .batch_keys = none,
                                   .serialize_by = raw.serialize_by };
    if (fields_compile(r, raw.fields, shared, FIELDS_ACTION, &a->fields_json,
                       &a->fields) != 0)
        return -1;
    raw.fields = a->fields_json;
    if (check_action(r, &raw, v) != 0 ||
        (raw.batch.type && take_batch(r, raw.batch, raw.fields, a) != 0) ||
        (raw.sync_mode.type && take_sync_mode(r, raw.sync_mode) != 0))
        return -1;
    a->default_mapping =
        fields_defaults(r->arena, raw.fields, SYNC_MODE,
                        json_get(raw.sync_mode, MF_STR("default")));
    return take_requests(r, &raw, m, a);
}

static int take_actions(struct reader *r, mf_val list, mf_val shared,
                        struct manifest *m)
{
    size_t n = json_count(list);
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (n == 0 || n > ACTIONS_MAX)
        return reader_fault(r, list.raw, "a plugin has 1 to %d actions",
                            ACTIONS_MAX);
    m->actions = arena_zalloc(r->arena, n * sizeof *m->actions);
    while (json_next(list, &it, &key, &v))
        if (take_action(r, v, shared, m) != 0)
            return -1;
    return 0;
}

/* ---- presets ---- */

static int check_mapping_keys(struct reader *r, mf_val mapping, mf_val fields)
{
    mf_iter it = { { 0 } };
    mf_str raw;
    mf_val v;

    while (json_next(mapping, &it, &raw, &v)) {
        mf_str key = arena_copy(r->arena, json_unescape(raw, r->arena));

        if (!str_starts(key, MF_STR(INTERNAL)) &&
            check_field_name(r, fields, raw.ptr - 1, key.ptr, "mapping") != 0)
            return -1;
    }
    return 0;
}

static int take_preset(struct reader *r, mf_val v, struct manifest *m)
{
    struct raw_preset raw = { .type = "automatic" };
    const struct manifest_action *action;
    struct mapping *mapping;

    if (reader_object(r, v, preset_table, COUNT_OF(preset_table), &raw,
                      "a preset") != 0)
        return -1;
    action = manifest_action(m, mf_cstr(raw.action));
    if (!action) {
        const char **slugs =
            arena_zalloc(r->arena, (m->action_count + 1) * sizeof *slugs);

        for (size_t i = 0; i < m->action_count; i++)
            slugs[i] = m->actions[i].slug;
        return reader_fault(r, reader_at(v, "action"),
                            "no such action `%s`%s", raw.action,
                            reader_hint(r->arena, raw.action, slugs));
    }
    if (strcmp(raw.type, "automatic") != 0 &&
        strcmp(raw.type, "specificEvent") != 0)
        return reader_fault(r, reader_at(v, "type"),
                            "`type` must be automatic or specificEvent");
    if (raw.type[0] == 'a' && !raw.subscribe && !action->subscribe)
        return reader_fault(r, v.raw, "an automatic preset must have "
                                      "`subscribe`");
    if (raw.subscribe && check_trigger(r, v, raw.subscribe) != 0)
        return -1;
    if (raw.mapping.type == MF_ABSENT)
        raw.mapping = action->default_mapping;
    else if (check_mapping_keys(r, raw.mapping, action->fields_json) != 0)
        return -1;
    mapping = raw.mapping.raw == action->default_mapping.raw
                  ? NULL
                  : compile(r, raw.mapping, "mapping");
    if (!mapping && raw.mapping.raw != action->default_mapping.raw)
        return -1;
    if (mapping)
        raw.mapping = fields_over(r->arena, action->default_mapping,
                                  raw.mapping);
    mapping_free(mapping);
    m->presets[m->preset_count++] = (struct manifest_preset){
        raw.name, raw.action,
        raw.subscribe ? raw.subscribe : action->subscribe,
        raw.type[0] == 'a', raw.mapping
    };
    return 0;
}

static int take_presets(struct reader *r, mf_val list, struct manifest *m)
{
    size_t n = json_count(list);
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (n > PRESETS_MAX)
        return reader_fault(r, list.raw, "more than %d presets", PRESETS_MAX);
    m->presets = arena_zalloc(r->arena, (n + 1) * sizeof *m->presets);
    while (json_next(list, &it, &key, &v))
        if (take_preset(r, v, m) != 0)
            return -1;
    return 0;
}

/* ---- the whole ---- */

static int check_top(struct reader *r, const struct raw_top *top, mf_val root)
{
    if (!good_slug(top->slug))
        return reader_fault(r, reader_at(root, "slug"),
                            "`slug` must be [a-z0-9][a-z0-9-]{0,63}");
    if (strlen(top->name) > NAME_BYTES_MAX)
        return reader_fault(r, reader_at(root, "name"),
                            "`name` has at most %d bytes", NAME_BYTES_MAX);
    if (!good_version(top->version))
        return reader_fault(r, reader_at(root, "version"),
                            "`version` must be like 1.0.0");
    if (!is_url(top->docs))
        return reader_fault(r, reader_at(root, "docs"),
                            "`docs` must be the URL of the API's description");
    if (top->kind && strcmp(top->kind, "http") != 0 &&
        strcmp(top->kind, "native") != 0)
        return reader_fault(r, reader_at(root, "kind"),
                            "`kind` must be http or native");
    if (top->gone && strcmp(top->gone, "pause") != 0 &&
        strcmp(top->gone, "reject") != 0)
        return reader_fault(r, reader_at(root, "gone"),
                            "`gone` must be pause or reject");
    return 0;
}

/* Where people name the URL themselves, a 410 is about that and not about the
 * event. */
static bool pauses_on_gone(const struct raw_top *top)
{
    if (top->gone)
        return strcmp(top->gone, "pause") == 0;
    for (const char *const *h = top->hosts; h && *h; h++)
        if (strcmp(*h, "*") == 0)
            return true;
    return false;
}

/* Names in braces must be settings: they carry the host. */
static int check_hosts(struct reader *r, const struct raw_top *top,
                       mf_val root)
{
    const char *at = reader_at(root, "hosts");
    size_t n = 0;

    for (const char *const *h = top->hosts; h && *h; h++, n++) {
        const char *open = strchr(*h, '{'), *close = strchr(*h, '}');

        if (!good_host(*h) || !open != !close || (open && close < open))
            return reader_fault(r, at,
                                "`%s` is no host; a name, *.suffix, {setting} "
                                "or * is",
                                *h);
        if (open) {
            mf_str name = { open + 1, (size_t)(close - open) - 1 };

            if (fields_find(top->settings, name).type == MF_ABSENT)
                return reader_fault(r, at, "`%s` names no setting", *h);
        }
    }
    if (n > HOSTS_MAX)
        return reader_fault(r, at, "more than %d hosts", HOSTS_MAX);
    if (n == 0 && !(top->kind && strcmp(top->kind, "native") == 0))
        return reader_fault(r, at, "`hosts` must name where requests may go");
    return 0;
}

static const struct scheme *find_scheme(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (strcmp(schemes[i].name, name) == 0)
            return &schemes[i];
    return NULL;
}

/* What the grant cannot do without; and the token is asked for where the
 * plugin may send, nowhere else. */
static int check_grant(struct reader *r, mf_val v, const char *grant,
                       const char *const *hosts)
{
    const char *need = strcmp(grant, "jwt_bearer") == 0      ? "private_key"
                       : strcmp(grant, "refresh_token") == 0 ? "refresh_token"
                                                             : "client_id";
    mf_val url = json_get(v, MF_STR("token_url"));
    const char *text;

    if (url.type == MF_ABSENT)
        return reader_fault(r, v.raw, "a `grant` needs `token_url`");
    if (json_get(v, mf_cstr(need)).type == MF_ABSENT)
        return reader_fault(r, v.raw, "the grant %s needs `%s`", grant, need);
    if (url.type != MF_STRING)
        return 0;
    text = reader_text(r, url);
    if (is_url(text) && host_allowed(text, hosts))
        return 0;
    return reader_fault(r, url.raw, "the host of %s is not in `hosts`", text);
}

static int take_auth(struct reader *r, mf_val v, struct manifest *m)
{
    const struct scheme *scheme;
    struct raw_auth raw = { 0 };

    m->auth_scheme = "none";
    m->auth_json = v;
    if (v.type == MF_ABSENT)
        return 0;
    scheme = find_scheme(reader_text(r, json_get(v, MF_STR("scheme"))));
    if (!scheme)
        return reader_fault(r, reader_at(v, "scheme"),
                            "`scheme` must be one of none, basic, custom, "
                            "oauth2, aws_sigv4");
    if (reader_object(r, v, scheme->table, scheme->count, &raw,
                      "`auth` of this scheme") != 0)
        return -1;
    if (raw.grant && !text_among(raw.grant, grants))
        return reader_fault(r, reader_at(v, "grant"),
                            "`grant` must be client_credentials, "
                            "refresh_token or jwt_bearer");
    if (raw.client_auth && strcmp(raw.client_auth, "body") != 0 &&
        strcmp(raw.client_auth, "basic") != 0)
        return reader_fault(r, reader_at(v, "client_auth"),
                            "`client_auth` must be body or basic");
    if (raw.grant && check_grant(r, v, raw.grant, m->hosts) != 0)
        return -1;
    m->auth_scheme = scheme->name;
    m->auth_grant = raw.grant;
    m->auth = compile(r, v, "auth");
    return m->auth ? 0 : -1;
}

/* testAuthentication and onDelete. */
static int take_special(struct reader *r, mf_val v, const char *what,
                        const struct manifest *m,
                        struct declared_request **to)
{
    mf_val request = { 0 };

    if (v.type == MF_ABSENT)
        return 0;
    if (reader_object(r, v, special_table, COUNT_OF(special_table), &request,
                      what) != 0)
        return -1;
    if (m->kind == PLUGIN_NATIVE)
        return reader_fault(r, request.raw,
                            "a native plugin does its own I/O: no `request`");
    *to = compile_request(r, request, m->hosts);
    return *to ? 0 : -1;
}

static int take_settings(struct reader *r, mf_val v, struct manifest *m)
{
    static const char none[] = "[]";
    mf_val nothing = { NULL, 0, MF_ABSENT };

    m->settings_json =
        v.type ? v : (mf_val){ none, 2, MF_ARRAY };
    m->secret_settings = fields_keys(r->arena, v, "password");
    return fields_compile(r, m->settings_json, nothing, FIELDS_SETTINGS,
                          &m->settings_json, &m->settings);
}

static int read_all(struct reader *r, mf_val root, struct manifest *m)
{
    static const char *const none[] = { NULL };
    struct raw_top top = { 0 };

    if (reader_object(r, root, top_table, COUNT_OF(top_table), &top,
                      "a manifest") != 0 ||
        check_top(r, &top, root) != 0)
        return -1;
    m->slug = top.slug;
    m->name = top.name;
    m->version = top.version;
    m->docs = top.docs;
    m->integrations_names = top.names ? top.names : none;
    m->hosts = top.hosts ? top.hosts : none;
    m->pauses_on_gone = pauses_on_gone(&top);
    m->kind = top.kind && strcmp(top.kind, "native") == 0 ? PLUGIN_NATIVE
                                                          : PLUGIN_HTTP;
    if (take_settings(r, top.settings, m) != 0 ||
        check_hosts(r, &top, root) != 0 || take_auth(r, top.auth, m) != 0)
        return -1;
    if (top.headers.type) {
        m->headers = compile(r, top.headers, "headers");
        if (!m->headers)
            return -1;
    }
    if (fields_check_shared(r, top.fields) != 0 ||
        take_actions(r, top.actions, top.fields, m) != 0 ||
        take_presets(r, top.presets, m) != 0)
        return -1;
    if (take_special(r, top.test, "`testAuthentication`", m, &m->test) != 0)
        return -1;
    return take_special(r, top.on_delete, "`onDelete`", m, &m->on_delete);
}

/* ---- public ---- */

struct manifest *manifest_parse(char *text, size_t len, const char *name,
                                struct err *e)
{
    struct manifest *m = xcalloc(1, sizeof *m);
    struct reader r = { name, { text, len }, NULL, e };
    struct json_fault fault;
    int rc;

    m->text = text;
    m->text_len = len;
    m->arena = r.arena = xmalloc(sizeof *m->arena);
    arena_init(m->arena, ARENA_SOFT);
    if (len > MANIFEST_BYTES_MAX)
        rc = reader_fault(&r, NULL, "more than %u bytes", MANIFEST_BYTES_MAX);
    else if (json_check(r.text, JSON_DEPTH_MAX, &fault) != 0)
        rc = reader_fault(&r, text + fault.offset, "%s", fault.what);
    else
        rc = read_all(&r, json_root(r.text), m);
    if (rc == 0)
        return m;
    manifest_free(m);
    return NULL;
}

static void free_request(struct declared_request *d)
{
    if (d)
        mapping_free(d->parts);
}

void manifest_free(struct manifest *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->action_count; i++) {
        schema_free(m->actions[i].fields);
        free_request(m->actions[i].request);
        free_request(m->actions[i].batch_request);
    }
    free_request(m->test);
    free_request(m->on_delete);
    mapping_free(m->auth);
    mapping_free(m->headers);
    schema_free(m->settings);
    arena_deinit(m->arena);
    free(m->arena);
    free(m->text);
    free(m);
}

const struct manifest_action *manifest_action(const struct manifest *m,
                                              mf_str slug)
{
    for (size_t i = 0; i < m->action_count; i++)
        if (mf_eq(mf_cstr(m->actions[i].slug), slug))
            return &m->actions[i];
    return NULL;
}

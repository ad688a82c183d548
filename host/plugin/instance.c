/* SPDX-License-Identifier: Apache-2.0
 *
 * instance.c - makes a destination of a plugin and what is configured.
 *
 * Everything that can be done once is done here: settings are checked and
 * filled in, triggers and mappings compiled, hosts written out, and the
 * plugin's create() is run in memory that nobody can write to afterwards. */
#include "plugin/inner.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define INSTANCE_ARENA_BYTES (64u << 20)
#define BATCH_SIZE_MAX       100000
#define FAULTS_KEPT          1

static const char *const special_slugs[SPECIALS] = { "testAuthentication",
                                                     "onDelete",
                                                     "refreshAccessToken" };

/* ---- settings ---- */

mf_val settings_filled(const struct manifest *m, mf_val settings,
                       struct arena *a)
{
    mf_iter it = { { 0 } };
    struct json_out w;
    struct buf b;
    mf_val one, v;
    mf_str key, text;

    buf_init(&b, MANIFEST_BYTES_MAX + CALL_INPUT_BYTES);
    json_out_init(&w, &b);
    json_begin_object(&w);
    while (json_next(settings, &it, &key, &v)) {
        json_key_raw(&w, key);
        json_val(&w, v);
    }
    it = (mf_iter){ { 0 } };
    while (json_next(m->settings_json, &it, &key, &one)) {
        text = json_text(json_get(one, MF_STR("key")), a);
        v = json_get(one, MF_STR("default"));
        if (v.type <= MF_NULL || (v.type == MF_STRING && v.len == 2) ||
            json_get(settings, text).type != MF_ABSENT)
            continue;
        json_key(&w, text);
        json_val(&w, v);
    }
    json_end_object(&w);
    text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return json_root(text);
}

static int settings_ready(struct instance *i, const struct instance_config *c,
                          struct err *e)
{
    mf_val filled = settings_filled(i->plugin->manifest, c->settings,
                                    &i->arena);

    i->settings = filled;
    if (i->lenient)
        return 0;
    i->settings = schema_apply(i->plugin->manifest->settings, filled, false,
                               &i->arena, e);
    return i->settings.type == MF_OBJECT ? 0 : -1;
}

/* ---- hosts ---- */

/* The host of a setting, be it a URL, host:port or a host alone. */
static mf_str host_of_text(struct arena *a, mf_str text)
{
    mf_str url, host = { NULL, 0 };

    text = str_trim(text);
    if (!memmem(text.ptr ? text.ptr : "", text.len, "://", 3))
        text = arena_printf(a, "https://%.*s", (int)text.len,
                            text.ptr ? text.ptr : "");
    if (url_normalise(text, a, &url, &host) < 0)
        return (mf_str){ NULL, 0 };
    return host;
}

/* Puts the settings into a pattern: "{region}.acme.example". False when one
 * of them is not given; then the pattern allows nothing. */
static bool host_expand(struct instance *i, const char *pattern, struct buf *b)
{
    const char *end;
    mf_str value;
    bool whole;

    while (*pattern) {
        if (*pattern != '{') {
            buf_char(b, *pattern++);
            continue;
        }
        end = strchr(pattern, '}');
        if (!end)
            return false;
        whole = b->len == 0 && end[1] == 0;
        value = (mf_str){ pattern + 1, (size_t)(end - pattern - 1) };
        value = json_text(json_get(i->settings, value), &i->arena);
        if (whole)
            value = host_of_text(&i->arena, value);
        if (value.len == 0)
            return false;
        buf_str(b, value);
        pattern = end + 1;
    }
    return true;
}

static void lower(char *p, size_t n)
{
    for (; n; p++, n--)
        if (*p >= 'A' && *p <= 'Z')
            *p += 'a' - 'A';
}

void hosts_compile(struct instance *i)
{
    const char *const *h = i->plugin->manifest->hosts;
    size_t n = 0;
    struct buf b;

    while (h && h[n])
        n++;
    i->hosts = arena_zalloc(&i->arena, (n + 1) * sizeof *i->hosts);
    buf_init(&b, URL_BYTES_MAX);
    for (size_t k = 0; k < n; k++) {
        struct host_pattern *p = &i->hosts[i->host_count];
        bool suffix = h[k][0] == '*' && h[k][1] == '.';

        buf_clear(&b);
        if (strcmp(h[k], "*") == 0) {
            p->rule = HOST_ANY;
        } else if (host_expand(i, h[k] + suffix, &b) && !b.full && b.len) {
            p->rule = suffix ? HOST_SUFFIX : HOST_EXACT;
            lower(b.data, b.len);
            p->text = arena_copy(&i->arena, buf_view(&b));
        } else {
            continue;
        }
        i->host_count++;
    }
    buf_deinit(&b);
}

bool host_allowed(const struct instance *i, mf_str host)
{
    for (size_t k = 0; k < i->host_count; k++) {
        const struct host_pattern *p = &i->hosts[k];

        if (p->rule == HOST_ANY)
            return true;
        if (p->rule == HOST_EXACT ? mf_eq(host, p->text)
                                  : host.len > p->text.len &&
                                        str_ends(host, p->text))
            return true;
    }
    return false;
}

/* ---- subscriptions ---- */

static const mf_action *code_named(const struct plugin *p, const char *slug)
{
    const mf_destination *d = p->code;
    const char *at = d ? (const char *)d->actions : NULL;

    for (uint64_t k = 0; at && k < d->action_count; k++, at += d->action_size)
        if (strcmp(((const mf_action *)at)->slug, slug) == 0)
            return (const mf_action *)at;
    return NULL;
}

/* What a mapping says of batches, where it says it in plain values. */
static void batch_limits(struct subscription *s)
{
    const struct manifest_action *a = s->action;
    bool on = a->batch_default;
    mf_val v = json_get(s->mapping_json, MF_STR("enable_batching"));
    int64_t n = 0;

    /* A size that is mapped asks for batches, unless they are switched off. */
    json_integer(json_get(s->mapping_json, MF_STR("batch_size")), &n);
    on |= n > 1;
    if (v.type == MF_BOOL)
        on = json_is_true(v);
    s->batch_size = on && a->batch_size ? a->batch_size : 1;
    s->batch_bytes = a->batch_bytes;
    if (s->batch_size == 1)
        return;
    if (json_integer(json_get(s->mapping_json, MF_STR("batch_size")), &n) &&
        n >= 1 && n <= BATCH_SIZE_MAX)
        s->batch_size = (uint32_t)n;
    if (json_integer(json_get(s->mapping_json, MF_STR("batch_bytes")), &n) &&
        n >= 1)
        s->batch_bytes = (uint64_t)n;
}

static void code_ready(struct instance *i, struct subscription *s,
                       const char *slug)
{
    s->code = code_named(i->plugin, slug);
    if (s->code && s->code->paths && s->code->path_count)
        s->paths = path_tree_new(s->code->paths, s->code->path_count,
                                 &i->arena);
}

/* A fault in trigger or mapping: told, or with `lenient` kept for later. */
static int subscription_wrong(const struct instance *i, struct subscription *s,
                              const char *at, const struct err *why,
                              struct instance_fault *fault)
{
    if (i->lenient) {
        if (!s->fault)
            s->fault = xstrdup(why->text);
        return 0;
    }
    fault->at = at;
    fault->err = *why;
    return -1;
}

static int compile(struct instance *i, struct subscription *s,
                   mf_str trigger, struct instance_fault *fault)
{
    struct err e = { "" };
    size_t offset = 0;

    s->trigger = fql_compile(trigger, FQL_SUBSCRIPTION, &e, &offset);
    if (!s->trigger && !i->lenient) {
        fault->at = s->json.raw;
        fault->err = e;
        return -1;
    }
    e.text[0] = 0;
    s->mapping = mapping_compile(s->mapping_json, &e);
    if (!s->mapping)
        return subscription_wrong(i, s, s->mapping_json.raw, &e, fault);
    s->sync_mode = mapping_sync_mode(s->mapping);
    return 0;
}

static bool name_taken(const struct instance *i, mf_str name)
{
    for (size_t k = 0; k + 1 < i->sub_count; k++)
        if (mf_eq(i->subs[k].name, name))
            return true;
    return false;
}

/* Its name, else action and trigger; a doubled one is counted on. */
static void name_subscription(struct instance *i, struct subscription *s,
                              mf_str name, mf_str trigger)
{
    unsigned n = 1;

    if (name.len == 0)
        name = arena_printf(&i->arena, "%s %.*s", s->action->slug,
                            (int)trigger.len, trigger.ptr ? trigger.ptr : "");
    for (s->name = name; name_taken(i, s->name);)
        s->name = arena_printf(&i->arena, "%.*s #%u", (int)name.len, name.ptr,
                               ++n);
}

static int subscribe(struct instance *i, mf_val json, mf_str name,
                     mf_str slug, mf_val trigger, mf_val mapping,
                     struct instance_fault *fault)
{
    const struct manifest *m = i->plugin->manifest;
    struct subscription *s = &i->subs[i->sub_count];
    mf_str text = json_text(trigger, &i->arena);

    s->json = json;
    s->action = manifest_action(m, slug);
    if (!s->action) {
        fault->at = json.raw;
        return err_set(&fault->err, "%s has no action \"%.*s\"", m->slug,
                       (int)slug.len, slug.ptr ? slug.ptr : "");
    }
    i->sub_count++;
    s->enabled = true;
    s->request = s->action->request;
    s->batch_request = s->action->batch_request;
    code_ready(i, s, s->action->slug);
    s->mapping_json = mapping.type == MF_ABSENT ? s->action->default_mapping
                                                : mapping;
    if (trigger.type != MF_STRING)
        text = mf_cstr(s->action->subscribe);
    batch_limits(s);
    name_subscription(i, s, name, text);
    return compile(i, s, text, fault);
}

static int from_presets(struct instance *i, struct instance_fault *fault)
{
    const struct manifest *m = i->plugin->manifest;

    i->subs = arena_zalloc(&i->arena, (m->preset_count + 1) * sizeof *i->subs);
    for (size_t k = 0; k < m->preset_count; k++) {
        const struct manifest_preset *p = &m->presets[k];
        mf_val none = { NULL, 0, MF_ABSENT };
        mf_val trigger = p->subscribe ? json_from_text(&i->arena,
                                                       mf_cstr(p->subscribe))
                                      : none;

        if (p->automatic && i->sub_count < SUBSCRIPTIONS_MAX &&
            subscribe(i, none, mf_cstr(p->name), mf_cstr(p->action), trigger,
                      p->mapping, fault) < 0)
            return -1;
    }
    if (i->sub_count || i->lenient)
        return 0;
    fault->at = NULL;
    return err_set(&fault->err, "%s has no presets: say in \"subscriptions\" "
                                "which action is to have which events",
                   m->slug);
}

static int from_config(struct instance *i, mf_val list,
                       struct instance_fault *fault)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (json_count(list) > SUBSCRIPTIONS_MAX) {
        fault->at = list.raw;
        return err_set(&fault->err, "more than %d subscriptions",
                       SUBSCRIPTIONS_MAX);
    }
    i->subs = arena_zalloc(&i->arena,
                           (json_count(list) + 1) * sizeof *i->subs);
    while (json_next(list, &it, &key, &v)) {
        mf_val on = json_get(v, MF_STR("enabled"));

        if (subscribe(i, v, json_text(json_get(v, MF_STR("name")), &i->arena),
                      json_text(json_get(v, MF_STR("action")), &i->arena),
                      json_get(v, MF_STR("subscribe")),
                      json_get(v, MF_STR("mapping")), fault) < 0)
            return -1;
        if (on.type == MF_BOOL)
            i->subs[i->sub_count - 1].enabled = json_is_true(on);
    }
    return 0;
}

static void specials_ready(struct instance *i)
{
    for (unsigned k = 0; k < SPECIALS; k++) {
        struct subscription *s = &i->specials[k];

        code_ready(i, s, special_slugs[k]);
        if (!s->code && k == SPECIAL_TEST)
            s->request = i->plugin->manifest->test;
        if (!s->code && k == SPECIAL_DELETE)
            s->request = i->plugin->manifest->on_delete;
        s->enabled = true;
        s->batch_size = 1;
        i->special_there[k] = s->code || s->request ||
                              (k == SPECIAL_REFRESH &&
                               i->plugin->manifest->auth_grant);
    }
}

/* ---- create ---- */

/* The arena of create(): one mapping, made read-only when it has returned. */
static void region_open(struct instance *i)
{
    void *p = mmap(NULL, MF_ARENA_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ASSERT(p != MAP_FAILED);
    i->region = p;
    i->region_len = MF_ARENA_BYTES;
    arena_init(&i->own, MF_ARENA_BYTES);
    i->own.next = p;
    i->own.end = i->region + i->region_len;
}

static void region_close(struct instance *i)
{
    size_t used = ((size_t)(i->own.next - i->region) + 4095) & ~(size_t)4095;

    if (i->own.chunks || i->plugin->manifest->kind == PLUGIN_NATIVE)
        return; /* overflowed, or a native plugin that may write to it */
    if (used < i->region_len)
        munmap(i->region + used, i->region_len - used);
    i->region_len = used;
    if (used)
        mprotect(i->region, used, PROT_READ);
    i->own.next = i->own.end = NULL;
}

/* Separate, so that nothing of the caller lives across the jump. */
static void run_create(struct instance *i, struct call *c)
{
    c->mem = &i->own;
    if (c->auth.type != MF_ABSENT) /* what it keeps must not go with c */
        c->auth.raw = arena_copy(c->mem, (mf_str){ c->auth.raw,
                                                   c->auth.len }).ptr;
    c->now = i->fixed ? i->fixed_now : clock_ms();
    plugin_memory = c->mem;
    c->may_jump = true;
    if (_setjmp(c->jump) == 0)
        i->self = i->plugin->code->create(&c->pub);
    c->may_jump = false;
}

static int create(struct instance *i, struct instance_fault *fault)
{
    const char *slug = i->plugin->manifest->slug;
    struct call *c;
    int rc = 0;

    if (!i->plugin->code || !i->plugin->code->create)
        return 0;
    region_open(i);
    c = call_new(i, UINT32_MAX);
    run_create(i, c);
    if (c->overflowed)
        rc = err_set(&fault->err, "%s needs more than %u bytes to start",
                     slug, MF_ARENA_BYTES);
    else if (c->failed)
        rc = err_set(&fault->err, "%.*s", (int)c->failed_message.len,
                     c->failed_message.ptr);
    if (rc < 0)
        fault->at = i->settings.raw;
    call_free(c);
    region_close(i);
    return rc;
}

/* ---- public ---- */

static void names_ready(struct instance *i)
{
    const struct manifest *m = i->plugin->manifest;
    size_t n = 0;

    while (m->integrations_names && m->integrations_names[n])
        n++;
    i->names = arena_zalloc(&i->arena, (n + 2) * sizeof *i->names);
    if (i->name && i->name[0])
        i->names[i->name_count++] = mf_cstr(i->name);
    i->names[i->name_count++] = mf_cstr(m->name);
    for (size_t k = 0; k < n; k++)
        i->names[i->name_count++] = mf_cstr(m->integrations_names[k]);
}

static int filter_ready(struct instance *i, mf_str filter,
                        struct instance_fault *fault)
{
    struct err e = { "" };
    size_t offset = 0;

    if (filter.len == 0)
        return 0;
    i->filter = fql_compile(filter, FQL_FILTER, &e, &offset);
    if (i->filter)
        return 0;
    fault->at = NULL;
    return err_set(&fault->err, "filter, at byte %zu: %s", offset + 1, e.text);
}

static void take_config(struct instance *i, const struct instance_config *c)
{
    i->name = arena_copy(&i->arena, mf_cstr(c->name ? c->name : "")).ptr;
    i->features = c->features;
    i->metadata = c->metadata;
    i->consent = c->consent;
    i->endpoint = c->endpoint;
    while (i->endpoint.len && i->endpoint.ptr[i->endpoint.len - 1] == '/')
        i->endpoint.len--;
    i->lenient = c->lenient;
    i->fixed = c->fixed;
    i->fixed_now = c->now;
    i->uuid_counter = c->uuid_counter;
    instance_set_auth(i, c->auth);
}

struct instance *instance_new(struct plugin *p,
                              const struct instance_config *c,
                              struct instance_fault *fault)
{
    struct instance_fault ignored;
    struct instance *i;

    if (!fault)
        fault = &ignored;
    memset(fault, 0, sizeof *fault);
    if (!c->lenient && instance_check(p->manifest, c, fault, FAULTS_KEPT))
        return NULL;
    i = xcalloc(1, sizeof *i);
    arena_init(&i->arena, INSTANCE_ARENA_BYTES);
    i->plugin = p;
    take_config(i, c);
    names_ready(i);
    specials_ready(i);
    if (settings_ready(i, c, &fault->err) < 0) {
        fault->at = c->settings.raw;
        goto bad;
    }
    hosts_compile(i);
    if (filter_ready(i, c->filter, fault) < 0)
        goto bad;
    if (c->subscriptions.type == MF_ABSENT ? from_presets(i, fault) < 0
                                           : from_config(i, c->subscriptions,
                                                         fault) < 0)
        goto bad;
    if (create(i, fault) < 0)
        goto bad;
    return i;
bad:
    instance_free(i);
    return NULL;
}

static void close_native(struct instance *i)
{
    const mf_destination *d = i->plugin->code;
    struct call *c;

    if (!d || !d->close || i->plugin->manifest->kind != PLUGIN_NATIVE)
        return;
    c = call_new(i, UINT32_MAX);
    c->now = clock_ms();
    plugin_memory = c->mem;
    d->close(i->self, &c->pub);
    call_free(c);
}

void instance_free(struct instance *i)
{
    if (!i)
        return;
    if (i->self)
        close_native(i);
    for (size_t k = 0; k < i->sub_count; k++) {
        fql_free(i->subs[k].trigger);
        mapping_free(i->subs[k].mapping);
        free(i->subs[k].fault);
    }
    fql_free(i->filter);
    while (i->free_calls) {
        struct call *next = i->free_calls->next_free;

        call_destroy(i->free_calls);
        i->free_calls = next;
    }
    kept_free(i);
    if (i->region && i->region_len)
        munmap(i->region, i->region_len);
    arena_deinit(&i->own);
    arena_deinit(&i->arena);
    free(i->auth_text);
    free(i);
}

struct plugin *instance_plugin(const struct instance *i)
{
    return i->plugin;
}

void instance_set_auth(struct instance *i, mf_val auth)
{
    char *old = i->auth_text;

    i->auth = auth;
    i->auth_text = NULL;
    if (auth.type != MF_ABSENT) {
        i->auth_text = xstrndup(auth.raw, auth.len);
        i->auth.raw = i->auth_text;
    }
    free(old);
}

void instance_idle(struct instance *i, int64_t deadline_ms)
{
    const mf_destination *d = i->plugin->code;
    struct call *c;

    if (!d || !d->idle)
        return;
    c = call_new(i, UINT32_MAX);
    c->now = clock_ms();
    c->deadline = deadline_ms;
    plugin_memory = c->mem;
    d->idle(i->self, &c->pub);
    call_free(c);
}

size_t instance_subscriptions(const struct instance *i)
{
    return i->sub_count;
}

const struct manifest_action *instance_action(const struct instance *i,
                                              unsigned subscription)
{
    ASSERT(subscription < i->sub_count);
    return i->subs[subscription].action;
}

mf_str instance_subscription_name(const struct instance *i,
                                  unsigned subscription)
{
    ASSERT(subscription < i->sub_count);
    return i->subs[subscription].name;
}

uint32_t instance_batch_size(const struct instance *i, unsigned subscription)
{
    ASSERT(subscription < i->sub_count);
    return i->subs[subscription].batch_size;
}

uint64_t instance_batch_bytes(const struct instance *i, unsigned subscription)
{
    ASSERT(subscription < i->sub_count);
    return i->subs[subscription].batch_bytes;
}

const char *instance_serialize_by(const struct instance *i,
                                  unsigned subscription)
{
    ASSERT(subscription < i->sub_count);
    return i->subs[subscription].action->serialize_by;
}

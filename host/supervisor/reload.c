/* SPDX-License-Identifier: Apache-2.0
 *
 * reload.c - from a configuration and a directory of plugins to the changes
 * they mean, and the outcome told line by line.
 *
 * A fault in the configuration refuses the whole and nothing changes. A
 * plugin that is refused, or that an existing destination's settings do not
 * fit, leaves the old version in use. A destination whose new settings are
 * refused goes on with its old ones. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "plugin/instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_MAX      (32u << 20) /* what one worker is told */
#define FAULTS_TOLD   20

/* ---- outcomes ---- */

void outcome_add(struct outcome *o, const char *kind, const char *name,
                 const char *change, const char *why)
{
    struct outcome_line *l;

    if (!o)
        return;
    if (o->count == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 16;
        o->lines = xrealloc(o->lines, o->cap * sizeof *o->lines);
    }
    l = &o->lines[o->count++];
    snprintf(l->kind, sizeof l->kind, "%s", kind);
    snprintf(l->name, sizeof l->name, "%s", name);
    snprintf(l->change, sizeof l->change, "%s", change);
    l->why = why ? xstrdup(why) : NULL;
    if (strcmp(change, "refused") == 0)
        o->failed = true;
}

static void outcome_clear(struct outcome *o)
{
    for (size_t i = 0; i < o->count; i++)
        free(o->lines[i].why);
    free(o->lines);
    memset(o, 0, sizeof *o);
}

void outcomes_free(struct supervisor *s)
{
    for (size_t i = 0; i < OUTCOMES_KEPT; i++)
        outcome_clear(&s->outcomes[i]);
}

const struct outcome *outcome_find(const struct supervisor *s, uint64_t id)
{
    const struct outcome *o = &s->outcomes[id % OUTCOMES_KEPT];

    return id && o->id == id ? o : NULL;
}

/* ---- destinations ---- */

static struct sup_destination *find(struct supervisor *s, const char *name)
{
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        if (strcmp(d->name, name) == 0)
            return d;
    return NULL;
}

/* The names of the sources that are connected to it, one a line. */
static char *sources_of(const struct config *c, size_t index)
{
    struct buf b;
    char *text;

    buf_init(&b, 1u << 20);
    for (size_t i = 0; i < c->sources.count; i++) {
        const struct conf_source *src = &c->sources.list[i];

        for (size_t k = 0; k < src->destination_count; k++)
            if (src->destinations[k] == index)
                buf_printf(&b, "%s\n", src->name);
    }
    text = xstrndup(b.data ? b.data : "", b.len);
    buf_deinit(&b);
    return text;
}

static char *write_spec(const struct conf_destination *d)
{
    struct json_out w;
    struct buf b;
    char *text;

    buf_init(&b, SPEC_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kstr(&w, "name", mf_cstr(d->name));
    json_kval(&w, "settings", d->settings);
    if (d->subscriptions.json.type != MF_ABSENT)
        json_kval(&w, "subscriptions", d->subscriptions.json);
    if (d->filter.ptr)
        json_kstr(&w, "filter", d->filter);
    if (d->endpoint)
        json_kstr(&w, "endpoint", mf_cstr(d->endpoint));
    json_kint(&w, "concurrency", d->concurrency);
    json_key(&w, MF_STR("rate"));
    json_num(&w, d->rate);
    json_key(&w, MF_STR("retry_rate"));
    json_num(&w, d->retry_rate);
    json_kstr(&w, "order",
              d->order == CONF_ORDER_USER ? MF_STR("user") : MF_STR("none"));
    json_kint(&w, "ttl_ms", d->ttl_ms);
    json_kint(&w, "timeout_ms", d->timeout_ms);
    json_kint(&w, "connect_timeout_ms", d->connect_timeout_ms);
    json_kint(&w, "first_byte_timeout_ms", d->first_byte_timeout_ms);
    json_kint(&w, "batch_wait_ms", d->batch_wait_ms);
    json_kbool(&w, "allow_private", d->allow_private);
    json_end_object(&w);
    text = xstrndup(b.data, b.len);
    buf_deinit(&b);
    return text;
}

/* What the manifest says against it; NULL if nothing, else owned text. */
static char *check(const struct config *c, const struct conf_destination *d,
                   const struct manifest *m)
{
    struct instance_config ic = { .name = d->name,
                                  .settings = d->settings,
                                  .subscriptions = d->subscriptions.json,
                                  .filter = d->filter,
                                  .endpoint = mf_cstr(d->endpoint) };
    struct instance_fault faults[FAULTS_TOLD];
    size_t n = instance_check(m, &ic, faults, FAULTS_TOLD);
    struct buf b;
    char *text;

    if (n == 0)
        return NULL;
    buf_init(&b, 65536);
    for (size_t i = 0; i < n && i < FAULTS_TOLD; i++) {
        struct place at = faults[i].at ? config_place_of(c, faults[i].at)
                                       : config_place(c, d);

        buf_printf(&b, "%s%s:%u:%u: %s", i ? "\n" : "", at.file, at.line,
                   at.column, faults[i].err.text);
    }
    redact_buf(c->secrets, &b, 0);
    text = xstrndup(b.data, b.len);
    buf_deinit(&b);
    return text;
}

static void set_text(char **slot, char *text)
{
    free(*slot);
    *slot = text;
}

/* Takes over what the configuration says of one destination. */
static void apply_destination(struct supervisor *s, const struct config *c,
                              size_t index, struct outcome *o)
{
    const struct conf_destination *conf = &c->destinations.list[index];
    struct sup_destination *d = find(s, conf->name);
    struct version *v = version_find(s, conf->plugin);
    char *spec = write_spec(conf), *sources = sources_of(c, index), *why;
    bool fresh = !d, same;

    if (fresh) {
        d = xcalloc(1, sizeof *d);
        snprintf(d->name, sizeof d->name, "%s", conf->name);
        d->paused = state_paused(s->state, d->name, d->pause_why,
                                 sizeof d->pause_why);
        pace_load(s, d);
        d->next = s->destinations;
        s->destinations = d;
    }
    why = v && v->manifest ? check(c, conf, v->manifest) : NULL;
    if (why) {
        log_error("destination %s: refused:\n%s", d->name, why);
        outcome_add(o, "destination", d->name, "refused", why);
        set_text(&d->problem, why);
        if (!d->spec)
            d->condition = COND_REFUSED;
        set_text(&d->sources, sources);
        free(spec);
        return;
    }
    same = d->spec && strcmp(d->spec, spec) == 0 && d->sources &&
           strcmp(d->sources, sources) == 0 &&
           strcmp(d->plugin, conf->plugin) == 0 &&
           d->isolate == conf->isolate;
    snprintf(d->plugin, sizeof d->plugin, "%s", conf->plugin);
    d->isolate = conf->isolate;
    d->rate = conf->rate;
    set_text(&d->spec, spec);
    set_text(&d->sources, sources);
    set_text(&d->problem, NULL);
    if (fresh)
        d->condition = COND_STARTING;
    if (!v || !v->manifest) {
        char text[256];

        snprintf(text, sizeof text,
                 v && v->problem ? "%s" : "plugin %s.so is not in the plugins "
                                          "directory; its events wait",
                 v && v->problem ? v->problem : conf->plugin);
        set_text(&d->problem, xstrdup(text));
        d->condition = COND_MISSING_PLUGIN;
    }
    outcome_add(o, "destination", d->name,
                fresh  ? "added"
                : same ? "unchanged"
                       : "replaced",
                d->condition == COND_MISSING_PLUGIN ? d->problem : NULL);
}

static void drop_destinations(struct supervisor *s, const struct config *c,
                              struct outcome *o)
{
    struct sup_destination **at = &s->destinations;

    while (*at) {
        struct sup_destination *d = *at;

        if (config_destination(c, mf_cstr(d->name))) {
            at = &d->next;
            continue;
        }
        outcome_add(o, "destination", d->name, "removed", NULL);
        lanes_detach(s, d);
        *at = d->next;
        free(d->spec);
        free(d->sources);
        free(d->problem);
        free(d);
    }
}

/* ---- connections ---- */

static void open_lanes(struct supervisor *s)
{
    struct err e;

    for (struct sup_destination *d = s->destinations; d; d = d->next) {
        const char *p = d->sources;

        lanes_detach(s, d);
        while (p && *p) {
            const char *end = strchr(p, '\n');
            char *name = xstrndup(p, (size_t)(end - p));

            if (!lane_open(s, name, d, &e))
                supervisor_log_state_error(s, &e);
            free(name);
            p = end + 1;
        }
        replays_attach(s, d);
    }
}

static void tell_ingest(struct supervisor *s, const struct config *c)
{
    struct json_out w;
    struct err e;
    struct buf b;

    buf_init(&b, IPC_MESSAGE_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kint(&w, "max_event_bytes", (int64_t)c->ingest.max_event_bytes);
    json_kint(&w, "max_batch_bytes", (int64_t)c->ingest.max_batch_bytes);
    json_kint(&w, "dedupe_window_ms", c->ingest.dedupe_window_ms);
    json_kint(&w, "dedupe_memory", (int64_t)c->ingest.dedupe_memory);
    json_kint(&w, "max_connections", c->ingest.max_connections);
    json_kint(&w, "max_connections_per_peer",
              c->ingest.max_connections_per_peer);
    json_kint(&w, "header_timeout_ms", c->ingest.header_timeout_ms);
    json_kint(&w, "idle_timeout_ms", c->ingest.idle_timeout_ms);
    json_kint(&w, "threads", s->threads);
    json_kint(&w, "retention_ms", c->journal.retention_ms);
    json_kint(&w, "max_bytes", (int64_t)c->journal.max_bytes);
    json_kint(&w, "number", (int64_t)++s->ingest_told);
    json_kbool(&w, "proxy_protocol", c->ingest.proxy_protocol);
    json_key(&w, MF_STR("trusted_proxies"));
    json_begin_array(&w);
    for (size_t i = 0; i < c->ingest.trusted_proxies.count; i++)
        json_str(&w, mf_cstr(c->ingest.trusted_proxies.list[i]));
    json_end_array(&w);
    json_key(&w, MF_STR("sources"));
    json_begin_array(&w);
    for (size_t i = 0; i < c->sources.count; i++) {
        const struct conf_source *src = &c->sources.list[i];

        if (!src->enabled)
            continue;
        json_begin_object(&w);
        json_kint(&w, "id", state_source(s->state, src->name, &e));
        json_kstr(&w, "name", mf_cstr(src->name));
        json_kstr(&w, "write_key", mf_cstr(src->write_key));
        tracking_write(s, &w, src);
        if (src->rate > 0) {
            json_key(&w, MF_STR("rate"));
            json_num(&w, src->rate);
            json_kint(&w, "burst", src->burst);
        }
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    tracking_tell(s);
    child_send(s->ingest, MSG_INGEST_CONFIG, b.data, b.len, -1);
    buf_deinit(&b);
}

static void tell_admin(struct supervisor *s, const struct config *c)
{
    struct json_out w;
    struct buf b;

    if (!s->admin)
        return;
    buf_init(&b, 65536);
    json_out_init(&w, &b);
    json_begin_object(&w);
    if (c->admin.token)
        json_kstr(&w, "token", mf_cstr(c->admin.token));
    json_end_object(&w);
    child_send(s->admin, MSG_ADMIN_CONFIG, b.data, b.len, -1);
    buf_deinit(&b);
}

void reload_tell_children(struct supervisor *s)
{
    struct err e;

    if (s->ingest)
        tell_ingest(s, s->config);
    tell_admin(s, s->config);
    if (supervisor_commit(s, &e) != 0) /* source numbers go out at once */
        supervisor_log_state_error(s, &e);
}

/* ---- groups ---- */

static void key_of(const struct supervisor *s, const struct sup_destination *d,
                   char *key, size_t size)
{
    struct version *v = version_find((struct supervisor *)(uintptr_t)s,
                                     d->plugin);
    bool alone = d->isolate ||
                 (v && v->manifest && v->manifest->kind == PLUGIN_NATIVE);

    snprintf(key, size, alone ? "%s/%s" : "%s", d->plugin, d->name);
}

static bool can_run(struct supervisor *s, const struct sup_destination *d)
{
    struct version *v = version_find(s, d->plugin);

    return d->spec && v && v->manifest;
}

/* The whole of what a worker of the group is told: one text, so that equal
 * means unchanged. Sources and the plugin's hash are in it for that. */
static char *group_spec(struct supervisor *s, struct group *g)
{
    struct version *v = version_find(s, g->plugin);
    struct buf b;
    char *text;
    size_t n = 0;

    buf_init(&b, SPEC_MAX);
    buf_printf(&b, "{\"hash\":\"%s\",\"destinations\":[", v->hash);
    for (struct sup_destination *d = s->destinations; d; d = d->next) {
        if (d->group != g || !can_run(s, d))
            continue;
        buf_puts(&b, n++ ? "," : "");
        buf_puts(&b, d->spec);
    }
    buf_puts(&b, "],\"connections\":[");
    n = 0;
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        if (d->group == g && can_run(s, d)) {
            buf_puts(&b, n++ ? ",\"" : "\"");
            json_escape(&b, mf_cstr(d->sources));
            buf_puts(&b, "\"");
        }
    buf_puts(&b, "],\"secrets\":[");
    for (size_t i = 0; i < redact_count(s->config->secrets); i++) {
        mf_str secret = redact_nth(s->config->secrets, i);

        /* Only those that stand in what this worker is told anyway. */
        if (!memmem(b.data, b.len, secret.ptr, secret.len))
            continue;
        buf_puts(&b, b.data[b.len - 1] == '[' ? "\"" : ",\"");
        json_escape(&b, secret);
        buf_puts(&b, "\"");
    }
    buf_puts(&b, "]}");
    ASSERT(!b.full);
    text = xstrndup(b.data, b.len);
    buf_deinit(&b);
    return text;
}

static void arrange_groups(struct supervisor *s)
{
    char key[160];

    for (struct group *g = s->groups; g; g = g->next)
        g->wanted = false;
    for (struct sup_destination *d = s->destinations; d; d = d->next) {
        if (!can_run(s, d)) {
            d->group = NULL;
            continue;
        }
        key_of(s, d, key, sizeof key);
        d->group = group_find(s, key, true);
        snprintf(d->group->plugin, sizeof d->group->plugin, "%s", d->plugin);
        d->group->wanted = true;
    }
    for (struct group *g = s->groups; g; g = g->next)
        if (g->wanted) {
            char *spec = group_spec(s, g);

            if (g->spec && strcmp(g->spec, spec) != 0) { /* a new chance */
                event_del(g->restart);
                g->restarts.failures = 0;
                poison_forget(g);
            }
            set_text(&g->spec, spec);
            snprintf(g->hash, sizeof g->hash, "%s",
                     version_find(s, g->plugin)->hash);
        }
}

static void settle_groups(struct supervisor *s)
{
    for (struct group *g = s->groups; g; g = g->next)
        group_settle(g);
}

/* ---- the whole ---- */

/* Whether every destination of a plugin can live with a new manifest of it;
 * by the configuration that is being applied. */
static char *destinations_fit(struct supervisor *s, const struct manifest *m)
{
    for (size_t i = 0; i < s->config->destinations.count; i++) {
        const struct conf_destination *d = &s->config->destinations.list[i];
        char *why;

        if (strcmp(d->plugin, m->slug) != 0)
            continue;
        why = check(s->config, d, m);
        if (why)
            return why;
    }
    return NULL;
}

static void tell_sources(const struct config *old, const struct config *new,
                         struct outcome *o)
{
    for (size_t i = 0; i < new->sources.count; i++) {
        const struct conf_source *n = &new->sources.list[i], *was = NULL;

        if (old)
            was = config_source(old, mf_cstr(n->name));
        outcome_add(o, "source", n->name,
                    !was ? "added"
                    : strcmp(was->fingerprint, n->fingerprint) == 0
                        ? "unchanged"
                        : "replaced",
                    NULL);
    }
    for (size_t i = 0; old && i < old->sources.count; i++)
        if (!config_source(new, mf_cstr(old->sources.list[i].name)))
            outcome_add(o, "source", old->sources.list[i].name, "removed",
                        NULL);
}

/* What cannot change while running is told, and left as it is. */
static void check_fixed(const struct config *old, const struct config *new,
                        struct outcome *o)
{
    static const char text[] = "changing it needs a restart; the old value "
                               "stays in use until then";

    if (!old)
        return;
    if (strcmp(old->data_dir, new->data_dir) != 0)
        outcome_add(o, "section", "data_dir", "refused", text);
    if (old->journal.engine != new->journal.engine)
        outcome_add(o, "section", "journal", "refused", text);
    if (old->ingest.threads != new->ingest.threads)
        outcome_add(o, "section", "ingest", "refused", text);
    if (strcmp(old->admin.listen.text, new->admin.listen.text) != 0)
        outcome_add(o, "section", "admin", "refused", text);
}

/* c is taken over. At the start it is s->config itself. */
void reload_apply(struct supervisor *s, struct config *c, bool force,
                  struct outcome *o)
{
    struct config *old = s->config == c ? NULL : s->config;
    struct err e;

    check_fixed(old, c, o);
    if (listen_update(s, c, &e) != 0)
        outcome_add(o, "section", "ingest", "refused", e.text);
    tell_sources(old, c, o);
    tracking_update(s, c, o);
    s->config = c;
    versions_scan(s, c->plugins_dir, force, destinations_fit, o);
    for (size_t i = 0; i < c->destinations.count; i++)
        apply_destination(s, c, i, o);
    drop_destinations(s, c, o);
    if (old)
        config_free(old);
    open_lanes(s); /* before ingest takes events of a new source */
    reload_tell_children(s);
    arrange_groups(s);
    settle_groups(s);
}

static void begin(struct supervisor *s, bool force)
{
    struct faults *faults = xcalloc(1, sizeof *faults);
    struct outcome *o = &s->outcomes[s->reloads % OUTCOMES_KEPT];
    struct certificate shown = { 0 };
    struct config *c = NULL;

    supervisor_notify("RELOADING=1\nMONOTONIC_USEC=%lld",
                      (long long)(clock_mono_ns() / 1000));
    outcome_clear(o);
    o->id = s->reloads;
    o->began_ms = clock_ms();
    s->reloading = o;
    faults_init(faults);
    if (config_load(s->config_path, &c, faults) != 0 ||
        certificate_load(c, &shown, faults) != 0) {
        struct buf b;

        buf_init(&b, 1u << 20);
        faults_write(faults, &b);
        while (b.len && b.data[b.len - 1] == '\n')
            b.len--;
        buf_char(&b, 0);
        outcome_add(o, "config", s->config_path, "refused", b.data);
        log_error("reload: the configuration is refused:\n%s", b.data);
        buf_deinit(&b);
        config_free(c);
    } else {
        if (shown.chain) /* before the listeners that need it */
            certificate_use(s, &shown);
        reload_apply(s, c, force, o);
        if (!c->ingest.tls.certificate)
            certificate_use(s, &shown);
    }
    faults_deinit(faults);
    free(faults);
    reload_check(s);
}

uint64_t reload_begin(struct supervisor *s, bool force)
{
    if (s->stopping)
        return s->reloads;
    if (s->reloading) {
        s->reload_again = true;
        s->force_again |= force;
        return s->reloads + 1;
    }
    s->reloads++;
    begin(s, force);
    return s->reloads;
}

void reload_check(struct supervisor *s)
{
    struct outcome *o = s->reloading;

    if (!o)
        return;
    for (struct group *g = s->groups; g; g = g->next)
        if (!group_is_settled(g))
            return;
    if (s->ingest_ready && s->ingest_took != s->ingest_told)
        return; /* requests may still go by what was before */
    s->reloading = NULL;
    o->done = true;
    o->ended_ms = clock_ms();
    if (o->failed)
        s->reloads_refused++;
    else
        s->reloads_ok++;
    log_info("reload %llu: %s", (unsigned long long)o->id,
             o->failed ? "done, but something was refused" : "done");
    supervisor_notify("READY=1\nSTATUS=reload %llu %s",
                      (unsigned long long)o->id,
                      o->failed ? "refused something" : "done");
    if (s->reload_again) {
        bool force = s->force_again;

        s->reload_again = s->force_again = false;
        s->reloads++;
        begin(s, force);
    }
}

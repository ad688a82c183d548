/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - see config.h: finds the files, reads them by the tables of
 * shapes.c, and checks what concerns more than one member.
 *
 * Nothing stops at the first fault. A member with a fault keeps its zero, and
 * the checks here leave zeros alone, so that one mistake is told once. */
#include "config/config.h"

#include "base/text.h"
#include "config/kind.h"
#include "config/shapes.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- files ---- */

static const char *from_environment(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The names of conf.d's files in order; the caller frees each and the list. */
static char **list_parts(const char *dir, size_t *count, struct faults *f)
{
    struct place at = { dir, 0, 0 };
    DIR *d = opendir(dir);
    char **names;
    struct dirent *e;

    *count = 0;
    if (!d && errno == ENOENT)
        return NULL;
    if (!d) {
        faults_error(f, at, "cannot be listed: %s; let this user read it, or "
                            "remove it",
                     strerror(errno));
        return NULL;
    }
    names = xcalloc(CONFIG_FILES_MAX, sizeof *names);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.' ||
            !str_ends(mf_cstr(e->d_name), MF_STR(".json")))
            continue;
        if (*count == CONFIG_FILES_MAX) {
            faults_error(f, at, "there are more than %d files; join some",
                         CONFIG_FILES_MAX);
            break;
        }
        names[(*count)++] = xasprintf("%s/%s", dir, e->d_name);
    }
    closedir(d);
    qsort(names, *count, sizeof *names, by_name);
    return names;
}

/* Reads the main file and its parts. -1 when the main file is not JSON. */
static int read_files(struct config *c, const struct config_env *env,
                      struct faults *f)
{
    struct config_private *p = c->private;
    const char *slash = strrchr(c->path, '/');
    char *dir = xasprintf("%.*sconf.d",
                          slash ? (int)(slash + 1 - c->path) : 0, c->path);
    size_t parts;
    char **names = list_parts(dir, &parts, f);
    int rc;

    p->files = xcalloc(parts + 1, sizeof *p->files);
    p->file_count = 1;
    rc = conf_file_read(&p->files[0], c->path, env, f);
    for (size_t i = 0; i < parts; i++) {
        if (conf_file_read(&p->files[p->file_count], names[i], env, f) == 0)
            p->file_count++;
        else
            conf_file_deinit(&p->files[p->file_count]);
        free(names[i]);
    }
    free(names);
    free(dir);
    return rc;
}

static mf_val root_of(const struct conf_file *f)
{
    return json_root(buf_view(&f->text));
}

/* ---- reading ---- */

/* Room for the entries of all files at once: their addresses must last. */
static void make_room(struct config *c, mf_str key, void *list, size_t size)
{
    struct member_list *to = list;
    size_t n = 0;

    for (size_t i = 0; i < c->private->file_count; i++)
        n += json_count(json_get(root_of(&c->private->files[i]), key));
    to->list = arena_zalloc(&c->private->arena, (n + 1) * size);
}

static void read_members(struct config *c, struct faults *f)
{
    const char *seen[MEMBERS_MAX] = { NULL };
    struct config_private *p = c->private;
    struct reader r = { c, NULL, f };

    make_room(c, MF_STR("sources"), &c->sources, sizeof(struct conf_source));
    make_room(c, MF_STR("destinations"), &c->destinations,
              sizeof(struct conf_destination));
    for (size_t i = 0; i < p->file_count; i++) {
        r.file = &p->files[i];
        member_read(&r, &shape_top, root_of(r.file), c, seen);
    }
    r.file = &p->files[0];
    member_finish(&r, &shape_top, root_of(r.file).raw, c, seen);
    member_sort_places(c);
}

/* ---- names ---- */

static int source_order(const void *left, const void *right)
{
    const struct conf_source *const *a = left, *const *b = right;

    return strcmp((*a)->name, (*b)->name);
}

static int destination_order(const void *left, const void *right)
{
    const struct conf_destination *const *a = left, *const *b = right;

    return strcmp((*a)->name, (*b)->name);
}

static void index_names(struct config *c)
{
    struct config_private *p = c->private;

    p->sources = xcalloc(c->sources.count, sizeof *p->sources);
    for (size_t i = 0; i < c->sources.count; i++)
        p->sources[i] = &c->sources.list[i];
    qsort(p->sources, c->sources.count, sizeof *p->sources, source_order);
    p->destinations = xcalloc(c->destinations.count, sizeof *p->destinations);
    for (size_t i = 0; i < c->destinations.count; i++)
        p->destinations[i] = &c->destinations.list[i];
    qsort(p->destinations, c->destinations.count, sizeof *p->destinations,
          destination_order);
}

struct conf_source *config_source(const struct config *c, mf_str name)
{
    size_t low = 0, high = c->sources.count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        struct conf_source *s = c->private->sources[mid];
        int order = strncmp(s->name, name.ptr, name.len);

        if (order == 0 && s->name[name.len] == 0)
            return s;
        if (order >= 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

struct conf_destination *config_destination(const struct config *c,
                                            mf_str name)
{
    size_t low = 0, high = c->destinations.count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        struct conf_destination *d = c->private->destinations[mid];
        int order = strncmp(d->name, name.ptr, name.len);

        if (order == 0 && d->name[name.len] == 0)
            return d;
        if (order >= 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* ---- checks ---- */

static void unknown_destination(const struct config *c,
                                const struct conf_source *s,
                                const char *const *name, struct faults *f)
{
    size_t n = c->destinations.count;
    const char **names = xcalloc(n + 1, sizeof *names), *meant;
    char quote[CONF_QUOTE];

    for (size_t i = 0; i < n; i++)
        names[i] = c->destinations.list[i].name;
    meant = nearest(*name, names);
    if (meant)
        faults_error(f, config_place(c, name),
                     "the source \"%s\" sends to %s, and there is no "
                     "such destination; did you mean \"%s\"?",
                     s->name, member_quote(c, name, quote), meant);
    else
        faults_error(f, config_place(c, name),
                     "the source \"%s\" sends to %s, and there is no "
                     "such destination; add it to \"destinations\", or take "
                     "the name away",
                     s->name, member_quote(c, name, quote));
    free(names);
}

static void resolve_source(struct config *c, struct conf_source *s, bool *used,
                           struct faults *f)
{
    const struct conf_texts *names = &s->destination_names;

    s->destinations = arena_zalloc(&c->private->arena,
                                   names->count * sizeof *s->destinations);
    for (size_t i = 0; i < names->count; i++) {
        struct conf_destination *d =
            config_destination(c, mf_cstr(names->list[i]));
        size_t index, k = 0;

        if (!d) {
            unknown_destination(c, s, &names->list[i], f);
            continue;
        }
        index = (size_t)(d - c->destinations.list);
        used[index] = true;
        while (k < s->destination_count && s->destinations[k] != index)
            k++;
        if (k == s->destination_count)
            s->destinations[s->destination_count++] = index;
        else
            faults_error(f, config_place(c, &names->list[i]),
                         "the source \"%s\" names \"%s\" twice; remove one of "
                         "them",
                         s->name, d->name);
    }
}

static void check_connections(struct config *c, struct faults *f)
{
    bool *used = xcalloc(c->destinations.count, sizeof *used);

    for (size_t i = 0; i < c->sources.count; i++)
        resolve_source(c, &c->sources.list[i], used, f);
    for (size_t i = 0; i < c->destinations.count; i++)
        if (!used[i])
            faults_warn(f, config_place(c, &c->destinations.list[i]),
                        "no source sends to \"%s\"; name it in the "
                        "\"destinations\" of a source",
                        c->destinations.list[i].name);
    free(used);
}

/* One of the sources that another forwards to. */
static void check_forward(const struct config *c, const struct conf_source *s,
                          const char *const *name, struct faults *f)
{
    const struct conf_source *to;
    char quote[CONF_QUOTE];

    if (!*name)
        return;
    to = config_source(c, mf_cstr(*name));
    if (!to)
        faults_error(f, config_place(c, name),
                     "the source \"%s\" forwards to %s, and there is no such "
                     "source; add it to \"sources\", or take this away",
                     s->name, member_quote(c, name, quote));
    else if (to == s)
        faults_error(f, config_place(c, name),
                     "the source \"%s\" forwards to itself; name another",
                     s->name);
    else if (!to->enabled)
        faults_error(f, config_place(c, name),
                     "the source \"%s\" forwards to \"%s\", which is not "
                     "enabled; enable it, or name another",
                     s->name, to->name);
}

static void check_forwards(const struct config *c, struct faults *f)
{
    for (size_t i = 0; i < c->sources.count; i++) {
        const struct conf_source *s = &c->sources.list[i];

        check_forward(c, s, &s->schema.violations_to, f);
        check_forward(c, s, &s->schema.blocked_to, f);
    }
}

static int key_order(const void *left, const void *right)
{
    const struct conf_source *const *a = left, *const *b = right;
    int order = strcmp((*a)->write_key, (*b)->write_key);

    return order ? order : *a < *b ? -1 : *a > *b;
}

static void check_write_keys(struct config *c, struct faults *f)
{
    struct conf_source **list = xcalloc(c->sources.count, sizeof *list);
    size_t n = 0, first = 0;

    for (size_t i = 0; i < c->sources.count; i++)
        if (c->sources.list[i].write_key)
            list[n++] = &c->sources.list[i];
    qsort(list, n, sizeof *list, key_order);
    for (size_t i = 1; i < n; i++) {
        struct place at;

        if (strcmp(list[i]->write_key, list[first]->write_key) != 0) {
            first = i;
            continue;
        }
        at = config_place(c, &list[first]->write_key);
        faults_error(f, config_place(c, &list[i]->write_key),
                     "the source \"%s\" has the write key of \"%s\" at "
                     "%s:%u:%u; give each source its own",
                     list[i]->name, list[first]->name, at.file, at.line,
                     at.column);
    }
    free(list);
}

/* Whether admin.token stands in a file, even if it could not be read. */
static bool token_given(const struct config *c)
{
    for (size_t i = 0; i < c->private->file_count; i++) {
        mf_val admin = json_get(root_of(&c->private->files[i]),
                                MF_STR("admin"));

        if (json_get(admin, MF_STR("token")).type != MF_ABSENT)
            return true;
    }
    return false;
}

static bool same_address(const struct conf_address *a,
                         const struct conf_address *b)
{
    if (a->socket && b->socket)
        return strcmp(a->socket, b->socket) == 0;
    if (!a->text || !b->text || a->port == 0 || a->port != b->port)
        return false;
    return !a->host || !b->host || strcmp(a->host, b->host) == 0;
}

const struct conf_address *config_listen(const struct config *c, size_t n,
                                         bool *tls)
{
    const struct conf_ingest *in = &c->ingest;

    *tls = in->tls.certificate != NULL &&
           (in->tls.listen.count == 0 || n >= in->listen.count);
    if (n < in->listen.count)
        return &in->listen.list[n];
    n -= in->listen.count;
    return n < in->tls.listen.count ? &in->tls.listen.list[n] : NULL;
}

static void check_addresses(struct config *c, struct faults *f)
{
    const struct conf_address *admin = &c->admin.listen, *a, *b;
    bool tls;

    for (size_t i = 0; (a = config_listen(c, i, &tls)); i++)
        for (size_t k = 0; k < i; k++) {
            b = config_listen(c, k, &tls);
            if (same_address(a, b))
                faults_error(f, config_place(c, a),
                             "%s and %s cannot both be listened on; remove "
                             "one or change its port",
                             b->text, a->text);
        }
    for (size_t i = 0; (a = config_listen(c, i, &tls)); i++)
        if (same_address(a, admin))
            faults_error(f, config_place(c, admin),
                         "\"admin\" listens on %s and \"ingest\" on %s; give "
                         "them different ports",
                         admin->text, a->text);
    if (admin->text && !admin->loopback && !token_given(c))
        faults_error(f, config_place(c, admin),
                     "\"admin\" can be reached from other machines at %s and "
                     "asks for no token; add \"token\", or listen on "
                     "127.0.0.1",
                     admin->text);
}

static void check_journal(struct config *c, struct faults *f)
{
    const struct conf_journal *j = &c->journal;
    bool kafka = j->engine == CONF_ENGINE_KAFKA;
    bool given = j->kafka.topic || j->kafka.brokers.count;

    if (kafka && !given && f->errors == 0)
        faults_error(f, config_place(c, &j->engine),
                     "the engine \"kafka\" needs its cluster; add \"kafka\": "
                     "{\"brokers\": [...], \"topic\": \"...\"}");
    if (!kafka && given)
        faults_warn(f, config_place(c, &j->kafka.brokers),
                    "\"kafka\" is not used with the engine \"local\"; remove "
                    "it or set \"engine\": \"kafka\"");
    for (size_t i = 0; i < c->destinations.count; i++) {
        const struct conf_destination *d = &c->destinations.list[i];

        if (d->ttl_ms > j->retention_ms && j->retention_ms)
            faults_warn(f, config_place(c, &d->ttl_ms),
                        "\"%s\" tries for longer than the journal keeps "
                        "events; raise \"retention\" or lower \"ttl\"",
                        d->name);
    }
}

static void check_rest(struct config *c, struct faults *f)
{
    const struct conf_ingest *in = &c->ingest;

    if (in->max_event_bytes > in->max_batch_bytes && in->max_batch_bytes)
        faults_error(f, config_place(c, &in->max_event_bytes),
                     "an event of %llu bytes would not fit into a request of "
                     "%llu; raise \"max_batch_bytes\"",
                     (unsigned long long)in->max_event_bytes,
                     (unsigned long long)in->max_batch_bytes);
    if (in->proxy_protocol && in->trusted_proxies.count == 0)
        faults_error(f, config_place(c, &in->proxy_protocol),
                     "\"proxy_protocol\" is of those in \"trusted_proxies\", "
                     "and there are none; name the proxies, or take it away");
    if (c->sources.count == 0)
        faults_warn(f, config_place(c, &c->data_dir),
                    "there are no sources, so nothing will be accepted; add "
                    "\"sources\": {\"NAME\": {\"write_key\": \"...\"}}");
}

/* ---- secrets and fingerprints ---- */

static void gather_secrets(struct config *c)
{
    struct arena text;

    arena_init(&text, SIZE_MAX / 8);
    for (size_t i = 0; i < c->private->file_count; i++) {
        const struct conf_file *f = &c->private->files[i];

        for (size_t k = 0; k < f->segment_count; k++) {
            const struct segment *s = &f->segments[k];

            if (s->kind == SEGMENT_REPLACED && !s->plain)
                redact_add(c->secrets,
                           json_unescape((mf_str){ f->text.data + s->out,
                                                   s->out_len },
                                         &text));
        }
    }
    arena_deinit(&text);
}

static void redact_faults(const struct redact *secrets, struct faults *f)
{
    for (size_t i = 0; i < f->count; i++) {
        char *text = f->list[i].text;

        text[redact_text(secrets, text, strlen(text))] = 0;
    }
}

static void print_shape(const struct shape *s, const void *base,
                        char out[CONFIG_PRINT])
{
    struct json_out w;
    struct buf b;

    buf_init(&b, CONFIG_TEXT_MAX * 2);
    json_out_init(&w, &b);
    member_write_all(&w, s, base);
    canon_print(buf_view(&b), out);
    explicit_bzero(b.data, b.len);
    buf_deinit(&b);
}

static void print_section(const struct member *m, const void *base,
                          char out[CONFIG_PRINT])
{
    struct member rows[2] = { *m, { NULL } };
    struct shape one = { "", rows, 0 };

    print_shape(&one, base, out);
}

static void print_all(struct config *c)
{
    for (const struct member *m = shape_top.members; m->key; m++)
        print_section(m, c, c->private->sections[m - shape_top.members]);
    for (size_t i = 0; i < c->sources.count; i++)
        print_shape(&shape_source, &c->sources.list[i],
                    c->sources.list[i].fingerprint);
    for (size_t i = 0; i < c->destinations.count; i++)
        print_shape(&shape_destination, &c->destinations.list[i],
                    c->destinations.list[i].fingerprint);
}

/* ---- loading ---- */

int config_load(const char *path, struct config **out, struct faults *f)
{
    struct config_env env = { from_environment, NULL };

    return config_load_env(path, &env, out, f);
}

int config_load_env(const char *path, const struct config_env *env,
                    struct config **out, struct faults *f)
{
    struct config *c = xcalloc(1, sizeof *c);
    bool usable;

    *out = NULL;
    c->private = xcalloc(1, sizeof *c->private);
    arena_init(&c->private->arena, SIZE_MAX / 8);
    c->secrets = redact_new();
    c->path = arena_copy(&c->private->arena, mf_cstr(path)).ptr;
    usable = read_files(c, env, f) == 0;
    if (usable) {
        read_members(c, f);
        index_names(c);
        check_connections(c, f);
        check_write_keys(c, f);
        check_forwards(c, f);
        check_addresses(c, f);
        check_journal(c, f);
        check_rest(c, f);
        print_all(c);
    }
    gather_secrets(c);
    redact_faults(c->secrets, f);
    faults_sort(f);
    if (usable)
        *out = c;
    else
        config_free(c);
    return f->errors ? -1 : 0;
}

static void wipe(const char *text)
{
    if (text)
        explicit_bzero((char *)text, strlen(text));
}

void config_free(struct config *c)
{
    struct config_private *p;

    if (!c)
        return;
    p = c->private;
    wipe(c->admin.token);
    for (size_t i = 0; i < c->sources.count; i++)
        wipe(c->sources.list[i].write_key);
    for (size_t i = 0; i < p->file_count; i++)
        conf_file_deinit(&p->files[i]);
    free(p->files);
    free(p->places);
    free(p->sources);
    free(p->destinations);
    arena_deinit(&p->arena);
    redact_free(c->secrets);
    free(p);
    free(c);
}

/* ---- comparing ---- */

static void diff_sections(const struct config *a, const struct config *b,
                          config_diff_fn *tell, void *context)
{
    for (const struct member *m = shape_top.members; m->key; m++) {
        size_t i = (size_t)(m - shape_top.members);

        if (m->kind != KIND_ENTRIES)
            tell(context, "section", m->key,
                 strcmp(a->private->sections[i], b->private->sections[i])
                     ? CONFIG_CHANGED
                     : CONFIG_UNCHANGED);
    }
}

static void diff_sources(const struct config *a, const struct config *b,
                         config_diff_fn *tell, void *context)
{
    for (size_t i = 0; i < b->sources.count; i++) {
        const struct conf_source *now = &b->sources.list[i], *was;

        was = config_source(a, mf_cstr(now->name));
        tell(context, "source", now->name,
             !was ? CONFIG_ADDED
             : strcmp(was->fingerprint, now->fingerprint) ? CONFIG_CHANGED
                                                          : CONFIG_UNCHANGED);
    }
    for (size_t i = 0; i < a->sources.count; i++)
        if (!config_source(b, mf_cstr(a->sources.list[i].name)))
            tell(context, "source", a->sources.list[i].name, CONFIG_REMOVED);
}

static void diff_destinations(const struct config *a, const struct config *b,
                              config_diff_fn *tell, void *context)
{
    for (size_t i = 0; i < b->destinations.count; i++) {
        const struct conf_destination *now = &b->destinations.list[i], *was;

        was = config_destination(a, mf_cstr(now->name));
        tell(context, "destination", now->name,
             !was ? CONFIG_ADDED
             : strcmp(was->fingerprint, now->fingerprint) ? CONFIG_CHANGED
                                                          : CONFIG_UNCHANGED);
    }
    for (size_t i = 0; i < a->destinations.count; i++)
        if (!config_destination(b, mf_cstr(a->destinations.list[i].name)))
            tell(context, "destination", a->destinations.list[i].name,
                 CONFIG_REMOVED);
}

void config_diff(const struct config *before, const struct config *after,
                 config_diff_fn *tell, void *context)
{
    diff_sections(before, after, tell, context);
    diff_sources(before, after, tell, context);
    diff_destinations(before, after, tell, context);
}

void config_describe(struct json_out *w)
{
    json_begin_array(w);
    member_describe(w, &shape_top, "");
    json_end_array(w);
}

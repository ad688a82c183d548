/* SPDX-License-Identifier: Apache-2.0
 *
 * versions.c - which plugins there are, and in which version each is in use.
 *
 * A file that is refused, or whose manifest does not fit the destinations
 * that use it, changes nothing: the version in use stays, with the reason
 * beside it. A file that is gone leaves its destinations without a plugin. */
#include "supervisor/supervisor.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct version *version_find(struct supervisor *s, const char *slug)
{
    for (size_t i = 0; i < s->version_count; i++)
        if (strcmp(s->versions[i].slug, slug) == 0)
            return &s->versions[i];
    return NULL;
}

static struct version *find_or_add(struct supervisor *s, const char *slug)
{
    struct version *v = version_find(s, slug);

    if (v || s->version_count == VERSIONS_MAX)
        return v;
    v = &s->versions[s->version_count++];
    memset(v, 0, sizeof *v);
    snprintf(v->slug, sizeof v->slug, "%s", slug);
    return v;
}

static void set_problem(struct version *v, const char *why)
{
    free(v->problem);
    v->problem = why ? xstrdup(why) : NULL;
}

static void refuse(struct version *v, const char *why, struct outcome *o)
{
    bool told = v->problem && strcmp(v->problem, why) == 0;

    set_problem(v, why);
    outcome_add(o, "plugin", v->slug, "refused", why);
    if (!told)
        log_error("plugin %s: refused: %s", v->slug, why);
}

static void take(struct supervisor *s, struct version *v,
                 const struct plugin_file *f,
                 char *(*fits)(struct supervisor *, const struct manifest *),
                 struct outcome *o)
{
    bool had = v->manifest != NULL;
    struct manifest *m;
    struct err e;
    char *why;

    if (had && strcmp(v->hash, f->hash) == 0) {
        set_problem(v, NULL);
        outcome_add(o, "plugin", v->slug, "unchanged", NULL);
        return;
    }
    m = manifest_parse(xstrndup(f->manifest, f->manifest_len),
                       f->manifest_len, f->path, &e);
    if (!m) {
        refuse(v, e.text, o);
        return;
    }
    if (strcmp(m->slug, v->slug) != 0) {
        char text[256];

        snprintf(text, sizeof text,
                 "%s.so says that it is %s; name the file %s.so", v->slug,
                 m->slug, m->slug);
        refuse(v, text, o);
        manifest_free(m);
        return;
    }
    why = had ? fits(s, m) : NULL;
    if (why) {
        refuse(v, why, o);
        free(why);
        manifest_free(m);
        return;
    }
    manifest_free(v->manifest);
    v->manifest = m;
    memcpy(v->hash, f->hash, sizeof v->hash);
    set_problem(v, NULL);
    outcome_add(o, "plugin", v->slug, had ? "replaced" : "added", NULL);
    log_info("plugin %s: version %s, content %s", v->slug, m->version,
             v->hash);
}

static void lose(struct version *v, struct outcome *o)
{
    v->present = false;
    if (!v->manifest && !v->problem)
        return;
    outcome_add(o, "plugin", v->slug, "removed", NULL);
    log_info("plugin %s: its file is gone", v->slug);
    manifest_free(v->manifest);
    v->manifest = NULL;
    v->hash[0] = 0;
    set_problem(v, NULL);
}

/* Perhaps it was still being copied. */
static void look_again(struct supervisor *s)
{
    struct timeval tv = { SECOND_LOOK_MS / 1000, SECOND_LOOK_MS % 1000 * 1000 };

    event_add(s->second_look, &tv);
}

void versions_scan(struct supervisor *s, const char *dir, bool force,
                   char *(*fits)(struct supervisor *,
                                 const struct manifest *),
                   struct outcome *o)
{
    struct plugin_files files;
    struct err e;

    if (plugins_scan(dir, s->store, force ? NULL : &s->files, &files, &e) !=
        0) {
        outcome_add(o, "section", "plugins_dir", "refused", e.text);
        log_error("%s", e.text);
        return;
    }
    plugins_free(&s->files);
    s->files = files;
    event_del(s->second_look); /* this one is it; perhaps there is another */
    for (size_t i = 0; i < s->version_count; i++)
        if (!plugins_find(&s->files, s->versions[i].slug))
            lose(&s->versions[i], o);
    for (size_t i = 0; i < s->files.count; i++) {
        const struct plugin_file *f = &s->files.list[i];
        struct version *v = find_or_add(s, f->slug);

        if (!v) {
            log_error("plugin %s: more than %d plugins; left out", f->slug,
                      VERSIONS_MAX);
            continue;
        }
        v->present = true;
        if (f->refused && f->fresh)
            look_again(s);
        if (f->refused)
            refuse(v, f->refused, o);
        else
            take(s, v, f, fits, o);
    }
}

void versions_free(struct supervisor *s)
{
    for (size_t i = 0; i < s->version_count; i++) {
        manifest_free(s->versions[i].manifest);
        free(s->versions[i].problem);
    }
    s->version_count = 0;
    plugins_free(&s->files);
}

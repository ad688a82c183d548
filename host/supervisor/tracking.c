/* SPDX-License-Identifier: Apache-2.0
 *
 * tracking.c - the tracking plans of the sources, held as ingest is to have
 * them.
 *
 * The text of each is in a sealed memfd, so that ingest, which may not read
 * the operator's file and may be started again at any time, gets what was
 * checked. A plan that cannot be used leaves the one before it in use. */
#include "supervisor/supervisor.h"

#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/member.h"
#include "config/shapes.h"
#include "plan/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct sup_plan {
    struct sup_plan *next;
    char source[72];
    uint64_t number;          /* the same for the same text */
    char print[CONFIG_PRINT]; /* of the text */
    int fd;
};

static struct sup_plan **find(struct supervisor *s, const char *source)
{
    struct sup_plan **at = &s->plans;

    while (*at && strcmp((*at)->source, source) != 0)
        at = &(*at)->next;
    return at;
}

static void drop(struct sup_plan **at)
{
    struct sup_plan *p = *at;

    *at = p->next;
    close(p->fd);
    free(p);
}

/* NULL if nothing is wrong with it, else owned text. */
static char *faults_of(const char *path, mf_str text)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct plan *plan;
    char *told = NULL;
    struct buf b;

    faults_init(f);
    plan = plan_compile(text, path, f);
    if (!plan) {
        buf_init(&b, 1u << 20);
        faults_sort(f);
        faults_write(f, &b);
        while (b.len && b.data[b.len - 1] == '\n')
            b.len--;
        told = xstrndup(b.data, b.len);
        buf_deinit(&b);
    }
    plan_release(plan);
    faults_deinit(f);
    free(f);
    return told;
}

static int sealed_copy(mf_str text, struct err *e)
{
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    int fd = memfd_create("tracking-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && io_write_all(fd, text.ptr, text.len) == 0 &&
        fcntl(fd, F_ADD_SEALS, seals) == 0)
        return fd;
    err_sys(e, "there is no memory for a tracking plan");
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Another source's of the same text, which needs no second look. */
static const struct sup_plan *alike(const struct supervisor *s,
                                    const char *print)
{
    const struct sup_plan *p = s->plans;

    while (p && strcmp(p->print, print) != 0)
        p = p->next;
    return p;
}

/* The descriptor and number of a text; NULL, or owned text on why not. */
static char *take(struct supervisor *s, const char *path, mf_str text,
                  const char *print, struct sup_plan *to)
{
    const struct sup_plan *other = alike(s, print);
    struct err e = { "" };
    char *why;

    if (other) {
        to->number = other->number;
        to->fd = fcntl(other->fd, F_DUPFD_CLOEXEC, 0);
        if (to->fd < 0)
            err_sys(&e, "no descriptor for a tracking plan");
    } else {
        why = faults_of(path, text);
        if (why)
            return why;
        to->number = ++s->plan_number;
        to->fd = sealed_copy(text, &e);
    }
    return to->fd < 0 ? xstrdup(e.text) : NULL;
}

static void update_source(struct supervisor *s, const struct conf_source *src,
                          struct outcome *o)
{
    struct sup_plan **at = find(s, src->name), fresh = { .fd = -1 };
    bool had = *at != NULL;
    struct err e = { "" };
    char *text, *why;
    size_t len;

    if (io_read_file(AT_FDCWD, src->tracking_plan, PLAN_BYTES_MAX, &text,
                     &len, &e) != 0) {
        why = xstrdup(e.text);
        text = NULL;
    } else {
        canon_print((mf_str){ text, len }, fresh.print);
        if (had && strcmp((*at)->print, fresh.print) == 0) {
            outcome_add(o, "plan", src->name, "unchanged", NULL);
            free(text);
            return;
        }
        why = take(s, src->tracking_plan, (mf_str){ text, len }, fresh.print,
                   &fresh);
    }
    free(text);
    if (why) {
        log_error("the tracking plan of source %s is refused, %s:\n%s",
                  src->name,
                  had ? "and the one before it stays in use"
                      : "and its events are not checked", why);
        outcome_add(o, "plan", src->name, "refused", why);
        free(why);
        return;
    }
    if (had)
        drop(at);
    snprintf(fresh.source, sizeof fresh.source, "%s", src->name);
    fresh.next = s->plans;
    s->plans = xmalloc(sizeof fresh);
    *s->plans = fresh;
    outcome_add(o, "plan", src->name, had ? "replaced" : "added", NULL);
}

static bool has_plan(const struct config *c, const char *source)
{
    const struct conf_source *src = config_source(c, mf_cstr(source));

    return src && src->tracking_plan;
}

void tracking_update(struct supervisor *s, const struct config *c,
                     struct outcome *o)
{
    struct sup_plan **at = &s->plans;

    for (size_t i = 0; i < c->sources.count; i++)
        if (c->sources.list[i].tracking_plan)
            update_source(s, &c->sources.list[i], o);
    while (*at) {
        if (has_plan(c, (*at)->source)) {
            at = &(*at)->next;
            continue;
        }
        outcome_add(o, "plan", (*at)->source, "removed", NULL);
        drop(at);
    }
}

void tracking_tell(struct supervisor *s)
{
    for (const struct sup_plan *p = s->plans; p; p = p->next)
        child_send(s->ingest, MSG_INGEST_PLAN, &p->number, sizeof p->number,
                   p->fd);
}

static void write_target(struct supervisor *s, struct json_out *w,
                         const char *key, const char *source)
{
    struct err e;

    if (!source)
        return;
    json_key(w, mf_cstr(key));
    json_int(w, state_source(s->state, source, &e));
}

void tracking_write(struct supervisor *s, struct json_out *w,
                    const struct conf_source *src)
{
    const struct conf_schema *c = &src->schema;
    const struct sup_plan *p = *find(s, src->name);

    if (!p && !c->track.blocked.count && !c->identify.blocked.count &&
        !c->group.blocked.count)
        return;
    json_key(w, MF_STR("schema"));
    member_write_all(w, &shape_schema, c);
    if (p)
        json_kint(w, "plan", (int64_t)p->number);
    write_target(s, w, "violations_to", c->violations_to);
    write_target(s, w, "blocked_to", c->blocked_to);
}

void tracking_free(struct supervisor *s)
{
    while (s->plans)
        drop(&s->plans);
}

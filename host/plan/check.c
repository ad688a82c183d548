/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - the tracking plans of a configuration, looked at before it is
 * used. */
#include "plan/plan.h"

#include "config/config.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void needs_plan(const struct config *c, const struct conf_source *s,
                       const void *member, struct faults *f)
{
    faults_warn(f, config_place(c, member),
                "the source \"%s\" has no \"tracking_plan\", so this does "
                "nothing; add one, or take this away", s->name);
}

static void check_traits(const struct config *c, const struct conf_source *s,
                         const struct conf_traits_controls *t,
                         struct faults *f)
{
    if (!t->allow_unplanned_traits)
        needs_plan(c, s, &t->allow_unplanned_traits, f);
    if (!t->allow_traits_on_violations)
        needs_plan(c, s, &t->allow_traits_on_violations, f);
    if (t->common != CONF_COMMON_ALLOW)
        needs_plan(c, s, &t->common, f);
}

static void check_controls(const struct config *c,
                           const struct conf_source *s, struct faults *f)
{
    const struct conf_track_controls *t = &s->schema.track;

    if (!t->allow_unplanned_events)
        needs_plan(c, s, &t->allow_unplanned_events, f);
    if (!t->allow_unplanned_properties)
        needs_plan(c, s, &t->allow_unplanned_properties, f);
    if (!t->allow_event_on_violations)
        needs_plan(c, s, &t->allow_event_on_violations, f);
    if (!t->allow_properties_on_violations)
        needs_plan(c, s, &t->allow_properties_on_violations, f);
    if (t->common != CONF_COMMON_ALLOW)
        needs_plan(c, s, &t->common, f);
    check_traits(c, s, &s->schema.identify, f);
    check_traits(c, s, &s->schema.group, f);
    if (s->schema.violations_to)
        needs_plan(c, s, &s->schema.violations_to, f);
}

static bool seen_before(const struct config *c, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (c->sources.list[k].tracking_plan &&
            strcmp(c->sources.list[k].tracking_plan,
                   c->sources.list[i].tracking_plan) == 0)
            return true;
    return false;
}

/* If not, who read the configuration has told it. */
static bool can_be_read(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           access(path, R_OK) == 0;
}

void plan_check_all(const struct config *c, struct faults *f)
{
    for (size_t i = 0; i < c->sources.count; i++) {
        const struct conf_source *s = &c->sources.list[i];

        if (!s->tracking_plan)
            check_controls(c, s, f);
        else if (!seen_before(c, i) && can_be_read(s->tracking_plan))
            plan_release(plan_read(s->tracking_plan,
                                   config_place(c, &s->tracking_plan), f));
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * plans.c - see plans.h. */
#include "ingest/plans.h"

#include "base/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct known_plan *find(struct plans *p, uint64_t number)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].number == number)
            return &p->list[i];
    return NULL;
}

/* The supervisor has compiled it before, so that a fault is none of its
 * author's. */
static struct plan *compile(mf_str text, struct err *e)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct plan *plan;

    faults_init(f);
    plan = plan_compile(text, "plan", f);
    if (!plan)
        err_set(e, "a tracking plan cannot be used: %s",
                f->count ? f->list[0].text : "");
    faults_deinit(f);
    free(f);
    return plan;
}

int plans_add(struct plans *p, uint64_t number, int fd, struct err *e)
{
    struct plan *plan = NULL;
    struct stat st;
    char *text;

    if (find(p, number))
        return 0;
    if (fstat(fd, &st) != 0 || st.st_size < 0 || st.st_size > PLAN_BYTES_MAX)
        return err_set(e, "a tracking plan did not arrive whole");
    text = xmalloc((size_t)st.st_size + 1);
    if (io_pread_all(fd, text, (size_t)st.st_size, 0) == 0)
        plan = compile((mf_str){ text, (size_t)st.st_size }, e);
    else
        err_sys(e, "a tracking plan cannot be read");
    free(text);
    if (!plan)
        return -1;
    p->list = xrealloc(p->list, (p->count + 1) * sizeof *p->list);
    p->list[p->count++] = (struct known_plan){ number, plan, false };
    return 0;
}

struct plan *plans_take(struct plans *p, uint64_t number)
{
    struct known_plan *k = find(p, number);

    if (!k)
        return NULL;
    k->named = true;
    return plan_hold(k->plan);
}

void plans_sweep(struct plans *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++) {
        if (!p->list[i].named) {
            plan_release(p->list[i].plan);
            continue;
        }
        p->list[i].named = false;
        p->list[n++] = p->list[i];
    }
    p->count = n;
}

void plans_deinit(struct plans *p)
{
    for (size_t i = 0; i < p->count; i++)
        plan_release(p->list[i].plan);
    free(p->list);
    memset(p, 0, sizeof *p);
}

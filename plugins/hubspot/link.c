/* SPDX-License-Identifier: Apache-2.0
 *
 * link.c - associations of records, made and cut. The other records are asked
 * for (or written, if the mapping says so) in one request for each type and id
 * property, a hundred at most, then linked in one. */
#include "object.h"

#define OTHERS_MAX 100 /* HubSpot's limit of one request */

static struct link *link_of(mf_call *c, struct chain *k, struct link **links,
                            uint32_t *count, mf_str type, mf_str id_name)
{
    struct link *l;

    for (uint32_t i = 0; i < *count; i++)
        if (mf_eq(links[i]->type, type) &&
            mf_eq(links[i]->id_name, id_name) && links[i]->count < OTHERS_MAX)
            return links[i];
    l = mf_alloc(c, sizeof *l);
    l->chain = k;
    l->type = type;
    l->id_name = id_name;
    links[(*count)++] = l;
    return l;
}

static void add(mf_call *c, struct link *l, struct member *m, mf_val one)
{
    struct other *old = l->others;

    if ((l->count & (l->count - 1)) == 0) { /* full at each power of two */
        l->others = mf_alloc(c, (l->count ? 2 * l->count : 1) * sizeof *old);
        if (l->count)
            memcpy(l->others, old, l->count * sizeof *old);
    }
    l->others[l->count++] = (struct other){
        .member = m,
        .id = mf_text(c, mf_get(c, one, "id_field_value")),
        .label = mf_text(c, mf_get(c, one, "association_label")),
    };
}

static uint32_t total(mf_call *c, const struct chain *k, uint32_t field)
{
    mf_val v;
    mf_str index;
    uint32_t n = 0;

    for (uint32_t i = 0; i < k->member_count; i++) {
        mf_iter it = { { 0 } };

        while (mf_next(c, mf_field(k->members[i].event, field), &it, &index,
                       &v))
            n++;
    }
    return n;
}

static int asked_before(const struct link *l, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (mf_eq(l->others[i].id, l->others[at].id))
            return 1;
    return 0;
}

static void write_ids(mf_writer *w, const struct link *l, int all)
{
    mf_w_array(w, "inputs");
    for (uint32_t i = 0; i < l->count; i++) {
        if (asked_before(l, i))
            continue;
        mf_w_object(w, NULL);
        if (all)
            mf_w_str(w, "idProperty", l->id_name);
        mf_w_str(w, "id", l->others[i].id);
        if (all) {
            mf_w_object(w, "properties");
            mf_w_key(w, l->id_name);
            mf_w_str(w, NULL, l->others[i].id);
            mf_w_end(w);
        }
        mf_w_end(w);
    }
    mf_w_end(w);
}

static void ask(mf_call *c, struct link *l, int write)
{
    mf_str tail = write ? MF_STR("/batch/upsert") : MF_STR("/batch/read");
    mf_writer *w = mf_json_body(object_send(
        c, l->chain, "POST", hs_objects(c, l->type, tail), FIND_OTHERS, l));

    mf_w_object(w, NULL);
    if (!write) {
        mf_w_str(w, "idProperty", l->id_name);
        mf_w_array(w, "properties");
        mf_w_str(w, NULL, l->id_name);
        mf_w_end(w);
    }
    write_ids(w, l, write);
    mf_w_end(w);
}

static void find(mf_call *c, struct chain *k, uint32_t field, int cut)
{
    struct link **links = mf_alloc(c, total(c, k, field) * sizeof *links);
    int write = !cut && !mf_eq(mf_text(c, mf_field(k->members[0].event,
                                                   FIND_MODE)),
                               MF_STR("read"));
    uint32_t count = 0;

    for (uint32_t i = 0; i < k->member_count; i++) {
        struct member *m = &k->members[i];
        mf_iter it = { { 0 } };
        mf_str index;
        mf_val one;

        while (!m->out && m->record->found.len &&
               mf_next(c, mf_field(m->event, field), &it, &index, &one))
            if (mf_truthy(c, mf_get(c, one, "id_field_value")))
                add(c, link_of(c, k, links, &count,
                               mf_text(c, mf_get(c, one, "object_type")),
                               mf_text(c, mf_get(c, one, "id_field_name"))),
                    m, one);
    }
    for (uint32_t i = 0; i < count; i++) {
        links[i]->cut = cut;
        ask(c, links[i], write);
    }
}

void link_find(mf_call *c, struct chain *k)
{
    find(c, k, ASSOCIATIONS, 0);
}

void link_cut(mf_call *c, struct chain *k)
{
    find(c, k, DISSOCIATIONS, 1);
}

static uint32_t take_ids(mf_call *c, struct link *l, mf_val results)
{
    mf_iter it = { { 0 } };
    uint32_t n = 0;
    mf_str index;
    mf_val one;

    while (mf_next(c, results, &it, &index, &one)) {
        mf_str id = mf_text(c, kit_member(c, mf_get(c, one, "properties"),
                                          l->id_name));

        for (uint32_t i = 0; i < l->count; i++)
            if (hs_same_id(c, l->id_name, l->others[i].id, id)) {
                l->others[i].found = mf_text(c, mf_get(c, one, "id"));
                n++;
            }
    }
    return n;
}

static void write_id(mf_writer *w, const char *key, mf_str id)
{
    mf_w_object(w, key);
    mf_w_str(w, "id", id);
    mf_w_end(w);
}

/* One that could not be written leaves its event undone; one that is not there
 * is not linked. */
static void take_errors(mf_call *c, struct link *l, const mf_response *a)
{
    mf_str why = hs_other_error(c, a);

    for (uint32_t i = 0; why.len && i < l->count; i++)
        if (!l->others[i].found.len)
            object_drop(c, l->others[i].member, MF_INVALID, why);
}

void link_write(mf_call *c, struct link *l, const mf_response *a)
{
    uint32_t found = take_ids(c, l, mf_get(c, mf_answer_json(a), "results"));
    mf_str tail = l->cut ? MF_STR("/batch/labels/archive")
                         : MF_STR("/batch/create");
    mf_writer *w;

    take_errors(c, l, a);
    if (!found)
        return;
    w = mf_json_body(object_send(
        c, l->chain, "POST",
        MF_JOIN(c, MF_STR("/crm/v4/associations"),
                hs_segment(c, l->chain->type), hs_segment(c, l->type), tail),
        LINK, l));
    mf_w_object(w, NULL);
    mf_w_array(w, "inputs");
    for (uint32_t i = 0; i < l->count; i++) {
        const struct other *o = &l->others[i];

        if (!o->found.len)
            continue;
        mf_w_object(w, NULL);
        hs_association(c, w, "types", o->label, 1);
        write_id(w, "from", o->member->record->found);
        write_id(w, "to", o->found);
        mf_w_end(w);
    }
    mf_w_end(w);
    mf_w_end(w);
}

void link_refused(mf_call *c, struct link *l, const mf_response *a)
{
    int32_t status = mf_status(a) ? mf_status(a) : MF_RETRY;

    for (uint32_t i = 0; i < l->count; i++)
        object_drop(c, l->others[i].member, status, hs_message(c, a));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_write.c - see gate.h: an event without what is taken out of it and
 * with what is said of it, and the events that are made of its violations. */
#include "ingest/gate_inner.h"

#include "base/text.h"
#include "config/member.h"

#include <stdio.h>
#include <string.h>

#define ANNOTATED_MAX 8   /* violations told in the event itself */
#define TEXT_MAX      240 /* bytes of what is told of one */

/* ---- what is taken out ---- */

static bool on_way(const struct gate_cut *c, unsigned depth, mf_str name,
                   size_t index)
{
    const struct draft7_step *s = &c->path[depth];

    return s->key.ptr ? name.ptr && mf_eq(s->key, name)
                      : !name.ptr && s->index == index;
}

static mf_str field_of(struct arena *a, const struct gate_cut *c)
{
    mf_str text = { "", 0 };

    for (unsigned i = 0; i < c->len; i++) {
        const struct draft7_step *s = &c->path[i];

        text = s->key.ptr ? arena_printf(a, "%.*s%s%.*s", (int)text.len,
                                         text.ptr, i ? "." : "",
                                         (int)s->key.len, s->key.ptr)
                          : arena_printf(a, "%.*s[%zu]", (int)text.len,
                                         text.ptr, s->index);
    }
    return text;
}

/* The cuts of `list` that lead on to this member, in `next`; true: one of
 * them ends here, so that the member goes. */
static bool lead_on(struct gate_room *k, const struct gate_cut *list,
                    unsigned count, unsigned depth, mf_str name, size_t index,
                    struct gate_cut *next, unsigned *next_count)
{
    *next_count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!on_way(&list[i], depth, name, index))
            continue;
        if (list[i].len == depth + 1) {
            gate_omitted(k, field_of(draft7_scratch_arena(k->scratch),
                                     &list[i]));
            k->any_cut = true;
            return true;
        }
        next[(*next_count)++] = list[i];
    }
    return false;
}

/* A value with `depth` steps of its cuts behind it. gone: marks of its
 * members, or NULL. */
static void write_value(struct gate_room *k, struct json_out *w, mf_val v,
                        const struct gate_cut *list, unsigned count,
                        unsigned depth, const bool *gone)
{
    struct gate_cut next[GATE_WRONG_MAX];
    mf_iter it = { { 0 } };
    unsigned more;
    size_t i = 0;
    mf_str key;
    mf_val one;

    if ((count == 0 && !gone) ||
        (v.type != MF_OBJECT && v.type != MF_ARRAY)) {
        json_val(w, v);
        return;
    }
    if (v.type == MF_OBJECT)
        json_begin_object(w);
    else
        json_begin_array(w);
    for (; json_next(v, &it, &key, &one); i++) {
        mf_str name = { NULL, 0 };

        if (v.type == MF_OBJECT)
            name = json_unescape(key, draft7_scratch_arena(k->scratch));
        if (gone && gone[i]) {
            k->any_cut = true;
            continue;
        }
        if (lead_on(k, list, count, depth, name, i, next, &more))
            continue;
        if (v.type == MF_OBJECT)
            json_key_raw(w, key);
        write_value(k, w, one, next, more, depth + 1, NULL);
    }
    if (v.type == MF_OBJECT)
        json_end_object(w);
    else
        json_end_array(w);
}

/* ---- what is said of it ---- */

static void write_protocols(const struct gate *g, const struct gate_room *k,
                            struct json_out *w)
{
    mf_val old = json_get(k->event.context, MF_STR("protocols")), v;
    mf_iter it = { { 0 } };
    mf_str key;

    json_begin_object(w);
    while (old.type == MF_OBJECT && json_next(old, &it, &key, &v))
        if (!json_key_is(key, MF_STR("violations")) &&
            !json_key_is(key, MF_STR("omitted")) &&
            !json_key_is(key, MF_STR("sourceId"))) {
            json_key_raw(w, key);
            json_val(w, v);
        }
    json_kstr(w, "sourceId", g->source);
    json_key(w, MF_STR("violations"));
    json_begin_array(w);
    for (unsigned i = 0; i < k->wrong_count && i < ANNOTATED_MAX; i++) {
        const struct gate_wrong *x = &k->wrong[i];

        json_begin_object(w);
        json_kstr(w, "type", mf_cstr(x->type));
        json_kstr(w, "field", utf8_cut(x->field, TEXT_MAX));
        json_kstr(w, "description", utf8_cut(x->text, TEXT_MAX));
        json_end_object(w);
    }
    json_end_array(w);
    json_key(w, MF_STR("omitted"));
    json_begin_array(w);
    for (unsigned i = 0; i < k->omitted_count; i++)
        json_str(w, utf8_cut(k->omitted[i], TEXT_MAX));
    json_end_array(w);
    json_end_object(w);
}

static void write_context(const struct gate *g, const struct gate_room *k,
                          struct json_out *w)
{
    mf_val context = k->event.context, v;
    mf_iter it = { { 0 } };
    mf_str key;

    json_key(w, MF_STR("context"));
    json_begin_object(w);
    while (context.type == MF_OBJECT && json_next(context, &it, &key, &v))
        if (!json_key_is(key, MF_STR("protocols"))) {
            json_key_raw(w, key);
            json_val(w, v);
        }
    json_key(w, MF_STR("protocols"));
    write_protocols(g, k, w);
    json_end_object(w);
}

static void write_members(const struct gate *g, struct gate_room *k,
                          mf_str event, bool annotate, struct json_out *w)
{
    const struct gate_event *e = &k->event;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    json_begin_object(w);
    while (json_next(json_root(event), &it, &key, &v)) {
        if (annotate && v.raw == e->context.raw)
            continue;
        json_key_raw(w, key);
        if (v.raw == e->members.raw)
            write_value(k, w, v, k->cuts, k->cut_count, 1, k->gone);
        else
            json_val(w, v);
    }
    if (annotate)
        write_context(g, k, w);
    json_end_object(w);
}

static bool write_once(struct gate *g, struct gate_room *k, mf_str event,
                       bool annotate)
{
    struct json_out w;

    buf_clear(&k->out);
    json_out_init(&w, &k->out);
    write_members(g, k, event, annotate, &w);
    return !k->out.full;
}

bool gate_write_event(struct gate *g, struct gate_room *k, mf_str event,
                      bool annotate)
{
    if (annotate && write_once(g, k, event, true) &&
        k->out.len <= event.len + k->extra) {
        if (k->out.len > event.len)
            k->extra -= k->out.len - event.len;
        return true;
    }
    return write_once(g, k, event, false);
}

/* ---- violations as events ---- */

static void write_violation(const struct gate *g, const struct gate_event *e,
                            const struct gate_wrong *x, struct json_out *w)
{
    mf_val app = json_get(e->context, MF_STR("app"));
    mf_val version = json_get(app, MF_STR("version"));

    json_key(w, MF_STR("properties"));
    json_begin_object(w);
    json_kstr(w, "eventName", e->title);
    json_kval(w, "eventType", e->type);
    json_kval(w, "eventMessageID", e->message_id);
    json_kval(w, "eventSentAt", e->sent_at);
    json_kval(w, "eventTimestamp", e->timestamp);
    json_kstr(w, "sourceID", g->source);
    json_kstr(w, "sourceName", g->source);
    json_kstr(w, "sourceSlug", g->source);
    json_kstr(w, "trackingPlanID", g->plan ? plan_id(g->plan) : MF_STR(""));
    json_kstr(w, "trackingPlanName",
              g->plan ? plan_name(g->plan) : MF_STR(""));
    json_kstr(w, "violationType", mf_cstr(x->type));
    json_kstr(w, "violationField", x->field);
    json_kstr(w, "violationDescription", x->text);
    json_key(w, MF_STR("appVersion"));
    if (version.type == MF_STRING)
        json_val(w, version);
    else
        json_str(w, MF_STR(""));
    json_end_object(w);
    json_key(w, MF_STR("context"));
    json_begin_object(w);
    json_kval(w, "app", app);
    json_kval(w, "library", json_get(e->context, MF_STR("library")));
    json_end_object(w);
}

/* The same for the same violation, so that a request that comes again does
 * not make it twice. */
static mf_str violation_id(const struct gate *g, struct gate_room *k,
                           unsigned n)
{
    struct arena *a = draft7_scratch_arena(k->scratch);
    mf_val id = k->event.message_id;
    char print[CONFIG_PRINT];

    canon_print(arena_printf(a, "%.*s %.*s %u", (int)g->source.len,
                             g->source.ptr, (int)id.len, id.raw, n),
                print);
    return arena_printf(a, "sch-%s", print);
}

mf_str gate_forward(struct gate *g, struct gate_room *k, unsigned n,
                    const char *received, mf_str *id)
{
    mf_str now = mf_cstr(received);
    struct json_out w;

    *id = violation_id(g, k, n);
    buf_clear(&k->made);
    json_out_init(&w, &k->made);
    json_begin_object(&w);
    json_kstr(&w, "type", MF_STR("track"));
    json_kstr(&w, "messageId", *id);
    json_kstr(&w, "userId", MF_STR("schema-violations"));
    json_kstr(&w, "event", MF_STR("Violation Generated"));
    json_kstr(&w, "forwardedFromProject", g->source);
    write_violation(g, &k->event, &k->wrong[n], &w);
    json_key(&w, MF_STR("integrations"));
    json_begin_object(&w);
    json_end_object(&w);
    json_kstr(&w, "timestamp", now);
    json_kstr(&w, "originalTimestamp", now);
    json_kstr(&w, "receivedAt", now);
    json_end_object(&w);
    if (k->made.full || k->made.len > k->extra) {
        tally_left_off(g->tally, 1);
        return (mf_str){ "", 0 };
    }
    k->extra -= k->made.len;
    return buf_view(&k->made);
}

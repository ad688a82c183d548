/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.c - see gate.h: what is wrong with an event, and what follows. */
#include "ingest/gate_inner.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

static bool is_off(mf_val of, const char *key)
{
    mf_val v = json_get(of, mf_cstr(key));

    return v.type == MF_BOOL && !json_is_true(v);
}

static enum gate_common common_of(struct gate *g, mf_val of)
{
    mf_str word = json_text(json_get(of, MF_STR("common_event_on_violations")),
                            &g->arena);

    return mf_eq(word, MF_STR("block"))  ? COMMON_BLOCK
           : mf_eq(word, MF_STR("omit")) ? COMMON_OMIT
                                         : COMMON_ALLOW;
}

static int text_order(const void *left, const void *right)
{
    const mf_str *a = left, *b = right;
    size_t n = a->len < b->len ? a->len : b->len;
    int order = n ? memcmp(a->ptr, b->ptr, n) : 0;

    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static void read_list(struct gate *g, mf_val list, struct gate_controls *c)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    c->listed = arena_alloc(&g->arena,
                            (json_count(list) + 1) * sizeof *c->listed);
    while (json_next(list, &it, &key, &v))
        c->listed[c->listed_count++] =
            arena_copy(&g->arena, json_text(v, &g->arena));
    if (c->listed_count)
        qsort(c->listed, c->listed_count, sizeof *c->listed, text_order);
}

static void read_track(struct gate *g, mf_val of)
{
    struct gate_controls *c = &g->controls[CALL_TRACK];

    c->block_unplanned = is_off(of, "allow_unplanned_events");
    c->omit_unplanned = is_off(of, "allow_unplanned_event_properties");
    c->block_wrong = is_off(of, "allow_event_on_violations");
    c->omit_wrong = is_off(of, "allow_properties_on_violations");
    c->common = common_of(g, of);
    read_list(g, json_get(of, MF_STR("blocked_events")), c);
}

static void read_traits(struct gate *g, mf_val of, struct gate_controls *c)
{
    c->omit_unplanned = is_off(of, "allow_unplanned_traits");
    c->omit_wrong = is_off(of, "allow_traits_on_violations");
    c->common = common_of(g, of);
    read_list(g, json_get(of, MF_STR("blocked_traits")), c);
}

struct gate *gate_new(mf_str source, mf_val json, struct plan *plan,
                      struct gate *before)
{
    struct gate *g = xcalloc(1, sizeof *g);

    atomic_init(&g->holders, 1);
    arena_init(&g->arena, 16u << 20);
    g->source = arena_copy(&g->arena, source);
    g->plan = plan;
    g->tally = before ? tally_hold(before->tally) : tally_new();
    read_track(g, json_get(json, MF_STR("track")));
    read_traits(g, json_get(json, MF_STR("identify")),
                &g->controls[CALL_IDENTIFY]);
    read_traits(g, json_get(json, MF_STR("group")),
                &g->controls[CALL_GROUP]);
    if (plan)
        g->common = plan_find(plan, PLAN_COMMON, MF_STR(""), 1);
    return g;
}

struct gate *gate_hold(struct gate *g)
{
    atomic_fetch_add(&g->holders, 1);
    return g;
}

void gate_release(struct gate *g)
{
    if (!g || atomic_fetch_sub(&g->holders, 1) != 1)
        return;
    plan_release(g->plan);
    tally_release(g->tally);
    arena_deinit(&g->arena);
    free(g);
}

void gate_not_kept(struct gate *g)
{
    tally_not_kept(g->tally);
}

void gate_write(struct gate *g, struct json_out *w)
{
    tally_write(g->tally, w, g->plan ? plan_name(g->plan) : MF_STR(""));
}

struct gate_room *gate_room_new(void)
{
    struct gate_room *k = xcalloc(1, sizeof *k);

    k->scratch = draft7_scratch_new();
    buf_init(&k->out, GATE_EVENT_MAX);
    buf_init(&k->made, GATE_EVENT_MAX);
    buf_init(&k->whole, GATE_EVENT_MAX);
    k->extra = GATE_EXTRA_MAX;
    return k;
}

void gate_room_free(struct gate_room *k)
{
    if (!k)
        return;
    draft7_scratch_free(k->scratch);
    buf_deinit(&k->out);
    buf_deinit(&k->made);
    buf_deinit(&k->whole);
    free(k);
}

void gate_room_reset(struct gate_room *k)
{
    k->extra = GATE_EXTRA_MAX;
}

/* ---- what an event is ---- */

static void read_event(struct gate_room *k, mf_val root)
{
    struct gate_event *e = &k->event;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    memset(e, 0, sizeof *e);
    while (json_next(root, &it, &key, &v)) {
        if (json_key_is(key, MF_STR("type")))
            e->type = v;
        else if (json_key_is(key, MF_STR("event")))
            e->event = v;
        else if (json_key_is(key, MF_STR("name")))
            e->name = v;
        else if (json_key_is(key, MF_STR("properties")))
            e->properties = v;
        else if (json_key_is(key, MF_STR("traits")))
            e->traits = v;
        else if (json_key_is(key, MF_STR("context")))
            e->context = v;
        else if (json_key_is(key, MF_STR("messageId")))
            e->message_id = v;
        else if (json_key_is(key, MF_STR("sentAt")))
            e->sent_at = v;
        else if (json_key_is(key, MF_STR("timestamp")))
            e->timestamp = v;
    }
}

/* What the rest goes by: the call's controls, its rule's kind and key. */
static void classify(struct gate_room *k)
{
    static const struct {
        mf_str type;
        enum gate_call call;
        enum plan_kind kind;
    } types[] = {
        { { "track", 5 }, CALL_TRACK, PLAN_TRACK },
        { { "identify", 8 }, CALL_IDENTIFY, PLAN_IDENTIFY },
        { { "group", 5 }, CALL_GROUP, PLAN_GROUP },
        { { "page", 4 }, CALL_OTHER, PLAN_PAGE },
        { { "screen", 6 }, CALL_OTHER, PLAN_SCREEN },
        { { "alias", 5 }, CALL_OTHER, PLAN_COMMON },
    };
    struct arena *a = draft7_scratch_arena(k->scratch);
    struct gate_event *e = &k->event;
    mf_str type = json_text(e->type, a);

    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (mf_eq(type, types[i].type)) {
            e->call = types[i].call;
            e->kind = types[i].kind;
        }
    e->title = type;
    if (e->kind == PLAN_TRACK)
        e->title = json_text(e->event, a);
    else if (e->kind == PLAN_PAGE)
        e->title = MF_STR("Page Viewed");
    else if (e->kind == PLAN_SCREEN)
        e->title = MF_STR("Screen Viewed");
    e->members = e->call == CALL_IDENTIFY || e->call == CALL_GROUP
                     ? e->traits
                     : e->properties;
    e->container = e->call == CALL_IDENTIFY || e->call == CALL_GROUP
                       ? MF_STR("traits")
                       : MF_STR("properties");
}

static int64_t version_of(const struct gate_event *e)
{
    mf_val v = json_get(json_get(e->context, MF_STR("protocols")),
                        MF_STR("event_version"));
    int64_t version;

    return v.type == MF_NUMBER && json_integer(v, &version) ? version
                                                            : INT64_MIN;
}

/* Pages and screens by their name, else as those of any name, else as the
 * track events that they become in a plan. */
static const struct plan_rule *rule_of(const struct gate *g,
                                       struct gate_room *k)
{
    struct arena *a = draft7_scratch_arena(k->scratch);
    const struct gate_event *e = &k->event;
    const struct plan_rule *rule;
    int64_t version;

    if (!g->plan || e->kind == PLAN_COMMON)
        return NULL;
    version = version_of(e);
    if (e->kind == PLAN_IDENTIFY || e->kind == PLAN_GROUP)
        return plan_find(g->plan, e->kind, MF_STR(""), version);
    if (e->kind == PLAN_TRACK)
        return plan_find(g->plan, PLAN_TRACK, e->title, version);
    rule = plan_find(g->plan, e->kind, json_text(e->name, a), version);
    if (!rule)
        rule = plan_find(g->plan, e->kind, MF_STR(""), version);
    return rule ? rule : plan_find(g->plan, PLAN_TRACK, e->title, version);
}

/* ---- what is wrong with it ---- */

static bool listed(const struct gate_controls *c, mf_str text)
{
    return c->listed_count &&
           bsearch(&text, c->listed, c->listed_count, sizeof text, text_order);
}

/* Keys on the way may stand in the text of the event, which will change. */
static const struct draft7_step *keep_path(struct gate_room *k,
                                           const struct draft7_step *from,
                                           unsigned len)
{
    struct arena *a = draft7_scratch_arena(k->scratch);
    struct draft7_step *path = arena_alloc(a, (len + 1) * sizeof *path);

    for (unsigned i = 0; i < len; i++) {
        path[i] = from[i];
        if (path[i].key.ptr)
            path[i].key = arena_copy(a, path[i].key);
    }
    return path;
}

static void note(struct gate_room *k, const struct draft7_error *e)
{
    if (k->wrong_count < GATE_WRONG_MAX)
        k->wrong[k->wrong_count++] = (struct gate_wrong){
            e->type, e->field, e->text, keep_path(k, e->path, e->path_len),
            e->path_len
        };
}

/* Where the member stands that must go for a violation to be gone: the
 * innermost one on the way to it, inside of properties or traits. An element
 * alone is not taken out of its array. */
static void mark_wrong(struct gate_room *k, const struct draft7_error *e)
{
    unsigned len = e->path_len;

    while (len > 0 && !e->path[len - 1].key.ptr)
        len--;
    if (len >= 2 && k->cut_count < GATE_WRONG_MAX &&
        mf_eq(e->path[0].key, k->event.container))
        k->cuts[k->cut_count++] = (struct gate_cut){
            keep_path(k, e->path, len), len
        };
}

/* Applies a schema to the event; true: it is valid. Else what is wrong is
 * noted, and marked where it is to be taken out. again: it was noted before,
 * and only what can be taken out is looked for. */
static bool apply(struct gate_room *k, const struct draft7 *s, mf_val root,
                  bool omit, bool again)
{
    struct draft7_report r;
    bool ok;

    r.count = r.left_off = 0;
    r.gave_up = false;
    r.only_there = again;
    ok = draft7_validate(s, root, k->scratch, &r);
    for (unsigned i = 0; i < r.count; i++) {
        if (!again)
            note(k, &r.errors[i]);
        if (omit)
            mark_wrong(k, &r.errors[i]);
    }
    k->more = r.left_off > 0;
    k->take_all |= omit && r.gave_up;
    return ok;
}

/* Marks the members of properties or traits that are to go. */
static void mark_members(const struct gate *g, struct gate_room *k,
                         const struct plan_rule *rule)
{
    struct arena *a = draft7_scratch_arena(k->scratch);
    const struct gate_event *e = &k->event;
    const struct gate_controls *c = &g->controls[e->call];
    bool traits = e->call == CALL_IDENTIFY || e->call == CALL_GROUP;
    bool unplanned = c->omit_unplanned && g->plan &&
                     (rule || traits);
    mf_iter it = { { 0 } };
    size_t i = 0;
    mf_str key;
    mf_val v;

    if (e->members.type != MF_OBJECT ||
        (!unplanned && !k->take_all && !(traits && c->listed_count)))
        return;
    k->gone = arena_zalloc(a, json_count(e->members) + 1);
    for (; json_next(e->members, &it, &key, &v); i++) {
        mf_str name = json_unescape(key, a);

        k->gone[i] = k->take_all || (traits && listed(c, name)) ||
                     (unplanned &&
                      !(rule && rule->members &&
                        draft7_names(rule->members, name, k->scratch)));
        if (k->gone[i])
            gate_omitted(k, arena_printf(a, "%.*s.%.*s",
                                         (int)e->container.len,
                                         e->container.ptr, (int)name.len,
                                         name.ptr));
        k->any_gone |= k->gone[i];
    }
}

void gate_omitted(struct gate_room *k, mf_str field)
{
    for (unsigned i = 0; i < k->omitted_count; i++)
        if (mf_eq(k->omitted[i], field))
            return;
    if (k->omitted_count < GATE_OMITTED_MAX)
        k->omitted[k->omitted_count++] = field;
}

/* ---- what follows ---- */

static void swap(struct buf *a, struct buf *b)
{
    struct buf t = *a;

    *a = *b;
    *b = t;
}

static void read_anew(struct gate_room *k, const struct buf *event)
{
    read_event(k, json_root(buf_view(event)));
    classify(k);
}

/* Writes the event as it is now to be. What it was at first stays. */
static void rewrite(struct gate *g, struct gate_room *k, struct buf *event,
                    bool annotate)
{
    if (!gate_write_event(g, k, buf_view(event), annotate))
        return;
    if (!k->rewritten)
        swap(event, &k->whole);
    swap(event, &k->out);
    k->rewritten = true;
    k->gone = NULL;
    k->any_gone = false;
    k->cut_count = 0;
    read_anew(k, event);
}

/* A report has an end; what is wrong beyond it comes in the next. Where that
 * does not come to an end, no member stays. */
static void take_rest_out(struct gate *g, struct gate_room *k,
                          const struct plan_rule *rule, struct buf *event)
{
    for (unsigned i = 0; k->more && !k->take_all; i++) {
        if (i == GATE_ROUNDS_MAX || (i > 0 && !k->cut_count)) {
            k->take_all = true;
            return;
        }
        if (k->cut_count)
            rewrite(g, k, event, false);
        apply(k, rule->schema, json_root(buf_view(event)), true, true);
    }
}

/* The call's own controls. */
static const char *judge_call(struct gate *g, struct gate_room *k,
                              struct buf *event)
{
    const struct gate_event *e = &k->event;
    const struct gate_controls *c = &g->controls[e->call];
    const struct plan_rule *rule;

    if (e->kind == PLAN_TRACK && listed(c, e->title))
        return "blocked_event";
    rule = rule_of(g, k);
    if (g->plan && e->kind == PLAN_TRACK && !rule) {
        k->unplanned = true;
        if (c->block_unplanned)
            return "unplanned_event";
    }
    if (rule && !apply(k, rule->schema, json_root(buf_view(event)),
                       c->omit_wrong, false)) {
        if (c->block_wrong)
            return "plan_violation";
        if (c->omit_wrong)
            take_rest_out(g, k, rule, event);
    }
    mark_members(g, k, rule);
    return NULL;
}

/* Those of the schema that is common to all, on what is left. */
static const char *judge_common(struct gate *g, struct gate_room *k,
                                struct buf *event)
{
    const struct gate_controls *c = &g->controls[k->event.call];

    if (!g->common ||
        apply(k, g->common->schema, json_root(buf_view(event)),
              c->common == COMMON_OMIT, false))
        return NULL;
    if (c->common == COMMON_BLOCK)
        return "common_schema_violation";
    if (c->common == COMMON_OMIT)
        take_rest_out(g, k, g->common, event);
    return NULL;
}

static void start(struct gate_room *k)
{
    draft7_scratch_reset(k->scratch);
    k->wrong_count = k->omitted_count = k->cut_count = 0;
    k->any_gone = k->any_cut = k->unplanned = false;
    k->rewritten = k->more = k->take_all = false;
    k->gone = NULL;
}

static void count_up(struct gate *g, struct gate_room *k, bool blocked)
{
    enum tally_action a = blocked      ? TALLY_BLOCKED
                          : k->any_cut ? TALLY_OMITTED
                                       : TALLY_ALLOWED;
    int64_t now = clock_ms();

    tally_action(g->tally, a);
    for (unsigned i = 0; i < k->wrong_count; i++)
        tally_violation(g->tally, k->event.title, k->wrong[i].type,
                        k->wrong[i].path, k->wrong[i].path_len, now);
    if (k->unplanned)
        tally_violation(g->tally, k->event.title, "Unplanned Event", NULL, 0,
                        now);
}

/* Both stages. What the first takes out, the second does not see; but who is
 * blocked by the second is so as he came. */
static const char *judge(struct gate *g, struct gate_room *k,
                         struct buf *event)
{
    const char *blocked = judge_call(g, k, event);

    if (!blocked && g->common && (k->any_gone || k->cut_count))
        rewrite(g, k, event, false);
    if (!blocked)
        blocked = judge_common(g, k, event);
    if (blocked && k->rewritten) {
        swap(event, &k->whole);
        read_anew(k, event);
    }
    if (blocked) {
        k->cut_count = k->omitted_count = 0;
        k->any_gone = k->any_cut = k->rewritten = false;
        k->gone = NULL;
    } else if (k->take_all) {
        mark_members(g, k, NULL);
    }
    return blocked;
}

void gate_judge(struct gate *g, struct gate_room *k, struct buf *event,
                struct gate_verdict *v)
{
    start(k);
    read_anew(k, event);
    tally_checked(g->tally);
    v->blocked = judge(g, k, event);
    v->violations = k->wrong_count;
    if (k->wrong_count || k->any_gone || k->omitted_count)
        rewrite(g, k, event, true);
    if (v->blocked || v->violations || k->any_cut || k->unplanned)
        count_up(g, k, v->blocked != NULL);
}

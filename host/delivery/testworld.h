/* SPDX-License-Identifier: Apache-2.0
 *
 * testworld.h - a whole world for one destination, in one thread and in
 * simulated time: its lanes over a real journal, a far side that a test
 * programs, a supervisor that remembers what it was told. Included by tests
 * alone; it takes the place of the transport.
 *
 * world_run() turns the clocks from one thing that is due to the next, so that
 * hours cost milliseconds. world_crash() is kill -9 of the worker. */
#ifndef DELIVERY_TESTWORLD_H
#define DELIVERY_TESTWORLD_H

#include "delivery/destination.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/pacing.h"
#include "journal/testbed.h"
#include "plugin/instance.h"

#include <manifold/kit.h>

#define API       "https://api.acme.example"
#define LANES     4
#define USERS     64
#define FLYING    8192
#define LETTERS   4096
#define BATCH     10
#define FIELDS                                                                 \
    "\"fields\":[{\"key\":\"user\",\"label\":\"U\",\"type\":\"string\","       \
    "\"description\":\"U\",\"default\":{\"@path\":\"$.userId\"}},"             \
    "{\"key\":\"mid\",\"label\":\"M\",\"type\":\"string\","                    \
    "\"description\":\"M\",\"default\":{\"@path\":\"$.messageId\"}}]"
#define ACTION(slug, more)                                                     \
    "{\"slug\":\"" slug "\",\"title\":\"S\",\"description\":\"S\"," FIELDS     \
    more "}"

static const char world_manifest[] =
    "{\"slug\":\"acme\",\"name\":\"Acme\",\"version\":\"1.0.0\","
    "\"docs\":\"https://docs.acme.example\",\"hosts\":[\"*\"],"
    "\"settings\":[],\"actions\":["
    ACTION("send", ",\"request\":{\"method\":\"POST\",\"url\":\"" API "/send\","
                   "\"body\":{\"@path\":\"$.payload\"}}") ","
    ACTION("again", ",\"request\":{\"method\":\"POST\",\"url\":\"" API "/again"
                    "\",\"body\":{\"@path\":\"$.payload\"}}") ","
    ACTION("serial", ",\"serialize_by\":\"user\",\"request\":{\"method\":"
                     "\"POST\",\"url\":\"" API "/serial\",\"body\":"
                     "{\"@path\":\"$.payload\"}}") ","
    ACTION("bulk", ",\"batch\":{\"size\":10,\"default\":true}") ","
    ACTION("serialbulk", ",\"serialize_by\":\"user\","
                         "\"batch\":{\"size\":10,\"default\":true}")
    "],\"presets\":[]}";
#undef ACTION

/* ---- the plugin: batches, each event with its own result ---- */

static int32_t bulk_perform(const void *self, mf_call *c,
                            const mf_event *const *e, uint32_t n)
{
    mf_request *r = mf_send(c, "POST", MF_STR(API "/bulk"));
    mf_writer *w = mf_json_body(r);

    (void)self;
    mf_w_array(w, NULL);
    for (uint32_t k = 0; k < n; k++) {
        mf_w_val(w, NULL, mf_payload(e[k]));
        mf_covers(r, k);
    }
    mf_w_end(w);
    return MF_OK;
}

/* {"results":[200,503,...]}, one for each. */
static int32_t bulk_judge(const void *self, mf_call *c, const mf_request *r,
                          const mf_response *a)
{
    mf_val list = mf_get(c, mf_answer_json(a), "results"), v;
    mf_iter it = { { 0 } };
    uint32_t k = 0;
    mf_str key;

    (void)self;
    while (mf_next(c, list, &it, &key, &v)) {
        int64_t status = mf_integer(c, v, 0);

        if (status / 100 != 2)
            mf_result(c, mf_covered(r, k), (int32_t)status, MF_STR("its own"));
        k++;
    }
    return MF_OK;
}

static const mf_action world_actions[] = {
    { .slug = "bulk", .perform_batch = bulk_perform, .judge = bulk_judge },
    { .slug = "serialbulk", .perform_batch = bulk_perform,
      .judge = bulk_judge },
};

static const mf_destination world_code = {
    MF_HEADER, .actions = world_actions, .action_count = 2,
};

/* ---- the world ---- */

struct exchange {
    uint32_t id;
    transport_fn *done;
    void *arg;
    struct transport_account *account;
    char path[16];
    char *body;
    unsigned events;
    int64_t began_ms, due_ms;
    /* What the far side answers: */
    int32_t status; /* 0: nothing */
    char retry_after[64];
    char answer[256];
};

struct world_row {
    struct msg_retry m;
};

struct change {
    struct msg_retry m; /* of a DROP only the key */
    enum { PUT, DROP } what;
};

struct world_lane {
    struct msg_lane_state state;
    struct journal_pos *pending;
    struct world_row *rows;
    size_t row_count, row_cap;
    struct change *staged;
    size_t staged_count, staged_cap;
};

struct world {
    struct bed *bed;
    struct journal_cache *cache;
    struct plugin plugin;
    struct instance *instance;
    struct destination_options o;
    struct destination *d;
    struct slot slot;
    int receipts_fd; /* -1: workers write none */
    struct receipts receipts;
    struct world_lane lanes[LANES];
    size_t lane_count;
    struct exchange *flying[FLYING];
    size_t flying_count, flying_peak;
    uint64_t appended;
    uint32_t seed;
    void (*far)(struct world *w, struct exchange *x);
    /* What was seen. */
    uint64_t requests, rows_put, rows_peak, dead[DEAD_REASONS];
    struct msg_retry_key letters[LETTERS]; /* in which order they died */
    size_t letter_count;
    /* The last lane is a replay of the first, where this is set. */
    const struct msg_lane *replay;
    const char *where;
    char dead_error[256], dead_response[256], paused_why[256];
    /* Of each user the events that were delivered, by their number. */
    unsigned made[USERS], done[USERS], in_flight[USERS];
    uint64_t twice, answered; /* events whose delivery was confirmed */
    bool keeps_order; /* checked at the far side */
    int64_t down_until_ms, began_ms;
};

static struct world *world;

static inline uint32_t chance(uint32_t n)
{
    world->seed = world->seed * 1664525 + 1013904223;
    return (world->seed >> 8) % n;
}

static inline void turn_clock(int64_t ms)
{
    clock_skew_ms += ms;
    clock_mono_skew_ms += ms;
}

/* ---- the far side ---- */

/* Calls fn for each event in a body. */
static inline void each_event(const char *body,
                              void (*fn)(unsigned user, unsigned n))
{
    const char *p = body;
    unsigned user, n;

    while ((p = strstr(p, "\"mid\":\"u"))) {
        assert_int_equal(sscanf(p, "\"mid\":\"u%u-%u\"", &user, &n), 2);
        fn(user, n);
        p++;
    }
}

static inline void event_arrives(unsigned user, unsigned n)
{
    world->in_flight[user]++;
    if (!world->keeps_order)
        return;
    /* Nothing is under way beside it, and all before it is done. */
    if (world->in_flight[user] != 1 || n > world->done[user] + 1)
        fail_msg("event %u of user %u arrives after %u, beside %u", n, user,
                 world->done[user], world->in_flight[user] - 1);
}

static inline void event_leaves(unsigned user, unsigned n)
{
    (void)n;
    world->in_flight[user]--;
}

static inline void event_done(unsigned user, unsigned n)
{
    if (n <= world->done[user] && world->keeps_order)
        world->twice++;
    if (n > world->done[user])
        world->done[user] = n;
}

void transport_send(struct transport *t, const struct call_request *r,
                    const struct transport_options *o, transport_fn *done,
                    void *arg)
{
    struct exchange *x = xcalloc(1, sizeof *x);

    (void)t;
    assert_true(world->flying_count < FLYING);
    x->id = r->id;
    x->done = done;
    x->arg = arg;
    x->account = o->account;
    x->account->in_flight++;
    snprintf(x->path, sizeof x->path, "%.*s",
             (int)(r->url.len - strlen(API)), r->url.ptr + strlen(API));
    x->body = xstrndup(r->body.ptr ? r->body.ptr : "", r->body.len);
    for (const char *p = x->body; (p = strstr(p, "\"mid\"")); p++)
        x->events++;
    x->began_ms = clock_mono_ms();
    x->due_ms = x->began_ms + 20;
    x->status = 200;
    world->requests++;
    each_event(x->body, event_arrives);
    if (world->far)
        world->far(world, x);
    world->flying[world->flying_count++] = x;
    if (world->flying_count > world->flying_peak)
        world->flying_peak = world->flying_count;
}

/* Of native plugins, which this world has not. */
void transport_wait(struct transport *t, const struct call_request *r,
                    const struct transport_options *o, transport_fn *done,
                    void *arg)
{
    const struct call_answer none = { .failure = MF_FAIL_REFUSED };

    (void)t;
    (void)o;
    done(arg, r->id, &none, "nobody waits here", 0);
}

bool transport_room(const struct transport *t,
                    const struct transport_account *a)
{
    (void)t;
    (void)a;
    return true;
}

void transport_hurry(struct transport *t)
{
    (void)t; /* no request here is held back */
}

static inline void exchange_free(struct exchange *x)
{
    each_event(x->body, event_leaves);
    free(x->body);
    free(x);
}

static inline void answer(size_t i)
{
    struct exchange *x = world->flying[i];
    struct call_header after = { MF_STR("Retry-After"),
                                 mf_cstr(x->retry_after) };
    struct call_answer a = { .status = x->status, .headers = &after,
                             .header_count = *x->retry_after != 0,
                             .body = mf_cstr(x->answer) };
    const char *why = NULL;

    world->flying[i] = world->flying[--world->flying_count];
    x->account->in_flight--;
    if (!x->status) {
        a.failure = MF_FAIL_TIMEOUT;
        why = "no complete answer within 10 ms (timeout)";
    }
    if (x->status / 100 == 2 && !*x->answer)
        world->answered += x->events;
    if (x->status / 100 == 2 && !*x->answer)
        each_event(x->body, event_done);
    each_event(x->body, event_leaves);
    x->done(x->arg, x->id, &a, why,
            (clock_mono_ms() - x->began_ms) * 1000000);
    free(x->body);
    free(x);
}

static inline int64_t next_answer_ms(void)
{
    int64_t at = INT64_MAX;

    for (size_t i = 0; i < world->flying_count; i++)
        if (world->flying[i]->due_ms < at)
            at = world->flying[i]->due_ms;
    return at;
}

static inline void answer_due(void)
{
    int64_t now = clock_mono_ms();

    for (size_t i = 0; i < world->flying_count;)
        if (world->flying[i]->due_ms <= now)
            answer(i); /* another takes its place */
        else
            i++;
}

/* ---- the supervisor ---- */

static inline struct world_lane *lane_of(uint32_t id)
{
    assert_in_range(id, 1, world->lane_count);
    return &world->lanes[id - 1];
}

static inline void stage(const struct msg_retry *m, int what)
{
    struct world_lane *l = lane_of(m->key.lane);

    if (l->staged_count == l->staged_cap) {
        l->staged_cap = l->staged_cap ? l->staged_cap * 2 : 64;
        l->staged = xrealloc(l->staged, l->staged_cap * sizeof *l->staged);
    }
    l->staged[l->staged_count].m = *m;
    l->staged[l->staged_count++].what = what;
}

static inline void on_retry(void *arg, const struct msg_retry *r, mf_str error,
                            mf_str request, mf_str response)
{
    (void)arg;
    (void)error;
    (void)request;
    (void)response;
    world->rows_put++;
    stage(r, PUT);
}

static inline void on_retry_done(void *arg, const struct msg_retry_key *k)
{
    struct msg_retry m = { .key = *k };

    (void)arg;
    stage(&m, DROP);
}

static inline void on_dead(void *arg, const struct msg_dead *m, mf_str error,
                           mf_str action, mf_str message_id, mf_str event,
                           mf_str request, mf_str response, mf_str name)
{
    (void)arg;
    (void)name;
    (void)action;
    (void)message_id;
    (void)event;
    (void)request;
    world->dead[m->reason]++;
    if (world->letter_count < LETTERS)
        world->letters[world->letter_count++] = m->key;
    snprintf(world->dead_error, sizeof world->dead_error, "%.*s",
             (int)error.len, error.ptr);
    snprintf(world->dead_response, sizeof world->dead_response, "%.*s",
             (int)response.len, response.ptr ? response.ptr : "");
}

static inline void on_paused(void *arg, const char *name, mf_str why)
{
    (void)arg;
    assert_string_equal(name, "d");
    snprintf(world->paused_why, sizeof world->paused_why, "%.*s",
             (int)why.len, why.ptr);
}

static inline void apply(struct world_lane *l, const struct change *c)
{
    int64_t since = 0;
    size_t i = 0;

    while (i < l->row_count &&
           memcmp(&l->rows[i].m.key, &c->m.key, sizeof c->m.key) != 0)
        i++;
    if (c->what == DROP) {
        assert_true(i < l->row_count);
        l->rows[i] = l->rows[--l->row_count];
        return;
    }
    if (i < l->row_count) {
        since = l->rows[i].m.since_ms;
    } else {
        if (l->row_count == l->row_cap) {
            l->row_cap = l->row_cap ? l->row_cap * 2 : 64;
            l->rows = xrealloc(l->rows, l->row_cap * sizeof *l->rows);
        }
        l->row_count++;
    }
    l->rows[i].m = c->m; /* what it counts its time from stays */
    if (!c->m.since_ms)
        l->rows[i].m.since_ms = since;
    if (l->row_count > world->rows_peak)
        world->rows_peak = l->row_count;
}

/* What the worker says at the end of a turn becomes durable. */
static inline void report(void)
{
    struct buf b;

    buf_init(&b, 64u << 20);
    for (size_t i = 0; i < world->lane_count; i++) {
        struct lane *lane = destination_lane(world->d, (uint32_t)i + 1);
        struct world_lane *l = &world->lanes[i];

        if (!lane_dirty(lane))
            continue;
        buf_clear(&b);
        lane_report(lane, &b);
        memcpy(&l->state, b.data, sizeof l->state);
        l->pending = xrealloc(l->pending, b.len);
        memcpy(l->pending, b.data + sizeof l->state, b.len - sizeof l->state);
        for (size_t k = 0; k < l->staged_count; k++)
            apply(l, &l->staged[k]);
        l->staged_count = 0;
    }
    buf_deinit(&b);
}

static inline int by_seq(const void *left, const void *right)
{
    const struct world_row *a = left, *b = right;

    return a->m.key.seq < b->m.key.seq ? -1 : a->m.key.seq > b->m.key.seq;
}

static inline bool pending_has(const struct world_lane *l, uint64_t seq)
{
    for (uint32_t i = 0; i < l->state.pending_count; i++)
        if (l->pending[i].seq == seq)
            return true;
    return false;
}

/* Of the worker before, and for the one that comes. */
static inline void give_receipts(struct lane *lane)
{
    struct receipt *list;
    size_t n;

    if (world->receipts_fd < 0)
        return;
    list = receipts_read(world->receipts_fd, &n);
    lane_know(lane, list, n);
    free(list);
    lane_set_receipts(lane, &world->receipts);
}

static inline void give_lane(struct world_lane *l, uint32_t id)
{
    bool replay = world->replay && id == world->lane_count;
    struct msg_lane m = replay ? *world->replay : (struct msg_lane){ 0 };
    struct lane *lane;
    struct err e;

    m.lane = id;
    m.mark = 1000 + id;
    m.source = replay ? 1 : id;
    m.next = l->state.next;
    m.counters = l->state.counters;
    m.pending_count = l->state.pending_count;
    lane = lane_new(world->cache, &world->bed->head, &m, l->pending);
    give_receipts(lane);
    if (replay)
        assert_int_equal(destination_own(world->d, lane, &m,
                                         mf_cstr(world->where), &e),
                         0);
    destination_add_lane(world->d, lane);
    for (size_t k = 0; k < l->row_count;)
        if (pending_has(l, l->rows[k].m.key.seq))
            l->rows[k] = l->rows[--l->row_count];
        else
            k++;
    if (l->row_count)
        qsort(l->rows, l->row_count, sizeof *l->rows, by_seq);
    for (size_t k = 0; k < l->row_count; k++)
        destination_restore(world->d, lane, &l->rows[k].m, MF_STR(""));
}

static inline void world_boot(void)
{
    struct reports reports = { .retry = on_retry,
                               .retry_done = on_retry_done,
                               .dead = on_dead,
                               .paused = on_paused };

    receipts_init(&world->receipts, world->receipts_fd);
    world->d = destination_new(world->instance, &world->o, NULL,
                               &world->slot, &reports);
    for (size_t i = 0; i < world->lane_count; i++)
        give_lane(&world->lanes[i], (uint32_t)i + 1);
}

/* The worker is gone, with all that it had not told. */
static inline void world_crash(void)
{
    destination_free(world->d);
    while (world->flying_count)
        exchange_free(world->flying[--world->flying_count]);
    for (size_t i = 0; i < world->lane_count; i++)
        world->lanes[i].staged_count = 0;
    world_boot();
}

/* It drains, tells, and another takes over. */
static inline void world_reload(void)
{
    destination_drain(world->d);
    destination_pump(world->d, 256);
    while (destination_in_flight(world->d)) {
        int64_t at = next_answer_ms(), now = clock_mono_ms();

        assert_true(at != INT64_MAX);
        if (at > now)
            turn_clock(at - now);
        answer_due();
        destination_pump(world->d, 256);
    }
    report();
    assert_int_equal(world->flying_count, 0);
    destination_free(world->d);
    world_boot();
}

/* ---- running ---- */

/* For so long, or until nothing is left to do. */
static inline void world_run(int64_t ms)
{
    int64_t end = clock_mono_ms() + ms;

    for (;;) {
        bool more = destination_pump(world->d, 256);
        int64_t now = clock_mono_ms(), at, other;

        report();
        if (more)
            continue;
        at = destination_next_ms(world->d);
        other = next_answer_ms();
        if (other < at)
            at = other;
        if (at == INT64_MAX)
            return;
        if (at >= end) {
            if (end > now)
                turn_clock(end - now);
            return;
        }
        if (at > now)
            turn_clock(at - now);
        answer_due();
    }
}

enum lane_outcome { LANE_DELIVERED, LANE_FILTERED, LANE_DEAD };

static inline uint64_t counted(enum lane_outcome what)
{
    uint64_t n = 0;

    for (size_t i = 0; i < world->lane_count; i++) {
        const struct counters *c = &world->lanes[i].state.counters;

        n += what == LANE_DELIVERED  ? c->delivered
             : what == LANE_FILTERED ? c->filtered
                                     : c->dead;
    }
    return n;
}

static inline uint64_t delivered(void)
{
    return counted(LANE_DELIVERED);
}

static inline uint64_t dead(void)
{
    return counted(LANE_DEAD);
}

/* accepted = delivered + filtered + dead, and nothing left over. */
static inline void all_is_settled(uint64_t events)
{
    uint64_t accepted = 0;

    for (size_t i = 0; i < world->lane_count; i++) {
        accepted += world->lanes[i].state.counters.accepted;
        assert_int_equal(world->lanes[i].state.pending_count, 0);
        assert_int_equal(world->lanes[i].row_count, 0);
    }
    assert_int_equal(accepted, events);
    assert_int_equal(delivered() + dead(), events);
}

/* ---- events ---- */

static inline void event_pad(uint32_t source, unsigned user, unsigned pad)
{
    char text[4096];
    struct journal_record r = { .source = source, .received_ms = clock_ms() };

    assert_true(pad < sizeof text - 200);
    r.payload.ptr = text;
    r.payload.len = (size_t)snprintf(
        text, sizeof text,
        "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u%u\","
        "\"messageId\":\"u%u-%u\",\"pad\":\"%0*d\"}",
        user, user, ++world->made[user], pad + 1, 0);
    assert_int_equal(journal_append(world->bed->j, &r), JOURNAL_OK);
    world->appended = r.seq;
    if (r.seq % 500 == 0) { /* what waits for the disk is limited */
        journal_flush(world->bed->j);
        wait_durable(world->bed, r.seq);
    }
}

static inline void event(uint32_t source, unsigned user)
{
    event_pad(source, user, 0);
}

static inline void events_durable(void)
{
    journal_flush(world->bed->j);
    wait_durable(world->bed, world->appended);
}

/* ---- life ---- */

/* Subscriptions to actions, one a slug; events of any kind start each. */
static inline void world_begin(const char *const *slugs, size_t lanes)
{
    static char text[2048];
    size_t len = 1;
    struct instance_config c = { .name = "d" };
    struct instance_fault fault;

    text[0] = '[';
    for (; *slugs; slugs++)
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "%s{\"action\":\"%s\",\"subscribe\":"
                                "\"type = \\\"track\\\"\"}",
                                len > 1 ? "," : "", *slugs);
    snprintf(text + len, sizeof text - len, "]");
    c.subscriptions = json_root(mf_cstr(text));
    world->instance = instance_new(&world->plugin, &c, &fault);
    if (!world->instance)
        fail_msg("%s", fault.err.text);
    world->lane_count = lanes;
    for (size_t i = 0; i < lanes; i++)
        world->lanes[i].state.next = (struct journal_pos){ 1, 0, 0 };
    world_boot();
}

#define ONE_ACTION(slug) ((const char *const[]){ slug, NULL })

static inline int world_new(void **state)
{
    struct err e = { "" };
    void *bed;

    bed_new(&bed);
    world = xcalloc(1, sizeof *world);
    world->bed = bed;
    world->bed->o.segment_bytes = 4 << 20;
    bed_open(world->bed);
    world->cache = journal_cache_new(world->bed->o.dir, &world->bed->head, 8);
    world->plugin.manifest = manifest_parse(
        xstrndup(world_manifest, sizeof world_manifest - 1),
        sizeof world_manifest - 1, "test", &e);
    if (!world->plugin.manifest)
        fail_msg("%s", e.text);
    world->plugin.code = &world_code;
    world->seed = 5;
    world->receipts_fd = -1;
    world->o = (struct destination_options){
        .name = "d", .concurrency = 64, .ttl_ms = 4 * 3600000,
        .timeout_ms = 10000, .batch_wait_ms = 1000,
    };
    *state = world;
    return 0;
}

static inline int world_free(void **state)
{
    void *bed = world->bed;

    (void)state;
    destination_free(world->d);
    while (world->flying_count)
        exchange_free(world->flying[--world->flying_count]);
    instance_free(world->instance);
    manifest_free(world->plugin.manifest);
    journal_cache_free(world->cache);
    for (size_t i = 0; i < LANES; i++) {
        free(world->lanes[i].pending);
        free(world->lanes[i].rows);
        free(world->lanes[i].staged);
    }
    if (world->receipts_fd >= 0)
        close(world->receipts_fd);
    bed_free(&bed);
    free(world);
    clock_skew_ms = clock_mono_skew_ms = 0;
    return 0;
}

#endif

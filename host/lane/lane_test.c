/* SPDX-License-Identifier: Apache-2.0
 *
 * The conservation law over random lives of a lane: whatever is settled, set
 * aside and tried again, and wherever the worker is killed between two
 * reports, each event of the source ends up counted once and handled at least
 * once. What the supervisor does with reports is modelled here. */
#include "lane/lane.h"

#include "base/clock.h"
#include "journal/testbed.h"

#define EVENTS    3000
#define OURS      1
#define ROWS_MAX  4096
#define FLYING    32

struct fixture {
    struct bed *bed;
    struct journal_cache *cache;
    uint32_t seed;
    struct lane *lane; /* the one in use: a test that fails leaves it */
};

static uint32_t chance(struct fixture *f, uint32_t n)
{
    f->seed = f->seed * 1664525 + 1013904223;
    return (f->seed >> 8) % n;
}

/* ---- a journal to read from ---- */

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    void *bed;

    bed_new(&bed);
    f->bed = bed;
    f->seed = 99;
    f->cache = journal_cache_new(f->bed->o.dir, &f->bed->head, 8);
    bed_open(f->bed);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    void *bed = f->bed;

    lane_free(f->lane);
    journal_cache_free(f->cache);
    bed_free(&bed);
    free(f);
    return 0;
}

static uint64_t append_one(struct fixture *f, uint32_t source)
{
    struct journal_record r = { .source = source,
                                .received_ms = clock_ms(),
                                .payload = MF_STR("{\"type\":\"track\"}") };

    assert_int_equal(journal_append(f->bed->j, &r), JOURNAL_OK);
    return r.seq;
}

static void flush(struct fixture *f, uint64_t seq)
{
    journal_flush(f->bed->j);
    wait_durable(f->bed, seq);
}

static struct lane *open_lane(struct fixture *f, uint32_t source)
{
    struct msg_lane m = { .lane = 7, .source = source, .next = { 1, 0, 0 } };

    f->lane = lane_new(f->cache, &f->bed->head, &m, NULL);
    return f->lane;
}

/* Takes until there is an event or nothing more. */
static enum lane_take take(struct lane *l, struct lane_event **ev)
{
    struct journal_record r;
    enum lane_take got;
    struct err e;

    while ((got = lane_take(l, ev, &r, &e)) == LANE_MORE)
        ;
    return got;
}

/* ---- the supervisor's part ---- */

struct row {
    struct journal_pos at;
    unsigned sub;
    bool dead;
};

struct change {
    struct row row;
    enum { PUT, DROP, DONE, DONE_DEAD } what;
};

#define FILTERED 2 /* in place of a subscription: the event had none */

struct model {
    struct row rows[ROWS_MAX];
    size_t row_count;
    struct change staged[ROWS_MAX];
    size_t staged_count;
    struct msg_lane_state state;
    struct journal_pos *pending;
    /* What the outcome log would say: how often each event ended, and what
     * the parts of it did that it told of. */
    struct ledger_sums sums;
    uint8_t ended[EVENTS + 1], class[EVENTS + 1], code[EVENTS + 1][2];
    /* By seq: a bit for each subscription that is settled, or is dead, by
     * what was reported; and how often one was settled at all. */
    unsigned done[EVENTS + 1], dead[EVENTS + 1], times[EVENTS + 1][3];
};

static void drop_row(struct model *m, uint64_t seq, unsigned sub)
{
    for (size_t i = 0; i < m->row_count; i++)
        if (m->rows[i].at.seq == seq && m->rows[i].sub == sub) {
            m->rows[i] = m->rows[--m->row_count];
            return;
        }
}

static void stage(struct model *m, const struct row *row, int what)
{
    assert_true(m->staged_count < ROWS_MAX);
    m->staged[m->staged_count].row = *row;
    m->staged[m->staged_count++].what = what;
}

static void apply(struct model *m, const struct change *c)
{
    uint64_t seq = c->row.at.seq;
    unsigned bit = 1u << c->row.sub;

    drop_row(m, seq, c->row.sub);
    if (c->what == PUT) {
        assert_true(m->row_count < ROWS_MAX);
        m->rows[m->row_count++] = c->row;
    } else if (c->what != DROP) {
        m->done[seq] |= bit;
        if (c->what == DONE_DEAD)
            m->dead[seq] |= bit;
        for (size_t i = 0; i < m->row_count; i++)
            m->rows[i].dead |= c->what == DONE_DEAD &&
                               m->rows[i].at.seq == seq;
    }
}

static void log_outcome(struct model *m, const struct ledger_entry *o)
{
    ledger_add(&m->sums, o);
    assert_true(o->from >= 1 && o->to <= EVENTS && !o->is_range);
    for (unsigned i = 0; i < o->parts; i++) {
        struct ledger_part p = ledger_part(o, i);

        assert_true(p.key < 2);
        m->code[o->from][p.key] = p.code;
    }
    if (o->class == LEDGER_REOPENED)
        m->ended[o->from]--;
    else if (o->class != LEDGER_PARTIAL)
        m->ended[o->from]++;
    m->class[o->from] = (uint8_t)o->class;
}

/* The sums of the log are the counters in every state that is reported. */
static void log_outcomes(struct model *m, mf_str stream)
{
    const struct counters *c = &m->state.counters;
    struct ledger_reader r;
    struct ledger_entry o;
    int rc;

    ledger_read(&r, stream, 0);
    while ((rc = ledger_next(&r, &o)) > 0)
        log_outcome(m, &o);
    assert_int_equal(rc, 0);
    assert_int_equal(m->sums.delivered, c->delivered);
    assert_int_equal(m->sums.filtered, c->filtered);
    assert_int_equal(m->sums.dead, c->dead);
}

static void report(struct model *m, struct lane *l)
{
    size_t listed;

    struct buf b;

    if (!lane_dirty(l)) {
        assert_int_equal(m->staged_count, 0);
        return;
    }
    buf_init(&b, 1 << 20);
    lane_report(l, &b);
    memcpy(&m->state, b.data, sizeof m->state);
    listed = m->state.pending_count * sizeof *m->pending;
    assert_int_equal(b.len, sizeof m->state + listed +
                                m->state.outcome_bytes);
    log_outcomes(m, (mf_str){ b.data + sizeof m->state + listed,
                              m->state.outcome_bytes });
    m->pending = xrealloc(m->pending, (m->state.pending_count + 1) *
                                          sizeof *m->pending);
    memcpy(m->pending, b.data + sizeof m->state, listed);
    for (size_t i = 0; i < m->staged_count; i++)
        apply(m, &m->staged[i]);
    m->staged_count = 0;
    buf_deinit(&b);
}

static int by_seq(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return (x->at.seq > y->at.seq) - (x->at.seq < y->at.seq);
}

/* ---- the worker's part ---- */

struct flying {
    struct lane_event *ev;
    struct row row;
    bool persisted;
};

struct worker {
    struct fixture *f;
    struct model *m;
    struct flying flying[FLYING], waiting[ROWS_MAX];
    size_t flying_count, waiting_count;
};

static void start(struct worker *w)
{
    struct model *m = w->m;
    struct msg_lane msg = { .lane = 7, .source = OURS,
                            .next = m->state.next,
                            .counters = m->state.counters,
                            .pending_count = m->state.pending_count };

    w->flying_count = w->waiting_count = 0;
    m->staged_count = 0;
    for (uint32_t i = 0; i < m->state.pending_count; i++) {
        uint64_t seq = m->pending[i].seq; /* begins anew with all parts */

        m->done[seq] = m->dead[seq] = 0;
        for (unsigned sub = 0; sub < 2; sub++)
            drop_row(m, seq, sub);
    }
    qsort(m->rows, m->row_count, sizeof *m->rows, by_seq);
    w->f->lane = lane_new(w->f->cache, &w->f->bed->head, &msg, m->pending);
    for (size_t i = 0; i < m->row_count; i++) {
        struct flying *x = &w->waiting[w->waiting_count++];

        x->row = m->rows[i];
        x->persisted = true;
        x->ev = lane_restore(w->f->lane, x->row.at, x->row.dead);
    }
}

static void finish(struct worker *w, struct flying *x,
                   uint8_t code)
{
    w->m->times[x->row.at.seq][x->row.sub]++;
    if (x->persisted)
        stage(w->m, &x->row, DROP);
    stage(w->m, &x->row, code >= PART_DEAD ? DONE_DEAD : DONE);
    lane_settle(x->ev, x->row.sub, code);
}

/* Ends one that is under way: mostly well. */
static void end_one(struct worker *w)
{
    size_t i = chance(w->f, (uint32_t)w->flying_count);
    struct flying x = w->flying[i];

    w->flying[i] = w->flying[--w->flying_count];
    switch (chance(w->f, 4)) {
    case 0:
        x.row.dead = x.ev->dead;
        stage(w->m, &x.row, PUT);
        x.persisted = true;
        lane_set_aside(x.ev);
        w->waiting[w->waiting_count++] = x;
        break;
    case 1:
        finish(w, &x, PART_DEAD + DEAD_REJECTED);
        break;
    default:
        finish(w, &x, PART_DELIVERED);
    }
}

static void try_one_again(struct worker *w)
{
    size_t i = chance(w->f, (uint32_t)w->waiting_count);

    lane_resume(w->waiting[i].ev);
    w->flying[w->flying_count++] = w->waiting[i];
    w->waiting[i] = w->waiting[--w->waiting_count];
}

static bool begin_one(struct worker *w)
{
    struct lane_event *ev;
    unsigned parts;

    if (take(w->f->lane, &ev) != LANE_EVENT)
        return false;
    parts = (unsigned)(ev->at.seq % 3);
    if (parts == 0) {
        struct row none = { ev->at, FILTERED, false };

        w->m->times[ev->at.seq][FILTERED]++;
        stage(w->m, &none, DONE);
    }
    for (unsigned i = 0; i < parts; i++) {
        struct flying *x = &w->flying[w->flying_count++];

        *x = (struct flying){ .ev = ev, .row = { ev->at, i, false } };
    }
    lane_begin(ev, parts, 5);
    return true;
}

/* Until all is settled. crash: how many turns between two of them, 0: none. */
static void live(struct worker *w, uint32_t crash)
{
    bool more = true;

    while (more || w->flying_count || w->waiting_count) {
        if (crash && chance(w->f, crash) == 0) {
            lane_free(w->f->lane);
            start(w);
            more = true;
        }
        if (w->flying_count + 2 <= FLYING && chance(w->f, 2))
            more = begin_one(w) || w->flying_count;
        if (w->flying_count && chance(w->f, 2))
            end_one(w);
        if (w->waiting_count && w->flying_count < FLYING &&
            chance(w->f, 4) == 0)
            try_one_again(w);
        if (chance(w->f, 5) == 0)
            report(w->m, w->f->lane);
    }
    report(w->m, w->f->lane);
}

static void check_event(struct model *m, uint64_t seq, bool is_ours,
                        bool crashed)
{
    unsigned parts = seq % 3 ? (1u << seq % 3) - 1 : 1u << FILTERED;

    assert_int_equal(m->done[seq], is_ours ? parts : 0);
    assert_int_equal(m->ended[seq], is_ours ? 1 : 0);
    if (is_ours && m->dead[seq])
        assert_int_equal(m->class[seq], LEDGER_DEAD);
    for (unsigned sub = 0; sub < 2; sub++)
        if (is_ours && parts >> sub & 1)
            assert_int_equal(m->code[seq][sub],
                             m->dead[seq] >> sub & 1 ? PART_DEAD
                                                     : PART_DELIVERED);
    for (unsigned sub = 0; sub < 3; sub++) {
        if (!is_ours || !(parts >> sub & 1))
            assert_int_equal(m->times[seq][sub], 0);
        else if (!crashed)
            assert_int_equal(m->times[seq][sub], 1);
    }
}

static void check_end(struct worker *w, uint64_t ours, const bool *is_ours,
                      bool crashed)
{
    struct counters *c = lane_counters(w->f->lane);
    uint64_t dead = 0, filtered = 0;

    for (uint64_t seq = 1; seq <= EVENTS; seq++) {
        check_event(w->m, seq, is_ours[seq], crashed);
        dead += w->m->dead[seq] != 0;
        filtered += w->m->done[seq] == 1u << FILTERED;
    }
    assert_int_equal(c->accepted, ours);
    assert_int_equal(c->dead, dead);
    assert_int_equal(c->filtered, filtered);
    assert_int_equal(c->delivered, ours - dead - filtered);
    assert_int_equal(lane_open_events(w->f->lane), 0);
    assert_int_equal(lane_aside_events(w->f->lane), 0);
    assert_int_equal(w->m->state.pending_count, 0);
    assert_int_equal(w->m->row_count, 0);
    assert_int_equal(lane_oldest_ms(w->f->lane), 0);
}

static void whole_life(struct fixture *f, uint32_t crash)
{
    struct worker *w = xcalloc(1, sizeof *w);
    bool *is_ours = xcalloc(EVENTS + 1, sizeof *is_ours);
    uint64_t ours = 0, seq = 0;

    w->f = f;
    w->m = xcalloc(1, sizeof *w->m);
    w->m->state.next.seq = 1;
    for (unsigned i = 0; i < EVENTS; i++) {
        uint32_t source = OURS + chance(f, 2);

        seq = append_one(f, source);
        assert_true(seq <= EVENTS);
        is_ours[seq] = source == OURS;
        ours += source == OURS;
    }
    flush(f, seq);
    start(w);
    live(w, crash);
    check_end(w, ours, is_ours, crash != 0);
    free(w->m->pending);
    free(w->m);
    free(w);
    free(is_ours);
}

static void each_event_is_counted_once(void **state)
{
    whole_life(*state, 0);
}

static void none_is_lost_where_workers_die(void **state)
{
    whole_life(*state, 40);
}

static void none_is_lost_where_they_die_often(void **state)
{
    struct fixture *f = *state;

    f->seed = 4711;
    whole_life(f, 12);
}

/* ---- limits ---- */

static void a_lane_stops_when_too_much_is_open(void **state)
{
    struct fixture *f = *state;
    struct lane *l = open_lane(f, OURS);
    struct lane_event *ev, *first = NULL;
    uint64_t seq = 0;

    for (unsigned i = 0; i < LANE_PENDING_MAX + 1; i++)
        seq = append_one(f, OURS);
    flush(f, seq);
    for (unsigned i = 0; i < LANE_PENDING_MAX; i++) {
        assert_int_equal(take(l, &ev), LANE_EVENT);
        lane_begin(ev, 1, 0);
        first = first ? first : ev;
    }
    assert_true(lane_has_more(l));
    assert_false(lane_ready(l));
    assert_int_equal(take(l, &ev), LANE_FULL);
    lane_settle(first, 1, PART_DELIVERED);
    assert_true(lane_ready(l));
    assert_int_equal(take(l, &ev), LANE_EVENT);
    lane_begin(ev, 0, 5);
    assert_int_equal(take(l, &ev), LANE_EMPTY);
    assert_false(lane_has_more(l));
    assert_int_equal(lane_counters(l)->filtered, 1);
}

static void a_lane_stops_when_too_much_waits(void **state)
{
    struct fixture *f = *state;
    struct lane *l = open_lane(f, OURS);
    struct lane_event *ev;
    uint64_t seq = 0;

    for (unsigned i = 0; i < LANE_RETRIES_MAX + 1; i++)
        seq = append_one(f, OURS);
    flush(f, seq);
    for (unsigned i = 0; i < LANE_RETRIES_MAX; i++) {
        assert_int_equal(take(l, &ev), LANE_EVENT);
        lane_begin(ev, 1, 0);
        lane_set_aside(ev);
    }
    assert_int_equal(take(l, &ev), LANE_FULL);
    assert_false(lane_ready(l));
    assert_int_equal(lane_open_events(l), 0);
}

static void events_of_others_are_passed(void **state)
{
    struct fixture *f = *state;
    struct lane *l = open_lane(f, OURS);
    struct journal_record r;
    struct lane_event *ev;
    struct err e;
    uint64_t seq = 0;

    for (unsigned i = 0; i < 9000; i++)
        append_one(f, OURS + 1);
    seq = append_one(f, OURS);
    flush(f, seq);
    assert_int_equal(take(l, &ev), LANE_EVENT);
    assert_int_equal(ev->at.seq, seq);
    assert_int_equal(lane_counters(l)->accepted, 1);
    assert_int_equal(lane_reread(l, ev, &r, &e), LANE_EVENT);
    assert_int_equal(r.seq, seq);
    lane_begin(ev, 0, 5);
}

/* A dead letter that is tried again: pending, and then what it became. */
static void a_dead_event_is_revived(void **state)
{
    struct fixture *f = *state;
    struct lane *l = open_lane(f, OURS);
    struct model *m = xcalloc(1, sizeof *m);
    struct lane_event *ev;
    struct journal_pos at;

    flush(f, append_one(f, OURS));
    assert_int_equal(take(l, &ev), LANE_EVENT);
    at = ev->at;
    lane_begin(ev, 2, 0);
    lane_settle(ev, 0, PART_DEAD + DEAD_REJECTED);
    lane_settle(ev, 1, PART_DEAD + DEAD_REJECTED);
    report(m, l);
    assert_int_equal(m->class[1], LEDGER_DEAD);
    ev = lane_revive(l, at, 0, true);
    assert_int_equal(lane_counters(l)->dead, 0);
    report(m, l);
    assert_int_equal(m->state.pending_count, 1);
    assert_int_equal(m->class[1], LEDGER_REOPENED);
    /* The other part too, while the first still waits. */
    lane_set_aside(ev);
    assert_ptr_equal(lane_revive(l, at, 1, false), ev);
    lane_settle(ev, 1, PART_DELIVERED);
    report(m, l);
    assert_int_equal(m->state.pending_count, 0);
    lane_resume(ev);
    lane_settle(ev, 0, PART_DELIVERED);
    report(m, l);
    assert_int_equal(m->class[1], LEDGER_DELIVERED);
    assert_int_equal(m->ended[1], 1);
    assert_int_equal(m->sums.dead, 0);
    assert_int_equal(m->sums.delivered, 1);
    free(m->pending);
    free(m);
}

/* ---- losses ---- */

#define OLD 20000 /* events; retention leaves the last few segments */

/* Retention takes all but the newest: max_bytes is taken on at open. */
static void let_retention_take(struct fixture *f)
{
    bed_close(f->bed);
    f->bed->o.max_bytes = 4 * f->bed->o.segment_bytes;
    bed_open(f->bed);
    journal_retain(f->bed->j);
    assert_true(atomic_load(&f->bed->head.first) > OLD / 2);
}

static uint64_t fill_thirds(struct fixture *f, uint64_t *ours)
{
    uint64_t seq = 0;

    *ours = 0;
    for (unsigned i = 0; i < OLD; i++) {
        uint32_t source = OURS + i % 3;

        seq = append_one(f, source);
        *ours += source == OURS;
        if (i % 500 == 499)
            flush(f, seq);
    }
    flush(f, seq);
    return seq;
}

/* All that is left; the ranges it reports, and how many they are. */
static uint64_t read_out(struct lane *l, uint64_t *ranges)
{
    struct lane_event *ev;
    struct ledger_reader r;
    struct ledger_entry o;
    struct msg_lane_state m;
    uint64_t lost = 0, read = 0;
    struct buf b;

    while (take(l, &ev) == LANE_EVENT) {
        lane_begin(ev, 0, 5);
        read++;
    }
    buf_init(&b, 8 << 20);
    lane_report(l, &b);
    memcpy(&m, b.data, sizeof m);
    assert_int_equal(m.pending_count, 0);
    ledger_read(&r, (mf_str){ b.data + sizeof m, m.outcome_bytes }, 0);
    while (ledger_next(&r, &o) > 0) {
        lost += o.is_range ? o.count : 0;
        *ranges += o.is_range;
    }
    buf_deinit(&b);
    assert_int_equal(lost, m.counters.lost);
    assert_int_equal(lost, m.counters.dead);
    assert_int_equal(read, m.counters.filtered);
    assert_int_equal(lost + read, m.counters.accepted);
    return lost;
}

/* Events of others that retention took were none of the lane's. */
static void what_is_lost_is_counted_by_source(void **state)
{
    struct fixture *f = *state;
    uint64_t ours, ranges = 0, lost;
    struct lane *l;

    fill_thirds(f, &ours);
    let_retention_take(f);
    l = open_lane(f, OURS);
    lost = read_out(l, &ranges);
    assert_int_equal(lane_counters(l)->accepted, ours);
    assert_int_equal(lost, (atomic_load(&f->bed->head.first) + 1) / 3);
    assert_int_equal(ranges, 1);
}

/* Without the id files nobody can tell whose they were: all are counted. */
static void what_nobody_can_tell_is_counted_whole(void **state)
{
    struct fixture *f = *state;
    uint64_t ours, ranges = 0;
    char command[128];

    fill_thirds(f, &ours);
    let_retention_take(f);
    snprintf(command, sizeof command, "rm -rf '%s/ids'", f->bed->path);
    assert_int_equal(system(command), 0);
    assert_int_equal(read_out(open_lane(f, OURS), &ranges),
                     atomic_load(&f->bed->head.first) - 1);
}

/* A loss that is counted in several takes, with a crash after each: the
 * cursor that is reported stands where the count stands. */
static void a_loss_is_counted_once_over_crashes(void **state)
{
    struct fixture *f = *state;
    struct msg_lane_state m = { .next = { 1, 0, 0 } };
    uint64_t lost = 3 * (uint64_t)(1u << 18) + 5, turns = 0;

    /* The journal says that it begins far behind where it does. */
    append_one(f, OURS);
    atomic_store(&f->bed->head.first, lost + 1);
    atomic_store(&f->bed->head.durable, lost);
    while (m.next.seq <= lost) {
        struct msg_lane msg = { .lane = 7, .source = OURS, .next = m.next,
                                .counters = m.counters };
        struct lane_event *ev;
        struct journal_record r;
        struct buf b;
        struct err e;

        f->lane = lane_new(f->cache, &f->bed->head, &msg, NULL);
        assert_true(lane_has_more(f->lane));
        assert_int_equal(lane_take(f->lane, &ev, &r, &e), LANE_MORE);
        buf_init(&b, 1 << 20);
        lane_report(f->lane, &b);
        memcpy(&m, b.data, sizeof m);
        buf_deinit(&b);
        lane_free(f->lane);
        f->lane = NULL;
        turns++;
    }
    assert_int_equal(turns, 4);
    assert_int_equal(m.counters.lost, lost);
    assert_int_equal(m.counters.accepted, lost);
    atomic_store(&f->bed->head.first, 1);
    atomic_store(&f->bed->head.durable, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_event_is_counted_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(none_is_lost_where_workers_die,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(none_is_lost_where_they_die_often,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_lane_stops_when_too_much_is_open,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_lane_stops_when_too_much_waits,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(events_of_others_are_passed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_dead_event_is_revived, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_lost_is_counted_by_source,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_can_tell_is_counted_whole,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_loss_is_counted_once_over_crashes,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

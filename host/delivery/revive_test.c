/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters that are taken up again, and replays beside live lanes, over
 * workers that are killed: whatever the moment, each event is counted once and
 * arrives, and live events go first. */
#include "delivery/testworld.h"

#include "delivery/replay.h"

#define HOUR    3600000
#define EVENTS  400
#define LIVE    1 /* lane */
#define REPLAY  2

/* ---- letters, as the supervisor has them ---- */

static struct msg_retry_key letters[LETTERS];
static unsigned letter_count;

/* Events of odd users are refused until it is mended. */
static bool mended;
static unsigned arrived[USERS][EVENTS + 1];

static void note(struct exchange *x)
{
    unsigned user, n;

    if (x->status == 200 &&
        sscanf(strstr(x->body, "\"mid\":\"u"), "\"mid\":\"u%u-%u", &user,
               &n) == 2)
        arrived[user][n]++;
}

static void far_refuses_odd(struct world *w, struct exchange *x)
{
    unsigned user = 0;

    (void)w;
    sscanf(strstr(x->body, "\"mid\":\"u"), "\"mid\":\"u%u", &user);
    if (!mended && user % 2)
        x->status = 400;
    else if (chance(5) == 0)
        x->status = 503;
    note(x);
}

static void forget(void)
{
    letter_count = 0;
    mended = false;
    memset(arrived, 0, sizeof arrived);
}

static void make(unsigned events)
{
    for (unsigned i = 0; i < events; i++)
        event(1, i % 10);
    events_durable();
}

static void list_letters(void)
{
    letter_count = (unsigned)world->letter_count;
    memcpy(letters, world->letters, letter_count * sizeof *letters);
}

/* What the supervisor does: the row is there with the lane's next state. */
static void revive(const struct msg_retry_key *k)
{
    struct msg_revive m = { .key = *k, .at = { k->seq, 0, 0 },
                            .since_ms = clock_ms() };
    struct msg_retry row = { .key = *k, .at = m.at, .since_ms = m.since_ms,
                             .due_ms = m.since_ms };

    stage(&row, PUT);
    destination_revive(world->d, destination_lane(world->d, k->lane), &m,
                       MF_STR(""));
}

static bool has_row(const struct msg_retry_key *k)
{
    const struct world_lane *l = &world->lanes[k->lane - 1];

    for (size_t i = 0; i < l->row_count; i++)
        if (memcmp(&l->rows[i].m.key, k, sizeof *k) == 0)
            return true;
    return false;
}

static void letters_arrive_over_crashes(void **state)
{
    const struct counters *c;

    (void)state;
    forget();
    world->far = far_refuses_odd;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    c = &world->lanes[0].state.counters;
    all_is_settled(EVENTS);
    assert_int_equal(c->dead, EVENTS / 2);
    list_letters();
    assert_int_equal(letter_count, EVENTS / 2);
    mended = true;
    for (unsigned i = 0; i < letter_count;) {
        bool told = chance(3) > 0;

        revive(&letters[i]);
        if (told)
            report();
        if (told) {
            assert_true(has_row(&letters[i]));
            i++; /* it is a letter no more */
        }
        assert_int_equal(c->accepted, EVENTS);
        assert_true(c->delivered + c->dead <= EVENTS);
        if (!told || chance(4) == 0)
            world_crash();
        if (chance(5) == 0)
            world_run(chance(40));
    }
    world_run(HOUR);
    all_is_settled(EVENTS);
    assert_int_equal(c->delivered, EVENTS);
    assert_int_equal(c->dead, 0);
    for (unsigned n = 1; n <= EVENTS / 10; n++)
        for (unsigned user = 1; user < 10; user += 2)
            assert_true(arrived[user][n] > 0);
}

static void without_a_crash_each_arrives_once(void **state)
{
    (void)state;
    forget();
    world->far = far_refuses_odd;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    list_letters();
    mended = true;
    for (unsigned i = 0; i < letter_count; i++)
        revive(&letters[i]);
    report();
    assert_int_equal(world->lanes[0].state.counters.dead, 0);
    assert_int_equal(world->lanes[0].state.pending_count, 0);
    world_run(HOUR);
    all_is_settled(EVENTS);
    for (unsigned n = 1; n <= EVENTS / 10; n++)
        for (unsigned user = 0; user < 10; user++)
            assert_int_equal(arrived[user][n], 1);
}

/* Long after they were received: the time counts from the replay. */
static void ttl_counts_from_the_replay(void **state)
{
    (void)state;
    forget();
    world->far = far_refuses_odd;
    world->o.ttl_ms = HOUR;
    world_begin(ONE_ACTION("send"), 1);
    make(20);
    world_run(HOUR);
    list_letters();
    turn_clock(5 * HOUR);
    mended = true;
    for (unsigned i = 0; i < letter_count; i++)
        revive(&letters[i]);
    report();
    world_crash(); /* what counts stands in the row */
    world_run(HOUR);
    all_is_settled(20);
    assert_int_equal(counted(LANE_DELIVERED), 20);
}

/* What the journal does not have any more is delivered from the letter. */
static void a_copy_is_delivered(void **state)
{
    struct msg_revive m = { .key = { LIVE, 0, 1 }, .at = { 1, 0, 0 } };

    (void)state;
    forget();
    world->far = far_refuses_odd;
    world_begin(ONE_ACTION("send"), 1);
    make(2);
    world_run(HOUR);
    list_letters();
    assert_int_equal(letter_count, 1);
    mended = true;
    m.key = letters[0];
    m.at = (struct journal_pos){ letters[0].seq, 0, 0 };
    m.since_ms = clock_ms();
    {
        struct msg_retry row = { .key = m.key, .at = m.at,
                                 .since_ms = m.since_ms };

        stage(&row, PUT);
    }
    destination_revive(world->d, destination_lane(world->d, LIVE), &m,
                       MF_STR("{\"type\":\"track\",\"userId\":\"u9\","
                              "\"messageId\":\"u9-7\"}"));
    world_run(HOUR);
    all_is_settled(2);
    assert_int_equal(arrived[9][7], 1);
    assert_int_equal(arrived[1][1], 0);
}

/* ---- replays ---- */

static struct msg_lane asked;
static const char *where = "";

static void far_counts(struct world *w, struct exchange *x)
{
    (void)w;
    if (chance(6) == 0)
        x->status = 503;
    note(x);
}

/* The second lane is a replay of what the first has read. */
static void begin_replay(uint64_t last)
{
    asked = (struct msg_lane){ .replay = 1, .last = last,
                               .until_ms = INT64_MAX,
                               .since_ms = clock_ms() };
    world->replay = &asked;
    world->where = where;
    world->lane_count = 2;
    world->lanes[1].state.next = (struct journal_pos){ 1, 0, 0 };
    give_lane(&world->lanes[1], REPLAY);
}

static void a_replay_goes_on_over_crashes(void **state)
{
    const struct counters *c = &world->lanes[1].state.counters;
    unsigned crashes = 0;

    (void)state;
    forget();
    where = "";
    world->far = far_counts;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    all_is_settled(EVENTS);
    memset(arrived, 0, sizeof arrived);
    turn_clock(5 * HOUR); /* beyond their ttl, by when they were received */
    begin_replay(EVENTS);
    make(100); /* these are not of it */
    while (c->delivered + c->filtered + c->dead < EVENTS && crashes < 500) {
        world_run(chance(60));
        if (chance(4) == 0)
            world_reload();
        else
            world_crash();
        crashes++;
    }
    world_run(HOUR);
    assert_int_equal(c->accepted, EVENTS);
    assert_int_equal(c->delivered, EVENTS);
    assert_int_equal(world->lanes[1].state.next.seq, EVENTS + 1);
    assert_int_equal(world->lanes[1].row_count, 0);
    assert_int_equal(world->lanes[0].state.counters.delivered, EVENTS + 100);
    for (unsigned n = 1; n <= EVENTS / 10; n++)
        for (unsigned user = 0; user < 10; user++)
            assert_true(arrived[user][n] > 0);
}

static void a_filter_leaves_the_others_out(void **state)
{
    const struct counters *c = &world->lanes[1].state.counters;

    (void)state;
    forget();
    where = "userId = \"u3\"";
    world->far = far_counts;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    memset(arrived, 0, sizeof arrived);
    begin_replay(EVENTS / 2);
    world_run(HOUR);
    assert_int_equal(c->accepted, EVENTS / 2);
    assert_int_equal(c->delivered, EVENTS / 20);
    assert_int_equal(c->filtered, EVENTS / 2 - EVENTS / 20);
    for (unsigned n = 1; n <= EVENTS / 10; n++)
        for (unsigned user = 0; user < 10; user++)
            assert_int_equal(arrived[user][n],
                             user == 3 && n <= EVENTS / 20);
}

static void what_is_cancelled_ends(void **state)
{
    const struct counters *c = &world->lanes[1].state.counters;

    (void)state;
    forget();
    where = "";
    world->far = far_counts;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    world->down_until_ms = INT64_MAX;
    begin_replay(EVENTS);
    world_run(30);
    destination_replay(world->d, destination_lane(world->d, REPLAY),
                       REPLAY_CANCELLED);
    world_run(HOUR);
    assert_true(c->accepted < EVENTS);
    assert_int_equal(c->accepted, c->delivered + c->filtered + c->dead);
    assert_int_equal(world->lanes[1].state.pending_count, 0);
    assert_int_equal(world->lanes[1].row_count, 0);
    assert_true(destination_drop_lane(world->d,
                                      destination_lane(world->d, REPLAY)));
    world->lane_count = 1;
}

/* The replay holds at most half of the calls, and a live event finds one; and
 * where live events never end, one of 16 is a replay's. */
static void live_events_go_first(void **state)
{
    const struct counters *live = &world->lanes[0].state.counters;
    const struct counters *c = &world->lanes[1].state.counters;
    uint64_t before, share;

    (void)state;
    forget();
    where = "";
    world->far = NULL; /* 20 ms each */
    world->o.concurrency = 8;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    begin_replay(EVENTS);
    world->flying_peak = 0;
    world_run(200); /* the replay alone */
    assert_in_range(world->flying_peak, 2, 4);
    destination_pump(world->d, 256);
    assert_true(world->flying_count > 0);
    event(1, 11);
    events_durable();
    destination_pump(world->d, 256);
    assert_int_equal(world->in_flight[11], 1);
    make(2000);
    before = c->delivered;
    while (live->delivered < EVENTS + 640)
        world_run(20);
    share = c->delivered - before;
    assert_in_range(share, 640 / 16 - 16, 640 / 16 + 16);
    assert_true(live->delivered < EVENTS + 1999);
    world_run(HOUR);
    assert_int_equal(c->delivered, EVENTS);
    assert_int_equal(live->delivered, EVENTS + 2001);
}

static void its_rate_is_kept(void **state)
{
    int64_t began;

    (void)state;
    forget();
    where = "";
    world->far = NULL;
    world_begin(ONE_ACTION("send"), 1);
    make(EVENTS);
    world_run(HOUR);
    asked.rate = 0;
    began = clock_mono_ms();
    begin_replay(EVENTS);
    destination_free(world->d); /* given anew, with a rate */
    asked.rate = 20;
    world_boot();
    while (world->lanes[1].state.counters.delivered < EVENTS &&
           clock_mono_ms() < began + HOUR)
        world_run(100);
    /* A second's worth at once, then one every 50 ms. */
    assert_in_range(clock_mono_ms() - began, (EVENTS - 21) * 50,
                    (EVENTS - 18) * 50 + 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)
    const struct CMUnitTest tests[] = {
        TEST(letters_arrive_over_crashes),
        TEST(without_a_crash_each_arrives_once),
        TEST(ttl_counts_from_the_replay),
        TEST(a_copy_is_delivered),
        TEST(a_replay_goes_on_over_crashes),
        TEST(a_filter_leaves_the_others_out),
        TEST(what_is_cancelled_ends),
        TEST(live_events_go_first),
        TEST(its_rate_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

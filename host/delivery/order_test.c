/* SPDX-License-Identifier: Apache-2.0
 *
 * Order: each user's events leave one after the other, whatever fails and
 * whenever the worker is killed. The far side looks at that: it fails the
 * test when an event arrives beside or before an earlier one of its user. */
#include "delivery/testworld.h"

#include "delivery/order.h"

/* Each third call fails, and calls take differently long. */
static void far_fails(struct world *w, struct exchange *x)
{
    x->due_ms = x->began_ms + 1 + chance(50);
    if (chance(3) == 0)
        x->status = chance(2) ? 503 : 0;
    if (w->down_until_ms > x->began_ms)
        x->status = 503;
}

/* Only what is not a batch has one result for all. */
static void far_bulk(struct world *w, struct exchange *x)
{
    size_t len;

    far_fails(w, x);
    if (x->status != 200)
        return;
    len = (size_t)snprintf(x->answer, sizeof x->answer, "{\"results\":[");
    for (const char *p = x->body; (p = strstr(p, "\"mid\":\"u")); p++) {
        bool good = chance(4) > 0;
        unsigned user, n;

        assert_int_equal(sscanf(p, "\"mid\":\"u%u-%u\"", &user, &n), 2);
        if (good)
            event_done(user, n);
        len += (size_t)snprintf(x->answer + len, sizeof x->answer - len,
                                "%s%d", x->answer[len - 1] == '[' ? "" : ",",
                                good ? 200 : 503);
    }
    snprintf(x->answer + len, sizeof x->answer - len, "]}");
}

static void make(unsigned events, unsigned users)
{
    for (unsigned i = 0; i < events; i++)
        event(1, chance(users));
    events_durable();
}

static void users_done(unsigned users)
{
    for (unsigned u = 0; u < users; u++)
        assert_int_equal(world->done[u], world->made[u]);
}

static void live(const char *slug, bool by_user, bool bulk)
{
    world->o.by_user = by_user;
    world->o.retry_rate = 1e6;
    world->keeps_order = true;
    world->far = bulk ? far_bulk : far_fails;
    world_begin(ONE_ACTION(slug), 1);
}

static void each_user_in_order_the_others_beside(void **state)
{
    (void)state;
    live("send", true, false);
    make(1000, 20);
    world_run(3600000);
    all_is_settled(1000);
    users_done(20);
    assert_int_equal(world->twice, 0);
    assert_true(world->flying_peak >= 5); /* users do not wait for users */
}

static void without_it_none_is_kept(void **state)
{
    (void)state;
    live("send", false, false);
    world->keeps_order = false;
    make(200, 1);
    world_run(3600000);
    all_is_settled(200);
    assert_true(world->flying_peak > 1);
}

/* The manifest's own wish, whatever `order` says. */
static void serialize_by_needs_no_configuration(void **state)
{
    (void)state;
    live("serial", false, false);
    make(400, 10);
    world_run(3600000);
    all_is_settled(400);
    users_done(10);
}

/* Both keys at a time: of the user and of the field. */
static void two_keys_do_not_lock_each_other(void **state)
{
    (void)state;
    live("serial", true, false);
    make(400, 10);
    world_run(3600000);
    all_is_settled(400);
    users_done(10);
}

static void batches_keep_it_too(void **state)
{
    (void)state;
    live("bulk", true, true);
    make(600, 30);
    world_run(36000000);
    all_is_settled(600);
    users_done(30);
}

static void batches_are_filled_all_the_same(void **state)
{
    (void)state;
    live("bulk", true, true);
    world->far = NULL;
    make(600, 60);
    world_run(3600000);
    all_is_settled(600);
    assert_true(world->requests <= 90); /* of ten each, 60 would do */
}

static void serial_batches(void **state)
{
    (void)state;
    live("serialbulk", false, true);
    make(300, 20);
    world_run(36000000);
    all_is_settled(300);
    users_done(20);
}

/* One user alone fills no batch, and does not wait a second for each. */
static void what_others_wait_for_is_not_kept(void **state)
{
    int64_t began;

    (void)state;
    live("bulk", true, true);
    world->far = NULL;
    make(100, 1);
    began = clock_mono_ms();
    world_run(3600000);
    all_is_settled(100);
    assert_true(clock_mono_ms() - began < 100 * 20 + 3000);
}

/* Killed and replaced at random: nothing overtakes, nothing is lost. */
static void lives(const char *slug, bool by_user, bool bulk)
{
    live(slug, by_user, bulk);
    for (unsigned round = 0; round < 60; round++) {
        make(chance(30), 8);
        world_run(chance(3000));
        if (chance(3) == 0)
            world_crash();
        else if (chance(3) == 0)
            world_reload();
    }
    world_run(36000000);
    all_is_settled(world->appended);
    users_done(8);
}

static void crashes_do_not_disturb_it(void **state)
{
    (void)state;
    lives("send", true, false);
}

static void crashes_do_not_disturb_batches(void **state)
{
    (void)state;
    lives("bulk", true, true);
}

static void crashes_do_not_disturb_two_keys(void **state)
{
    (void)state;
    lives("serial", true, false);
}

/* ---- a user whose events fail ---- */

static void far_hates_u0(struct world *w, struct exchange *x)
{
    if (strstr(x->body, "\"u0\"") && x->began_ms < w->down_until_ms)
        x->status = 500;
}

static void one_that_waits_blocks_nobody(void **state)
{
    (void)state;
    live("send", true, false);
    world->far = far_hates_u0;
    world->down_until_ms = clock_mono_ms() + 3600000;
    for (unsigned i = 0; i < 2000; i++)
        event(1, i % 2 ? 0 : 1 + i % 10);
    events_durable();
    world_run(600000);
    for (unsigned u = 1; u < 11; u++)
        assert_int_equal(world->done[u], world->made[u]);
    assert_int_equal(world->done[0], 0);
    assert_int_equal(world->lanes[0].row_count, 1000); /* all behind it */
    assert_int_equal(world->lanes[0].state.pending_count, 0);
    world_crash(); /* and they are found again */
    world_run(3600000 + 600000);
    all_is_settled(2000);
    users_done(11);
    assert_int_equal(world->twice, 0);
}

/* More of them than a lane may hold: it stops reading, and loses nothing. */
static void what_waits_is_bounded(void **state)
{
    unsigned events = LANE_RETRIES_MAX + 3000;

    (void)state;
    live("send", true, false);
    world->far = far_hates_u0;
    world->down_until_ms = clock_mono_ms() + 3600000;
    for (unsigned i = 0; i < events; i++)
        event(1, 0);
    events_durable();
    world_run(60000);
    assert_in_range(world->lanes[0].row_count, LANE_RETRIES_MAX - 300,
                    LANE_RETRIES_MAX + 1);
    world_run(7200000);
    all_is_settled(events);
    assert_int_equal(world->done[0], events);
    assert_int_equal(world->twice, 0);
}

/* In memory too: one user's flood while the first of it is under way. */
static void far_is_slow(struct world *w, struct exchange *x)
{
    (void)w;
    x->due_ms = x->began_ms + 60000;
}

static void what_waits_in_memory_is_bounded(void **state)
{
    (void)state;
    live("send", true, false);
    world->far = far_is_slow;
    for (unsigned i = 0; i < LANE_RETRIES_MAX + 3000; i++)
        event(1, 0);
    events_durable();
    world_run(1000);
    assert_true(world->lanes[0].state.pending_count <= LANE_RETRIES_MAX + 1);
    assert_true(world->lanes[0].state.pending_count > LANE_RETRIES_MAX - 300);
    assert_int_equal(world->rows_put, 0);
}

/* A dead far side fills no table: what cannot be tried stays in the journal. */
static void far_is_down(struct world *w, struct exchange *x)
{
    if (x->began_ms < w->down_until_ms)
        x->status = 503;
}

static void an_outage_costs_few_rows(void **state)
{
    (void)state;
    live("send", true, false);
    world->far = far_is_down;
    world->down_until_ms = clock_mono_ms() + 2 * 3600000;
    make(3000, USERS);
    world_run(2 * 3600000);
    assert_true(world->rows_peak < 200);
    world_run(600000);
    all_is_settled(3000);
    users_done(USERS);
}

/* ---- the queues by themselves ---- */

static void an_older_one_comes_before_what_did_not_begin(void **state)
{
    struct order *o = order_new(3);
    const uint64_t keys[ORDER_KEYS] = { 7, 0 }, none[ORDER_KEYS] = { 0, 0 };
    struct ticket *five = order_join(o, 5, keys), *three, *nine, *first;

    (void)state;
    assert_null(order_join(o, 1, none));
    order_put(o, five, ORDER_DUE, NULL); /* found in state.db */
    three = order_join(o, 3, keys);
    assert_false(order_first(five));
    assert_true(order_first(three));
    order_put(o, three, ORDER_HAND, NULL);
    nine = order_join(o, 9, keys);
    order_put(o, nine, ORDER_WAITING, NULL);
    assert_true(order_waits_for_retry(nine));
    first = order_join(o, 1, keys); /* too late for that */
    assert_false(order_first(first));
    order_put(o, first, ORDER_WAITING, NULL);
    order_leave(o, three);
    assert_ptr_equal(order_next(o), first);
    assert_null(order_next(o));
    order_leave(o, first);
    assert_true(order_first(five)); /* awaits its time, not its turn */
    assert_null(order_next(o));
    order_put(o, five, ORDER_HAND, NULL);
    order_leave(o, five);
    assert_ptr_equal(order_next(o), nine);
    order_leave(o, nine);
    order_free(o);
}

static void keys_are_the_same_forever(void **state)
{
    (void)state;
    assert_true(order_key(0, MF_STR("u1")) == 0x4d24ff193e7f3e83ull);
    assert_true(order_key(0, MF_STR("u1")) != order_key(1, MF_STR("u1")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_one_comes_before_what_did_not_begin),
        cmocka_unit_test(keys_are_the_same_forever),
        TEST(each_user_in_order_the_others_beside),
        TEST(without_it_none_is_kept),
        TEST(serialize_by_needs_no_configuration),
        TEST(two_keys_do_not_lock_each_other),
        TEST(batches_keep_it_too),
        TEST(batches_are_filled_all_the_same),
        TEST(serial_batches),
        TEST(what_others_wait_for_is_not_kept),
        TEST(crashes_do_not_disturb_it),
        TEST(crashes_do_not_disturb_batches),
        TEST(crashes_do_not_disturb_two_keys),
        TEST(one_that_waits_blocks_nobody),
        TEST(what_waits_is_bounded),
        TEST(what_waits_in_memory_is_bounded),
        TEST(an_outage_costs_few_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

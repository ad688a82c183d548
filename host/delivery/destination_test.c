/* SPDX-License-Identifier: Apache-2.0
 *
 * A destination over simulated hours: outages, ceilings, rates, batches that
 * are refused in part or whole, a far side that is gone. */
#include "delivery/testworld.h"

#include "delivery/inner.h"

#include <sys/mman.h>

#define HOUR 3600000ll

static void make(unsigned events)
{
    for (unsigned i = 0; i < events; i++)
        event(1, chance(USERS));
    events_durable();
}

/* ---- outages ---- */

/* Requests by the minute: all, and those of events that came before. */
static struct {
    int64_t at;
    bool again;
} seen[400000];
static size_t seen_count;
static unsigned tries[USERS][4096];
static bool last_again;

static void note_try(unsigned user, unsigned n)
{
    last_again = tries[user][n]++ > 0;
}

static void far_with_outage(struct world *w, struct exchange *x)
{
    each_event(x->body, note_try);
    assert_true(seen_count < COUNT_OF(seen));
    seen[seen_count].at = x->began_ms;
    seen[seen_count++].again = last_again;
    if (x->began_ms < w->down_until_ms) {
        x->status = 503;
        x->due_ms = x->began_ms + 5;
    }
}

static void begin_watching(void)
{
    seen_count = 0;
    memset(tries, 0, sizeof tries);
}

/* The most repeated requests, or requests, in any window of so long. */
static unsigned most_within(int64_t ms, bool again)
{
    unsigned n = 0, most = 0;

    for (size_t from = 0, to = 0; to < seen_count; to++) {
        n += !again || seen[to].again;
        for (; seen[to].at - seen[from].at >= ms; from++)
            n -= !again || seen[from].again;
        if (n > most)
            most = n;
    }
    return most;
}

/* Down for 105 minutes at ten events a second, and back: all arrive, and at
 * no time more is repeated than the ceiling allows. */
static void an_outage_ends_without_a_storm(void **state)
{
    (void)state;
    begin_watching();
    world->far = far_with_outage;
    world->o.rate = 200;
    world->o.retry_rate = 20;
    world->o.ttl_ms = 4 * HOUR;
    world_begin(ONE_ACTION("send"), 1);
    make(2000);
    world_run(60000);
    assert_int_equal(delivered(), 2000);
    world->down_until_ms = INT64_MAX;
    for (unsigned minute = 0; minute < 105; minute++) {
        make(600);
        world_run(60000);
    }
    assert_true(world->rows_peak < 100); /* its lane lags, that is all */
    assert_int_equal(delivered(), 2000);
    world->down_until_ms = 0;
    world_run(20 * 60000);
    all_is_settled(2000 + 105 * 600);
    assert_int_equal(delivered(), 2000 + 105 * 600);
    assert_true(most_within(1000, true) <= 2 * 20);
    assert_true(most_within(60000, true) <= 20 * 60 + 20);
    assert_true(most_within(1000, false) <= 2 * 200);
    assert_true(most_within(60000, false) <= 200 * 60 + 200);
}

/* Half of the events fail each time: the derived ceiling. */
static void far_half(struct world *w, struct exchange *x)
{
    far_with_outage(w, x);
    if (chance(2))
        x->status = 500;
}

static void failures_all_the_time_are_no_storm(void **state)
{
    (void)state;
    begin_watching();
    world->far = far_half;
    world->o.rate = 500;
    world_begin(ONE_ACTION("send"), 1);
    make(20000);
    world_run(60000);
    assert_true(most_within(1000, true) <=
                2 * (RETRIES_SHARE * 500 + RETRIES_LEAST));
    world_run(HOUR);
    all_is_settled(20000);
    assert_int_equal(delivered(), 20000);
}

/* What is never taken dies when its time is over, not before. */
static void far_never(struct world *w, struct exchange *x)
{
    (void)w;
    x->status = strstr(x->body, "\"u1\"") ? 500 : 200;
}

static void time_to_live_is_kept(void **state)
{
    (void)state;
    world->far = far_never;
    world_begin(ONE_ACTION("send"), 1);
    event(1, 1);
    event(1, 2);
    events_durable();
    world_run(world->o.ttl_ms - 60000);
    assert_int_equal(dead(), 0);
    world_run(2 * BACKOFF_LAST_MS);
    assert_int_equal(dead(), 1);
    assert_int_equal(world->dead[DEAD_EXPIRED], 1);
    assert_string_equal(world->dead_error, "HTTP 500 Internal Server Error");
    all_is_settled(2);
}

/* What could not even be tried in that time dies untried. */
static void what_waits_behind_an_outage_expires(void **state)
{
    (void)state;
    begin_watching();
    world->far = far_with_outage;
    world->o.ttl_ms = HOUR;
    world_begin(ONE_ACTION("send"), 1);
    world->down_until_ms = clock_mono_ms() + 2 * HOUR;
    make(500);
    world_run(2 * HOUR + 600000);
    all_is_settled(500);
    assert_true(dead() >= 490); /* in ranges, few letters */
    assert_true(world->dead[DEAD_EXPIRED] < 50);
    assert_true(seen_count < 250); /* probes */
}

/* ---- what is tried again ---- */

static int32_t wanted_status;

static void far_status(struct world *w, struct exchange *x)
{
    x->status = w->requests == 1 ? wanted_status : 200;
}

static void statuses_have_their_fate(void **state)
{
    static const struct {
        int32_t status;
        bool again;
    } table[] = {
        { 0, true },    { 300, false }, { 302, false }, { 400, false },
        { 401, false }, { 403, false }, { 404, false }, { 408, true },
        { 409, false }, { 413, false }, { 422, false }, { 423, true },
        { 425, true },  { 429, true },  { 451, false }, { 500, true },
        { 501, false }, { 502, true },  { 503, true },  { 504, true },
        { 511, true },  { 599, true },
    };

    (void)state;
    world->far = far_status;
    world_begin(ONE_ACTION("send"), 1);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint64_t before = dead();

        wanted_status = table[i].status;
        world->requests = 0;
        make(1);
        world_run(HOUR);
        if (world->requests != (table[i].again ? 2 : 1) ||
            dead() - before != !table[i].again)
            fail_msg("status %d: %d requests", table[i].status,
                     (int)world->requests);
    }
    all_is_settled(COUNT_OF(table));
    assert_int_equal(world->dead[DEAD_REJECTED], dead());
}

static void the_error_says_which_deadline_struck(void **state)
{
    const char *error;
    struct msg_destination m;

    (void)state;
    world->far = far_status;
    wanted_status = 0;
    world_begin(ONE_ACTION("send"), 1);
    make(1);
    world_run(50);
    destination_status(world->d, &m, &error);
    assert_non_null(strstr(error, "no complete answer within 10 ms (timeout)"));
    assert_int_equal(m.waiting_retries, 1);
}

/* Retry-After is kept by all, to the second, as seconds and as a date. */
static void far_asks_for_quiet(struct world *w, struct exchange *x)
{
    if (w->requests > 1)
        return;
    x->status = 429;
    x->due_ms = x->began_ms;
    snprintf(x->retry_after, sizeof x->retry_after, "90");
    if (w->down_until_ms) {
        time_t at = (time_t)(clock_ms() / 1000 + 90);

        strftime(x->retry_after, sizeof x->retry_after,
                 "%a, %d %b %Y %H:%M:%S GMT", gmtime(&at));
    }
}

static void quiet(bool date)
{
    world->far = far_asks_for_quiet;
    world->o.concurrency = 1;
    world->down_until_ms = date;
    world_begin(ONE_ACTION("send"), 1);
    make(20);
    world_run(88500);
    assert_int_equal(world->requests, 1);
    world_run(2000 + 60000);
    all_is_settled(20);
}

static void retry_after_in_seconds_is_kept(void **state)
{
    (void)state;
    quiet(false);
}

static void retry_after_as_a_date_is_kept(void **state)
{
    (void)state;
    quiet(true);
}

/* One that refuses everything is slowed down, or it would fill the disk with
 * letters and keep the supervisor from the others. */
static void far_refuses(struct world *w, struct exchange *x)
{
    (void)w;
    x->status = 404;
    x->due_ms = x->began_ms + 1;
    seen[seen_count++].at = x->began_ms;
}

static void letters_have_a_ceiling(void **state)
{
    (void)state;
    begin_watching();
    world->far = far_refuses;
    world->o.concurrency = 256;
    world_begin(ONE_ACTION("send"), 1);
    make(10000);
    world_run(60000);
    all_is_settled(10000);
    assert_int_equal(world->dead[DEAD_REJECTED], 10000);
    assert_true(most_within(1000, false) <= 2 * RECORDS_A_SECOND + 256);
    assert_true(seen[seen_count - 1].at - seen[0].at >=
                (10000 - RECORDS_A_SECOND - 256) * 1000 / RECORDS_A_SECOND);
}

/* ---- rates ---- */

/* An event that goes to three actions costs three. */
static void a_rate_is_over_all_parts(void **state)
{
    static const char *const slugs[] = { "send", "again", "serial", NULL };

    (void)state;
    begin_watching();
    world->far = far_with_outage;
    world->o.rate = 30;
    world_begin(slugs, 1);
    make(200);
    world_run(10000);
    assert_in_range(seen_count, 30 * 10, 30 * 11);
    assert_true(most_within(1000, false) <= 2 * 30);
    world_run(60000);
    all_is_settled(200);
    assert_int_equal(seen_count, 600);
}

/* From one worker to the next, and after a crash with nothing. */
static void a_rate_moves_with_the_destination(void **state)
{
    int64_t began;
    double left;

    (void)state;
    begin_watching();
    world->far = far_with_outage;
    world->o.rate = 20;
    world_begin(ONE_ACTION("send"), 1);
    make(1000);
    began = clock_mono_ms();
    for (unsigned i = 0; i < 40; i++) {
        world_run(37);
        left = destination_pace_left(world->d);
        if (i % 5 == 4) {
            world_crash();
            destination_pace(world->d, 0, clock_ms());
        } else {
            int64_t at = clock_ms();

            world_reload();
            destination_pace(world->d, left, at);
        }
    }
    assert_true(seen_count <=
                20 + 20 * (size_t)(clock_mono_ms() - began) / 1000 + 1);
    assert_true(seen_count >= 20);
    for (size_t to = 0; to < seen_count; to++)
        for (size_t from = 0; from <= to; from++)
            assert_true((double)(to - from + 1) <=
                        20 + 20 * (double)(seen[to].at - seen[from].at) / 1000 +
                            1);
}

/* ---- lanes ---- */

/* One source with long events and many of them beside one with few. */
static uint64_t bytes_of[LANES + 1];

static void far_counts(struct world *w, struct exchange *x)
{
    (void)w;
    bytes_of[strstr(x->body, "\"u1\"") ? 1 : 2]++;
}

static void lanes_share_by_bytes(void **state)
{
    (void)state;
    memset(bytes_of, 0, sizeof bytes_of);
    world->far = far_counts;
    world->o.rate = 100;
    for (unsigned i = 0; i < 3000; i++) {
        event_pad(1, 1, 3000); /* of 3.1 KB */
        if (i % 3 == 0)
            event_pad(2, 2, 600); /* of 0.7 KB */
    }
    events_durable();
    world_begin(ONE_ACTION("send"), 2);
    world_run(9000);
    /* As many bytes each, an event counting 256 more: 3.5 times as many. */
    assert_in_range(bytes_of[1] + bytes_of[2], 900, 1010);
    assert_in_range(bytes_of[2] * 100 / bytes_of[1], 280, 400);
    world_run(60000);
    all_is_settled(4000);
}

/* ---- batches ---- */

static void far_partial(struct world *w, struct exchange *x)
{
    size_t len = (size_t)snprintf(x->answer, sizeof x->answer,
                                  "{\"results\":[");
    unsigned user, n;

    (void)w;
    for (const char *p = x->body; (p = strstr(p, "\"mid\":\"u")); p++) {
        int status = 200;

        assert_int_equal(sscanf(p, "\"mid\":\"u%u-%u\"", &user, &n), 2);
        if (user == 1)
            status = 422;
        else if (user == 2 && tries[user][n]++ == 0)
            status = 503;
        len += (size_t)snprintf(x->answer + len, sizeof x->answer - len,
                                "%s%d", x->answer[len - 1] == '[' ? "" : ",",
                                status);
    }
    snprintf(x->answer + len, sizeof x->answer - len, "]}");
}

static void each_of_a_batch_has_its_own_result(void **state)
{
    (void)state;
    begin_watching();
    world->far = far_partial;
    world_begin(ONE_ACTION("bulk"), 1);
    for (unsigned i = 0; i < 40; i++)
        event(1, i % 4);
    events_durable();
    world_run(HOUR);
    all_is_settled(40);
    assert_int_equal(delivered(), 30);
    assert_int_equal(world->dead[DEAD_REJECTED], 10);
    assert_string_equal(world->dead_error, "its own");
    assert_in_range(world->requests, 5, 8); /* of 40, then of the 10 again */
}

/* It takes no more than three events at a time. */
static unsigned too_large;

static void far_takes_three(struct world *w, struct exchange *x)
{
    (void)w;
    if (x->events > 3) {
        x->status = 413;
        too_large++;
    }
}

static void a_batch_that_is_too_large_is_split(void **state)
{
    (void)state;
    too_large = 0;
    world->far = far_takes_three;
    world_begin(ONE_ACTION("bulk"), 1);
    make(100);
    world_run(HOUR);
    all_is_settled(100);
    assert_int_equal(delivered(), 100);
    assert_true(too_large < 10 * 4); /* ten batches, before any had answered */
    too_large = 0;
    make(100); /* what was learned is used */
    world_run(HOUR);
    all_is_settled(200);
    assert_int_equal(delivered(), 200);
    assert_true(too_large <= 4);
}

static void far_takes_nothing(struct world *w, struct exchange *x)
{
    (void)w;
    x->status = 413;
}

static void one_that_is_too_large_alone_is_dead(void **state)
{
    (void)state;
    world->far = far_takes_nothing;
    world_begin(ONE_ACTION("bulk"), 1);
    make(20);
    world_run(HOUR);
    all_is_settled(20);
    assert_int_equal(world->dead[DEAD_REJECTED], 20);
    assert_in_range(world->requests, 30, 40);
}

/* One of the events makes the far side refuse whatever it is in. */
static void far_hates_one(struct world *w, struct exchange *x)
{
    (void)w;
    if (strstr(x->body, "\"u7-1\"")) {
        x->status = 400;
        snprintf(x->answer, sizeof x->answer, "no u7");
    }
}

static void a_poison_event_dies_alone(void **state)
{
    (void)state;
    world->far = far_hates_one;
    world_begin(ONE_ACTION("bulk"), 1);
    for (unsigned i = 0; i < 50; i++)
        event(1, i % 10);
    events_durable();
    world_run(HOUR);
    all_is_settled(50);
    assert_int_equal(delivered(), 49);
    assert_int_equal(world->dead[DEAD_REJECTED], 1);
    assert_non_null(strstr(world->dead_response, "no u7"));
    assert_in_range(world->requests, 8, 5 + 10);
}

/* ---- 410 ---- */

static void far_is_gone(struct world *w, struct exchange *x)
{
    if (x->began_ms < w->down_until_ms)
        x->status = 410;
}

static void gone_pauses_a_webhook(void **state)
{
    struct msg_destination m;
    const char *error;

    (void)state;
    world->far = far_is_gone;
    world->down_until_ms = clock_mono_ms() + HOUR;
    world_begin(ONE_ACTION("send"), 1);
    make(100);
    world_run(2 * HOUR);
    assert_true(world->requests <= 8); /* those that were under way */
    assert_int_equal(dead(), 0);
    assert_non_null(strstr(world->paused_why, "410 Gone"));
    destination_status(world->d, &m, &error);
    assert_int_equal(m.state, DEST_PAUSED);
    world_crash(); /* the supervisor would say that it is paused */
    destination_pause(world->d, true);
    world_run(HOUR);
    assert_int_equal(delivered(), 0);
    world->down_until_ms = 0;
    destination_pause(world->d, false);
    world_run(HOUR);
    all_is_settled(100);
    assert_int_equal(delivered(), 100);
}

static void gone_is_an_answer_where_the_manifest_says_so(void **state)
{
    (void)state;
    world->far = far_is_gone;
    world->down_until_ms = INT64_MAX;
    world->plugin.manifest->pauses_on_gone = false;
    world_begin(ONE_ACTION("send"), 1);
    make(10);
    world_run(HOUR);
    all_is_settled(10);
    assert_int_equal(world->dead[DEAD_REJECTED], 10);
}

/* ---- replaced and killed ---- */

static void far_random(struct world *w, struct exchange *x)
{
    (void)w;
    x->due_ms = x->began_ms + chance(200);
    if (chance(5) == 0)
        x->status = chance(2) ? 500 : 400;
    else if (chance(40) == 0)
        x->status = 413;
}

/* Of each event to each of three actions, whatever happens. */
static void lives_end_with_everything_settled(void **state)
{
    static const char *const slugs[] = { "send", "bulk", "serialbulk", NULL };

    (void)state;
    world->far = far_random;
    world->o.retry_rate = 100;
    world->o.by_user = true;
    world_begin(slugs, 1);
    for (unsigned round = 0; round < 80; round++) {
        make(chance(40));
        world_run(chance(2000));
        if (chance(3) == 0)
            world_crash();
        else if (chance(2) == 0)
            world_reload();
    }
    world_run(2 * HOUR);
    all_is_settled(world->appended);
}

/* A worker that is replaced does not wait for what a rate holds back. */
static void draining_waits_for_what_flies_only(void **state)
{
    int64_t began;

    (void)state;
    world->o.rate = 0.01;
    world_begin(ONE_ACTION("bulk"), 1);
    make(35);
    world_run(5000);
    assert_int_equal(world->requests, 1);
    began = clock_mono_ms();
    world_reload();
    assert_true(clock_mono_ms() - began < 1000);
    assert_int_equal(world->lanes[0].row_count, 0); /* they cost no rows */
    world_run(HOUR);
    all_is_settled(35);
    assert_int_equal(world->twice, 0);
    assert_int_equal(delivered(), 35);
}

/* ---- kills ---- */

static void write_receipts(void)
{
    world->receipts_fd = memfd_create("receipts", 0);
    assert_true(world->receipts_fd >= 0);
    assert_int_equal(ftruncate(world->receipts_fd, (off_t)RECEIPTS_BYTES), 0);
}

/* A worker that works for a while, tells nothing of it, and is killed. */
static void live_and_die_unheard(int64_t ms)
{
    int64_t end = clock_mono_ms() + ms, at;

    for (;;) {
        while (destination_pump(world->d, 256))
            ;
        at = next_answer_ms();
        if (at > end)
            break;
        if (at > clock_mono_ms())
            turn_clock(at - clock_mono_ms());
        answer_due();
    }
    world_crash();
}

static void some_fail(struct world *w, struct exchange *x)
{
    (void)w;
    x->due_ms += chance(50);
    x->status = chance(5) ? 200 : 500;
}

/* What was answered is delivered once, though nobody but the receipts heard
 * of it; what was in flight comes again. */
static void what_was_delivered_is_not_sent_again(void **state)
{
    (void)state;
    write_receipts();
    world->far = some_fail;
    world_begin((const char *const[]){ "send", "again", "bulk", NULL }, 2);
    for (unsigned i = 0; i < 1500; i++)
        event(1 + i % 2, i % USERS);
    events_durable();
    for (unsigned i = 0; i < 20; i++) {
        live_and_die_unheard(chance(200));
        world_run(chance(200));
    }
    world_run(24 * 3600000);
    all_is_settled(1500);
    assert_int_equal(delivered(), 1500);
    assert_int_equal(world->answered, 3 * 1500);
}

/* Each lane, and each subscription, has receipts of its own. */
static void a_receipt_is_of_one_part(void **state)
{
    struct receipts r;

    (void)state;
    write_receipts();
    receipts_init(&r, world->receipts_fd);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        receipts_put(&r, &(struct receipt){ 5, seq, 1 });
        receipts_put(&r, &(struct receipt){ 1001, seq, 1 });
    }
    receipts_flush(&r);
    world_begin(ONE_ACTION("send"), 1);
    for (unsigned i = 0; i < 100; i++)
        event(1, i % USERS);
    events_durable();
    world_run(60000);
    all_is_settled(100);
    assert_int_equal(world->answered, 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_outage_ends_without_a_storm),
        TEST(failures_all_the_time_are_no_storm),
        TEST(time_to_live_is_kept),
        TEST(what_waits_behind_an_outage_expires),
        TEST(statuses_have_their_fate),
        TEST(the_error_says_which_deadline_struck),
        TEST(retry_after_in_seconds_is_kept),
        TEST(retry_after_as_a_date_is_kept),
        TEST(letters_have_a_ceiling),
        TEST(a_rate_is_over_all_parts),
        TEST(a_rate_moves_with_the_destination),
        TEST(lanes_share_by_bytes),
        TEST(each_of_a_batch_has_its_own_result),
        TEST(a_batch_that_is_too_large_is_split),
        TEST(one_that_is_too_large_alone_is_dead),
        TEST(a_poison_event_dies_alone),
        TEST(gone_pauses_a_webhook),
        TEST(gone_is_an_answer_where_the_manifest_says_so),
        TEST(lives_end_with_everything_settled),
        TEST(draining_waits_for_what_flies_only),
        TEST(what_was_delivered_is_not_sent_again),
        TEST(a_receipt_is_of_one_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

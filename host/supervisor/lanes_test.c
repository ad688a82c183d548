/* SPDX-License-Identifier: Apache-2.0
 *
 * lanes_test.c - what the supervisor takes from a worker that is out of its
 * mind: nothing that it must keep without end, nothing of others' lanes. */
#include "supervisor/supervisor.h"

static void kill_instead(void);
#define child_kill(child, signal) kill_instead()
#include "lanes.c"
#undef child_kill

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static unsigned killed;

static void kill_instead(void)
{
    killed++;
}

struct fixture {
    struct supervisor s;
    struct group group;
    struct generation worker, other;
    struct sup_lane *lane;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    killed = 0;
    snprintf(f->group.key, sizeof f->group.key, "acme");
    f->worker.group = f->other.group = &f->group;
    f->lane = xcalloc(1, sizeof *f->lane);
    f->lane->id = 7;
    f->lane->holder = &f->worker;
    buf_init(&f->lane->waiting, WAITING_MAX);
    ledger_init(&f->lane->outcomes, 4096);
    f->s.lanes = f->lane;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    lanes_free(&f->s);
    free(f);
    return 0;
}

static void reports_without_a_state_have_an_end(void **state)
{
    struct fixture *f = *state;
    size_t len = 1u << 20;
    char *text = xcalloc(1, len);
    uint32_t id = 7;
    unsigned sent = 0;

    memcpy(text, &id, sizeof id);
    while (!killed && sent < 1000) {
        lanes_message(&f->s, &f->worker, MSG_DEAD, (mf_str){ text, len });
        sent++;
    }
    assert_int_equal(killed, 1);
    assert_true(sent > 100 && sent < 200);
    assert_true(f->lane->waiting.len <= WAITING_MAX);
    free(text);
}

static void what_is_not_its_own_is_not_taken(void **state)
{
    struct fixture *f = *state;
    struct msg_retry_key key = { .lane = 7 };

    lanes_message(&f->s, &f->other, MSG_RETRY_DONE,
                  (mf_str){ (char *)&key, sizeof key });
    key.lane = 8;
    lanes_message(&f->s, &f->worker, MSG_RETRY_DONE,
                  (mf_str){ (char *)&key, sizeof key });
    key.lane = 7;
    lanes_message(&f->s, &f->worker, MSG_RETRY_DONE,
                  (mf_str){ (char *)&key, sizeof key - 1 });
    assert_int_equal(f->lane->waiting.len, 0);
    lanes_message(&f->s, &f->worker, MSG_RETRY_DONE,
                  (mf_str){ (char *)&key, sizeof key });
    assert_true(f->lane->waiting.len > 0);
    assert_int_equal(killed, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reports_without_a_state_have_an_end),
        TEST(what_is_not_its_own_is_not_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

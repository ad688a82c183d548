/* SPDX-License-Identifier: Apache-2.0
 *
 * intake_test.c - what several loops may count on: who is woken, when the
 * numbers of a failed commit are used again, and, with real threads over a
 * disk that fails now and then, that each event acknowledged is in the
 * journal once. */
#include "ingest/intake.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOPS   4
#define EVENTS  1500 /* of each thread of the storm */
#define IDS     2500 /* that they choose from */
#define AT_ONCE 24   /* that a thread waits for */

/* A loop without a loop: it is turned by hand or by a thread. */
struct turner {
    struct intake_loop l;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned wakes;
    unsigned taken; /* of them */
    uint64_t random, refused;
};

static struct intake in;
static struct journal_head head;
static struct turner t[LOOPS];
static char path[64];
static int dir;

/* ---- the disk ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int fail_syncs, fail_each; /* so many; one of so many */
static _Atomic unsigned syncs;

static int f_fdatasync(int fd)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    if (fail_syncs > 0 || (fail_each && ++syncs % (unsigned)fail_each == 0)) {
        fail_syncs -= fail_syncs > 0;
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

/* ---- the house ---- */

static void wake(void *arg)
{
    struct turner *one = arg;

    pthread_mutex_lock(&one->lock);
    one->wakes++;
    pthread_cond_broadcast(&one->moved);
    pthread_mutex_unlock(&one->lock);
}

static unsigned wakes(struct turner *one)
{
    unsigned n;

    pthread_mutex_lock(&one->lock);
    n = one->wakes;
    pthread_mutex_unlock(&one->lock);
    return n;
}

/* Until it was woken once more. */
static void await(struct turner *one)
{
    pthread_mutex_lock(&one->lock);
    while (one->wakes == one->taken)
        pthread_cond_wait(&one->moved, &one->lock);
    one->taken = one->wakes;
    pthread_mutex_unlock(&one->lock);
}

static int house_new(void **state)
{
    struct journal_options o = { .head = &head, .segment_bytes = 256 << 10 };
    struct err e = { "" };

    (void)state;
    fail_syncs = fail_each = 0;
    io = io_real;
    io.fdatasync = f_fdatasync;
    memset(&head, 0, sizeof head);
    memset(t, 0, sizeof t);
    snprintf(path, sizeof path, "/tmp/intake-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    o.dir = dir = open(path, O_RDONLY | O_DIRECTORY);
    intake_init(&in, &head);
    intake_configure(&in, 3600000, 8u << 20);
    if (intake_open(&in, &o, &e) != 0)
        fail_msg("%s", e.text);
    for (unsigned i = 0; i < LOOPS; i++) {
        pthread_mutex_init(&t[i].lock, NULL);
        pthread_cond_init(&t[i].moved, NULL);
        t[i].random = i + 1;
        intake_join(&in, &t[i].l, wake, &t[i]);
    }
    return 0;
}

static int house_free(void **state)
{
    char command[128];

    (void)state;
    intake_deinit(&in);
    io = io_real;
    close(dir);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command);
}

/* The number to wait for, 0: it is known already. */
static enum journal_state send(struct turner *one, uint64_t id, uint64_t *seq,
                               bool *duplicate)
{
    struct journal_record r = { .source = 1,
                                .received_ms = clock_ms(),
                                .payload = { (const char *)&id, sizeof id } };
    enum journal_state state;
    unsigned kept;

    *seq = 0;
    memcpy(r.id_hash, &id, sizeof id);
    state = intake_keep(&one->l, &r, 1, seq, duplicate, &kept);
    journal_flush(in.journal);
    return state;
}

static uint64_t stored(struct turner *one, uint64_t id)
{
    bool duplicate;
    uint64_t seq;

    assert_int_equal(send(one, id, &seq, &duplicate), JOURNAL_OK);
    assert_false(duplicate);
    return seq;
}

static uint64_t known(struct turner *one, uint64_t id)
{
    bool duplicate;
    uint64_t seq;

    assert_int_equal(send(one, id, &seq, &duplicate), JOURNAL_OK);
    assert_true(duplicate);
    return seq;
}

static bool refused(struct turner *one, uint64_t id)
{
    bool duplicate;
    uint64_t seq;

    return send(one, id, &seq, &duplicate) == JOURNAL_FAILED;
}

/* Until the journal goes on after a failed sync. */
static void recovered(void)
{
    while (atomic_load(&head.poisoned))
        await(&t[0]);
}

/* ---- by hand ---- */

/* A commit wakes those who may wait for it, and the first one. */
static void only_who_waits(void **state)
{
    struct intake_news n;
    uint64_t seq;

    (void)state;
    seq = stored(&t[2], 1);
    await(&t[2]);
    await(&t[0]);
    n = intake_news(&t[2].l);
    assert_int_equal(n.durable, seq);
    assert_int_equal(n.lost, 0);
    intake_told(&t[2].l, &n, false);
    stored(&t[1], 2);
    await(&t[1]);
    await(&t[0]);
    assert_int_equal(wakes(&t[1]), 1);
    assert_int_equal(wakes(&t[2]), 1); /* it had nobody left */
    assert_int_equal(wakes(&t[3]), 0);
}

/* A duplicate in another loop waits for the same commit, and is woken by it;
 * once that is over nobody need wait, whoever has heard of it. */
static void duplicate_elsewhere(void **state)
{
    uint64_t seq;

    (void)state;
    pthread_mutex_lock(&gate);
    seq = stored(&t[1], 1);
    assert_int_equal(known(&t[2], 1), seq);
    pthread_mutex_unlock(&gate);
    await(&t[2]);
    assert_int_equal(intake_news(&t[2].l).durable, seq);
    assert_int_equal(known(&t[3], 1), 0);

    seq = stored(&t[1], 2);
    await(&t[0]);
    while (atomic_load(&head.durable) < seq)
        await(&t[0]);
    assert_int_equal(known(&t[3], 2), 0); /* nobody has asked for news */
}

/* Every loop must have refused its waiters before a number is used again. */
static void loss_told_to_all(void **state)
{
    struct intake_news n[LOOPS];

    (void)state;
    pthread_mutex_lock(&gate);
    fail_syncs = 1;
    assert_int_equal(stored(&t[1], 1), 1);
    stored(&t[2], 2);
    assert_int_equal(known(&t[3], 2), 2);
    pthread_mutex_unlock(&gate);
    await(&t[1]);
    while (!(n[1] = intake_news(&t[1].l)).lost)
        await(&t[1]);
    assert_int_equal(n[1].lost, 1);
    assert_int_equal(n[1].durable, 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        await(&t[i]); /* though nobody waits in the first */
        assert_true(refused(&t[i], 3));
    }
    intake_told(&t[1].l, &n[1], false);
    recovered();
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_true(refused(&t[1], 1));
        assert_int_equal(intake_news(&t[1].l).lost, 0); /* once is enough */
        if (i == 1)
            continue;
        n[i] = intake_news(&t[i].l);
        assert_int_equal(n[i].lost, 1);
        intake_told(&t[i].l, &n[i], false);
    }
    assert_int_equal(stored(&t[3], 2), 1);
    assert_int_equal(stored(&t[1], 1), 2);
}

/* A second loss while the first one is being told: all are told again. */
static void loss_upon_loss(void **state)
{
    struct intake_news n[LOOPS];

    (void)state;
    fail_syncs = 1;
    stored(&t[1], 1);
    while (!(n[1] = intake_news(&t[1].l)).lost)
        await(&t[1]);
    recovered();
    /* As if the journal had lost something else meanwhile. */
    pthread_mutex_lock(&in.lock);
    in.losses++;
    in.unaware = LOOPS;
    pthread_mutex_unlock(&in.lock);
    for (unsigned i = 0; i < LOOPS; i++) {
        if (i != 1)
            n[i] = intake_news(&t[i].l);
        intake_told(&t[i].l, &n[i], false);
        assert_true(refused(&t[1], 1));
    }
    n[1] = intake_news(&t[1].l);
    assert_int_equal(n[1].lost, 1);
    intake_told(&t[1].l, &n[1], false);
    assert_int_equal(stored(&t[1], 1), 1);
}

/* ---- the storm ---- */

static _Atomic unsigned char acked[IDS];

static uint64_t chance(struct turner *one)
{
    one->random = one->random * 6364136223846793005u + 1442695040888963407u;
    return one->random >> 33;
}

/* Takes news once; what became durable is acknowledged, what was lost is to
 * be sent again. Returns how many still wait. */
static unsigned settle(struct turner *one, uint64_t ids[AT_ONCE],
                       uint64_t seqs[AT_ONCE], unsigned n, uint64_t *again,
                       unsigned *n_again)
{
    struct intake_news news = intake_news(&one->l);
    unsigned left = 0;

    for (unsigned i = 0; i < n; i++) {
        if (seqs[i] <= news.durable) {
            acked[ids[i]] = 1;
        } else if (news.lost && seqs[i] >= news.lost) {
            again[(*n_again)++] = ids[i];
            one->refused++;
        } else {
            ids[left] = ids[i];
            seqs[left++] = seqs[i];
        }
    }
    intake_told(&one->l, &news, left > 0);
    return left;
}

/* Who has nothing to send hears of losses all the same, or they last for
 * ever. */
static _Atomic unsigned blowing;

static void *listen(void *arg)
{
    struct turner *one = arg;

    while (blowing) {
        await(one);
        settle(one, NULL, NULL, 0, NULL, NULL);
    }
    return NULL;
}

static void *blow(void *arg)
{
    struct turner *one = arg;
    uint64_t ids[AT_ONCE], seqs[AT_ONCE], again[AT_ONCE];
    unsigned waiting = 0, n_again = 0;

    for (unsigned sent = 0; sent < EVENTS || waiting || n_again;) {
        while (n_again ||
               (waiting + n_again < AT_ONCE && sent < EVENTS)) {
            bool duplicate;
            uint64_t id, seq;

            id = n_again ? again[--n_again] : (sent++, chance(one) % IDS);
            if (send(one, id, &seq, &duplicate) != JOURNAL_OK) {
                again[n_again++] = id; /* after the news */
                break;
            }
            if (seq == 0) {
                acked[id] = 1;
                continue;
            }
            ids[waiting] = id;
            seqs[waiting++] = seq;
        }
        if (waiting)
            await(one);
        waiting = settle(one, ids, seqs, waiting, again, &n_again);
    }
    if (--blowing == 0)
        for (unsigned i = 0; i < LOOPS; i++)
            wake(&t[i]);
    return listen(one);
}

static void count_stored(unsigned char *times)
{
    struct journal_reader *r = journal_reader_new(dir, &head);
    struct journal_record rec;
    uint64_t from, to, id;
    struct err e;

    while (journal_next(r, 0, 0, &rec, &from, &to, &e) == JOURNAL_RECORD) {
        assert_int_equal(rec.payload.len, sizeof id);
        memcpy(&id, rec.payload.ptr, sizeof id);
        assert_true(id < IDS);
        times[id]++;
    }
    journal_reader_free(r);
}

static void storm(void **state)
{
    static unsigned char times[IDS];
    pthread_t threads[LOOPS];
    uint64_t lost = 0;

    (void)state;
    memset(times, 0, sizeof times);
    memset((void *)acked, 0, sizeof acked);
    blowing = LOOPS - 1;
    fail_each = 23;
    for (unsigned i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i ? blow : listen, &t[i]), 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        pthread_join(threads[i], NULL);
        lost += t[i].refused;
    }
    assert_true(lost > 0);
    count_stored(times);
    for (unsigned i = 0; i < IDS; i++)
        assert_int_equal(times[i], acked[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, house_new, house_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_who_waits), TEST(duplicate_elsewhere),
        TEST(loss_told_to_all), TEST(loss_upon_loss), TEST(storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

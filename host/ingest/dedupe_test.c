/* SPDX-License-Identifier: Apache-2.0
 *
 * dedupe_test.c - duplicates through a journal's whole life: in flight, in a
 * commit that fails, over restarts and kills, with files and memory short. */
#include "ingest/dedupe.h"
#include "journal/ids.h"
#include "journal/testbed.h"

#include "base/clock.h"

#define WINDOW 3600000
#define MEMORY (8u << 20)
#define STEPS 100000 /* of warming, at most */

static _Atomic int fail_syncs;
static _Atomic bool blind; /* ids/ and segments cannot be read */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

/* Locking the gate keeps a commit from ending before a test has appended all
 * that is to fail with it. */
static int f_fdatasync(int fd)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    if (fail_syncs > 0) {
        fail_syncs--;
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (blind && (flags & O_ACCMODE) == O_RDONLY) {
        errno = EIO;
        return -1;
    }
    return openat(dir, path, flags, mode);
}

/* A bed whose clock stands still, and who knows duplicates. */
struct home {
    struct bed *b;
    struct dedupe *d;
};

static int64_t set_clock(int64_t ms)
{
    clock_skew_ms += ms - clock_ms(); /* about: the real one goes on */
    return ms;
}

static void warm(struct home *h)
{
    int n = 0;

    dedupe_warm(h->d, h->b->o.dir, &h->b->head);
    while (dedupe_warm_step(h->d, 1000, 1000))
        assert_true(++n < STEPS);
}

static void open_home(struct home *h, int64_t window, uint64_t memory)
{
    bed_reopen(h->b);
    h->d = dedupe_new();
    dedupe_configure(h->d, window, memory);
    warm(h);
}

static void close_home(struct home *h, bool killed)
{
    if (killed)
        bed_kill(h->b);
    else
        bed_close(h->b);
    dedupe_free(h->d);
    h->d = NULL;
}

static int home_new(void **state)
{
    struct home *h = xcalloc(1, sizeof *h);
    void *b;

    fail_syncs = 0;
    blind = false;
    clock_skew_ms = clock_mono_skew_ms = 0;
    assert_int_equal(bed_new(&b), 0);
    h->b = b;
    io.fdatasync = f_fdatasync;
    io.openat = f_openat;
    *state = h;
    return 0;
}

static int home_free(void **state)
{
    struct home *h = *state;
    void *b = h->b;

    dedupe_free(h->d);
    bed_free(&b);
    clock_skew_ms = clock_mono_skew_ms = 0;
    free(h);
    return 0;
}

/* As api.c does: the number to wait for, 0 when it is known to be durable,
 * and whether it was stored. */
static uint64_t send(struct home *h, uint32_t source, uint64_t n, bool *stored)
{
    struct journal_record r = { .source = source,
                                .received_ms = clock_ms() };
    char text[64];
    uint64_t seq = 0;

    r.payload.ptr = text;
    r.payload.len = (size_t)snprintf(text, sizeof text, "message-%llu",
                                     (unsigned long long)n);
    ids_hash(journal_uuid(h->b->j), source, r.payload, r.id_hash);
    *stored = false;
    if (dedupe_find(h->d, r.id_hash, clock_ms(), &seq) != DEDUPE_NEW)
        return seq;
    assert_int_equal(journal_append(h->b->j, &r), JOURNAL_OK);
    dedupe_note(h->d, r.id_hash, r.seq, r.received_ms);
    *stored = true;
    return r.seq;
}

/* Sends and waits until it is durable; true if it was stored. */
static bool sent(struct home *h, uint32_t source, uint64_t n)
{
    bool stored;
    uint64_t seq = send(h, source, n, &stored);

    journal_flush(h->b->j);
    wait_durable(h->b, seq);
    dedupe_durable(h->d, atomic_load(&h->b->head.durable));
    return stored;
}

/* n events from `from` on in groups, none of them known. */
static void send_all(struct home *h, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++) {
        bool stored;
        uint64_t seq = send(h, 1, i, &stored);

        assert_true(stored);
        if (i % (n < 5000 ? 50 : 5000) == 0 || i == from + n - 1) {
            journal_flush(h->b->j);
            wait_durable(h->b, seq);
            dedupe_durable(h->d, atomic_load(&h->b->head.durable));
        }
    }
}

static void expect_known(struct home *h, uint64_t from, uint64_t to,
                         bool known)
{
    for (uint64_t i = from; i <= to; i++) {
        unsigned char hash[16];
        char text[64];
        uint64_t seq;
        mf_str id = { text, (size_t)snprintf(text, sizeof text, "message-%llu",
                                             (unsigned long long)i) };

        ids_hash(journal_uuid(h->b->j), 1, id, hash);
        if ((dedupe_find(h->d, hash, clock_ms(), &seq) == DEDUPE_KNOWN) !=
            known)
            fail_msg("%llu is %sknown", (unsigned long long)i,
                     known ? "not " : "");
    }
}

/* ---- in flight ---- */

static void stored_once(void **state)
{
    struct home *h = *state;
    bool stored;
    uint64_t first;

    open_home(h, WINDOW, MEMORY);
    first = send(h, 1, 7, &stored);
    assert_true(stored);
    assert_int_equal(send(h, 1, 7, &stored), first); /* waits for that */
    assert_false(stored);
    assert_int_equal(send(h, 2, 7, &stored), first + 1); /* not its source */
    assert_true(stored);
    journal_flush(h->b->j);
    wait_durable(h->b, first + 1);
    dedupe_durable(h->d, first);
    assert_int_equal(send(h, 1, 7, &stored), 0);
    assert_false(stored);
    assert_int_equal(send(h, 2, 7, &stored), first + 1);
    dedupe_durable(h->d, first + 1);
    assert_int_equal(send(h, 2, 7, &stored), 0);
    assert_int_equal(dedupe_facts(h->d).ids, 2);
}

/* A commit that fails forgets what was in it, and nothing else. */
static void failed_commit(void **state)
{
    struct home *h = *state;
    uint64_t lost = 0;
    bool stored;

    open_home(h, WINDOW, MEMORY);
    for (int round = 0; round < 5; round++) {
        uint64_t n = 100u * (unsigned)round, last;

        send_all(h, n, 50);
        last = atomic_load(&h->b->head.durable);
        pthread_mutex_lock(&gate);
        fail_syncs = 1;
        for (uint64_t i = 50; i < 60; i++) {
            send(h, 1, n + i, &stored);
            assert_true(stored);
            assert_int_equal(send(h, 1, n + i, &stored), last + i - 49);
            assert_false(stored);
        }
        journal_flush(h->b->j);
        pthread_mutex_unlock(&gate);
        pthread_mutex_lock(&h->b->lock);
        while (!(lost = journal_failed_from(h->b->j)))
            pthread_cond_wait(&h->b->moved, &h->b->lock);
        pthread_mutex_unlock(&h->b->lock);
        /* One that comes before the loss was told waits for what is lost. */
        assert_int_equal(send(h, 1, n + 55, &stored), last + 6);
        dedupe_durable(h->d, atomic_load(&h->b->head.durable));
        dedupe_forget(h->d);
        assert_int_equal(lost, last + 1);
        pthread_mutex_lock(&h->b->lock);
        while (atomic_load(&h->b->head.poisoned))
            pthread_cond_wait(&h->b->moved, &h->b->lock);
        pthread_mutex_unlock(&h->b->lock);
        expect_known(h, n, n + 49, true);
        expect_known(h, n + 50, n + 59, false);
        send_all(h, n + 50, 10); /* they come again, and are stored */
        expect_known(h, n, n + 59, true);
    }
}

/* More in flight than there was room for at first. */
static void many_in_flight(void **state)
{
    struct home *h = *state;
    const uint64_t many = 20000;
    bool stored;
    uint64_t last = 0;

    h->b->o.segment_bytes = 16 << 20;
    open_home(h, WINDOW, MEMORY);
    for (uint64_t i = 1; i <= many; i++)
        last = send(h, 1, i, &stored);
    for (uint64_t i = 1; i <= many; i++) {
        assert_int_equal(send(h, 1, i, &stored), i);
        assert_false(stored);
    }
    journal_flush(h->b->j);
    wait_durable(h->b, last);
    for (uint64_t durable = 0; durable <= many; durable += 999) {
        dedupe_durable(h->d, durable);
        assert_int_equal(send(h, 1, durable + 1, &stored),
                         durable < many ? durable + 1 : 0);
    }
    dedupe_durable(h->d, last);
    assert_int_equal(dedupe_facts(h->d).ids, many);
}

/* Commits go on while one turn of the loop appends without an end. */
static void long_turn(void **state)
{
    struct home *h = *state;
    struct journal_head fake = { .first = 1 };
    const uint64_t many = DEDUPE_FLIGHT_MOST + 100000;
    unsigned char hash[16] = { 0 };
    uint64_t seq;

    open_home(h, WINDOW, 64u << 20);
    dedupe_free(h->d);
    h->d = dedupe_new();
    dedupe_configure(h->d, WINDOW, 64u << 20);
    dedupe_warm(h->d, h->b->o.dir, &fake);
    while (dedupe_warm_step(h->d, 1000, 1000))
        continue;
    for (uint64_t i = 1; i <= many; i++) {
        memcpy(hash, &i, sizeof i);
        hash[15] = (unsigned char)(i * 77);
        dedupe_note(h->d, hash, i, clock_ms());
        if (i % 1000 == 0)
            atomic_store(&fake.durable, i - 900);
    }
    memcpy(hash, &many, sizeof many);
    hash[15] = (unsigned char)(many * 77);
    assert_int_equal(dedupe_find(h->d, hash, clock_ms(), &seq),
                     DEDUPE_IN_FLIGHT);
    assert_int_equal(seq, many);
    dedupe_free(h->d);
    h->d = NULL;
}

/* ---- restarts ---- */

static void survives_restarts(void **state)
{
    struct home *h = *state;
    struct dedupe_facts f;

    for (uint64_t life = 0; life < 4; life++) {
        open_home(h, WINDOW, MEMORY);
        f = dedupe_facts(h->d);
        assert_int_equal(f.state, DEDUPE_WHOLE);
        assert_int_equal(f.ids, life * 700);
        assert_int_equal(f.window_ms, WINDOW);
        if (life)
            expect_known(h, 0, life * 700 - 1, true);
        send_all(h, life * 700, 700);
        close_home(h, life % 2);
    }
    assert_true(count_files(h->b, "ids", ".ids") > 2);
}

/* Without id files the segments tell, what retention took is told by id
 * files, and with neither it is not claimed to be known. */
static void restarts_without_files(void **state)
{
    struct home *h = *state;
    char command[128];
    uint64_t first;

    open_home(h, WINDOW, MEMORY);
    send_all(h, 0, 3000);
    close_home(h, true);
    snprintf(command, sizeof command, "rm -rf '%s/ids'", h->b->path);
    assert_int_equal(system(command), 0);
    open_home(h, WINDOW, MEMORY);
    expect_known(h, 0, 2999, true);
    close_home(h, false);
    h->b->o.max_bytes = 2 * h->b->o.segment_bytes;
    open_home(h, WINDOW, MEMORY);
    journal_retain(h->b->j);
    first = atomic_load(&h->b->head.first);
    assert_true(first > 1000);
    close_home(h, false);
    open_home(h, WINDOW, MEMORY);
    expect_known(h, 0, 2999, true);
    close_home(h, false);
    assert_int_equal(system(command), 0);
    open_home(h, WINDOW, MEMORY);
    expect_known(h, 0, first - 2, false);
    expect_known(h, first - 1, 2999, true);
}

/* What is older than the window is not read in again. */
static void restarts_after_the_window(void **state)
{
    struct home *h = *state;
    int64_t t = set_clock(1800000000000);

    open_home(h, WINDOW, MEMORY);
    send_all(h, 0, 1000);
    set_clock(t + WINDOW / 2);
    send_all(h, 1000, 1000);
    close_home(h, false);
    set_clock(t + WINDOW + WINDOW / 4);
    open_home(h, WINDOW, MEMORY);
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WHOLE);
    assert_int_equal(dedupe_facts(h->d).ids, 1000);
    expect_known(h, 0, 999, false);
    expect_known(h, 1000, 1999, true);
    set_clock(t + 2 * WINDOW);
    expect_known(h, 1000, 1999, false);
    send_all(h, 1000, 1000);
}

/* While it fills, events come; both are known, and what is not yet is said. */
static void events_while_warming(void **state)
{
    struct home *h = *state;
    int64_t t = set_clock(1800000000000), window = 0;
    struct dedupe_facts f;
    bool more = true;

    open_home(h, WINDOW, MEMORY);
    for (uint64_t i = 0; i < 30; i++) {
        set_clock(t + (int64_t)i * 60000);
        send_all(h, i * 100, 100);
    }
    close_home(h, false);
    bed_reopen(h->b);
    h->d = dedupe_new();
    dedupe_configure(h->d, WINDOW, MEMORY);
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WARMING);
    dedupe_warm(h->d, h->b->o.dir, &h->b->head);
    for (uint64_t i = 0; more; i++) {
        more = dedupe_warm_step(h->d, 50, 1000);
        f = dedupe_facts(h->d);
        assert_int_equal(f.state, more ? DEDUPE_WARMING : DEDUPE_WHOLE);
        assert_true(f.window_ms >= window);
        window = f.window_ms;
        if (more && i < 58 && i % 2) {
            expect_known(h, 3000 - i * 50, 2999, true);
            expect_known(h, 0, 2999 - (i + 2) * 50, false);
        }
        assert_true(sent(h, 1, 100000 + i));
        assert_false(sent(h, 1, 100000 + i));
    }
    assert_int_equal(window, WINDOW);
    expect_known(h, 0, 2999, true);
}

/* A disk that will not tell is asked again; meanwhile nothing is claimed. */
static void unreadable_files(void **state)
{
    struct home *h = *state;

    open_home(h, WINDOW, MEMORY);
    send_all(h, 0, 1000);
    close_home(h, false);
    bed_reopen(h->b);
    h->d = dedupe_new();
    dedupe_configure(h->d, WINDOW, MEMORY);
    blind = true;
    warm(h);
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WARMING);
    assert_true(sent(h, 1, 5000));
    blind = false;
    dedupe_tidy(h->d);
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WARMING);
    expect_known(h, 0, 999, false);
    clock_mono_skew_ms += DEDUPE_RETRY_MS + 1;
    dedupe_tidy(h->d);
    while (dedupe_warm_step(h->d, 1000, 1000))
        continue;
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WHOLE);
    expect_known(h, 0, 999, true);
    expect_known(h, 5000, 5000, true);
}

/* ---- limits ---- */

static void windows_change(void **state)
{
    struct home *h = *state;
    int64_t t = set_clock(1800000000000);

    open_home(h, WINDOW, MEMORY);
    send_all(h, 0, 1000);
    set_clock(t + WINDOW / 2);
    send_all(h, 1000, 1000);
    dedupe_configure(h->d, WINDOW / 4, MEMORY);
    warm(h);
    expect_known(h, 0, 999, false);
    expect_known(h, 1000, 1999, true);
    send_all(h, 5000, 100);
    dedupe_configure(h->d, WINDOW, MEMORY); /* the files know the rest */
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WARMING);
    assert_true(dedupe_facts(h->d).window_ms <= WINDOW / 4);
    warm(h);
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_WHOLE);
    assert_int_equal(dedupe_facts(h->d).window_ms, WINDOW);
    expect_known(h, 0, 1999, true);
    expect_known(h, 5000, 5099, true);
    assert_int_equal(dedupe_facts(h->d).ids, 2100);
    dedupe_configure(h->d, 0, MEMORY); /* off */
    warm(h);
    assert_int_equal(dedupe_facts(h->d).state, DEDUPE_OFF);
    assert_true(sent(h, 1, 0));
    assert_true(sent(h, 1, 0));
    dedupe_configure(h->d, WINDOW, MEMORY);
    warm(h);
    assert_false(sent(h, 1, 0));
    expect_known(h, 0, 1999, true);
}

/* A clock that is set forward and back: what was forgotten is not claimed. */
static void clock_jumps(void **state)
{
    struct home *h = *state;
    int64_t t = set_clock(1800000000000);

    open_home(h, WINDOW, MEMORY);
    send_all(h, 0, 1000);
    set_clock(t + 2 * WINDOW);
    expect_known(h, 0, 999, false);
    send_all(h, 2000, 100);
    set_clock(t + WINDOW / 2);
    assert_true(dedupe_facts(h->d).window_ms <= WINDOW / 2);
    expect_known(h, 2000, 2099, true);
    assert_true(sent(h, 1, 0));
    assert_false(sent(h, 1, 0));
}

/* Less memory than there are ids: the newest are known, at once and after a
 * restart, and it says back to when. */
static void memory_is_short(void **state)
{
    struct home *h = *state;
    const uint64_t many = 600000, most = (4u << 20) / 16;
    int64_t t = set_clock(1800000000000);
    struct dedupe_facts f;

    h->b->o.segment_bytes = 4 << 20;
    open_home(h, WINDOW, 4u << 20);
    for (uint64_t i = 0; i < 60; i++) {
        set_clock(t + (int64_t)i * 10000);
        send_all(h, i * 10000, 10000);
    }
    for (int restart = 0; restart < 2; restart++) {
        dedupe_tidy(h->d);
        f = dedupe_facts(h->d);
        assert_int_equal(f.state, DEDUPE_WHOLE);
        assert_true(f.bytes <= 4u << 20);
        assert_true(f.ids > most * 88 / 100 && f.ids <= most * 90 / 100);
        assert_true(f.window_ms > 200000 && f.window_ms < 250000);
        expect_known(h, many - f.ids + 1, many - 1, true);
        expect_known(h, 0, many - f.ids - 1, false);
        close_home(h, true);
        open_home(h, WINDOW, 4u << 20);
    }
    dedupe_configure(h->d, WINDOW, 16u << 20);
    warm(h);
    assert_int_equal(dedupe_facts(h->d).ids, many);
    expect_known(h, 0, many - 1, true);
    dedupe_configure(h->d, WINDOW, 4u << 20);
    assert_true(dedupe_facts(h->d).ids <= most * 90 / 100);
    expect_known(h, many - 1000, many - 1, true);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, home_new, home_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stored_once),
        TEST(failed_commit),
        TEST(many_in_flight),
        TEST(long_turn),
        TEST(survives_restarts),
        TEST(restarts_without_files),
        TEST(restarts_after_the_window),
        TEST(events_while_warming),
        TEST(unreadable_files),
        TEST(windows_change),
        TEST(clock_jumps),
        TEST(memory_is_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

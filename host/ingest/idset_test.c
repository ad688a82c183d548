/* SPDX-License-Identifier: Apache-2.0
 *
 * idset_test.c - the set of ids against a model that remembers everything:
 * no id is known that was not added, none is forgotten but for age and room,
 * and the oldest go first. */
#include "ingest/idset.h"

#include "base/mem.h"
#include "base/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WINDOW 1000000
#define LEAST IDSET_LEAST_BYTES
#define FEW 100000u /* what the smallest table holds with ease */

/* Id n of a test. */
static const unsigned char *id(uint64_t n)
{
    static const unsigned char key[16] = { 1, 2, 3 };
    static unsigned char hash[16];

    siphash128(key, &n, sizeof n, hash);
    return hash;
}

static bool has(struct idset *s, uint64_t n, int64_t now)
{
    return idset_has(s, id(n), now);
}

/* ---- basics ---- */

static void every_bit_counts(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    unsigned char hash[16];

    (void)state;
    for (uint64_t n = 0; n < 200; n++) {
        memcpy(hash, id(n), 16);
        assert_false(idset_has(s, hash, 5));
        idset_add(s, hash, 5);
        for (int bit = 0; bit < 128; bit++) {
            hash[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(idset_has(s, hash, 5));
            hash[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        assert_true(idset_has(s, hash, 5));
    }
    idset_free(s);
}

/* Hashes that any table would put into the same buckets are told apart, and
 * too many of them cost the oldest, not the process. */
static void crowded_buckets(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    unsigned char hash[16];

    (void)state;
    for (unsigned n = 0; n < 12; n++) {
        memset(hash, 0, 16);
        hash[7] = hash[15] = (unsigned char)n; /* above what chooses */
        assert_false(idset_has(s, hash, 5));
        idset_add(s, hash, 5 + n * WINDOW / 100);
        assert_true(idset_has(s, hash, 5 + n * WINDOW / 100));
    }
    assert_true(idset_facts(s).evicted >= 4); /* only bucket 0 has them */
    assert_true(idset_facts(s).known_since >= 5);
    for (unsigned n = 8; n < 12; n++) {
        memset(hash, 0, 16);
        hash[7] = hash[15] = (unsigned char)n;
        assert_true(idset_has(s, hash, 5 + 11 * WINDOW / 100));
    }
    idset_free(s);
}

static void forgets_by_age(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    const int64_t late = WINDOW / IDSET_PARTS + 1;

    (void)state;
    for (int64_t t = 0; t < 3 * WINDOW; t += 100)
        idset_add(s, id((uint64_t)t), t);
    for (int64_t t = 0; t < 3 * WINDOW; t += 100) {
        int64_t age = 3 * WINDOW - t;

        if (age <= WINDOW)
            assert_true(has(s, (uint64_t)t, 3 * WINDOW));
        else if (age > WINDOW + late)
            assert_false(has(s, (uint64_t)t, 3 * WINDOW));
    }
    assert_int_equal(idset_facts(s).evicted, 0);
    assert_true(idset_facts(s).known_since < 2 * WINDOW);
    assert_true(idset_facts(s).known_since > 2 * WINDOW - 2 * late);
    assert_true(has(s, 3 * WINDOW - 100, 4 * WINDOW - 100));
    assert_false(has(s, 3 * WINDOW - 100, 4 * WINDOW + late));
    assert_int_equal(idset_facts(s).count, 0);
    idset_free(s);
}

/* Generations are numbered with 15 bits; long lives go around them. */
static void numbers_come_again(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    int64_t step = WINDOW / IDSET_PARTS + 1, now = 0;

    (void)state;
    for (uint64_t n = 0; n < 200000; n++) {
        now += step; /* each in a generation of its own */
        assert_false(has(s, n, now));
        idset_add(s, id(n), now);
        assert_true(has(s, n, now));
        if (n > 2000)
            assert_false(has(s, n - 1100, now));
        if (n > 1000)
            assert_true(has(s, n - 1000, now));
    }
    for (uint64_t n = 0; n < 198900; n++)
        assert_false(has(s, n, now));
    idset_free(s);
}

/* ---- growth and room ---- */

static void grows(void **state)
{
    struct idset *s = idset_new(64u << 20, WINDOW);
    const uint64_t many = 1000000;
    uint64_t bytes = idset_facts(s).bytes;

    (void)state;
    assert_int_equal(bytes, LEAST);
    for (uint64_t n = 0; n < many; n++) {
        idset_add(s, id(n), (int64_t)(n / 1000));
        assert_true(idset_facts(s).bytes <= bytes + 256);
        bytes = idset_facts(s).bytes;
    }
    assert_int_equal(idset_facts(s).count, many);
    assert_int_equal(idset_facts(s).evicted, 0);
    assert_true(bytes < many * IDSET_SLOT * 4 / 3);
    for (uint64_t n = 0; n < many; n++)
        assert_true(has(s, n, (int64_t)(many / 1000)));
    for (uint64_t n = many; n < 2 * many; n++)
        assert_false(has(s, n, (int64_t)(many / 1000)));
    /* All are too old: memory is given back. */
    for (int i = 0; i < 1000; i++)
        idset_tidy(s, 2 * WINDOW + 5000, 1000);
    assert_int_equal(idset_facts(s).count, 0);
    assert_true(idset_facts(s).bytes <= LEAST + (4u << 20));
    for (uint64_t n = 0; n < many; n++)
        assert_false(has(s, n, 2 * WINDOW + 5000));
    idset_free(s);
}

/* Past its room the set holds the newest, and says back to when. */
static void oldest_leave(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    const uint64_t many = 1000000, slots = LEAST / IDSET_SLOT;
    uint64_t kept = 0;
    struct idset_facts f;

    (void)state;
    for (uint64_t n = 0; n < many; n++) {
        idset_add(s, id(n), (int64_t)(n / 10));
        assert_true(idset_facts(s).bytes <= LEAST);
    }
    f = idset_facts(s);
    assert_int_equal(f.count + f.evicted, many);
    assert_true(f.count > slots * 89 / 100 && f.count <= slots * 90 / 100);
    for (uint64_t n = 0; n < many; n++) {
        bool there = has(s, n, (int64_t)(many / 10));

        if ((int64_t)(n / 10) > f.known_since)
            assert_true(there);
        if (n < many - f.count) /* no gap: exactly the newest */
            assert_false(there);
        kept += there;
    }
    assert_int_equal(kept, f.count);
    idset_free(s);
}

static void limits_change(void **state)
{
    struct idset *s = idset_new(32u << 20, WINDOW);
    const uint64_t many = 1000000, slots = LEAST / IDSET_SLOT;
    struct idset_facts f;
    uint64_t n;

    (void)state;
    for (n = 0; n < many; n++)
        idset_add(s, id(n), (int64_t)(n / 10));
    assert_int_equal(idset_facts(s).count, many);
    idset_limits(s, LEAST, WINDOW);
    f = idset_facts(s);
    assert_true(f.count <= slots * 90 / 100 && f.count > slots * 85 / 100);
    for (int i = 0; i < 1000; i++) { /* while it shrinks all stays known */
        idset_tidy(s, (int64_t)(many / 10), 1000);
        for (n = many - 1; n > many - 50; n--)
            assert_true(has(s, n, (int64_t)(many / 10)));
    }
    f = idset_facts(s);
    assert_true(f.bytes <= LEAST + (4u << 20));
    for (n = many - f.count; n < many; n++)
        assert_true(has(s, n, (int64_t)(many / 10)));
    idset_limits(s, 32u << 20, WINDOW);
    for (n = many; n < 2 * many; n++)
        idset_add(s, id(n), (int64_t)(n / 10));
    assert_int_equal(idset_facts(s).count, many + f.count);
    idset_limits(s, 32u << 20, 50000); /* a shorter window */
    assert_true(has(s, 2 * many - 1, 200000));
    assert_true(has(s, 2 * many - 500000 + 10, 200000));
    assert_false(has(s, 2 * many - 520000, 200000));
    idset_free(s);
}

static void expects(void **state)
{
    struct idset *s = idset_new(64u << 20, WINDOW);

    (void)state;
    for (uint64_t n = 0; n < FEW; n++)
        idset_add(s, id(n), 0);
    idset_expect(s, 1000000); /* not now */
    assert_true(idset_facts(s).bytes < 8u << 20);
    assert_false(has(s, 0, 2 * WINDOW)); /* nor is any other */
    idset_expect(s, 1000000);
    assert_true(idset_facts(s).bytes > 16u << 20);
    for (uint64_t n = 0; n < FEW; n++)
        assert_false(has(s, n, 2 * WINDOW));
    for (uint64_t n = 0; n < 1000000; n++)
        idset_add(s, id(n), 2 * WINDOW);
    for (uint64_t n = 0; n < 1000000; n++)
        assert_true(has(s, n, 2 * WINDOW));
    assert_true(idset_facts(s).bytes < 22u << 20);
    idset_free(s);
}

/* ---- filled from behind ---- */

static void older_ones(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    int64_t now = 2 * WINDOW;
    uint64_t n = 0;

    (void)state;
    for (uint64_t k = 0; k < 1000; k++) /* new ones come meanwhile */
        idset_add(s, id(1000000 + k), now);
    for (; n < FEW; n++)
        assert_true(idset_add_older(s, id(n), now - (int64_t)n * 9, now));
    assert_false(idset_add_older(s, id(n), now - WINDOW - 1, now));
    for (uint64_t k = 0; k < FEW; k++)
        assert_true(has(s, k, now));
    /* They go as they came: the last one first. */
    assert_true(has(s, 1, now + WINDOW / 2));
    assert_false(has(s, FEW - 1, now + WINDOW / 2));
    assert_true(has(s, 1000000, now + WINDOW));
    while (idset_add_older(s, id(++n), now + WINDOW / 4, now + WINDOW / 2))
        continue;
    assert_true(idset_facts(s).count > LEAST / IDSET_SLOT * 88 / 100);
    assert_int_equal(idset_facts(s).evicted, 0);
    idset_free(s);
}

/* What was forgotten is not known again for a generation that is put before
 * the others and takes a number used before. */
static void forgotten_for_good(void **state)
{
    struct idset *s = idset_new(LEAST, WINDOW);
    int64_t step = WINDOW / IDSET_PARTS + 1, now = 900 * step;

    (void)state;
    for (uint64_t n = 0; n < 900; n++)
        idset_add(s, id(n), (int64_t)n * step);
    idset_limits(s, LEAST, 100 * step);
    assert_false(has(s, 500, now));
    idset_limits(s, LEAST, WINDOW);
    for (uint64_t n = 0; n < 700; n++)
        assert_true(idset_add_older(s, id(5000 + n),
                                    now - (200 + (int64_t)n) * step / 2,
                                    now));
    for (uint64_t n = 0; n < 790; n++)
        assert_false(has(s, n, now));
    for (uint64_t n = 810; n < 900; n++)
        assert_true(has(s, n, now));
    for (uint64_t n = 0; n < 700; n++)
        assert_true(has(s, 5000 + n, now));
    idset_free(s);
}

/* ---- everything at once, against a model ---- */

struct model {
    int64_t *at; /* when id n was added last; -1: never */
    uint64_t ids;
};

static uint64_t rnd(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void check(struct idset *s, const struct model *m, uint64_t n,
                  int64_t now, int64_t window)
{
    struct idset_facts f = idset_facts(s);
    bool there = has(s, n, now);
    int64_t age = now - m->at[n];

    f = idset_facts(s);
    if (m->at[n] < 0)
        assert_false(there);
    else if (age <= window && m->at[n] > f.known_since)
        assert_true(there);
    else if (age > window + WINDOW * 4 / IDSET_PARTS + 2)
        assert_false(there);
}

static void lives(void **state)
{
    (void)state;
    for (uint64_t life = 1; life <= 4; life++) {
        uint64_t bytes = LEAST * (1 + life % 3), x = life * 88172645463325252u;
        int64_t now = 10 * WINDOW, window = WINDOW;
        struct idset *s = idset_new(bytes, window);
        struct model m = { .ids = 600000 };

        m.at = xmalloc(m.ids * sizeof *m.at);
        for (uint64_t n = 0; n < m.ids; n++)
            m.at[n] = -1;
        for (int i = 0; i < 700000; i++) {
            uint64_t n = rnd(&x) % m.ids;

            now += rnd(&x) % 8 == 0;
            check(s, &m, n, now, window);
            if (!has(s, n, now)) {
                idset_add(s, id(n), now);
                m.at[n] = now;
            }
            if (i % 1000 == 0)
                idset_tidy(s, now, (unsigned)(rnd(&x) % 50));
            if (i % 100000 == 99999) {
                bytes = LEAST * (1 + rnd(&x) % 3);
                idset_limits(s, bytes, window);
            }
            if (i % 150000 == 149999) /* a night without traffic */
                now += window / 3;
        }
        for (uint64_t n = 0; n < m.ids; n++)
            check(s, &m, n, now, window);
        free(m.at);
        idset_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(crowded_buckets),
        cmocka_unit_test(forgets_by_age),
        cmocka_unit_test(numbers_come_again),
        cmocka_unit_test(grows),
        cmocka_unit_test(oldest_leave),
        cmocka_unit_test(limits_change),
        cmocka_unit_test(expects),
        cmocka_unit_test(older_ones),
        cmocka_unit_test(forgotten_for_good),
        cmocka_unit_test(lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

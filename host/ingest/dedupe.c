/* SPDX-License-Identifier: Apache-2.0
 *
 * dedupe.c - see dedupe.h. */
#include "ingest/dedupe.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/idset.h"
#include "ingest/warmup.h"
#include "journal/ids.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FLIGHT_LEAST 1024u
#define AHEAD 8 /* entries whose buckets are fetched in advance */
#define TIDY_STEPS 2048u /* buckets; about a millisecond */

/* An event that was appended. */
struct flying {
    unsigned char hash[16];
    uint64_t seq;
    int64_t received_ms;
    uint32_t chain; /* place + 1 of the next with this head, 0: none */
};

/* Those in flight: a ring in the order of their numbers, and chains by hash.
 * Of both there are `cap`, a power of two. */
struct flight {
    struct flying *ring; /* owned */
    uint32_t *heads;     /* owned; place + 1, 0: empty */
    uint32_t cap, first, count;
};

struct dedupe {
    int64_t window_ms;
    uint64_t memory;
    struct flight flight;
    struct idset *set; /* NULL: off */
    uint64_t evicted_told;
    int64_t warned_ms; /* monotonic; 0: never */

    int dir; /* borrowed, with head, once dedupe_warm() was called */
    const struct journal_head *head;
    bool warm_wanted;
    int64_t warm_retry_ms;    /* monotonic; 0: no attempt failed */
    struct warmup *warmup;    /* NULL: nothing is to be filled in */
    uint64_t warm_evicted;    /* when it began */
    int64_t warm_from;        /* ids of this time or later may be there */
    int64_t warm_at;          /* all are there back to this time */
    unsigned char *block;     /* owned; entries not taken yet */
    size_t block_left;
};

/* ---- in flight ---- */

static uint32_t head_of(const struct flight *f, const unsigned char hash[16])
{
    uint32_t h;

    memcpy(&h, hash, sizeof h);
    return h & (f->cap - 1);
}

static void link_in(struct flight *f, uint32_t place)
{
    uint32_t head = head_of(f, f->ring[place].hash);

    f->ring[place].chain = f->heads[head];
    f->heads[head] = place + 1;
}

static void grow(struct flight *f)
{
    uint32_t cap = f->cap ? 2 * f->cap : FLIGHT_LEAST;
    struct flying *ring = xcalloc(cap, sizeof *ring);

    ASSERT(cap <= DEDUPE_FLIGHT_MOST);
    for (uint32_t i = 0; i < f->count; i++)
        ring[i] = f->ring[(f->first + i) & (f->cap - 1)];
    free(f->ring);
    free(f->heads);
    f->ring = ring;
    f->heads = xcalloc(cap, sizeof *f->heads);
    f->cap = cap;
    f->first = 0;
    for (uint32_t i = 0; i < f->count; i++)
        link_in(f, i);
}

static void flight_add(struct flight *f, const unsigned char hash[16],
                       uint64_t seq, int64_t received_ms)
{
    struct flying *new;
    uint32_t place;

    if (f->count == f->cap)
        grow(f);
    place = (f->first + f->count++) & (f->cap - 1);
    new = &f->ring[place];
    memcpy(new->hash, hash, 16);
    new->seq = seq;
    new->received_ms = received_ms;
    link_in(f, place);
}

static const struct flying *flight_find(const struct flight *f,
                                        const unsigned char hash[16])
{
    uint32_t at;

    if (!f->count)
        return NULL;
    for (at = f->heads[head_of(f, hash)]; at; at = f->ring[at - 1].chain)
        if (memcmp(f->ring[at - 1].hash, hash, 16) == 0)
            return &f->ring[at - 1];
    return NULL;
}

/* The oldest leaves; it is the last of its chain. */
static void flight_drop(struct flight *f)
{
    uint32_t place = f->first;
    uint32_t *at = &f->heads[head_of(f, f->ring[place].hash)];

    while (*at != place + 1)
        at = &f->ring[*at - 1].chain;
    *at = 0;
    f->first = (place + 1) & (f->cap - 1);
    f->count--;
}

static void flight_clear(struct flight *f)
{
    while (f->count)
        flight_drop(f);
}

/* ---- configuration ---- */

struct dedupe *dedupe_new(void)
{
    struct dedupe *d = xcalloc(1, sizeof *d);

    d->dir = -1;
    return d;
}

static void stop_warming(struct dedupe *d)
{
    warmup_free(d->warmup);
    d->warmup = NULL;
    free(d->block);
    d->block = NULL;
    d->block_left = 0;
}

static void turn_off(struct dedupe *d)
{
    stop_warming(d);
    idset_free(d->set);
    d->set = NULL;
    flight_clear(&d->flight);
    d->warm_wanted = false;
    d->warm_retry_ms = 0;
    d->evicted_told = 0;
}

void dedupe_free(struct dedupe *d)
{
    if (!d)
        return;
    turn_off(d);
    free(d->flight.ring);
    free(d->flight.heads);
    free(d);
}

/* The time back to which the set knows every id. */
static int64_t known_since(const struct dedupe *d, int64_t now)
{
    int64_t since = idset_facts(d->set).known_since;

    return since > now - d->window_ms ? since : now - d->window_ms;
}

void dedupe_configure(struct dedupe *d, int64_t window_ms, uint64_t memory)
{
    bool more = window_ms > d->window_ms || memory > d->memory;
    int64_t now = clock_ms();

    if (!window_ms) {
        turn_off(d);
    } else if (!d->set) {
        d->set = idset_new(memory, window_ms);
        idset_known_since(d->set, now);
    } else if (more) {
        idset_known_since(d->set, known_since(d, now));
    }
    d->window_ms = window_ms;
    d->memory = memory;
    if (d->set)
        idset_limits(d->set, memory, window_ms);
    d->warm_wanted |= more && d->set;
}

/* ---- filling ---- */

void dedupe_warm(struct dedupe *d, int dir, const struct journal_head *head)
{
    d->dir = dir;
    d->head = head;
    if (!d->warm_wanted)
        return;
    stop_warming(d);
    d->warm_wanted = false;
    d->warm_retry_ms = 0;
    d->warm_evicted = idset_facts(d->set).evicted;
    d->warm_at = idset_facts(d->set).known_since;
    d->warm_from = idset_facts(d->set).count ? d->warm_at : INT64_MAX;
    d->warmup = warmup_start(dir, head, atomic_load(&head->durable),
                             clock_ms() - d->window_ms);
}

/* There is no room for older ones, or it was taken by newer ones meanwhile. */
static bool room_ended(const struct dedupe *d)
{
    return idset_facts(d->set).evicted != d->warm_evicted;
}

/* The newest n of the block; false when there is no room for more. */
static bool take(struct dedupe *d, size_t n)
{
    int64_t now = clock_ms();

    for (; n; n--) {
        const unsigned char *p = d->block + --d->block_left * IDS_ENTRY;
        struct ids_entry one;

        if (d->block_left >= AHEAD)
            idset_prefetch(d->set, p - AHEAD * IDS_ENTRY);
        ids_get(p, &one);
        if (!one.source || one.received_ms < now - d->window_ms ||
            (one.received_ms >= d->warm_from &&
             idset_has(d->set, one.hash, now)))
            continue;
        if (room_ended(d) ||
            !idset_add_older(d->set, one.hash, one.received_ms, now))
            return false;
        if (one.received_ms < d->warm_at)
            d->warm_at = one.received_ms;
    }
    return true;
}

static void end_warming(struct dedupe *d, enum warmup_state how)
{
    uint64_t unknown = warmup_unknown(d->warmup);
    struct idset_facts f = idset_facts(d->set);

    if (how == WARMUP_END)
        idset_known_since(d->set, INT64_MIN);
    if (how == WARMUP_FAILED)
        d->warm_retry_ms = clock_mono_ms() + DEDUPE_RETRY_MS;
    else
        log_info("dedupe: %" PRIu64 " ids are known%s", f.count,
                 how == WARMUP_END ? "" : "; there is no memory for more");
    if (unknown && how != WARMUP_FAILED)
        log_warn("dedupe: %" PRIu64 " events of the window are not known any"
                 " more: id files or segments are damaged or gone", unknown);
    stop_warming(d);
}

bool dedupe_warm_step(struct dedupe *d, uint64_t most, int64_t wait_ms)
{
    while (d->warmup && most) {
        bool room;
        size_t n;

        if (!d->block_left) {
            enum warmup_state s;

            free(d->block);
            d->block = NULL;
            s = warmup_take(d->warmup, wait_ms, &d->block, &d->block_left);
            if (s == WARMUP_WAIT)
                return true;
            if (s != WARMUP_MORE) {
                end_warming(d, s);
                return false;
            }
            idset_expect(d->set, warmup_expected(d->warmup));
        }
        n = d->block_left < most ? d->block_left : (size_t)most;
        room = take(d, n);
        if (!room_ended(d))
            idset_known_since(d->set, d->warm_at);
        if (!room) {
            end_warming(d, WARMUP_MORE);
            return false;
        }
        most -= n;
    }
    return d->warmup != NULL;
}

/* ---- events ---- */

void dedupe_prefetch(const struct dedupe *d, const unsigned char hash[16])
{
    if (d->set)
        idset_prefetch(d->set, hash);
}

enum dedupe_found dedupe_find(struct dedupe *d, const unsigned char hash[16],
                              int64_t now_ms, uint64_t *seq)
{
    const struct flying *f;

    if (!d->set)
        return DEDUPE_NEW;
    idset_prefetch(d->set, hash);
    f = flight_find(&d->flight, hash);
    if (f) {
        *seq = f->seq;
        return DEDUPE_IN_FLIGHT;
    }
    return idset_has(d->set, hash, now_ms) ? DEDUPE_KNOWN : DEDUPE_NEW;
}

bool dedupe_durable_some(struct dedupe *d, uint64_t durable, unsigned most)
{
    struct flight *f = &d->flight;

    while (f->count && f->ring[f->first].seq <= durable) {
        const struct flying *one = &f->ring[f->first];

        if (most-- == 0)
            return true;
        if (f->count > AHEAD)
            idset_prefetch(d->set,
                           f->ring[(f->first + AHEAD) & (f->cap - 1)].hash);
        idset_add(d->set, one->hash, one->received_ms);
        flight_drop(f);
    }
    return false;
}

void dedupe_durable(struct dedupe *d, uint64_t durable)
{
    dedupe_durable_some(d, durable, UINT_MAX);
}

/* One turn of the loop may append more than the journal's staging holds, while
 * commits go on: what is durable by now leaves before there is more room. */
void dedupe_note(struct dedupe *d, const unsigned char hash[16], uint64_t seq,
                 int64_t received_ms)
{
    if (!d->set)
        return;
    if (d->flight.count == d->flight.cap && d->head)
        dedupe_durable(d, atomic_load_explicit(&d->head->durable,
                                               memory_order_acquire));
    flight_add(&d->flight, hash, seq, received_ms);
}

void dedupe_forget(struct dedupe *d)
{
    flight_clear(&d->flight);
}

/* ---- quiet times ---- */

static void warn_of_memory(struct dedupe *d)
{
    uint64_t evicted = idset_facts(d->set).evicted;
    int64_t now = clock_mono_ms();

    if (evicted == d->evicted_told ||
        (d->warned_ms && now - d->warned_ms < DEDUPE_WARN_MS))
        return;
    d->evicted_told = evicted;
    d->warned_ms = now;
    log_warn("dedupe: ids are known for %" PRId64 " s and not for %" PRId64
             " s, the dedupe_window: raise dedupe_memory",
             dedupe_facts(d).window_ms / 1000, d->window_ms / 1000);
}

void dedupe_tidy(struct dedupe *d)
{
    if (!d->set)
        return;
    idset_tidy(d->set, clock_ms(), TIDY_STEPS);
    warn_of_memory(d);
    if (d->warm_retry_ms && clock_mono_ms() >= d->warm_retry_ms) {
        d->warm_wanted = true;
        dedupe_warm(d, d->dir, d->head);
    }
}

struct dedupe_facts dedupe_facts(const struct dedupe *d)
{
    struct dedupe_facts f = { .state = DEDUPE_OFF };
    struct idset_facts set;
    int64_t now = clock_ms(), since;

    if (!d->set)
        return f;
    set = idset_facts(d->set);
    since = known_since(d, now);
    f.state = d->warmup || d->warm_wanted || d->warm_retry_ms
                  ? DEDUPE_WARMING : DEDUPE_WHOLE;
    f.ids = set.count + d->flight.count;
    f.bytes = set.bytes;
    f.evicted = set.evicted;
    f.window_ms = now > since ? now - since : 0;
    return f;
}

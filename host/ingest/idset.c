/* SPDX-License-Identifier: Apache-2.0
 *
 * idset.c - see idset.h.
 *
 * THE TABLE has `buckets` of them, between 2^level and 2^(level+1): linear
 * hashing. The word w of a hash stands in bucket w mod 2^(level+1), or, where
 * there is no such bucket yet, in w mod 2^level. A hash has two words, so two
 * buckets. level is 15 at least: the lowest 15 bits of the word that chose a
 * bucket are always those of its number, and their place in the slot bears
 * which word that was and the generation:
 *
 *   slot.a   bits 15..63 of the choosing word | choice << 14 | generation
 *   slot.b   the other word
 *
 * GENERATIONS have serial numbers; a slot bears 1 + serial mod NUMBERS, 0 in
 * an empty one. Those from `oldest` on, `span` of them, are known. Before a
 * number comes again every slot that bore it has been swept: each generation
 * that begins sweeps a part of the table. */
#include "ingest/idset.h"

#include "base/mem.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS 8 /* of a bucket: two lines that are fetched together */
#define BUCKET (SLOTS * IDSET_SLOT)
#define LEVEL_LEAST 15
#define LOW 0x7fffu    /* bits that the bucket tells */
#define CHOICE 0x4000u /* which word chose it */
#define NUMBER 0x3fffu /* of the generation */
#define NUMBERS 16383u
#define SPAN_MOST 8192u    /* generations known at a time */
#define SWEEP_PARTS 4096u  /* of the table, one for each generation */
#define ADD_STEPS 2u       /* of growth in one addition */
#define KICKS_MOST 500u    /* moves until an oldest generation has to go */
#define GROW_AT 76u        /* known entries in a hundred slots */
#define SHRINK_AT 30u
#define FULL_AT 90u
#define FREE_BYTES (2u << 20) /* given back at a time */
#define GENERATION_LEAST 256u /* entries, where the room is small */

struct slot {
    uint64_t a, b;
};

struct generation {
    int64_t newest, first; /* times: the greatest, and that of its first */
    uint32_t count;
};

struct idset {
    struct slot *slots; /* mapped_bytes, of which buckets are used */
    uint64_t mapped;
    uint64_t buckets, most; /* in use; at the limit */
    unsigned level;
    uint64_t touched; /* bytes from the start that may be in memory */
    int64_t window;
    uint64_t oldest; /* serial */
    uint32_t span;
    uint32_t oldest_number;
    struct generation generations[SPAN_MOST]; /* by serial */
    uint64_t count, evicted;
    uint64_t sweep; /* the bucket that comes next */
    bool stale;     /* slots of numbers below oldest may be left */
    int64_t known_since;
    uint64_t chance;
};

struct words {
    uint64_t w[2];
};

static struct words words_of(const unsigned char hash[16])
{
    struct words h;

    memcpy(&h, hash, 16);
    h.w[0] = le64toh(h.w[0]);
    h.w[1] = le64toh(h.w[1]);
    return h;
}

static uint64_t bucket_of(const struct idset *s, uint64_t word)
{
    uint64_t at = word & ((2ull << s->level) - 1);

    return at < s->buckets ? at : word & ((1ull << s->level) - 1);
}

static struct slot *slots_at(const struct idset *s, uint64_t bucket)
{
    return s->slots + bucket * SLOTS;
}

/* ---- generations ---- */

static uint32_t number_of(uint64_t serial)
{
    return 1 + (uint32_t)(serial % NUMBERS);
}

static bool known(const struct idset *s, const struct slot *slot)
{
    uint32_t number = slot->a & NUMBER;
    uint32_t after = number >= s->oldest_number
                         ? number - s->oldest_number
                         : number + NUMBERS - s->oldest_number;

    return number && after < s->span;
}

static struct generation *generation(struct idset *s, uint64_t serial)
{
    return &s->generations[serial % SPAN_MOST];
}

static void set_oldest(struct idset *s, uint64_t serial)
{
    s->oldest = serial;
    s->oldest_number = number_of(serial);
}

/* That it is not known any more is noted even where it was too old: the clock
 * may be set back. */
static void drop_oldest(struct idset *s)
{
    const struct generation *g = generation(s, s->oldest);

    if (g->newest > s->known_since)
        s->known_since = g->newest;
    s->count -= g->count;
    s->span--;
    set_oldest(s, s->oldest + 1);
    s->stale = true;
}

static void evict(struct idset *s)
{
    s->evicted += generation(s, s->oldest)->count;
    drop_oldest(s);
}

static void expire(struct idset *s, int64_t now)
{
    while (s->span && generation(s, s->oldest)->newest < now - s->window)
        drop_oldest(s);
}

static void sweep(struct idset *s, uint64_t buckets)
{
    for (; buckets; buckets--) {
        struct slot *slot;

        if (s->sweep >= s->buckets)
            s->sweep = 0;
        slot = slots_at(s, s->sweep++);
        for (int i = 0; i < SLOTS; i++)
            if (!known(s, &slot[i]))
                slot[i] = (struct slot){ 0, 0 };
    }
}

static bool fits(const struct idset *s, const struct generation *g,
                 int64_t at)
{
    uint64_t most = s->most * SLOTS / IDSET_PARTS;
    int64_t apart = at > g->first ? at - g->first : g->first - at;

    if (most < GENERATION_LEAST)
        most = GENERATION_LEAST;
    return g->count < most && apart <= s->window / IDSET_PARTS;
}

static void begin(struct idset *s, uint64_t serial, int64_t at)
{
    *generation(s, serial) = (struct generation){ at, at, 0 };
    s->span++;
    sweep(s, (s->buckets + SWEEP_PARTS - 1) / SWEEP_PARTS);
}

static uint32_t join(struct idset *s, uint64_t serial, int64_t at)
{
    struct generation *g = generation(s, serial);

    if (at > g->newest)
        g->newest = at;
    g->count++;
    s->count++;
    return number_of(serial);
}

/* The number for an entry that is newer than all others. */
static uint32_t newest(struct idset *s, int64_t at)
{
    uint64_t last = s->oldest + s->span - 1;

    if (!s->span || (s->span < SPAN_MOST && !fits(s, generation(s, last), at)))
        begin(s, ++last, at);
    return join(s, last, at);
}

/* The number for one that is older. */
static uint32_t older(struct idset *s, int64_t at)
{
    if (s->span && (s->span == SPAN_MOST ||
                    fits(s, generation(s, s->oldest), at)))
        return join(s, s->oldest, at);
    if (s->stale) /* that number may have been another one's */
        sweep(s, s->buckets);
    s->stale = false;
    set_oldest(s, s->oldest - 1);
    begin(s, s->oldest, at);
    return join(s, s->oldest, at);
}

/* ---- slots ---- */

static struct slot slot_of(const struct words *h, int choice, uint32_t number)
{
    return (struct slot){ (h->w[choice] & ~(uint64_t)LOW) |
                              (choice ? CHOICE : 0) | number,
                          h->w[!choice] };
}

/* The hash of what stands in a bucket. */
static struct words words_in(const struct slot *slot, uint64_t bucket,
                             int *choice)
{
    struct words h;

    *choice = (slot->a & CHOICE) != 0;
    h.w[*choice] = (slot->a & ~(uint64_t)LOW) | (bucket & LOW);
    h.w[!*choice] = slot->b;
    return h;
}

static int free_slots(const struct idset *s, uint64_t bucket, int *where)
{
    const struct slot *slot = slots_at(s, bucket);
    int n = 0;

    for (int i = 0; i < SLOTS; i++)
        if (!known(s, &slot[i])) {
            *where = i;
            n++;
        }
    return n;
}

/* Into the emptier of its buckets: while the table grows some are twice as
 * full as others. */
static bool place(struct idset *s, const struct words *h, uint32_t number)
{
    uint64_t at[2] = { bucket_of(s, h->w[0]), bucket_of(s, h->w[1]) };
    int where[2] = { 0, 0 }, left[2], choice;

    for (int c = 0; c < 2; c++)
        left[c] = free_slots(s, at[c], &where[c]);
    if (!left[0] && !left[1])
        return false;
    choice = left[1] > left[0];
    slots_at(s, at[choice])[where[choice]] = slot_of(h, choice, number);
    return true;
}

static uint64_t chance(struct idset *s) /* xorshift */
{
    s->chance ^= s->chance << 13;
    s->chance ^= s->chance >> 7;
    s->chance ^= s->chance << 17;
    return s->chance;
}

/* Takes one out of a full bucket of *h and puts *h there; *h and *number are
 * then those of the one taken out, to be placed elsewhere. */
static void kick(struct idset *s, struct words *h, uint32_t *number)
{
    uint64_t random = chance(s);
    int choice = random & 1, other;
    uint64_t bucket = bucket_of(s, h->w[choice]);
    struct slot *slot = slots_at(s, bucket) + (random >> 1) % SLOTS;
    struct slot mine = slot_of(h, choice, *number);

    *number = slot->a & NUMBER;
    *h = words_in(slot, bucket, &other);
    *slot = mine;
}

/* Moves others about until there is a place. That fails where the table is
 * too full, which its limits prevent; then the oldest go. */
static void insert(struct idset *s, struct words h, uint32_t number)
{
    for (unsigned n = 1; !place(s, &h, number); n++) {
        kick(s, &h, &number);
        if (n % KICKS_MOST == 0 && s->span > 1)
            evict(s);
    }
}

/* ---- growing and shrinking ---- */

static void split(struct idset *s)
{
    uint64_t from = s->buckets - (1ull << s->level), to = s->buckets;
    struct slot *a = slots_at(s, from), *b = slots_at(s, to);

    s->buckets++;
    if (s->buckets == 2ull << s->level)
        s->level++;
    for (int i = 0; i < SLOTS; i++) {
        struct words h;
        int choice;

        b[i] = (struct slot){ 0, 0 };
        if (!known(s, &a[i])) {
            a[i] = b[i];
            continue;
        }
        h = words_in(&a[i], from, &choice);
        if (bucket_of(s, h.w[choice]) != to)
            continue;
        b[i] = a[i];
        a[i] = (struct slot){ 0, 0 };
    }
    if (s->touched < s->buckets * BUCKET)
        s->touched = s->buckets * BUCKET;
}

/* The last bucket's entries find another place. */
static void merge(struct idset *s)
{
    uint64_t last = s->buckets - 1;
    struct slot moving[SLOTS];

    memcpy(moving, slots_at(s, last), sizeof moving);
    if (s->buckets == 1ull << s->level)
        s->level--;
    s->buckets--;
    for (int i = 0; i < SLOTS; i++) {
        struct words h;
        int choice;

        if (!known(s, &moving[i]))
            continue;
        h = words_in(&moving[i], last, &choice);
        insert(s, h, moving[i].a & NUMBER);
    }
    if (s->touched >= s->buckets * BUCKET + 2 * FREE_BYTES) {
        uint64_t keep = (s->buckets * BUCKET / FREE_BYTES + 1) * FREE_BYTES;

        madvise((char *)s->slots + keep, s->touched - keep, MADV_DONTNEED);
        s->touched = keep;
    }
}

static bool above(const struct idset *s, uint64_t buckets, unsigned percent)
{
    return s->count * 100 > buckets * SLOTS * percent;
}

static void adapt(struct idset *s, unsigned steps)
{
    while (above(s, s->most, FULL_AT) && s->span > 1)
        evict(s);
    for (; steps; steps--) {
        if (s->buckets > s->most)
            merge(s);
        else if (s->buckets < s->most && above(s, s->buckets, GROW_AT))
            split(s);
        else if (s->buckets > 1u << LEVEL_LEAST &&
                 !above(s, s->buckets, SHRINK_AT))
            merge(s);
        else
            return;
    }
}

/* ---- public ---- */

static void map(struct idset *s, uint64_t bytes)
{
    void *p;

    if (bytes <= s->mapped)
        return;
    p = s->slots ? mremap(s->slots, s->mapped, bytes, MREMAP_MAYMOVE)
                 : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(p != MAP_FAILED);
    s->slots = p;
    s->mapped = bytes;
    /* Measured to be no faster, and the first touch of one takes long. */
    madvise(p, bytes, MADV_NOHUGEPAGE);
}

struct idset *idset_new(uint64_t bytes, int64_t window_ms)
{
    struct idset *s = xcalloc(1, sizeof *s);

    s->level = LEVEL_LEAST;
    s->buckets = 1u << LEVEL_LEAST;
    s->known_since = INT64_MIN;
    s->chance = 0x9e3779b97f4a7c15u;
    set_oldest(s, (uint64_t)NUMBERS << 32);
    idset_limits(s, bytes, window_ms);
    s->touched = s->buckets * BUCKET;
    return s;
}

void idset_free(struct idset *s)
{
    if (!s)
        return;
    munmap(s->slots, s->mapped);
    free(s);
}

void idset_limits(struct idset *s, uint64_t bytes, int64_t window_ms)
{
    if (bytes < IDSET_LEAST_BYTES)
        bytes = IDSET_LEAST_BYTES;
    s->window = window_ms;
    s->most = bytes / BUCKET;
    map(s, s->most * BUCKET);
    adapt(s, 0);
}

void idset_prefetch(const struct idset *s, const unsigned char hash[16])
{
    struct words h = words_of(hash);

    for (int c = 0; c < 2; c++) {
        const struct slot *slot = slots_at(s, bucket_of(s, h.w[c]));

        __builtin_prefetch(slot);
        __builtin_prefetch(slot + SLOTS / 2);
    }
}

void idset_expect(struct idset *s, uint64_t count)
{
    uint64_t buckets = count * 100 / (GROW_AT * SLOTS);

    if (buckets > s->most)
        buckets = s->most;
    if (s->span || buckets <= s->buckets)
        return;
    sweep(s, s->buckets); /* what was forgotten stands where it stood */
    s->buckets = buckets;
    while (2ull << s->level <= buckets)
        s->level++;
    if (s->touched < buckets * BUCKET)
        s->touched = buckets * BUCKET;
}

bool idset_has(struct idset *s, const unsigned char hash[16], int64_t now_ms)
{
    struct words h = words_of(hash);

    expire(s, now_ms);
    for (int c = 0; c < 2; c++) {
        const struct slot *slot = slots_at(s, bucket_of(s, h.w[c]));
        struct slot mine = slot_of(&h, c, 0);

        for (int i = 0; i < SLOTS; i++)
            if (slot[i].b == mine.b &&
                (slot[i].a & ~(uint64_t)NUMBER) == mine.a &&
                known(s, &slot[i]))
                return true;
    }
    return false;
}

void idset_add(struct idset *s, const unsigned char hash[16], int64_t at_ms)
{
    adapt(s, ADD_STEPS);
    insert(s, words_of(hash), newest(s, at_ms));
}

bool idset_add_older(struct idset *s, const unsigned char hash[16],
                     int64_t at_ms, int64_t now_ms)
{
    if (at_ms < now_ms - s->window || above(s, s->most, FULL_AT - 1))
        return false;
    adapt(s, ADD_STEPS);
    insert(s, words_of(hash), older(s, at_ms));
    return true;
}

void idset_known_since(struct idset *s, int64_t since_ms)
{
    s->known_since = since_ms;
}

void idset_tidy(struct idset *s, int64_t now_ms, unsigned steps)
{
    expire(s, now_ms);
    adapt(s, steps);
}

struct idset_facts idset_facts(const struct idset *s)
{
    return (struct idset_facts){ .count = s->count, .bytes = s->touched,
                                 .evicted = s->evicted,
                                 .known_since = s->known_since };
}

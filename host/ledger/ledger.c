/* SPDX-License-Identifier: Apache-2.0
 *
 * ledger.c - see ledger.h. */
#include "ledger/ledger.h"

#include "base/mem.h"

#include <string.h>

enum { HEAD_DEFINE, HEAD_RANGE, HEAD_FORGET, HEAD_PATTERN = 8 };

#define VARINT_MAX 10 /* bytes of a number */

/* ---- numbers ---- */

static unsigned varint_put(unsigned char *to, uint64_t v)
{
    unsigned n = 0;

    while (v >= 0x80) {
        to[n++] = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    to[n++] = (unsigned char)v;
    return n;
}

static uint64_t zigzag(uint64_t from, uint64_t to)
{
    int64_t d = (int64_t)(to - from);

    return ((uint64_t)d << 1) ^ (uint64_t)(d >> 63);
}

static uint64_t unzigzag(uint64_t from, uint64_t v)
{
    return from + ((v >> 1) ^ (0 - (v & 1)));
}

static bool varint_get(struct ledger_reader *r, uint64_t *v)
{
    unsigned shift = 0;

    for (*v = 0; r->p < r->end && shift < 64; shift += 7) {
        unsigned char c = *r->p++;

        *v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return shift < 63 || c < 2;
    }
    return false;
}

/* ---- writing ---- */

void ledger_init(struct ledger_writer *w, size_t max)
{
    memset(w, 0, sizeof *w);
    buf_init(&w->bytes, max);
    buf_init(&w->bodies, LEDGER_PATTERNS_MAX * LEDGER_BODY_MAX);
    ledger_begin(w, 0);
}

void ledger_deinit(struct ledger_writer *w)
{
    buf_deinit(&w->bytes);
    buf_deinit(&w->bodies);
}

void ledger_begin(struct ledger_writer *w, uint64_t prev)
{
    buf_clear(&w->bytes);
    buf_clear(&w->bodies);
    w->first = w->prev = prev;
    w->least = UINT64_MAX;
    w->greatest = 0;
    w->count = 0;
    w->patterns = w->last = 0;
}

static bool is_pattern(const struct ledger_writer *w, unsigned k,
                       const unsigned char *body, unsigned len)
{
    return w->at[k + 1] - w->at[k] == len &&
           memcmp(w->bodies.data + w->at[k], body, len) == 0;
}

static void define(struct ledger_writer *w, const unsigned char *body,
                   unsigned len)
{
    if (w->patterns == LEDGER_PATTERNS_MAX) {
        buf_char(&w->bytes, HEAD_FORGET);
        buf_clear(&w->bodies);
        w->patterns = 0;
    }
    buf_char(&w->bytes, HEAD_DEFINE);
    buf_add(&w->bytes, body, len);
    w->at[w->patterns] = (uint32_t)w->bodies.len;
    buf_add(&w->bodies, body, len);
    w->last = w->patterns++;
    w->at[w->patterns] = (uint32_t)w->bodies.len;
}

static unsigned pattern(struct ledger_writer *w, const unsigned char *body,
                        unsigned len)
{
    if (w->last < w->patterns && is_pattern(w, w->last, body, len))
        return w->last;
    for (unsigned k = 0; k < w->patterns; k++)
        if (is_pattern(w, k, body, len))
            return w->last = k;
    define(w, body, len);
    return w->last;
}

static void note(struct ledger_writer *w, uint64_t from, uint64_t to)
{
    w->prev = to;
    w->least = from < w->least ? from : w->least;
    w->greatest = to > w->greatest ? to : w->greatest;
    w->count++;
}

static void put_body(struct ledger_writer *w, uint64_t seq,
                     const unsigned char *body, unsigned len)
{
    unsigned char out[2 * VARINT_MAX];
    unsigned n = varint_put(out, HEAD_PATTERN + pattern(w, body, len));

    n += varint_put(out + n, zigzag(w->prev, seq));
    buf_add(&w->bytes, out, n);
    note(w, seq, seq);
}

/* There are one or two, nearly always. */
static void sort(struct ledger_part *parts, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = i; k > 0 && parts[k].key < parts[k - 1].key; k--) {
            struct ledger_part p = parts[k];

            parts[k] = parts[k - 1];
            parts[k - 1] = p;
        }
}

void ledger_put(struct ledger_writer *w, uint64_t seq,
                 enum ledger_class class, struct ledger_part *parts,
                 unsigned n)
{
    unsigned char body[LEDGER_BODY_MAX];
    unsigned len = 1;

    ASSERT(n <= LEDGER_PARTS_MAX);
    sort(parts, n);
    body[0] = (unsigned char)class;
    len += varint_put(body + len, n);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < 4; k++)
            body[len++] = (unsigned char)(parts[i].key >> 8 * k);
        body[len++] = parts[i].code;
    }
    put_body(w, seq, body, len);
}

void ledger_put_range(struct ledger_writer *w, uint64_t from, uint64_t to,
                       uint64_t count, enum lost_reason reason)
{
    unsigned char out[2 + 3 * VARINT_MAX];
    unsigned n = 0;

    out[n++] = HEAD_RANGE;
    n += varint_put(out + n, zigzag(w->prev, from));
    n += varint_put(out + n, to - from);
    n += varint_put(out + n, count);
    out[n++] = (unsigned char)reason;
    buf_add(&w->bytes, out, n);
    note(w, from, to);
}

void ledger_copy(struct ledger_writer *w, const struct ledger_entry *o)
{
    if (o->is_range)
        ledger_put_range(w, o->from, o->to, o->count, o->reason);
    else
        put_body(w, o->from, o->body, o->body_len);
}

/* ---- reading ---- */

void ledger_read(struct ledger_reader *r, mf_str stream, uint64_t prev)
{
    r->p = (const unsigned char *)stream.ptr;
    r->end = r->p + stream.len;
    r->prev = prev;
    r->patterns = 0;
}

static bool read_pattern(struct ledger_reader *r)
{
    const unsigned char *from = r->p;
    uint64_t n;

    if (r->patterns == LEDGER_PATTERNS_MAX || r->p == r->end ||
        *r->p++ >= LEDGER_CLASSES || !varint_get(r, &n) ||
        n > LEDGER_PARTS_MAX || (uint64_t)(r->end - r->p) < 5 * n)
        return false;
    r->p += 5 * n;
    r->body[r->patterns] = from;
    r->body_len[r->patterns] = (uint16_t)(r->p - from);
    r->parts[r->patterns++] = (uint16_t)n;
    return r->p - from <= LEDGER_BODY_MAX;
}

static bool read_range(struct ledger_reader *r, struct ledger_entry *o)
{
    uint64_t from, span, count;

    if (!varint_get(r, &from) || !varint_get(r, &span) ||
        !varint_get(r, &count) || r->p == r->end || *r->p >= LOST_REASONS)
        return false;
    o->from = unzigzag(r->prev, from);
    o->to = o->from + span;
    o->count = count;
    o->class = LEDGER_DEAD;
    o->is_range = true;
    o->reason = (enum lost_reason)*r->p++;
    o->body = NULL;
    o->body_len = o->parts = 0;
    r->prev = o->to;
    return o->from > 0 && o->to >= o->from && o->to <= INT64_MAX &&
           (count == 0 || count - 1 <= span);
}

static bool read_event(struct ledger_reader *r, uint64_t k,
                       struct ledger_entry *o)
{
    uint64_t v;

    if (k >= r->patterns || !varint_get(r, &v))
        return false;
    o->from = o->to = r->prev = unzigzag(r->prev, v);
    o->count = 1;
    o->is_range = false;
    o->body = r->body[k];
    o->body_len = r->body_len[k];
    o->parts = r->parts[k];
    o->class = (enum ledger_class)o->body[0];
    return o->from > 0 && o->from <= INT64_MAX;
}

int ledger_next(struct ledger_reader *r, struct ledger_entry *o)
{
    uint64_t head;

    while (r->p < r->end) {
        if (!varint_get(r, &head))
            return -1;
        if (head >= HEAD_PATTERN)
            return read_event(r, head - HEAD_PATTERN, o) ? 1 : -1;
        if (head == HEAD_RANGE)
            return read_range(r, o) ? 1 : -1;
        if (head == HEAD_FORGET)
            r->patterns = 0;
        else if (head != HEAD_DEFINE || !read_pattern(r))
            return -1;
    }
    return 0;
}

struct ledger_part ledger_part(const struct ledger_entry *o, unsigned i)
{
    const unsigned char *p = o->body + o->body_len - 5 * (o->parts - i);

    return (struct ledger_part){ (uint32_t)p[0] | (uint32_t)p[1] << 8 |
                                      (uint32_t)p[2] << 16 |
                                      (uint32_t)p[3] << 24,
                                  p[4] };
}

void ledger_add(struct ledger_sums *sums, const struct ledger_entry *o)
{
    switch (o->class) {
    case LEDGER_DELIVERED:
        sums->delivered++;
        break;
    case LEDGER_FILTERED:
        sums->filtered++;
        break;
    case LEDGER_DEAD:
        sums->dead += o->count;
        sums->lost += o->is_range ? o->count : 0;
        break;
    case LEDGER_REOPENED:
        sums->dead--;
        break;
    default:
        break;
    }
}

const char *range_reason_text(unsigned reason)
{
    static const char *const texts[RANGE_REASONS] = {
        [LOST_RETENTION] = "retention",
        [LOST_DAMAGE] = "damage",
        [LOST_UNKNOWN] = "unknown",
        [RANGE_EXPIRED] = "expired",
    };

    return reason < RANGE_REASONS ? texts[reason] : "unknown";
}

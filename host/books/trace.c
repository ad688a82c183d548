/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c - see trace.h. */
#include "books/trace.h"

#include "base/mem.h"
#include "base/text.h"
#include "journal/ids.h"
#include "journal/segment.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 4096

/* ---- finding ---- */

struct search {
    struct books *b;
    uint32_t ids[SOURCES_MAX];
    char names[SOURCES_MAX][72];
    unsigned char hashes[SOURCES_MAX][16];
    size_t sources;
    struct trace_found *out;
    size_t n;
};

static int failed(struct books *b, struct err *e)
{
    return err_set(e, "state.db cannot be read: %s", sqlite3_errmsg(b->db));
}

static int know_sources(struct search *s, mf_str id, mf_str source,
                        struct err *e)
{
    unsigned char uuid[16];
    sqlite3_stmt *q;
    int rc;

    if (ids_uuid(s->b->journal, uuid, e) != 0)
        return -1;
    if (sqlite3_prepare_v2(s->b->db, "SELECT id, name FROM source "
                                     "WHERE ?1 = '' OR name = ?1",
                           -1, &q, NULL) != SQLITE_OK)
        return failed(s->b, e);
    sqlite3_bind_text64(q, 1, source.ptr ? source.ptr : "", source.len,
                        SQLITE_TRANSIENT, SQLITE_UTF8);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && s->sources < SOURCES_MAX) {
        size_t k = s->sources++;

        s->ids[k] = (uint32_t)sqlite3_column_int64(q, 0);
        snprintf(s->names[k], sizeof s->names[k], "%s",
                 (const char *)sqlite3_column_text(q, 1));
        ids_hash(uuid, s->ids[k], id, s->hashes[k]);
    }
    sqlite3_finalize(q);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(s->b, e);
}

static void found(struct search *s, uint64_t seq, const struct ids_entry *i,
                  size_t k)
{
    struct trace_found *f = &s->out[s->n++];

    *f = (struct trace_found){ .seq = seq, .source = i->source,
                               .received_ms = i->received_ms };
    memcpy(f->source_name, s->names[k], sizeof f->source_name);
}

/* One that is of the source it says, with that source's hash. */
static void compare(struct search *s, uint64_t seq, const unsigned char *entry)
{
    struct ids_entry i;

    for (size_t k = 0; k < s->sources; k++) {
        if (memcmp(entry, s->hashes[k], 16) != 0)
            continue;
        ids_get(entry, &i);
        if (i.source == s->ids[k] && s->n < TRACE_FOUND_MAX)
            found(s, seq, &i, k);
    }
}

static int look_through(struct search *s, struct err *e)
{
    struct ids_reader *r = ids_reader_new(s->b->journal, NULL, e);
    const unsigned char *entries;
    uint64_t seq = INT64_MAX, base;
    size_t n;
    int rc;

    if (!r)
        return -1;
    while ((rc = ids_below(r, seq, &base, &entries, &n, e)) > 0 &&
           s->n < TRACE_FOUND_MAX) {
        for (size_t i = n; i-- > 0;)
            compare(s, base + i, entries + i * IDS_ENTRY);
        if (base <= 1)
            break;
        seq = base - 1;
    }
    ids_reader_free(r);
    return rc < 0 ? -1 : 0;
}

static void read_event(struct books *b, struct trace_found *f)
{
    struct journal_head head;
    struct journal_reader *r;
    struct journal_record rec;
    uint64_t from, to;
    struct err ignored;

    memset(&head, 0, sizeof head);
    atomic_store(&head.first, atomic_load(&b->head.first));
    atomic_store(&head.durable, f->seq);
    r = journal_reader_new(b->journal, &head);
    journal_seek(r, (struct journal_pos){ f->seq, 0, 0 });
    if (journal_next(r, 0, 0, &rec, &from, &to, &ignored) == JOURNAL_RECORD &&
        rec.seq == f->seq) {
        f->event = xstrndup(rec.payload.ptr, rec.payload.len);
        f->event_len = rec.payload.len;
        f->segment = journal_last(r).segment;
    }
    journal_reader_free(r);
}

int trace_find(struct books *b, mf_str message_id, mf_str source,
               struct trace_found out[TRACE_FOUND_MAX], size_t *n,
               struct err *e)
{
    struct search *s = xcalloc(1, sizeof *s);
    int rc = -1;

    s->b = b;
    s->out = out;
    if (know_sources(s, message_id, source, e) == 0 &&
        look_through(s, e) == 0)
        rc = 0;
    for (size_t i = 0; i < s->n; i++)
        read_event(b, &out[i]);
    *n = s->n;
    free(s);
    return rc;
}

void trace_found_free(struct trace_found *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i].event);
}

/* ---- the log ---- */

struct history {
    struct ledger_part parts[TRACE_PARTS_MAX]; /* the last of each key */
    size_t count;
    bool told, ended, is_range;
    enum ledger_class class;
    enum lost_reason reason;
};

static void note_entry(struct history *h, const struct ledger_entry *o)
{
    h->told = true;
    h->class = o->class;
    h->is_range = o->is_range;
    h->reason = o->is_range ? o->reason : LOST_RETENTION;
    h->ended = o->class != LEDGER_PARTIAL && o->class != LEDGER_REOPENED;
    for (unsigned i = 0; i < o->parts; i++) {
        struct ledger_part p = ledger_part(o, i);
        size_t k = 0;

        while (k < h->count && h->parts[k].key != p.key)
            k++;
        if (k == TRACE_PARTS_MAX)
            continue;
        h->parts[k] = p;
        h->count += k == h->count;
    }
}

struct trace {
    struct books *b;
    uint64_t seq;
    trace_words *reason;
    struct history **lanes; /* as b->lanes; NULL: of another source */
};

static void read_block(struct trace *t, const struct ledger_block *b)
{
    struct books_lane *l = books_lane(t->b, b->lane);
    struct history *h = l ? t->lanes[l - t->b->lanes] : NULL;
    struct ledger_reader r;
    struct ledger_entry o;

    if (!h)
        return;
    ledger_read(&r, b->stream, b->prev);
    while (ledger_next(&r, &o) > 0)
        if (o.from <= t->seq && t->seq <= o.to && (!o.is_range || o.count))
            note_entry(h, &o);
}

static void read_log(struct trace *t)
{
    for (size_t i = 0; i < t->b->segment_count; i++) {
        const struct ledger_segment *g = &t->b->segments[i];
        struct ledger_block block;
        struct err ignored;
        char *bytes;
        size_t at = 0;
        int rc;

        if (t->seq < g->least || t->seq > g->greatest || t->b->fds[i] < 0 ||
            ledger_log_load(t->b->fds[i], g, &bytes, &ignored) != 0)
            continue;
        while ((rc = ledger_block_next((mf_str){ bytes, g->bytes }, &at,
                                       &block)) != 0)
            if (rc > 0)
                read_block(t, &block);
        free(bytes);
    }
}

struct trace *trace_new(struct books *b, uint32_t source, uint64_t seq,
                        trace_words *reason)
{
    struct trace *t = xcalloc(1, sizeof *t);

    t->b = b;
    t->seq = seq;
    t->reason = reason;
    t->lanes = xcalloc(b->lane_count + 1, sizeof *t->lanes);
    for (size_t i = 0; i < b->lane_count; i++)
        if (b->lanes[i].source == source)
            t->lanes[i] = xcalloc(1, sizeof **t->lanes);
    read_log(t);
    return t;
}

void trace_free(struct trace *t)
{
    for (size_t i = 0; i < t->b->lane_count; i++)
        free(t->lanes[i]);
    free(t->lanes);
    free(t);
}

static void write_part(struct json_out *w, struct ledger_part p,
                       trace_words *reason)
{
    static const char *const words[] = { [PART_DELIVERED] = "delivered",
                                         [PART_SKIPPED] = "skipped",
                                         [PART_REOPENED] = "reopened" };

    json_begin_object(w);
    json_kint(w, "subscription", p.key);
    if (p.code == PART_LAPSED) {
        json_kstr(w, "outcome", MF_STR("dead"));
        json_kstr(w, "reason", MF_STR("expired before it could be tried"));
    } else if (p.code >= PART_DEAD) {
        json_kstr(w, "outcome", MF_STR("dead"));
        json_kstr(w, "reason", mf_cstr(dead_reason_text(p.code - PART_DEAD)));
    } else if (p.code >= PART_FILTERED) {
        json_kstr(w, "outcome", MF_STR("filtered"));
        json_kstr(w, "reason", mf_cstr(reason(p.code - PART_FILTERED)));
    } else {
        json_kstr(w, "outcome",
                  mf_cstr(p.code < COUNT_OF(words) && words[p.code]
                              ? words[p.code]
                              : "unknown"));
    }
    json_end_object(w);
}

/* ---- state.db ---- */

static mf_str text_at(sqlite3_stmt *q, int column)
{
    const char *p = (const char *)sqlite3_column_text(q, column);

    return (mf_str){ p ? p : "", (size_t)sqlite3_column_bytes(q, column) };
}

static void write_time(struct json_out *w, const char *key, int64_t ms)
{
    char text[TIME_TEXT];

    time_iso(ms, text);
    json_key(w, mf_cstr(key));
    json_str(w, mf_cstr(text));
}

static sqlite3_stmt *query(struct books *b, const char *sql, int64_t one,
                           int64_t two, int64_t three, int64_t four)
{
    sqlite3_stmt *q;

    if (sqlite3_prepare_v2(b->db, sql, -1, &q, NULL) != SQLITE_OK)
        return NULL;
    sqlite3_bind_int64(q, 1, one);
    sqlite3_bind_int64(q, 2, two);
    sqlite3_bind_int64(q, 3, three);
    sqlite3_bind_int64(q, 4, four);
    return q;
}

static void write_attempts(struct books *b, struct json_out *w, uint32_t lane,
                           uint64_t seq, int64_t subscription, int64_t letter)
{
    sqlite3_stmt *q = query(b, "SELECT n, at, status, error, request,"
                               " response FROM attempt WHERE lane = ?1 AND"
                               " seq = ?2 AND subscription = ?3 AND"
                               " letter = ?4 ORDER BY n",
                            lane, (int64_t)seq, subscription, letter);

    json_key(w, MF_STR("attempts_kept"));
    json_begin_array(w);
    while (q && sqlite3_step(q) == SQLITE_ROW) {
        json_begin_object(w);
        json_kint(w, "attempt", sqlite3_column_int64(q, 0));
        write_time(w, "at", sqlite3_column_int64(q, 1));
        json_kint(w, "status", sqlite3_column_int64(q, 2));
        json_kstr(w, "error", text_at(q, 3));
        json_kstr(w, "request", text_at(q, 4));
        json_kstr(w, "response", text_at(q, 5));
        json_end_object(w);
    }
    json_end_array(w);
    sqlite3_finalize(q);
}

static int write_retries(struct books *b, const struct books_lane *l,
                         uint64_t seq, struct json_out *w, struct err *e)
{
    sqlite3_stmt *q = query(b, "SELECT subscription, attempts, due, first,"
                               " status, error FROM retry WHERE lane = ?1 AND"
                               " seq = ?2 ORDER BY subscription LIMIT ?3",
                            l->id, (int64_t)seq, TRACE_LETTERS_MAX, 0);

    if (!q)
        return failed(b, e);
    json_key(w, MF_STR("retries"));
    json_begin_array(w);
    while (sqlite3_step(q) == SQLITE_ROW) {
        json_begin_object(w);
        json_kint(w, "subscription", sqlite3_column_int64(q, 0));
        json_kint(w, "attempts", sqlite3_column_int64(q, 1));
        write_time(w, "next_attempt", sqlite3_column_int64(q, 2));
        write_time(w, "first_attempt", sqlite3_column_int64(q, 3));
        json_kint(w, "status", sqlite3_column_int64(q, 4));
        json_kstr(w, "error", text_at(q, 5));
        write_attempts(b, w, l->id, seq, sqlite3_column_int64(q, 0), 0);
        json_end_object(w);
    }
    json_end_array(w);
    sqlite3_finalize(q);
    return 0;
}

#define LETTER_COLUMNS                                                         \
    "d.id, d.subscription, d.first, d.at, d.attempts, d.reason, d.status,"     \
    " d.error, d.action, t.request, t.response, d.lane, d.seq, t.event,"       \
    " l.destination, d.version, d.hash"                                        \
    " FROM dead d JOIN dead_text t ON t.id = d.id"                             \
    " JOIN lane l ON l.id = d.lane "

static void write_letter(struct books *b, sqlite3_stmt *q, bool whole,
                         struct json_out *w)
{
    mf_str event = text_at(q, 13);

    json_begin_object(w);
    json_kint(w, "id", sqlite3_column_int64(q, 0));
    json_kint(w, "subscription", sqlite3_column_int64(q, 1));
    write_time(w, "died", sqlite3_column_int64(q, 3));
    if (sqlite3_column_int64(q, 2))
        write_time(w, "first_attempt", sqlite3_column_int64(q, 2));
    json_kint(w, "attempts", sqlite3_column_int64(q, 4));
    json_kstr(w, "reason", mf_cstr(dead_reason_text(
                               (uint32_t)sqlite3_column_int64(q, 5))));
    json_kint(w, "status", sqlite3_column_int64(q, 6));
    json_kstr(w, "error", text_at(q, 7));
    json_kstr(w, "action", text_at(q, 8));
    json_kstr(w, "plugin_version", text_at(q, 15));
    json_kstr(w, "plugin_hash", text_at(q, 16));
    json_kstr(w, "request", text_at(q, 9));
    json_kstr(w, "response", text_at(q, 10));
    write_attempts(b, w, (uint32_t)sqlite3_column_int64(q, 11),
                   (uint64_t)sqlite3_column_int64(q, 12),
                   sqlite3_column_int64(q, 1), sqlite3_column_int64(q, 0));
    if (whole) {
        json_kstr(w, "destination", text_at(q, 14));
        json_kint(w, "sequence", sqlite3_column_int64(q, 12));
        if (event.len && json_check(event, JSON_DEPTH_MAX, NULL) == 0)
            json_kval(w, "event", json_root(event));
    }
    json_end_object(w);
}

static int write_letters(struct books *b, const struct books_lane *l,
                         uint64_t seq, struct json_out *w, struct err *e)
{
    sqlite3_stmt *q = query(b, "SELECT " LETTER_COLUMNS
                               "WHERE d.lane = ?1 AND d.seq = ?2"
                               " ORDER BY d.id LIMIT ?3",
                            l->id, (int64_t)seq, TRACE_LETTERS_MAX, 0);

    if (!q)
        return failed(b, e);
    json_key(w, MF_STR("letters"));
    json_begin_array(w);
    while (sqlite3_step(q) == SQLITE_ROW)
        write_letter(b, q, false, w);
    json_end_array(w);
    sqlite3_finalize(q);
    return 0;
}

int trace_letters(struct books *b, mf_str message_id, mf_str source,
                  struct json_out *w, size_t *n, struct err *e)
{
    sqlite3_stmt *q = query(b, "SELECT " LETTER_COLUMNS
                               "JOIN source s ON s.id = l.source"
                               " WHERE d.message_id = ?1 AND"
                               " (?3 = '' OR s.name = ?3)"
                               " ORDER BY d.id DESC LIMIT ?2",
                            0, TRACE_LETTERS_MAX, 0, 0);

    if (!q)
        return failed(b, e);
    sqlite3_bind_text64(q, 1, message_id.ptr, message_id.len,
                        SQLITE_TRANSIENT, SQLITE_UTF8);
    sqlite3_bind_text64(q, 3, source.ptr ? source.ptr : "", source.len,
                        SQLITE_TRANSIENT, SQLITE_UTF8);
    for (*n = 0; sqlite3_step(q) == SQLITE_ROW; ++*n)
        write_letter(b, q, true, w);
    sqlite3_finalize(q);
    return 0;
}

/* ---- one lane ---- */

static bool is_open(const struct books_lane *l, uint64_t seq)
{
    size_t from = 0, to = l->open_count;

    while (from < to) {
        size_t mid = (from + to) / 2;

        if (l->open[mid] == seq)
            return true;
        if (l->open[mid] < seq)
            from = mid + 1;
        else
            to = mid;
    }
    return false;
}

static const char *standing(const struct books_lane *l, uint64_t seq,
                            const struct history *h)
{
    static const char *const ended[LEDGER_CLASSES] = {
        [LEDGER_DELIVERED] = "delivered",
        [LEDGER_FILTERED] = "filtered",
        [LEDGER_DEAD] = "dead",
    };

    if (seq < l->start)
        return "of before the connection began";
    if (seq >= l->next)
        return "unread";
    if (is_open(l, seq))
        return "pending";
    if (h->is_range)
        return "lost";
    return h->ended && ended[h->class] ? ended[h->class] : "unknown";
}

int trace_lane(struct trace *t, const struct books_lane *l,
               struct json_out *w, struct err *e)
{
    const struct history *h = t->lanes[l - t->b->lanes];

    ASSERT(h);
    json_kint(w, "lane", l->id);
    json_kstr(w, "standing", mf_cstr(standing(l, t->seq, h)));
    if (h->is_range)
        json_kstr(w, "lost_by", mf_cstr(range_reason_text(h->reason)));
    json_key(w, MF_STR("parts"));
    json_begin_array(w);
    for (size_t i = 0; i < h->count; i++)
        write_part(w, h->parts[i], t->reason);
    json_end_array(w);
    if (write_retries(t->b, l, t->seq, w, e) != 0)
        return -1;
    return write_letters(t->b, l, t->seq, w, e);
}

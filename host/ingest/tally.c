/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.c - see tally.h. */
#include "ingest/tally.h"

#include "base/text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    char event[TALLY_EVENT_MAX + 1], field[TALLY_FIELD_MAX + 1];
    const char *type;
    uint64_t count;
    int64_t last_ms;
};

struct tally {
    atomic_uint holders;
    _Atomic uint64_t checked, actions[TALLY_ACTIONS], left_off, not_kept;
    pthread_mutex_t lock; /* of the rest */
    struct row rows[TALLY_ROWS_MAX];
    size_t count;
    uint64_t others;
};

struct tally *tally_new(void)
{
    struct tally *t = xcalloc(1, sizeof *t);

    atomic_init(&t->holders, 1);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

struct tally *tally_hold(struct tally *t)
{
    atomic_fetch_add(&t->holders, 1);
    return t;
}

void tally_release(struct tally *t)
{
    if (!t || atomic_fetch_sub(&t->holders, 1) != 1)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void tally_checked(struct tally *t)
{
    atomic_fetch_add_explicit(&t->checked, 1, memory_order_relaxed);
}

void tally_action(struct tally *t, enum tally_action a)
{
    atomic_fetch_add_explicit(&t->actions[a], 1, memory_order_relaxed);
}

void tally_left_off(struct tally *t, uint64_t n)
{
    atomic_fetch_add_explicit(&t->left_off, n, memory_order_relaxed);
}

void tally_not_kept(struct tally *t)
{
    atomic_fetch_add_explicit(&t->not_kept, 1, memory_order_relaxed);
}

static void put_field(struct buf *b, const struct draft7_step *path,
                      unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        if (path[i].key.ptr)
            buf_printf(b, "%s%.*s", i ? "." : "", (int)path[i].key.len,
                       path[i].key.ptr);
        else
            buf_puts(b, "[]");
    }
    if (len == 0)
        buf_puts(b, "(root)");
}

static struct row *row_of(struct tally *t, mf_str event, const char *type,
                          mf_str field)
{
    struct row *r;

    for (size_t i = 0; i < t->count; i++) {
        r = &t->rows[i];
        if (strcmp(r->type, type) == 0 && mf_eq(mf_cstr(r->field), field) &&
            mf_eq(mf_cstr(r->event), event))
            return r;
    }
    if (t->count == TALLY_ROWS_MAX)
        return NULL;
    r = &t->rows[t->count++];
    snprintf(r->event, sizeof r->event, "%.*s", (int)event.len, event.ptr);
    snprintf(r->field, sizeof r->field, "%.*s", (int)field.len, field.ptr);
    r->type = type;
    return r;
}

/* Up to the first NUL, as a row holds it. */
static mf_str as_kept(mf_str s, size_t most)
{
    const char *nul = s.len ? memchr(s.ptr, 0, s.len) : NULL;

    if (nul)
        s.len = (size_t)(nul - s.ptr);
    return s.len ? utf8_cut(s, most) : MF_STR("");
}

void tally_violation(struct tally *t, mf_str event, const char *type,
                     const struct draft7_step *path, unsigned path_len,
                     int64_t now_ms)
{
    struct buf field;
    struct row *r;

    buf_init(&field, 1u << 20);
    put_field(&field, path, path_len);
    pthread_mutex_lock(&t->lock);
    r = row_of(t, as_kept(event, TALLY_EVENT_MAX), type,
               as_kept(buf_view(&field), TALLY_FIELD_MAX));
    if (r) {
        r->count++;
        r->last_ms = now_ms;
    } else {
        t->others++;
    }
    pthread_mutex_unlock(&t->lock);
    buf_deinit(&field);
}

static void write_rows(struct tally *t, struct json_out *w)
{
    char when[TIME_TEXT];

    json_key(w, MF_STR("violations"));
    json_begin_array(w);
    for (size_t i = 0; i < t->count; i++) {
        const struct row *r = &t->rows[i];

        time_iso(r->last_ms, when);
        json_begin_object(w);
        json_kstr(w, "event", mf_cstr(r->event));
        json_kstr(w, "type", mf_cstr(r->type));
        json_kstr(w, "field", mf_cstr(r->field));
        json_kint(w, "count", (int64_t)r->count);
        json_kstr(w, "last", mf_cstr(when));
        json_end_object(w);
    }
    json_end_array(w);
    json_kint(w, "other_violations", (int64_t)t->others);
}

void tally_write(struct tally *t, struct json_out *w, mf_str about)
{
    static const char *const words[TALLY_ACTIONS] = { "allowed", "omitted",
                                                      "blocked" };

    json_key(w, MF_STR("violations"));
    json_begin_object(w);
    for (int i = 0; i < TALLY_ACTIONS; i++) {
        json_key(w, mf_cstr(words[i]));
        json_int(w, (int64_t)atomic_load(&t->actions[i]));
    }
    json_end_object(w);
    json_key(w, MF_STR("plan"));
    json_begin_object(w);
    json_kstr(w, "name", about);
    json_kint(w, "checked", (int64_t)atomic_load(&t->checked));
    json_kint(w, "not_forwarded", (int64_t)atomic_load(&t->left_off));
    json_kint(w, "blocked_not_kept", (int64_t)atomic_load(&t->not_kept));
    pthread_mutex_lock(&t->lock);
    write_rows(t, w);
    pthread_mutex_unlock(&t->lock);
    json_end_object(w);
}

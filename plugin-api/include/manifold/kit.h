/* SPDX-License-Identifier: Apache-2.0
 *
 * kit.h - small helpers over destination.h that many plugins want.
 *
 * Everything here is static inline and built only on the public functions:
 * including it adds nothing to the ABI, and a plugin may do without. Results
 * live as long as the call they were made for. */
#ifndef MANIFOLD_KIT_H
#define MANIFOLD_KIT_H

#include <manifold/destination.h>

#define KIT_ABSENT ((mf_val){ NULL, 0, MF_ABSENT })
#define KIT_NULL   ((mf_val){ "null", 4, MF_NULL })
/* Elements of an array. */
#define KIT_N(array) (sizeof(array) / sizeof *(array))

/* A setting of the destination, MF_ABSENT if it is not set. */
static inline mf_val kit_setting(const mf_call *c, const char *key)
{
    return mf_get(c, mf_meta(c, MF_META_SETTINGS), key);
}

/* The same as text, "" if it is not set. */
static inline mf_str kit_setting_text(mf_call *c, const char *key)
{
    return mf_text(c, kit_setting(c, key));
}

/* True if the host was told to turn this feature on. */
static inline uint32_t kit_feature(const mf_call *c, const char *name)
{
    return mf_truthy(c, mf_get(c, mf_meta(c, MF_META_FEATURES), name));
}

/* How the mapping is to sync: "add", "update", "upsert", "delete", "mirror",
 * or "" if it does not say. */
static inline mf_str kit_sync_mode(mf_call *c)
{
    return mf_text(c, mf_get(c, mf_meta(c, MF_META_MAPPING),
                             "__segment_internal_sync_mode"));
}

/* The JSON text of a value as it stands; "" if it is absent. */
static inline mf_str kit_raw(mf_val v)
{
    mf_str s = { v.raw, v.len };

    return s;
}

/* Text that ends in a NUL, for the functions that take a C string. */
static inline const char *kit_cstr(mf_call *c, mf_str s)
{
    return mf_join(c, &s, 1).ptr;
}

/* An integer in decimal. */
static inline mf_str kit_int(mf_call *c, int64_t n)
{
    mf_writer *w = mf_value(c);

    mf_w_int(w, NULL, n);
    return kit_raw(mf_done(w));
}

/* Without white space at its ends. */
static inline mf_str kit_trim(mf_str s)
{
    while (s.len && s.ptr[0] && strchr(" \t\r\n\f\v", s.ptr[0]))
        s.ptr++, s.len--;
    while (s.len && s.ptr[s.len - 1] &&
           strchr(" \t\r\n\f\v", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static inline int kit_starts(mf_str s, mf_str with)
{
    return s.len >= with.len && memcmp(s.ptr, with.ptr, with.len) == 0;
}

/* Where `what` begins in s, or s.len if it is not there. `what` is not "". */
static inline size_t kit_find(mf_str s, mf_str what)
{
    size_t i = 0;

    while (i + what.len <= s.len) {
        size_t left = s.len - i - what.len + 1;
        const char *p = memchr(s.ptr + i, what.ptr[0], left);

        if (!p)
            break;
        i = (size_t)(p - s.ptr);
        if (memcmp(p, what.ptr, what.len) == 0)
            return i;
        i++;
    }
    return s.len;
}

static inline int kit_has(mf_str s, mf_str what)
{
    return kit_find(s, what) < s.len;
}

static inline int kit_ok(const mf_response *a) /* 2xx */
{
    return mf_status(a) / 100 == 2;
}

/* In judge: gives all events of the request that result, and returns it. */
static inline int32_t kit_settle(mf_call *c, const mf_request *r,
                                 int32_t status, mf_str why)
{
    uint32_t event;

    for (uint32_t k = 0; (event = mf_covered(r, k)) != MF_ALL; k++)
        mf_result(c, event, status, why);
    return status;
}

/* The place of key in a table of names, or count. */
static inline size_t kit_index(mf_str key, const char *const *names,
                               size_t count)
{
    size_t i = 0;

    while (i < count && !mf_eq(key, mf_cstr(names[i])))
        i++;
    return i;
}

/* With small letters, of those that ASCII has. */
static inline mf_str kit_lower(mf_call *c, mf_str s)
{
    char *to = mf_alloc(c, s.len + 1);

    for (size_t i = 0; i < s.len; i++)
        to[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] | 32)
                                                   : s.ptr[i];
    return (mf_str){ to, s.len };
}

/* The member of exactly that name, dots and all; mf_get() takes a path. */
static inline mf_val kit_member(mf_call *c, mf_val object, mf_str name)
{
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    while (object.type == MF_OBJECT && mf_next(c, object, &it, &key, &value)) {
        if (mf_eq(key, name))
            return value;
    }
    return KIT_ABSENT;
}

/* Members of an object, elements of an array. */
static inline uint32_t kit_count(mf_call *c, mf_val v)
{
    mf_iter it = { { 0 } };
    uint32_t n = 0;

    while (mf_next(c, v, &it, NULL, NULL))
        n++;
    return n;
}

/* Members of from, but those that `names` has, and those that `over` has too,
 * whose turn comes. */
static inline void kit_w_others(mf_call *c, mf_writer *w, mf_val from,
                                const char *const *names, size_t count,
                                mf_val over)
{
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    while (from.type == MF_OBJECT && mf_next(c, from, &it, &key, &value)) {
        if (kit_index(key, names, count) < count ||
            kit_member(c, over, key).type != MF_ABSENT)
            continue;
        mf_w_key(w, key);
        mf_w_val(w, NULL, value);
    }
}

/* Members of both; where they share one, that of `over`. */
static inline mf_val kit_merge(mf_call *c, mf_val from, mf_val over)
{
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    kit_w_others(c, w, from, NULL, 0, over);
    kit_w_others(c, w, over, NULL, 0, KIT_ABSENT);
    mf_w_end(w);
    return mf_done(w);
}

/* What judge returns for the answer to a batch: if its status refuses all
 * events for good, each has the reason that the far side gives, "" if none. */
static inline int32_t kit_refuse(mf_call *c, const mf_request *r,
                                 int32_t status, mf_str why)
{
    if (status / 100 != 4 || status == 408 || status == 423 || status == 425 ||
        status == 429 || !why.len)
        return MF_OK;
    return kit_settle(c, r, status, why);
}

/* ---- records ----
 * A request whose body has an array of records, where an event may have
 * several of them and the answer names them by their place. */
typedef struct kit_records {
    mf_request *request;
    mf_writer *w;
    uint32_t count, max;
    uint32_t event_of[]; /* of each record */
} kit_records;

/* For a request that carries max records at most; w writes its body. The
 * request's tag is taken. */
static inline kit_records *kit_records_of(mf_call *c, mf_request *r,
                                          mf_writer *w, uint32_t max)
{
    kit_records *records = mf_alloc(
        c, sizeof *records + max * sizeof records->event_of[0]);

    records->request = r;
    records->w = w;
    records->max = max;
    mf_tag(r, 0, records);
    return records;
}

/* The next record is of event i. Past max it is not counted. */
static inline void kit_record(kit_records *at, uint32_t i)
{
    if (at->count == at->max)
        return;
    if (!at->count || at->event_of[at->count - 1] != i)
        mf_covers(at->request, i);
    at->event_of[at->count++] = i;
}

/* The event of the record in that place of the request, MF_ALL if the request
 * has no such record. */
static inline uint32_t kit_record_event(const mf_request *r, int64_t place)
{
    const kit_records *at;
    void *state;

    mf_step(r, &state);
    at = state;
    return place >= 0 && place < at->count ? at->event_of[place] : MF_ALL;
}

#endif

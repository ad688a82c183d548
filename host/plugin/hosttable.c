/* SPDX-License-Identifier: Apache-2.0
 *
 * hosttable.c - the functions a plugin is lent; destination.h is their
 * contract.
 *
 * Nothing here returns NULL and nothing trusts the plugin: indexes are
 * checked, and a call that wants more than it may have is left by a jump
 * back to where the plugin was called, which is sound because a plugin owns
 * nothing that would have to be given back. */
#include "plugin/inner.h"

#include "base/clock.h"
#include "base/log.h"
#include "mapping/hashing.h"
#include "mapping/membership.h"

#include <math.h>

#define LOG_TEXT_MAX 1024

_Thread_local struct arena *plugin_memory;

static const mf_val absent = { NULL, 0, MF_ABSENT };

static struct call *of(const mf_call *c)
{
    return (struct call *)(uintptr_t)c;
}

/* After anything that allocated for the plugin. */
void call_checked(struct call *c)
{
    if (c->mem->overflowed && c->may_jump)
        call_overflow(c);
}

void call_room(struct call *c, size_t size)
{
    if (size > MF_ARENA_BYTES && c->may_jump)
        call_overflow(c);
}

/* ---- call ---- */

static void *h_alloc(mf_call *pub, size_t size)
{
    struct call *c = of(pub);
    void *p;

    call_room(c, size);
    p = arena_zalloc(c->mem, size);
    call_checked(c);
    return p;
}

static mf_str h_join(mf_call *pub, const mf_str *parts, size_t n)
{
    struct call *c = of(pub);
    size_t len = 0;
    char *p, *at;

    for (size_t k = 0; k < n; k++) {
        call_room(c, parts[k].len);
        len += parts[k].len;
        call_room(c, len);
    }
    p = at = arena_alloc(c->mem, len + 1);
    call_checked(c);
    for (size_t k = 0; k < n; k++) {
        if (parts[k].len)
            memcpy(at, parts[k].ptr, parts[k].len);
        at += parts[k].len;
    }
    *at = 0;
    return (mf_str){ p, len };
}

static mf_val object_or_empty(mf_val v)
{
    return v.type == MF_OBJECT ? v : (mf_val){ "{}", 2, MF_OBJECT };
}

static mf_val h_meta(const mf_call *pub, uint32_t what)
{
    const struct call *c = of(pub);
    const struct subscription *s = c->sub;

    switch (what) {
    case MF_META_SETTINGS:
        return object_or_empty(c->instance->settings);
    case MF_META_AUTH:
        return object_or_empty(c->auth);
    case MF_META_FEATURES:
        return object_or_empty(c->instance->features);
    case MF_META_SUBSCRIPTION:
        if (c->instance->metadata.type == MF_OBJECT)
            return c->instance->metadata;
        return object_or_empty(s ? s->json : absent);
    case MF_META_MAPPING:
        return object_or_empty(s ? s->mapping_json : absent);
    default:
        return absent;
    }
}

static int64_t h_now(const mf_call *c)
{
    return of(c)->now;
}

static int64_t h_deadline(const mf_call *c)
{
    return of(c)->deadline;
}

/* The key of the stream: the destination and the set of the events at hand,
 * whatever their order. */
static void seed(struct call *c)
{
    unsigned char sum[2 * HASH_BYTES_MAX] = { 0 }, one[HASH_BYTES_MAX];
    unsigned carry;
    mf_str id;

    for (uint32_t k = 0; k < c->scope.count; k++) {
        const struct call_event *e = c->events[c->scope.base + k];

        id = json_text(json_get(e->event, MF_STR("messageId")), &c->in);
        if (id.len == 0)
            id = (mf_str){ e->event.raw, e->event.len };
        hash_bytes(HASH_SHA256, id, one);
        carry = 0;
        for (unsigned b = 0; b < 32; b++) {
            carry += sum[b] + one[b];
            sum[b] = (unsigned char)carry;
            carry >>= 8;
        }
    }
    hash_bytes(HASH_SHA256, mf_cstr(c->instance->name), sum + 32);
    hash_bytes(HASH_SHA256, (mf_str){ (char *)sum, 64 }, one);
    memcpy(c->seed, one, sizeof c->seed);
    c->seeded = true;
    c->seed_base = c->scope.base;
    c->block_left = 0;
}

static void next_block(struct call *c)
{
    unsigned char in[sizeof c->seed + 8], out[HASH_BYTES_MAX];
    uint64_t n = c->scope.count ? c->events[c->scope.base]->drawn++
                                : c->drawn++;

    memcpy(in, c->seed, sizeof c->seed);
    for (unsigned b = 0; b < 8; b++)
        in[sizeof c->seed + b] = (unsigned char)(n >> (8 * b));
    hash_bytes(HASH_SHA256, (mf_str){ (char *)in, sizeof in }, out);
    memcpy(c->block, out, sizeof c->block);
    c->block_left = sizeof c->block;
}

static void h_chance(mf_call *pub, void *to, size_t n)
{
    struct call *c = of(pub);
    unsigned char *p = to;

    if (!c->seeded || c->seed_base != c->scope.base)
        seed(c);
    for (; n; n--) {
        if (c->block_left == 0)
            next_block(c);
        *p++ = c->block[sizeof c->block - c->block_left--];
    }
}

static mf_str h_uuid(mf_call *pub)
{
    struct call *c = of(pub);
    struct instance *i = c->instance;
    unsigned char b[16];
    mf_str s;

    if (i->fixed && i->uuid_counter) {
        s = arena_printf(c->mem, "00000000-0000-4000-8000-%012llu",
                         (unsigned long long)(*i->uuid_counter)++);
    } else {
        h_chance(pub, b, sizeof b);
        b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
        b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
        s = arena_printf(c->mem,
                         "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
                         "%02x%02x%02x%02x%02x%02x",
                         b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8],
                         b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    }
    call_checked(c);
    return s;
}

static void h_log(mf_call *pub, int32_t level, mf_str message)
{
    struct call *c = of(pub);
    int len = (int)(message.len < LOG_TEXT_MAX ? message.len : LOG_TEXT_MAX);
    enum log_level l = level <= MF_LOG_ERROR     ? LOG_L_ERROR
                       : level <= MF_LOG_WARNING ? LOG_L_WARN
                       : level <= MF_LOG_INFO    ? LOG_L_INFO
                                                 : LOG_L_DEBUG;

    log_at(l, "%s: %.*s", c->instance->name, len,
           message.ptr ? message.ptr : "");
}

static const mf_action *h_action(const mf_call *pub)
{
    const struct call *c = of(pub);

    return c->sub ? c->sub->code : NULL;
}

/* ---- event and payload ---- */

static mf_val h_event(const mf_event *e)
{
    return ((const struct call_event *)e)->event;
}

static mf_val h_payload(const mf_event *e)
{
    return ((const struct call_event *)e)->payload;
}

static mf_val h_field(const mf_event *pub, uint32_t path)
{
    struct call_event *e = (struct call_event *)(uintptr_t)pub;
    struct call *c = e->call;

    if (!c->sub || !c->sub->paths)
        return absent;
    if (!e->fields)
        e->fields = path_tree_read(c->sub->paths, e->payload, &c->in);
    return path_tree_get(c->sub->paths, e->fields, path);
}

static int32_t h_membership(const mf_event *pub)
{
    const struct call_event *e = (const struct call_event *)pub;
    struct call *c = e->call;
    mf_str none = { "", 0 };

    switch (membership_of(e->event, c->sub ? c->sub->sync_mode : none,
                          c->instance->features, &c->in)) {
    case MEMBERSHIP_IN:
        return 1;
    case MEMBERSHIP_OUT:
        return 0;
    default:
        return -1;
    }
}

static mf_str h_source(const mf_event *e)
{
    mf_str s = ((const struct call_event *)e)->source;

    return s.ptr ? s : (mf_str){ "", 0 };
}

/* ---- values ---- */

/* There is no call here to take memory from: the one that runs is meant. */
static mf_val h_get(mf_val v, mf_str path)
{
    ASSERT(plugin_memory);
    return path_get_dollar(v, path, plugin_memory);
}

static uint32_t h_next(mf_call *pub, mf_val v, mf_iter *it, mf_str *key,
                       mf_val *value)
{
    struct call *c = of(pub);
    mf_str raw;
    mf_val one;

    if (!json_next(v, it, &raw, &one))
        return 0;
    if (key) {
        *key = raw.ptr ? json_unescape(raw, c->mem) : (mf_str){ "", 0 };
        call_checked(c);
    }
    if (value)
        *value = one;
    return 1;
}

static bool is_plain_integer(mf_val v)
{
    uint32_t k = v.raw[0] == '-';

    for (; k < v.len; k++)
        if (v.raw[k] < '0' || v.raw[k] > '9')
            return false;
    return !(v.len == 2 && v.raw[0] == '-' && v.raw[1] == '0');
}

static mf_str h_text(mf_call *pub, mf_val v)
{
    struct call *c = of(pub);
    char text[NUMBER_TEXT];
    mf_str s = { v.raw, v.len };

    switch (v.type) {
    case MF_ABSENT:
    case MF_NULL:
        return (mf_str){ "", 0 };
    case MF_STRING:
        s = json_text(v, c->mem);
        break;
    case MF_NUMBER: /* long ids keep all their digits */
        if (is_plain_integer(v))
            break;
        s = (mf_str){ text, number_text(json_number(v, 0), text) };
        s = arena_copy(c->mem, s);
        break;
    default:
        break;
    }
    call_checked(c);
    return s;
}

static int64_t h_integer(mf_val v, int64_t otherwise)
{
    int64_t n;

    return json_integer(v, &n) ? n : otherwise;
}

static double h_number(mf_val v, double otherwise)
{
    return json_number(v, otherwise);
}

static mf_val h_parse(mf_call *c, mf_str json)
{
    (void)c;
    return json_check(json, JSON_DEPTH_MAX, NULL) == 0 ? json_root(json)
                                                       : absent;
}

static mf_str h_stringify(mf_call *pub, mf_val v)
{
    struct call *c = of(pub);

    if (v.type == MF_ABSENT)
        return (mf_str){ "", 0 };
    v = js_stringify(v, c->mem);
    call_checked(c);
    return (mf_str){ v.raw, v.len };
}

static int64_t h_time_of(mf_val v, int64_t otherwise)
{
    double n;
    int64_t ms;

    if (v.type == MF_STRING && v.len >= 2)
        return time_parse((mf_str){ v.raw + 1, v.len - 2 }, &ms) ? ms
                                                                 : otherwise;
    if (v.type != MF_NUMBER)
        return otherwise;
    n = json_number(v, NAN);
    if (!isfinite(n) || fabs(n) > 8.64e15)
        return otherwise;
    return (int64_t)(fabs(n) < 1e11 ? n * 1000 : n);
}

static mf_str h_iso(mf_call *pub, int64_t ms)
{
    struct call *c = of(pub);
    char text[TIME_TEXT];
    mf_str s;

    time_iso(ms, text);
    s = arena_copy(c->mem, mf_cstr(text));
    call_checked(c);
    return s;
}

/* ---- answers ---- */

static int32_t h_status(const mf_response *a)
{
    return ((const struct answer *)a)->a.status;
}

static uint32_t h_failure(const mf_response *a)
{
    return ((const struct answer *)a)->a.failure;
}

static mf_str h_answer_header(const mf_response *pub, const char *name)
{
    const struct call_answer *a = &((const struct answer *)pub)->a;

    for (size_t k = 0; k < a->header_count; k++)
        if (str_ieq(a->headers[k].name, mf_cstr(name)))
            return a->headers[k].value;
    return (mf_str){ "", 0 };
}

static mf_val h_answer_json(const mf_response *pub)
{
    struct answer *a = (struct answer *)(uintptr_t)pub;

    if (!a->parsed) {
        a->parsed = true;
        a->json = a->a.body.len ? h_parse(&a->call->pub, a->a.body) : absent;
    }
    return a->json;
}

/* Judge runs: the request is the one whose answer it has. What was kept is not
 * kept for longer by being kept again. */
static void h_keep(const mf_response *pub, int64_t ms)
{
    const struct answer *a = (const struct answer *)pub;
    const struct request *r = a->call->answered;

    if (r && (ms <= 0 || !r->given))
        kept_put(a->call->instance, r, &a->a, ms);
}

static mf_str h_answer_bytes(const mf_response *a)
{
    mf_str s = ((const struct answer *)a)->a.body;

    return s.ptr ? s : (mf_str){ "", 0 };
}

/* ---- settling ---- */

static void h_result(mf_call *pub, uint32_t index, int32_t status,
                     mf_str message)
{
    struct call *c = of(pub);

    if (index != MF_ALL && index >= c->scope.count) {
        c->fault = "mf_result() of an event that the call has not";
        return;
    }
    if (index != MF_ALL) {
        call_settle(c, c->scope.base + index, status, message);
        return;
    }
    for (uint32_t k = 0; k < c->scope.count; k++)
        call_settle(c, c->scope.base + k, status, message);
}

static int32_t h_fail(mf_call *pub, int32_t status, mf_str message)
{
    struct call *c = of(pub);

    if (status < 100 && status != MF_SKIP)
        status = 500;
    if (!c->failed) {
        c->failed = status;
        c->failed_message = arena_copy(&c->in, message);
    }
    h_result(pub, MF_ALL, status, message);
    return status;
}

static void h_retry_after(mf_call *pub, int64_t ms)
{
    struct call *c = of(pub);

    if (ms <= 0)
        return;
    c->retry_after_ms = ms;
    for (uint32_t k = 0; k < c->scope.count; k++) {
        struct call_event *e = c->events[c->scope.base + k];

        if (e->settled && !e->result.retry_after_ms &&
            status_retryable(e->result.status))
            e->result.retry_after_ms = ms;
    }
}

const mf_host host_table = {
    .size = sizeof(mf_host),
    .abi_minor = MF_ABI_MINOR,
    .alloc = h_alloc,
    .join = h_join,
    .meta = h_meta,
    .now = h_now,
    .deadline = h_deadline,
    .chance = h_chance,
    .uuid = h_uuid,
    .log = h_log,
    .action = h_action,
    .event = h_event,
    .payload = h_payload,
    .field = h_field,
    .membership = h_membership,
    .get = h_get,
    .next = h_next,
    .text = h_text,
    .integer = h_integer,
    .number = h_number,
    .parse = h_parse,
    .stringify = h_stringify,
    .time_of = h_time_of,
    .iso = h_iso,
    .value = h_value,
    .done = h_done,
    .w_object = h_w_object,
    .w_array = h_w_array,
    .w_end = h_w_end,
    .w_key = h_w_key,
    .w_val = h_w_val,
    .w_str = h_w_str,
    .w_int = h_w_int,
    .w_num = h_w_num,
    .w_bool = h_w_bool,
    .w_raw = h_w_raw,
    .request = h_request,
    .header = h_header,
    .query = h_query,
    .body = h_body,
    .body_text = h_body_text,
    .form = h_form,
    .covers = h_covers,
    .covered = h_covered,
    .option = h_option,
    .tag = h_tag,
    .step = h_step,
    .status = h_status,
    .failure = h_failure,
    .answer_header = h_answer_header,
    .answer_json = h_answer_json,
    .answer_bytes = h_answer_bytes,
    .result = h_result,
    .fail = h_fail,
    .retry_after = h_retry_after,
    .digest = h_digest,
    .hmac = h_hmac,
    .encode = h_encode,
    .decode = h_decode,
    .smart_hash = h_smart_hash,
    .keep = h_keep,
    .source = h_source,
    .exchange = h_exchange,
};

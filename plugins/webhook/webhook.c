/* SPDX-License-Identifier: Apache-2.0
 *
 * webhook.c - what is mapped goes to any URL as JSON, signed if wanted.
 *
 * One event is sent as `data`, a batch as an array of them. Two signatures can
 * be had at a time: x-signature, the hex HMAC-SHA1 of the body (of a batch's
 * first element only, as Segment does), and Standard Webhooks 1.0.0, which
 * covers an id, the time and the whole body. */
#include <manifold/kit.h>

struct webhook {
    mf_str standard_key; /* "" when Standard Webhooks is off */
};

enum { URL, METHOD, HEADERS, DATA };
static const char *const paths[] = { "url", "method", "headers", "data" };

static void *create(mf_call *c)
{
    struct webhook *hook = mf_alloc(c, sizeof *hook);
    mf_str secret = kit_setting_text(c, "standardWebhooksSecret");

    if (!secret.len)
        return hook;
    if (kit_starts(secret, MF_STR("whsec_"))) {
        secret.ptr += 6;
        secret.len -= 6;
    }
    hook->standard_key = mf_decode(c, MF_BASE64, secret);
    if (!hook->standard_key.len) {
        mf_fail(c, MF_INVALID, MF_STR("standardWebhooksSecret is not base64: "
                                      "write it as whsec_ and the base64 of "
                                      "24 to 64 bytes"));
        return NULL;
    }
    return hook;
}

/* The id stays the same when the same events are sent again. */
static void standard_headers(mf_call *c, mf_request *r, mf_str key, mf_str body)
{
    mf_str id = MF_JOIN(c, MF_STR("msg_"), mf_uuid(c));
    mf_str time = kit_int(c, mf_now(c) / 1000);
    mf_str signature =
        mf_hmac(c, MF_SHA256, key,
                MF_JOIN(c, id, MF_STR("."), time, MF_STR("."), body));

    mf_header(r, "webhook-id", id);
    mf_header(r, "webhook-timestamp", time);
    mf_header(r, "webhook-signature",
              MF_JOIN(c, MF_STR("v1,"), mf_encode(c, MF_BASE64, signature)));
}

/* first tells where to send, for a batch too: url, method and headers are its
 * batch keys. part is what x-signature covers. */
static int32_t send(const struct webhook *hook, mf_call *c,
                    const mf_event *first, mf_str body, mf_str part)
{
    mf_str secret = kit_setting_text(c, "sharedSecret"), name;
    const char *method = kit_cstr(c, mf_text(c, mf_field(first, METHOD)));
    mf_request *r = mf_send(c, method, mf_text(c, mf_field(first, URL)));
    mf_iter it = { { 0 } };
    mf_val value;

    if (body.len)
        mf_body_text(r, "application/json", body);
    while (mf_next(c, mf_field(first, HEADERS), &it, &name, &value)) {
        if (mf_given(value))
            mf_header(r, kit_cstr(c, name), mf_text(c, value));
    }
    if (secret.len)
        mf_header(r, "x-signature",
                  mf_encode(c, MF_HEX, mf_hmac(c, MF_SHA1, secret, part)));
    if (hook->standard_key.len)
        standard_headers(c, r, hook->standard_key, body);
    return MF_OK;
}

static int32_t one(const void *self, mf_call *c, const mf_event *event)
{
    mf_str body = mf_stringify(c, mf_field(event, DATA));

    return send(self, c, event, body, body);
}

static int32_t batch(const void *self, mf_call *c,
                     const mf_event *const *events, uint32_t n)
{
    mf_str *parts = mf_alloc(c, (2 * n + 1) * sizeof *parts);

    for (uint32_t i = 0; i < n; i++) {
        mf_str data = mf_stringify(c, mf_field(events[i], DATA));

        parts[2 * i] = i ? MF_STR(",") : MF_STR("[");
        parts[2 * i + 1] = data.len ? data : MF_STR("null");
    }
    parts[2 * n] = MF_STR("]");
    return send(self, c, events[0], mf_join(c, parts, 2 * n + 1), parts[1]);
}

static const mf_action actions[] = {
    { .slug = "send", .paths = paths, .path_count = 4,
      .perform = one, .perform_batch = batch },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = 1, .create = create,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * testplugin.h - a plugin that tests are compiled with: each action is one
 * way a plugin can behave, well or badly. Included by tests alone. */
#ifndef PLUGIN_TESTPLUGIN_H
#define PLUGIN_TESTPLUGIN_H

#include "plugin/instance.h"

#include <stdio.h>
#include <stdlib.h>

#define API "https://api.acme.example"

static const char test_manifest[] =
    "{\"slug\":\"acme\",\"name\":\"Acme\",\"version\":\"1.0.0\","
    "\"docs\":\"https://docs.acme.example\",\"kind\":\"http\","
    "\"integrations_names\":[\"Acme Audience\"],"
    "\"hosts\":[\"api.acme.example\",\"*.eu.acme.example\",\"{host}\","
    "\"{region}.acme.example\"],"
    "\"auth\":{\"scheme\":\"basic\",\"username\":"
    "{\"@path\":\"$.settings.key\"},\"password\":\"\"},"
    "\"headers\":{\"x-version\":\"2\",\"x-key\":"
    "{\"@path\":\"$.settings.key\"}},"
    "\"settings\":["
    "{\"key\":\"key\",\"label\":\"Key\",\"type\":\"string\","
    "\"description\":\"The key.\"},"
    "{\"key\":\"host\",\"label\":\"Host\",\"type\":\"string\","
    "\"description\":\"The host.\"},"
    "{\"key\":\"region\",\"label\":\"Region\",\"type\":\"string\","
    "\"description\":\"The region.\",\"default\":\"us\"}],"
    "\"actions\":["
#define ACTION(slug, more)                                                     \
    "{\"slug\":\"" slug "\",\"title\":\"" slug "\","                           \
    "\"description\":\"" slug "\","                                            \
    "\"fields\":[{\"key\":\"id\",\"label\":\"Id\",\"type\":\"string\","        \
    "\"description\":\"The id.\",\"default\":{\"@path\":\"$.userId\"}},"       \
    "{\"key\":\"n\",\"label\":\"N\",\"type\":\"integer\","                     \
    "\"description\":\"A number.\"}]" more "}"
    ACTION("one", "") ","
    ACTION("steps", "") ","
    ACTION("batch", ",\"batch\":{\"size\":10,\"bytes\":4000,\"keys\":[\"n\"],"
                    "\"default\":true},\"serialize_by\":\"id\"") ","
    ACTION("halves", ",\"batch\":{\"size\":10}") ","
    ACTION("lost", "") ","
    ACTION("greedy", "") ","
    ACTION("flood", "") ","
    ACTION("fails", "") ","
    ACTION("skips", "") ","
    ACTION("chance", "") ","
    ACTION("elsewhere", "") ","
    ACTION("header", "") ","
    ACTION("url", "") ","
    ACTION("shrugs", "") ","
    ACTION("unfinished", "") ","
    ACTION("declared", ",\"request\":{\"method\":\"POST\","
                       "\"url\":\"" API "/d\",\"query\":"
                       "{\"k\":{\"@path\":\"$.settings.key\"}},\"body\":"
                       "{\"@path\":\"$.payload\"}}") ","
    ACTION("form", ",\"request\":{\"method\":\"PUT\",\"url\":\"" API "/f\","
                   "\"form\":{\"a b\":{\"@path\":\"$.payload.id\"}}}")
    "],"
    "\"presets\":["
    "{\"name\":\"Track\",\"action\":\"one\",\"subscribe\":"
    "\"type = \\\"track\\\"\",\"type\":\"automatic\","
    "\"mapping\":{\"id\":{\"@path\":\"$.userId\"}}},"
    "{\"name\":\"Paid\",\"action\":\"declared\",\"subscribe\":"
    "\"event = \\\"Paid\\\"\",\"type\":\"automatic\","
    "\"mapping\":{\"id\":{\"@path\":\"$.userId\"}}},"
    "{\"name\":\"Never\",\"action\":\"lost\",\"subscribe\":"
    "\"type = \\\"track\\\"\",\"type\":\"specificEvent\",\"mapping\":{}}]}";
#undef ACTION

static const char *const test_paths[] = { "id", "n" };

static mf_str field_text(mf_call *c, const mf_event *e)
{
    return mf_text(c, mf_field(e, 0));
}

static void write_id(mf_call *c, mf_writer *w, const mf_event *e)
{
    mf_w_object(w, NULL);
    mf_w_str(w, "id", field_text(c, e));
    mf_w_end(w);
}

static int32_t one_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    write_id(c, mf_json_body(mf_send(c, "POST", MF_STR(API "/one"))), e);
    return MF_OK;
}

static int32_t steps_perform(const void *self, mf_call *c, const mf_event *e)
{
    mf_request *r = mf_send(c, "GET", MF_STR(API "/find"));

    (void)self;
    mf_query(r, "id", field_text(c, e));
    mf_tag(r, 1, (void *)(uintptr_t)e);
    return MF_OK;
}

static int32_t steps_judge(const void *self, mf_call *c, const mf_request *r,
                           const mf_response *a)
{
    mf_val keep = mf_get(c, mf_answer_json(a), "keep");
    void *state;

    (void)self;
    if (mf_given(keep))
        mf_keep(a, mf_integer(c, keep, 0));
    if (mf_step(r, &state) != 1 || mf_status(a) / 100 != 2)
        return MF_OK;
    if (mf_get(c, mf_answer_json(a), "gone").type == MF_BOOL)
        return mf_fail(c, 410, MF_STR("gone"));
    write_id(c, mf_json_body(mf_send(c, "PUT", MF_STR(API "/put"))),
             (const mf_event *)state);
    return MF_CONTINUE;
}

static int32_t batch_perform(const void *self, mf_call *c,
                             const mf_event *const *e, uint32_t n)
{
    mf_request *r = mf_send(c, "POST", MF_STR(API "/batch"));
    mf_writer *w = mf_json_body(r);

    (void)self;
    mf_w_array(w, NULL);
    for (uint32_t k = 0; k < n; k++) {
        if (!mf_given(mf_field(e[k], 0))) {
            mf_result(c, k, MF_INVALID, MF_STR("no id"));
            continue;
        }
        write_id(c, w, e[k]);
        mf_covers(r, k);
    }
    mf_w_end(w);
    return MF_OK;
}

static int32_t batch_judge(const void *self, mf_call *c, const mf_request *r,
                           const mf_response *a)
{
    mf_val bad = mf_get(c, mf_answer_json(a), "bad"), v;
    mf_iter it = { { 0 } };
    mf_str key;

    (void)self;
    while (mf_next(c, bad, &it, &key, &v))
        mf_result(c, mf_covered(r, (uint32_t)mf_integer(c, v, 0)), 422,
                  MF_STR("bad"));
    return MF_OK;
}

static int32_t halves_perform(const void *self, mf_call *c,
                              const mf_event *const *e, uint32_t n)
{
    mf_request *r = NULL;

    (void)self;
    (void)e;
    for (uint32_t k = 0; k < n; k++) {
        if (k == 0 || k == n / 2)
            r = mf_send(c, "POST", k ? MF_STR(API "/2") : MF_STR(API "/1"));
        mf_covers(r, k);
    }
    return MF_OK;
}

static int32_t lost_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)c;
    (void)e;
    return MF_OK;
}

static int32_t greedy_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    mf_send(c, "POST", MF_STR(API "/greedy"));
    for (uint64_t k = 0; k < MF_ARENA_BYTES; k++)
        *(volatile char *)mf_alloc(c, 100000) = 1;
    return MF_OK;
}

static int32_t flood_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    for (uint32_t k = 0; k <= MF_REQUESTS_MAX; k++)
        mf_send(c, "POST", MF_STR(API "/flood"));
    return MF_OK;
}

static int32_t fails_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    mf_send(c, "POST", MF_STR(API "/never"));
    mf_retry_after(c, 5000);
    return mf_fail(c, 429, MF_STR("slow down"));
}

static int32_t skips_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)c;
    (void)e;
    return MF_SKIP;
}

static int32_t chance_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    mf_send(c, "GET", MF_JOIN(c, MF_STR(API "/"), mf_uuid(c), MF_STR("/"),
                              mf_uuid(c)));
    return MF_OK;
}

static int32_t elsewhere_perform(const void *self, mf_call *c,
                                 const mf_event *e)
{
    (void)self;
    mf_send(c, "GET", MF_JOIN(c, MF_STR("https://"), field_text(c, e),
                              MF_STR("/x")));
    return MF_OK;
}

static int32_t header_perform(const void *self, mf_call *c, const mf_event *e)
{
    mf_request *r = mf_send(c, "GET", MF_STR(API "/h"));

    (void)self;
    mf_header(r, "X-Version", MF_STR("3"));
    mf_header(r, "x-id", field_text(c, e));
    return MF_OK;
}

static int32_t url_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    mf_send(c, "GET", field_text(c, e));
    return MF_OK;
}

static int32_t shrugs_perform(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    (void)e;
    mf_send(c, "GET", MF_STR(API "/1"));
    mf_send(c, "GET", MF_STR(API "/2"));
    return MF_OK;
}

/* Leaves it to the other request, unless told by the status. */
static int32_t shrugs_judge(const void *self, mf_call *c, const mf_request *r,
                            const mf_response *a)
{
    (void)self;
    (void)c;
    (void)r;
    return mf_status(a) == 204 ? MF_OK : MF_CONTINUE;
}

static int32_t unfinished_perform(const void *self, mf_call *c,
                                  const mf_event *e)
{
    mf_writer *w = mf_json_body(mf_send(c, "POST", MF_STR(API "/u")));

    (void)self;
    (void)e;
    mf_w_object(w, NULL);
    return MF_OK;
}

static int32_t refresh_perform(const void *self, mf_call *c,
                               const mf_event *e)
{
    mf_request *r = mf_send(c, "POST", MF_STR(API "/token"));
    mf_val auth = mf_meta(c, MF_META_AUTH);

    (void)self;
    (void)e;
    mf_option(r, MF_OPT_NO_AUTH, 1);
    mf_form(r, "refresh_token", mf_text(c, mf_get(c, auth, "refreshToken")));
    return MF_OK;
}

/* The vendor's own word for it, beside the standard one. */
static int32_t refresh_judge(const void *self, mf_call *c, const mf_request *r,
                             const mf_response *a)
{
    mf_val token = mf_get(c, mf_answer_json(a), "ticket");

    (void)self;
    (void)r;
    if (mf_given(token))
        mf_result(c, 0, 200, MF_JOIN(c, MF_STR("{\"accessToken\":"),
                                     mf_stringify(c, token), MF_STR("}")));
    return MF_OK;
}

static int32_t delete_perform(const void *self, mf_call *c, const mf_event *e)
{
    mf_str id = mf_text(c, mf_get(c, mf_payload(e), "userId"));

    (void)self;
    mf_send(c, "DELETE", MF_JOIN(c, MF_STR(API "/users/"), id));
    return MF_OK;
}

#define CODE(name, ...)                                                        \
    { .slug = name, .paths = test_paths, .path_count = 2, __VA_ARGS__ }

static const mf_action test_actions[] = {
    CODE("one", .perform = one_perform),
    CODE("steps", .perform = steps_perform, .judge = steps_judge),
    CODE("batch", .perform_batch = batch_perform, .judge = batch_judge),
    CODE("halves", .perform_batch = halves_perform),
    CODE("lost", .perform = lost_perform),
    CODE("greedy", .perform = greedy_perform),
    CODE("flood", .perform = flood_perform),
    CODE("fails", .perform = fails_perform),
    CODE("skips", .perform = skips_perform),
    CODE("chance", .perform = chance_perform),
    CODE("elsewhere", .perform = elsewhere_perform),
    CODE("header", .perform = header_perform),
    CODE("url", .perform = url_perform),
    CODE("shrugs", .perform = shrugs_perform, .judge = shrugs_judge),
    CODE("unfinished", .perform = unfinished_perform),
    CODE("refreshAccessToken", .perform = refresh_perform,
         .judge = refresh_judge),
    CODE("onDelete", .perform = delete_perform),
};

static void *test_create(mf_call *c)
{
    mf_str key = mf_text(c, mf_get(c, mf_meta(c, MF_META_SETTINGS), "key"));

    if (mf_eq(key, MF_STR("bad"))) {
        mf_fail(c, MF_INVALID, MF_STR("the key is bad"));
        return NULL;
    }
    return mf_alloc(c, 64);
}

static const mf_destination test_code = {
    MF_HEADER, .actions = test_actions,
    .action_count = sizeof test_actions / sizeof *test_actions,
    .create = test_create,
};

static void test_plugin_open(struct plugin *p)
{
    struct err e = { "" };

    p->manifest = manifest_parse(xstrdup(test_manifest),
                                 sizeof test_manifest - 1, "test", &e);
    if (!p->manifest) {
        fputs(e.text, stderr);
        abort();
    }
    p->code = &test_code;
}

#endif

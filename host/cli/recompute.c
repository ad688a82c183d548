/* SPDX-License-Identifier: Apache-2.0
 *
 * recompute.c - see recompute.h. Every text is cleaned of secrets before it
 * leaves the process, and headers that carry credentials are not shown. */
#include "cli/recompute.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/redact.h"
#include "base/text.h"
#include "ipc/jail.h"
#include "plugin/image.h"
#include "plugin/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENA_BYTES  (64u << 20)
#define REQUESTS_MAX 16 /* of one subscription that are shown */

struct work {
    const struct recompute *in;
    struct plugin *plugin;
    struct instance *instance;
    struct redact *secrets;
    struct arena arena;
    struct buf out, clean;
    struct json_out w;
};

static void add_text(struct work *k, const char *key, mf_str text)
{
    buf_clear(&k->clean);
    buf_str(&k->clean, text);
    redact_buf(k->secrets, &k->clean, 0);
    json_key(&k->w, mf_cstr(key));
    json_str(&k->w, buf_view(&k->clean));
}

/* ---- secrets ---- */

static void know_secrets(struct work *k)
{
    const char *const *keys = k->plugin->manifest->secret_settings;
    mf_val settings = json_get(k->in->spec, MF_STR("settings")), v;
    mf_iter it = { { 0 } };
    mf_str key;

    k->secrets = redact_new();
    while (json_next(k->in->secrets, &it, &key, &v))
        redact_add(k->secrets, json_text(v, &k->arena));
    for (; keys && *keys; keys++)
        redact_add(k->secrets, json_text(json_get(settings, mf_cstr(*keys)),
                                         &k->arena));
}

static bool is_secret_header(mf_str name)
{
    static const char *const words[] = { "authorization", "cookie", "api-key",
                                         "apikey", "token", "secret",
                                         "signature" };
    char low[128];
    size_t n = name.len < sizeof low - 1 ? name.len : sizeof low - 1;

    for (size_t i = 0; i < n; i++)
        low[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z'
                     ? (char)(name.ptr[i] | 0x20)
                     : name.ptr[i];
    low[n] = 0;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strstr(low, words[i]))
            return true;
    return false;
}

/* ---- requests ---- */

static void write_request(struct work *k, const struct call_request *r)
{
    struct json_out *w = &k->w;

    json_begin_object(w);
    add_text(k, "method", mf_cstr(r->method));
    add_text(k, "url", r->real_url);
    json_key(w, MF_STR("headers"));
    json_begin_object(w);
    for (size_t i = 0; i < r->header_count; i++) {
        char *name = xstrndup(r->headers[i].name.ptr, r->headers[i].name.len);

        add_text(k, name, is_secret_header(r->headers[i].name)
                              ? MF_STR(REDACT_MARK)
                              : r->headers[i].value);
        free(name);
    }
    json_end_object(w);
    if (r->has_body)
        add_text(k, "body", utf8_valid(r->body.ptr ? r->body.ptr : "",
                                       r->body.len)
                                ? r->body
                                : MF_STR("(bytes)"));
    json_end_object(w);
}

/* Every request is answered with 200 {}. */
static void write_requests(struct work *k, unsigned sub, mf_val payload)
{
    static const struct call_header type = { { "content-type", 12 },
                                             { "application/json", 16 } };
    struct call_answer a = { .status = 200, .headers = &type,
                             .header_count = 1, .body = MF_STR("{}") };
    struct call *c = call_new(k->instance, sub);
    const struct call_request *r;
    unsigned shown = 0;

    call_batch(c, instance_batch_size(k->instance, sub) > 1);
    call_add(c, json_root(k->in->event), payload);
    call_start(c);
    json_key(&k->w, MF_STR("requests"));
    json_begin_array(&k->w);
    while ((r = call_next(c))) {
        if (shown++ < REQUESTS_MAX)
            write_request(k, r);
        call_answer(c, r->id, &a);
    }
    json_end_array(&k->w);
    if (call_result(c, 0)->status >= 300)
        add_text(k, "error", call_result(c, 0)->message);
    call_free(c);
}

static void write_made(struct work *k, unsigned sub)
{
    bool batch = instance_batch_size(k->instance, sub) > 1;
    struct err e = { "" };
    mf_val payload = instance_map(k->instance, sub, json_root(k->in->event),
                                  batch, &k->arena, &e);

    if (payload.type == MF_ABSENT)
        add_text(k, "error", mf_cstr(e.text));
    else if (k->plugin->manifest->kind == PLUGIN_NATIVE)
        add_text(k, "payload", (mf_str){ payload.raw, payload.len });
    else
        write_requests(k, sub, payload);
}

/* ---- the answer ---- */

static void write_subscriptions(struct work *k, const uint8_t *subs, size_t n)
{
    struct json_out *w = &k->w;

    json_key(w, MF_STR("subscriptions"));
    json_begin_array(w);
    for (unsigned i = 0; i < instance_subscriptions(k->instance); i++) {
        mf_str name = instance_subscription_name(k->instance, i);
        bool matches = memchr(subs, (int)i, n) != NULL;

        json_begin_object(w);
        /* As the worker names it, see subscription_key() there. */
        json_kint(w, "subscription", crc32c(0, name.ptr, name.len));
        add_text(k, "name", name);
        json_kstr(w, "action",
                  mf_cstr(instance_action(k->instance, i)->slug));
        json_kbool(w, "matches", matches);
        if (matches)
            write_made(k, i);
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_plugin(struct work *k)
{
    json_kstr(&k->w, "plugin", mf_cstr(k->plugin->manifest->slug));
    json_kstr(&k->w, "plugin_version", mf_cstr(k->plugin->manifest->version));
    json_kstr(&k->w, "plugin_hash", mf_cstr(k->plugin->hash));
}

static void write_all(struct work *k)
{
    mf_val spec = k->in->spec;
    uint64_t uuids = 1;
    struct instance_config c = {
        .name = arena_copy(&k->arena,
                           json_text(json_get(spec, MF_STR("name")),
                                     &k->arena)).ptr,
        .settings = json_get(spec, MF_STR("settings")),
        .subscriptions = json_get(spec, MF_STR("subscriptions")),
        .filter = json_text(json_get(spec, MF_STR("filter")), &k->arena),
        .endpoint = json_text(json_get(spec, MF_STR("endpoint")), &k->arena),
        .lenient = true,
        .fixed = true,
        .now = k->in->now,
        .uuid_counter = &uuids,
    };
    uint8_t subs[SUBSCRIPTIONS_MAX];
    struct instance_fault fault;
    enum select_reason why;
    size_t n;

    write_plugin(k);
    k->instance = instance_new(k->plugin, &c, &fault);
    if (!k->instance) {
        add_text(k, "error", mf_cstr(fault.err.text));
        return;
    }
    why = instance_select(k->instance, json_root(k->in->event), subs, &n,
                          &k->arena);
    json_kstr(&k->w, "select", mf_cstr(select_reason_text(why)));
    if (why == SELECT_FILTER)
        add_text(k, "filter", c.filter);
    write_subscriptions(k, subs, n);
}

/* ---- the process ---- */

static struct plugin *load(const struct recompute *in, pid_t parent,
                           struct err *e)
{
    int fd = io.openat(AT_FDCWD, in->plugin_file, O_RDONLY | O_CLOEXEC, 0);
    struct image image;
    struct plugin *p;

    if (fd < 0) {
        err_sys(e, "%s cannot be opened", in->plugin_file);
        return NULL;
    }
    if (image_read_fd(fd, in->plugin_file, &image, e) != 0 ||
        jail_child(in->uid, in->gid, parent, e) != 0 || jail_worker(e) != 0)
        return NULL;
    p = plugin_load(fd, image.manifest, image.manifest_len, image.hash, e);
    image_free(&image);
    return p;
}

static void child(const struct recompute *in, int to, pid_t parent)
{
    struct work k = { .in = in };
    struct err e = { "" };

    alarm(RECOMPUTE_SECONDS);
    arena_init(&k.arena, ARENA_BYTES);
    buf_init(&k.out, RECOMPUTE_BYTES);
    buf_init(&k.clean, RECOMPUTE_BYTES);
    json_out_init(&k.w, &k.out);
    json_begin_object(&k.w);
    k.plugin = load(in, parent, &e);
    if (k.plugin) {
        know_secrets(&k);
        write_all(&k);
    } else {
        json_kstr(&k.w, "error", mf_cstr(e.text));
    }
    json_end_object(&k.w);
    _exit(k.out.full || io_write_all(to, k.out.data, k.out.len) != 0);
}

static void gather(int from, struct buf *to)
{
    int64_t until = clock_mono_ms() + 2 * RECOMPUTE_SECONDS * 1000;
    struct pollfd p = { .fd = from, .events = POLLIN };
    ssize_t got;
    char *room;

    while (clock_mono_ms() < until && (room = buf_room(to, 65536))) {
        if (poll(&p, 1, 1000) <= 0)
            continue;
        got = read(from, room, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        to->len += (size_t)got;
    }
}

int recompute(const struct recompute *r, struct buf *to, struct err *e)
{
    pid_t parent = getpid(), pid;
    int ends[2], status;
    struct buf got;
    int rc = -1;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(e, "no pipe can be made");
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(r, ends[1], parent);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_sys(e, "no process can be made");
    }
    buf_init(&got, RECOMPUTE_BYTES);
    gather(ends[0], &got);
    close(ends[0]);
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (json_check(buf_view(&got), JSON_DEPTH_MAX, NULL) == 0) {
        buf_str(to, buf_view(&got));
        rc = 0;
    } else {
        err_set(e, "the plugin did not come back: %s",
                WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
                                    : "it ended");
    }
    buf_deinit(&got);
    return rc;
}

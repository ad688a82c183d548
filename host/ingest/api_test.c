/* SPDX-License-Identifier: Apache-2.0
 *
 * api_test.c - what clients are answered while the disk decides: requests
 * over real sockets, a journal whose syncs are held and made to fail. */
#pragma GCC diagnostic ignored "-Wunused-function" /* the fixture has more */
#include "http/fixture.h"

#include "base/io.h"
#include "ingest/api.h"

#include <pthread.h>
#include <sys/eventfd.h>

#define CONFIG                                                             \
    "{\"max_event_bytes\":32768,\"max_batch_bytes\":513000,\"sources\":["   \
    "{\"id\":1,\"name\":\"web\",\"write_key\":\"k\"},"                      \
    "{\"id\":2,\"name\":\"app\",\"write_key\":\"a\"}]}"
#define OK "{\"success\":true}"
#define EVENT(id) EVENT_OF("k", id)
#define EVENT_OF(key, id)                                        \
    "{\"writeKey\":\"" key "\",\"userId\":\"u\",\"event\":\"E\"," \
    "\"messageId\":\"" id "\"}"

static struct api api;
static struct intake intake;
static struct journal_head head;
static struct event *wakeup;
static char path[64];
static int dir, wake_fd;

/* ---- the disk ---- */

static void wake(void *arg)
{
    uint64_t one = 1;

    (void)arg;
    if (write(wake_fd, &one, sizeof one) < 0)
        return;
}

/* While it is held no sync ends. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int fail_syncs;

static _Atomic bool syncing, fail_second;

static int f_fdatasync(int fd)
{
    syncing = true;
    wake(NULL); /* who waits for that looks again */
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    if (fail_second) {
        fail_second = false;
        fail_syncs = 1;
        return fdatasync(fd);
    }
    if (fail_syncs) {
        fail_syncs -= fail_syncs > 0;
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t n;

    (void)what;
    (void)arg;
    if (read(fd, &n, sizeof n) == (ssize_t)sizeof n)
        api_on_durable(&api);
}

/* ---- the house ---- */

static void open_journal(void)
{
    struct journal_options o = { .dir = dir, .head = &head,
                                 .segment_bytes = 1 << 20 };
    struct err e = { "" };

    intake_init(&intake, &head);
    intake_configure(&intake, 3600000, 8u << 20);
    if (intake_open(&intake, &o, &e) != 0)
        fail_msg("%s", e.text);
    intake_warm(&intake, dir);
    while (intake_warm_step(&intake, 1000, 1000))
        continue;
    intake_join(&intake, &api.intake, wake, NULL);
}

static int house_new(void **state)
{
    struct err e = { "" };

    (void)state;
    fail_syncs = 0;
    syncing = fail_second = false;
    io = io_real;
    io.fdatasync = f_fdatasync;
    memset(&head, 0, sizeof head);
    snprintf(path, sizeof path, "/tmp/api-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    dir = open(path, O_RDONLY | O_DIRECTORY);
    base = event_base_new();
    watchdog = event_new(base, -1, 0, bark, NULL);
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    wakeup = event_new(base, wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
    event_add(wakeup, NULL);
    api_init(&api);
    assert_int_equal(keys_update(&api.keys, MF_STR(CONFIG), &e), 0);
    open_journal();
    listen_fd = listen_on_loopback(&listen_port);
    server = http_server_new(base, NULL, api_request, &api);
    assert_int_equal(http_server_listen(server, listen_fd), 0);
    return 0;
}

static int house_free(void **state)
{
    char command[128];

    (void)state;
    http_server_free(server);
    intake_deinit(&intake);
    api_deinit(&api);
    io = io_real;
    close(listen_fd);
    close(wake_fd);
    close(dir);
    event_free(wakeup);
    event_free(watchdog);
    event_base_free(base);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command);
}

static uint64_t durable(void)
{
    return atomic_load(&head.durable);
}

static const struct source *web(void)
{
    return &api.keys.sources[0];
}

/* Sends a request and turns the loop until the API has taken it. */
static void post(struct client *c, const char *where, const char *body)
{
    uint64_t before = count()->requests;

    client_post(c, where, mf_cstr(body), "");
    run_until(count()->requests > before);
}

static void expect_refusal(struct client *c, int status, const char *code)
{
    char text[64];

    run_until(c->eof || answer_whole(c, true));
    assert_int_equal(answer_status(c), status);
    snprintf(text, sizeof text, "\"code\":\"%s\"", code);
    assert_non_null(memmem(c->in.data, c->in.len, text, strlen(text)));
    assert_true(answer_has(c, "\r\nRetry-After: "));
    answer_drop(c);
}

static void open_clients(struct client *c, int n)
{
    for (int i = 0; i < n; i++)
        client_open(&c[i]);
}

static void close_clients(struct client *c, int n)
{
    for (int i = 0; i < n; i++)
        client_close(&c[i]);
}

/* ---- duplicates ---- */

/* Nobody has his answer before the first one's event is durable. */
static void duplicates_wait(void **state)
{
    struct client c[4];

    (void)state;
    open_clients(c, 4);
    pthread_mutex_lock(&gate);
    post(&c[0], "/v1/track", EVENT("m"));
    post(&c[1], "/v1/track", EVENT("m"));
    post(&c[2], "/v1/batch", "{\"writeKey\":\"k\",\"batch\":["
         "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"E\","
         "\"messageId\":\"m\"},{\"type\":\"track\",\"userId\":\"u\","
         "\"event\":\"E\",\"messageId\":\"m\"}]}");
    post(&c[3], "/v1/track", EVENT_OF("a", "m")); /* another source's */
    assert_int_equal(web()->duplicates, 3);
    assert_int_equal(web()->received, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(c[i].in.len, 0);
    assert_int_equal(durable(), 0);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 4; i++)
        expect(&c[i], 200, OK);
    assert_int_equal(durable(), 2);
    post(&c[0], "/v1/track", EVENT("m"));
    expect(&c[0], 200, OK);
    assert_int_equal(durable(), 2);
    assert_int_equal(web()->duplicates, 4);
    close_clients(c, 4);
}

/* The commit fails: all of them hear so, and the id is free again. */
static void duplicates_refused(void **state)
{
    struct client c[3];

    (void)state;
    open_clients(c, 3);
    for (int round = 0; round < 3; round++) {
        const char *text = round == 0   ? EVENT("x")
                           : round == 1 ? EVENT("y")
                                        : EVENT("z");

        pthread_mutex_lock(&gate);
        fail_syncs = 1;
        for (int i = 0; i < 3; i++)
            post(&c[i], "/v1/track", text);
        pthread_mutex_unlock(&gate);
        for (int i = 0; i < 3; i++)
            expect_refusal(&c[i], 503, "journal_failed");
        assert_int_equal(durable(), (uint64_t)round);
        run_until(!atomic_load(&head.poisoned));
        for (int i = 0; i < 3; i++) {
            post(&c[i], "/v1/track", text);
            expect(&c[i], 200, OK);
        }
        assert_int_equal(durable(), (uint64_t)round + 1);
    }
    close_clients(c, 3);
}

/* A duplicate hangs on its own event's commit and on no later one's. */
static void waits_for_its_own(void **state)
{
    struct client c[4];

    (void)state;
    open_clients(c, 4);
    post(&c[0], "/v1/track", EVENT("first"));
    expect(&c[0], 200, OK);
    pthread_mutex_lock(&gate);
    syncing = false;
    post(&c[0], "/v1/track", EVENT("m")); /* the first commit */
    run_until(atomic_load(&syncing));
    post(&c[1], "/v1/track", EVENT("n")); /* the second */
    post(&c[2], "/v1/track", EVENT("m"));
    post(&c[3], "/v1/track", EVENT("n"));
    fail_second = true;
    pthread_mutex_unlock(&gate);
    expect(&c[0], 200, OK);
    expect_refusal(&c[1], 503, "journal_failed");
    expect(&c[2], 200, OK);
    expect_refusal(&c[3], 503, "journal_failed");
    assert_int_equal(durable(), 2);
    close_clients(c, 4);
}

/* What is known is answered whatever the disk does. */
static void known_on_a_bad_disk(void **state)
{
    struct client c;

    (void)state;
    client_open(&c);
    post(&c, "/v1/track", EVENT("m"));
    expect(&c, 200, OK);
    fail_syncs = -1;
    post(&c, "/v1/track", EVENT("n"));
    expect_refusal(&c, 503, "journal_failed");
    post(&c, "/v1/track", EVENT("m"));
    expect(&c, 200, OK);
    post(&c, "/v1/track", EVENT("n"));
    expect_refusal(&c, 503, "journal_failed");
    fail_syncs = 0;
    run_until(!atomic_load(&head.poisoned));
    post(&c, "/v1/track", EVENT("n"));
    expect(&c, 200, OK);
    assert_int_equal(durable(), 2);
    client_close(&c);
}

/* A batch with old, new and bad ones. */
static void mixed_batch(void **state)
{
    static const char batch[] =
        "{\"writeKey\":\"k\",\"batch\":["
        "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"E\","
        "\"messageId\":\"old\"},"
        "{\"type\":\"track\",\"userId\":\"u\",\"messageId\":\"bad\"},"
        "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"E\","
        "\"messageId\":\"new\"}]}";
    static const char answer[] =
        "{\"success\":true,\"rejected\":[{\"index\":1,"
        "\"code\":\"event_not_defined\"}]}";
    struct client c;

    (void)state;
    client_open(&c);
    post(&c, "/v1/track", EVENT("old"));
    expect(&c, 200, OK);
    for (int i = 0; i < 2; i++) {
        post(&c, "/v1/batch", batch);
        expect(&c, 200, answer);
        assert_int_equal(durable(), 2);
    }
    assert_int_equal(web()->duplicates, 3);
    client_close(&c);
}

/* ---- pixels ---- */

static void get(struct client *c, const char *where)
{
    uint64_t before = count()->requests;
    char text[1024];

    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", where);
    client_say(c, text);
    run_until(count()->requests > before);
}

static void expect_pixel(struct client *c)
{
    run_until(c->eof || answer_whole(c, true));
    assert_int_equal(answer_status(c), 200);
    assert_true(answer_has(c, "\r\nContent-Type: image/gif\r\n"));
    assert_true(answer_has(c, "\r\nCache-Control: no-store\r\n"));
    assert_int_equal(answer_length(c), 43);
    assert_memory_equal(c->in.data + answer_head(c), "GIF89a\1\0\1\0", 10);
    answer_drop(c);
}

static char letter[256];

static void on_letter(void *arg, const struct source *s, const char *code,
                      mf_str event)
{
    (void)arg;
    snprintf(letter, sizeof letter, "%s %s %.*s", s->name, code,
             (int)event.len, event.ptr);
}

#define PIXEL(id) "/v1/pixel/track?writeKey=k&userId=u&event=E&messageId=" id

/* The image comes when the event is durable, and when it will not be. */
static void a_pixel_waits(void **state)
{
    struct client c[2];

    (void)state;
    open_clients(c, 2);
    pthread_mutex_lock(&gate);
    get(&c[0], PIXEL("m"));
    post(&c[1], "/v1/track", EVENT("m")); /* the same event */
    assert_int_equal(c[0].in.len + c[1].in.len, 0);
    assert_int_equal(durable(), 0);
    pthread_mutex_unlock(&gate);
    expect_pixel(&c[0]);
    expect(&c[1], 200, OK);
    assert_int_equal(durable(), 1);
    fail_syncs = 1;
    get(&c[0], PIXEL("n"));
    expect_pixel(&c[0]);
    assert_int_equal(api.overloads, 1);
    run_until(!atomic_load(&head.poisoned));
    get(&c[0], PIXEL("n"));
    expect_pixel(&c[0]);
    assert_int_equal(durable(), 2);
    close_clients(c, 2);
}

/* What is wrong with it is not shown but kept, where it is an event at all. */
static void a_bad_pixel_is_an_image(void **state)
{
    static const struct {
        const char *where, *letter;
    } rows[] = {
        { "/v1/pixel/track?writeKey=k&userId=u",
          "web event_not_defined {\"writeKey\":\"k\",\"userId\":\"u\","
          "\"type\":\"track\"}" },
        { "/v1/pixel/page?writeKey=k&type=track",
          "web no_user_anon_id {\"writeKey\":\"k\",\"type\":\"track\","
          "\"type\":\"page\"}" },
        { "/v1/pixel/page?data=e30&writeKey=a",
          "app no_user_anon_id {\"type\":\"page\"}" },
        { "/v1/pixel/page?data=W10&writeKey=a", "app event_not_object []" },
        { "/v1/pixel/nothing?writeKey=k",
          "web invalid_type {\"writeKey\":\"k\"}" },
        { "/v1/pixel/page?data=!&writeKey=k", "" },
        { "/v1/pixel/page?data=e3s&writeKey=k", "" },
        { "/v1/pixel/page?a=%&writeKey=k", "" },
        { "/v1/pixel/page?writeKey=nobody&userId=u", "" },
        { "/v1/pixel/page?userId=u", "" },
        { "/v1/pixel/page", "" },
    };
    struct client c;

    (void)state;
    client_open(&c);
    api.refused = on_letter;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        letter[0] = 0;
        get(&c, rows[i].where);
        expect_pixel(&c);
        assert_string_equal(letter, rows[i].letter);
        assert_int_equal(api.bad_requests, i + 1);
    }
    assert_int_equal(api.unknown_keys, 3);
    assert_int_equal(durable(), 0);
    client_close(&c);
}

/* More than goes to the intake at once, each id twice, next to each other or
 * far apart; then the same where the disk fails. */
static void long_batch(void **state)
{
    const unsigned n = 4 * INTAKE_TOGETHER + 6;
    struct client c;
    struct buf b;

    (void)state;
    client_open(&c);
    for (unsigned round = 0; round < 3; round++) {
        uint64_t before = web()->duplicates;

        buf_init(&b, 1 << 20);
        for (unsigned i = 0; i < n; i++)
            buf_printf(&b, "%s{\"type\":\"track\",\"userId\":\"u\",\"event\":"
                           "\"E\",\"messageId\":\"%u-%u\"}",
                       i ? "," : "{\"writeKey\":\"k\",\"batch\":[", round,
                       round ? i % (n / 2) : i / 2);
        buf_printf(&b, "]}%c", 0);
        fail_syncs = round == 1;
        post(&c, "/v1/batch", b.data);
        if (round == 1)
            expect_refusal(&c, 503, "journal_failed");
        else
            expect(&c, 200, OK);
        buf_deinit(&b);
        if (round == 1) { /* what was taken before it failed, is not told */
            run_until(!atomic_load(&head.poisoned));
            continue;
        }
        assert_int_equal(durable(), n / 2 * (round ? 2 : 1));
        assert_int_equal(web()->duplicates, before + n / 2);
    }
    client_close(&c);
}

/* A new journal of the same directory, as after a restart. */
static void after_a_restart(void **state)
{
    struct client c;

    (void)state;
    client_open(&c);
    post(&c, "/v1/track", EVENT("m"));
    expect(&c, 200, OK);
    intake_deinit(&intake);
    memset(&head, 0, sizeof head);
    open_journal();
    post(&c, "/v1/track", EVENT("m"));
    expect(&c, 200, OK);
    assert_int_equal(durable(), 1);
    client_close(&c);
}

/* ---- too much ---- */

#define STUCK    64  /* clients while the disk does not move */
#define EVENTS   15  /* of a batch, of some 30 KB each */
#define STAGED   (16u << 20) /* what the journal may hold: two buffers */

static uint64_t rejected(const struct source *s, const char *code)
{
    for (size_t i = 0; i < REJECT_CODES_MAX && s->rejected[i].code; i++)
        if (strcmp(s->rejected[i].code, code) == 0)
            return s->rejected[i].n;
    return 0;
}

static void large_batch(struct buf *b, int n)
{
    buf_clear(b);
    buf_puts(b, "{\"writeKey\":\"k\",\"batch\":[");
    for (int i = 0; i < EVENTS; i++)
        buf_printf(b,
                   "%s{\"type\":\"track\",\"userId\":\"u\",\"event\":"
                   "\"E\",\"messageId\":\"%d-%d\",\"pad\":"
                   "\"%030000d\"}",
                   i ? "," : "", n, i, 0);
    buf_puts(b, "]}");
    buf_char(b, 0);
}

/* The disk stands still, and batches come on: what the journal cannot hold is
 * refused with Retry-After at once, and all that was taken is answered when it
 * moves again. */
static void a_journal_that_does_not_move(void **state)
{
    static struct client c[STUCK];
    unsigned taken = 0;
    struct buf b;

    (void)state;
    buf_init(&b, 1u << 20);
    open_clients(c, STUCK);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < STUCK; i++) {
        large_batch(&b, i);
        post(&c[i], "/v1/batch", b.data);
    }
    run_until(api.overloads >= 1);
    assert_true((uint64_t)api.overloads * EVENTS * 30000 >
                (uint64_t)STUCK * EVENTS * 30000 - STAGED - (2u << 20));
    assert_int_equal(durable(), 0);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < STUCK; i++) {
        run_until(answer_whole(&c[i], true) || c[i].eof);
        if (answer_status(&c[i]) == 200) {
            expect(&c[i], 200, OK);
            taken++;
        } else {
            expect_refusal(&c[i], 429, "overloaded");
        }
    }
    assert_true(taken > 0 && taken + api.overloads == STUCK);
    assert_true(durable() >= (uint64_t)taken * EVENTS);
    close_clients(c, STUCK);
    buf_deinit(&b);
}

/* What refused events were told of. */
static uint64_t told, told_bytes;
static bool is_crowded;

static void on_refused(void *arg, const struct source *s, const char *code,
                       mf_str event)
{
    (void)arg;
    (void)s;
    (void)code;
    assert_non_null(api.envelope);
    told++;
    told_bytes += event.len;
}

static bool on_crowded(void *arg)
{
    (void)arg;
    return is_crowded;
}

/* A batch of n events without a name, and one that is right. */
static void bad_batch(struct buf *b, const char *key, unsigned n)
{
    buf_clear(b);
    buf_printf(b, "{\"writeKey\":\"%s\",\"batch\":[{\"type\":\"track\","
                  "\"userId\":\"u\",\"event\":\"E\",\"messageId\":"
                  "\"good\"}", key);
    for (unsigned i = 0; i < n; i++)
        buf_puts(b, ",{\"type\":\"track\",\"userId\":\"u\"}");
    buf_puts(b, "]}");
    buf_char(b, 0);
}

/* How many of so many requests are taken, the others being told to wait. */
static unsigned taken_of(struct client *c, const char *body, unsigned n)
{
    unsigned taken = 0;

    while (n--) {
        post(c, "/v1/batch", body);
        run_until(answer_whole(c, true));
        if (answer_status(c) == 200) {
            taken++;
            answer_drop(c);
        } else {
            expect_refusal(c, 429, "overloaded");
        }
    }
    return taken;
}

/* Events that are refused inside batches are kept, so many a second of each
 * source; a batch with more must come again, and none of it is told. */
static void a_flood_of_invalid_events(void **state)
{
    struct client c;
    struct buf b;

    (void)state;
    told = told_bytes = 0;
    is_crowded = false;
    api.refused = on_refused;
    api.crowded = on_crowded;
    client_open(&c);
    buf_init(&b, 1u << 20);
    bad_batch(&b, "k", 1000);
    assert_in_range(taken_of(&c, b.data, 50), 3, 10); /* 2500 at once */
    assert_in_range(told, 3000, 10000);
    assert_int_equal(rejected(web(), "event_not_defined"), told);
    bad_batch(&b, "a", 1000); /* another source has its own */
    assert_in_range(taken_of(&c, b.data, 2), 2, 2);
    told = 0;
    bad_batch(&b, "k", 0); /* whole batches of good ones go on */
    assert_int_equal(taken_of(&c, b.data, 20), 20);
    clock_mono_skew_ms += 10000;
    bad_batch(&b, "k", 2400);
    assert_int_equal(taken_of(&c, b.data, 1), 1);
    assert_int_equal(told, 2400);
    clock_mono_skew_ms += 10000;
    is_crowded = true; /* the supervisor does not read */
    assert_int_equal(taken_of(&c, b.data, 5), 0);
    assert_int_equal(told, 2400);
    is_crowded = false;
    assert_int_equal(taken_of(&c, b.data, 1), 1);
    buf_deinit(&b);
    client_close(&c);
    clock_mono_skew_ms = 0;
}

#define RATES                                                             \
    "{\"sources\":[{\"id\":1,\"name\":\"web\",\"rate\":2,\"burst\":3}," \
    "{\"id\":2,\"name\":\"app\",\"rate\":100}]}"
#define THREE(key)                                                       \
    "{" key "\"batch\":[{\"type\":\"track\",\"userId\":\"u\","           \
    "\"event\":\"E\"},{\"type\":\"track\",\"userId\":\"u\",\"event\":"   \
    "\"E\"},{\"type\":\"track\",\"userId\":\"u\",\"event\":\"E\"}]}"

static void expect_wait(struct client *c, const char *seconds)
{
    char text[64];

    run_until(answer_whole(c, true));
    snprintf(text, sizeof text, "\r\nRetry-After: %s\r\n", seconds);
    assert_true(answer_has(c, text));
    snprintf(text, sizeof text, "\r\nX-RateLimit-Reset: %s\r\n", seconds);
    assert_true(answer_has(c, text));
    expect_refusal(c, 429, "rate_limited");
}

/* Beyond its rate a source is told until when to wait, and nothing of it is in
 * the journal; a batch is taken as a whole or not at all. */
static void sources_have_rates(void **state)
{
    struct client c;

    (void)state;
    api.quotas = quotas_new();
    quotas_configure(api.quotas, json_root(MF_STR(RATES)));
    client_open(&c);
    post(&c, "/v1/batch", THREE("\"writeKey\":\"k\","));
    expect(&c, 200, OK);
    post(&c, "/v1/track", EVENT("m"));
    expect_wait(&c, "1");
    post(&c, "/v1/batch", THREE("\"writeKey\":\"k\","));
    expect_wait(&c, "2"); /* three at two a second */
    assert_int_equal(durable(), 3);
    assert_int_equal(rejected(web(), "rate_limited"), 4);
    post(&c, "/v1/track", EVENT_OF("a", "m")); /* another's is its own */
    expect(&c, 200, OK);
    clock_mono_skew_ms += 1000;
    post(&c, "/v1/batch", "{\"batch\":[" EVENT_OF("a", "n") ","
         EVENT("n") "," EVENT("o") "," EVENT("p") "]}");
    expect_wait(&c, "1"); /* one of the events is one too many */
    assert_int_equal(durable(), 4);
    assert_int_equal(rejected(&api.keys.sources[1], "rate_limited"), 1);
    clock_mono_skew_ms += 1000;
    post(&c, "/v1/batch", THREE("\"writeKey\":\"k\","));
    expect(&c, 200, OK);
    assert_int_equal(durable(), 7);
    client_close(&c);
    quotas_free(api.quotas);
    api.quotas = NULL;
    clock_mono_skew_ms = 0;
}

/* ---- tried again ---- */

#define TYPED(id)                                                       \
    "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"messageId\":\"" \
    id "\"}"

static int64_t tried_letter;
static enum ingest_tried tried_outcome;
static char tried_code[64];

static void on_tried(void *arg, int64_t job, int64_t number,
                     enum ingest_tried outcome, const char *code)
{
    (void)arg;
    assert_int_equal(job, 9);
    tried_letter = number;
    tried_outcome = outcome;
    snprintf(tried_code, sizeof tried_code, "%s", code);
}

static void again(int64_t number, uint32_t source, const char *event)
{
    struct msg_ingest_again m = { .job = 9, .letter = number,
                                  .source = source };

    tried_letter = 0;
    api_again(&api, &m,
              MF_STR("{\"receivedAt\":\"2026-01-12T10:00:00.000Z\"}"),
              mf_cstr(event));
}

/* The answer comes when the event is durable, or has been before; one that the
 * disk lost is to be tried later. */
static void refused_events_are_tried_again(void **state)
{
    struct client c;

    (void)state;
    api.tried = on_tried;
    client_open(&c);
    again(1, 1, "{\"type\":\"track\",\"userId\":\"u\"}");
    assert_int_equal(tried_letter, 1);
    assert_int_equal(tried_outcome, TRIED_REFUSED);
    assert_string_equal(tried_code, "event_not_defined");
    again(2, 1, "{\"type\":");
    assert_string_equal(tried_code, "invalid_json");
    again(3, 77, EVENT("x"));
    assert_int_equal(tried_outcome, TRIED_NO_SOURCE);
    pthread_mutex_lock(&gate);
    again(4, 1, TYPED("x"));
    assert_int_equal(tried_letter, 0);
    fail_syncs = 1;
    pthread_mutex_unlock(&gate);
    run_until(tried_letter == 4);
    assert_int_equal(tried_outcome, TRIED_BUSY);
    run_until(!atomic_load(&head.poisoned));
    for (int i = 0; i < 2; i++) { /* then it is known */
        again(5, 1, TYPED("x"));
        run_until(tried_letter == 5);
        assert_int_equal(tried_outcome, TRIED_TAKEN);
        assert_int_equal(durable(), 1);
    }
    post(&c, "/v1/track", EVENT("x"));
    expect(&c, 200, OK);
    assert_int_equal(durable(), 1);
    client_close(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, house_new, house_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(duplicates_wait), TEST(duplicates_refused),
        TEST(waits_for_its_own),
        TEST(known_on_a_bad_disk), TEST(mixed_batch), TEST(long_batch),
        TEST(after_a_restart),
        TEST(a_journal_that_does_not_move), TEST(a_flood_of_invalid_events),
        TEST(sources_have_rates), TEST(refused_events_are_tried_again),
        TEST(a_pixel_waits), TEST(a_bad_pixel_is_an_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

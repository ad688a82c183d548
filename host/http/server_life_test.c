/* SPDX-License-Identifier: Apache-2.0
 *
 * server_life_test.c - how connections end: deadlines, limits, clients that
 * vanish, streams, drain. The clock is turned, nothing is slept for. */
#include "http/conn.h"
#include "http/fixture.h"

#define GET_ECHO "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_LATE "GET /late HTTP/1.1\r\nHost: h\r\n\r\n"

/* ---- deadlines ---- */

/* A byte now and then does not move the end of the header deadline. */
static void slow_headers_are_cut(void **state)
{
    struct client c, idle;

    (void)state;
    start(NULL);
    client_open(&idle);
    client_open(&c);
    client_say(&c, "GET /echo HTTP/1.1\r\n");
    for (int i = 0; i < 9; i++) {
        uint64_t in = count()->bytes_in;

        client_say(&c, "X: y\r\n");
        run_until(count()->bytes_in > in);
        assert_false(c.eof);
        clock_mono_skew_ms += 1000;
    }
    assert_int_equal(count()->faults[HTTP_SLOW_HEAD], 0);
    clock_mono_skew_ms += 2000;
    run_until(c.eof);
    assert_int_equal(answer_status(&c), 408);
    assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
    assert_int_equal(count()->faults[HTTP_SLOW_HEAD], 1);
    assert_false(idle.eof);
    client_close(&c);
    client_close(&idle);
    stop();
}

static void idle_connections_are_closed(void **state)
{
    struct client fresh, used;

    (void)state;
    start(NULL);
    client_open(&fresh);
    client_open(&used);
    run_until(count()->open == 2);
    clock_mono_skew_ms += 50000;
    client_say(&used, GET_ECHO);
    expect(&used, 200, "");
    clock_mono_skew_ms += 11000;
    expect_end(&fresh);
    assert_int_equal(count()->idle_closed, 1);
    assert_false(used.eof);
    clock_mono_skew_ms += 50000;
    expect_end(&used);
    assert_int_equal(count()->idle_closed, 2);
    assert_int_equal(count()->open, 0);
    client_close(&fresh);
    client_close(&used);
    stop();
}

/* 10 KB/s after the grace of 10 s: 100 KB in 20 s is right, 50 KB is not. */
static void slow_bodies_are_cut(void **state)
{
    static char body[500000];
    struct client good, bad;
    uint64_t in;

    (void)state;
    memset(body, 'x', sizeof body);
    start(NULL);
    client_open(&good);
    client_open(&bad);
    client_say(&good, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                      "Content-Length: 500000\r\n\r\n");
    client_say(&bad, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n7ffff\r\n");
    for (int i = 0; i < 4; i++) {
        in = count()->bytes_in;
        client_send(&good, (mf_str){ body, 50000 });
        client_send(&bad, (mf_str){ body, 25000 });
        run_until(count()->bytes_in >= in + 75000);
        clock_mono_skew_ms += 4900;
    }
    run_until(count()->open == 2);
    clock_mono_skew_ms += 1500;
    run_until(bad.eof);
    assert_int_equal(answer_status(&bad), 408);
    assert_int_equal(count()->faults[HTTP_SLOW_BODY], 1);
    client_send(&good, (mf_str){ body, 300000 });
    answer_wait(&good, 200, (mf_str){ body, sizeof body });
    client_close(&good);
    client_close(&bad);
    stop();
}

/* A request with the handler has no deadline here. */
static void late_answers_outlive_deadlines(void **state)
{
    struct client c, other;

    (void)state;
    start(NULL);
    client_open(&c);
    client_open(&other);
    client_say(&c, GET_LATE);
    run_until(late_count == 1);
    clock_mono_skew_ms += 600000;
    run_until(count()->idle_closed == 1);
    assert_false(c.eof);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("at last"));
    expect(&c, 200, "at last");
    client_say(&c, GET_ECHO);
    expect(&c, 200, "");
    clock_mono_skew_ms += 62000;
    expect_end(&c);
    client_close(&c);
    client_close(&other);
    stop();
}

static void readers_that_stall_are_cut(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    event_del(c.ev);
    client_say(&c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    run_until(handled == 1);
    event_base_loop(base, EVLOOP_NONBLOCK);
    clock_mono_skew_ms += 31000;
    run_until(count()->open == 0);
    assert_int_equal(count()->write_stalled, 1);
    client_close(&c);
    stop();
}

/* Stalled uploads take nothing from the others. */
static void stalled_uploads_do_not_disturb(void **state)
{
    struct client slow[60], c;

    (void)state;
    start(NULL);
    for (size_t i = 0; i < COUNT_OF(slow); i++) {
        client_open(&slow[i]);
        client_say(&slow[i], "POST /echo HTTP/1.1\r\nHost: h\r\n"
                             "Content-Length: 500000\r\n\r\n{");
    }
    client_open(&c);
    client_post(&c, "/echo", MF_STR("quick"), "");
    expect(&c, 200, "quick");
    client_close(&c);
    for (size_t i = 0; i < COUNT_OF(slow); i++)
        client_close(&slow[i]);
    run_until(count()->open == 0);
    assert_int_equal(count()->body_buffer_bytes, 0);
    stop();
}

/* ---- limits ---- */

static void raise_file_limit(void)
{
    struct rlimit r;

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max < 8192 ? r.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &r);
}

/* They hold no buffers, and each of them still works. */
static void many_idle_connections(void **state)
{
    static struct client c[1000];
    size_t n = COUNT_OF(c);
    struct rlimit r;

    (void)state;
    raise_file_limit();
    getrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur < 2 * n + 64)
        n = (r.rlim_cur - 64) / 2;
    start(NULL);
    for (size_t i = 0; i < n; i++) {
        client_open(&c[i]);
        client_say(&c[i], GET_ECHO);
    }
    for (size_t i = 0; i < n; i++)
        expect(&c[i], 200, "");
    assert_int_equal(count()->open, n);
    for (size_t i = 0; i < n; i += 7) {
        client_post(&c[i], "/echo", MF_STR("still"), "");
        expect(&c[i], 200, "still");
    }
    clock_mono_skew_ms += 62000;
    run_until(count()->open == 0);
    assert_int_equal(count()->idle_closed, n);
    for (size_t i = 0; i < n; i++)
        client_close(&c[i]);
    stop();
}

static void expect_turned_away(struct client *c)
{
    run_until(c->eof);
    assert_int_equal(answer_status(c), 503);
    assert_true(answer_has(c, "\r\nRetry-After: 1\r\n"));
    assert_int_equal(c->in.len, answer_head(c) + answer_length(c));
    assert_false(c->reset);
}

static void one_peer_has_its_share(void **state)
{
    struct http_limits l = http_limits_default;
    struct client c[4];

    (void)state;
    l.connections_per_peer = 3;
    start(&l);
    for (int i = 0; i < 4; i++)
        client_open(&c[i]);
    client_say(&c[3], GET_ECHO);
    expect_turned_away(&c[3]);
    assert_int_equal(count()->refused_peer, 1);
    assert_int_equal(count()->open, 3);
    client_close(&c[3]);
    client_close(&c[0]);
    run_until(count()->open == 2);
    client_open(&c[0]);
    client_say(&c[0], GET_ECHO);
    expect(&c[0], 200, "");
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    stop();
}

/* Other limits hold for who comes or waits after that; what is held by a
 * request begun is told, and given back. */
static void limits_change_while_it_runs(void **state)
{
    struct client c[4];

    (void)state;
    start(NULL);
    for (int i = 0; i < 3; i++)
        client_open(&c[i]);
    client_say(&c[0], "GET / HT");
    client_say(&c[1], "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
                      "100000\r\n\r\nx");
    run_until(count()->busy == 2 && count()->open == 3);
    assert_in_range(count()->buffer_bytes, HTTP_HEAD_MAX + 100000,
                    2 * HTTP_HEAD_MAX + 400000);
    http_server_limit_connections(server, 100, 3, 1000, 2000);
    client_open(&c[3]);
    client_say(&c[3], GET_ECHO);
    expect_turned_away(&c[3]);
    client_close(&c[3]);
    client_say(&c[2], GET_ECHO);
    expect(&c[2], 200, "");
    clock_mono_skew_ms += 2500; /* the others have the times they had */
    run_until(c[2].eof);
    assert_int_equal(count()->idle_closed, 1);
    assert_int_equal(count()->faults[HTTP_SLOW_HEAD], 0);
    http_server_limit_connections(server, 2, 3, 1000, 2000);
    client_close(&c[2]);
    client_open(&c[2]); /* the third */
    client_say(&c[2], GET_ECHO);
    expect(&c[2], 200, "");
    assert_int_equal(count()->evicted_slow, 1);
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    run_until(count()->open == 0);
    assert_int_equal(count()->busy, 0);
    assert_int_equal(count()->buffer_bytes, 0);
    stop();
}

/* At the limit an idle connection makes room; a busy one does not. */
static void a_full_server_makes_room(void **state)
{
    struct http_limits l = http_limits_default;
    struct client c[3], more;

    (void)state;
    l.connections = 3;
    start(&l);
    for (int i = 0; i < 3; i++) {
        client_open(&c[i]);
        client_say(&c[i], i < 2 ? GET_LATE : GET_ECHO);
    }
    run_until(late_count == 2);
    expect(&c[2], 200, "");
    clock_mono_skew_ms += 500;
    client_open(&more);
    client_say(&more, GET_LATE);
    run_until(late_count == 3);
    expect_end(&c[2]);
    assert_int_equal(count()->evicted_idle, 1);
    client_close(&c[2]);
    client_open(&c[2]);
    expect_turned_away(&c[2]);
    assert_int_equal(count()->refused_full, 1);
    for (unsigned i = 0; i < 3; i++)
        http_reply(late[i], 200, NULL, MF_STR(""), MF_STR("ok"));
    expect(&c[0], 200, "ok");
    expect(&c[1], 200, "ok");
    expect(&more, 200, "ok");
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    client_close(&more);
    stop();
}

/* Slow requests make room before an idle connection does, a body at its pace
 * and a request just begun never. */
static void slow_ones_make_room_first(void **state)
{
    struct http_limits l = http_limits_default;
    struct client c[4], more[3];

    (void)state;
    l.connections = 4;
    l.body_rate = 100;
    start(&l);
    for (int i = 0; i < 4; i++)
        client_open(&c[i]);
    client_say(&c[0], GET_ECHO); /* then it is idle */
    expect(&c[0], 200, "");
    client_say(&c[1], "GET / HT");
    client_say(&c[2], "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
                      "5000\r\n\r\nx");
    client_post(&c[3], "/echo", MF_STR("x"), "Expect: 100-continue\r\n");
    expect(&c[3], 200, "x");
    client_say(&c[3], "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
                      "9000\r\n\r\n");
    for (int i = 0; i < 800; i++)
        client_say(&c[3], "0123456789"); /* on its way, and well in time */
    run_until(count()->busy == 3 && count()->bytes_in > 8000);
    clock_mono_skew_ms += 1500;
    for (int i = 0; i < 2; i++) {
        client_open(&more[i]);
        client_say(&more[i], GET_LATE);
        run_until(late_count == (unsigned)i + 1);
        assert_int_equal(count()->evicted_slow, i + 1);
    }
    expect_end(&c[1]);
    run_until(c[2].eof);
    assert_false(c[0].eof || c[3].eof);
    client_open(&more[2]);
    client_say(&more[2], GET_LATE);
    run_until(late_count == 3);
    assert_int_equal(count()->evicted_idle, 1);
    expect_end(&c[0]);
    for (int i = 0; i < 100; i++)
        client_say(&c[3], "0123456789");
    run_until(c[3].eof || answer_whole(&c[3], true));
    assert_int_equal(answer_status(&c[3]), 200);
    for (unsigned i = 0; i < 3; i++) {
        http_reply(late[i], 200, NULL, MF_STR(""), MF_STR("ok"));
        expect(&more[i], 200, "ok");
        client_close(&more[i]);
    }
    for (int i = 0; i < 4; i++)
        client_close(&c[i]);
    stop();
}

/* Without descriptors clients wait in the kernel's queue and come in later. */
static void without_descriptors_clients_wait(void **state)
{
    struct client c[3];
    struct rlimit was, r;
    int next;

    (void)state;
    start(NULL);
    client_open(&c[0]);
    client_say(&c[0], GET_LATE);
    run_until(late_count == 1);
    client_open(&c[1]);
    client_say(&c[1], GET_ECHO);
    getrlimit(RLIMIT_NOFILE, &was);
    next = dup(0);
    close(next);
    r = was;
    r.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &r);
    run_until(count()->accept_errors > 0);
    assert_int_equal(count()->accepted, 1);
    setrlimit(RLIMIT_NOFILE, &was);
    expect(&c[1], 200, "");
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("ok"));
    expect(&c[0], 200, "ok");
    /* an idle one is closed instead, where there is one */
    client_open(&c[2]);
    client_say(&c[2], GET_ECHO);
    setrlimit(RLIMIT_NOFILE, &r);
    run_until(count()->evicted_idle > 0);
    expect(&c[2], 200, "");
    setrlimit(RLIMIT_NOFILE, &was);
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    stop();
}

/* What does not fit in the memory for bodies is read and told. */
static void bodies_share_a_budget(void **state)
{
    static char body[400000];
    struct http_limits l = http_limits_default;
    struct client c[2];

    (void)state;
    memset(body, 'x', sizeof body);
    l.buffer_bytes = 700000;
    start(&l);
    client_open(&c[0]);
    client_open(&c[1]);
    client_post(&c[0], "/late", (mf_str){ body, sizeof body }, "");
    run_until(late_count == 1);
    assert_in_range(count()->body_buffer_bytes, sizeof body, 700000);
    client_post(&c[1], "/echo", (mf_str){ body, sizeof body }, "");
    expect(&c[1], 400, "overloaded");
    client_say(&c[1], "POST /echo HTTP/1.1\r\nHost: h\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n61a80\r\n");
    client_send(&c[1], (mf_str){ body, sizeof body });
    client_say(&c[1], "\r\n0\r\n\r\n");
    expect(&c[1], 400, "overloaded");
    client_post(&c[1], "/echo", MF_STR("small"), "");
    expect(&c[1], 200, "small");
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("ok"));
    expect(&c[0], 200, "ok");
    assert_int_equal(count()->body_buffer_bytes, 0);
    client_post(&c[1], "/echo", (mf_str){ body, sizeof body }, "");
    answer_wait(&c[1], 200, (mf_str){ body, sizeof body });
    client_close(&c[0]);
    client_close(&c[1]);
    stop();
}

/* Decoded bodies count: past the budget no more is decoded. */
static void decoded_bodies_share_it(void **state)
{
    static char body[400000];
    struct http_limits l = http_limits_default;
    struct client c[2];
    struct buf packed;

    (void)state;
    memset(body, 'x', sizeof body);
    buf_init(&packed, 1 << 20);
    assert_int_equal(gzip((mf_str){ body, sizeof body }, 9, &packed, NULL), 0);
    l.buffer_bytes = 100000;
    start(&l);
    client_open(&c[0]);
    client_open(&c[1]);
    client_post(&c[0], "/late", buf_view(&packed),
                "Content-Encoding: gzip\r\n");
    run_until(late_count == 1);
    client_post(&c[1], "/echo", buf_view(&packed),
                "Content-Encoding: gzip\r\n");
    expect(&c[1], 400, "overloaded");
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("ok"));
    expect(&c[0], 200, "ok");
    client_post(&c[1], "/echo", buf_view(&packed),
                "Content-Encoding: gzip\r\n");
    answer_wait(&c[1], 200, (mf_str){ body, sizeof body });
    buf_deinit(&packed);
    client_close(&c[0]);
    client_close(&c[1]);
    stop();
}

/* ---- clients that vanish ---- */

static void reset(struct client *c)
{
    struct linger l = { 1, 0 };

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    client_close(c);
}

static void gone_before_the_answer(void **state)
{
    struct client c[3];

    (void)state;
    start(NULL);
    for (int i = 0; i < 3; i++) {
        client_open(&c[i]);
        client_post(&c[i], "/late", MF_STR("kept"), "");
    }
    run_until(late_count == 3);
    for (int i = 0; i < 3; i++)
        reset(&c[i]);
    run_until(count()->open == 0);
    for (unsigned i = 0; i < 3; i++)
        assert_true(mf_eq(late[i]->body, MF_STR("kept")));
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("x"));
    http_reply(late[1], 503, NULL, MF_STR(""), MF_STR("x"));
    assert_int_equal(count()->replies_lost, 2);
    assert_int_equal(count()->replies, 0);
    http_stream_begin(late[2], 200, NULL, MF_STR(""), on_closed, &closed_count);
    assert_int_equal(closed_count, 0);
    assert_int_equal(http_stream_send(late[2], MF_STR("x")), -1);
    run_until(closed_count == 1);
    stop();
}

static void gone_in_the_middle(void **state)
{
    const char *const parts[] = {
        "GET",
        "GET / HTTP/1.1\r\nHost: h\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    };

    (void)state;
    start(NULL);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        for (int way = 0; way < 3; way++) {
            struct client c;
            uint64_t in = count()->bytes_in;

            client_open(&c);
            client_say(&c, parts[i]);
            run_until(count()->bytes_in > in);
            if (way == 0) {
                reset(&c);
            } else if (way == 1) {
                client_close(&c);
            } else {
                shutdown(c.fd, SHUT_WR);
                expect_end(&c);
                client_close(&c);
            }
            run_until(count()->open == 0);
        }
    assert_int_equal(handled, 0);
    stop();
}

static void the_server_goes_before_the_answer(void **state)
{
    struct client c[2];

    (void)state;
    start(NULL);
    for (int i = 0; i < 2; i++) {
        client_open(&c[i]);
        client_post(&c[i], "/late", MF_STR("kept"), "");
    }
    run_until(late_count == 2);
    reset(&c[1]);
    run_until(count()->open == 1);
    http_server_free(server);
    server = NULL;
    run_until(c[0].eof);
    for (int i = 0; i < 2; i++) {
        assert_true(mf_eq(late[i]->body, MF_STR("kept")));
        http_reply(late[i], 200, NULL, MF_STR(""), MF_STR("x"));
    }
    client_close(&c[0]);
    stop();
}

/* ---- streams ---- */

static void stream_open(struct client *c, const char *version)
{
    char text[80];
    unsigned n = stream_count;

    client_open(c);
    snprintf(text, sizeof text, "GET /stream HTTP/%s\r\nHost: h\r\n\r\n",
             version);
    client_say(c, text);
    run_until(stream_count > n && answer_whole(c, false));
    assert_true(answer_has(c, "Content-Type: text/event-stream\r\n"));
}

static void streams_are_chunked(void **state)
{
    const char want[] = "8\r\ndata: 1\n\r\n9\r\ndata: 22\n\r\n0\r\n\r\n";
    struct client c, old;

    (void)state;
    start(NULL);
    stream_open(&c, "1.1");
    assert_true(answer_has(&c, "\r\nTransfer-Encoding: chunked\r\n"));
    buf_drop(&c.in, answer_head(&c));
    assert_int_equal(http_stream_send(streams[0], MF_STR("data: 1\n")), 0);
    assert_int_equal(http_stream_send(streams[0], MF_STR("")), 0);
    assert_int_equal(http_stream_send(streams[0], MF_STR("data: 22\n")), 0);
    http_stream_end(streams[0]);
    run_until(c.in.len >= sizeof want - 1);
    assert_true(mf_eq(buf_view(&c.in), mf_cstr(want)));
    buf_clear(&c.in);
    client_say(&c, GET_ECHO);
    expect(&c, 200, "");
    stream_open(&old, "1.0");
    buf_drop(&old.in, answer_head(&old));
    http_stream_send(streams[1], MF_STR("bare"));
    http_stream_end(streams[1]);
    run_until(old.eof);
    assert_true(mf_eq(buf_view(&old.in), MF_STR("bare")));
    assert_int_equal(closed_count, 0);
    client_close(&c);
    client_close(&old);
    stop();
}

static void streams_notice_who_left(void **state)
{
    struct client c[3];

    (void)state;
    start(NULL);
    for (int i = 0; i < 3; i++)
        stream_open(&c[i], "1.1");
    client_close(&c[0]);
    run_until(closed_count == 1);
    reset(&c[1]);
    run_until(closed_count == 2);
    clock_mono_skew_ms += 600000; /* silence is no fault */
    event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(http_stream_send(streams[2], MF_STR("x")), 0);
    assert_int_equal(count()->open, 1);
    client_close(&c[2]);
    run_until(closed_count == 3);
    stop();
}

static void streams_that_fall_behind_are_cut(void **state)
{
    static char line[10000];
    struct client c;
    int sent = 0;

    (void)state;
    memset(line, 'x', sizeof line);
    start(NULL);
    stream_open(&c, "1.1");
    event_del(c.ev);
    while (http_stream_send(streams[0], (mf_str){ line, sizeof line }) == 0)
        assert_true(++sent < 10000);
    assert_true(sent > 100);
    assert_int_equal(closed_count, 0); /* not from inside the call */
    assert_int_equal(http_stream_send(streams[0], MF_STR("x")), -1);
    run_until(closed_count == 1);
    assert_int_equal(count()->open, 0);
    client_close(&c);
    stop();
}

/* A client that is always a little behind costs what it is behind, not what
 * it was ever sent. */
static void lagging_streams_stay_small(void **state)
{
    static char line[65536], bin[65536];
    const struct conn *inside;
    struct client c;
    size_t total = 0;
    int size = 32768;

    (void)state;
    memset(line, 'x', sizeof line);
    start(NULL);
    stream_open(&c, "1.0");
    event_del(c.ev);
    inside = (const struct conn *)streams[0];
    /* small sockets, or the kernel takes all of the lag at times */
    setsockopt(inside->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    while (total < 32u << 20) {
        while (inside->out.len - inside->sent < 8 * sizeof line) {
            mf_str s = { line, sizeof line };

            assert_int_equal(http_stream_send(streams[0], s), 0);
            total += sizeof line;
        }
        assert_true(inside->out.len < 4u << 20);
        assert_true(read(c.fd, bin, sizeof bin) > 0);
        event_base_loop(base, EVLOOP_NONBLOCK);
        assert_true(inside->sent < inside->out.len); /* never caught up */
    }
    event_add(c.ev, NULL);
    http_stream_end(streams[0]);
    run_until(c.eof);
    assert_int_equal(closed_count, 0);
    client_close(&c);
    stop();
}

/* ---- drain ---- */

static unsigned drained;

static void on_drained(void *arg)
{
    assert_ptr_equal(arg, &drained);
    drained++;
}

static void drain_finishes_what_is_there(void **state)
{
    struct client idle, late_one, half, tap, refused;

    (void)state;
    drained = 0;
    start(NULL);
    client_open(&idle);
    client_say(&idle, GET_ECHO);
    expect(&idle, 200, "");
    client_open(&late_one);
    client_say(&late_one, GET_LATE GET_ECHO);
    run_until(late_count == 1);
    client_open(&half);
    client_say(&half, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
                      "\r\nab");
    stream_open(&tap, "1.1");
    run_until(count()->open == 4);
    http_server_drain(server, 20000, on_drained, &drained);
    assert_int_equal(closed_count, 0);
    run_until(idle.eof && tap.eof);
    assert_int_equal(closed_count, 1);
    client_open(&refused); /* waits in the queue for whoever comes next */
    client_say(&half, "cd");
    answer_wait(&half, 200, MF_STR("abcd"));
    assert_true(answer_has(&half, "\r\nConnection: close\r\n"));
    assert_int_equal(drained, 0);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("done"));
    answer_wait(&late_one, 200, MF_STR("done"));
    assert_true(answer_has(&late_one, "\r\nConnection: close\r\n"));
    run_until(drained == 1);
    assert_int_equal(count()->open, 0);
    assert_int_equal(count()->accepted, 4);
    client_close(&idle);
    client_close(&late_one);
    client_close(&half);
    client_close(&tap);
    client_close(&refused);
    stop();
}

/* An answer still on its way out when the drain begins arrives whole, and a
 * stream that begins during it ends at once. */
static void drain_lets_answers_leave(void **state)
{
    struct client c, tap;

    (void)state;
    drained = 0;
    start(NULL);
    client_open(&tap);
    client_say(&tap, GET_LATE);
    run_until(late_count == 1);
    client_open(&c);
    event_del(c.ev);
    client_say(&c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    run_until(handled == 2);
    http_server_drain(server, 20000, on_drained, &drained);
    http_stream_begin(late[0], 200, NULL, MF_STR(""), on_closed, &closed_count);
    assert_int_equal(closed_count, 0);
    run_until(closed_count == 1);
    assert_int_equal(drained, 0);
    event_add(c.ev, NULL);
    expect_big(&c);
    run_until(drained == 1);
    assert_int_equal(count()->replies_lost, 0);
    expect_end(&c);
    client_close(&c);
    client_close(&tap);
    stop();
}

/* A request that was on its way to an idle connection is served. */
static void drain_looks_once_more(void **state)
{
    struct client c;

    (void)state;
    drained = 0;
    start(NULL);
    client_open(&c);
    client_say(&c, GET_ECHO);
    expect(&c, 200, "");
    client_say(&c, GET_ECHO);
    http_server_drain(server, 20000, on_drained, &drained);
    expect(&c, 200, "");
    run_until(drained == 1);
    client_close(&c);
    stop();
}

static void drain_has_an_end(void **state)
{
    struct client c;

    (void)state;
    drained = 0;
    start(NULL);
    client_open(&c);
    client_say(&c, GET_LATE);
    run_until(late_count == 1);
    http_server_drain(server, 30, on_drained, &drained);
    run_until(drained == 1);
    assert_int_equal(count()->open, 0);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("too late"));
    assert_int_equal(count()->replies_lost, 1);
    client_close(&c);
    stop();
}

static void free_server(void *arg)
{
    http_server_free(server);
    server = NULL;
    ++*(unsigned *)arg;
}

static void an_empty_server_drains_at_once(void **state)
{
    (void)state;
    drained = 0;
    start(NULL);
    http_server_drain(server, 20000, free_server, &drained);
    assert_int_equal(drained, 0);
    run_until(drained == 1);
    stop();
}

/* ---- listeners ---- */

static void a_listener_can_be_given_back(void **state)
{
    int port, first_port, fd = listen_on_loopback(&port);
    struct client c, second, late_one;

    (void)state;
    start(NULL);
    first_port = listen_port;
    assert_int_equal(http_server_listen(server, fd), 0);
    client_open(&c);
    client_say(&c, GET_ECHO);
    expect(&c, 200, "");
    http_server_unlisten(server, listen_fd);
    client_open(&late_one); /* waits for the next owner of the socket */
    listen_port = port;
    client_open(&second);
    client_say(&second, GET_ECHO);
    expect(&second, 200, "");
    client_say(&c, GET_ECHO);
    expect(&c, 200, "");
    assert_int_equal(count()->accepted, 2);
    listen_port = first_port;
    assert_int_equal(http_server_listen(server, listen_fd), 0);
    client_say(&late_one, GET_ECHO);
    expect(&late_one, 200, "");
    client_close(&c);
    client_close(&second);
    client_close(&late_one);
    http_server_free(server);
    server = NULL;
    close(fd);
    stop();
}

/* ---- Unix sockets ---- */

static void unix_sockets_are_served(void **state)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct client c;
    int fd, to;

    (void)state;
    start(NULL);
    /* an abstract name: no file to remove */
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "http-test-%d",
             (int)getpid());
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(http_server_listen(server, fd), 0);
    to = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(to, (struct sockaddr *)&a, sizeof a), 0);
    client_start(&c, to);
    client_post(&c, "/echo", MF_STR("near"), "");
    expect(&c, 200, "near");
    assert_string_equal(last_peer, "unix");
    client_close(&c);
    http_server_free(server);
    server = NULL;
    close(fd);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_headers_are_cut),
        cmocka_unit_test(idle_connections_are_closed),
        cmocka_unit_test(slow_bodies_are_cut),
        cmocka_unit_test(late_answers_outlive_deadlines),
        cmocka_unit_test(readers_that_stall_are_cut),
        cmocka_unit_test(stalled_uploads_do_not_disturb),
        cmocka_unit_test(many_idle_connections),
        cmocka_unit_test(one_peer_has_its_share),
        cmocka_unit_test(limits_change_while_it_runs),
        cmocka_unit_test(a_full_server_makes_room),
        cmocka_unit_test(slow_ones_make_room_first),
        cmocka_unit_test(without_descriptors_clients_wait),
        cmocka_unit_test(bodies_share_a_budget),
        cmocka_unit_test(decoded_bodies_share_it),
        cmocka_unit_test(gone_before_the_answer),
        cmocka_unit_test(gone_in_the_middle),
        cmocka_unit_test(the_server_goes_before_the_answer),
        cmocka_unit_test(streams_are_chunked),
        cmocka_unit_test(streams_notice_who_left),
        cmocka_unit_test(streams_that_fall_behind_are_cut),
        cmocka_unit_test(lagging_streams_stay_small),
        cmocka_unit_test(drain_finishes_what_is_there),
        cmocka_unit_test(drain_lets_answers_leave),
        cmocka_unit_test(drain_looks_once_more),
        cmocka_unit_test(drain_has_an_end),
        cmocka_unit_test(an_empty_server_drains_at_once),
        cmocka_unit_test(a_listener_can_be_given_back),
        cmocka_unit_test(unix_sockets_are_served),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "ipc/ipc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
    struct event_base *base;
    unsigned messages, fds, closed, expect;
    size_t bytes;
};

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct seen *s = arg;

    assert_int_equal(type, s->messages);
    for (size_t i = 0; i < text.len; i += 997)
        assert_int_equal((unsigned char)text.ptr[i], type & 255);
    assert_true((fd >= 0) == (type % 3 == 0));
    if (fd >= 0) {
        char c = 'x';

        assert_int_equal(write(fd, &c, 1), 1);
        close(fd);
        s->fds++;
    }
    s->bytes += text.len;
    if (++s->messages == s->expect)
        event_base_loopbreak(s->base);
}

static void on_close(void *arg)
{
    struct seen *s = arg;

    s->closed++;
    event_base_loopbreak(s->base);
}

/* Many messages of all sizes, every third with a descriptor, through a socket
 * that cannot hold them: all arrive whole, in order, each with its own. */
static void messages_arrive_in_order_with_their_descriptors(void **state)
{
    struct seen s = { event_base_new(), 0, 0, 0, 60, 0 };
    size_t sent = 0;
    int pair[2], pipes[2];
    struct ipc *a, *b;
    char drained[64];

    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    assert_int_equal(pipe(pipes), 0);
    a = ipc_new(s.base, pair[0], on_message, on_close, &s);
    b = ipc_new(s.base, pair[1], on_message, on_close, &s);
    for (unsigned i = 0; i < s.expect; i++) {
        size_t len = (size_t)i * i * 53;
        char *bytes = xmalloc(len);

        memset(bytes, (int)(i & 255), len);
        ipc_send(a, i, bytes, len, i % 3 == 0 ? pipes[1] : -1);
        sent += len;
        free(bytes);
    }
    assert_true(ipc_backlog(a) > 0);
    event_base_dispatch(s.base);
    assert_int_equal(s.messages, 60);
    assert_int_equal(s.bytes, sent);
    assert_int_equal(s.fds, 20);
    assert_int_equal(read(pipes[0], drained, sizeof drained), 20);
    ipc_free(a);
    event_base_dispatch(s.base);
    assert_int_equal(s.closed, 1);
    ipc_free(b);
    close(pipes[0]);
    close(pipes[1]);
    event_base_free(s.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_order_with_their_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

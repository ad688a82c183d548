/* SPDX-License-Identifier: Apache-2.0
 *
 * listen.c - the listening sockets, which belong to the supervisor: ingest may
 * crash and come back, and nobody's connection is refused meanwhile.
 *
 * An address of ingest has a socket for each thread, so that the kernel deals
 * out connections and threads share nothing. Their number stays as it is while
 * the address is listened on: what waits in a socket's queue ends with it. */
#include "supervisor/supervisor.h"

#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define BIND_TRIES    40    /* of an address in use, at the start */
#define BIND_PAUSE_US 25000

static socklen_t to_sockaddr(const struct conf_address *a,
                             struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (!a->host) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(a->port);
        return sizeof *v6;
    }
    if (inet_pton(AF_INET, a->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(a->port);
        return sizeof *v4;
    }
    ASSERT(inet_pton(AF_INET6, a->host, &v6->sin6_addr) == 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(a->port);
    return sizeof *v6;
}

static void bound_text(int fd, char *out, size_t size)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN];

    getsockname(fd, (struct sockaddr *)&a, &len);
    if (a.ss_family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&a;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
}

/* Children of a supervisor that was killed hold its sockets until they have
 * noticed, which may be a moment after the next one starts: so at the start
 * an address in use is tried for a while. */
static int bind_to(int fd, const struct sockaddr_storage *a, socklen_t len,
                   bool shared, bool patient)
{
    int left = patient ? BIND_TRIES : 1, one = 1;

    for (;;) {
        if (bind(fd, (const struct sockaddr *)a, len) == 0 &&
            (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one,
                                   sizeof one) == 0) &&
            listen(fd, BACKLOG) == 0)
            return 0;
        if (errno != EADDRINUSE || --left == 0)
            return -1;
        usleep(BIND_PAUSE_US);
    }
}

static int new_socket(const struct conf_address *a, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, zero = 0;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!a->host)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    return fd;
}

static void close_sockets(struct listener *l)
{
    while (l->count)
        close(l->fds[--l->count]);
}

/* The first socket is bound without SO_REUSEPORT: so an address that another
 * server has is in use, also when that shares it among sockets of its own. */
static int open_first(struct listener *l, const struct conf_address *a,
                      bool shared, bool patient)
{
    struct sockaddr_storage addr;
    socklen_t len = to_sockaddr(a, &addr);
    int fd = new_socket(a, addr.ss_family);

    if (fd < 0)
        return -1;
    l->fds[l->count++] = fd;
    if (bind_to(fd, &addr, len, shared, patient) != 0)
        return -1;
    bound_text(fd, l->bound, sizeof l->bound);
    return 0;
}

/* The others of the same address and port. */
static int open_others(struct listener *l, const struct conf_address *a,
                       unsigned count)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int one = 1;

    getsockname(l->fds[0], (struct sockaddr *)&addr, &len);
    while (l->count < count) {
        int fd = new_socket(a, addr.ss_family);

        if (fd < 0)
            return -1;
        l->fds[l->count++] = fd;
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
            bind_to(fd, &addr, len, true, false) != 0)
            return -1;
    }
    return 0;
}

static int open_sockets(struct listener *l, const struct conf_address *a,
                        unsigned count, bool patient, struct err *e)
{
    if (a->socket)
        return err_set(e,
                       "%s: no socket of that name was passed in; start the "
                       "server from a socket unit that has "
                       "FileDescriptorName=%s, or name an address",
                       a->text, a->socket);
    if (open_first(l, a, count > 1, patient) == 0 &&
        open_others(l, a, count) == 0)
        return 0;
    err_sys(e, "%s cannot be listened on", a->text);
    close_sockets(l);
    return -1;
}

/* The n-th listener of the address: a socket that was passed in, or, if there
 * is none, `count` of its own. NULL when there are no more, or with *e. */
static struct listener *open_listener(struct supervisor *s,
                                      const struct conf_address *a, size_t n,
                                      unsigned count, struct err *e)
{
    int passed = inherited_open(&s->inherited, a, n);
    struct listener *l;

    if (passed < 0 && n > 0)
        return NULL;
    l = xcalloc(1, sizeof *l);
    ASSERT(count >= 1 && count <= LISTEN_SOCKETS_MAX);
    snprintf(l->configured, sizeof l->configured, "%s", a->text);
    if (passed >= 0) {
        l->fds[l->count++] = passed;
        bound_text(passed, l->bound, sizeof l->bound);
    } else if (open_sockets(l, a, count, !s->admin_listener, e) != 0) {
        free(l);
        return NULL;
    }
    return l;
}

static void tell(struct supervisor *s, const struct listener *l)
{
    char text[sizeof(struct msg_listen) + sizeof l->bound];
    struct msg_listen m = { .count = l->count, .tls = l->tls };
    size_t len = strlen(l->bound);

    memcpy(text + sizeof m, l->bound, len);
    for (; s->ingest_ready && m.index < m.count; m.index++) {
        memcpy(text, &m, sizeof m);
        child_send(s->ingest, MSG_LISTEN, text, sizeof m + len,
                   l->fds[m.index]);
    }
}

static void untell(struct supervisor *s, const struct listener *l)
{
    if (s->ingest)
        child_send(s->ingest, MSG_UNLISTEN, l->bound, strlen(l->bound), -1);
}

void listen_tell_ingest(struct supervisor *s)
{
    certificate_tell_ingest(s);
    for (struct listener *l = s->listeners; l; l = l->next)
        tell(s, l);
}

static void drop_unkept(struct supervisor *s)
{
    struct listener **at = &s->listeners;

    while (*at) {
        struct listener *l = *at;

        if (l->keep) {
            at = &l->next;
            continue;
        }
        untell(s, l);
        log_info("no longer listening on %s", l->bound);
        *at = l->next;
        close_sockets(l);
        free(l);
    }
}

static void speak(struct supervisor *s, struct listener *l, bool tls)
{
    if (l->tls == tls)
        return;
    untell(s, l);
    l->tls = tls;
    tell(s, l);
}

/* A name may mean several sockets, which then all go on. */
static bool keep(struct supervisor *s, const struct conf_address *a, bool tls)
{
    bool kept = false;

    for (struct listener *l = s->listeners; l; l = l->next)
        if (!l->keep && strcmp(l->configured, a->text) == 0 &&
            (!kept || a->socket)) {
            l->keep = kept = true;
            speak(s, l, tls);
        }
    return kept;
}

static int keep_or_open(struct supervisor *s, const struct conf_address *a,
                        bool tls, struct err *e)
{
    struct listener *l;
    size_t n = 0;

    if (keep(s, a, tls))
        return 0;
    for (; (l = open_listener(s, a, n, s->threads, e)); n++) {
        l->keep = true;
        l->tls = tls;
        l->next = s->listeners;
        s->listeners = l;
        log_info("listening on %s%s", l->bound, tls ? " for TLS" : "");
        tell(s, l);
    }
    return n ? 0 : -1;
}

int listen_update(struct supervisor *s, const struct config *c, struct err *e)
{
    const struct conf_address *a;
    struct err other; /* *e has the first fault */
    bool tls;
    int rc = 0;

    for (struct listener *l = s->listeners; l; l = l->next)
        l->keep = false;
    for (size_t i = 0; (a = config_listen(c, i, &tls)); i++)
        if (keep_or_open(s, a, tls, rc ? &other : e) != 0)
            rc = -1;
    if (rc != 0) /* rather one too many than none */
        for (struct listener *l = s->listeners; l; l = l->next)
            l->keep = true;
    drop_unkept(s);
    if (!s->admin_listener)
        s->admin_listener = open_listener(s, &c->admin.listen, 0, 1,
                                          rc ? &other : e);
    if (!s->admin_listener)
        return -1;
    if (s->data_fd >= 0 && listen_write_addresses(s, rc ? &other : e) != 0)
        return -1;
    return rc;
}

/* data_dir/run/addresses.json: what was really bound, for port 0 and for
 * commands that look for the server. */
int listen_write_addresses(struct supervisor *s, struct err *e)
{
    struct json_out w;
    struct buf b;
    int rc;

    buf_init(&b, 65536);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, MF_STR("ingest"));
    json_begin_array(&w);
    for (struct listener *l = s->listeners; l; l = l->next)
        json_str(&w, mf_cstr(l->bound));
    json_end_array(&w);
    json_key(&w, MF_STR("tls"));
    json_begin_array(&w);
    for (struct listener *l = s->listeners; l; l = l->next)
        if (l->tls)
            json_str(&w, mf_cstr(l->bound));
    json_end_array(&w);
    json_kstr(&w, "admin", mf_cstr(s->admin_listener->bound));
    json_kint(&w, "pid", getpid());
    json_end_object(&w);
    buf_char(&b, '\n');
    rc = io_replace_file(s->data_fd, "run/addresses.json", b.data, b.len, 0644,
                         e);
    buf_deinit(&b);
    return rc;
}

void listen_close(struct supervisor *s)
{
    inherited_close(&s->inherited);
    while (s->listeners) {
        struct listener *l = s->listeners;

        s->listeners = l->next;
        close_sockets(l);
        free(l);
    }
    if (s->admin_listener) {
        close_sockets(s->admin_listener);
        free(s->admin_listener);
        s->admin_listener = NULL;
    }
}

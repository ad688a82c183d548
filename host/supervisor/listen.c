/* SPDX-License-Identifier: Apache-2.0
 *
 * listen.c - the listening sockets, which belong to the supervisor: ingest may
 * crash and come back, and nobody's connection is refused meanwhile. */
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
                   bool patient)
{
    int left = patient ? BIND_TRIES : 1;

    for (;;) {
        if (bind(fd, (const struct sockaddr *)a, len) == 0 &&
            listen(fd, BACKLOG) == 0)
            return 0;
        if (errno != EADDRINUSE || --left == 0)
            return -1;
        usleep(BIND_PAUSE_US);
    }
}

static int bind_one(const struct conf_address *a, bool patient, struct err *e)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int one = 1, zero = 0, fd;

    if (a->socket)
        return err_set(e,
                       "%s: no socket of that name was passed in; start the "
                       "server from a socket unit that has "
                       "FileDescriptorName=%s, or name an address",
                       a->text, a->socket);
    len = to_sockaddr(a, &addr);
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(e, "%s: no socket", a->text);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!a->host)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind_to(fd, &addr, len, patient) != 0) {
        err_sys(e, "%s cannot be listened on", a->text);
        close(fd);
        return -1;
    }
    return fd;
}

/* The n-th socket of the address: passed in, or bound to it, which can be but
 * the first. NULL with *e "" when there are no more. */
static struct listener *open_listener(struct supervisor *s,
                                      const struct conf_address *a, size_t n,
                                      bool patient, struct err *e)
{
    int fd = inherited_open(&s->inherited, a, n);
    struct listener *l;

    e->text[0] = 0;
    if (fd < 0 && n == 0)
        fd = bind_one(a, patient, e);
    if (fd < 0)
        return NULL;
    l = xcalloc(1, sizeof *l);
    l->fd = fd;
    snprintf(l->configured, sizeof l->configured, "%s", a->text);
    bound_text(fd, l->bound, sizeof l->bound);
    return l;
}

static void tell(struct supervisor *s, const struct listener *l)
{
    if (s->ingest_ready)
        child_send(s->ingest, l->tls ? MSG_LISTEN_TLS : MSG_LISTEN, l->bound,
                   strlen(l->bound), l->fd);
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
        close(l->fd);
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
    for (; (l = open_listener(s, a, n, !s->admin_listener, e)); n++) {
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
    struct err other;
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
        s->admin_listener = open_listener(s, &c->admin.listen, 0, true,
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
        close(l->fd);
        free(l);
    }
    if (s->admin_listener) {
        close(s->admin_listener->fd);
        free(s->admin_listener);
        s->admin_listener = NULL;
    }
}

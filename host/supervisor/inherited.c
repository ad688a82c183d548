/* SPDX-License-Identifier: Apache-2.0
 *
 * inherited.c - see inherited.h. */
#include "supervisor/inherited.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_FD 3 /* as the protocol has it */

static bool number_of(const char *name, uint64_t *out)
{
    const char *text = getenv(name);

    return text && parse_u64(mf_cstr(text), out);
}

/* The n-th of the names between colons; systemd's word where there is none. */
static void name_of(const char *names, size_t n, char *out, size_t size)
{
    size_t len;

    for (; names && n > 0; n--) {
        names = strchr(names, ':');
        names = names ? names + 1 : NULL;
    }
    if (!names)
        names = "unknown";
    len = strcspn(names, ":");
    if (len >= size)
        len = size - 1;
    memcpy(out, names, len);
    out[len] = 0;
}

static int option_of(int fd, int option)
{
    int value = 0;
    socklen_t n = sizeof value;

    return getsockopt(fd, SOL_SOCKET, option, &value, &n) == 0 ? value : -1;
}

static int take(struct inherited_socket *s, int fd, const char *names,
                struct err *e)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;

    s->fd = fd;
    name_of(names, (size_t)(fd - FIRST_FD), s->name, sizeof s->name);
    if (option_of(fd, SO_ACCEPTCONN) != 1 ||
        option_of(fd, SO_TYPE) != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)&ss, &n) != 0 ||
        !netaddr_of(&ss, &s->address))
        return err_set(e,
                       "descriptor %d, which was passed in under the name "
                       "%s, is no TCP socket that listens; the unit needs "
                       "ListenStream= with a port, and not Accept=yes",
                       fd, s->name);
    s->port = ntohs(ss.ss_family == AF_INET
                        ? ((struct sockaddr_in *)&ss)->sin_port
                        : ((struct sockaddr_in6 *)&ss)->sin6_port);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
        return err_sys(e, "descriptor %d cannot be used", fd);
    return 0;
}

int inherited_take(struct inherited *in, struct err *e)
{
    uint64_t pid, count;
    int rc = 0;

    in->count = 0;
    if (!number_of("LISTEN_PID", &pid) || pid != (uint64_t)getpid() ||
        !number_of("LISTEN_FDS", &count))
        count = 0;
    if (count > INHERITED_MAX)
        rc = err_set(e, "%llu sockets were passed in; %d are the most",
                     (unsigned long long)count, INHERITED_MAX);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = take(&in->list[i], FIRST_FD + (int)i, getenv("LISTEN_FDNAMES"),
                  e);
        in->count += rc == 0;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return rc;
}

static bool is_any(const struct netaddr *a)
{
    static const struct netaddr none;
    char text[NETADDR_TEXT];

    netaddr_text(a, text);
    return memcmp(a, &none, sizeof none) == 0 || strcmp(text, "0.0.0.0") == 0;
}

static bool is_meant(const struct inherited_socket *s,
                     const struct conf_address *a)
{
    struct netaddr wanted;

    if (a->socket)
        return strcmp(a->socket, s->name) == 0;
    if (a->port == 0 || a->port != s->port)
        return false;
    if (!a->host)
        return is_any(&s->address);
    return netaddr_parse(mf_cstr(a->host), &wanted) &&
           memcmp(&wanted, &s->address, sizeof wanted) == 0;
}

int inherited_open(struct inherited *in, const struct conf_address *a,
                   size_t n)
{
    for (size_t i = 0; i < in->count; i++) {
        struct inherited_socket *s = &in->list[i];

        if (!is_meant(s, a) || n-- > 0)
            continue;
        s->used = true;
        return fcntl(s->fd, F_DUPFD_CLOEXEC, FIRST_FD);
    }
    return -1;
}

void inherited_warn(const struct inherited *in)
{
    for (size_t i = 0; i < in->count; i++) {
        const struct inherited_socket *s = &in->list[i];
        char text[NETADDR_TEXT];

        netaddr_text(&s->address, text);
        if (!s->used)
            log_warn("nobody accepts at %s port %u, which was passed in under "
                     "the name %s; listen on \"fd:%s\" or on its address, or "
                     "take it out of the unit",
                     text, s->port, s->name, s->name);
    }
}

void inherited_close(struct inherited *in)
{
    while (in->count)
        close(in->list[--in->count].fd);
}

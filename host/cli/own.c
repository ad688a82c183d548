/* SPDX-License-Identifier: Apache-2.0
 *
 * own.c - see own.h. */
#include "cli/own.h"

#include "base/clock.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_WITHIN_MS 30000
#define ANSWER_MAX      8192
/* Below those the kernel gives to clients: a server that was killed must find
 * its port free again. */
#define PORT_FIRST 15000
#define PORTS      17000
#define PORT_TRIES 100
#define WORDS_MAX       1024 /* of a command line that are looked at */

extern char **environ;

pid_t own_start(const char *const *argv, const char *log,
                char *const *environment, struct err *e)
{
    posix_spawn_file_actions_t a;
    pid_t pid = -1;
    int rc;

    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_addopen(&a, 2, log,
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&a, 2, 1);
    rc = posix_spawn(&pid, "/proc/self/exe", &a, NULL,
                     (char *const *)(uintptr_t)argv,
                     environment ? environment : environ);
    posix_spawn_file_actions_destroy(&a);
    if (rc != 0) {
        errno = rc;
        err_sys(e, "%s cannot be started", argv[1]);
        return -1;
    }
    return pid;
}

void own_end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* ---- what runs ---- */

static ssize_t read_proc(const char *pid, const char *file, char *text,
                         size_t size)
{
    char path[300];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n;
}

/* The parent of a process and the CPU time it used, in ticks. */
static bool read_stat(const char *pid, pid_t *parent, unsigned long *ticks)
{
    char text[WORDS_MAX];
    unsigned long user, kernel;
    char *p;

    if (read_proc(pid, "stat", text, sizeof text) <= 0)
        return false;
    p = strrchr(text, ')');
    if (!p || sscanf(p + 2,
                     "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                     parent, &user, &kernel) != 3)
        return false;
    *ticks = user + kernel;
    return true;
}

void own_children(pid_t parent,
                  void (*each)(void *arg, pid_t pid, const char *words,
                               size_t len),
                  void *arg)
{
    DIR *proc = opendir("/proc");
    struct dirent *d;

    while (proc && (d = readdir(proc))) {
        char text[WORDS_MAX];
        unsigned long ticks;
        pid_t of;
        ssize_t n;

        if (d->d_name[0] < '0' || d->d_name[0] > '9' ||
            !read_stat(d->d_name, &of, &ticks) || of != parent)
            continue;
        n = read_proc(d->d_name, "cmdline", text, sizeof text);
        if (n > 0)
            each(arg, (pid_t)strtol(d->d_name, NULL, 10), text, (size_t)n);
    }
    if (proc)
        closedir(proc);
}

struct cpu_sum {
    const char *role;
    int64_t ticks;
};

static void add_cpu(void *arg, pid_t pid, const char *words, size_t len)
{
    struct cpu_sum *sum = arg;
    unsigned long ticks;
    char name[16];
    pid_t parent;

    snprintf(name, sizeof name, "%d", (int)pid);
    if (memmem(words, len, sum->role, strlen(sum->role)) &&
        read_stat(name, &parent, &ticks))
        sum->ticks += (int64_t)ticks;
}

int64_t own_cpu_us(pid_t parent, const char *role)
{
    struct cpu_sum sum = { role, 0 };

    own_children(parent, add_cpu, &sum);
    return sum.ticks * (1000000 / sysconf(_SC_CLK_TCK));
}

/* ---- a place for it ---- */

static bool may_bind(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&a, sizeof a);
    if (fd >= 0)
        close(fd);
    return rc == 0;
}

int own_port(void)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        uint16_t n;

        random_bytes(&n, sizeof n);
        n = (uint16_t)(PORT_FIRST + n % PORTS);
        if (may_bind(n))
            return n;
    }
    return -1;
}

int own_await(const struct config *c, pid_t *server, struct server_address *at,
              const char *log, struct err *e)
{
    int64_t until = clock_mono_ms() + READY_WITHIN_MS;

    while (clock_mono_ms() < until) {
        struct buf answer;
        long status = 0;

        buf_init(&answer, ANSWER_MAX);
        if (server_find(c, at, e) == 0 &&
            http_exchange(at->admin, "/readyz", NULL, NULL, &status, &answer,
                          e) == 0 &&
            status == 200) {
            buf_deinit(&answer);
            return 0;
        }
        buf_deinit(&answer);
        if (waitpid(*server, NULL, WNOHANG) == *server) {
            *server = 0;
            return err_set(e, "the server ended; see %s", log);
        }
        usleep(20000);
    }
    return err_set(e, "the server is not ready; see %s", log);
}

void own_remove(const char *dir)
{
    const char *argv[] = { "rm", "-rf", "--", dir, NULL };
    pid_t pid;

    if (posix_spawnp(&pid, "rm", NULL, NULL, (char *const *)(uintptr_t)argv,
                     environ) == 0)
        waitpid(pid, NULL, 0);
}

void own_beside(const char *name, char *out, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    self[n > 0 ? n : 0] = 0;
    slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    snprintf(out, size, "%.*s/%s", (int)(size - strlen(name) - 2), self, name);
}

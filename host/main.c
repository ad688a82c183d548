/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - the one binary: a table of commands, and the roles that the
 * supervisor starts it in. */
#include "admin/admin.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/explain.h"
#include "delivery/worker.h"
#include "ingest/ingest.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "run", "the server, in the foreground", cmd_run },
    { "check", "configuration, plugins, settings; no side effect", cmd_check },
    { "reload", "like SIGHUP, but waits and prints what changed", cmd_reload },
    { "status", "sources and destinations: state, counts, errors",
      cmd_status },
    { "send", "one event from flags or standard input", cmd_send },
    { "pause", "stop delivering to a destination", cmd_pause },
    { "resume", "go on delivering to it", cmd_pause },
    { "dead", "dead letters: ls, show, replay, drop", cmd_dead },
    { "replay", "send what is retained to a destination again", cmd_replay },
    { "explain", "everything that became of one event", cmd_explain },
    { "audit", "the proof that no event is unaccounted for", cmd_audit },
    { "plugins", "what is installed; what a plugin asks for", cmd_plugins },
    { "map", "what would be sent, without a network", cmd_map },
    { "test", "the cases of plugins, without a network", cmd_test },
    { "new", "a plugin folder that builds and passes", cmd_new },
    { "bench", "what this machine does: ingest and delivery", cmd_bench },
    { "sink", "a receiver that prints what it is sent", cmd_sink },
    { "chaos", "faults on this machine, and proof that nothing is lost",
      cmd_chaos },
};

static int usage(FILE *to)
{
    fputs("usage: manifold COMMAND [OPTION ...]\n\n", to);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].help);
    fputs("\n-c FILE or MANIFOLD_CONFIG names the configuration, else "
          "/etc/manifold/manifold.json.\n",
          to);
    return to == stdout ? EXIT_OK : EXIT_USAGE;
}

/* manifold role ROLE NAME UID GID PARENT, started by the supervisor. */
static int role(int argc, char **argv)
{
    uint64_t uid, gid, parent;

    if (argc != 7 || !parse_u64(mf_cstr(argv[4]), &uid) ||
        !parse_u64(mf_cstr(argv[5]), &gid) ||
        !parse_u64(mf_cstr(argv[6]), &parent))
        return usage(stderr);
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[2], "ingest") == 0)
        return ingest_main((uid_t)uid, (gid_t)gid, (pid_t)parent);
    if (strcmp(argv[2], "admin") == 0)
        return admin_main((uid_t)uid, (gid_t)gid, (pid_t)parent);
    if (strcmp(argv[2], "explain") == 0)
        return explain_main((pid_t)parent);
    if (strcmp(argv[2], "worker") == 0)
        return worker_main(argv[3], (uid_t)uid, (gid_t)gid, (pid_t)parent);
    return usage(stderr);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "role") == 0)
        return role(argc, argv);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        puts("manifold " MANIFOLD_VERSION);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "manifold: there is no command %s\n", argv[1]);
    return usage(stderr);
}

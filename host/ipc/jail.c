/* SPDX-License-Identifier: Apache-2.0
 *
 * jail.c - see jail.h.
 *
 * The deny list is a lint with teeth, not the whole jail: it takes away the
 * calls that turn a bug into a foothold (running programs, tracing, mounting,
 * kernel interfaces, listening). What must stay open is what libcurl, the
 * resolver and OpenSSL use. */
#include "ipc/jail.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const int denied[] = {
#ifndef MANIFOLD_SANITIZE /* the leak checker traces, reports run a program */
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
#endif
    SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp), SCMP_SYS(mount),
    SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open), SCMP_SYS(keyctl), SCMP_SYS(add_key),
    SCMP_SYS(request_key), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),
    SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(setns), SCMP_SYS(unshare),
    SCMP_SYS(userfaultfd), SCMP_SYS(listen), SCMP_SYS(accept),
    SCMP_SYS(accept4), SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at), SCMP_SYS(personality), SCMP_SYS(acct),
    SCMP_SYS(quotactl), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime), SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname), SCMP_SYS(syslog), SCMP_SYS(vhangup),
    SCMP_SYS(kill), SCMP_SYS(pidfd_send_signal), SCMP_SYS(pidfd_getfd),
    SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid),
    SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
};

static int limit(int what, rlim_t value, const char *name, struct err *e)
{
    struct rlimit now, set = { value, value };

    if (getrlimit(what, &now) != 0)
        return err_sys(e, "the limit on %s cannot be read", name);
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
        set.rlim_cur = set.rlim_max = now.rlim_max;
    if (setrlimit(what, &set) != 0)
        return err_sys(e, "the limit on %s cannot be set", name);
    return 0;
}

void jail_user(int data_dir, uid_t *uid, gid_t *gid)
{
    struct passwd *p;
    struct stat st;

    *uid = geteuid();
    *gid = getegid();
    if (*uid != 0)
        return;
    if (fstat(data_dir, &st) == 0 && st.st_uid != 0) {
        *uid = st.st_uid;
        *gid = st.st_gid;
        return;
    }
    p = getpwnam("manifold");
    *uid = p ? p->pw_uid : 65534;
    *gid = p ? p->pw_gid : 65534;
}

int jail_child(uid_t uid, gid_t gid, pid_t parent, struct err *e)
{
    if (geteuid() == 0 && uid != 0) {
        if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
            setresuid(uid, uid, uid) != 0)
            return err_sys(e, "user %u cannot be taken on", (unsigned)uid);
        /* A change of user hides /proc/self, which dlopen will need. */
        prctl(PR_SET_DUMPABLE, 1);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_sys(e, "no_new_privs cannot be set");
    if (limit(RLIMIT_CORE, 0, "core files", e) != 0)
        return -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return err_set(e, "the supervisor is gone");
    return 0;
}

int jail_worker(struct err *e)
{
    scmp_filter_ctx ctx;
    int rc = -1;

#ifndef MANIFOLD_SANITIZE /* shadow memory counts as data */
    if (limit(RLIMIT_DATA, JAIL_DATA_BYTES, "memory", e) != 0)
        return -1;
#endif
    if (limit(RLIMIT_NOFILE, JAIL_FILES, "open files", e) != 0)
        return -1;
    ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return err_set(e, "no seccomp filter can be made");
    for (size_t i = 0; i < COUNT_OF(denied); i++)
        if (denied[i] >= 0 && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
                                               denied[i], 0) != 0) {
            err_set(e, "seccomp refuses rule %zu", i);
            goto out;
        }
    rc = seccomp_load(ctx);
    if (rc != 0) {
        errno = -rc;
        rc = err_sys(e, "the seccomp filter cannot be loaded");
    }
out:
    seccomp_release(ctx);
    return rc;
}

void jail_close(void)
{
    prctl(PR_SET_DUMPABLE, 0);
}

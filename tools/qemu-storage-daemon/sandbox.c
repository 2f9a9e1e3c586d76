/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --sandbox: system calls that a storage daemon has no use for fail with EPERM, so that somebody
 * who took it over cannot start programs, gain privileges or change the system.
 */
#include "qemu/osdep.h"

#include "config-host.h"
#include "qsd.h"

#if CONFIG_SECCOMP
#include <seccomp.h>

static const int denied[] = {
    /* other programs and processes */
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp),
    SCMP_SYS(pidfd_getfd),
    /* privileges */
    SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid),
    SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
    SCMP_SYS(setgroups), SCMP_SYS(capset), SCMP_SYS(keyctl), SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    /* name spaces and mounts */
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
    SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(open_tree), SCMP_SYS(move_mount),
    SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick),
    /* the system */
    SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(init_module),
    SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
    SCMP_SYS(syslog), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(nfsservctl),
    SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(vhangup), SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(personality),
    SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at), SCMP_SYS(lookup_dcookie),
};

static int install(scmp_filter_ctx ctx)
{
    for (size_t i = 0; i < G_N_ELEMENTS(denied); i++) {
        int ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
        /* A call that this architecture does not have needs no rule. */
        if (ret < 0 && ret != -EDOM && ret != -EFAULT) {
            return ret;
        }
    }
    int ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    return ret < 0 ? ret : seccomp_load(ctx);
}

bool qsd_sandbox_enter(Error **errp)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int ret = ctx ? install(ctx) : -ENOMEM;

    seccomp_release(ctx);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "--sandbox: cannot install the system call filter");
    }
    return ret == 0;
}

#else

bool qsd_sandbox_enter(Error **errp)
{
    error_setg(errp, "--sandbox: this program was built without libseccomp");
    return false;
}

#endif

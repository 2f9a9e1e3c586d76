/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the machine that is a child process. */
#ifndef MACHINE_QEMU_INTERNAL_H
#define MACHINE_QEMU_INTERNAL_H

#include "../machine-internal.h"
#include "nbd/server.h"
#include "qapi/command.h"
#include "qemu/aio.h"

/* ---- child.c: the process ---- */

typedef struct MachineChild {
    pid_t pid;                      /* 0: none */
    int pid_fd;                     /* ready when it has ended; -1: the kernel has no such thing */
    int words_fd;                   /* its standard error */
    Coroutine *words_co;            /* reads that */
    GString *last_words;            /* the end of what it wrote there */
    int status;                     /* as a shell has it, once it has ended */
    bool ended;
    int workers;                    /* coroutines of this file */
    Coroutine *waiter;              /* waits for both to be over */
    void (*on_end)(void *opaque);   /* ended, and its last words are complete */
    void *opaque;
} MachineChild;

/* Start @argv (of @path), in which the descriptors @keep stay open although they are close-on-exec
 * here. */
bool co_main_fn machine_child_start(MachineChild *c, const char *path, char *const *argv,
                                    const int *keep, size_t n_keep, Error **errp);
void main_fn machine_child_kill(MachineChild *c, int signal);
/* It has ended or was never started; waits for what it wrote. */
void co_main_fn machine_child_finish(MachineChild *c);
/* What it has written so far is on our standard error, if that takes no longer. */
void blocking_fn machine_child_flush_words(int64_t patience_ns);

/* ---- client.c: its monitor ---- */

/* What the child may take for a command of ours; a machine whose memory is on its way to another
 * place is busy for seconds. */
#define MACHINE_PATIENCE_NS (60 * NS_PER_SEC)

typedef struct MachineQmp MachineQmp;

typedef struct MachineQmpCallbacks {
    void (*co_event)(void *opaque, QDict *event);   /* takes it; in order; may yield */
    /* It cannot be talked to any more; once.  @gone: it has left; else it is not to be trusted. */
    void (*broken)(void *opaque, bool gone, const char *why);
    void *opaque;
} MachineQmpCallbacks;

/* On the connected socket @fd, which is taken.  There is one at a time. */
MachineQmp *main_fn machine_qmp_new(int fd, const MachineQmpCallbacks *cbs);
/* The one that there is, or NULL. */
MachineQmp *main_fn machine_qemu_qmp(void);
/* Hangs up; requests under way fail, with @why unless something was wrong before. */
void main_fn machine_qmp_end(MachineQmp *q, const char *why);
/* After the end: waits until nobody uses it. */
void co_main_fn machine_qmp_free(MachineQmp *q);

/* It has sent its last, and that has been dealt with; or that takes longer than @timeout_ns. */
void co_main_fn machine_qmp_wait_end(MachineQmp *q, int64_t timeout_ns);

/* It was not we who ended it, and nothing was wrong with what it sent. */
bool main_fn machine_qmp_is_gone(const MachineQmp *q);
/* There is a request that nobody waits for any more and that is not answered yet. */
bool main_fn machine_qmp_is_late(const MachineQmp *q);

/* The greeting, borrowed: waits for it.  NULL with @errp: none will come. */
QDict *co_main_fn machine_qmp_greeting(MachineQmp *q, Error **errp);

typedef enum MachineQmpOrder {
    /* It is answered when all events that came before are dealt with: for what clients ask. */
    MACHINE_QMP_IN_ORDER,
    /* At once: for whoever deals with an event. */
    MACHINE_QMP_AT_ONCE,
} MachineQmpOrder;

/*
 * What command @name returns; NULL with @errp set: the error, with its class.  @fds go with it;
 * they stay the caller's.  @deadline_ns: from now; < 0: as long as it takes.  @q NULL: an error.
 */
QObject *co_main_fn machine_qmp_run(MachineQmp *q, const char *name, const QDict *arguments,
                                    const int *fds, size_t n_fds, MachineQmpOrder order,
                                    int64_t deadline_ns, Error **errp);

/* ---- disk.c: exports and nodes of a disk ---- */

typedef struct MachineQemuDisk MachineQemuDisk;

struct MachineQemuDisk {
    char *node, *link;              /* link: its name now; NULL: no medium is in the machine */
    unsigned generation;
    int64_t length;                 /* of the medium, as the child was told; bytes */
    bool exchanging;
    NbdExport *exp;                 /* NULL: nothing is exported */
};

/* names.c: a name for a node; caller frees. */
char *main_fn machine_qemu_new_name(void);

void main_fn machine_qemu_disk_new(MachineDisk *disk);
/* The child has ended, or knows nothing of it. */
void co_main_fn machine_qemu_disk_free(MachineDisk *disk);
/* @text with what clients call a disk in the place of its node; caller frees. */
char *main_fn machine_qemu_translate(const char *text);
/* The name of its node in the child. */
const char *main_fn machine_qemu_node(const MachineDisk *disk);
/* That of the connection, NULL: no medium is in the machine. */
const char *main_fn machine_qemu_link(const MachineDisk *disk);

/* Before the child starts, a disk with a medium: exported; the child's end of its connection, or
 * -1. */
int main_fn machine_qemu_disk_prepare(MachineDisk *disk, Error **errp);
/* Give the child its medium / take it from it.  The node is no device's yet, or any more. */
bool co_main_fn machine_qemu_disk_plug(MachineDisk *disk, Error **errp);
void co_main_fn machine_qemu_disk_unplug(MachineDisk *disk);
/* D2: where the length is another, another connection in the place of this one; the guest is told.
 */
void co_main_fn machine_qemu_check_lengths(void);
/* The child has ended. */
void co_main_fn machine_qemu_disks_stop(void);

/* ---- state.c: how the child sees its disks ---- */

/* Ask about all of them. */
void co_main_fn machine_qemu_refresh(void);
/* The same once it has started: and tell of drives that it has made itself. */
void co_main_fn machine_qemu_find_drives(void);
/* Deal with an event, which is taken: tell those above, forward it or not. */
void co_main_fn machine_qemu_event(void *opaque, QDict *event);

/* ---- qemu.c ---- */

/* The channel of its monitor that is ours. */
#define MACHINE_MONITOR_ID "x-inner"

void main_fn machine_qemu_pass_option(const char *name, const char *value);
void main_fn machine_qemu_pass_dict(const char *name, const QDict *options);
void main_fn machine_qemu_pass_device(const QDict *options, bool json, MachineDisk *disk);
void main_fn machine_qemu_pass_drive(const QDict *options, MachineDisk *disk);
const char *main_fn machine_qemu_pass_node(MachineDisk *disk);
bool co_main_fn machine_qemu_start(int *ret_status, Error **errp);
void main_fn machine_qemu_quit(MachineQuit why);
bool main_fn machine_qemu_is_there(void);
void co_main_fn machine_qemu_stop(void);


#endif

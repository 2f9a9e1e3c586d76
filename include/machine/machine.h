/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine around the disks: vCPUs, devices as a guest sees them, display, serial lines, agent.
 * One interface, two implementations: none (machine/none.c), and the installed QEMU as a child
 * process (machine/qemu/), each of whose disks is an NBD connection to this process.
 *
 * Nothing here may be called under the graph mutex: a call may wait for the child, and the child
 * waits for its disks.  Everything is on the main thread.  docs/design/machine.md
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "block/backend.h"
#include "qapi/command.h"
#include "qobject/qobject.h"

typedef struct MachineDisk MachineDisk;

/* ---- which machine; before there are threads and before the loop ---- */

/* What the command line says, as it is written; NULL: nothing. */
typedef struct MachineWish {
    const char *machine;            /* the last -machine or -M */
    const char *accel;              /* the last -accel */
    bool qtest;                     /* there is a -qtest */
    bool detached;                  /* it has no terminal: its standard input and output are void */
} MachineWish;

/*
 * Decide.  Without a machine: `-machine none` without an accelerator, the accelerator qtest,
 * -qtest, `x-inner=off` among the options of -machine, QEMU_INNER=off in the environment.  Else
 * the QEMU that QEMU_INNER names, or the one in the distribution's place, which is never this
 * program itself.  `-machine none,accel=X` asks what machines there are: the installed QEMU
 * answers, or, where there is none, this program.  False: there is no QEMU for a machine that is
 * wanted, or QEMU_INNER is nothing that can be run.
 */
bool blocking_fn machine_choose(const MachineWish *wish, Error **errp);
/* It is the installed QEMU. */
bool any_fn machine_is_real(void);
/* Path of the installed QEMU, NULL: none. */
const char *any_fn machine_program(void);

/* ---- what the machine tells; set before machine_co_start() ---- */

typedef struct MachineCallbacks {
    /* An event for all monitors, complete, with its timestamp.  Takes @event. */
    void (*event)(QObject *event);
    /* co_main_fn.  The guest or a command has let go of the device of @disk, of which the machine
     * knows nothing more: machine_disk_free() is the callee's.  Before DEVICE_DELETED is sent. */
    void (*co_device_deleted)(MachineDisk *disk);
    /* disk->state may be another; if its tray has moved, before DEVICE_TRAY_MOVED is sent. */
    void (*state_changed)(MachineDisk *disk);
    /* co_main_fn.  The machine has a drive @name of its own making, empty, for media; @qdev: the
     * device that has it, NULL: none.  While it starts.  NULL: nobody wants to know. */
    void (*co_drive_found)(const char *name, const char *qdev);
    /* The machine has ended, by itself, by a signal or by machine_quit(): the program ends with
     * @status.  Its last requests are answered by then.  Once. */
    void (*ended)(int status);
} MachineCallbacks;

void main_fn machine_set_callbacks(const MachineCallbacks *cbs);    /* copied */

/* ---- disks ---- */

/* How the machine sees a device; with no machine all is as after machine_disk_new(). */
typedef struct MachineDiskState {
    char *qdev;                     /* path of the device in the machine, NULL: not known (yet) */
    bool removable, locked;
    bool has_tray, tray_open;
    char *io_status;                /* "ok", "failed", "nospace"; NULL: the device has none */
} MachineDiskState;

struct MachineDisk {
    char *id;                       /* unique among disks, also of what a device without id has */
    BlockBackend *blk;              /* the device's; borrowed, outlives this */
    struct IOThread *iothread;      /* where its requests run; NULL: main thread; borrowed */
    bool read_only;                 /* as the device has it */
    char *shown;                    /* what messages of the machine about its node are to say, NULL:
                                     * id */
    MachineDiskState state;
    struct MachineQemuDisk *qemu;   /* of machine/qemu/ */
};

MachineDisk *main_fn machine_disk_new(const char *id, BlockBackend *blk);
/* Nothing of the guest reaches it any more. NULL is fine. */
void co_main_fn machine_disk_free(MachineDisk *disk);
/* The disk whose device is at the path or has the id @qdev; NULL: none. */
MachineDisk *main_fn machine_disk_find(const char *qdev);

/* ---- the command line for the machine: before machine_co_start(), in its order ---- */

/* -NAME VALUE (NULL: none) as it was given: anything that is neither ours nor below. */
void main_fn machine_pass_option(const char *name, const char *value);
/* The same for `key=value` options that are not those that were given. */
void main_fn machine_pass_dict(const char *name, const QDict *options);
/* -device; @disk, if it holds one, takes the place of `drive`.  @json: @options was JSON. */
void main_fn machine_pass_device(const QDict *options, bool json, MachineDisk *disk);
/* -drive with an if= other than none: @options are what the machine has to know of it (if, index,
 * bus, unit, media, werror, rerror, ...), nothing of its image. */
void main_fn machine_pass_drive(const QDict *options, MachineDisk *disk);
/* The node of an option that is no device (-machine pflash0=NODE): its name in the machine, to be
 * put into that option.  Owned by @disk; NULL: without a machine. */
const char *main_fn machine_pass_node(MachineDisk *disk);

/* ---- start and end ---- */

/* In main(), first of all: which descriptors were inherited.  After machine_co_start() those that
 * this process has made no use of (they are not close-on-exec) are the child's alone. */
void blocking_fn machine_remember_descriptors(void);

/*
 * Start it, stopped.  False: it did not; what the child had to say about that has been repeated on
 * standard error, *@ret_status is what the program ends with, and @errp may add to it.
 */
bool co_main_fn machine_co_start(int *ret_status, Error **errp);

typedef enum MachineQuit { MACHINE_QUIT_COMMAND, MACHINE_QUIT_SIGNAL } MachineQuit;
/* Ask it to end: callbacks.ended follows, within MACHINE_QUIT_NS whatever the child does. */
void main_fn machine_quit(MachineQuit why);
/* It has been started and has not ended: machine_quit() has an effect. */
bool main_fn machine_is_there(void);
/* After ended, or where start-up failed: nothing of it is left.  Commands that wait for it fail. */
void co_main_fn machine_co_stop(void);

/* ---- devices.  The device has its disk's place in the machine when these return. ---- */

bool co_main_fn machine_co_device_add(const QDict *options, MachineDisk *disk, Error **errp);
/* It is asked to go; callbacks.co_device_deleted (of a disk) and DEVICE_DELETED follow, with
 * nothing but the guest's will to wait for. */
bool co_main_fn machine_co_device_del(const char *id, Error **errp);

/* disk->blk holds a medium now / its medium is about to be taken out of disk->blk. */
bool co_main_fn machine_co_medium_insert(MachineDisk *disk, Error **errp);
bool co_main_fn machine_co_medium_remove(MachineDisk *disk, Error **errp);
bool co_main_fn machine_co_tray(MachineDisk *disk, bool open, bool force, Error **errp);
/* Media may have other lengths than the machine knows: it is told, and the guest. */
void co_main_fn machine_co_check_lengths(void);

/* Ask the machine about all its disks: their states are up to date.  A machine that does not answer
 * soon leaves them as they were. */
void co_main_fn machine_co_refresh(void);

/* Let it run. */
bool co_main_fn machine_co_run(Error **errp);

/* ---- everything else ---- */

/*
 * For the monitor, in front of its own commands.  True: command @name was run, *@ret or @errp is
 * set.  False: it is the monitor's own; with a machine these are the commands of the block layer,
 * even unknown ones, and those that are about the monitor itself or go on to functions above.
 * @own: the monitor's handler of that name, or NULL.  Some answers are put together from both.
 * @fds: what came with the command (getfd, add-fd); they stay the caller's.
 */
bool co_main_fn machine_co_intercept(const char *name, QDict *arguments, QmpMarshal *own,
                                     const int *fds, size_t n_fds, QObject **ret, Error **errp);
#endif

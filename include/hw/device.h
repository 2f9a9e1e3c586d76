/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices of the emulator: disks and drives with their media, and what they are plugged into.
 *
 * A device has what clients know of it, and a disk a backend: what the guest does with it is the
 * machine's matter.  All on the main thread.  docs/design/devices.md.
 */
#ifndef HW_DEVICE_H
#define HW_DEVICE_H

#include "block/backend.h"
#include "qobject/qobject.h"

typedef enum DeviceKind {
    DEVICE_OTHER,                   /* nothing of it matters here but that it is there */
    DEVICE_CONTROLLER,              /* has buses */
    DEVICE_DISK,                    /* always has a medium */
    DEVICE_CDROM,                   /* has a tray */
    DEVICE_FLOPPY,                  /* has a medium that is just taken out */
} DeviceKind;

/* Where `-device help` lists a model. */
typedef enum DeviceCategory {
    DEVICE_CATEGORY_BRIDGE, DEVICE_CATEGORY_USB, DEVICE_CATEGORY_STORAGE, DEVICE_CATEGORY_NETWORK,
    DEVICE_CATEGORY_INPUT, DEVICE_CATEGORY_DISPLAY, DEVICE_CATEGORY_MISC,
    DEVICE_CATEGORY__MAX
} DeviceCategory;

typedef struct DeviceModel {
    const char *name;
    const char *alias;              /* or NULL */
    const char *bus;                /* type of the bus that it goes on */
    DeviceKind kind;
    DeviceCategory category;
    const char *provides;           /* type of the buses that it has, or NULL */
    unsigned buses;                 /* number of them */
    unsigned slots;                 /* devices on each of them; 0: any number */
    const char *bus_prefix;         /* a bus of a device without an id is called so and counted */
    bool takes_iothread;            /* itself, or for the disks on it */
    bool not_by_user;               /* only the board has it */
    const char *desc;               /* or NULL */
} DeviceModel;

typedef struct DeviceBus DeviceBus;

typedef struct Device {
    const DeviceModel *model;
    char *id;                       /* NULL: it has none */
    char *path;                     /* in the tree of objects */
    /* Of a disk, as clients know it: its id, or a path if it has none or stands inside of another
     * device. */
    char *qdev;
    DeviceBus *bus;                 /* NULL: the machine knows where it is */
    int slot;                       /* its place on the bus; -1: none */
    GQueue buses;                   /* of DeviceBus, its own */
    QDict *options;                 /* as they were given, driver and id among them */
    char *iothread;                 /* id, or NULL */

    /* Of disks and drives. */
    BlockBackend *blk;              /* never NULL, but while it is made */
    bool owns_blk;                  /* it was made for this device and goes with it */
    BlkDevice as_seen;              /* for whoever has the backend */
    bool leaving;                   /* asked to go */
    struct MachineDisk *machine;    /* its disk as the machine has it; NULL: it has none */
} Device;

struct DeviceBus {
    char *name;
    const char *type;
    Device *owner;                  /* NULL: the board's */
    unsigned slots;
    bool hotplug;
    GQueue devices;                 /* of Device */
};

/* ---- models ---- */

/* All of them by category, ends with a NULL name. */
extern const DeviceModel device_models[];
/* By name or alias; NULL: there is none. */
const DeviceModel *any_fn device_find_model(const char *name);
bool any_fn device_model_is_disk(const DeviceModel *model);
/* The properties that @model has, NULL-terminated pieces of text "name=<type>"; caller frees. */
char **any_fn device_model_properties(const DeviceModel *model);
bool any_fn device_model_has_property(const DeviceModel *model, const char *name);

/* ---- the board ---- */

typedef enum Board {
    BOARD_NONE,                     /* no bus but the system's: nothing can be plugged in */
    BOARD_PC,
    BOARD_Q35,
    BOARD_MACHINE,                  /* that of another program, which knows its buses itself */
} Board;

/* Once, before devices. */
void main_fn device_init_board(Board board);
Board main_fn device_board(void);

/* ---- what drives are ---- */

/* `if=` of -drive. */
typedef enum DriveInterface {
    DRIVE_IF_NONE, DRIVE_IF_IDE, DRIVE_IF_SCSI, DRIVE_IF_FLOPPY, DRIVE_IF_PFLASH, DRIVE_IF_MTD,
    DRIVE_IF_SD, DRIVE_IF_VIRTIO, DRIVE_IF_XEN,
    DRIVE_IF__MAX
} DriveInterface;

/* A backend that -drive has made. */
typedef struct Drive {
    BlockBackend *blk;
    DriveInterface interface;
    int bus, unit;
    bool cdrom;
    BlkOnError rerror, werror;      /* as for blk_set_on_error() */
    bool is_default;                /* nobody has asked for it */
    char *text;                     /* the option, for messages */
} Drive;

/* ---- devices ---- */

/* All of them, in the order in which they were made. */
const GQueue *main_fn device_list(void);
/* By id or path; NULL: there is none. */
Device *main_fn device_find(const char *id_or_path);
/* The one that is attached to @blk, NULL: none. */
Device *main_fn device_of_backend(const BlockBackend *blk);

/*
 * Make the device that @options (borrowed; `driver`, `id`, `bus`, `drive`, ... all text) describe.
 * @hotplug: while the machine runs.  @by_board: for a legacy -drive or the board itself.  NULL with
 * @errp set.  Not with the graph locked.
 */
Device *co_main_fn device_add(const QDict *options, bool hotplug, bool by_board, Error **errp);
/* For device_add(): @options, of which numbers and switches may be such, with text for all values;
 * NULL with @errp. */
QDict *any_fn device_options_as_text(const QDict *options, Error **errp);
/* It is gone when this returns, and DEVICE_DELETED was sent. */
void co_main_fn device_remove(Device *dev);
/* All of them, without events. */
void co_main_fn device_remove_all(void);

/* ---- the machine's devices ---- */

/*
 * The same as device_add() for a machine that has its models and buses itself: a disk is a device
 * here, everything else is the machine's alone.  @options as they were given.  @text: of a -device,
 * before the machine starts; NULL: it runs, and has the device when this returns.
 */
bool co_main_fn device_machine_add(const QDict *options, const char *text, Error **errp);
/* The device of @drive, whose interface says what it is; before the machine starts. */
bool co_main_fn device_machine_add_drive(const Drive *drive, const char *interface, Error **errp);
/* The device is gone from the machine: here too, without events. */
void co_main_fn device_forget(Device *dev);

/* ---- media ---- */

/* A disk by its backend's name or by its own id or path; one of both is given. */
BlockBackend *main_fn device_find_backend(const char *name, const char *id, Error **errp);
/* The tray as the guest or a command moves it: sends the event. */
void main_fn device_move_tray(Device *dev, bool open);

/* ---- legacy drives ---- */

const GQueue *main_fn drive_list(void);
/* Takes @drive, except for its backend. */
void main_fn drive_register(Drive *drive);
Drive *main_fn drive_of_backend(const BlockBackend *blk);
/* The backend goes with it. */
void co_main_fn drive_remove(Drive *drive);
void main_fn drive_forget_all(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-system-x86_64: its command line, and what becomes of it. */
#ifndef SYSTEM_SYSTEM_H
#define SYSTEM_SYSTEM_H

#include "block/blockdev.h"
#include "hw/device.h"

/* The QEMU whose commands and command line these are: libvirt, for one, decides by it what it can
 * ask for. */
#define SYSTEM_QEMU_VERSION "8.2.0"

/* When an option takes effect; within a phase in the order of the command line. */
typedef enum OptionPhase {
    PHASE_READ,                     /* while the command line is read */
    PHASE_OBJECT,
    PHASE_CHARDEV,
    PHASE_NODE,
    PHASE_DRIVE,
    PHASE_MONITOR,
    PHASE_DEVICE,
    PHASE_MACHINE,                  /* means something to a machine only */
    PHASE__MAX
} OptionPhase;

typedef struct SystemOption {
    const char *name;               /* without the dash */
    bool has_arg;
    OptionPhase phase;
    void (*read)(const char *value);                        /* of PHASE_READ */
    bool (*co_apply)(const char *value, Error **errp);      /* of the others but PHASE_MACHINE */
    const char *arg, *help;
    const char *also;               /* options of the same kind, for the help text; or NULL */
} SystemOption;

extern const SystemOption system_options[];     /* ends with a NULL name */

/* An option as it was given. */
typedef struct GivenOption {
    const SystemOption *option;
    const char *value;              /* NULL: it takes none */
} GivenOption;

/* What options that are read at once have said. */
typedef struct CommandLine {
    GArray *given;                  /* of GivenOption, in order, all of them */
    const char *machine, *accel;    /* NULL: not given */
    const char *pidfile, *log;
    const char *loadvm, *incoming;  /* NULL: not given */
    bool daemonize, no_defaults, paused, snapshot, qtest;
    Board board;                    /* as system_choose_board() has chosen */
} CommandLine;

extern CommandLine command_line;

/* Reads it into command_line; says what is wrong with it, or prints what it asks for, and exits. */
void system_read_command_line(int argc, char **argv);

/* ---- the machine ---- */

/* Which one there is to be; before there are threads. */
bool system_choose_machine(Error **errp);
/* Does the option concern this half?  Without a machine all do. */
bool main_fn system_is_ours(const GivenOption *g);
/* What concerns the other half, in its order; and start it. */
bool co_main_fn system_start_machine(Error **errp);
/* Run it, unless it is to stay as it is. */
void co_main_fn system_run_machine(void);
/* For ToolServe. */
bool main_fn system_ask_machine_to_end(bool by_signal);
void co_main_fn system_stop_machine(void);

/* ---- options ---- */

bool co_main_fn system_add_blockdev(const char *value, Error **errp);
bool co_main_fn system_add_drive(const char *value, Error **errp);
bool co_main_fn system_add_device(const char *value, Error **errp);
/* -hda, -cdrom, -fda, ... and their -drive. */
bool co_main_fn system_add_hda(const char *value, Error **errp);
bool co_main_fn system_add_hdb(const char *value, Error **errp);
bool co_main_fn system_add_hdc(const char *value, Error **errp);
bool co_main_fn system_add_hdd(const char *value, Error **errp);
bool co_main_fn system_add_fda(const char *value, Error **errp);
bool co_main_fn system_add_fdb(const char *value, Error **errp);
bool co_main_fn system_add_cdrom(const char *value, Error **errp);

/* Commands for people about drives. */
void main_fn system_hmp_init(void);

/* What `-device help` prints, and `-device NAME,help`; false: there is no model called @name. */
void system_print_models(void);
bool system_print_properties(const char *name);
/* What `-drive format=help` prints. */
void system_print_formats(void);

/* Was it among the options? */
bool any_fn system_is_given(const char *option);

/* ---- run state and state of a machine that does not run ---- */

/* It stops, if it runs: returns whether it did.  Events are sent. */
bool main_fn system_pause_as(RunState as);
bool co_main_fn system_run(Error **errp);
RunState main_fn system_state(void);
void main_fn system_set_state(RunState as);
void main_fn system_init_machine_state(void);
/* -loadvm, -incoming */
bool co_main_fn system_load_at_start(Error **errp);

/* What the program says of images that commands make. */
void main_fn system_init_images(void);

/* ---- the board ---- */

typedef struct SystemMachine {
    const char *name, *alias, *desc;    /* alias: NULL, or another name */
    Board board;
} SystemMachine;

extern const SystemMachine system_machines[];   /* the default first; ends with a NULL name */

/* What -machine, -accel and the environment ask for. */
bool any_fn system_choose_board(Error **errp);
void system_print_machines(void);
/* Of drives that do not say which. */
DriveInterface main_fn system_default_interface(void);
/* Drives that a board has although nobody has asked for them; before devices. */
bool co_main_fn system_add_default_drives(Error **errp);
/* Devices for drives whose interface says what they are: those of the board and, @virtio, others. */
bool co_main_fn system_add_board_devices(Error **errp);
bool co_main_fn system_add_virtio_drives(Error **errp);

/* ---- where no machine runs ---- */

/* Run state as the command line asks for it, and what clients ask of it. */
void main_fn system_init_run_state(void);
/* The machine and its devices, for the commands qom-...; after the board was chosen. */
void main_fn system_init_objects(void);

#endif

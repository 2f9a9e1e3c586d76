/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-system-x86_64: owns the disks of a virtual machine and its monitors.
 *
 * Options take effect by kind, so that what one names is there before it, wherever it stands.
 */
#include "qemu/osdep.h"

#include <malloc.h>

#include "hmp/hmp.h"
#include "machine/machine.h"
#include "migration/migration.h"
#include "monitor/monitor.h"
#include "system.h"
#include "tools/common/process.h"
#include "tools/common/serve.h"

/* What is said about an option begins with it. */
static bool co_main_fn apply(const GivenOption *g, Error **errp)
{
    if (g->option->co_apply(g->value, errp)) {
        return true;
    }
    error_prepend(errp, "-%s %s: ", g->option->name, g->value);
    return false;
}

static bool co_main_fn apply_phase(OptionPhase phase, Error **errp)
{
    for (guint i = 0; i < command_line.given->len; i++) {
        const GivenOption *g = &g_array_index(command_line.given, GivenOption, i);
        if (g->option->phase == phase && g->option->co_apply && system_is_ours(g) &&
            !tool_serve_ends() && !apply(g, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_main_fn apply_all(Error **errp)
{
    return apply_phase(PHASE_OBJECT, errp) && apply_phase(PHASE_CHARDEV, errp) &&
           apply_phase(PHASE_NODE, errp) && apply_phase(PHASE_DRIVE, errp) &&
           system_add_default_drives(errp) && apply_phase(PHASE_MONITOR, errp) &&
           system_add_board_devices(errp) && apply_phase(PHASE_DEVICE, errp) &&
           system_add_virtio_drives(errp) && system_load_at_start(errp) &&
           system_start_machine(errp);
}

static void main_fn init(void)
{
    device_init_board(command_line.board);
    blockdev_show_devices();
    blockdev_set_overlay_warnings(false);   /* scripts compare what is on standard error */
    if (!machine_is_real()) {
        system_init_run_state();
    }
    system_init_machine_state();
    system_init_images();
    system_init_objects();
}

/* Monitors greet before devices are made, so that what is said of these comes after. */
static bool co_main_fn start(Error **errp)
{
    init();
    hmp_machine_init();
    system_hmp_init();
    vmstate_hmp_init();
    migration_hmp_init();
    if (apply_all(errp)) {
        return true;
    }
    monitor_flush();
    return false;
}

static void co_main_fn end(void)
{
    migration_shutdown();
    hmp_machine_finish();
    system_stop_machine();
    device_remove_all();
}

int main(int argc, char **argv)
{
    Error *err = NULL;

    g_set_prgname("qemu-system-x86_64");
    /* Mapping and unmapping a buffer for every request stops all threads for a moment each time. */
    mallopt(M_MMAP_THRESHOLD, 4 * MiB);
    mallopt(M_TRIM_THRESHOLD, 16 * MiB);
    context_block_anyway();         /* there is one thread, and no loop yet */
    machine_remember_descriptors();
    system_read_command_line(argc, argv);
    if (!system_choose_machine(&err) || !system_choose_board(&err)) {
        error_report_err(err);
        return 1;
    }
    monitor_set_qemu_version(SYSTEM_QEMU_VERSION);
    if (command_line.daemonize) {
        tool_daemonize();
    }
    ToolServe serve = {
        .log = command_line.log, .pidfile = command_line.pidfile,
        .daemonize = command_line.daemonize, .commands = qmp_commands,
        .co_start = start, .co_started = system_run_machine, .co_end = end,
        .ask_end = system_ask_machine_to_end,
    };
    return tool_serve(&serve);
}

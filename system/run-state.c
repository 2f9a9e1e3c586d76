/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run state where no machine runs: what clients ask for and are told, and nothing else.  Disks do
 * not depend on it: whoever writes to them goes on.
 */
#include "qemu/osdep.h"

#include "migration/migration.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "system.h"
#include "tools/common/serve.h"

static RunState state = RUN_STATE_RUNNING;
static RebootAction on_reboot = REBOOT_ACTION_RESET;
static ShutdownAction on_shutdown = SHUTDOWN_ACTION_POWEROFF;

RunState main_fn system_state(void)
{
    return state;
}

void main_fn system_set_state(RunState as)
{
    state = as;
}

/* Where its disks were handed over they have to be its own again. */
bool co_main_fn system_run(Error **errp)
{
    if (state == RUN_STATE_SHUTDOWN) {
        error_setg(errp, "Resetting the Virtual Machine is required");
        return false;
    }
    if (state == RUN_STATE_INMIGRATE) {
        command_line.paused = false;        /* once it is here */
        return true;
    }
    if (!migration_take_disks(errp)) {
        return false;
    }
    if (state != RUN_STATE_RUNNING) {
        state = RUN_STATE_RUNNING;
        qapi_event_send_resume();
    }
    return true;
}

bool main_fn system_pause_as(RunState as)
{
    bool ran = state == RUN_STATE_RUNNING;

    if (ran) {
        state = as;
        qapi_event_send_stop();
    } else if (as == RUN_STATE_SHUTDOWN) {
        state = as;
    }
    return ran;
}

bool any_fn system_is_given(const char *option)
{
    for (guint i = 0; i < command_line.given->len; i++) {
        if (strcmp(g_array_index(command_line.given, GivenOption, i).option->name, option) == 0) {
            return true;
        }
    }
    return false;
}

void main_fn system_init_run_state(void)
{
    if (command_line.paused) {
        state = RUN_STATE_PRELAUNCH;
    }
    if (system_is_given("no-reboot")) {
        on_reboot = REBOOT_ACTION_SHUTDOWN;
    }
    if (system_is_given("no-shutdown")) {
        on_shutdown = SHUTDOWN_ACTION_PAUSE;
    }
    monitor_set_run_state(system_state);
    blockdev_set_run(system_run);
}

/* ---- commands ---- */

bool co_main_fn qmp_stop(Error **errp)
{
    system_pause_as(RUN_STATE_PAUSED);
    return true;
}

/* The machine has come to its end, by a reset that is to be one. */
static void main_fn end_machine(ShutdownCause cause)
{
    EventShutdownArgs ev = { .guest = false, .reason = cause };

    if (on_shutdown == SHUTDOWN_ACTION_POWEROFF) {
        tool_serve_end(cause, false);
    } else {
        qapi_event_send_shutdown(&ev);
        system_pause_as(RUN_STATE_SHUTDOWN);
    }
}

bool co_main_fn qmp_system_reset(Error **errp)
{
    EventResetArgs ev = { .guest = false, .reason = SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET };

    if (on_reboot == REBOOT_ACTION_SHUTDOWN) {
        end_machine(ev.reason);
        return true;
    }
    if (state != RUN_STATE_RUNNING) {
        state = RUN_STATE_PRELAUNCH;
    }
    qapi_event_send_reset(&ev);
    return true;
}

bool co_main_fn qmp_system_powerdown(Error **errp)
{
    qapi_event_send_powerdown();
    return true;
}

bool co_main_fn qmp_system_wakeup(Error **errp)
{
    error_setg(errp, "wake-up from suspend is not supported by this guest");
    return false;
}

bool co_main_fn qmp_set_action(const QmpSetActionArgs *args, Error **errp)
{
    on_reboot = args->has_reboot ? args->reboot : on_reboot;
    on_shutdown = args->has_shutdown ? args->shutdown : on_shutdown;
    return true;
}

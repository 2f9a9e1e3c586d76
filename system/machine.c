/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine of the command line: which, what it is told, and that our end is its end. */
#include "qemu/osdep.h"

#include "hw/machine.h"
#include "machine/machine.h"
#include "machine/routes.h"
#include "monitor/monitor.h"
#include "qemu/log.h"
#include "qobject/keyval.h"
#include "system.h"
#include "tools/common/serve.h"

bool system_choose_machine(Error **errp)
{
    MachineWish wish = {
        .machine = command_line.machine, .accel = command_line.accel,
        .qtest = command_line.qtest, .detached = command_line.daemonize,
    };

    context_block_anyway();             /* there is one thread, and no loop yet */
    return machine_choose(&wish, errp);
}

/* ---- whose an option is ---- */

static bool is(const GivenOption *g, const char *name)
{
    return strcmp(g->option->name, name) == 0;
}

/* NULL: @text is not understood, which whoever gets it says. */
static char *member_of(const char *text, const char *first, const char *key)
{
    bool json;
    g_autoptr(QDict) dict = keyval_parse_or_json(text, first, &json, NULL);

    return dict ? g_strdup(qdict_get_str(dict, key)) : NULL;
}

/* Is a monitor of ours on the channel @id? */
static bool main_fn has_monitor(const char *id)
{
    for (guint i = 0; i < command_line.given->len; i++) {
        const GivenOption *g = &g_array_index(command_line.given, GivenOption, i);
        g_autofree char *its = is(g, "mon") ? member_of(g->value, "chardev", "chardev") : NULL;
        if ((its && strcmp(its, id) == 0) ||
            (is(g, "monitor") && g_str_has_prefix(g->value, "chardev:") &&
             strcmp(g->value + strlen("chardev:"), id) == 0)) {
            return true;
        }
    }
    return false;
}

/* Options that are read here and are the machine's. */
static const char *const read_for_both[] = {
    "M", "accel", "incoming", "machine", "name", "nodefaults", NULL,
};

static MachineObjectPlace main_fn place_of(const GivenOption *g)
{
    if (is(g, "chardev")) {
        g_autofree char *id = member_of(g->value, "backend", "id");
        return !id || has_monitor(id) ? MACHINE_OBJECT_OURS : MACHINE_OBJECT_MACHINES;
    }
    if (is(g, "add-fd")) {
        return MACHINE_OBJECT_BOTH;     /* a set's number means the same in both */
    }
    if (is(g, "object")) {
        g_autofree char *type = member_of(g->value, "qom-type", "qom-type");
        return type ? machine_object_place(type) : MACHINE_OBJECT_OURS;
    }
    return g->option->phase == PHASE_MACHINE || g_strv_contains(read_for_both, g->option->name)
           ? MACHINE_OBJECT_MACHINES : MACHINE_OBJECT_OURS;
}

bool main_fn system_is_ours(const GivenOption *g)
{
    return !machine_is_real() || (place_of(g) & MACHINE_OBJECT_OURS);
}

/* ---- what it is told ---- */

static void co_main_fn device_deleted(MachineDisk *disk)
{
    device_machine_deleted(disk);
}

static void send_event(QObject *event)
{
    context_assert_main();
    monitor_emit_event(event);
}

static void machine_has_ended(int status)
{
    context_assert_main();
    tool_serve_over(status);
}

/* ---- nodes that no device has ---- */

/* Of -machine: what firmware is in, and its variables. */
static const char *const node_options[] = { "pflash0", "pflash1" };
static MachineDisk *node_disks[G_N_ELEMENTS(node_options)];

/* A backend with @bs, for the machine alone. */
static BlockBackend *co_main_fn hold_node(BlockDriverState *bs, Error **errp)
{
    unsigned needs = CLAIM_READ | (bs->read_only ? 0 : CLAIM_WRITE);
    BlockBackend *blk;

    bdrv_graph_lock();
    blk = blk_new(NULL, needs, CLAIM_READ | CLAIM_WRITE_SAME | CLAIM_PIVOT, errp);
    if (blk && !blk_insert(blk, bs, errp)) {
        blk_free(blk);
        blk = NULL;
    }
    bdrv_graph_unlock();
    return blk;
}

static bool co_main_fn pass_node(QDict *options, size_t i, Error **errp)
{
    const char *name = qdict_get_str(options, node_options[i]);
    BlockDriverState *bs = name ? bdrv_find_node(name) : NULL;

    if (!bs || node_disks[i]) {
        return true;                    /* the machine says that it does not know it */
    }
    BlockBackend *blk = hold_node(bs, errp);
    if (!blk) {
        error_prepend(errp, "-machine %s=%s: ", node_options[i], name);
        return false;
    }
    node_disks[i] = machine_disk_new(node_options[i], blk);
    node_disks[i]->read_only = bs->read_only;
    node_disks[i]->shown = g_strdup(name);
    qdict_put_str(options, node_options[i], machine_pass_node(node_disks[i]));
    return true;
}

static void co_main_fn drop_nodes(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(node_options); i++) {
        BlockBackend *blk = node_disks[i] ? node_disks[i]->blk : NULL;

        machine_disk_free(g_steal_pointer(&node_disks[i]));
        bdrv_graph_lock();
        blk_free(blk);
        bdrv_graph_unlock();
    }
}

/* ---- options ---- */

static bool co_main_fn pass_machine(const char *value, Error **errp)
{
    g_autoptr(QDict) options = keyval_parse_flat(value, "type", errp);
    bool has_nodes = false;

    if (!options) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(node_options); i++) {
        has_nodes |= qdict_has(options, node_options[i]);
        if (!pass_node(options, i, errp)) {
            return false;
        }
    }
    if (has_nodes) {
        machine_pass_dict("machine", options);
    } else {
        machine_pass_option("machine", value);
    }
    return true;
}

static bool co_main_fn pass_options(Error **errp)
{
    for (guint i = 0; i < command_line.given->len; i++) {
        const GivenOption *g = &g_array_index(command_line.given, GivenOption, i);

        if (!(place_of(g) & MACHINE_OBJECT_MACHINES)) {
            continue;
        }
        if (!is(g, "machine") && !is(g, "M")) {
            machine_pass_option(g->option->name, g->value);
        } else if (!pass_machine(g->value, errp)) {
            return false;
        }
    }
    return true;
}

bool co_main_fn system_start_machine(Error **errp)
{
    MachineCallbacks cbs = {
        .event = send_event, .co_device_deleted = device_deleted,
        .state_changed = device_machine_changed, .co_drive_found = device_machine_drive_found,
        .ended = machine_has_ended,
    };
    int status;

    if (!machine_is_real()) {
        return true;
    }
    machine_set_callbacks(&cbs);
    blockdev_set_resized(machine_co_check_lengths);
    if (!pass_options(errp)) {
        return false;
    }
    if (!machine_co_start(&status, errp)) {
        tool_serve_set_status(status);
        return false;
    }
    monitor_set_interceptor(machine_co_intercept);
    return true;
}

void co_main_fn system_run_machine(void)
{
    Error *err = NULL;

    if (machine_is_real() && !command_line.paused && !machine_co_run(&err)) {
        log_line("the machine does not run: %s", error_get_pretty(err));
        error_free(err);
    }
}

/* ---- the end ---- */

bool main_fn system_ask_machine_to_end(bool by_signal)
{
    if (!machine_is_real() || !machine_is_there()) {
        return false;
    }
    machine_quit(by_signal ? MACHINE_QUIT_SIGNAL : MACHINE_QUIT_COMMAND);
    return true;
}

void co_main_fn system_stop_machine(void)
{
    if (machine_is_real()) {
        machine_co_stop();
        drop_nodes();
    }
}

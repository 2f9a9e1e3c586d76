/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that goes: it stops, its disks become inactive, and then what is left of it is sent.
 * Whatever fails before the last byte is sent gives it its disks back, and it runs on.
 */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "migration-internal.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands.h"
#include "qemu/log.h"

static struct {
    Coroutine *self;                /* while it runs */
    char *uri;
    MigrationPipe pipe;
    bool cancelled;
    Coroutine *paused;              /* self, while it waits for migrate-continue */
    Coroutine *finished;            /* waits for the end */
} out;

static bool co_main_fn wait_before_switchover(void)
{
    if (!migration_has(MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER) || out.cancelled) {
        return !out.cancelled;
    }
    migration_set_status(MIGRATION_STATUS_PRE_SWITCHOVER);
    out.paused = out.self;
    coroutine_yield();
    if (!out.cancelled) {
        migration_set_status(MIGRATION_STATUS_DEVICE);
    }
    return !out.cancelled;
}

/* What is sent is what there is when nobody writes any more. */
static bool co_main_fn hand_over(Channel *chan, bool ran, Error **errp)
{
    MigrationStream s = {
        .state = migration_ops->machine->save(),
        .bits = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref),
    };

    qdict_put_bool(s.state, "running", ran);
    if (migration_has(MIGRATION_CAPABILITY_DIRTY_BITMAPS)) {
        migration_add_bitmaps(&s);
    }
    bool ok = blockdev_inactivate_all(migration_has(MIGRATION_CAPABILITY_DIRTY_BITMAPS), errp);
    /* The command may have come while nothing was waited for that could be cancelled. */
    if (ok && out.cancelled) {
        error_setg(errp, "Migration was cancelled");
        ok = false;
    }
    ok = ok && migration_send(chan, &s, errp);
    migration_stream_clear(&s);
    return ok;
}

/* It has not gone: it is as before. */
static void co_main_fn take_back(bool ran, RunState before)
{
    Error *err = NULL;

    if (!blockdev_activate(NULL, &err)) {
        log_line("the disks of a machine that was not handed over cannot be written: %s",
                 error_get_pretty(err));
        error_free(err);
        migration_ops->set_state(RUN_STATE_PAUSED);
        return;
    }
    migration_ops->set_state(ran ? RUN_STATE_PAUSED : before);
    if (ran) {
        migration_ops->co_run(NULL);
    }
}

static bool co_main_fn go(Error **errp)
{
    RunState before = migration_ops->state();
    int64_t stopped_ns = clock_ns();
    bool ran = migration_ops->machine->co_stop(RUN_STATE_FINISH_MIGRATE);

    if (!ran) {
        migration_ops->set_state(RUN_STATE_FINISH_MIGRATE);
    }
    bool ok = wait_before_switchover();
    if (!ok) {
        error_setg(errp, "Migration was cancelled");
    }
    ok = ok && hand_over(&out.pipe.chan, ran, errp);
    if (out.cancelled) {
        migration_pipe_abort(&out.pipe);
    }
    int ret = migration_pipe_close(&out.pipe);
    if (ok && ret < 0) {
        error_setg_errno(errp, -ret, "Cannot send the machine");
        ok = false;
    }
    if (ok) {
        migration_note_downtime(clock_ns() - stopped_ns);
        migration_ops->set_state(RUN_STATE_POSTMIGRATE);
    } else {
        take_back(ran, before);
    }
    return ok;
}

static void co_main_fn outgoing_entry(void *opaque)
{
    Error *err = NULL;

    out.self = coroutine_self();
    bool ok = migration_connect(out.uri, &out.pipe, &err);
    if (ok) {
        migration_set_status(MIGRATION_STATUS_ACTIVE);
        ok = go(&err);
    }
    if (ok) {
        migration_set_status(MIGRATION_STATUS_COMPLETED);
    } else if (out.cancelled) {
        error_free(err);
        migration_set_status(MIGRATION_STATUS_CANCELLED);
    } else {
        migration_set_failed(err);
    }
    g_clear_pointer(&out.uri, g_free);
    out.self = NULL;
    if (out.finished) {
        coroutine_wake(g_steal_pointer(&out.finished));
    }
}

static bool main_fn is_active(void)
{
    return out.uri != NULL;
}

bool co_main_fn qmp_migrate(const QmpMigrateArgs *args, Error **errp)
{
    if (is_active()) {
        error_setg(errp, "There's a migration process in progress");
        return false;
    }
    if (migration_is_incoming()) {
        error_setg(errp, "Guest is waiting for an incoming migration");
        return false;
    }
    if (migration_ops->state() == RUN_STATE_POSTMIGRATE) {
        error_setg(errp, "Can't migrate the vm that was paused due to previous migration");
        return false;
    }
    if (!migration_ops->machine->co_can_save(errp)) {
        return false;
    }
    out.uri = g_strdup(args->uri);
    out.cancelled = false;
    migration_begin();
    coroutine_start(outgoing_entry, NULL);
    return true;
}

bool co_main_fn qmp_migrate_start_postcopy(Error **errp)
{
    if (!is_active()) {
        error_setg(errp, "Start postcopy after migration has been started");
    }
    return is_active();
}

static void main_fn cancel(void)
{
    out.cancelled = true;
    if (out.paused) {
        coroutine_wake(g_steal_pointer(&out.paused));
    } else if (out.self) {
        migration_pipe_abort(&out.pipe);
        aio_co_cancel(out.self);
    }
}

bool co_main_fn qmp_migrate_cancel(Error **errp)
{
    if (is_active()) {
        migration_set_status(MIGRATION_STATUS_CANCELLING);
        cancel();
    }
    return true;
}

bool co_main_fn qmp_migrate_continue(const QmpMigrateContinueArgs *args, Error **errp)
{
    if (!out.paused || args->state != migration_status()) {
        error_setg(errp, "Migration not in expected state: %s",
                   MigrationStatus_str(migration_status()));
        return false;
    }
    coroutine_wake(g_steal_pointer(&out.paused));
    return true;
}

void co_main_fn migration_outgoing_shutdown(void)
{
    if (is_active()) {
        cancel();
    }
    if (is_active()) {
        out.finished = coroutine_self();
        coroutine_yield();
    }
}

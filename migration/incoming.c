/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that comes.  Until it is here disks are inactive: another process writes to them.  If
 * what comes is no machine the program ends, and its disks were never touched.
 */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "migration-internal.h"
#include "qapi/qapi-commands.h"

const MigrationOps *migration_ops;

static struct {
    bool waits;                     /* for a machine, or for migrate-incoming */
    char *uri;                      /* while it comes */
    MigrationPipe pipe;
    Coroutine *self, *finished;
    bool ends;                      /* the program ends */
} in;

void main_fn migration_init(const MigrationOps *ops)
{
    migration_ops = ops;
}

bool main_fn migration_is_incoming(void)
{
    return in.waits;
}

bool co_main_fn migration_take_disks(Error **errp)
{
    bdrv_open_inactive(false);
    return blockdev_activate(NULL, errp);
}

static void main_fn listening(void)
{
    migration_begin();
}

static bool co_main_fn receive(MigrationStream *ret, Error **errp)
{
    if (!migration_accept(in.uri, listening, &in.pipe, errp)) {
        return false;
    }
    /* The end may have come while nothing was waited for that could be cancelled. */
    bool ok = !in.ends && migration_recv(&in.pipe.chan, ret, errp);
    if (in.ends) {
        migration_pipe_abort(&in.pipe);
    }
    migration_pipe_close(&in.pipe);
    return ok;
}

/* Its disks first: then it can be, and then it can run. */
static bool co_main_fn become(const MigrationStream *s, Error **errp)
{
    bool ran = false;

    qobject_get_bool(qdict_get(s->state, "running"), &ran);
    if (!migration_take_disks(errp) || !migration_make_bitmaps(s, errp) ||
        !migration_ops->machine->co_load(s->state, errp)) {
        return false;
    }
    in.waits = false;
    migration_set_status(MIGRATION_STATUS_COMPLETED);
    migration_ops->set_state(RUN_STATE_PAUSED);
    return !(ran && migration_ops->starts_by_itself()) || migration_ops->co_run(errp);
}

static void co_main_fn incoming_entry(void *opaque)
{
    MigrationStream s = { NULL };
    Error *err = NULL;

    in.self = coroutine_self();
    bool ok = receive(&s, &err) && become(&s, &err);
    if (!ok && !in.ends) {
        migration_set_failed(error_copy(err));
        error_prepend(&err, "load of migration failed: ");
        migration_ops->incoming_failed(g_steal_pointer(&err));
    }
    error_free(err);
    migration_stream_clear(&s);
    g_clear_pointer(&in.uri, g_free);
    in.self = NULL;
    if (in.finished) {
        coroutine_wake(g_steal_pointer(&in.finished));
    }
}

static void main_fn begin(const char *uri)
{
    in.uri = g_strdup(uri);
    coroutine_start(incoming_entry, NULL);
}

bool co_main_fn migration_incoming(const char *uri, Error **errp)
{
    in.waits = true;
    if (strcmp(uri, "defer") != 0) {
        begin(uri);
    }
    return true;
}

bool co_main_fn qmp_migrate_incoming(const QmpMigrateIncomingArgs *args, Error **errp)
{
    if (!in.waits) {
        error_setg(errp, "'-incoming' was not specified on the command line");
        return false;
    }
    if (in.uri) {
        error_setg(errp, "The incoming migration has already been started");
        return false;
    }
    begin(args->uri);
    return true;
}

void co_main_fn migration_incoming_shutdown(void)
{
    in.ends = true;
    if (in.uri && in.self) {
        migration_pipe_abort(&in.pipe);
        aio_co_cancel(in.self);
    }
    if (in.uri) {
        in.finished = coroutine_self();
        coroutine_yield();
    }
}

void co_main_fn migration_shutdown(void)
{
    migration_outgoing_shutdown();
    migration_incoming_shutdown();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a migration has come, and telling of it. */
#include "qemu/osdep.h"

#include "migration-internal.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qemu/aio.h"
#include "qemu/log.h"

static struct {
    MigrationStatus status;
    bool began;
    int64_t began_ns, total_ns, downtime_ns;
    char *error;
} progress;

void main_fn migration_set_status(MigrationStatus status)
{
    EventMigrationArgs ev = { .status = status };

    progress.status = status;
    if (status == MIGRATION_STATUS_COMPLETED) {
        progress.total_ns = clock_ns() - progress.began_ns;
    }
    if (migration_has(MIGRATION_CAPABILITY_EVENTS)) {
        qapi_event_send_migration(&ev);
    }
}

MigrationStatus main_fn migration_status(void)
{
    return progress.status;
}

void main_fn migration_set_failed(Error *err)
{
    log_line("migration failed: %s", error_get_pretty(err));
    g_free(progress.error);
    progress.error = g_strdup(error_get_pretty(err));
    error_free(err);
    migration_set_status(MIGRATION_STATUS_FAILED);
}

void main_fn migration_begin(void)
{
    g_clear_pointer(&progress.error, g_free);
    progress.began = true;
    progress.began_ns = clock_ns();
    progress.total_ns = progress.downtime_ns = 0;
    migration_set_status(MIGRATION_STATUS_SETUP);
}

void main_fn migration_note_downtime(int64_t ns)
{
    progress.downtime_ns = ns;
}

bool co_main_fn qmp_query_migrate(MigrationInfo **ret, Error **errp)
{
    MigrationInfo *info = *ret = g_new0(MigrationInfo, 1);

    if (!progress.began) {
        return true;
    }
    info->has_status = true;
    info->status = progress.status;
    info->error_desc = g_strdup(progress.error);
    info->has_total_time = info->has_downtime = progress.status == MIGRATION_STATUS_COMPLETED;
    info->total_time = progress.total_ns / 1000000;
    info->downtime = progress.downtime_ns / 1000000;
    return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Migration, for people. */
#include "qemu/osdep.h"

#include "migration-internal.h"
#include "monitor/hmp.h"
#include "qapi/qapi-commands.h"
#include "qemu/aio.h"

#define LOOK_AGAIN_NS (10 * NS_PER_MS)

static bool is_over(MigrationStatus status)
{
    return status == MIGRATION_STATUS_COMPLETED || status == MIGRATION_STATUS_FAILED ||
           status == MIGRATION_STATUS_CANCELLED;
}

/* Without -d the line ends when the machine has gone, or has not. */
static void co_main_fn migrate(GString *out, const HmpArgs *args)
{
    QmpMigrateArgs q = { .uri = (char *)hmp_str(args, "uri") };
    Error *err = NULL;

    qmp_migrate(&q, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    while (!hmp_flag(args, "d") && !is_over(migration_status())) {
        aio_co_sleep_ns(LOOK_AGAIN_NS);
    }
}

static void co_main_fn cancel(GString *out, const HmpArgs *args)
{
    qmp_migrate_cancel(NULL);
}

static void co_main_fn incoming(GString *out, const HmpArgs *args)
{
    QmpMigrateIncomingArgs q = { .uri = (char *)hmp_str(args, "uri") };
    Error *err = NULL;

    qmp_migrate_incoming(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn set_capability(GString *out, const HmpArgs *args)
{
    int capability = qapi_enum_find(&MigrationCapability_lookup, hmp_str(args, "capability"));
    MigrationCapabilityStatus status = { .capability = capability,
                                         .state = hmp_switch(args, "state") };
    MigrationCapabilityStatusList list = { .value = &status };
    QmpMigrateSetCapabilitiesArgs q = { .capabilities = &list };
    Error *err = NULL;

    if (capability < 0) {
        error_setg(&err, "Parameter 'capability' does not accept value '%s'",
                   hmp_str(args, "capability"));
    } else {
        qmp_migrate_set_capabilities(&q, &err);
    }
    hmp_failed(out, err);
}

static void co_main_fn info_migrate(GString *out, const HmpArgs *args)
{
    g_autoptr(MigrationInfo) info = NULL;

    qmp_query_migrate(&info, NULL);
    if (!info->has_status) {
        return;
    }
    g_string_append_printf(out, "Migration status: %s\n", MigrationStatus_str(info->status));
    if (info->error_desc) {
        g_string_append_printf(out, "error: %s\n", info->error_desc);
    }
    if (info->has_total_time) {
        g_string_append_printf(out, "total time: %" PRId64 " ms\ndowntime: %" PRId64 " ms\n",
                               info->total_time, info->downtime);
    }
}

static void co_main_fn info_capabilities(GString *out, const HmpArgs *args)
{
    for (int i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        g_string_append_printf(out, "%s: %s\n", MigrationCapability_str(i),
                               migration_has(i) ? "on" : "off");
    }
}

static const HmpCommand commands[] = {
    { "migrate", "[-d] uri", "migrate to URI (using -d to not wait for completion)", migrate,
      { { "d", HMP_FLAG }, { "uri", HMP_STRING } } },
    { "migrate_cancel", "", "cancel the current VM migration", cancel, { { 0 } } },
    { "migrate_incoming", "uri", "continue an incoming migration from an -incoming defer",
      incoming, { { "uri", HMP_STRING } } },
    { "migrate_set_capability", "capability state",
      "enable or disable the usage of a capability for migration", set_capability,
      { { "capability", HMP_STRING }, { "state", HMP_SWITCH } } },
    { NULL },
};

static const HmpCommand info_commands[] = {
    { "migrate", "", "show migration status", info_migrate, { { 0 } } },
    { "migrate_capabilities", "", "show current migration capabilities", info_capabilities,
      { { 0 } } },
    { NULL },
};

void main_fn migration_hmp_init(void)
{
    monitor_hmp_register(commands);
    monitor_hmp_register_info(info_commands);
}

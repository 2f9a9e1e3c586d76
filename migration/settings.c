/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients choose for the next migration. */
#include "qemu/osdep.h"

#include "qapi/qapi-commands.h"

static bool capabilities[MIGRATION_CAPABILITY__MAX];
static MigrationParameters *parameters;     /* NULL: as at the start */

bool co_main_fn qmp_query_migrate_capabilities(MigrationCapabilityStatusList **ret, Error **errp)
{
    MigrationCapabilityStatusList *list = NULL, **tail = &list;

    for (int i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        MigrationCapabilityStatus *status = g_new0(MigrationCapabilityStatus, 1);

        status->capability = i;
        status->state = capabilities[i];
        MigrationCapabilityStatusList_append(&tail, status);
    }
    *ret = list;
    return true;
}

bool co_main_fn qmp_migrate_set_capabilities(const QmpMigrateSetCapabilitiesArgs *args,
                                             Error **errp)
{
    for (MigrationCapabilityStatusList *e = args->capabilities; e; e = e->next) {
        capabilities[e->value->capability] = e->value->state;
    }
    return true;
}

/* ---- names of bitmaps ---- */

static bool is_new(GHashTable *set, const char *name)
{
    return g_hash_table_add(set, (char *)name);
}

static bool check_bitmaps(const BitmapMigrationNodeAlias *node, Error **errp)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) aliases = g_hash_table_new(g_str_hash, g_str_equal);

    for (BitmapMigrationBitmapAliasList *e = node->bitmaps; e; e = e->next) {
        if (!is_new(names, e->value->name)) {
            error_setg(errp, "The bitmap '%s'/'%s' is mapped twice", node->node_name,
                       e->value->name);
            return false;
        }
        if (!is_new(aliases, e->value->alias)) {
            error_setg(errp, "The bitmap alias '%s'/'%s' is used twice", node->alias,
                       e->value->alias);
            return false;
        }
    }
    return true;
}

static bool check_mapping(BitmapMigrationNodeAliasList *mapping, Error **errp)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) aliases = g_hash_table_new(g_str_hash, g_str_equal);

    for (BitmapMigrationNodeAliasList *e = mapping; e; e = e->next) {
        if (!is_new(names, e->value->node_name)) {
            error_setg(errp, "The node name '%s' is mapped twice", e->value->node_name);
            return false;
        }
        if (!is_new(aliases, e->value->alias)) {
            error_setg(errp, "The node alias '%s' is used twice", e->value->alias);
            return false;
        }
        if (!check_bitmaps(e->value, errp)) {
            return false;
        }
    }
    return true;
}

bool co_main_fn qmp_migrate_set_parameters(const MigrationParameters *args, Error **errp)
{
    if (!args->block_bitmap_mapping) {
        return true;
    }
    if (!check_mapping(args->block_bitmap_mapping, errp)) {
        error_prepend(errp, "Invalid mapping given for block-bitmap-mapping: ");
        return false;
    }
    MigrationParameters_free(parameters);
    parameters = MigrationParameters_clone(args);
    return true;
}

bool co_main_fn qmp_query_migrate_parameters(MigrationParameters **ret, Error **errp)
{
    *ret = parameters ? MigrationParameters_clone(parameters) : g_new0(MigrationParameters, 1);
    return true;
}

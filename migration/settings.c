/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients choose for the next migration. */
#include "qemu/osdep.h"

#include "migration-internal.h"
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

/* ---- for the migration itself ---- */

bool main_fn migration_has(MigrationCapability capability)
{
    return capabilities[capability];
}

static BitmapMigrationNodeAliasList *main_fn mapping(void)
{
    return parameters ? parameters->block_bitmap_mapping : NULL;
}

static void transform(const BitmapMigrationBitmapAlias *bitmap, bool *persistent)
{
    if (bitmap->transform && bitmap->transform->has_persistent) {
        *persistent = bitmap->transform->persistent;
    }
}

const char *main_fn migration_alias_of(const char *node, const char *name,
                                       const char **ret_node_alias, bool *ret_persistent)
{
    *ret_node_alias = NULL;
    if (!mapping()) {
        return name;
    }
    for (BitmapMigrationNodeAliasList *e = mapping(); e; e = e->next) {
        if (strcmp(e->value->node_name, node) != 0) {
            continue;
        }
        for (BitmapMigrationBitmapAliasList *b = e->value->bitmaps; b; b = b->next) {
            if (strcmp(b->value->name, name) == 0) {
                *ret_node_alias = e->value->alias;
                transform(b->value, ret_persistent);
                return b->value->alias;
            }
        }
    }
    return NULL;
}

const char *main_fn migration_name_of(const char *node_alias, const char *alias,
                                      const char **ret_node, bool *ret_persistent)
{
    *ret_node = NULL;
    if (!mapping()) {
        return alias;
    }
    for (BitmapMigrationNodeAliasList *e = mapping(); e; e = e->next) {
        if (strcmp(e->value->alias, node_alias) != 0) {
            continue;
        }
        for (BitmapMigrationBitmapAliasList *b = e->value->bitmaps; b; b = b->next) {
            if (strcmp(b->value->alias, alias) == 0) {
                *ret_node = e->value->node_name;
                transform(b->value, ret_persistent);
                return b->value->name;
            }
        }
    }
    return NULL;
}

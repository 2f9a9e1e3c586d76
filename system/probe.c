/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this program is, where no machine runs: clients such as libvirt ask before they use it. */
#include "qemu/osdep.h"

#include "qapi/qapi-commands.h"
#include "qobject/keyval.h"
#include "system.h"

#define DEFAULT_MEMORY (128 * MiB)
#define MOST_CPUS 255               /* that libvirt lets its users ask for; none is run */

bool co_main_fn qmp_query_target(TargetInfo **ret, Error **errp)
{
    *ret = g_new0(TargetInfo, 1);
    (*ret)->arch = SYS_EMU_TARGET_X86_64;
    return true;
}

bool co_main_fn qmp_query_kvm(KvmInfo **ret, Error **errp)
{
    *ret = g_new0(KvmInfo, 1);
    return true;
}

bool co_main_fn qmp_query_machines(MachineInfoList **ret, Error **errp)
{
    MachineInfoList *list = NULL, **tail = &list;

    for (const SystemMachine *m = system_machines; m->name; m++) {
        MachineInfo *info = g_new0(MachineInfo, 1);

        info->name = g_strdup(m->name);
        info->alias = g_strdup(m->alias);
        info->has_is_default = info->is_default = m == system_machines;
        info->cpu_max = m->board == BOARD_NONE ? 1 : MOST_CPUS;
        MachineInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

bool co_main_fn qmp_query_cpus_fast(CpuInfoFastList **ret, Error **errp)
{
    *ret = NULL;
    return true;
}

bool co_main_fn qmp_query_tpm_models(TpmModelList **ret, Error **errp)
{
    *ret = NULL;
    return true;
}

bool co_main_fn qmp_query_tpm_types(TpmTypeList **ret, Error **errp)
{
    *ret = NULL;
    return true;
}

/* ---- options ---- */

static bool takes_parameters(const SystemOption *o)
{
    return o->has_arg && o->phase != PHASE_MACHINE;
}

bool co_main_fn qmp_query_command_line_options(const QmpQueryCommandLineOptionsArgs *args,
                                               CommandLineOptionInfoList **ret, Error **errp)
{
    CommandLineOptionInfoList *list = NULL, **tail = &list;

    for (const SystemOption *o = system_options; o->name; o++) {
        if (takes_parameters(o) && (!args->option || strcmp(args->option, o->name) == 0)) {
            CommandLineOptionInfo *info = g_new0(CommandLineOptionInfo, 1);

            info->option = g_strdup(o->name);
            CommandLineOptionInfoList_append(&tail, info);
        }
    }
    if (args->option && !list) {
        error_setg(errp, "invalid option name: %s", args->option);
        return false;
    }
    *ret = list;
    return true;
}

/* ---- devices ---- */

bool co_main_fn qmp_device_list_properties(const QmpDeviceListPropertiesArgs *args,
                                           ObjectPropertyInfoList **ret, Error **errp)
{
    const DeviceModel *model = device_find_model(args->typename);
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    g_auto(GStrv) pieces = NULL;

    if (!model || strcmp(model->name, args->typename) != 0) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                        args->typename);
        return false;
    }
    pieces = device_model_properties(model);
    for (char **p = pieces; *p; p++) {
        size_t length = strcspn(*p, "=");
        ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

        info->name = g_strndup(*p, length);
        info->type = g_strndup(*p + length + 2, strlen(*p) - length - 3);
        ObjectPropertyInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

/* ---- memory ---- */

/* What -m says: SIZE or size=SIZE, in MiB if it has no unit. */
static int64_t memory_size(void)
{
    uint64_t bytes = DEFAULT_MEMORY;

    for (guint i = 0; i < command_line.given->len; i++) {
        const GivenOption *g = &g_array_index(command_line.given, GivenOption, i);
        g_autoptr(QDict) dict = strcmp(g->option->name, "m") == 0
                                ? keyval_parse_flat(g->value, "size", NULL) : NULL;
        const char *text = dict ? qdict_get_str(dict, "size") : NULL;

        if (text && keyval_parse_size(text, &bytes, NULL) &&
            g_ascii_isdigit(text[strlen(text) - 1])) {
            bytes *= MiB;
        }
    }
    return bytes;
}

static bool main_fn check_balloon(Error **errp)
{
    for (GList *e = device_list()->head; e; e = e->next) {
        if (g_str_has_prefix(((Device *)e->data)->model->name, "virtio-balloon")) {
            return true;
        }
    }
    error_set_class(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
    return false;
}

bool co_main_fn qmp_query_balloon(BalloonInfo **ret, Error **errp)
{
    if (!check_balloon(errp)) {
        return false;
    }
    *ret = g_new0(BalloonInfo, 1);
    (*ret)->actual = memory_size();
    return true;
}

bool co_main_fn qmp_balloon(const QmpBalloonArgs *args, Error **errp)
{
    if (!check_balloon(errp)) {
        return false;
    }
    if (args->value <= 0) {
        error_setg(errp, "Parameter 'target' expects a size");
        return false;
    }
    return true;
}

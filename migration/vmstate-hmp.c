/* SPDX-License-Identifier: GPL-2.0-or-later */
/* savevm, loadvm, delvm. */
#include "qemu/osdep.h"

#include "migration/vmstate.h"
#include "monitor/hmp.h"

static const VmStateDisks all = { NULL, NULL };

/* The name of a snapshot that nobody has named. */
static char *name_by_date(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();

    return g_date_time_format(now, "vm-%Y%m%d%H%M%S");
}

static void co_main_fn savevm(GString *out, const HmpArgs *args)
{
    g_autofree char *made = hmp_has(args, "tag") ? NULL : name_by_date();
    Error *err = NULL;

    vmstate_save(made ?: hmp_str(args, "tag"), &all, &err);
    hmp_failed(out, err);
}

static void co_main_fn loadvm(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    vmstate_load(hmp_str(args, "tag"), &all, &err);
    hmp_failed(out, err);
}

static void co_main_fn delvm(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    vmstate_delete(hmp_str(args, "tag"), &all, &err);
    hmp_failed(out, err);
}

static const HmpCommand commands[] = {
    { "savevm", "tag", "save a VM snapshot. If no tag is provided, a new snapshot is created",
      savevm, { { "tag", HMP_STRING, true } } },
    { "loadvm", "tag", "restore a VM snapshot from its tag", loadvm, { { "tag", HMP_STRING } } },
    { "delvm", "tag", "delete a VM snapshot from its tag", delvm, { { "tag", HMP_STRING } } },
    { NULL },
};

void main_fn vmstate_hmp_init(void)
{
    monitor_hmp_register(commands);
}

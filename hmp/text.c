/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes and tables, as several commands show them. */
#include "qemu/osdep.h"

#include <time.h>

#include "hmp-commands.h"

void any_fn hmp_append_size(GString *out, int64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = bytes;
    int unit = 0;

    while (value >= 1000 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    g_string_append_printf(out, "%0.3g %s", value, units[unit]);
}

#define COLUMNS "%-9s %-16s %8s%20s%13s%11s\n"

void any_fn hmp_append_snapshot_head(GString *out)
{
    g_string_append_printf(out, COLUMNS, "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
}

void any_fn hmp_append_snapshot(GString *out, const char *id, const SnapshotInfo *sn)
{
    g_autoptr(GString) size = g_string_new(NULL);
    g_autofree char *clock = NULL, *icount = NULL;
    char date[64] = "";
    time_t seconds = sn->date_sec;
    struct tm tm;

    hmp_append_size(size, sn->vm_state_size);
    if (localtime_r(&seconds, &tm)) {
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    }
    clock = g_strdup_printf("%02" PRId64 ":%02d:%02d.%03d", sn->vm_clock_sec / 3600,
                            (int)(sn->vm_clock_sec / 60 % 60), (int)(sn->vm_clock_sec % 60),
                            (int)(sn->vm_clock_nsec / 1000000));
    icount = sn->has_icount ? g_strdup_printf("%" PRId64, sn->icount) : g_strdup("");
    g_string_append_printf(out, COLUMNS, id ?: sn->id, sn->name, size->str, date, clock, icount);
}

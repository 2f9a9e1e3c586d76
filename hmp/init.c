/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which commands there are. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "hmp/hmp.h"

static const HmpCommand *const tables[] = {
    hmp_copy_commands, hmp_drive_commands, hmp_job_commands, hmp_nbd_commands,
    hmp_object_commands, hmp_trace_commands,
};

static const HmpCommand *const info_tables[] = {
    hmp_info_block_commands, hmp_info_commands, hmp_info_job_commands,
    hmp_info_snapshot_commands, hmp_info_trace_commands,
};

void main_fn hmp_init(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        monitor_hmp_register(tables[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(info_tables); i++) {
        monitor_hmp_register_info(info_tables[i]);
    }
}

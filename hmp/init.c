/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which commands there are. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "hmp/hmp.h"

void main_fn hmp_init(void)
{
    monitor_hmp_register_info(hmp_info_block_commands);
    monitor_hmp_register_info(hmp_info_commands);
    monitor_hmp_register_info(hmp_info_snapshot_commands);
    monitor_hmp_register_info(hmp_info_trace_commands);
    monitor_hmp_register(hmp_trace_commands);
}

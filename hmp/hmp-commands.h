/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of commands. */
#ifndef HMP_COMMANDS_H
#define HMP_COMMANDS_H

#include "monitor/hmp.h"
#include "qapi/qapi-types.h"

/* One table or two for each file; the last command has no name. */
extern const HmpCommand hmp_info_block_commands[], hmp_info_commands[], hmp_info_trace_commands[];
extern const HmpCommand hmp_info_job_commands[], hmp_info_snapshot_commands[];
extern const HmpCommand hmp_copy_commands[], hmp_drive_commands[], hmp_job_commands[];
extern const HmpCommand hmp_nbd_commands[], hmp_object_commands[], hmp_trace_commands[];

/* qemu-io: of the emulator only. */
void main_fn hmp_io_init(void);

/* "1.5 MiB". */
void any_fn hmp_append_size(GString *out, int64_t bytes);
/* The head of the table of snapshots inside of images, and a line of it; @id: in place of its own,
 * or NULL. */
void any_fn hmp_append_snapshot_head(GString *out);
void any_fn hmp_append_snapshot(GString *out, const char *id, const SnapshotInfo *sn);

#endif

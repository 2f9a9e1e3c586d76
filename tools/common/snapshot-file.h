/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images whose changes are gone at the end: `-s` of qemu-io, `snapshot=on` of a drive. */
#ifndef TOOLS_SNAPSHOT_FILE_H
#define TOOLS_SNAPSHOT_FILE_H

#include "block/block.h"

/* @takes as the backing file of a new overlay.  *@ret_file is to be freed once that is open. */
BdrvOpenOptions *co_main_fn below_snapshot(BdrvOpenOptions *takes, BdrvLink **ret_file,
                                           Error **errp);

#endif

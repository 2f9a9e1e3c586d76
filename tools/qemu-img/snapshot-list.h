/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots, for info and snapshot. */
#ifndef IMG_SNAPSHOT_LIST_H
#define IMG_SNAPSHOT_LIST_H

#include "img.h"

/* @list: of SnapshotInfo, as JSON has it. */
void any_fn img_print_snapshots(const QList *list);

#endif

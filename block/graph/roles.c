/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The roles of a node's children. */
#include "qemu/osdep.h"

#include "block/block.h"

const BdrvLinkRole bdrv_role_file = {
    .name = "file", .stores = true, .slot = offsetof(BlockDriverState, file),
};
const BdrvLinkRole bdrv_role_data_file = {
    .name = "data-file", .stores = true, .slot = offsetof(BlockDriverState, data_file),
};
const BdrvLinkRole bdrv_role_backing = {
    .name = "backing", .slot = offsetof(BlockDriverState, backing),
};
/* What a filter copies to.  It stores nothing that the filter's users read, so their claims and
 * flushes do not go there; requests do, so that whoever holds the target holds them. */
const BdrvLinkRole bdrv_role_target = {
    .name = "target", .slot = offsetof(BlockDriverState, target),
};

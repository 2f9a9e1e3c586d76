/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing metadata past the cache.  A leaf: every other file may use it. */
#include "qemu/osdep.h"

#include "qcow2.h"

const char *any_fn qcow2_name(BlockDriverState *bs)
{
    return bs->filename ?: bs->file->bs->filename;
}

int co_fn qcow2_read_table(BlockDriverState *bs, HostOffset offset, void *buf, size_t bytes)
{
    if (offset.v > BDRV_MAX_LENGTH - bytes) {
        return -EIO;
    }
    return bdrv_co_pread(bs->file, offset.v, bytes, buf);
}

int co_fn qcow2_write_table(BlockDriverState *bs, HostOffset offset, const void *buf,
                            size_t bytes)
{
    if (offset.v > BDRV_MAX_LENGTH - bytes) {
        return -EIO;
    }
    return bdrv_co_pwrite(bs->file, offset.v, bytes, buf, 0);
}

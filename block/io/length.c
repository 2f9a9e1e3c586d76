/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The length of a node, and what its driver promises about changing it. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

int64_t any_fn bdrv_length(const BlockDriverState *bs)
{
    return __atomic_load_n(&bs->length, __ATOMIC_RELAXED);
}

void any_fn bdrv_note_longer(BlockDriverState *bs, int64_t length)
{
    int64_t seen = __atomic_load_n(&bs->length, __ATOMIC_RELAXED);

    while (seen < length &&
           !__atomic_compare_exchange_n(&bs->length, &seen, length, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
}

/* The node that decides on the length of @bs: a protocol, or a format with a map of its own. */
static const BlockDriverState *decides_on_length(const BlockDriverState *bs)
{
    while (!bs->drv->co_map_write && bs->file) {
        bs = bs->file->bs;
    }
    return bs;
}

bool any_fn bdrv_truncate_is_durable(const BlockDriverState *bs)
{
    return decides_on_length(bs)->drv->co_map_write != NULL;
}

bool any_fn bdrv_truncated_is_zero(const BlockDriverState *bs)
{
    bs = decides_on_length(bs);
    /* What a format grows by reads as zeroes wherever it is. */
    return bs->drv->co_map_write || (bs->drv->truncated_is_zero && bs->drv->truncated_is_zero(bs));
}

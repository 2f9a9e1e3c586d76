/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver nbd of a program that was built without libnbd: it says so. */
#include "qemu/osdep.h"

#include "block/protocols/nbd/nbd-internal.h"

static bool co_main_fn absent_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    g_autofree char *name = nbd_name_from_options(&opts->u.nbd);

    error_setg(errp, "Cannot open '%s': this program was built without libnbd", name);
    return false;
}

static int co_fn absent_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    return -ENOTSUP;                /* there is no such node */
}

static const BlockDriver bdrv_nbd = {
    .name              = "nbd",
    .is_protocol       = true,
    .options_clear     = nbd_options_clear,
    .name_prefixes     = nbd_name_prefixes,
    .options_from_name = nbd_options_from_name,
    .co_open           = absent_open,
    .co_preadv         = absent_preadv,
};

static void nbd_init(void)
{
    bdrv_register(&bdrv_nbd);
}

block_init(nbd_init);

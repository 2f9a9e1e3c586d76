/* SPDX-License-Identifier: GPL-2.0-or-later */
/* throttle: requests to its file wait for their turn in a group of limits. */
#include "qemu/osdep.h"

#include "block/filters/pass.h"
#include "qemu/throttle.h"

typedef struct ThrottleState {
    ThrottleGroup *group;           /* changes while held */
    ThrottleGroup *other;           /* while it is reopened: the new one, then the old one */
    int unlimited;                  /* atomic: nobody waits */
} ThrottleState;

static void throttle_options_clear(BdrvOpenOptions *opts)
{
    g_free(opts->u.throttle.group);
}

static ThrottleGroup *main_fn find_group(const char *name, Error **errp)
{
    ThrottleGroup *group = throttle_group_find(name);

    if (!group) {
        error_setg(errp, "Throttle group '%s' does not exist", name);
        return NULL;
    }
    return throttle_group_ref(group);
}

static bool co_main_fn throttle_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                     Error **errp)
{
    ThrottleState *s = bs->opaque;

    filter_pass_open(bs);
    s->group = find_group(opts->u.throttle.group, errp);
    return s->group != NULL;
}

static int co_main_fn throttle_close(BlockDriverState *bs)
{
    ThrottleState *s = bs->opaque;

    throttle_group_unref(s->group);
    return 0;
}

/* ---- another group ---- */

static bool co_main_fn throttle_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to,
                                               Error **errp)
{
    ThrottleState *s = bs->opaque;

    if (!filter_keeps_file(bs, to, errp)) {
        return false;
    }
    s->other = to->options ? find_group(to->options->u.throttle.group, errp)
                           : throttle_group_ref(s->group);
    return s->other != NULL;
}

static void main_fn throttle_reopen_commit(BlockDriverState *bs, const BdrvReopen *to)
{
    ThrottleState *s = bs->opaque;
    ThrottleGroup *old = s->group;

    s->group = s->other;
    s->other = old;
}

/* After an abort, too. */
static void co_main_fn throttle_reopen_clean(BlockDriverState *bs)
{
    ThrottleState *s = bs->opaque;

    throttle_group_unref(g_steal_pointer(&s->other));
}

/* ---- requests ---- */

static void main_fn throttle_set_unlimited(BlockDriverState *bs, bool on)
{
    ThrottleState *s = bs->opaque;

    __atomic_store_n(&s->unlimited, on, __ATOMIC_SEQ_CST);
    if (on) {
        throttle_group_release(s->group, bs);
    }
}

static void co_fn wait_for_turn(BlockDriverState *bs, bool is_write, int64_t bytes)
{
    ThrottleState *s = bs->opaque;

    throttle_group_wait(s->group, bs, is_write, bytes, &s->unlimited);
}

static int co_fn throttle_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    wait_for_turn(bs, false, bytes);
    return filter_preadv(bs, offset, bytes, qiov);
}

static int co_fn throttle_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                  IoVec *qiov, unsigned flags)
{
    wait_for_turn(bs, true, bytes);
    return filter_pwritev(bs, offset, bytes, qiov, flags);
}

static int co_fn throttle_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        unsigned flags)
{
    wait_for_turn(bs, true, bytes);
    return filter_pwrite_zeroes(bs, offset, bytes, flags);
}

static int co_fn throttle_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    wait_for_turn(bs, true, bytes);
    return filter_pdiscard(bs, offset, bytes);
}

static const BlockDriver bdrv_throttle = {
    .name               = "throttle",
    .instance_size      = sizeof(ThrottleState),
    .is_protocol        = true,
    .is_filter          = true,
    .options_clear      = throttle_options_clear,
    .co_open            = throttle_open,
    .co_close           = throttle_close,
    .co_reopen_prepare  = throttle_reopen_prepare,
    .reopen_commit      = throttle_reopen_commit,
    .co_reopen_abort    = throttle_reopen_clean,
    .co_reopen_clean    = throttle_reopen_clean,
    .set_unlimited      = throttle_set_unlimited,
    .co_preadv          = throttle_preadv,
    .co_pwritev         = throttle_pwritev,
    .co_pwrite_zeroes   = throttle_pwrite_zeroes,
    .co_pdiscard        = throttle_pdiscard,
    .co_block_status    = filter_block_status,
    .co_truncate        = filter_truncate,
    .co_extend          = filter_extend,
    .co_getlength       = filter_getlength,
    .child_claims       = bdrv_filter_child_claims,
};

static void throttle_init(void)
{
    bdrv_register(&bdrv_throttle);
}

block_init(throttle_init);

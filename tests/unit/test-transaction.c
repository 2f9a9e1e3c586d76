/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a transaction promises about disks that do not answer, about others' disks, and about its
 * states. */
#include "qemu/osdep.h"

#include "../lib/group-rig.h"
#include "block/actions.h"
#include "block/blockdev.h"

/* ---- a disk whose flushes wait for the test ---- */

static Coroutine *flush_waiter;
static bool gate_closed;

static bool co_main_fn gate_open_node(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                      Error **errp)
{
    bs->length = 1 * MiB;
    return true;
}

static int co_fn gate_rw(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    iovec_memset(qiov, 0, 0, bytes);
    return 0;
}

static int co_fn gate_write(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                            unsigned flags)
{
    return 0;
}

static int co_fn gate_flush(BlockDriverState *bs, unsigned flags)
{
    while (gate_closed) {
        g_assert(!flush_waiter);
        flush_waiter = coroutine_self();
        coroutine_yield();
    }
    return 0;
}

static bool co_fn gate_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                                Error **errp)
{
    return true;
}

static const BlockDriver bdrv_gate = {
    .name        = "gate",
    .is_protocol = true,
    .co_open     = gate_open_node,
    .co_preadv   = gate_rw,
    .co_pwritev  = gate_write,
    .co_flush    = gate_flush,
    .co_truncate = gate_truncate,
};

static void gate_init(void)
{
    bdrv_register(&bdrv_gate);
}

block_init(gate_init);

static void open_the_gate(void)
{
    gate_closed = false;
    if (flush_waiter) {
        coroutine_wake(g_steal_pointer(&flush_waiter));
    }
}

static BlockBackend *co_main_fn gated_disk(void)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("gate");
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "the test" };
    BlockBackend *blk = blk_new("gated", CLAIM_READ | CLAIM_WRITE, CLAIM_ALL, &error_abort);
    BdrvLink *link = bdrv_open(opts, &spec, &error_abort);

    blk_insert(blk, link->bs, &error_abort);
    bdrv_link_free(link);
    gate_closed = true;
    return blk;
}

static void co_fn write_byte(BlockBackend *blk)
{
    uint8_t byte = 1;
    IoVec v;

    iovec_init_buf(&v, &byte, 1);
    g_assert_cmpint(blk_co_pwritev(blk, NULL, 0, 1, &v, 0), ==, 0);
}

/* ---- steps ---- */

#define SOON_NS (50 * NS_PER_MS)

static bool co_main_fn add_resize(Transaction *t, const void *blk, Error **errp)
{
    return resize_action_add(t, blk_bs(blk), 2 * MiB, errp);
}

/* ---- promises ---- */

/* Guests run again at the deadline although the disk does not; it is waited for at the end. */
static void co_main_fn hung_resize_entry(void *opaque)
{
    BlockBackend *blk = gated_disk();
    Transaction *t = transaction_new(SOON_NS);
    Error *err = NULL;

    write_byte(blk);
    g_assert_false(blockdev_take(t, add_resize, blk, &err));
    g_assert(strstr(error_get_pretty(err), "Cannot resize node '#block"));
    g_assert(strstr(error_get_pretty(err), "in time"));
    error_free(err);
    transaction_free(t);
    write_byte(blk);                /* not held */
    g_assert_nonnull(flush_waiter);
    open_the_gate();
    bdrv_outliving_work_wait();
    blk_free(blk);
    g_assert_cmpint(rig_count_nodes(), ==, 0);
}

static void test_hung_resize(void)
{
    rig_run(hung_resize_entry, NULL);
}

/* Between prepare and hold it can be left alone: guests write, others are kept from changing its
 * disks. */
static bool co_main_fn add_one_snapshot(Transaction *t, const void *opaque, Error **errp)
{
    Rig *r = (Rig *)opaque;
    g_autofree char *file = rig_overlay_name(r, 0, 1);
    SnapshotRequest req = {
        .device = "disk0", .base = blk_bs(rig_disk(r, 0)), .filename = file, .format = "qcow2",
    };

    return snapshot_action_add(t, &req, errp);
}

typedef struct Resizer {
    BlockBackend *blk;
    bool done;
} Resizer;

static void co_main_fn resizer_entry(void *opaque)
{
    Resizer *r = opaque;
    Transaction *t = transaction_new(-1);

    g_assert_true(blockdev_take(t, add_resize, r->blk, &error_abort));
    transaction_free(t);
    r->done = true;
}

static const char *const two[] = { "raw", "raw" };

static void co_main_fn left_alone_entry(void *opaque)
{
    Rig *r = rig_new(2, two, 1 * MiB);
    Transaction *t = transaction_new(-1);
    Resizer same = { rig_disk(r, 0), false }, other = { rig_disk(r, 1), false };
    BlockDriverState *base = blk_bs(rig_disk(r, 0));
    CoGroup resizers = CO_GROUP_INIT;

    g_assert_true(transaction_check(t, add_one_snapshot, r, &error_abort));
    g_assert_true(transaction_prepare(t, &error_abort));
    g_assert_cmpint(transaction_state(t), ==, TRANSACTION_PREPARED);
    co_group_start(&resizers, resizer_entry, &same);
    co_group_start(&resizers, resizer_entry, &other);
    rig_write(r, 0, 0, 4096, 0x11);
    while (!other.done) {           /* it needs nothing of ours */
        coroutine_reschedule();
    }
    g_assert_false(same.done);
    g_assert(blk_bs(rig_disk(r, 0)) == base);
    g_assert_true(transaction_flush(t, &error_abort) && transaction_hold(t, &error_abort) &&
                  transaction_work_held(t, &error_abort));
    g_assert_cmpint(transaction_state(t), ==, TRANSACTION_HELD);
    transaction_commit(t);
    transaction_resume(t);
    transaction_end(t);
    transaction_free(t);
    co_group_wait(&resizers);       /* its turn: it resizes what is there now */
    g_assert_true(same.done);
    g_assert(blk_bs(rig_disk(r, 0)) != base);
    g_assert_cmpint(bdrv_length(blk_bs(rig_disk(r, 0))), ==, 2 * MiB);
    g_assert_cmpint(bdrv_length(base), ==, 1 * MiB);
    g_assert_true(rig_verify(r, 0, 0, 4096, 0x11));
    rig_free(r);
}

static void test_left_alone(void)
{
    rig_run(left_alone_entry, NULL);
}

/* A transaction that is given up before its hold has changed nothing, and can be taken again. */
static void co_main_fn given_up_entry(void *opaque)
{
    Rig *r = rig_new(2, two, 1 * MiB);
    g_autofree char *before = rig_files(r);
    int nodes = rig_count_nodes(), fds = rig_open_fds();

    for (int i = 0; i < 3; i++) {
        Transaction *t = transaction_new(-1);
        g_assert_true(transaction_check(t, add_one_snapshot, r, &error_abort));
        g_assert_true(transaction_prepare(t, &error_abort));
        g_assert_true(transaction_flush(t, &error_abort));
        transaction_resume(t);
        transaction_end(t);
        g_assert_cmpint(transaction_state(t), ==, TRANSACTION_ABORTED);
        transaction_free(t);
        g_autofree char *after = rig_files(r);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpint(rig_count_nodes(), ==, nodes);
        g_assert_cmpint(rig_open_fds(), ==, fds);
    }
    g_assert_true(rig_snapshot(r, 1, &error_abort));
    rig_free(r);
}

static void test_given_up(void)
{
    rig_run(given_up_entry, NULL);
}

/* ---- files that are not made in time ---- */

static Coroutine *maker;
static int aborted, released;

static bool co_main_fn never_make(BdrvAction *a, Error **errp)
{
    maker = coroutine_self();
    coroutine_yield();
    return true;
}

static void co_main_fn never_abort(BdrvAction *a)
{
    aborted++;
}

static void main_fn never_release(BdrvAction *a)
{
    released++;
}

static const BdrvActionOps never_ops = {
    .holder        = "the test",
    .instance_size = sizeof(BdrvAction),
    .co_make       = never_make,
    .co_abort      = never_abort,
    .release       = never_release,
};

static bool co_main_fn add_never(Transaction *t, const void *opaque, Error **errp)
{
    const Rig *r = opaque;
    BdrvAction *a = transaction_add(t, &never_ops, g_strdup("wait for ever"));

    return transaction_pin(a, blk_bs(rig_disk((Rig *)r, 0)), 0, errp);
}

/* The command ends; the disk can be used by others; what was being made is undone when that is
 * possible. */
static void co_main_fn not_made_entry(void *opaque)
{
    Rig *r = rig_new(2, two, 1 * MiB);
    Transaction *t = transaction_new_for_test(SOON_NS);
    Error *err = NULL;

    g_assert_false(blockdev_take(t, add_never, r, &err));
    g_assert(strstr(error_get_pretty(err), "Cannot wait for ever: its file was not made in time"));
    error_free(err);
    transaction_free(t);
    g_assert_true(rig_snapshot(r, 1, &error_abort));
    g_assert_cmpint(aborted, ==, 0);
    coroutine_wake(maker);
    bdrv_outliving_work_wait();
    g_assert_cmpint(aborted, ==, 1);
    g_assert_cmpint(released, ==, 1);
    rig_free(r);
    g_assert_cmpint(rig_count_nodes(), ==, 0);
}

static void test_not_made(void)
{
    rig_run(not_made_entry, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/transaction/a-disk-that-does-not-answer-holds-guests-until-the-deadline",
                    test_hung_resize);
    g_test_add_func("/transaction/waits-between-prepare-and-hold-and-others-go-on",
                    test_left_alone);
    g_test_add_func("/transaction/given-up-it-has-changed-nothing", test_given_up);
    g_test_add_func("/transaction/what-is-not-made-in-time-is-undone-by-its-makers", test_not_made);
    return g_test_run();
}

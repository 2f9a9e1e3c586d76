/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another version, another width of refcounts, other promises: the disk reads as before, whatever
 * fails, and whenever the power goes. */
#include "qemu/osdep.h"

#include "block/amend.h"
#include "block/formats/qcow2/types.h"
#include "block/internal-snapshot.h"
#include "tests/lib/qcow2-rig.h"

#define DISK_BYTES (512 * KiB)

typedef struct Variant {
    const char *name;
    int version;
    int64_t cluster_size;
    int refcount_bits;
    bool backing, snapshot, lazy;
    BdrvAmendOptions to;
} Variant;

static const Variant variants[] = {
    { "wider", 3, 4096, 16, .to = { .refcount_bits = 64 } },
    { "narrower", 3, 512, 64, .to = { .refcount_bits = 8 }, .snapshot = true },
    { "older", 3, 65536, 16, .to = { .version = 2 }, .lazy = true },
    { "older-backing", 3, 4096, 16, .to = { .version = 2 }, .backing = true },
    { "newer", 2, 4096, 16, .to = { .version = 3 }, .backing = true, .snapshot = true },
    { "newer-and-wider", 2, 512, 16, .to = { .version = 3, .refcount_bits = 32 } },
    { "older-and-standard", 3, 4096, 4, .to = { .version = 2, .refcount_bits = 16 } },
    { "lazy", 3, 4096, 16, .to = { .has_lazy_refcounts = true, .lazy_refcounts = true } },
    { "larger-and-older", 3, 4096, 16, .backing = true,
      .to = { .version = 2, .has_size = true, .size = DISK_BYTES } },
};

typedef struct Bed {
    const Variant *v;
    MemDisk *d, *crashed, *base_disk;
    BdrvLink *base, *link;
    uint8_t *content;
    unsigned states;
    bool judging;
} Bed;

static uint8_t *co_main_fn content(BdrvLink *link)
{
    uint8_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_length(link->bs), ==, DISK_BYTES);
    g_assert_cmpint(bdrv_co_pread(link, 0, DISK_BYTES, buf), ==, 0);
    return buf;
}

static void co_main_fn bed_open(Bed *b)
{
    b->link = rig_open(b->d, &(RigOpen){ .backing = b->base });
}

static void co_main_fn fill(Bed *b)
{
    BdrvSnapshot sn = { .name = (char *)"s" };
    g_autofree uint8_t *buf = g_malloc0(32 * KiB);

    rig_write(b->link, 0, DISK_BYTES / 4, 0x11);
    memset(buf, 0x33, 32 * KiB);
    if (b->v->refcount_bits > 4) {          /* so many may share a host cluster */
        g_assert_cmpint(bdrv_co_pwrite(b->link, 131072, 32 * KiB, buf, BDRV_REQ_WRITE_COMPRESSED),
                        ==, 0);
    }
    if (b->v->snapshot) {
        g_assert_cmpint(bdrv_co_snapshot_create(b->link->bs, &sn), ==, 0);
        rig_write(b->link, 65536, 8192, 0x44);
    } else {
        rig_zero(b->link, 65536, 65536, 0);             /* some with a host cluster */
        rig_zero(b->link, 5 * 65536, 65536, BDRV_REQ_MAY_UNMAP);
    }
}

static void co_main_fn bed_setup(Bed *b, const Variant *v)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    *b = (Bed){ .v = v, .d = memdisk_new("disk"), .crashed = memdisk_new("crashed") };
    if (v->backing) {
        b->base_disk = memdisk_new("base");
        rig_create(b->base_disk, &opts);
        b->base = rig_open(b->base_disk, NULL);
        rig_write(b->base, 0, DISK_BYTES, 0x77);
        opts.u.qcow2.backing_file = (char *)"base";
    }
    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.refcount_bits = v->refcount_bits;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    rig_create(b->d, &opts);
    bed_open(b);
    fill(b);
    rig_close(b->link);
    bed_open(b);
    b->content = content(b->link);
}

static void co_main_fn bed_teardown(Bed *b)
{
    rig_close(b->link);
    memdisk_free(b->d);
    memdisk_free(b->crashed);
    if (b->base) {
        rig_close(b->base);
        memdisk_free(b->base_disk);
    }
    g_free(b->content);
}

/* @expect: 1: the image is what was asked for, 0: it need not be. */
static void co_main_fn judge(Bed *b, MemDisk *d, int expect)
{
    BdrvLink *link = rig_open(d, &(RigOpen){ .backing = b->base });
    BdrvInfo info = { 0 };

    rig_check(link);
    g_autofree uint8_t *now = content(link);
    g_assert_cmpint(memcmp(now, b->content, DISK_BYTES), ==, 0);
    link->bs->drv->get_info(link->bs, &info);
    if (expect) {
        const BdrvAmendOptions *to = &b->v->to;
        g_assert_true(!to->version || to->version == info.qcow2.version);
        g_assert_true(!to->refcount_bits || to->refcount_bits == info.qcow2.refcount_bits);
        g_assert_true(!to->has_lazy_refcounts ||
                      to->lazy_refcounts == info.qcow2.lazy_refcounts);
    }
    rig_write(link, 0, DISK_BYTES, 0x99);               /* life goes on */
    rig_check(link);
    rig_close(link);
    b->states++;
}

static void co_main_fn at_sync(MemDisk *d, void *opaque)
{
    Bed *b = opaque;

    if (b->judging || memdisk_unsynced(d) == 0) {
        return;
    }
    b->judging = true;
    for (int i = 0; i < 6; i++) {
        memdisk_crash(d, b->crashed, i < 2 ? (MemCrash)i : MEM_CRASH_RANDOM + i % 3, b->states);
        judge(b, b->crashed, 0);
    }
    b->judging = false;
}

static void co_main_fn test_power_cut_leaves_the_disk_as_it_is(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        Bed b;

        bed_setup(&b, &variants[i]);
        memdisk_on_sync(b.d, at_sync, &b);
        g_assert_true(bdrv_co_amend(b.link, &variants[i].to, NULL, &error_abort));
        memdisk_on_sync(b.d, NULL, NULL);
        g_test_message("%s: %u states", variants[i].name, b.states);
        rig_close(b.link);
        judge(&b, b.d, 1);
        bed_open(&b);
        bed_teardown(&b);
    }
}

/* False: it did not get as far as operation @after. */
static bool co_main_fn run_with_fault(const Variant *v, int64_t after, MemFailure failure,
                                      bool sticky)
{
    Bed b;

    bed_setup(&b, v);
    int64_t before = memdisk_operations(b.d);
    memdisk_set_failure(b.d, failure);
    memdisk_fail(b.d, after, EIO, sticky);
    bool ok = bdrv_co_amend(b.link, &v->to, NULL, NULL);
    bool struck = memdisk_operations(b.d) - before > after;
    memdisk_fail(b.d, -1, 0, false);
    g_autofree uint8_t *now = content(b.link);
    g_assert_cmpint(memcmp(now, b.content, DISK_BYTES), ==, 0);
    rig_close(b.link);
    judge(&b, b.d, ok);
    bed_open(&b);
    bed_teardown(&b);
    return struck;
}

static void co_main_fn test_what_fails_changes_no_data(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (int k = 0; k < 4; k++) {
            int64_t after = k % RIG_STRIDE;

            while (run_with_fault(&variants[i], after,
                                  k & 1 ? MEM_FAILURE_ALL : MEM_FAILURE_NOTHING, k & 2)) {
                after += RIG_STRIDE;
            }
        }
    }
}

static bool end_at_once(BdrvCheckProgress *p, uint64_t done, uint64_t total)
{
    return false;
}

static void co_main_fn test_it_can_be_interrupted(void)
{
    BdrvCheckProgress progress = { end_at_once };

    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        Bed b;

        bed_setup(&b, &variants[i]);
        bdrv_co_amend(b.link, &variants[i].to, &progress, NULL);
        rig_close(b.link);
        judge(&b, b.d, 0);
        bed_open(&b);
        bed_teardown(&b);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/amend/power-cut-leaves-the-disk-as-it-is",
            test_power_cut_leaves_the_disk_as_it_is);
    rig_add("/qcow2/amend/what-fails-changes-no-data", test_what_fails_changes_no_data);
    rig_add("/qcow2/amend/it-can-be-interrupted", test_it_can_be_interrupted);
    return g_test_run();
}

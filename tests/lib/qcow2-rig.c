/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "qemu/aio.h"
#include "tests/lib/qcow2-rig.h"

typedef struct CoTest {
    void (*fn)(void);
} CoTest;

static AioContext *rig_context(void)
{
    static AioContext *ctx;

    if (!ctx) {
        context_set_main();
        ctx = aio_context_new(AIO_BACKEND_AUTO, NULL);
        g_assert_nonnull(ctx);
    }
    return ctx;
}

static void run_entry(void *opaque)
{
    CoTest *t = opaque;

    t->fn();
}

static void run_test(gconstpointer opaque)
{
    aio_context_run_coroutine(rig_context(), run_entry, (void *)opaque);
}

void rig_add(const char *path, void (*fn)(void))
{
    CoTest *t = g_new(CoTest, 1);

    t->fn = fn;
    g_test_add_data_func_full(path, t, run_test, g_free);
}

/* ---- images ---- */

static BdrvLink *co_main_fn open_file(MemDisk *d)
{
    g_autoptr(BdrvOpenOptions) opts = memdisk_options(d, false);
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL,
        .holder = "test",
    };

    return bdrv_open(opts, &spec, &error_abort);
}

BdrvCreateOptions rig_create_options(int64_t size)
{
    return (BdrvCreateOptions){
        .size = size,
        .u.qcow2 = { .version = 3, .cluster_size = 65536, .refcount_bits = 16 },
    };
}

bool co_main_fn rig_try_create(MemDisk *d, const BdrvCreateOptions *opts, Error **errp)
{
    BdrvLink *file = open_file(d);
    bool ok = bdrv_co_create(bdrv_find_driver("qcow2"), file, opts, errp);

    int ret = ok ? bdrv_co_flush(file, 0) : 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot flush the new image");
        ok = false;
    }
    bdrv_link_free(file);
    return ok;
}

void co_main_fn rig_create(MemDisk *d, const BdrvCreateOptions *opts)
{
    rig_try_create(d, opts, &error_abort);
}

uint64_t rig_load64(MemDisk *d, int64_t offset)
{
    uint8_t buf[8];

    memdisk_read(d, offset, 8, buf);
    return be64_load(buf);
}

void rig_poke64(MemDisk *d, int64_t offset, uint64_t value)
{
    uint8_t buf[8];

    be64_store(buf, value);
    memdisk_poke(d, offset, 8, buf);
}

BdrvLink *co_main_fn rig_try_open(MemDisk *d, const RigOpen *how, Error **errp)
{
    static const RigOpen defaults;
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("qcow2");

    how = how ?: &defaults;
    BdrvLinkSpec spec = {
        .allows = CLAIM_ALL, .holder = "test", .follows = true,
        .needs = CLAIM_READ | (how->read_only ? 0 : CLAIM_WRITE | CLAIM_RESIZE),
    };
    opts->file.options = memdisk_options(d, how->read_only);
    opts->read_only = how->read_only;
    opts->discard = true;
    opts->u.qcow2.has_discard_request = how->keep_space;
    opts->u.qcow2.has_discard_other = opts->u.qcow2.discard_other = how->discard_other;
    opts->no_backing_open = true;
    if (how->cache_size) {
        opts->u.qcow2.cache_size = how->cache_size;
    }
    opts->u.qcow2.for_check = how->for_check;
    opts->u.qcow2.snapshot = g_strdup(how->snapshot);
    opts->u.qcow2.overlap_checks = QCOW2_OL_ALL & ~how->no_overlap_checks;
    opts->u.qcow2.has_lazy_refcounts = opts->u.qcow2.lazy_refcounts = how->lazy_refcounts;
    if (how->data_file) {
        opts->data_file.options = memdisk_options(how->data_file, how->read_only);
    }
    BdrvLink *link = bdrv_open(opts, &spec, errp);
    if (link && how->backing && !bdrv_attach_backing(link->bs, how->backing->bs, errp)) {
        bdrv_link_free(link);
        return NULL;
    }
    return link;
}

BdrvLink *co_main_fn rig_open(MemDisk *d, const RigOpen *how)
{
    return rig_try_open(d, how, &error_abort);
}

void co_main_fn rig_close(BdrvLink *link)
{
    bdrv_link_free(link);
}

uint64_t co_main_fn rig_check(BdrvLink *link)
{
    BdrvCheckResult res;

    bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
    if (res.corruptions) {
        g_error("%" PRIu64 " corruptions, the first: %s", res.corruptions, res.first);
    }
    return res.leaks;
}

/* ---- requests ---- */

void co_fn rig_write(BdrvLink *link, int64_t offset, int64_t bytes, uint8_t pattern)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, pattern, bytes);
    g_assert_cmpint(bdrv_co_pwrite(link, offset, bytes, buf, 0), ==, 0);
}

void co_fn rig_zero(BdrvLink *link, int64_t offset, int64_t bytes, unsigned flags)
{
    g_assert_cmpint(bdrv_co_pwrite_zeroes(link, offset, bytes, flags), ==, 0);
}

void co_fn rig_discard(BdrvLink *link, int64_t offset, int64_t bytes)
{
    g_assert_cmpint(bdrv_co_pdiscard(link, offset, bytes), ==, 0);
}

void co_fn rig_flush(BdrvLink *link)
{
    g_assert_cmpint(bdrv_co_flush(link, 0), ==, 0);
}

void co_fn rig_expect(BdrvLink *link, int64_t offset, int64_t bytes, uint8_t pattern)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(bdrv_co_pread(link, offset, bytes, buf), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        if (buf[i] != pattern) {
            g_error("offset %" PRId64 " reads 0x%02x, not 0x%02x", offset + i, buf[i], pattern);
        }
    }
}

uint64_t rig_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

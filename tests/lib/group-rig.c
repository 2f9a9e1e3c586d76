/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <dirent.h>

#include "group-rig.h"
#include "block/blockdev.h"
#include "qemu/aio.h"

void rig_run(CoroutineEntry *entry, void *opaque)
{
    static AioContext *ctx;

    if (!ctx) {
        context_set_main();
        ctx = aio_context_new(AIO_BACKEND_AUTO, &error_abort);
    }
    aio_context_run_coroutine(ctx, entry, opaque);
}

static BdrvLink *co_main_fn open_file(const char *path)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("file");
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL,
        .holder = "the test",
    };

    opts->u.file.filename = g_strdup(path);
    return bdrv_open(opts, &spec, &error_abort);
}

static void co_main_fn make_image(const char *path, const char *format, int64_t bytes)
{
    BdrvCreateOptions create = { .size = bytes };

    create.u.qcow2 = (Qcow2CreateOptions){ .version = 3, .cluster_size = 64 * KiB,
                                           .refcount_bits = 16 };
    g_file_set_contents(path, "", 0, NULL);
    BdrvLink *file = open_file(path);
    bdrv_co_create(bdrv_find_driver(format), file, &create, &error_abort);
    bdrv_link_free(file);
}

static BlockBackend *co_main_fn open_disk(const char *name, const char *path, const char *format)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "the test" };
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(path, format, NULL, &error_abort);
    BlockBackend *blk = blk_new(name, CLAIM_READ | CLAIM_WRITE, CLAIM_ALL, &error_abort);

    opts->read_only = opts->file.options->read_only = false;
    opts->discard = opts->file.options->discard = true;
    BdrvLink *link = bdrv_open(opts, &spec, &error_abort);
    blk_insert(blk, link->bs, &error_abort);
    bdrv_link_free(link);
    return blk;
}

Rig *co_main_fn rig_new(int disks, const char *const *formats, int64_t bytes)
{
    Rig *r = g_new0(Rig, 1);

    r->dir = g_dir_make_tmp("group-XXXXXX", NULL);
    r->blks = g_ptr_array_new();
    bdrv_graph_lock();
    for (int i = 0; i < disks; i++) {
        g_autofree char *name = g_strdup_printf("disk%d", i);
        g_autofree char *path = g_strdup_printf("%s/%s", r->dir, name);
        make_image(path, formats[i], bytes);
        g_ptr_array_add(r->blks, open_disk(name, path, formats[i]));
    }
    bdrv_graph_unlock();
    return r;
}

void co_main_fn rig_free(Rig *r)
{
    g_autoptr(GDir) dir = g_dir_open(r->dir, 0, NULL);
    const char *name;

    bdrv_graph_lock();
    for (guint i = 0; i < r->blks->len; i++) {
        blk_free(r->blks->pdata[i]);
    }
    bdrv_graph_unlock();
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(r->dir, name, NULL);
        remove(path);
    }
    rmdir(r->dir);
    g_ptr_array_unref(r->blks);
    g_free(r->dir);
    g_free(r);
}

BlockBackend *rig_disk(Rig *r, int i)
{
    return r->blks->pdata[i];
}

char *rig_overlay_name(Rig *r, int i, int generation)
{
    return g_strdup_printf("%s/overlay%d.%d", r->dir, i, generation);
}

typedef struct SnapshotArgs {
    Rig *r;
    int generation;
} SnapshotArgs;

static bool co_main_fn add_snapshots(Transaction *t, const void *opaque, Error **errp)
{
    const SnapshotArgs *a = opaque;
    bool ok = true;

    for (guint i = 0; ok && i < a->r->blks->len; i++) {
        g_autofree char *file = rig_overlay_name(a->r, i, a->generation);
        SnapshotRequest req = {
            .device = blk_name(rig_disk(a->r, i)), .base = blk_bs(rig_disk(a->r, i)),
            .filename = file, .format = "qcow2",
        };
        ok = snapshot_action_add(t, &req, errp);
    }
    return ok;
}

bool co_main_fn rig_snapshot(Rig *r, int generation, Error **errp)
{
    SnapshotArgs args = { r, generation };

    return blockdev_run_transaction(add_snapshots, &args, errp);
}

void co_fn rig_write(Rig *r, int i, int64_t offset, int64_t bytes, uint8_t pattern)
{
    g_autofree void *buf = g_malloc(bytes);
    IoVec v;

    memset(buf, pattern, bytes);
    iovec_init_buf(&v, buf, bytes);
    g_assert_cmpint(blk_co_pwritev(rig_disk(r, i), NULL, offset, bytes, &v, 0), ==, 0);
}

bool co_fn rig_verify(Rig *r, int i, int64_t offset, int64_t bytes, uint8_t pattern)
{
    g_autofree uint8_t *buf = g_malloc(bytes);
    IoVec v;

    iovec_init_buf(&v, buf, bytes);
    g_assert_cmpint(blk_co_preadv(rig_disk(r, i), NULL, offset, bytes, &v), ==, 0);
    for (int64_t n = 0; n < bytes; n++) {
        if (buf[n] != pattern) {
            return false;
        }
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char **)a, *(const char **)b);
}

char *rig_files(Rig *r)
{
    g_autoptr(GDir) dir = g_dir_open(r->dir, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, (void *)g_intern_string(name));
    }
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return g_strjoinv(" ", (char **)names->pdata);
}

int rig_open_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    int n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

int main_fn rig_count_nodes(void)
{
    int n = 0;

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        n++;
    }
    return n;
}

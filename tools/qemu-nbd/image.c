/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk: an image, a part of it, or an image in front of it that nobody else sees. */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/driver.h"
#include "qemu/aio.h"
#include "qnbd.h"

/* "Could not open" is what others say; here the installed program's words stand in front. */
static void say_it(Error **errp, const char *name)
{
    if (strstr(error_get_pretty(*errp), "Can't find snapshot")) {
        error_free(g_steal_pointer(errp));
        error_setg(errp, "Failed to load snapshot: Can't find snapshot");
        return;
    }
    g_autofree char *prefix = g_strdup_printf("Could not open '%s': ", name);
    const char *text = error_get_pretty(*errp);
    Error *again = NULL;

    if (g_str_has_prefix(text, prefix)) {
        text += strlen(prefix);
    }
    error_setg(&again, "Failed to blk_new_open '%s': %s", name, text);
    error_free(*errp);
    *errp = again;
}

/* ---- a part of it ---- */

static BdrvOpenOptions *from_offset(BdrvOpenOptions *image, uint64_t offset)
{
    BdrvOpenOptions *o = bdrv_open_options_new("raw");

    o->u.raw.offset = offset;
    o->read_only = image->read_only;
    o->discard = image->discard;
    o->detect_zeroes = image->detect_zeroes;
    o->file.options = image;
    return o;
}

static bool co_main_fn check_offset(const QnbdArgs *a, const BdrvOpenOptions *opts, Error **errp)
{
    ToolImage look = a->image;

    look.writable = false;
    BlockBackend *blk = tool_open_options(&look, opts, errp);
    if (!blk) {
        return false;
    }
    uint64_t length = bdrv_length(blk_bs(blk));
    tool_close(blk);
    if (a->offset > length) {
        error_setg(errp, "Offset (%" PRIu64 ") cannot be greater than size of the containing file "
                   "(%" PRIu64 ")", a->offset, length);
        return false;
    }
    return true;
}

/* ---- in front of it: -s ---- */

static int blocking_fn open_nameless(void *opaque)
{
    g_autofree char *name = g_build_filename(g_getenv("TMPDIR") ?: "/var/tmp", "vl.XXXXXX", NULL);
    int fd = mkostemp(name, O_CLOEXEC);

    if (fd >= 0) {
        unlink(name);
    }
    return fd < 0 ? -errno : fd;
}

/* A qcow2 image of @length bytes in a file without a name; takes @fd. */
static bool co_main_fn lay_out(int fd, int64_t length, Error **errp)
{
    BdrvCreateOptions create = {
        .size = length,
        .u.qcow2 = { .version = 3, .cluster_size = 128 * KiB, .extended_l2 = true,
                     .refcount_bits = 16 },
    };
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL, .holder = "qemu-nbd",
    };
    g_autoptr(BdrvOpenOptions) file = bdrv_open_options_new("file");

    file->u.file.filename = g_strdup("(what is written)");
    file->u.file.fd = fd;
    file->u.file.locking = FILE_LOCKING_OFF;
    bdrv_graph_lock();
    BdrvLink *link = bdrv_open(file, &spec, errp);
    bool ok = link && bdrv_co_create(bdrv_find_driver("qcow2"), link, &create, errp);
    bdrv_link_free(link);
    bdrv_graph_unlock();
    return ok;
}

static BdrvOpenOptions *co_main_fn in_front(BdrvOpenOptions *image, int64_t length, Error **errp)
{
    int fd = thread_pool_co_run(open_nameless, NULL);
    int second = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (fd < 0 || second < 0) {
        error_setg_errno(errp, fd < 0 ? -fd : errno, "Could not create temporary overlay");
        return NULL;
    }
    if (!lay_out(fd, length, errp)) {
        close(second);
        return NULL;
    }
    BdrvOpenOptions *o = bdrv_open_options_new("qcow2");
    BdrvOpenOptions *file = bdrv_open_options_new("file");
    file->u.file.filename = g_strdup("(what is written)");
    file->u.file.fd = second;
    file->u.file.locking = FILE_LOCKING_OFF;
    file->cache_no_flush = o->cache_no_flush = true;    /* it goes with this process */
    file->discard = o->discard = true;
    o->file.options = file;
    o->backing.options = image;
    return o;
}

static BdrvOpenOptions *co_main_fn with_snapshot(const QnbdArgs *a, BdrvOpenOptions *opts,
                                                 Error **errp)
{
    ToolImage look = a->image;

    look.writable = false;
    BlockBackend *blk = tool_open_options(&look, opts, errp);
    if (!blk) {
        return NULL;
    }
    int64_t length = bdrv_length(blk_bs(blk));
    tool_close(blk);
    return in_front(opts, length, errp);
}

/* ---- all ---- */

BlockBackend *co_main_fn qnbd_open(const QnbdArgs *a, Error **errp)
{
    ToolImage image = a->image;
    BlockBackend *blk = NULL;

    if (a->snapshot) {
        image.writable = false;         /* what is below is only read */
    }
    BdrvOpenOptions *opts = tool_image_options(&image, errp);
    if (opts && a->load_snapshot && !tool_set_snapshot(opts, a->load_snapshot, errp)) {
        bdrv_open_options_free(opts);
        return NULL;
    }
    if (opts && a->offset) {
        if (!check_offset(a, opts, errp)) {
            bdrv_open_options_free(opts);
            return NULL;
        }
        opts = from_offset(opts, a->offset);
    }
    if (opts && a->snapshot) {
        BdrvOpenOptions *top = with_snapshot(a, opts, errp);
        if (!top) {
            bdrv_open_options_free(opts);
        }
        opts = top;
        image.writable = a->image.writable;
    }
    if (opts) {
        blk = tool_open_options(&image, opts, errp);
        bdrv_open_options_free(opts);
    }
    if (!blk) {
        say_it(errp, image.name);
    }
    return blk;
}

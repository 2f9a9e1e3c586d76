/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written goes to an overlay without a name, which is gone once it is closed. */
#include "qemu/osdep.h"

#include "qemu/aio.h"
#include "tools/common/snapshot-file.h"

static int blocking_fn open_nameless(void *opaque)
{
    int *ret_fd = opaque;
    const char *dir = g_get_tmp_dir();

    if (!g_getenv("TMPDIR")) {
        dir = "/var/tmp";           /* it may get large */
    }
    *ret_fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*ret_fd >= 0) {
        return 0;
    }
    g_autofree char *name = g_build_filename(dir, "vl.XXXXXX", NULL);
    *ret_fd = mkostemp(name, O_CLOEXEC);
    if (*ret_fd < 0) {
        return -errno;
    }
    unlink(name);
    return 0;
}

static BdrvLink *co_main_fn open_overlay_file(Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL, .holder = "a temporary overlay",
    };
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("file");
    int fd;
    int err = thread_pool_co_run(open_nameless, &fd);

    if (err < 0) {
        error_setg_errno(errp, -err, "Could not create temporary overlay");
        return NULL;
    }
    opts->u.file.filename = g_strdup("temporary overlay");
    opts->u.file.fd = fd;
    opts->u.file.locking = FILE_LOCKING_OFF;
    opts->cache_no_flush = true;    /* nobody looks at it after a power cut */
    return bdrv_open(opts, &spec, errp);
}

static int64_t co_main_fn length_of(const BdrvOpenOptions *opts, Error **errp)
{
    BdrvLinkSpec spec = { .needs = CLAIM_READ, .allows = CLAIM_ALL, .holder = "a temporary overlay" };
    BdrvLink *link = bdrv_open(opts, &spec, errp);
    int64_t length = link ? bdrv_length(link->bs) : -1;

    bdrv_link_free(link);
    return length;
}

static bool co_main_fn lay_out(BdrvLink *file, int64_t length, Error **errp)
{
    BdrvCreateOptions create = {
        .size = ROUND_UP(length, 512),
        .u.qcow2 = { .version = 3, .cluster_size = 64 * KiB, .refcount_bits = 16 },
    };

    return bdrv_co_create(bdrv_find_driver("qcow2"), file, &create, errp) &&
           bdrv_link_set_claims(file, CLAIM_NONE, CLAIM_ALL, errp);
}

BdrvOpenOptions *co_main_fn below_snapshot(BdrvOpenOptions *takes, BdrvLink **ret_file,
                                           Error **errp)
{
    BdrvOpenOptions *opts = bdrv_open_options_new("qcow2");

    opts->backing.options = takes;
    opts->discard = takes->discard;
    opts->cache_no_flush = true;
    bdrv_graph_lock();
    int64_t length = length_of(takes, errp);
    *ret_file = length < 0 ? NULL : open_overlay_file(errp);
    if (*ret_file && lay_out(*ret_file, length, errp)) {
        opts->file.node = (*ret_file)->bs;
        bdrv_graph_unlock();
        return opts;
    }
    bdrv_link_free(g_steal_pointer(ret_file));
    bdrv_graph_unlock();
    bdrv_open_options_free(opts);
    return NULL;
}

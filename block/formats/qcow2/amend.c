/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing what an image is.  Each change is decided by one write of the header's first sector:
 *
 * (A1) Before the sector with a new width of refcounts, or another version, is written, everything
 *      that it leads to, or stops meaning something, is on disk: refcounts of that width, or no
 *      entry that only version 3 knows.
 *
 * The core holds the whole node, and nothing else uses it.
 */
#include "qemu/osdep.h"

#include "header-layout.h"
#include "snapshot.h"

/* ---- may it be ---- */

static bool check_version(const Qcow2State *s, const BdrvAmendOptions *o, Error **errp)
{
    unsigned version = o->version ? o->version : s->header.version;
    unsigned bits = o->refcount_bits ? o->refcount_bits : 1u << s->g.refcount_order;

    if (bits > 64 || !IS_POWER_OF_2(bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not exceed 64 bits");
    } else if (version < 3 && bits != 16) {
        error_setg(errp, o->refcount_bits && bits != 16
                   ? "Refcount widths other than 16 bits require compatibility level 1.1 or above "
                     "(use compat=1.1 or greater)" : "compat=0.10 requires refcount_bits=16");
    } else if (version < 3 && o->has_lazy_refcounts && o->lazy_refcounts) {
        error_setg(errp, "Lazy refcounts only supported with compatibility level 1.1 and above "
                   "(use compat=1.1 or greater)");
    } else {
        return true;
    }
    return false;
}

static bool check_data_file(const Qcow2State *s, const BdrvAmendOptions *o, Error **errp)
{
    if (o->data_file && !s->g.has_data_file) {
        error_setg(errp, "data-file can only be set for images that use an external data file");
    } else if (o->has_data_file_raw && o->data_file_raw && !s->raw_data) {
        error_setg(errp, "data-file-raw cannot be set on existing images");
    } else {
        return true;
    }
    return false;
}

/* What version 2 has no place for.  Its snapshots do not say how large the disk was, so they must be
 * of the size that the disk is going to have. */
static bool check_downgrade(BlockDriverState *bs, const BdrvAmendOptions *o, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t length = o->has_size ? (uint64_t)o->size : s->header.size;
    uint64_t features = s->header.incompatible & ~(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_DATA_FILE);

    if (s->g.has_data_file) {
        error_setg(errp, "Cannot downgrade an image with a data file");
        return false;
    }
    if (features) {
        error_setg(errp, "Cannot downgrade an image with incompatible features 0x%" PRIx64 " set",
                   features);
        return false;
    }
    if (s->header.has_bitmaps) {
        error_setg(errp, "Cannot downgrade an image with bitmaps");
        return false;
    }
    for (guint i = 0; i < s->snapshots->len; i++) {
        const BdrvSnapshot *sn = s->snapshots->pdata[i];

        if (sn->vm_state_size > UINT32_MAX || sn->disk_size != length) {
            error_setg(errp, "Internal snapshots prevent downgrade of image");
            return false;
        }
    }
    return true;
}

static bool check(BlockDriverState *bs, const BdrvAmendOptions *o, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);

    if (s->snapshot_busy) {
        error_setg(errp, "Cannot amend '%s': an internal snapshot is being made or deleted",
                   qcow2_name(bs));
        return false;
    }
    if (o->has_size && o->size % 512) {
        error_setg(errp, "The new size must be a multiple of 512");
        return false;
    }
    return check_version(s, o, errp) && check_data_file(s, o, errp) &&
           (o->version != 2 || s->header.version == 2 || check_downgrade(bs, o, errp));
}

/* ---- version 2 ---- */

static bool step(BdrvCheckProgress *p, uint64_t done, uint64_t total)
{
    return !p || p->step(p, done, total);
}

/* Entries of the active tables that say "zeroes" become clusters of zeroes, or none where nothing
 * lies below. */
static int co_fn expand_zeroes(BlockDriverState *bs, BdrvCheckProgress *progress)
{
    int64_t length = bdrv_length(bs), n;
    int ret = 0;

    for (int64_t pos = 0; pos < length && ret == 0; pos += n) {
        BdrvExtent e = { 0 };

        ret = qcow2_co_map(bs, pos, length - pos, &e);
        n = ret < 0 ? 0 : e.bytes;
        if (ret == 0 && e.kind == BDRV_EXTENT_ZERO) {
            int64_t end = ROUND_UP((uint64_t)pos + n, qcow2_state(bs)->g.cluster_size);

            ret = qcow2_has_backing(bs) ? bdrv_resize_allocate(bs, pos, pos + n,
                                                               BDRV_PREALLOC_METADATA)
                                        : qcow2_unmap(bs, pos, end);
        }
        if (ret == 0) {
            ret = qcow2_writeback_throttle(bs);
        }
        if (ret == 0 && !step(progress, pos, length)) {
            ret = -ECANCELED;
        }
    }
    return ret;
}

/* Does a table that @l1 leads to have an entry that says "zeroes"?  1, 0 or -errno. */
static int co_fn map_has_zeroes(BlockDriverState *bs, const uint64_t *l1, uint32_t n)
{
    Qcow2State *s = qcow2_state(bs);
    g_autofree uint8_t *buf = g_try_malloc(s->g.cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < n && ret == 0; i++) {
        HostOffset table = host_offset(be64_load(&l1[i]) & QCOW2_OFFSET_MASK);

        if (table.v) {
            ret = qcow2_read_table(bs, table, buf, s->g.cluster_size);
        }
        for (uint64_t k = 0; table.v && ret == 0 && k < s->g.cluster_size; k += 8) {
            uint64_t desc = be64_load(buf + k);
            ret = !(desc & QCOW2_COMPRESSED) && desc & QCOW2_ZERO;
        }
    }
    return ret;
}

/* The same for all snapshots, whose tables are not changed. */
static int co_fn snapshots_have_zeroes(BlockDriverState *bs)
{
    uint64_t bytes;
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, NULL);
    int ret = list ? 0 : -EIO;

    for (guint i = 0; ret == 0 && i < list->len; i++) {
        const Qcow2Snapshot *sn = list->pdata[i];
        uint64_t *l1 = qcow2_l1_read(bs, sn->l1_offset, sn->l1_size, &ret);

        if (l1) {
            ret = map_has_zeroes(bs, l1, sn->l1_size);
        }
        free(l1);
    }
    return ret;
}

/* What lies behind the end may have such entries, too: nobody ever reads them. */
static int co_fn drop_behind(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    int64_t from = ROUND_UP((uint64_t)bdrv_length(bs), s->g.cluster_size);
    int64_t end = (int64_t)s->l1_size << (s->g.cluster_bits + s->g.l2_bits);

    return from < end ? qcow2_unmap(bs, from, end) : 0;
}

static bool co_fn downgrade(BlockDriverState *bs, BdrvCheckProgress *progress, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = snapshots_have_zeroes(bs);

    if (ret > 0) {
        error_setg(errp, "Cannot downgrade '%s': a snapshot has clusters that version 2 does not "
                   "know (zeroes)", qcow2_name(bs));
        return false;
    }
    s->lazy_refcounts = false;
    if (ret == 0) {
        ret = expand_zeroes(bs, progress);
    }
    if (ret == 0) {
        ret = drop_behind(bs);
    }
    if (ret == 0) {
        ret = qcow2_co_flush(bs, BDRV_FLUSH_SETTLE);        /* (A1), and no mark is left */
    }
    if (ret == 0) {
        ret = qcow2_header_edit(bs, &(Qcow2HeaderEdit){ .version = 2 });
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot downgrade '%s'", qcow2_name(bs));
        return false;
    }
    s->header.compatible = s->header.autoclear = s->header.incompatible = 0;
    __atomic_store_n(&s->autoclear_pending, 0, __ATOMIC_RELEASE);
    return true;
}

/* ---- all of it ---- */

static int co_fn set_flags(BlockDriverState *bs, const BdrvAmendOptions *o)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t bit = QCOW2_COMPAT_LAZY_REFCOUNTS;
    int ret = 0;

    if (o->has_lazy_refcounts && s->header.version >= 3) {
        ret = qcow2_header_set_bits(bs, QCOW2_HDR_COMPATIBLE, o->lazy_refcounts ? bit : 0,
                                    o->lazy_refcounts ? 0 : bit);
        if (ret == 0) {
            s->header.compatible = (s->header.compatible & ~bit) | (o->lazy_refcounts ? bit : 0);
            s->lazy_refcounts = o->lazy_refcounts;
        }
    }
    if (ret == 0 && o->has_data_file_raw && !o->data_file_raw && s->raw_data) {
        ret = qcow2_header_set_bits(bs, QCOW2_HDR_AUTOCLEAR, 0, QCOW2_AUTOCLEAR_RAW_DATA);
        if (ret == 0) {
            s->header.autoclear &= ~QCOW2_AUTOCLEAR_RAW_DATA;
            s->raw_data = false;
        }
    }
    return ret;
}

static int co_fn set_data_file(BlockDriverState *bs, const char *name)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_header_edit(bs, &(Qcow2HeaderEdit){ .data_file = name });

    if (ret == 0) {
        g_free(s->header.data_file);
        s->header.data_file = *name ? g_strdup(name) : NULL;
    }
    return ret;
}

static bool co_fn amend(BlockDriverState *bs, const BdrvAmendOptions *o,
                        BdrvCheckProgress *progress, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    int bits = o->refcount_bits;
    int ret = qcow2_prepare_change(bs);

    if (ret == 0) {
        ret = qcow2_co_flush(bs, BDRV_FLUSH_SETTLE);
    }
    if (ret == 0 && o->version == 3 && s->header.version == 2) {
        ret = qcow2_header_edit(bs, &(Qcow2HeaderEdit){ .version = 3 });
    }
    if (ret == 0 && bits && bits != 1 << s->g.refcount_order &&
        !qcow2_change_refcounts(bs, __builtin_ctz(bits), progress, errp)) {
        return false;
    }
    if (ret == 0) {
        ret = set_flags(bs, o);
    }
    if (ret == 0 && o->data_file) {
        ret = set_data_file(bs, o->data_file);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, ret == -ENOSPC ? "Cannot amend '%s': its header, or the file "
                         "system, has no room" : "Cannot amend '%s'", qcow2_name(bs));
        return false;
    }
    return o->version != 2 || s->header.version == 2 || downgrade(bs, progress, errp);
}

bool co_fn qcow2_co_amend(BlockDriverState *bs, const BdrvAmendOptions *o, bool only_check,
                          BdrvCheckProgress *progress, Error **errp)
{
    bool ok = only_check ? check(bs, o, errp) : amend(bs, o, progress, errp);

    qcow2_end(bs, 0);
    return ok;
}

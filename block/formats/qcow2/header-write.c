/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the header in place.  Only fields in the first 512 bytes change, and these are written
 * as one sector, which reaches the disk as a whole or not at all.  Everything else of the first
 * cluster, header extensions of others included, stays as it is.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

static int co_fn put_sector(BlockDriverState *bs, const uint8_t *sector)
{
    int ret = bdrv_co_pwrite(bs->file, 0, sizeof(qcow2_state(bs)->header_sector), sector, 0);

    return ret == 0 ? bdrv_co_flush(bs->file, 0) : ret;
}

/* Autoclear bits that mean something to us. */
static uint64_t known_autoclear(const Qcow2State *s)
{
    return QCOW2_AUTOCLEAR_BITMAPS | (s->raw_data ? QCOW2_AUTOCLEAR_RAW_DATA : 0);
}

/* Whatever a change is, unknown autoclear bits do not survive it: they promise that nobody wrote who
 * does not know them. */
static void drop_unknown(const Qcow2State *s, uint8_t *sector)
{
    if (s->header.version >= 3) {
        be64_store(sector + QCOW2_HDR_AUTOCLEAR,
                   be64_load(sector + QCOW2_HDR_AUTOCLEAR) & known_autoclear(s));
    }
}

/* A copy of the header to be changed. Under header_lock. */
void any_fn qcow2_header_begin_change(Qcow2State *s, uint8_t *sector)
{
    memcpy(sector, s->header_sector, sizeof(s->header_sector));
    drop_unknown(s, sector);
}

/*
 * Write @sector and make it durable; it becomes the known header then.  After a failure either
 * header may be on disk, so the old one is written once more.  Under header_lock.
 */
int co_fn qcow2_header_write_sector(BlockDriverState *bs, const uint8_t *sector)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = put_sector(bs, sector);

    if (ret == 0) {
        memcpy(s->header_sector, sector, sizeof(s->header_sector));
        __atomic_fetch_and(&s->autoclear_pending, known_autoclear(s), __ATOMIC_ACQ_REL);
    } else if (put_sector(bs, s->header_sector) < 0) {
        __atomic_store_n(&s->header_unknown, true, __ATOMIC_RELEASE);
    }
    return ret;
}

int co_fn qcow2_header_put(BlockDriverState *bs, const uint8_t *first)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];

    memcpy(sector, first, sizeof(sector));
    drop_unknown(s, sector);
    return qcow2_header_write_sector(bs, sector);
}

int co_fn qcow2_header_settle(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = 0;

    if (!__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    co_mutex_lock(&s->header_lock);
    if (__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
        ret = put_sector(bs, s->header_sector);
        if (ret == 0) {
            __atomic_store_n(&s->header_unknown, false, __ATOMIC_RELEASE);
        }
    }
    co_mutex_unlock(&s->header_lock);
    return ret;
}

int co_fn qcow2_header_clear_autoclear(BlockDriverState *bs, uint64_t bits)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];

    qcow2_header_begin_change(s, sector);
    be64_store(sector + QCOW2_HDR_AUTOCLEAR, be64_load(sector + QCOW2_HDR_AUTOCLEAR) & ~bits);
    return qcow2_header_write_sector(bs, sector);
}

int co_fn qcow2_header_drop_unknown(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_header_settle(bs);

    uint64_t pending = __atomic_load_n(&s->autoclear_pending, __ATOMIC_ACQUIRE);
    if (ret < 0 || !(pending & ~known_autoclear(s))) {
        return ret;
    }
    co_mutex_lock(&s->header_lock);
    ret = qcow2_header_clear_autoclear(bs, 0);
    co_mutex_unlock(&s->header_lock);
    return ret;
}

int co_fn qcow2_header_mark(BlockDriverState *bs, uint64_t set, uint64_t clear)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];
    int ret = qcow2_header_settle(bs);

    if (ret < 0 || s->header.version < 3) {
        return ret;
    }
    co_mutex_lock(&s->header_lock);
    qcow2_header_begin_change(s, sector);
    uint64_t old = be64_load(sector + QCOW2_HDR_INCOMPATIBLE), now = (old | set) & ~clear;
    if (now != old) {
        be64_store(sector + QCOW2_HDR_INCOMPATIBLE, now);
        ret = qcow2_header_write_sector(bs, sector);
        if (ret == 0) {
            __atomic_store_n(&s->header.incompatible, now, __ATOMIC_RELAXED);
        }
    }
    co_mutex_unlock(&s->header_lock);
    return ret;
}

int co_fn qcow2_header_set_bits(BlockDriverState *bs, unsigned field, uint64_t set, uint64_t clear)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];

    co_mutex_lock(&s->header_lock);
    qcow2_header_begin_change(s, sector);
    be64_store(sector + field, (be64_load(sector + field) & ~clear) | set);
    int ret = qcow2_header_write_sector(bs, sector);
    co_mutex_unlock(&s->header_lock);
    return ret;
}

int co_fn qcow2_header_set_refcounts(BlockDriverState *bs, HostOffset offset, uint32_t clusters,
                                     unsigned order)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];

    co_mutex_lock(&s->header_lock);
    qcow2_header_begin_change(s, sector);
    be64_store(sector + QCOW2_HDR_REFTABLE_OFFSET, offset.v);
    be32_store(sector + QCOW2_HDR_REFTABLE_CLUSTERS, clusters);
    if (s->header.version >= 3) {
        be32_store(sector + QCOW2_HDR_REFCOUNT_ORDER, order);
    }
    int ret = qcow2_header_write_sector(bs, sector);
    co_mutex_unlock(&s->header_lock);
    return ret;
}

int co_fn qcow2_header_set_reftable(BlockDriverState *bs, HostOffset offset, uint32_t clusters)
{
    return qcow2_header_set_refcounts(bs, offset, clusters, qcow2_state(bs)->g.refcount_order);
}

int co_fn qcow2_header_set_snapshots(BlockDriverState *bs, uint32_t n, HostOffset offset)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];

    co_mutex_lock(&s->header_lock);
    qcow2_header_begin_change(s, sector);
    be32_store(sector + QCOW2_HDR_NB_SNAPSHOTS, n);
    be64_store(sector + QCOW2_HDR_SNAPSHOTS_OFFSET, offset.v);
    int ret = qcow2_header_write_sector(bs, sector);
    co_mutex_unlock(&s->header_lock);
    return ret;
}

int co_fn qcow2_header_set_size(BlockDriverState *bs, uint64_t size, HostOffset l1_offset,
                                uint32_t l1_size)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t sector[512];

    co_mutex_lock(&s->header_lock);
    qcow2_header_begin_change(s, sector);
    be64_store(sector + QCOW2_HDR_SIZE, size);
    be64_store(sector + QCOW2_HDR_L1_OFFSET, l1_offset.v);
    be32_store(sector + QCOW2_HDR_L1_SIZE, l1_size);
    int ret = qcow2_header_write_sector(bs, sector);
    co_mutex_unlock(&s->header_lock);
    return ret;
}

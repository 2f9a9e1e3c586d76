/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "tests/lib/memdisk.h"

#define SECTOR 512
/* What space is given out in. */
#define BLOCK 4096
/* Beyond it the disk is full: a damaged image may ask for anything. */
#define MAX_BYTES (40 * MiB)

typedef struct Image {
    uint8_t *data;
    int64_t length, room;
} Image;

typedef enum OpKind { OP_WRITE, OP_ZERO, OP_TRUNCATE } OpKind;

typedef struct Op {
    OpKind kind;
    int64_t offset, bytes;          /* truncate: @offset is the new length */
    uint8_t *data;                  /* OP_WRITE */
} Op;

struct MemDisk {
    char *name;
    Image now;                      /* as read */
    Image synced;                   /* as a power cut leaves it at least */
    GPtrArray *ops;                 /* from @synced to @now */
    unsigned syncs;
    MemCounts counts;
    int64_t operations;
    int64_t max_bytes;
    bool fixed_length;
    int64_t free_blocks;            /* < 0: without end */
    GHashTable *blocks;             /* numbers of those that are not holes */
    int64_t fail_after;             /* < 0: never */
    int fail_error;
    bool fail_sticky;
    MemFailure failure;
    int64_t bad_offset, bad_bytes;
    unsigned shuffle;
    uint64_t shuffle_state;
    void (*on_sync)(MemDisk *d, void *opaque);
    void *on_sync_opaque;
};

static GHashTable *disks;           /* name -> MemDisk */

/* ---- deterministic choices ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- content ---- */

static void image_set_length(Image *im, int64_t length)
{
    if (length > im->room) {
        int64_t room = MAX(length, im->room * 2);
        im->data = g_realloc(im->data, room);
        memset(im->data + im->room, 0, room - im->room);
        im->room = room;
    }
    if (length < im->length) {
        memset(im->data + length, 0, im->length - length);
    }
    im->length = length;
}

static void image_apply(Image *im, const Op *op, int64_t from, int64_t bytes)
{
    if (op->kind == OP_TRUNCATE) {
        image_set_length(im, op->offset);
        return;
    }
    if (op->offset + from + bytes > im->length) {
        image_set_length(im, op->offset + from + bytes);
    }
    if (op->kind == OP_WRITE) {
        memcpy(im->data + op->offset + from, op->data + from, bytes);
    } else {
        memset(im->data + op->offset + from, 0, bytes);
    }
}

static void image_fill(Image *im, const void *data, int64_t bytes)
{
    image_set_length(im, bytes);    /* clears what is behind */
    if (bytes) {
        memcpy(im->data, data, bytes);
    }
}

static void image_copy(Image *to, const Image *from)
{
    image_fill(to, from->data, from->length);
}

static void op_free(void *opaque)
{
    Op *op = opaque;

    g_free(op->data);
    g_free(op);
}

static void add_op(MemDisk *d, OpKind kind, int64_t offset, int64_t bytes, const IoVec *qiov)
{
    Op *op = g_new0(Op, 1);

    op->kind = kind;
    op->offset = offset;
    op->bytes = bytes;
    if (qiov) {
        op->data = g_malloc(bytes);
        iovec_to_buf(qiov, 0, op->data, bytes);
    }
    image_apply(&d->now, op, 0, bytes);
    g_ptr_array_add(d->ops, op);
}

/* ---- space ---- */

/* Whole blocks of the range become holes. */
static void punch(MemDisk *d, int64_t offset, int64_t end)
{
    for (int64_t i = DIV_ROUND_UP(offset, BLOCK); (i + 1) * BLOCK <= end; i++) {
        bool was = g_hash_table_remove(d->blocks, GSIZE_TO_POINTER(i));
        d->free_blocks += was && d->free_blocks >= 0;
    }
}

/* Blocks for the range; all or none. */
static int take_space(MemDisk *d, int64_t offset, int64_t bytes)
{
    int64_t first = offset / BLOCK, end = DIV_ROUND_UP(offset + bytes, BLOCK), need = 0;

    for (int64_t i = first; i < end; i++) {
        need += !g_hash_table_contains(d->blocks, GSIZE_TO_POINTER(i));
    }
    if (d->free_blocks >= 0 && need > d->free_blocks) {
        return -ENOSPC;
    }
    d->free_blocks -= d->free_blocks >= 0 ? need : 0;
    for (int64_t i = first; need && i < end; i++) {
        g_hash_table_add(d->blocks, GSIZE_TO_POINTER(i));
    }
    return 0;
}

/* ---- for tests ---- */

MemDisk *memdisk_new(const char *name)
{
    MemDisk *d = g_new0(MemDisk, 1);

    d->name = g_strdup(name);
    d->ops = g_ptr_array_new_with_free_func(op_free);
    d->fail_after = -1;
    d->max_bytes = MAX_BYTES;
    d->free_blocks = -1;
    d->blocks = g_hash_table_new(NULL, NULL);
    if (!disks) {
        disks = g_hash_table_new(g_str_hash, g_str_equal);
    }
    g_assert_false(g_hash_table_contains(disks, name));
    g_hash_table_insert(disks, d->name, d);
    return d;
}

void memdisk_free(MemDisk *d)
{
    g_hash_table_remove(disks, d->name);
    g_ptr_array_unref(d->ops);
    g_hash_table_unref(d->blocks);
    g_free(d->now.data);
    g_free(d->synced.data);
    g_free(d->name);
    g_free(d);
}

BdrvOpenOptions *memdisk_options(MemDisk *d, bool read_only)
{
    BdrvOpenOptions *opts = bdrv_open_options_new("memdisk");

    /* The name of the disk is that of its node. */
    opts->node_name = g_strdup(d->name);
    opts->read_only = read_only;
    opts->discard = true;
    return opts;
}

int64_t memdisk_length(MemDisk *d)
{
    return d->now.length;
}

void memdisk_read(MemDisk *d, int64_t offset, int64_t bytes, void *buf)
{
    int64_t n = CLAMP(d->now.length - offset, 0, bytes);

    memset(buf, 0, bytes);
    if (n) {
        memcpy(buf, d->now.data + offset, n);
    }
}

void memdisk_poke(MemDisk *d, int64_t offset, int64_t bytes, const void *buf)
{
    Op op = { .kind = OP_WRITE, .offset = offset, .bytes = bytes, .data = (uint8_t *)buf };

    image_apply(&d->now, &op, 0, bytes);
    image_apply(&d->synced, &op, 0, bytes);
    take_space(d, offset, bytes);
}

void memdisk_set_content(MemDisk *d, const void *data, int64_t bytes)
{
    g_ptr_array_set_size(d->ops, 0);
    image_fill(&d->now, data, bytes);
    image_fill(&d->synced, data, bytes);
    g_hash_table_remove_all(d->blocks);
    take_space(d, 0, bytes);
}

bool memdisk_load(MemDisk *d, const char *path)
{
    g_autofree char *data = NULL;
    gsize len;

    if (!g_file_get_contents(path, &data, &len, NULL)) {
        return false;
    }
    memdisk_set_content(d, data, len);
    return true;
}

bool memdisk_save(MemDisk *d, const char *path)
{
    return g_file_set_contents(path, (const char *)d->now.data, d->now.length, NULL);
}

unsigned memdisk_syncs(MemDisk *d)
{
    return d->syncs;
}

unsigned memdisk_unsynced(MemDisk *d)
{
    return d->ops->len;
}

static void crash_op(Image *im, const Op *op, MemCrash how, uint64_t *state)
{
    switch (how) {
    case MEM_CRASH_DROP_ALL:
        break;
    case MEM_CRASH_RANDOM:
        if (next_random(state) & 1) {
            image_apply(im, op, 0, op->bytes);
        }
        break;
    case MEM_CRASH_TORN:
        if (op->kind == OP_TRUNCATE) {
            if (next_random(state) & 1) {
                image_apply(im, op, 0, 0);
            }
            break;
        }
        for (int64_t pos = 0, n; pos < op->bytes; pos += n) {
            n = MIN(SECTOR - (op->offset + pos) % SECTOR, op->bytes - pos);
            if (next_random(state) & 1) {
                image_apply(im, op, pos, n);
            }
        }
        break;
    default:
        image_apply(im, op, 0, op->bytes);
        break;
    }
}

void memdisk_crash(MemDisk *d, MemDisk *to, MemCrash how, uint64_t seed)
{
    uint64_t state = seed;
    guint n = d->ops->len;

    if (how == MEM_CRASH_PREFIX) {
        n = next_random(&state) % (n + 1);
    }
    g_ptr_array_set_size(to->ops, 0);
    image_copy(&to->now, &d->synced);
    for (guint i = 0; i < n; i++) {
        crash_op(&to->now, d->ops->pdata[i], how, &state);
    }
    image_copy(&to->synced, &to->now);
}

void memdisk_on_sync(MemDisk *d, void (*cb)(MemDisk *d, void *opaque), void *opaque)
{
    d->on_sync = cb;
    d->on_sync_opaque = opaque;
}

void memdisk_set_max_bytes(MemDisk *d, int64_t bytes)
{
    d->max_bytes = bytes;
}

void memdisk_set_free_space(MemDisk *d, int64_t bytes)
{
    d->free_blocks = bytes < 0 ? -1 : bytes / BLOCK;
}

int64_t memdisk_free_space(MemDisk *d)
{
    return d->free_blocks * BLOCK;
}

void memdisk_fix_length(MemDisk *d, int64_t bytes)
{
    g_ptr_array_set_size(d->ops, 0);
    image_set_length(&d->now, bytes);
    image_set_length(&d->synced, bytes);
    d->max_bytes = bytes;
    d->fixed_length = true;
}

void memdisk_set_bad(MemDisk *d, int64_t offset, int64_t bytes)
{
    d->bad_offset = offset;
    d->bad_bytes = bytes;
}

void memdisk_set_failure(MemDisk *d, MemFailure failure)
{
    d->failure = failure;
}

void memdisk_fail(MemDisk *d, int64_t after, int error, bool sticky)
{
    d->fail_after = after;
    d->fail_error = error;
    d->fail_sticky = sticky;
}

int64_t memdisk_operations(MemDisk *d)
{
    return d->operations;
}

void memdisk_shuffle(MemDisk *d, unsigned one_in)
{
    d->shuffle = one_in;
}

MemCounts memdisk_counts(MemDisk *d)
{
    return d->counts;
}

/* ---- the driver ---- */

static MemDisk *disk_of(BlockDriverState *bs)
{
    return *(MemDisk **)bs->opaque;
}

/* In front of every operation; @end: how long it may make the disk. */
static int co_fn begin(BlockDriverState *bs, int64_t end)
{
    MemDisk *d = disk_of(bs);

    d->operations++;
    for (int i = 0; i < 3 && d->shuffle && next_random(&d->shuffle_state) % d->shuffle == 0; i++) {
        coroutine_reschedule();
    }
    if (end > d->max_bytes) {
        return -ENOSPC;
    }
    if (d->fail_after < 0) {
        return 0;
    }
    if (d->fail_after > 0) {
        d->fail_after--;
        return 0;
    }
    if (!d->fail_sticky) {
        d->fail_after = -1;
    }
    return -d->fail_error;
}

/* An operation that begin() failed with @ret: what it has done all the same. */
static void failed_op(MemDisk *d, int ret, OpKind kind, int64_t offset, int64_t bytes,
                      const IoVec *qiov)
{
    if (ret != -d->fail_error || offset + bytes > d->max_bytes ||
        d->failure == MEM_FAILURE_NOTHING) {
        return;
    }
    if (d->failure == MEM_FAILURE_ALL || kind == OP_TRUNCATE) {
        add_op(d, kind, offset, bytes, qiov);
        return;
    }
    for (int64_t pos = 0, n; pos < bytes; pos += n) {
        n = MIN(SECTOR - (offset + pos) % SECTOR, bytes - pos);
        if (next_random(&d->shuffle_state) & 1) {
            g_auto(IoVec) part;
            iovec_init(&part);
            if (qiov) {
                iovec_add_slice(&part, qiov, pos, n);
            }
            add_op(d, kind, offset + pos, n, qiov ? &part : NULL);
        }
    }
}

static bool hits_bad(const MemDisk *d, int64_t offset, int64_t bytes)
{
    return offset < d->bad_offset + d->bad_bytes && d->bad_offset < offset + bytes;
}

static void note_length(BlockDriverState *bs)
{
    __atomic_store_n(&bs->length, disk_of(bs)->now.length, __ATOMIC_RELAXED);
}

static bool memdisk_co_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    MemDisk *d = disks ? g_hash_table_lookup(disks, bs->node_name) : NULL;

    if (!d) {
        error_setg(errp, "No disk in memory is called '%s'", bs->node_name);
        return false;
    }
    *(MemDisk **)bs->opaque = d;
    bs->filename = g_strdup(d->name);
    note_length(bs);
    return true;
}

static int co_fn memdisk_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                   IoVec *qiov)
{
    MemDisk *d = disk_of(bs);
    int ret = begin(bs, 0);

    if (ret == 0) {
        d->counts.reads++;
        int64_t n = CLAMP(d->now.length - offset, 0, bytes);
        if (n) {
            iovec_from_buf(qiov, 0, d->now.data + offset, n);
        }
        iovec_memset(qiov, n, 0, bytes - n);
    }
    return ret;
}

static int co_fn memdisk_co_flush(BlockDriverState *bs, unsigned flags)
{
    MemDisk *d = disk_of(bs);
    int ret = begin(bs, 0);

    if (ret < 0 && d->failure == MEM_FAILURE_NOTHING) {
        return ret;
    }
    if (d->on_sync) {
        d->on_sync(d, d->on_sync_opaque);
    }
    d->counts.flushes++;
    d->syncs++;
    for (guint i = 0; i < d->ops->len; i++) {
        const Op *op = d->ops->pdata[i];
        image_apply(&d->synced, op, 0, op->bytes);
    }
    g_ptr_array_set_size(d->ops, 0);
    return ret;
}

static int co_fn memdisk_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    IoVec *qiov, unsigned flags)
{
    int ret = begin(bs, offset + bytes);

    if (ret == 0 && hits_bad(disk_of(bs), offset, bytes)) {
        return -EIO;
    }
    if (ret == 0) {
        ret = take_space(disk_of(bs), offset, bytes);
    }
    if (ret == 0) {
        disk_of(bs)->counts.writes++;
        add_op(disk_of(bs), OP_WRITE, offset, bytes, qiov);
    } else {
        failed_op(disk_of(bs), ret, OP_WRITE, offset, bytes, qiov);
    }
    note_length(bs);
    return ret == 0 && flags & BDRV_REQ_FUA ? memdisk_co_flush(bs, 0) : ret;
}

static int co_fn memdisk_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          unsigned flags)
{
    int ret = begin(bs, offset + bytes);

    if (ret == 0 && flags & BDRV_REQ_MAY_UNMAP) {
        punch(disk_of(bs), offset, offset + bytes);
    } else if (ret == 0) {
        ret = take_space(disk_of(bs), offset, bytes);
    }
    if (ret == 0) {
        disk_of(bs)->counts.zeroes++;
        add_op(disk_of(bs), OP_ZERO, offset, bytes, NULL);
    } else {
        failed_op(disk_of(bs), ret, OP_ZERO, offset, bytes, NULL);
    }
    note_length(bs);
    return ret;
}

static int co_fn memdisk_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = begin(bs, 0);

    if (ret == 0) {
        disk_of(bs)->counts.discards++;
        punch(disk_of(bs), offset, offset + bytes);
        add_op(disk_of(bs), OP_ZERO, offset, MIN(bytes, bdrv_length(bs) - offset), NULL);
    }
    return ret;
}

static int64_t co_fn memdisk_co_getlength(BlockDriverState *bs)
{
    return memdisk_length(disk_of(bs));
}

static bool co_fn memdisk_co_truncate(BlockDriverState *bs, int64_t length,
                                      BdrvPrealloc prealloc, Error **errp)
{
    int ret = begin(bs, length);

    if (ret == 0 && disk_of(bs)->fixed_length && length <= memdisk_length(disk_of(bs))) {
        return true;                /* and nothing has changed */
    }
    if (ret == 0 && disk_of(bs)->fixed_length) {
        ret = -ENOTSUP;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot truncate '%s'", bs->filename);
        return false;
    }
    add_op(disk_of(bs), OP_TRUNCATE, length, 0, NULL);
    return true;
}

static bool memdisk_truncated_is_zero(const BlockDriverState *bs)
{
    return !(*(MemDisk **)bs->opaque)->fixed_length;
}

static int co_fn memdisk_co_extend(BlockDriverState *bs, int64_t length)
{
    int ret = begin(bs, length);

    if (ret == 0 && disk_of(bs)->fixed_length) {
        ret = -ENOTSUP;
    }
    if (ret == 0 && length > memdisk_length(disk_of(bs))) {
        add_op(disk_of(bs), OP_TRUNCATE, length, 0, NULL);
        note_length(bs);
    }
    return ret;
}

static const BlockDriver bdrv_memdisk = {
    .name             = "memdisk",
    .instance_size    = sizeof(MemDisk *),
    .is_protocol      = true,
    .co_open          = memdisk_co_open,
    .co_preadv        = memdisk_co_preadv,
    .co_pwritev       = memdisk_co_pwritev,
    .co_pwrite_zeroes = memdisk_co_pwrite_zeroes,
    .co_pdiscard      = memdisk_co_pdiscard,
    .co_flush         = memdisk_co_flush,
    .co_getlength     = memdisk_co_getlength,
    .co_truncate      = memdisk_co_truncate,
    .truncated_is_zero = memdisk_truncated_is_zero,
    .co_extend        = memdisk_co_extend,
};

static void memdisk_init(void)
{
    bdrv_register(&bdrv_memdisk);
}

block_init(memdisk_init);

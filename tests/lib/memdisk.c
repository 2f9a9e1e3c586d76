/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "tests/lib/memdisk-internal.h"

/* Beyond it the disk is full: a damaged image may ask for anything. */
#define MAX_BYTES (40 * MiB)

static GHashTable *disks;           /* name -> MemDisk */

/* ---- deterministic choices ---- */

uint64_t memdisk_random(uint64_t *state)
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

void memdisk_image_apply(Image *im, const Op *op, int64_t from, int64_t bytes)
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

void memdisk_add_op(MemDisk *d, OpKind kind, int64_t offset, int64_t bytes, const IoVec *qiov)
{
    Op *op = g_new0(Op, 1);

    op->kind = kind;
    op->offset = offset;
    op->bytes = bytes;
    if (qiov) {
        op->data = g_malloc(bytes);
        iovec_to_buf(qiov, 0, op->data, bytes);
    }
    memdisk_image_apply(&d->now, op, 0, bytes);
    g_ptr_array_add(d->ops, op);
}

/* ---- space ---- */

void memdisk_punch(MemDisk *d, int64_t offset, int64_t end)
{
    for (int64_t i = DIV_ROUND_UP(offset, BLOCK); (i + 1) * BLOCK <= end; i++) {
        bool was = g_hash_table_remove(d->blocks, GSIZE_TO_POINTER(i));
        d->free_blocks += was && d->free_blocks >= 0;
    }
}

int memdisk_take_space(MemDisk *d, int64_t offset, int64_t bytes)
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

MemDisk *memdisk_find(const char *name)
{
    return disks ? g_hash_table_lookup(disks, name) : NULL;
}

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

    memdisk_image_apply(&d->now, &op, 0, bytes);
    memdisk_image_apply(&d->synced, &op, 0, bytes);
    memdisk_take_space(d, offset, bytes);
}

void memdisk_set_content(MemDisk *d, const void *data, int64_t bytes)
{
    g_ptr_array_set_size(d->ops, 0);
    image_fill(&d->now, data, bytes);
    image_fill(&d->synced, data, bytes);
    g_hash_table_remove_all(d->blocks);
    memdisk_take_space(d, 0, bytes);
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
        if (memdisk_random(state) & 1) {
            memdisk_image_apply(im, op, 0, op->bytes);
        }
        break;
    case MEM_CRASH_TORN:
        if (op->kind == OP_TRUNCATE) {
            if (memdisk_random(state) & 1) {
                memdisk_image_apply(im, op, 0, 0);
            }
            break;
        }
        for (int64_t pos = 0, n; pos < op->bytes; pos += n) {
            n = MIN(SECTOR - (op->offset + pos) % SECTOR, op->bytes - pos);
            if (memdisk_random(state) & 1) {
                memdisk_image_apply(im, op, pos, n);
            }
        }
        break;
    default:
        memdisk_image_apply(im, op, 0, op->bytes);
        break;
    }
}

void memdisk_crash(MemDisk *d, MemDisk *to, MemCrash how, uint64_t seed)
{
    uint64_t state = seed;
    guint n = d->ops->len;

    if (how == MEM_CRASH_PREFIX) {
        n = memdisk_random(&state) % (n + 1);
    }
    g_ptr_array_set_size(to->ops, 0);
    image_copy(&to->now, &d->synced);
    for (guint i = 0; i < n; i++) {
        if (how != MEM_CRASH_SUBSET || seed >> i % 64 & 1) {
            crash_op(&to->now, d->ops->pdata[i], how, &state);
        }
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps that go with the machine. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/dirty-bitmap.h"
#include "migration-internal.h"
#include "qemu/hbitmap.h"

/* ---- from here ---- */

static GBytes *bits_of(BdrvDirtyBitmap *b)
{
    const HBitmap *h = bdrv_dirty_bitmap_hbitmap(b);
    int64_t bytes = hbitmap_serial_bytes(h);
    uint8_t *buf = g_malloc0(bytes);

    hbitmap_serialize(h, 0, bytes, buf);
    return g_bytes_new_take(buf, bytes);
}

/* The name that people know the node by: that of its drive, as both sides may have it. */
static const char *main_fn name_of(BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (bdrv_skip_implicit(blk_bs(blk)) == bs && !blk_user(blk) && *blk_name(blk)) {
            return blk_name(blk);
        }
    }
    return bs->node_name;
}

static void main_fn add(MigrationStream *s, QList *list, BlockDriverState *bs, BdrvDirtyBitmap *b)
{
    bool persistent = bdrv_dirty_bitmap_persistent(b);
    const char *node_alias = NULL;
    const char *alias = migration_alias_of(bs->node_name, bdrv_dirty_bitmap_name(b), &node_alias,
                                           &persistent);

    if (!alias || bdrv_dirty_bitmap_inconsistent(b)) {
        return;
    }
    GBytes *bits = bits_of(b);
    QDict *d = qdict_new();
    qdict_put_str(d, "node", node_alias ?: name_of(bs));
    qdict_put_str(d, "name", alias);
    qdict_put_int(d, "granularity", bdrv_dirty_bitmap_granularity(b));
    qdict_put_int(d, "length", hbitmap_length(bdrv_dirty_bitmap_hbitmap(b)));
    qdict_put_int(d, "bytes", g_bytes_get_size(bits));
    qdict_put_bool(d, "persistent", persistent);
    qdict_put_bool(d, "enabled", bdrv_dirty_bitmap_enabled(b));
    qlist_append(list, QOBJECT(d));
    g_ptr_array_add(s->bits, bits);
}

void main_fn migration_add_bitmaps(MigrationStream *s)
{
    QList *list = qlist_new();

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL); b;
             b = bdrv_next_dirty_bitmap(bs, b)) {
            add(s, list, bs, b);
        }
    }
    qdict_put(s->state, "bitmaps", QOBJECT(list));
}

/* ---- to here ---- */

typedef struct Incoming {
    const char *node, *name;
    uint64_t granularity, length;
    bool persistent, enabled;
} Incoming;

static bool parse(const QDict *d, Incoming *in, Error **errp)
{
    in->node = qdict_get_str(d, "node");
    in->name = qdict_get_str(d, "name");
    if (!in->node || !in->name ||
        !qobject_get_uint(qdict_get(d, "granularity"), &in->granularity) ||
        !qobject_get_uint(qdict_get(d, "length"), &in->length) ||
        !qobject_get_bool(qdict_get(d, "persistent"), &in->persistent) ||
        !qobject_get_bool(qdict_get(d, "enabled"), &in->enabled)) {
        error_setg(errp, "What comes is no machine: a bitmap is not described");
        return false;
    }
    return true;
}

static bool main_fn fill(BdrvDirtyBitmap *b, const Incoming *in, GBytes *bits, Error **errp)
{
    HBitmap *h = bdrv_dirty_bitmap_hbitmap(b);
    gsize len;
    const uint8_t *data = g_bytes_get_data(bits, &len);

    if ((int64_t)in->length != hbitmap_length(h) || (int64_t)len != hbitmap_serial_bytes(h)) {
        error_setg(errp, "The bitmap '%s' is of a disk of another size than node '%s'", in->name,
                   in->node);
        return false;
    }
    hbitmap_deserialize(h, 0, len, data);
    return true;
}

static bool co_main_fn make(BlockDriverState *bs, const Incoming *in, GBytes *bits, Error **errp)
{
    BdrvDirtyBitmap *b = bdrv_find_dirty_bitmap(bs, in->name);

    if (b) {                        /* it has come with the image */
        return true;
    }
    if (in->persistent && !bdrv_can_store_bitmap(bs, in->name, in->granularity, errp)) {
        return false;
    }
    b = bdrv_create_dirty_bitmap(bs, in->granularity, in->name, errp);
    if (!b) {
        return false;
    }
    if (!fill(b, in, bits, errp)) {
        bdrv_release_dirty_bitmap(b);
        return false;
    }
    bdrv_dirty_bitmap_set_persistent(b, in->persistent);
    if (!in->enabled) {
        bdrv_disable_dirty_bitmap(b);
    }
    return !in->persistent || bdrv_dirty_bitmap_changing(bs, in->name, errp);
}

static bool co_main_fn make_one(const QDict *d, GBytes *bits, Error **errp)
{
    const char *node = NULL;
    Incoming in = { NULL };

    if (!parse(d, &in, errp)) {
        return false;
    }
    const char *name = migration_name_of(in.node, in.name, &node, &in.persistent);
    if (!name) {
        error_setg(errp, "Unknown bitmap alias '%s' of node alias '%s'", in.name, in.node);
        return false;
    }
    in.node = node ?: in.node;
    in.name = name;
    BlockDriverState *bs = blockdev_lookup(in.node, in.node, false, errp);
    return bs && make(bs, &in, bits, errp);
}

bool co_main_fn migration_make_bitmaps(const MigrationStream *s, Error **errp)
{
    QList *list = qobject_to_qlist(qdict_get(s->state, "bitmaps"));

    for (size_t i = 0; list && i < qlist_size(list) && i < s->bits->len; i++) {
        if (!make_one(qobject_to_qdict(qlist_get(list, i)), s->bits->pdata[i], errp)) {
            return false;
        }
    }
    return true;
}

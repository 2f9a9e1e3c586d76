/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the data of a guest range is: the longest run that the tables in memory tell. */
#include "qemu/osdep.h"

#include "qcow2.h"

/* L2 entries that one call looks at: bounds the time that cache.lock is held. */
#define MAX_ENTRIES 2048

/* The run so far. */
typedef struct Run {
    BlockDriverState *bs;
    BdrvExtent *e;
    /* guest bytes: asked for from @start to @end, answered to @pos */
    int64_t start, pos, end;
    int left;                       /* of MAX_ENTRIES */
} Run;

/* The subclusters from the one at @sub on that are of the same kind; returns how many. */
static unsigned kind_at(const Qcow2Geometry *g, const Qcow2Entry *e, unsigned sub,
                        BdrvExtentKind *ret_kind)
{
    uint32_t same;

    if (e->compressed) {
        *ret_kind = BDRV_EXTENT_SPECIAL;
        return g->subclusters - sub;
    }
    if (e->alloc >> sub & 1) {
        *ret_kind = BDRV_EXTENT_DATA;
        same = e->alloc;
    } else if (e->zero >> sub & 1) {
        *ret_kind = BDRV_EXTENT_ZERO;
        same = e->zero;
    } else {
        *ret_kind = BDRV_EXTENT_BACKING;
        same = ~(e->alloc | e->zero);
    }
    uint32_t other = ~same >> sub;
    unsigned n = other ? __builtin_ctz(other) : 32 - sub;
    return MIN(n, g->subclusters - sub);
}

/* Add [r->pos, r->pos + @bytes), described by @piece, to the run; false: it does not
 * continue it. */
static bool run_add(Run *r, const BdrvExtent *piece, int64_t bytes)
{
    BdrvExtent *e = r->e;
    int64_t have = r->pos - r->start;

    if (have == 0) {
        *e = *piece;
    } else if (e->kind != piece->kind || e->kind == BDRV_EXTENT_SPECIAL ||
               e->link != piece->link || e->writable != piece->writable ||
               (e->link && e->host_offset + have != piece->host_offset)) {
        return false;
    }
    r->pos += MIN(bytes, r->end - r->pos);
    return true;
}

/* The part of one cluster that begins at r->pos.  1: go on, 0: the run ends, or -errno. */
static int run_add_cluster(Run *r, const Qcow2L2Ref *ref, unsigned i)
{
    Qcow2State *s = qcow2_state(r->bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t guest = ref->guest + ((uint64_t)i << g->cluster_bits);
    uint64_t in_cluster = r->pos - guest;
    Qcow2Entry entry;

    if (!qcow2_entry_decode(g, qcow2_l2_entry(g, ref, i), guest, &entry)) {
        return -EIO;
    }
    while (in_cluster < g->cluster_size && r->pos < r->end) {
        BdrvExtent piece = { .special = 0 };
        unsigned sub = in_cluster >> g->subcluster_bits;
        unsigned n = kind_at(g, &entry, sub, &piece.kind);
        uint64_t piece_end = (uint64_t)(sub + n) << g->subcluster_bits;

        if (piece.kind == BDRV_EXTENT_DATA) {
            piece.link = g->has_data_file ? r->bs->data_file : r->bs->file;
            piece.host_offset = entry.host + in_cluster;
            piece.writable = entry.copied && ref->writable && !r->bs->read_only &&
                             qcow2_may_change(s);
        } else if (piece.kind == BDRV_EXTENT_ZERO && entry.has_host) {
            piece.link = g->has_data_file ? r->bs->data_file : r->bs->file;
            piece.host_offset = entry.host + in_cluster;
        } else if (piece.kind == BDRV_EXTENT_SPECIAL) {
            piece.special = entry.desc;
        }
        if (!run_add(r, &piece, piece_end - in_cluster)) {
            return 0;
        }
        in_cluster = piece_end;
    }
    return 1;
}

static int run_add_page(Run *r, const Qcow2L2Ref *ref)
{
    const Qcow2Geometry *g = &qcow2_state(r->bs)->g;
    int ret = 1;

    if (!ref->page) {
        const BdrvExtent unallocated = { .kind = BDRV_EXTENT_BACKING };
        uint64_t end = ref->guest + ((uint64_t)ref->count << g->cluster_bits);

        r->left--;
        return run_add(r, &unallocated, MIN(end, INT64_MAX) - r->pos);
    }
    for (unsigned i = 0; i < ref->count && r->pos < r->end && ret == 1; i++) {
        /* What a request asks for first is always answered. */
        if (r->left-- <= 0 && r->pos > r->start) {
            return 0;
        }
        ret = run_add_cluster(r, ref, i);
    }
    return ret;
}

/* Host ranges that no guest data may be in: data there is the work of a damaged image. */
static void protect_tables(Qcow2State *s, BdrvExtent *e)
{
    if (e->kind == BDRV_EXTENT_DATA && e->writable && !s->g.has_data_file &&
        qcow2_overlaps(s, 0, host_offset(e->host_offset), e->bytes)) {
        e->writable = false;
    }
}

static int co_fn map_try(BlockDriverState *bs, Qcow2Walk *w, Run *r)
{
    Qcow2L2Ref ref;
    int ret = qcow2_l2_try(bs, w, r->pos, &ref);

    if (ret < 0) {
        return ret;
    }
    ret = run_add_page(r, &ref);
    while (ret == 1 && r->pos < r->end && r->left > 0 && qcow2_l2_peek(bs, r->pos, &ref)) {
        ret = run_add_page(r, &ref);
    }
    if (ret < 0 && r->pos == r->start) {
        return qcow2_note_damage(bs, 0, 0, "the L2 entry of guest offset %" PRId64 " is invalid",
                                 r->pos);
    }
    r->e->bytes = r->pos - r->start;
    protect_tables(qcow2_state(bs), r->e);
    return 0;
}

int co_fn qcow2_co_map(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvExtent *ret_extent)
{
    if (qcow2_state(bs)->g.has_data_file && !bs->data_file) {
        return -ENOMEDIUM;          /* opened with for_info */
    }
    Run r = {
        .bs = bs, .e = ret_extent, .start = offset, .pos = offset, .end = offset + bytes,
        .left = MAX_ENTRIES,
    };

    return qcow2_end(bs, QCOW2_WALK(bs, w, map_try(bs, &w, &r)));
}

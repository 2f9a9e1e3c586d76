/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * References of whole maps: every L2 table that an L1 table leads to, and every cluster that these
 * refer to, get one more or one less.  A table that several L1 tables share counts for each of
 * them, and so does all that it refers to.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

/* ---- runs ---- */

GArray *any_fn qcow2_runs_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
}

void any_fn qcow2_runs_add(Qcow2State *s, GArray *runs, HostOffset first, uint64_t clusters)
{
    if (runs->len) {
        Qcow2Free *last = &g_array_index(runs, Qcow2Free, runs->len - 1);

        if (last->offset.v + (last->clusters << s->g.cluster_bits) == first.v) {
            last->clusters += clusters;
            return;
        }
    }
    Qcow2Free run = { first, clusters, s->discard_snapshot };
    g_array_append_val(runs, run);
}

/* Clusters from @index on that still have to get a reference. */
typedef struct Raise {
    uint64_t index, clusters;
} Raise;

/* Those that have their refcounts in the same page as the first one. */
static int co_fn raise_try(BlockDriverState *bs, Qcow2Walk *w, Raise *r)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t max = UINT64_MAX >> (64 - (1u << g->refcount_order));
    Qcow2Page *page;
    size_t number;
    int ret = qcow2_refcount_try(bs, w, r->index, &page, &number);

    if (ret == 0 && page) {
        ret = qcow2_page_change_try(bs, w, page);
    }
    if (ret < 0) {
        return ret;
    }
    size_t limit = (size_t)1 << qcow2_page_refcount_bits(g);
    if (page) {
        qcow2_cache_touch(&s->cache, page);
    }
    do {
        uint64_t count = page ? qcow2_refcount_load(page->buf, g->refcount_order, number) : 0;

        if (count == 0) {
            return qcow2_note_damage(bs, r->index << g->cluster_bits, g->cluster_size,
                                     "a cluster was in use with a refcount of 0");
        }
        if (count == max) {
            return -EINVAL;
        }
        qcow2_refcount_store(page->buf, g->refcount_order, number, count + 1);
        r->index++;
        r->clusters--;
    } while (++number < limit && r->clusters);
    return 0;
}

/* Of one run; *@ret_done: how many clusters have it now. */
static int co_fn raise_run(BlockDriverState *bs, const Qcow2Free *run, uint64_t *ret_done)
{
    Qcow2State *s = qcow2_state(bs);
    Raise r = { run->offset.v >> s->g.cluster_bits, run->clusters };
    int ret = 0;

    while (r.clusters && ret == 0) {
        qcow2_lock(s);
        ret = QCOW2_WALK_INNER(s, w, raise_try(bs, &w, &r));
        qcow2_unlock(s);
    }
    *ret_done = run->clusters - r.clusters;
    return ret;
}

int co_fn qcow2_runs_raise(BlockDriverState *bs, const GArray *runs)
{
    int ret = 0;

    for (guint i = 0; i < runs->len; i++) {
        const Qcow2Free *run = &g_array_index(runs, Qcow2Free, i);
        uint64_t done;

        ret = raise_run(bs, run, &done);
        if (ret < 0) {
            if (done) {
                qcow2_free_now(bs, run->offset, done);
            }
            while (i-- > 0) {
                run = &g_array_index(runs, Qcow2Free, i);
                qcow2_free_now(bs, run->offset, run->clusters);
            }
            break;
        }
    }
    return ret;
}

void co_fn qcow2_runs_drop(BlockDriverState *bs, const GArray *runs)
{
    for (guint i = 0; i < runs->len; i++) {
        const Qcow2Free *run = &g_array_index(runs, Qcow2Free, i);

        qcow2_drop_references(bs, run->offset, run->clusters, run->discard);
    }
}

/* ---- L2 tables ---- */

int any_fn qcow2_table_runs(BlockDriverState *bs, HostOffset table, const uint8_t *buf,
                            size_t bytes, GArray *runs, bool *ret_copied)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;

    for (size_t pos = 0; pos < bytes; pos += g->entry_size) {
        Qcow2Entry e;

        /* The guest's offset matters for data files only, and there are none here. */
        if (!qcow2_entry_decode(g, buf + pos, 0, &e)) {
            return qcow2_note_damage(bs, 0, 0, "an entry of the L2 table at %" PRIu64
                                     " is invalid", table.v);
        }
        if (e.compressed) {
            HostOffset first;
            uint64_t clusters;

            qcow2_compressed_clusters(g, e.desc, &first, &clusters);
            qcow2_runs_add(s, runs, first, clusters);
        } else if (e.has_host) {
            qcow2_runs_add(s, runs, host_offset(e.host), 1);
            *ret_copied |= e.copied;
        }
    }
    return 0;
}

/* ---- whole maps, on disk ---- */

uint64_t *co_fn qcow2_l1_read(BlockDriverState *bs, HostOffset offset, uint32_t n, int *ret)
{
    uint64_t *l1 = bdrv_try_blockalign(MAX(n, 1) * UINT64_C(8));

    *ret = l1 ? qcow2_read_table(bs, offset, l1, n * UINT64_C(8)) : -ENOMEM;
    if (*ret < 0) {
        free(l1);
        l1 = NULL;
    }
    return l1;
}

/* What table @entry of an L1 table leads to refers to; it lies in @buf, a cluster, then. */
static int co_fn read_runs(BlockDriverState *bs, uint64_t entry, uint8_t *buf, GArray *runs,
                           bool *ret_copied)
{
    Qcow2State *s = qcow2_state(bs);
    HostOffset table = host_offset(entry & QCOW2_OFFSET_MASK);

    if (table.v & (s->g.cluster_size - 1)) {
        qcow2_lock(s);
        int ret = qcow2_note_damage(bs, 0, 0, "an L1 table leads to an L2 table at %" PRIu64
                                    ", which is not aligned to a cluster", table.v);
        qcow2_unlock(s);
        return ret;
    }
    int ret = qcow2_table_read_whole(bs, table, buf);
    if (ret == 0) {
        qcow2_lock(s);
        ret = qcow2_table_runs(bs, table, buf, s->g.cluster_size, runs, ret_copied);
        qcow2_unlock(s);
    }
    if (ret == 0) {
        qcow2_runs_add(s, runs, table, 1);
    }
    return ret;
}

static int co_fn raise_one(BlockDriverState *bs, uint64_t entry, uint8_t *buf)
{
    Qcow2State *s = qcow2_state(bs);
    g_autoptr(GArray) runs = qcow2_runs_new();
    HostOffset table = host_offset(entry & QCOW2_OFFSET_MASK);
    bool copied = false;
    int ret = read_runs(bs, entry, buf, runs, &copied);

    if (ret == 0 && copied) {       /* not by us: (I3) */
        qcow2_table_clear_copied(&s->g, buf, s->g.cluster_size);
        ret = qcow2_write_table(bs, table, buf, s->g.cluster_size);
        qcow2_lock(s);
        qcow2_cache_forget(&s->cache, table.v, s->g.cluster_size);
        qcow2_unlock(s);
    }
    return ret == 0 ? qcow2_runs_raise(bs, runs) : ret;
}

static int co_fn drop_one(BlockDriverState *bs, uint64_t entry, uint8_t *buf)
{
    g_autoptr(GArray) runs = qcow2_runs_new();
    bool copied = false;
    int ret = read_runs(bs, entry, buf, runs, &copied);

    if (ret == 0) {
        qcow2_runs_drop(bs, runs);
    }
    return ret;
}

int co_fn qcow2_map_drop(BlockDriverState *bs, const uint64_t *l1, uint32_t n)
{
    uint8_t *buf = bdrv_try_blockalign(qcow2_state(bs)->g.cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    for (uint32_t i = 0; buf && i < n; i++) {
        uint64_t entry = be64_load(&l1[i]);

        if (entry & QCOW2_OFFSET_MASK) {
            int r = drop_one(bs, entry, buf);
            ret = ret ?: r;
            qcow2_writeback_throttle(bs);
        }
    }
    free(buf);
    return ret;
}

int co_fn qcow2_map_raise(BlockDriverState *bs, const uint64_t *l1, uint32_t n)
{
    uint8_t *buf = bdrv_try_blockalign(qcow2_state(bs)->g.cluster_size);
    int ret = buf ? 0 : -ENOMEM;
    uint32_t i;

    for (i = 0; ret == 0 && i < n; i++) {
        uint64_t entry = be64_load(&l1[i]);

        if (entry & QCOW2_OFFSET_MASK) {
            ret = raise_one(bs, entry, buf);
        }
        if (ret == 0) {
            ret = qcow2_writeback_throttle(bs);
        } else {
            break;                  /* this one has nothing */
        }
    }
    free(buf);
    if (ret < 0) {
        qcow2_map_drop(bs, l1, i);
    }
    return ret;
}

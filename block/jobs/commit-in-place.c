/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit of a disk into its backing file, after which it is the same disk and empty: for people who
 * keep what a snapshot has collected.
 *
 * The disk's users are held meanwhile, and so is the graph: what they write would have to be
 * copied, and the image they write to is about to be emptied.
 *
 * (CP1) The disk reads the same at every moment: what is copied is hidden by the image that it
 *       comes from until that is emptied, which is after the base is flushed.
 */
#include "qemu/osdep.h"

#include "block/hold.h"
#include "block/jobs/jobs-internal.h"
#include "qemu/log.h"

/* How long requests that are under way may take. */
#define REST_PATIENCE_NS (10 * NS_PER_SEC)

typedef struct InPlace {
    BlockDriverState *top, *base;
    BdrvHold hold;
    GPtrArray *reopened;            /* of BlockDriverState: what stores the base, and was
                                     * read-only */
    bool was_tolerant;              /* the link between the two */
    unsigned needs, allows;         /* its claims */
    BdrvCopyPair pair;
} InPlace;

static bool failed(int ret, Error **errp)
{
    error_setg(errp, "%s", g_strerror(-ret));
    return false;
}

/* ---- the base becomes writable, and read-only again ---- */

static bool co_main_fn reopen(GPtrArray *nodes, bool read_only, Error **errp)
{
    g_autoptr(GArray) changes = g_array_new(false, false, sizeof(BdrvReopen));

    for (guint i = 0; i < nodes->len; i++) {
        BdrvReopen to = bdrv_reopen_same(nodes->pdata[i]);
        to.read_only = read_only;
        g_array_append_val(changes, to);
    }
    if (!bdrv_reopen_prepare(nodes, (BdrvReopen *)changes->data, errp)) {
        return false;
    }
    if (!bdrv_reopen_flush(nodes, errp)) {
        bdrv_reopen_abort(nodes);
        return false;
    }
    bdrv_reopen_commit(nodes);
    bdrv_reopen_clean(nodes, NULL);
    return true;
}

static bool co_main_fn make_base_writable(InPlace *c, Error **errp)
{
    g_autoptr(GPtrArray) stores = bdrv_stores(c->base);
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    for (guint i = 0; i < stores->len; i++) {
        if (((BlockDriverState *)stores->pdata[i])->read_only) {
            g_ptr_array_add(nodes, stores->pdata[i]);
        }
    }
    if (nodes->len > 0 && !reopen(nodes, false, errp)) {
        return false;
    }
    c->reopened = g_steal_pointer(&nodes);
    return true;
}

static void co_main_fn make_base_read_only(InPlace *c)
{
    g_autoptr(Error) err = NULL;

    if (c->reopened && c->reopened->len > 0 && !reopen(c->reopened, true, &err)) {
        log_line("image '%s' stays writable: %s", c->base->filename, error_get_pretty(err));
    }
    g_clear_pointer(&c->reopened, g_ptr_array_unref);
}

/* ---- claims ---- */

/* The disk reads through the link while the base is written: what it reads there it has itself. */
static bool co_main_fn open_link(InPlace *c, Error **errp)
{
    BdrvLink *link = c->top->backing;

    c->was_tolerant = link->tolerant;
    c->needs = link->needs;
    c->allows = link->allows;
    link->tolerant = false;
    if (bdrv_link_set_claims(link, CLAIM_NONE, CLAIM_ALL, errp)) {
        return true;
    }
    link->tolerant = c->was_tolerant;
    return false;
}

static void co_main_fn close_link(InPlace *c)
{
    BdrvLink *link = c->top->backing;

    link->tolerant = c->was_tolerant;
    bdrv_link_set_claims(link, c->needs, c->allows, NULL);
}

static BlockBackend *co_main_fn own_backend(BlockDriverState *bs, unsigned needs, Error **errp)
{
    BlockBackend *blk = blk_new(NULL, needs, CLAIM_ALL, errp);

    if (blk && !blk_insert_fixed(blk, bs, errp)) {
        blk_free(g_steal_pointer(&blk));
    }
    return blk;
}

/* ---- copying ---- */

static bool co_main_fn grow_base(InPlace *c, Error **errp)
{
    int64_t length = blk_length(c->pair.source);

    if (blk_length(c->pair.target) >= length) {
        return true;
    }
    blk_begin(c->pair.target);
    bool ok = bdrv_co_truncate(blk_root(c->pair.target), length, BDRV_PREALLOC_OFF, errp);
    blk_end(c->pair.target);
    return ok;
}

static int co_main_fn copy_from(InPlace *c, int64_t offset, int64_t bytes, int64_t *ret_bytes)
{
    bool is_write;

    blk_begin(c->pair.source);
    int ret = bdrv_co_is_allocated_above(blk_root(c->pair.source), c->base, offset, bytes,
                                         ret_bytes);
    blk_end(c->pair.source);
    if (ret <= 0) {
        return ret;
    }
    BdrvCopyPiece piece = { offset, MIN(*ret_bytes, BDRV_COPY_CHUNK), BDRV_COPY_UNKNOWN };
    *ret_bytes = piece.bytes;
    return bdrv_copy_pair(&c->pair, &piece, &is_write);
}

static int co_main_fn copy_all(InPlace *c)
{
    int64_t length = blk_length(c->pair.source), n;
    int ret = 0;

    for (int64_t offset = 0; ret == 0 && offset < length; offset += n) {
        ret = copy_from(c, offset, MIN(length - offset, JOB_LOOK_CHUNK), &n);
    }
    return ret < 0 ? ret : blk_co_flush(c->pair.target, NULL);
}

static int co_main_fn empty_top(InPlace *c)
{
    blk_begin(c->pair.source);
    int ret = bdrv_co_make_empty(blk_root(c->pair.source));
    blk_end(c->pair.source);
    return ret < 0 ? ret : blk_co_flush(c->pair.source, NULL);
}

/* ---- the whole ---- */

static bool co_main_fn move_data(InPlace *c, Error **errp)
{
    int ret = -EBUSY;

    c->pair.unmap = true;
    c->pair.source = own_backend(c->top, CLAIM_READ | CLAIM_WRITE_SAME, errp);
    c->pair.target = !c->pair.source ? NULL
                     : own_backend(c->base, CLAIM_WRITE | CLAIM_RESIZE, errp);
    bool ok = c->pair.target && grow_base(c, errp);
    if (ok) {
        ret = copy_all(c);
        ret = ret < 0 ? ret : empty_top(c);
        ok = ret == 0 || failed(ret, errp);
    }
    blk_free(c->pair.target);
    blk_free(c->pair.source);
    bdrv_copy_free_buffers();
    return ok;
}

static bool co_main_fn commit_held(InPlace *c, Error **errp)
{
    bool ok = make_base_writable(c, errp) && open_link(c, errp);

    if (ok) {
        ok = move_data(c, errp);
        close_link(c);
    }
    make_base_read_only(c);
    return ok;
}

/* What is between the disk and its image neither has data nor is in the way. */
static BlockDriverState *main_fn image_of(BlockDriverState *bs)
{
    while (bs->drv->is_filter && bs->file) {
        bs = bs->file->bs;
    }
    return bs;
}

static bool co_main_fn commit_image(BlockDriverState *bs, Error **errp)
{
    InPlace c = { .top = image_of(bs) };
    BlockBackend *late;

    if (!c.top->backing || !c.top->drv->co_make_empty) {
        return failed(-ENOTSUP, errp);
    }
    if (c.top->read_only) {
        return failed(-EACCES, errp);
    }
    if (c.top->backing_frozen) {
        return failed(-EBUSY, errp);        /* a job works on the chain */
    }
    c.base = image_of(c.top->backing->bs);
    bdrv_hold_init(&c.hold);
    bdrv_hold_add(&c.hold, c.top);
    bool ok = bdrv_hold_begin(&c.hold, clock_ns() + REST_PATIENCE_NS, &late) ||
              failed(-EBUSY, errp);
    ok = ok && commit_held(&c, errp);
    bdrv_hold_end(&c.hold);
    bdrv_hold_clear(&c.hold);
    return ok;
}

bool co_main_fn bdrv_commit_in_place(BlockBackend *blk, Error **errp)
{
    return blk_bs(blk) ? commit_image(blk_bs(blk), errp) : failed(-ENOMEDIUM, errp);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img commit: what the images above a base have goes into the base.
 *
 * The chain reads the same at every moment: what is copied is still hidden by the image that it
 * comes from, until that is emptied, which is after the base has been flushed.
 */
#include "qemu/osdep.h"

#include "block/new-file.h"
#include "commit.h"

/* ---- opening ---- */

/* As the options of the image @opts that is below @above; NULL without an error: there is none. */
static BdrvOpenOptions *co_main_fn backing_of(const ImgCommit *c, const BdrvOpenOptions *opts,
                                              char **ret_name, Error **errp)
{
    ToolImage look = c->image;
    BdrvOpenOptions *below = NULL;

    look.writable = look.resize = false;
    look.for_info = true;
    BlockBackend *blk = tool_open_options(&look, opts, errp);
    if (!blk) {
        return NULL;
    }
    BlockDriverState *bs = blk_bs(blk);
    *ret_name = g_strdup(bs->backing_file);
    if (bs->backing_file) {
        below = bdrv_options_from_filename(bs->backing_file, bs->backing_format, bs->filename,
                                           errp);
        if (!below) {
            error_prepend(errp, "Could not open backing file: ");
        }
    }
    tool_close(blk);
    return below;
}

static void for_writing(BdrvOpenOptions *o, const ImgCommit *c)
{
    for (; o; o = o->file.options) {
        o->read_only = false;
        o->discard = true;
        o->cache_direct = c->image.cache.direct;
        o->cache_no_flush = c->image.cache.no_flush;
    }
}

/* Options of @name's image that look at nothing below it. */
static void look_only(BdrvOpenOptions *o, bool on)
{
    o->no_backing_open = on;
    if (strcmp(o->driver, "qcow2") == 0) {
        o->u.qcow2.for_info = on;
    }
}

/* Is the image that is recorded as @name, and described by @opts, the base? */
static bool co_main_fn is_base(const ImgCommit *c, const char *name, const BdrvOpenOptions *opts)
{
    const BdrvOpenOptions *file = opts->file.options;
    BdrvFileId wanted, id;
    g_autofree char *path = NULL;

    if (!c->base_name || strcmp(name, c->base_name) == 0) {
        return true;
    }
    path = bdrv_path_combine(c->image.name, c->base_name);      /* next to the image */
    return file && strcmp(file->driver, "file") == 0 &&
           file_id_of_path_co(file->u.file.filename, &id) &&
           file_id_of_path_co(path, &wanted) && file_id_equal(id, wanted);
}

/*
 * The whole chain from the image down to the base, each image described by the one above it, with
 * the base opened for writing.  NULL: @errp, or there is no such base.
 */
static BdrvOpenOptions *co_main_fn describe_chain(const ImgCommit *c, Error **errp)
{
    ToolImage first = c->image;
    first.writable = first.resize = false;
    g_autoptr(BdrvOpenOptions) top = tool_image_options(&first, errp);
    BdrvOpenOptions *last = top;

    while (last) {
        g_autofree char *name = NULL;

        look_only(last, true);
        BdrvOpenOptions *below = backing_of(c, last, &name, errp);
        look_only(last, false);
        if (!below) {
            if (errp && !*errp && last == top && !c->base_name) {
                error_setg(errp, "Image does not have a backing file");
            } else if (errp && !*errp) {
                error_setg(errp, "Did not find '%s' in the backing chain of '%s'", c->base_name,
                           c->image.name);
            }
            return NULL;
        }
        last->backing.options = below;
        last = below;
        if (is_base(c, name, below)) {
            for_writing(below, c);
            for_writing(top, c);
            return g_steal_pointer(&top);
        }
    }
    return NULL;
}

static BlockDriverState *main_fn base_of(const BdrvOpenOptions *opts, BlockDriverState *bs)
{
    for (; opts->backing.options; opts = opts->backing.options) {
        bs = bs->backing->bs;
    }
    return bs;
}

/* Nobody but this command reads through the chain while the base is written to: what it reads is not
 * what it writes. */
bool co_main_fn img_commit_open(ImgCommit *c, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = describe_chain(c, errp);

    if (!opts) {
        return false;
    }
    ToolImage image = c->image;
    c->top = tool_open_options(&image, opts, errp);
    c->base = c->top ? blk_new(NULL, CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, CLAIM_ALL, errp)
                     : NULL;
    if (!c->base) {
        return false;
    }
    BlockDriverState *base = base_of(opts, blk_bs(c->top));
    bdrv_graph_lock();
    for (BlockDriverState *bs = blk_bs(c->top); bs != base; bs = bs->backing->bs) {
        bdrv_link_set_claims(bs->backing, CLAIM_READ, CLAIM_ALL, NULL);
    }
    bool ok = blk_insert(c->base, base, errp);
    bdrv_graph_unlock();
    return ok;
}

/* ---- copying, on the copier's thread ---- */

static int co_fn look(void *opaque, int64_t offset, int64_t bytes, BdrvCopyKind *ret_kind,
                      int64_t *ret_bytes)
{
    ImgCommit *c = opaque;
    int64_t n;

    blk_begin(c->top);
    int ret = bdrv_co_is_allocated_above(blk_root(c->top), blk_bs(c->base), offset, bytes,
                                         ret_bytes);
    *ret_kind = BDRV_COPY_NOTHING;
    if (ret > 0) {
        ret = bdrv_co_block_status(blk_root(c->top), offset, *ret_bytes, 0, &n, NULL);
        *ret_kind = ret > 0 && ret & BDRV_BLOCK_ZERO ? BDRV_COPY_ZERO : BDRV_COPY_DATA;
        *ret_bytes = ret < 0 ? *ret_bytes : n;
    }
    blk_end(c->top);
    return MIN(ret, 0);
}

static int co_fn copy_data(ImgCommit *c, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    void *buf = img_buffers_get(&c->buffers, piece->bytes);
    IoVec v;

    if (!buf) {
        return -ENOMEM;
    }
    iovec_init_buf(&v, buf, piece->bytes);
    int ret = blk_co_preadv(c->top, NULL, piece->offset, piece->bytes, &v);
    if (ret == 0) {
        *ret_is_write = true;
        ret = blk_co_pwritev(c->base, NULL, piece->offset, piece->bytes, &v, 0);
    }
    img_buffers_put(&c->buffers, buf, piece->bytes);
    return ret;
}

static int co_fn copy(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    ImgCommit *c = opaque;

    if (piece->kind == BDRV_COPY_DATA) {
        return copy_data(c, piece, ret_is_write);
    }
    *ret_is_write = true;
    return piece->kind == BDRV_COPY_ZERO
           ? blk_co_pwrite_zeroes(c->base, NULL, piece->offset, piece->bytes,
                                  BDRV_REQ_MAY_UNMAP) : 0;
}

/* ---- the whole ---- */

static bool co_main_fn grow_base(ImgCommit *c)
{
    int64_t length = blk_length(c->top);
    Error *err = NULL;

    if (blk_length(c->base) >= length) {
        return true;
    }
    blk_begin(c->base);
    bool ok = bdrv_co_truncate(blk_root(c->base), length, BDRV_PREALLOC_OFF, &err);
    blk_end(c->base);
    if (!ok) {
        img_fail(err);
    }
    return ok;
}

bool co_main_fn img_commit_empty(ImgCommit *c)
{
    if (c->keep) {
        return true;
    }
    blk_begin(c->top);
    int ret = bdrv_co_make_empty(blk_root(c->top));
    blk_end(c->top);
    if (ret == 0) {
        ret = blk_co_flush(c->top, NULL);
    }
    if (ret < 0) {
        tool_error("Could not empty %s: %s", c->image.name, strerror(-ret));
    }
    return ret == 0;
}

bool co_main_fn img_commit_copy(ImgCommit *c)
{
    static const BdrvCopyOps ops = { .co_look = look, .co_copy = copy };
    ImgTransfer t = {
        .ops = &ops, .opaque = c, .length = blk_length(c->top), .speed = c->speed,
        .progress = c->progress, .failed = "Block job failed",
    };

    bool ok = grow_base(c) && (t.length == 0 || img_transfer(&t));
    img_buffers_clear(&c->buffers);
    if (!ok) {
        return false;
    }
    int ret = blk_co_flush(c->base, NULL);
    if (ret < 0) {
        tool_error("Could not write the base of %s: %s", c->image.name, strerror(-ret));
    }
    return ret == 0;
}

bool co_main_fn img_commit_close(ImgCommit *c)
{
    bool ok = tool_close(g_steal_pointer(&c->base));

    return tool_close(g_steal_pointer(&c->top)) && ok;
}

static void co_main_fn parse(int argc, char **argv, ImgCommit *c)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":f:ht:b:dpqr:", longopts)) != -1) {
        switch (opt) {
        case 'f': c->image.format = optarg; break;
        case 't': c->image.cache = img_cache_arg("cache", optarg); break;
        case 'b':                   /* what lies between would read wrongly if it were emptied */
            c->base_name = optarg;
            c->keep = true;
            break;
        case 'd': c->keep = true; break;
        case 'p': c->progress = true; break;
        case 'q': c->quiet = true; break;
        case 'r': c->speed = img_size_arg("rate limit", optarg, 0, INT64_MAX); break;
        case IMG_OPT_IMAGE_OPTS: c->image.image_opts = true; break;
        case IMG_OPT_OBJECT: img_add_object(optarg); break;
        }
    }
}

int co_main_fn img_commit(int argc, char **argv)
{
    ImgCommit c = { .image.writable = true, .image.may_guess_raw = true };
    Error *err = NULL;
    bool ok = false;

    parse(argc, argv, &c);
    c.image.name = img_only_filename(argc, argv);
    img_check_naming(&c.image);
    if (img_commit_open(&c, &err)) {
        ok = img_commit_copy(&c) && img_commit_empty(&c);
    } else {
        img_fail(err);
    }
    ok = img_commit_close(&c) && ok;
    if (ok && !c.quiet) {
        printf("Image committed.\n");
    }
    return ok ? 0 : 1;
}

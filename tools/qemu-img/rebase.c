/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img rebase: another backing file.  Unless it is told not to look (-u), what would read
 * otherwise with the new one is copied into the image first, and is on disk before the new name is.
 */
#include "qemu/osdep.h"

#include "img.h"
#include "transfer.h"

typedef struct Rebase {
    ToolImage image, source;        /* @source: how the backing files are opened */
    const char *backing, *backing_format;
    bool unsafe, quiet, progress, compress;

    BlockBackend *blk, *old, *new;  /* @old, @new: backing files, NULL: none */
    int64_t unit;                   /* bytes that are copied as one */
    ImgTurns turns;
    ImgBuffers buffers;
} Rebase;

/* ---- comparing and copying, on the copier's thread ---- */

/* Does what is below read as zeroes there? *@bytes may shrink. */
static int co_fn is_zero(BlockBackend *blk, int64_t offset, int64_t *bytes)
{
    int64_t length = blk ? blk_length(blk) : 0, n;
    int depth;

    if (offset >= length) {
        return 1;
    }
    int status = blk_co_block_status(blk, NULL, offset, MIN(*bytes, length - offset), &n, &depth);
    if (status >= 0) {
        *bytes = n;
    }
    return status < 0 ? status : !(status & BDRV_BLOCK_DECIDED) || status & BDRV_BLOCK_ZERO;
}

static int co_fn look(void *opaque, int64_t offset, int64_t bytes, BdrvCopyKind *ret_kind,
                      int64_t *ret_bytes)
{
    Rebase *r = opaque;

    blk_begin(r->blk);
    int status = bdrv_co_block_status(blk_root(r->blk), offset, bytes, 1, ret_bytes, NULL);
    blk_end(r->blk);
    if (status < 0) {
        return status;
    }
    *ret_kind = BDRV_COPY_NOTHING;
    if (status & BDRV_BLOCK_ALLOCATED) {
        return 0;
    }
    int zero = is_zero(r->old, offset, ret_bytes);
    if (zero > 0) {
        zero = is_zero(r->new, offset, ret_bytes);
    }
    if (zero == 0) {
        *ret_kind = BDRV_COPY_DATA;
    }
    return MIN(zero, 0);
}

/* What is there, and zeroes behind its end. */
static int co_fn read_below(BlockBackend *blk, int64_t offset, int64_t bytes, uint8_t *buf)
{
    int64_t length = blk ? blk_length(blk) : 0, there = CLAMP(length - offset, 0, bytes);
    IoVec v;
    int ret = 0;

    if (there > 0) {
        iovec_init_buf(&v, buf, there);
        ret = blk_co_preadv(blk, NULL, offset, there, &v);
    }
    memset(buf + there, 0, bytes - there);
    return ret;
}

static int co_fn write_old(Rebase *r, int64_t offset, int64_t bytes, uint8_t *buf, bool zero)
{
    IoVec v;

    if (zero) {
        return blk_co_pwrite_zeroes(r->blk, NULL, offset, bytes, BDRV_REQ_MAY_UNMAP);
    }
    iovec_init_buf(&v, buf, bytes);
    return blk_co_pwritev(r->blk, NULL, offset, bytes, &v,
                          r->compress ? BDRV_REQ_WRITE_COMPRESSED : 0);
}

/* What is to be done with a cluster. */
typedef enum Need { NEED_NOTHING, NEED_ZEROES, NEED_DATA } Need;

static Need need_of(const uint8_t *old, const uint8_t *new, int64_t bytes)
{
    return memcmp(old, new, bytes) == 0  ? NEED_NOTHING :
           buffer_is_zero(old, bytes) ? NEED_ZEROES : NEED_DATA;
}

/* Whole clusters where anything in them differs, as many as possible at once. */
static int co_fn keep_differences(Rebase *r, int64_t offset, int64_t bytes, uint8_t *old,
                                  const uint8_t *new, bool *ret_is_write)
{
    int ret = 0;

    for (int64_t n; ret == 0 && bytes > 0; offset += n, bytes -= n, old += n, new += n) {
        n = MIN(bytes, r->unit - offset % r->unit);
        Need need = need_of(old, new, n);
        while (n < bytes && need_of(old + n, new + n, MIN(r->unit, bytes - n)) == need) {
            n += MIN(r->unit, bytes - n);
        }
        if (need != NEED_NOTHING) {
            *ret_is_write = true;
            ret = write_old(r, offset, n, old, need == NEED_ZEROES);
        }
    }
    return ret;
}

static int co_fn copy(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    Rebase *r = opaque;
    uint64_t ticket = img_turns_take(&r->turns);

    if (piece->kind == BDRV_COPY_NOTHING) {
        img_turns_pass(&r->turns, ticket);
        return 0;
    }
    uint8_t *buf = img_buffers_get(&r->buffers, 2 * piece->bytes);
    int ret = buf ? read_below(r->old, piece->offset, piece->bytes, buf) : -ENOMEM;
    if (ret == 0) {
        ret = read_below(r->new, piece->offset, piece->bytes, buf + piece->bytes);
    }
    img_turns_pass(&r->turns, ticket);
    if (ret == 0) {
        ret = keep_differences(r, piece->offset, piece->bytes, buf, buf + piece->bytes,
                               ret_is_write);
    }
    img_buffers_put(&r->buffers, buf, 2 * piece->bytes);
    return ret;
}

/* ---- the backing files ---- */

/* The one that the image has now, as it is open below it. */
static bool co_main_fn find_old(Rebase *r, Error **errp)
{
    BlockDriverState *bs = blk_bs(r->blk);

    if (!bs->backing) {
        return true;
    }
    r->old = blk_new(NULL, CLAIM_READ, CLAIM_ALL, errp);
    if (!r->old) {
        return false;
    }
    bdrv_graph_lock();
    bool ok = blk_insert(r->old, bs->backing->bs, errp);
    bdrv_graph_unlock();
    return ok;
}

static bool co_main_fn open_new(Rebase *r, Error **errp)
{
    BlockDriverState *bs = blk_bs(r->blk);
    g_autofree char *path = NULL;

    if (!*r->backing) {
        return true;
    }
    path = bdrv_path_has_protocol(r->backing) ? g_strdup(r->backing)
                                              : bdrv_path_combine(bs->filename, r->backing);
    ToolImage image = r->source;
    image.name = path;
    image.format = r->backing_format;
    Error *err = NULL;
    r->new = tool_open(&image, &err);
    if (!r->new) {
        const char *text = error_get_pretty(err), *again = strstr(text, "': ");
        error_setg(errp, "Could not open new backing file '%s': %s", r->backing,
                   again ? again + 3 : text);
        error_free(err);
    }
    return r->new != NULL;
}

/*
 * What was in no backing file and reads as zeroes has to be zero in the image itself, which a format
 * takes for superfluous in an image without a backing file: so it gets the new one first.
 */
static bool co_main_fn attach_new(Rebase *r)
{
    BlockDriverState *bs = blk_bs(r->blk);
    Error *err = NULL;

    if (bs->backing || !r->new) {
        return true;
    }
    bdrv_graph_lock();
    bool ok = bdrv_attach_backing(bs, blk_bs(r->new), &err);
    bdrv_graph_unlock();
    if (!ok) {
        img_fail(err);
    }
    return ok;
}

static bool co_main_fn keep_content(Rebase *r)
{
    static const BdrvCopyOps ops = { .co_look = look, .co_copy = copy };
    BlockDriverState *bs = blk_bs(r->blk);
    ImgTransfer t = {
        .ops = &ops, .opaque = r, .length = blk_length(r->blk), .progress = r->progress,
    };

    r->unit = MAX(bs->limits.alloc_unit, 4096);
    t.chunk = ROUND_UP(BDRV_COPY_CHUNK, r->unit);
    bool ok = attach_new(r) && (t.length == 0 || img_transfer(&t));
    img_buffers_clear(&r->buffers);
    if (!ok) {
        return false;
    }
    int ret = blk_co_flush(r->blk, NULL);
    if (ret < 0) {
        tool_error("Could not write '%s': %s", r->image.name, strerror(-ret));
    }
    return ret == 0;
}

/* ---- the whole ---- */

static bool co_main_fn record(Rebase *r)
{
    BlockDriverState *bs = blk_bs(r->blk);
    const char *name = *r->backing ? r->backing : NULL;
    Error *err = NULL;

    if (!bs->drv->co_set_backing) {
        tool_error("Could not change the backing file to '%s': %s", r->backing,
                   strerror(ENOTSUP));
        return false;
    }
    if (name && !r->backing_format) {
        tool_error("Could not change the backing file to '%s': backing format must be specified",
                   name);
        return false;
    }
    bdrv_graph_lock();
    bool ok = bdrv_co_set_backing_name(bs, name, r->backing_format, &err);
    bdrv_graph_unlock();
    if (!ok) {
        error_prepend(&err, "Could not change the backing file to '%s': ", r->backing);
        img_fail(err);
    }
    return ok;
}

/* False before anything is copied, if what is asked for cannot be done in the end. */
static bool main_fn check(Rebase *r, Error **errp)
{
    if (r->backing_format && !bdrv_find_driver(r->backing_format)) {
        error_setg(errp, "Invalid format name: '%s'", r->backing_format);
        return false;
    }
    if (r->compress && !blk_bs(r->blk)->limits.compress_unit) {
        error_setg(errp, "Compression not supported for this file format");
        return false;
    }
    return true;
}

static bool co_main_fn rebase(Rebase *r)
{
    BlockDriverState *bs = blk_bs(r->blk);
    Error *err = NULL;
    bool can = bs->drv->co_set_backing && (!*r->backing || r->backing_format);

    if (!check(r, &err)) {
        img_fail(err);
        return false;
    }
    if (can && !r->unsafe) {
        if (!find_old(r, &err) || !open_new(r, &err)) {
            img_fail(err);
            return false;
        }
        if (!keep_content(r)) {
            return false;
        }
    }
    return record(r);
}

static void co_main_fn parse(int argc, char **argv, Rebase *r)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' },
        { "compress", no_argument, NULL, 'c' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:F:b:upt:T:qUc", longopts)) != -1) {
        switch (opt) {
        case 'f': r->image.format = optarg; break;
        case 'F': r->backing_format = optarg; break;
        case 'b': r->backing = optarg; break;
        case 'u': r->unsafe = true; break;
        case 'p': r->progress = true; break;
        case 't': r->image.cache = img_cache_arg("cache", optarg); break;
        case 'T': r->source.cache = img_cache_arg("source cache", optarg); break;
        case 'q': r->quiet = true; break;
        case 'U': r->source.force_share = true; break;
        case 'c': r->compress = true; break;
        case IMG_OPT_IMAGE_OPTS: r->image.image_opts = true; break;
        case IMG_OPT_OBJECT: img_add_object(optarg); break;
        }
    }
}

int co_main_fn img_rebase(int argc, char **argv)
{
    Rebase r = { .image.writable = true };
    Error *err = NULL;

    parse(argc, argv, &r);
    if (optind != argc - 1) {
        img_usage_error("Expecting one image file name");
    }
    if (!r.unsafe && !r.backing) {
        img_usage_error("Must specify backing file (-b) or use unsafe mode (-u)");
    }
    r.backing = r.backing ?: "";
    r.image.name = argv[optind];
    img_check_naming(&r.image);
    r.image.no_backing = r.unsafe;
    r.blk = tool_open(&r.image, &err);
    if (!r.blk) {
        return img_fail(err);
    }
    bool ok = rebase(&r);
    tool_close(r.new);
    tool_close(r.old);
    return tool_close(r.blk) && ok ? 0 : 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* raw: the image is a part of its file, byte for byte. */
#include "qemu/osdep.h"

#include "block/claims.h"

typedef struct RawState {
    int64_t offset;                 /* of the image's first byte in the file */
    bool fixed_size;                /* `size` was given: the image does not end with the file */
} RawState;

static void raw_options_init(BdrvOpenOptions *opts)
{
    opts->u.raw.size = -1;
}

static bool co_main_fn raw_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    RawState *s = bs->opaque;
    const RawOpenOptions *o = &opts->u.raw;
    int64_t file_length = bdrv_length(bs->file->bs);

    if (o->offset < 0 || o->offset > file_length) {
        error_setg(errp, "Cannot open '%s': offset %" PRId64 " lies past its end (%" PRId64
                   " bytes)", bs->file->bs->filename, o->offset, file_length);
        return false;
    }
    if (o->size > file_length - o->offset) {
        error_setg(errp, "Cannot open '%s': it ends %" PRId64 " bytes after the offset, before "
                   "the given size of %" PRId64, bs->file->bs->filename,
                   file_length - o->offset, o->size);
        return false;
    }
    s->offset = o->offset;
    s->fixed_size = o->size >= 0;
    bs->length = s->fixed_size ? o->size : file_length - o->offset;
    bs->guards_first_sector = o->probed;
    return true;
}

static int co_fn raw_map(BlockDriverState *bs, int64_t offset, int64_t bytes,
                         BdrvExtent *ret_extent)
{
    RawState *s = bs->opaque;

    *ret_extent = (BdrvExtent){
        .kind = BDRV_EXTENT_DATA, .bytes = bytes, .link = bs->file,
        .host_offset = s->offset + offset, .writable = true,
    };
    return 0;
}

static bool co_fn raw_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                               Error **errp)
{
    RawState *s = bs->opaque;

    if (s->fixed_size) {
        error_setg(errp, "Cannot resize fixed-size raw disks");
        return false;
    }
    return bdrv_co_truncate(bs->file, s->offset + length, prealloc, errp);
}

/* What lies in us (a format that allocates) writes past the end, as it may in a file.  A part of a
 * file is full then. */
static int co_fn raw_extend(BlockDriverState *bs, int64_t length)
{
    RawState *s = bs->opaque;
    int ret = s->fixed_size || length > BDRV_MAX_LENGTH - s->offset
              ? -ENOSPC : bdrv_co_extend(bs->file, s->offset + length);

    if (ret == 0) {
        bdrv_note_longer(bs, length);
    }
    return ret;
}

static bool any_fn raw_shows_whole_file(const BlockDriverState *bs)
{
    const RawState *s = bs->opaque;

    return s->offset == 0 && !s->fixed_size;
}

static bool co_fn raw_create(BdrvLink *file, const BdrvCreateOptions *opts, Error **errp)
{
    return bdrv_co_truncate(file, opts->size, opts->preallocation, errp);
}

/* Anything may be raw: only where nothing else fits. */
static int raw_probe(const uint8_t *buf, size_t len)
{
    return 1;
}

/* Whoever looks next would take it for another format. */
static bool raw_may_begin_with(BlockDriverState *bs, const uint8_t *sector)
{
    return bdrv_probe(sector, BDRV_PROBED_BYTES) == bs->drv;
}

static bool co_main_fn raw_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    RawState *s = bs->opaque;
    const RawOpenOptions *o = to->options ? &to->options->u.raw : NULL;

    if (o && (o->offset != s->offset || (o->size >= 0) != s->fixed_size ||
              (s->fixed_size && o->size != bdrv_length(bs)))) {
        error_setg(errp, "Cannot change the option '%s'",
                   o->offset != s->offset ? "offset" : "size");
        return false;
    }
    return true;
}

static const BlockDriver bdrv_raw = {
    .name           = "raw",
    .instance_size  = sizeof(RawState),
    .shows_file     = true,
    .shows_whole_file = raw_shows_whole_file,
    .probe          = raw_probe,
    .options_init   = raw_options_init,
    .co_open        = raw_open,
    .co_reopen_prepare = raw_reopen_prepare,
    .co_map         = raw_map,
    .co_truncate    = raw_truncate,
    .co_extend      = raw_extend,
    .co_create      = raw_create,
    .may_begin_with = raw_may_begin_with,
    .child_claims   = bdrv_filter_child_claims,
};

static void raw_init(void)
{
    bdrv_register(&bdrv_raw);
}

block_init(raw_init);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* alloc, map: which parts of the disk this very image decides. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

/* 1: the first *@ret_bytes of [@offset, @offset + @bytes) are allocated in the image, 0: they are
 * not; or -errno. */
static int co_main_fn is_allocated(IoSession *s, int64_t offset, int64_t bytes,
                                   int64_t *ret_bytes)
{
    blk_begin(s->blk);
    const BlockDriverState *bs = blk_bs(s->blk);
    while (bs && bs->drv->is_filter && bs->file) {      /* it has what its file has */
        bs = bs->file->bs;
    }
    int ret = !bs ? -ENOMEDIUM
        : bdrv_co_is_allocated_above(blk_root(s->blk), bs->backing ? bs->backing->bs : NULL,
                                     offset, bytes, ret_bytes);
    blk_end(s->blk);
    return ret;
}

/* The same, up to where it is different. */
static int co_main_fn run_of(IoSession *s, int64_t offset, int64_t bytes, int64_t *ret_bytes)
{
    int64_t n;
    int first = is_allocated(s, offset, bytes, ret_bytes);

    while (first >= 0 && *ret_bytes < bytes) {
        int next = is_allocated(s, offset + *ret_bytes, bytes - *ret_bytes, &n);
        if (next < 0) {
            return next;
        }
        if (next != first) {
            break;
        }
        *ret_bytes += n;
    }
    return first;
}

static int co_main_fn alloc(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int64_t offset, bytes = 512, allocated = 0, n;
    int err = io_parse_bytes(s, argv[1], &offset);

    if (err == 0 && argc == 3) {
        err = io_parse_bytes(s, argv[2], &bytes);
    }
    if (err < 0) {
        return err;
    }
    int64_t length = blk_length(s->blk);
    bytes = MIN(bytes, MAX(length - offset, 0));
    for (int64_t at = 0; at < bytes; at += n) {
        int ret = is_allocated(s, offset + at, bytes - at, &n);
        if (ret < 0) {
            return io_failed(s, "is_allocated", ret);
        }
        allocated += ret ? n : 0;
    }
    g_autofree char *where = io_human_bytes((double)offset);
    io_print(s, "%" PRId64 "/%" PRId64 " bytes allocated at offset %s\n", allocated, bytes, where);
    return 0;
}

static int co_main_fn map(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int64_t length = blk_length(s->blk), n;

    if (length == 0) {
        return 0;
    }
    for (int64_t at = 0; at < length; at += n) {
        int ret = run_of(s, at, length - at, &n);
        if (ret < 0) {
            io_print(s, "Failed to get allocation status: %s\n", g_strerror(-ret));
            return ret;
        }
        g_autofree char *size = io_human_bytes((double)n);
        g_autofree char *where = io_human_bytes((double)at);
        io_print(s, "%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", size, n,
                 ret ? "   " : "not", where, at);
    }
    return 0;
}

const IoCommand io_status_commands[] = {
    { .name = "alloc", .run = alloc, .min_args = 1, .max_args = 2,
      .args = "offset [count]", .summary = "checks if offset is allocated in the file" },
    { .name = "map", .run = map, .args = "",
      .summary = "prints the allocated areas of a file" },
    { 0 },
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What concerns the whole image: length, truncate, flush, info; and discard. */
#include "qemu/osdep.h"

#include "tools/common/options.h"
#include "tools/qemu-io/commands.h"

/* ---- flush, discard ---- */

static int co_main_fn flush_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    return blk_co_flush(s->blk, NULL);
}

static int co_main_fn discard(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    IoReport report = { .quiet = false };
    int64_t offset, bytes, start_ns;
    g_auto(IoArgs) a;
    int c;

    io_args_init(&a, s, cmd, argc, argv, "Cq");
    while ((c = io_args_next(&a))) {
        if (c == '?') {
            return io_usage(s, cmd);
        }
        *(c == 'C' ? &report.machine : &report.quiet) = true;
    }
    if (a.values->len != 2) {
        return io_usage(s, cmd);
    }
    int ret = io_parse_bytes(s, a.values->pdata[0], &offset)
              ?: io_parse_length(s, a.values->pdata[1], &bytes);
    if (ret < 0) {
        return ret;
    }
    start_ns = clock_ns();
    ret = blk_co_pdiscard(s->blk, NULL, offset, bytes);
    if (ret < 0) {
        return io_failed(s, "discard", ret);
    }
    io_report(s, report, "discard", start_ns, offset, bytes, bytes);
    return 0;
}

/* ---- length ---- */

static int co_main_fn length(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    g_autofree char *size = io_human_bytes((double)blk_length(s->blk));

    if (!blk_bs(s->blk)) {
        io_print(s, "getlength: %s\n", g_strerror(ENOMEDIUM));
        return -ENOMEDIUM;
    }
    io_print(s, "%s\n", size);
    return 0;
}

/* A link of its own has the claim for as long as it takes. */
static bool co_main_fn resize(IoSession *s, int64_t size, BdrvPrealloc prealloc, Error **errp)
{
    BdrvLinkSpec spec = { .needs = CLAIM_RESIZE, .allows = CLAIM_ALL, .holder = "truncate" };
    BlockDriverState *bs = blk_bs(s->blk);

    if (!bs) {
        error_setg(errp, "No medium is in the drive");
        return false;
    }
    bdrv_graph_lock();
    BdrvLink *link = bdrv_link_new(bs, &spec, errp);
    bool ok = link && bdrv_co_truncate(link, size, prealloc, errp);
    bdrv_link_free(link);
    bdrv_graph_unlock();
    return ok;
}

static int co_main_fn truncate_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    BdrvPrealloc prealloc = BDRV_PREALLOC_OFF;
    Error *err = NULL;
    g_auto(IoArgs) a;
    int64_t size;
    int c;

    io_args_init(&a, s, cmd, argc, argv, "m:");
    while ((c = io_args_next(&a))) {
        if (c == '?') {
            return io_usage(s, cmd);
        }
        if (!tool_parse_prealloc(a.value, &prealloc, NULL)) {
            error_setg(&err, "Invalid preallocation mode '%s'", a.value);
            io_complain_err(s, err);
            return -EINVAL;
        }
    }
    if (a.values->len != 1) {
        return io_usage(s, cmd);
    }
    int ret = io_parse_bytes(s, a.values->pdata[0], &size);
    if (ret == 0 && !resize(s, size, prealloc, &err)) {
        ret = error_get_errno(err) ? -error_get_errno(err) : -EINVAL;
        io_complain_err(s, err);
    }
    return ret;
}

/* ---- info ---- */

/* Where the state of a machine is that an internal snapshot saves: behind all that the L1 table has
 * to have for the disk. */
static int64_t main_fn vmstate_offset(BlockDriverState *bs, const BdrvInfo *info)
{
    if (info->kind != BDRV_INFO_QCOW2) {
        return 0;
    }
    int64_t entries = info->cluster_size / (info->qcow2.extended_l2 ? 16 : 8);
    return ROUND_UP(bdrv_length(bs), entries * info->cluster_size);
}

static void main_fn print_qcow2(IoSession *s, const Qcow2ImageInfo *q)
{
    const char *const words[] = { "false", "true" };

    io_print(s, "Format specific information:\n    compat: %s\n    compression type: %s\n",
             q->version == 2 ? "0.10" : "1.1", q->compression_type);
    if (q->version >= 3) {
        io_print(s, "    lazy refcounts: %s\n", words[q->lazy_refcounts]);
    }
    io_print(s, "    refcount bits: %d\n", q->refcount_bits);
    if (q->version >= 3) {
        io_print(s, "    corrupt: %s\n", words[q->corrupt]);
    }
    if (q->data_file) {
        io_print(s, "    data file: %s\n    data file raw: %s\n", q->data_file,
                 words[q->data_file_raw]);
    }
    if (q->version >= 3) {
        io_print(s, "    extended l2: %s\n", words[q->extended_l2]);
    }
}

static int co_main_fn info(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    BlockDriverState *bs = blk_bs(s->blk), *content = bs;
    BdrvInfo info = { 0 };

    if (!bs) {
        return -ENOMEDIUM;
    }
    while (content->drv->is_filter && content->file) {
        content = content->file->bs;
    }
    io_print(s, "format name: %s\n", bs->drv->name);
    if (bs->drv->is_protocol && (bs->drv->name_prefixes || bs->drv->get_identity)) {
        io_print(s, "format name: %s\n", bs->drv->name);        /* that of its names */
    }
    if (content->drv->get_info) {
        content->drv->get_info(content, &info);
    } else if (content->drv->is_protocol && !content->drv->get_identity) {
        return -ENOTSUP;            /* it has nothing to say of itself */
    }
    g_autofree char *cluster = io_human_bytes((double)info.cluster_size);
    g_autofree char *vmstate = io_human_bytes((double)vmstate_offset(content, &info));
    io_print(s, "cluster size: %s\nvm state offset: %s\n", cluster, vmstate);
    if (info.kind == BDRV_INFO_QCOW2 && content == bs) {
        print_qcow2(s, &info.qcow2);
    }
    return 0;
}

const IoCommand io_image_commands[] = {
    { .name = "flush", .alias = "f", .run = flush_command,
      .summary = "flush all in-core file state to disk" },
    { .name = "discard", .alias = "d", .run = discard, .min_args = 2, .max_args = -1,
      .needs = IO_NEEDS_WRITE,
      .args = "[-Cq] off len", .summary = "discards a number of bytes at a specified offset",
      .help =
        " Example: 'discard 512 1k' says that the kilobyte at 512 is needed no more.\n"
        "\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -q, -- quiet mode, do not show I/O statistics\n" },
    { .name = "length", .alias = "l", .run = length,
      .summary = "gets the length of the current file" },
    { .name = "truncate", .alias = "t", .run = truncate_command, .min_args = 1, .max_args = 3,
      .needs = IO_NEEDS_WRITE,
      .args = "[-m prealloc_mode] off",
      .summary = "truncates the current file at the given offset" },
    { .name = "info", .alias = "i", .run = info,
      .summary = "prints information about the current file" },
    { 0 },
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* readv, writev: several buffers in one request. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

typedef struct VectorArgs {
    IoReport report;
    bool dump, has_pattern;
    int pattern;
    unsigned flags;
    int64_t offset;
} VectorArgs;

static int parse(IoSession *s, IoArgs *a, VectorArgs *v)
{
    int c, err = 0;

    while (err == 0 && (c = io_args_next(a))) {
        switch (c) {
        case 'C': v->report.machine = true; break;
        case 'f': v->flags |= BDRV_REQ_FUA; break;
        case 'q': v->report.quiet = true; break;
        case 'r': break;            /* QEMU's: makes no difference here */
        case 'v': v->dump = true; break;
        case 'P':
            v->has_pattern = true;
            err = io_parse_pattern(s, a->value, &v->pattern);
            break;
        default:
            return io_usage(s, a->cmd);
        }
    }
    if (err < 0) {
        return err;
    }
    return a->values->len < 2 ? io_usage(s, a->cmd)
                              : io_parse_bytes(s, a->values->pdata[0], &v->offset);
}

static int co_main_fn do_readv(IoSession *s, const VectorArgs *v, IoVec *vec, void *buf)
{
    int64_t start_ns = clock_ns(), bytes = (int64_t)vec->size;
    int ret = blk_co_preadv(s->blk, NULL, v->offset, bytes, vec);

    if (ret < 0) {
        return io_failed(s, "readv", ret);
    }
    if (v->has_pattern && !io_buffer_is(buf, v->pattern, vec->size)) {
        io_print(s, "Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
                 v->offset, bytes);
        ret = -EINVAL;
    }
    if (!v->report.quiet) {
        if (v->dump) {
            io_dump(s, buf, vec->size, v->offset);
        }
        io_report(s, v->report, "read", start_ns, v->offset, bytes, bytes);
    }
    return ret;
}

static int co_main_fn do_writev(IoSession *s, const VectorArgs *v, IoVec *vec)
{
    int64_t start_ns = clock_ns(), bytes = (int64_t)vec->size;
    int ret = blk_co_pwritev(s->blk, NULL, v->offset, bytes, vec, v->flags);

    if (ret < 0) {
        return io_failed(s, "writev", ret);
    }
    io_report(s, v->report, "wrote", start_ns, v->offset, bytes, bytes);
    return 0;
}

static int co_main_fn vector_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    bool writes = cmd->needs & IO_NEEDS_WRITE;
    VectorArgs v = { .pattern = 0xcd };
    g_auto(IoArgs) a;
    IoVec vec;
    void *buf;

    io_args_init(&a, s, cmd, argc, argv, writes ? "CfqrP:" : "CP:qrv");
    int err = parse(s, &a, &v);
    if (err < 0) {
        return err;
    }
    err = io_vector_new(s, &vec, (char **)a.values->pdata + 1, a.values->len - 1,
                        writes ? v.pattern : 0xab, &buf);
    if (err < 0) {
        return err;
    }
    err = writes ? do_writev(s, &v, &vec) : do_readv(s, &v, &vec, buf);
    iovec_destroy(&vec);
    io_buffer_free(s, buf);
    return err;
}

const IoCommand io_vector_commands[] = {
    { .name = "readv", .run = vector_command, .min_args = 2, .max_args = -1,
      .args = "[-Cqrv] [-P pattern] off len [len..]",
      .summary = "reads a number of bytes at a specified offset",
      .help =
        " Example: 'readv -v 512 1k 1k' shows two kilobytes, which are read to two buffers.\n"
        "\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -P, -- fail unless all bytes are this one\n"
        " -q, -- quiet mode, do not show I/O statistics\n"
        " -r, -- no effect\n"
        " -v, -- show the bytes\n" },
    { .name = "writev", .run = vector_command, .min_args = 2, .max_args = -1,
      .needs = IO_NEEDS_WRITE,
      .args = "[-Cfqr] [-P pattern] off len [len..]",
      .summary = "writes a number of bytes at a specified offset",
      .help =
        " Example: 'writev 512 1k 1k' writes two kilobytes, which lie in two buffers.\n"
        "\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -f, -- durable once it is written\n"
        " -P, -- write this byte\n"
        " -q, -- quiet mode, do not show I/O statistics\n"
        " -r, -- no effect\n" },
    { 0 },
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aio_read, aio_write, aio_flush: requests that go on while the next command runs.  What became of
 * them is said when they end, and makes no command fail.
 */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

/* One request; owned by its coroutine once that runs. */
typedef struct Aio {
    IoSession *s;
    BlockBackend *blk;
    IoReport report;
    bool writes, zero, invalid, dump, has_pattern;
    int pattern;
    unsigned flags;
    int64_t offset, bytes, start_ns;
    IoVec vec;
    void *buf;                      /* NULL: zeroes are written */
} Aio;

static void aio_free(Aio *r)
{
    if (r->buf) {
        iovec_destroy(&r->vec);
        io_buffer_free(r->s, r->buf);
    }
    g_free(r);
}

/* ---- the request ---- */

static void co_main_fn say_what_was_read(const Aio *r)
{
    if (r->has_pattern && !io_buffer_is(r->buf, r->pattern, (size_t)r->bytes)) {
        io_print(r->s, "Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
                 r->offset, r->bytes);
    }
    if (r->dump && !r->report.quiet) {
        io_dump(r->s, r->buf, (size_t)r->bytes, r->offset);
    }
}

static void co_main_fn aio_entry(void *opaque)
{
    Aio *r = opaque;
    int ret;

    if (r->zero) {
        ret = blk_co_pwrite_zeroes(r->blk, NULL, r->offset, r->bytes, r->flags);
    } else if (r->writes) {
        ret = blk_co_pwritev(r->blk, NULL, r->offset, r->bytes, &r->vec, r->flags);
    } else {
        ret = blk_co_preadv(r->blk, NULL, r->offset, r->bytes, &r->vec);
    }
    if (ret < 0) {
        io_failed(r->s, r->writes ? "aio_write" : "readv", ret);
    } else {
        if (!r->writes) {
            say_what_was_read(r);
        }
        io_report(r->s, r->report, r->writes ? "wrote" : "read", r->start_ns, r->offset, r->bytes,
                  r->bytes);
    }
    aio_free(r);
}

/* ---- the commands ---- */

static int parse_options(IoSession *s, IoArgs *a, Aio *r)
{
    int c, err = 0;

    while (err == 0 && (c = io_args_next(a))) {
        switch (c) {
        case 'C': r->report.machine = true; break;
        case 'f': r->flags |= BDRV_REQ_FUA; break;
        case 'i': r->invalid = true; break;
        case 'q': r->report.quiet = true; break;
        case 'r': break;            /* QEMU's: makes no difference here */
        case 'u': r->flags |= BDRV_REQ_MAY_UNMAP; break;
        case 'v': r->dump = true; break;
        case 'z': r->zero = true; break;
        case 'P':
            r->has_pattern = true;
            err = io_parse_pattern(s, a->value, &r->pattern);
            break;
        default:
            return io_usage(s, a->cmd);
        }
    }
    return err;
}

static int check_options(IoSession *s, const IoArgs *a, const Aio *r)
{
    const char *wrong =
        r->zero && a->values->len != 2 ? "-z supports only a single length parameter" :
        r->flags & BDRV_REQ_MAY_UNMAP && !r->zero ? "-u requires -z to be specified" : NULL;

    if (wrong) {
        io_print(s, "%s\n", wrong);
    }
    return wrong ? -EINVAL : 0;
}

static int parse(IoSession *s, IoArgs *a, Aio *r)
{
    int err = parse_options(s, a, r);

    if (err == 0 && a->values->len < 2) {
        return io_usage(s, a->cmd);
    }
    err = err ?: check_options(s, a, r) ?: io_parse_bytes(s, a->values->pdata[0], &r->offset);
    if (err < 0) {
        return err;
    }
    if (r->zero) {
        return io_parse_length(s, a->values->pdata[1], &r->bytes);
    }
    err = io_vector_new(s, &r->vec, (char **)a->values->pdata + 1, a->values->len - 1,
                        r->writes ? r->pattern : 0xab, &r->buf);
    r->bytes = err ? 0 : (int64_t)r->vec.size;
    return err;
}

static int co_main_fn aio_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    bool writes = cmd->needs & IO_NEEDS_WRITE;
    Aio *r = g_new0(Aio, 1);
    g_auto(IoArgs) a;

    *r = (Aio){ .s = s, .blk = s->blk, .writes = writes, .pattern = 0xcd };
    io_args_init(&a, s, cmd, argc, argv, writes ? "CfiP:qruz" : "CiP:qrv");
    int err = parse(s, &a, r);
    if (err == 0 && r->invalid) {
        io_print(s, "injecting invalid %s request\n", writes ? "write" : "read");
        blk_stats_invalid(blk_stats(s->blk), writes ? BLK_OP_WRITE : BLK_OP_READ);
    }
    if (err < 0 || r->invalid) {
        aio_free(r);
        return err;
    }
    r->start_ns = clock_ns();
    co_group_start(&s->asynchronous, aio_entry, r);
    return 0;
}

static int co_main_fn aio_flush(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    co_group_wait(&s->asynchronous);
    return 0;
}

const IoCommand io_aio_commands[] = {
    { .name = "aio_read", .run = aio_command, .min_args = 2, .max_args = -1,
      .args = "[-Ciqrv] [-P pattern] off len [len..]",
      .summary = "asynchronously reads a number of bytes",
      .help =
        " The next command does not wait for it, and that it fails is only said: see aio_flush.\n"
        " Example: 'aio_read -v 512 1k 1k' shows two kilobytes, which are read to two buffers.\n"
        "\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -i, -- nothing is read: counts as an invalid request\n"
        " -P, -- say so unless all bytes are this one\n"
        " -q, -- quiet mode, do not show I/O statistics\n"
        " -r, -- no effect\n"
        " -v, -- show the bytes\n" },
    { .name = "aio_write", .run = aio_command, .min_args = 2, .max_args = -1,
      .needs = IO_NEEDS_WRITE,
      .args = "[-Cfiqruz] [-P pattern] off len [len..]",
      .summary = "asynchronously writes a number of bytes",
      .help =
        " The next command does not wait for it, and that it fails is only said: see aio_flush.\n"
        " Example: 'aio_write 512 1k 1k' writes two kilobytes, which lie in two buffers.\n"
        "\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -f, -- durable once it is written\n"
        " -i, -- nothing is written: counts as an invalid request\n"
        " -P, -- write this byte\n"
        " -q, -- quiet mode, do not show I/O statistics\n"
        " -r, -- no effect\n"
        " -u, -- with -z: the image may give back what was allocated\n"
        " -z, -- write zeroes\n" },
    { .name = "aio_flush", .run = aio_flush,
      .summary = "completes all outstanding aio requests" },
    { 0 },
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* read */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

typedef struct ReadArgs {
    IoReport report;
    bool dump, vmstate, has_pattern, has_from, has_length;
    int pattern;
    int64_t from, length;           /* what of the bytes read is compared with the pattern */
    int64_t offset, bytes;
} ReadArgs;

static int parse_options(IoSession *s, IoArgs *a, ReadArgs *r)
{
    int c, err = 0;

    while (err == 0 && (c = io_args_next(a))) {
        switch (c) {
        case 'b': r->vmstate = true; break;
        case 'C': r->report.machine = true; break;
        case 'q': r->report.quiet = true; break;
        case 'v': r->dump = true; break;
        case 'p': case 'r':         /* QEMU's: what they ask for makes no difference here */
            break;
        case 'l':
            r->has_length = true;
            err = io_parse_bytes(s, a->value, &r->length);
            break;
        case 's':
            r->has_from = true;
            err = io_parse_bytes(s, a->value, &r->from);
            break;
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

static int parse(IoSession *s, IoArgs *a, ReadArgs *r)
{
    int err = parse_options(s, a, r);

    if (err < 0) {
        return err;
    }
    if (a->values->len != 2) {
        return io_usage(s, a->cmd);
    }
    err = io_parse_bytes(s, a->values->pdata[0], &r->offset)
          ?: io_parse_length(s, a->values->pdata[1], &r->bytes);
    if (err < 0) {
        return err;
    }
    if (!r->has_pattern && (r->has_length || r->has_from)) {
        return io_usage(s, a->cmd);
    }
    r->length = r->has_length ? r->length : r->bytes - r->from;
    if (r->length < 0 || r->from > r->bytes || r->length > r->bytes - r->from) {
        io_print(s, "pattern verification range exceeds end of read data\n");
        return -EINVAL;
    }
    return 0;
}

/* Of the state of a machine. */
static int co_main_fn load_vmstate(BlockBackend *blk, const ReadArgs *r, IoVec *vec)
{
    blk_begin(blk);
    int ret = blk_bs(blk) ? bdrv_co_load_vmstate(blk_bs(blk), r->offset, r->bytes, vec)
                          : -ENOMEDIUM;
    blk_end(blk);
    return ret;
}

static int co_main_fn do_read(IoSession *s, const ReadArgs *r, uint8_t *buf)
{
    int64_t start_ns = clock_ns();
    IoVec vec;

    iovec_init_buf(&vec, buf, (size_t)r->bytes);
    int ret = r->vmstate ? load_vmstate(s->blk, r, &vec)
                         : blk_co_preadv(s->blk, NULL, r->offset, r->bytes, &vec);
    if (ret < 0) {
        return io_failed(s, "read", ret);
    }
    if (r->has_pattern && !io_buffer_is(buf + r->from, r->pattern, (size_t)r->length)) {
        io_print(s, "Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
                 r->offset + r->from, r->length);
        ret = -EINVAL;
    }
    if (!r->report.quiet) {
        if (r->dump) {
            io_dump(s, buf, (size_t)r->bytes, r->offset);
        }
        io_report(s, r->report, "read", start_ns, r->offset, r->bytes, r->bytes);
    }
    return ret;
}

static int co_main_fn read_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    g_auto(IoArgs) a;
    ReadArgs r = { 0 };

    io_args_init(&a, s, cmd, argc, argv, "bCl:pP:qrs:v");
    int err = parse(s, &a, &r);
    if (err < 0) {
        return err;
    }
    uint8_t *buf = io_buffer_new(s, (size_t)r.bytes, 0xab);
    if (!buf) {
        return -ENOMEM;
    }
    err = do_read(s, &r, buf);
    io_buffer_free(s, buf);
    return err;
}

const IoCommand io_read_commands[] = {
    { .name = "read", .alias = "r", .run = read_command, .min_args = 2, .max_args = -1,
      .args = "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
      .summary = "reads a number of bytes at a specified offset",
      .help =
        " Example: 'read -v 512 1k' shows the kilobyte that begins at 512.\n"
        "\n"
        " -b, -- of the state of a machine that is saved in the image, not of the disk\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -l, -- how many bytes are compared with the pattern\n"
        " -p, -- no effect\n"
        " -P, -- fail unless all bytes are this one\n"
        " -q, -- quiet mode, do not show I/O statistics\n"
        " -r, -- no effect\n"
        " -s, -- where among the bytes read the comparison begins\n"
        " -v, -- show the bytes\n" },
    { 0 },
};

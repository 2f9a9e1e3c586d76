/* SPDX-License-Identifier: GPL-2.0-or-later */
/* write */
#include "qemu/osdep.h"

#include "qemu/aio.h"
#include "tools/qemu-io/commands.h"

typedef struct WriteArgs {
    IoReport report;
    bool vmstate, compress, zero, has_pattern;
    int pattern;
    const char *file;               /* whose bytes are written, again and again */
    unsigned flags;
    int64_t offset, bytes;
} WriteArgs;

/* ---- options ---- */

static int parse_options(IoSession *s, IoArgs *a, WriteArgs *w)
{
    int c, err = 0;

    while (err == 0 && (c = io_args_next(a))) {
        switch (c) {
        case 'b': w->vmstate = true; break;
        case 'c': w->compress = true; break;
        case 'C': w->report.machine = true; break;
        case 'f': w->flags |= BDRV_REQ_FUA; break;
        case 'n': w->flags |= BDRV_REQ_NO_FALLBACK; break;
        case 'p': case 'r':         /* QEMU's: what they ask for makes no difference here */
            break;
        case 'P':
            w->has_pattern = true;
            err = io_parse_pattern(s, a->value, &w->pattern);
            break;
        case 'q': w->report.quiet = true; break;
        case 's': w->file = a->value; break;
        case 'u': w->flags |= BDRV_REQ_MAY_UNMAP; break;
        case 'z': w->zero = true; break;
        default:
            return io_usage(s, a->cmd);
        }
    }
    return err;
}

/* What options cannot be together; NULL: they can. */
static const char *contradiction(const WriteArgs *w)
{
    return w->vmstate && w->zero ? "-b and -z cannot be specified at the same time" :
           w->flags & BDRV_REQ_FUA && (w->vmstate || w->compress)
               ? "-f and -b or -c cannot be specified at the same time" :
           w->flags & BDRV_REQ_NO_FALLBACK && !w->zero ? "-n requires -z to be specified" :
           w->flags & BDRV_REQ_MAY_UNMAP && !w->zero ? "-u requires -z to be specified" :
           w->zero + w->has_pattern + !!w->file > 1
               ? "Only one of -z, -P, and -s can be specified at the same time" : NULL;
}

static int parse(IoSession *s, IoArgs *a, WriteArgs *w)
{
    int err = parse_options(s, a, w);

    if (err < 0) {
        return err;
    }
    if (a->values->len != 2) {
        return io_usage(s, a->cmd);
    }
    const char *wrong = contradiction(w);
    if (wrong) {
        io_print(s, "%s\n", wrong);
        return -EINVAL;
    }
    err = io_parse_bytes(s, a->values->pdata[0], &w->offset)
          ?: io_parse_bytes(s, a->values->pdata[1], &w->bytes);
    if (err == 0 && w->bytes > IO_MAX_BYTES && !(w->flags & BDRV_REQ_NO_FALLBACK)) {
        io_print(s, "length cannot exceed %" PRId64 " without -n, given %s\n", IO_MAX_BYTES,
                 (char *)a->values->pdata[1]);
        return -EINVAL;
    }
    return err;
}

/* ---- what is written ---- */

typedef struct FileRead {
    const char *name;
    uint8_t *buf;
    size_t len, got;
} FileRead;

static int blocking_fn read_file(void *opaque)
{
    FileRead *f = opaque;
    int fd = open(f->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && f->got < f->len) {
        n = read(fd, f->buf + f->got, f->len - f->got);
        f->got += MAX(n, 0);
    }
    int err = n < 0 ? -errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

/* @buf is filled with what the file has, as often as that fits. */
static int co_main_fn fill_from_file(IoSession *s, const WriteArgs *w, uint8_t *buf)
{
    FileRead f = { .name = w->file, .buf = buf, .len = (size_t)w->bytes };
    int err = thread_pool_co_run(read_file, &f);

    if (err < 0) {
        io_complain(s, "%s: %s", w->file, g_strerror(-err));
        return err;
    }
    if (f.got == 0 && f.len > 0) {
        io_complain(s, "%s: file is empty", w->file);
        return -EINVAL;
    }
    for (size_t at = f.got; at < f.len; at += f.got) {
        memcpy(buf + at, buf, MIN(f.got, f.len - at));
    }
    return 0;
}

/* As the state of a machine. */
static int co_main_fn save_vmstate(BlockBackend *blk, const WriteArgs *w, IoVec *vec)
{
    blk_begin(blk);
    int ret = blk_bs(blk) ? bdrv_co_save_vmstate(blk_bs(blk), w->offset, w->bytes, vec)
                          : -ENOMEDIUM;
    blk_end(blk);
    return ret;
}

static int co_main_fn do_write(IoSession *s, const WriteArgs *w, uint8_t *buf)
{
    int64_t start_ns = clock_ns();
    IoVec vec;
    int ret;

    iovec_init_buf(&vec, buf, (size_t)w->bytes);
    if (w->vmstate) {
        ret = save_vmstate(s->blk, w, &vec);
    } else if (w->zero) {
        ret = blk_co_pwrite_zeroes(s->blk, NULL, w->offset, w->bytes, w->flags);
    } else {
        ret = blk_co_pwritev(s->blk, NULL, w->offset, w->bytes, &vec,
                             w->flags | (w->compress ? BDRV_REQ_WRITE_COMPRESSED : 0));
    }
    if (ret < 0) {
        return io_failed(s, "write", ret);
    }
    io_report(s, w->report, "wrote", start_ns, w->offset, w->bytes, w->bytes);
    return 0;
}

static int co_main_fn write_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    g_auto(IoArgs) a;
    WriteArgs w = { .pattern = 0xcd };

    io_args_init(&a, s, cmd, argc, argv, "bcCfnpP:qrs:uz");
    int err = parse(s, &a, &w);
    if (err < 0) {
        return err;
    }
    uint8_t *buf = NULL;
    if (!w.zero) {
        buf = io_buffer_new(s, (size_t)w.bytes, w.pattern);
        if (!buf) {
            return -ENOMEM;
        }
    }
    err = w.file ? fill_from_file(s, &w, buf) : 0;
    err = err ?: do_write(s, &w, buf);
    io_buffer_free(s, buf);
    return err;
}

const IoCommand io_write_commands[] = {
    { .name = "write", .alias = "w", .run = write_command, .min_args = 2, .max_args = -1,
      .needs = IO_NEEDS_WRITE,
      .args = "[-bcCfnqruz] [-P pattern | -s source_file] off len",
      .summary = "writes a number of bytes at a specified offset",
      .help =
        " Example: 'write 512 1k' writes a kilobyte at 512, of the byte 0xcd.\n"
        "\n"
        " -b, -- as the state of a machine that is saved in the image, not to the disk\n"
        " -c, -- compressed\n"
        " -C, -- statistics as numbers with commas between them\n"
        " -f, -- durable once it is written\n"
        " -n, -- with -z: fail rather than write zeroes as data\n"
        " -p, -- no effect\n"
        " -P, -- write this byte\n"
        " -q, -- quiet mode, do not show I/O statistics\n"
        " -r, -- no effect\n"
        " -s, -- write what this file has, repeated to the length\n"
        " -u, -- with -z: the image may give back what was allocated\n"
        " -z, -- write zeroes\n" },
    { 0 },
};

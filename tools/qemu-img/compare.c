/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img compare: do two images read the same? */
#include "qemu/osdep.h"

#include "img.h"
#include "transfer.h"

enum {
    STATUS_SAME = 0,
    STATUS_DIFFERENT = 1,
    STATUS_FAILED = 2,
    STATUS_NO_ALLOCATION = 3,       /* an image does not tell where it has data */
    STATUS_NO_DATA = 4,
};

typedef struct Compare {
    BlockBackend *blk[2];
    const char *name[2];
    int64_t length[2];
    bool strict, quiet, progress;
    /* The first difference: pieces begin in order, so what lies before it has begun before.
     * INT64_MAX: none yet.  The copier's thread's. */
    int64_t different, status_differs;
    const char *failed;             /* the image that failed; NULL: none */
    int64_t failed_offset;
    int failed_errno, failed_status;
    ImgBuffers buffers;
} Compare;

static void G_GNUC_PRINTF(2, 3) say(const Compare *c, const char *fmt, ...)
{
    va_list ap;

    if (!c->quiet) {
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
    }
}

/* ---- on the copier's thread ---- */

/* The error that is told: of several the one that is first on the disk. */
static void note_failure(Compare *c, int i, int64_t offset, int status, int ret)
{
    if (!c->failed || offset < c->failed_offset) {
        c->failed = c->name[i];
        c->failed_offset = offset;
        c->failed_status = status;
        c->failed_errno = -ret;
    }
}

/* BDRV_BLOCK_ flags of image @i from @offset on; behind its end it is zeroes. */
static int co_fn look_at(Compare *c, int i, int64_t offset, int64_t *bytes)
{
    int status;

    if (offset >= c->length[i]) {
        return BDRV_BLOCK_ZERO;
    }
    blk_begin(c->blk[i]);
    status = bdrv_co_block_status(blk_root(c->blk[i]), offset,
                                  MIN(*bytes, c->length[i] - offset), 0, bytes, NULL);
    blk_end(c->blk[i]);
    if (status < 0) {
        note_failure(c, i, offset, STATUS_NO_ALLOCATION, status);
    }
    return status < 0 || status & BDRV_BLOCK_DECIDED ? status : status | BDRV_BLOCK_ZERO;
}

static int co_fn look(void *opaque, int64_t offset, int64_t bytes, BdrvCopyKind *ret_kind,
                      int64_t *ret_bytes)
{
    Compare *c = opaque;
    int status[2];

    *ret_bytes = bytes;
    for (int i = 0; i < 2; i++) {
        status[i] = look_at(c, i, offset, ret_bytes);
        if (status[i] < 0) {
            return -ECANCELED;
        }
    }
    if (c->strict && (status[0] ^ status[1]) & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO |
                                                BDRV_BLOCK_DECIDED)) {
        c->status_differs = MIN(c->status_differs, offset);
        return -ECANCELED;
    }
    *ret_kind = status[0] & status[1] & BDRV_BLOCK_ZERO ? BDRV_COPY_NOTHING : BDRV_COPY_DATA;
    return 0;
}

/* Image @i, and zeroes behind its end. */
static int co_fn read_at(Compare *c, int i, int64_t offset, int64_t bytes, uint8_t *buf)
{
    int64_t there = CLAMP(c->length[i] - offset, 0, bytes);
    IoVec v;
    int ret = 0;

    if (there > 0) {
        iovec_init_buf(&v, buf, there);
        ret = blk_co_preadv(c->blk[i], NULL, offset, there, &v);
    }
    memset(buf + there, 0, bytes - there);
    if (ret < 0) {
        note_failure(c, i, offset, STATUS_NO_DATA, ret);
    }
    return ret;
}

static int64_t first_difference(const uint8_t *a, const uint8_t *b, int64_t bytes)
{
    int64_t i = 0;

    for (; bytes - i >= 4096 && memcmp(a + i, b + i, 4096) == 0; i += 4096) {
    }
    while (i < bytes && a[i] == b[i]) {
        i++;
    }
    return i;
}

static int co_fn compare_piece(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    Compare *c = opaque;
    int ret = 0;

    if (piece->kind == BDRV_COPY_NOTHING) {
        return 0;
    }
    uint8_t *buf = img_buffers_get(&c->buffers, 2 * piece->bytes);
    if (!buf) {
        return -ENOMEM;
    }
    for (int i = 0; i < 2 && ret == 0; i++) {
        ret = read_at(c, i, piece->offset, piece->bytes, buf + i * piece->bytes);
    }
    if (ret == 0 && memcmp(buf, buf + piece->bytes, piece->bytes) != 0) {
        c->different = MIN(c->different, piece->offset +
                           first_difference(buf, buf + piece->bytes, piece->bytes));
        ret = -ECANCELED;           /* nothing behind that matters */
    }
    img_buffers_put(&c->buffers, buf, 2 * piece->bytes);
    return c->failed && ret < 0 ? -ECANCELED : ret;
}

/* ---- the result ---- */

static int failure(const Compare *c)
{
    if (c->failed_status == STATUS_NO_ALLOCATION) {
        tool_error("Sector allocation test failed for %s", c->failed);
    } else {
        tool_error("Error while reading offset %" PRId64 " of %s: %s", c->failed_offset,
                   c->failed, strerror(c->failed_errno));
    }
    return c->failed_status;
}

static int co_main_fn compare(Compare *c)
{
    static const BdrvCopyOps ops = { .co_look = look, .co_copy = compare_piece };
    ImgTransfer t = {
        .ops = &ops, .opaque = c, .length = MAX(c->length[0], c->length[1]),
        .progress = c->progress, .silent_error = ECANCELED,
    };

    if (c->length[0] != c->length[1]) {
        if (c->strict) {
            say(c, "Strict mode: Image size mismatch!\n");
            return STATUS_DIFFERENT;
        }
        say(c, "Warning: Image size mismatch!\n");
    }
    bool ok = t.length == 0 || img_transfer(&t);
    img_buffers_clear(&c->buffers);
    if (c->failed && c->failed_offset < MIN(c->status_differs, c->different)) {
        return failure(c);
    }
    if (c->status_differs < c->different) {
        say(c, "Strict mode: Offset %" PRId64 " block status mismatch!\n", c->status_differs);
        return STATUS_DIFFERENT;
    }
    if (c->different != INT64_MAX) {
        say(c, "Content mismatch at offset %" PRId64 "!\n", c->different);
        return STATUS_DIFFERENT;
    }
    if (!ok) {
        return STATUS_FAILED;
    }
    say(c, "Images are identical.\n");
    return STATUS_SAME;
}

int co_main_fn img_compare(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    ToolImage image[2] = { { 0 } };
    Compare c = { .different = INT64_MAX, .status_differs = INT64_MAX };
    int opt, status = STATUS_FAILED;

    while ((opt = img_next_option(argc, argv, ":hf:F:T:pqsU", longopts)) != -1) {
        switch (opt) {
        case 'f':
        case 'F':
            image[opt == 'F'].format = optarg;
            break;
        case 'T':
            image[0].cache = image[1].cache = img_cache_arg("source cache", optarg);
            break;
        case 'p':
            c.progress = true;
            break;
        case 'q':
            c.quiet = true;
            break;
        case 's':
            c.strict = true;
            break;
        case 'U':
            image[0].force_share = image[1].force_share = true;
            break;
        case IMG_OPT_IMAGE_OPTS:
            image[0].image_opts = image[1].image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
    if (optind != argc - 2) {
        img_usage_error("Expecting two image file names");
    }
    for (int i = 0; i < 2; i++) {
        Error *err = NULL;
        image[i].name = c.name[i] = argv[optind + i];
        img_check_naming(&image[i]);
        c.blk[i] = tool_open(&image[i], &err);
        if (!c.blk[i]) {
            img_fail(err);
            goto out;
        }
        c.length[i] = blk_length(c.blk[i]);
    }
    status = compare(&c);
out:
    tool_close(c.blk[1]);
    tool_close(c.blk[0]);
    return status;
}

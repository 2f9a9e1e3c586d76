/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img measure: how much room a new image would take. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "create-options.h"
#include "qobject/json.h"

typedef struct Measure {
    ToolImage image;                /* without a name: @size counts */
    const char *format, *snapshot;
    char *options;
    int64_t size;                   /* -1: not given */
    ImgOutput output;
} Measure;

typedef struct Room {
    uint64_t required, full;        /* bytes: for what is there, for a disk without holes */
    bool has_bitmaps;
    uint64_t bitmaps;
} Room;

/* ---- of the source ---- */

/* Bytes of the @unit-sized units of @blk that have data in them. */
static bool co_main_fn count_data(BlockBackend *blk, int64_t unit, uint64_t *ret)
{
    int64_t length = blk_length(blk), counted_to = 0;

    *ret = 0;
    for (int64_t pos = 0, n; pos < length; pos += n) {
        int depth;
        int status = blk_co_block_status(blk, NULL, pos, length - pos, &n, &depth);

        if (status < 0) {
            tool_error("Unable to get block status: %s", strerror(-status));
            return false;
        }
        if (status & BDRV_BLOCK_DECIDED && !(status & BDRV_BLOCK_ZERO)) {
            int64_t start = MAX(counted_to, ROUND_DOWN(pos, unit)), end = ROUND_UP(pos + n, unit);
            *ret += MAX(end - start, 0);
            counted_to = end;
        }
    }
    return true;
}

static uint64_t main_fn count_bitmaps(BlockDriverState *bs, int64_t cluster)
{
    uint64_t bytes = 0, directory = 0;

    for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL); b;
         b = bdrv_next_dirty_bitmap(bs, b)) {
        if (bdrv_dirty_bitmap_persistent(b) && !bdrv_dirty_bitmap_inconsistent(b)) {
            uint64_t bits = DIV_ROUND_UP(bdrv_length(bs), bdrv_dirty_bitmap_granularity(b));
            uint64_t clusters = DIV_ROUND_UP(DIV_ROUND_UP(bits, 8), cluster);
            bytes += clusters * cluster + ROUND_UP(clusters * 8, cluster);
            directory += ROUND_UP(24 + strlen(bdrv_dirty_bitmap_name(b)), 8);
        }
    }
    return bytes + ROUND_UP(directory, cluster);
}

/* ---- of the target ---- */

static bool co_main_fn measure_qcow2(const BdrvCreateOptions *opts, BlockBackend *blk, Room *r)
{
    int64_t cluster = opts->u.qcow2.cluster_size;
    uint64_t metadata, data = 0;
    Error *err = NULL;

    if (!qcow2_measure(opts, &metadata, &err)) {
        img_fail(err);
        return false;
    }
    if (opts->preallocation >= BDRV_PREALLOC_FALLOC || opts->u.qcow2.backing_file) {
        data = ROUND_UP(opts->size, cluster);
    } else if (blk && !count_data(blk, cluster, &data)) {
        return false;
    }
    r->required = metadata + data;
    r->full = metadata + ROUND_UP(opts->size, cluster);
    r->has_bitmaps = blk && blk_bs(blk)->drv->can_store_bitmap && opts->u.qcow2.version >= 3;
    r->bitmaps = r->has_bitmaps ? count_bitmaps(blk_bs(blk), cluster) : 0;
    return true;
}

static bool co_main_fn measure(const Measure *m, BlockBackend *blk, const ImgOptions *o, Room *r)
{
    BdrvCreateOptions opts;
    Error *err = NULL;

    if (!img_options_to_create(o, &opts, &err)) {
        img_fail(err);
        return false;
    }
    opts.size = blk ? blk_length(blk) : m->size;
    if (opts.size > INT64_MAX - 511) {
        tool_error("The image size is too large (try using a larger cluster size)");
        return false;
    }
    opts.size = ROUND_UP(opts.size, 512);
    if (strcmp(m->format, "qcow2") == 0) {
        return measure_qcow2(&opts, blk, r);
    }
    r->required = r->full = opts.size;
    return true;
}

static void print(const Measure *m, const Room *r)
{
    if (m->output == IMG_OUTPUT_JSON) {
        QDict *dict = qdict_new();
        if (r->has_bitmaps) {
            qdict_put_int(dict, "bitmaps", r->bitmaps);
        }
        qdict_put_int(dict, "required", r->required);
        qdict_put_int(dict, "fully-allocated", r->full);
        img_print_json(QOBJECT(dict));
        return;
    }
    printf("required size: %" PRIu64 "\n", r->required);
    printf("fully allocated size: %" PRIu64 "\n", r->full);
    if (r->has_bitmaps) {
        printf("bitmaps size: %" PRIu64 "\n", r->bitmaps);
    }
}

/* ---- the command ---- */

static void co_main_fn parse(int argc, char **argv, Measure *m)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "output", required_argument, NULL, IMG_OPT_OUTPUT },
        { "size", required_argument, NULL, IMG_OPT_SIZE },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:l:o:O:U", longopts)) != -1) {
        switch (opt) {
        case 'f':
            m->image.format = optarg;
            break;
        case 'l':
            m->snapshot = optarg;
            break;
        case 'o':
            if (!img_options_is_list(optarg)) {
                tool_error("Invalid option list: %s", optarg);
                exit(1);
            }
            m->options = img_options_join(m->options, optarg);
            break;
        case 'O':
            m->format = optarg;
            break;
        case 'U':
            m->image.force_share = true;
            break;
        case IMG_OPT_OUTPUT:
            m->output = img_output_arg(optarg);
            break;
        case IMG_OPT_SIZE:
            m->size = img_size_arg("image size", optarg, 0, INT64_MAX);
            break;
        case IMG_OPT_IMAGE_OPTS:
            m->image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
}

static void check_args(int argc, char **argv, Measure *m)
{
    const char *wrong = NULL;

    if (argc - optind > 1) {
        wrong = "At most one filename argument is allowed.";
    } else if (argc - optind == 1) {
        m->image.name = argv[optind];
    }
    if (!wrong && !m->image.name && (m->image.image_opts || m->image.format || m->snapshot)) {
        wrong = "--image-opts, -f, and -l require a filename argument.";
    } else if (!wrong && !m->image.name && m->size < 0) {
        wrong = "Either --size N or one filename must be specified.";
    } else if (!wrong && m->image.name && m->size >= 0) {
        wrong = "--size N cannot be used together with a filename.";
    }
    if (wrong) {
        tool_error("%s", wrong);
        exit(1);
    }
    img_check_naming(&m->image);
}

int co_main_fn img_measure(int argc, char **argv)
{
    Measure m = { .format = "raw", .size = -1 };
    BlockBackend *blk = NULL;
    Error *err = NULL;
    Room room = { 0 };

    parse(argc, argv, &m);
    check_args(argc, argv, &m);
    g_autofree char *options = m.options;
    g_autoptr(ImgOptions) o = img_options_new(m.format, true, &err);
    if (!o) {
        return img_fail(err);
    }
    if (options && !img_options_parse(o, options, &err)) {
        img_fail(err);
        tool_error("Invalid options for file format '%s'", m.format);
        return 1;
    }
    if (m.image.name) {
        blk = img_open_source(&m.image, m.snapshot, &err);
        if (!blk) {
            return img_fail(err);
        }
    }
    bool ok = measure(&m, blk, o, &room);
    tool_close(blk);
    if (ok) {
        print(&m, &room);
    }
    return ok ? 0 : 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img map: which image of a chain holds what, and where. */
#include "qemu/osdep.h"

#include "chain.h"
#include "map.h"
#include "qobject/json.h"

typedef struct MapArgs {
    ToolImage image;
    ImgOutput output;
    const char *picture;            /* IMG_OUTPUT_PNG: where to */
    int64_t start, max_length;      /* @max_length -1: to the end */
} MapArgs;

/* Where the disk's part ends that is asked for. */
static int64_t end_of(const MapArgs *a, int64_t length)
{
    return a->max_length < 0 ? length
                             : MIN(length, a->start + MIN(a->max_length, INT64_MAX - a->start));
}

/* ---- looking ---- */

/* How many images down the last one is that reaches as far as @start; *@ret_bytes: where this ends
 * to be true. */
static int main_fn deepest_at(BlockDriverState *bs, int64_t start, int64_t *ret_bytes)
{
    for (int depth = 0; ; depth++) {
        while (bs->drv->is_filter && bs->file) {
            bs = bs->file->bs;
        }
        int64_t length = bdrv_length(bs);
        *ret_bytes = MIN(*ret_bytes, MAX(length - start, 1));
        if (!bs->backing || bdrv_length(bs->backing->bs) <= start) {
            return depth;
        }
        bs = bs->backing->bs;
    }
}

int co_main_fn img_map_look(BlockBackend *blk, int64_t start, int64_t bytes, MapStretch *ret)
{
    BdrvPlace place = { 0 };
    int64_t n;
    int depth;

    blk_begin(blk);
    int status = bdrv_co_block_place(blk_root(blk), start, bytes, &n, &depth, &place);
    blk_end(blk);
    if (status < 0) {
        return status;
    }
    bool present = status & BDRV_BLOCK_DECIDED;
    if (!present) {
        depth = deepest_at(blk_bs(blk), start, &n);
    }
    *ret = (MapStretch){
        .start = start, .length = n, .depth = depth, .present = present,
        .zero = !present || status & BDRV_BLOCK_ZERO, .compressed = place.compressed,
        .data = present && status & BDRV_BLOCK_DATA && !(status & BDRV_BLOCK_ZERO),
        .file = present ? place.file : NULL, .offset = place.host_offset,
    };
    return 0;
}

static bool continues(const MapStretch *a, const MapStretch *b)
{
    return a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
           a->data == b->data && a->compressed == b->compressed && a->file == b->file &&
           (!a->file || a->offset + a->length == b->offset);
}

/* ---- printing ---- */

/* False: it cannot be said in this form. */
static bool print_human(const MapStretch *s)
{
    if (s->data && !s->file) {
        tool_error("File contains external, encrypted or compressed clusters.");
        return false;
    }
    if (s->data && !s->zero) {
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", (uint64_t)s->start,
               (uint64_t)s->length, (uint64_t)s->offset, s->file->filename);
    }
    return true;
}

static void print_json(const MapStretch *s, bool last)
{
    static const char *const words[] = { "false", "true" };

    printf("{ \"start\": %" PRId64 ", \"length\": %" PRId64 ", \"depth\": %d, \"present\": %s, "
           "\"zero\": %s, \"data\": %s, \"compressed\": %s", s->start, s->length, s->depth,
           words[s->present], words[s->zero], words[s->data], words[s->compressed]);
    if (s->file) {
        printf(", \"offset\": %" PRId64, s->offset);
    }
    puts(last ? "}]" : "},");
}

static bool print(const MapArgs *a, const MapStretch *s, bool last)
{
    if (a->output == IMG_OUTPUT_JSON) {
        print_json(s, last);
        return true;
    }
    return print_human(s);
}

/* ---- the work ---- */

static int co_main_fn map(const MapArgs *a, BlockBackend *blk)
{
    int64_t end = end_of(a, blk_length(blk)), pos = a->start;
    MapStretch current = { 0 }, next;

    if (a->output == IMG_OUTPUT_JSON) {
        putchar('[');
    } else {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    for (; pos < end; pos += next.length) {
        int ret = img_map_look(blk, pos, end - pos, &next);
        if (ret < 0) {
            tool_error("Failed to read image metadata: %s", strerror(-ret));
            return 1;
        }
        if (current.length && continues(&current, &next)) {
            current.length += next.length;
            continue;
        }
        if (current.length && !print(a, &current, false)) {
            return 1;
        }
        current = next;
    }
    if (current.length) {
        return print(a, &current, true) ? 0 : 1;
    }
    if (a->output == IMG_OUTPUT_JSON) {
        puts("]");
    }
    return 0;
}

static int co_main_fn draw(const MapArgs *a, BlockBackend *blk)
{
    int64_t end = end_of(a, blk_length(blk));
    MapCells cells = { 0 };
    Error *err = NULL;
    bool ok = img_map_collect(blk, a->start, MAX(end - a->start, 0), &cells);

    if (ok && !img_map_draw(&cells, a->picture, &err)) {
        img_fail(err);
        ok = false;
    }
    img_map_cells_clear(&cells);
    return ok ? 0 : 1;
}

int co_main_fn img_map(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "format", required_argument, NULL, 'f' },
        { "output", required_argument, NULL, IMG_OPT_OUTPUT },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' },
        { "start-offset", required_argument, NULL, 's' },
        { "max-length", required_argument, NULL, 'l' }, { 0 },
    };
    MapArgs a = { .max_length = -1 };
    Error *err = NULL;
    int opt;

    while ((opt = img_next_option(argc, argv, ":f:s:l:hU", longopts)) != -1) {
        switch (opt) {
        case 'f':
            a.image.format = optarg;
            break;
        case 'U':
            a.image.force_share = true;
            break;
        case 's':
            a.start = img_size_arg("start offset", optarg, 0, INT64_MAX);
            break;
        case 'l':
            a.max_length = img_size_arg("max length", optarg, 0, INT64_MAX);
            break;
        case IMG_OPT_OUTPUT:
            a.output = img_output_or_picture_arg(optarg, false);
            break;
        case IMG_OPT_IMAGE_OPTS:
            a.image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
    a.picture = a.output == IMG_OUTPUT_PNG ? img_picture_arg(argc, argv) : NULL;
    a.image.name = img_only_filename(argc, argv);
    img_check_naming(&a.image);
    BlockBackend *blk = tool_open(&a.image, &err);
    if (!blk) {
        return img_fail(err);
    }
    int status = a.picture ? draw(&a, blk) : map(&a, blk);
    tool_close(blk);
    return status;
}

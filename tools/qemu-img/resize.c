/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img resize */
#include "qemu/osdep.h"

#include "img.h"

typedef struct Resize {
    ToolImage image;
    const char *size;               /* as it was given: "4G", "+1G", "-1G" */
    BdrvPrealloc preallocation;
    bool quiet, shrink;
} Resize;

/* @text, relative to @current if it has a sign. */
static bool new_size(const char *text, int64_t current, int64_t *ret)
{
    int sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
    uint64_t value;

    if (!keyval_parse_size(text + !!sign, &value, NULL)) {
        tool_error("Parameter 'size' expects a non-negative number below 2^64\n"
                   "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                   "and exabytes, respectively.");
        return false;
    }
    bool fits = value <= INT64_MAX &&
                !__builtin_add_overflow(sign ? current : 0, sign < 0 ? -(int64_t)value
                                                                     : (int64_t)value, ret);
    if (!fits || *ret <= 0) {
        tool_error("New image size must be positive");
        return false;
    }
    return true;
}

static bool co_main_fn resize(const Resize *r, BlockBackend *blk)
{
    int64_t current = blk_length(blk), wanted;
    Error *err = NULL;

    if (!new_size(r->size, current, &wanted)) {
        return false;
    }
    if (wanted <= current && r->preallocation != BDRV_PREALLOC_OFF) {
        tool_error("Preallocation can only be used for growing images");
        return false;
    }
    if (wanted < current && !r->shrink) {
        tool_error("Use the --shrink option to perform a shrink operation.");
        tool_error("warning: Shrinking an image will delete all data beyond the shrunken image's "
                   "end. Before performing such an operation, make sure there is no important "
                   "data there.");
        return false;
    }
    blk_begin(blk);
    bool ok = bdrv_co_truncate(blk_root(blk), wanted, r->preallocation, &err);
    blk_end(blk);
    if (!ok) {
        img_fail(err);
        return false;
    }
    if (!r->quiet) {
        printf("Image resized.\n");
    }
    return true;
}

static void co_main_fn parse(int argc, char **argv, Resize *r)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "preallocation", required_argument, NULL, IMG_OPT_PREALLOCATION },
        { "shrink", no_argument, NULL, IMG_OPT_SHRINK }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":f:hq", longopts)) != -1) {
        switch (opt) {
        case 'f':
            r->image.format = optarg;
            break;
        case 'q':
            r->quiet = true;
            break;
        case IMG_OPT_SHRINK:
            r->shrink = true;
            break;
        case IMG_OPT_PREALLOCATION:
            if (!tool_parse_prealloc(optarg, &r->preallocation, NULL)) {
                tool_error("Invalid preallocation mode '%s'", optarg);
                exit(1);
            }
            break;
        case IMG_OPT_IMAGE_OPTS:
            r->image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
}

int co_main_fn img_resize(int argc, char **argv)
{
    Resize r = { .image.writable = true, .image.resize = true };
    Error *err = NULL;

    /* "-1G" at the end is a size and no option. */
    if (argc < 3) {
        img_usage_error("Not enough arguments");
    }
    r.size = argv[--argc];
    parse(argc, argv, &r);
    r.image.name = img_only_filename(argc, argv);
    img_check_naming(&r.image);
    BlockBackend *blk = tool_open(&r.image, &err);
    if (!blk) {
        return img_fail(err);
    }
    bool ok = resize(&r, blk);
    return tool_close(blk) && ok ? 0 : 1;
}

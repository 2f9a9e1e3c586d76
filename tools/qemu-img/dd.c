/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img dd: convert, by another command line, of a part of an image. */
#include "qemu/osdep.h"

#include "convert.h"
#include "make.h"

typedef struct Dd {
    ToolImage in, out;
    int64_t bs, count, skip;        /* bytes, blocks, blocks; @count -1: to the end */
} Dd;

/* `name=value` operands. */
static void take_operand(Dd *d, const char *arg)
{
    size_t n = strcspn(arg, "=");
    g_autofree char *name = g_strndup(arg, n);
    const char *value = arg[n] ? arg + n + 1 : NULL;

    if (value && strcmp(name, "if") == 0) {
        d->in.name = value;
    } else if (value && strcmp(name, "of") == 0) {
        d->out.name = value;
    } else if (value && strcmp(name, "bs") == 0) {
        d->bs = img_size_arg("bs", value, 1, INT_MAX);
    } else if (value && strcmp(name, "count") == 0) {
        d->count = img_size_arg("count", value, 0, INT64_MAX);
    } else if (value && strcmp(name, "skip") == 0) {
        d->skip = img_size_arg("skip", value, 0, INT64_MAX);
    } else {
        tool_error("unrecognized operand %s", name);
        exit(1);
    }
}

static void co_main_fn parse(int argc, char **argv, Dd *d)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:O:U", longopts)) != -1) {
        switch (opt) {
        case 'f':
            d->in.format = optarg;
            break;
        case 'O':
            d->out.format = optarg;
            break;
        case 'U':
            d->in.force_share = true;
            break;
        case IMG_OPT_IMAGE_OPTS:
            d->in.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
    while (optind < argc) {
        take_operand(d, argv[optind++]);
    }
    if (!d->in.name || !d->out.name) {
        tool_error("Must specify both input and output files");
        exit(1);
    }
    img_check_naming(&d->in);
}

/* The part of a disk of @length bytes that is meant: from *@ret_start on; returns its length. */
static int64_t part(const Dd *d, int64_t length, int64_t *ret_start)
{
    int64_t end = length, bytes;

    if (d->count >= 0 && !__builtin_mul_overflow(d->count, d->bs, &bytes)) {
        end = MIN(end, bytes);      /* counted from the beginning of the disk, as QEMU does */
    }
    if (__builtin_mul_overflow(d->skip, d->bs, ret_start) || *ret_start > end) {
        tool_error("%s: cannot skip to specified offset", d->in.name);
        *ret_start = end;
    }
    return end - *ret_start;
}

static bool co_main_fn make(const Dd *d, int64_t size, Error **errp)
{
    g_autoptr(ImgOptions) o = img_options_new(d->out.format, true, errp);
    g_autofree char *text = g_strdup_printf("%" PRId64, size);

    if (!o || !img_options_set(o, "size", text, errp) ||
        !img_make(d->out.name, d->out.format, o, errp)) {
        error_prepend(errp, "%s: error while creating output image of type '%s': ", d->out.name,
                      d->out.format);
        return false;
    }
    return true;
}

static bool co_main_fn copy(const Dd *d, BlockBackend *in, int64_t start, int64_t bytes)
{
    int64_t end = bytes;
    Error *err = NULL;
    Convert c = {
        .sources = &in, .ends = &end, .n_sources = 1, .start = start, .length = bytes,
        .target = tool_open(&d->out, &err), .target_name = d->out.name, .sparse = 4096,
        .target_is_zero = true, .backing_length = -1,
    };

    if (!c.target) {
        img_fail(err);
        return false;
    }
    bool ok = img_convert_copy(&c);
    return tool_close(c.target) && ok;
}

int co_main_fn img_dd(int argc, char **argv)
{
    Dd d = { .bs = 512, .count = -1, .out.format = "raw", .out.writable = true };
    Error *err = NULL;
    int64_t start;

    parse(argc, argv, &d);
    BlockBackend *in = tool_open(&d.in, &err);
    if (!in) {
        return img_fail(err);
    }
    int64_t bytes = part(&d, blk_length(in), &start);
    bool ok = make(&d, bytes, &err);
    if (!ok) {
        img_fail(err);
    }
    ok = ok && copy(&d, in, start, bytes);
    tool_close(in);
    return ok ? 0 : 1;
}

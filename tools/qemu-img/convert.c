/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img convert: the command line, and what has to be true before anything is copied. */
#include "qemu/osdep.h"

#include "convert.h"
#include "make.h"

#define MAX_SPARSE (16 * MiB)
#define DEFAULT_SPARSE 4096

typedef struct ConvertArgs {
    ToolImage source, target;
    const char **sources;
    size_t n_sources;
    const char *snapshot;
    const char *backing, *backing_format;
    char *options;
    ImgOptions *create;             /* NULL: the target exists */
    bool skip_create, target_is_zero, bitmaps, skip_broken, offload, has_sparse;
    Convert c;
} ConvertArgs;

/* ---- the command line ---- */

static int64_t sparse_arg(const char *arg)
{
    int64_t value = img_size_arg("buffer size for sparse output", arg, 0, INT64_MAX);

    if (value % 512 || value > MAX_SPARSE) {
        tool_error("Invalid buffer size for sparse output specified. Valid sizes are multiples of "
                   "512 up to %" PRId64 ". Select 0 to disable sparse detection (fully allocates "
                   "output).", (int64_t)MAX_SPARSE);
        exit(1);
    }
    return value;
}

static int coroutines_arg(const char *arg)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(arg, 10, 1, 16, &value, NULL)) {
        tool_error("Invalid number of coroutines. Allowed number of coroutines is between 1 and "
                   "16");
        exit(1);
    }
    return value;
}

static bool take_long_option(ConvertArgs *a, int opt)
{
    switch (opt) {
    case IMG_OPT_IMAGE_OPTS:
        a->source.image_opts = true;
        return true;
    case IMG_OPT_TARGET_IMAGE_OPTS:
        a->target.image_opts = true;
        return true;
    case IMG_OPT_TARGET_IS_ZERO:
        a->target_is_zero = true;
        return true;
    case IMG_OPT_BITMAPS:
        a->bitmaps = true;
        return true;
    case IMG_OPT_SKIP_BROKEN:
        a->skip_broken = true;
        return true;
    case IMG_OPT_SALVAGE:
        a->c.salvage = true;
        return true;
    default:
        return false;
    }
}

static void add_options(ConvertArgs *a, const char *list)
{
    if (!img_options_is_list(list)) {
        tool_error("Invalid option list: %s", list);
        exit(1);
    }
    a->options = img_options_join(a->options, list);
}

static void take_option(ConvertArgs *a, int opt)
{
    switch (opt) {
    case 'f': a->source.format = optarg; break;
    case 'O': a->target.format = optarg; break;
    case 'B': a->backing = optarg; break;
    case 'F': a->backing_format = optarg; break;
    case 'C': a->offload = true; break;
    case 'c': a->c.compress = true; break;
    case 'o': add_options(a, optarg); break;
    case 'l': a->snapshot = optarg; break;
    case 'S': a->c.sparse = sparse_arg(optarg); a->has_sparse = true; break;
    case 'p': a->c.progress = true; break;
    case 't': a->target.cache = img_cache_arg("cache", optarg); break;
    case 'T': a->source.cache = img_cache_arg("source cache", optarg); break;
    case 'q': a->c.quiet = true; break;
    case 'n': a->skip_create = true; break;
    case 'm': a->c.parallel = coroutines_arg(optarg); break;
    case 'W': a->c.any_order = true; break;
    case 'r': a->c.speed = img_size_arg("rate limit", optarg, 0, INT64_MAX); break;
    case 'U': a->source.force_share = true; break;
    }
}

static void co_main_fn parse(int argc, char **argv, ConvertArgs *a)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "source-image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "target-image-opts", no_argument, NULL, IMG_OPT_TARGET_IMAGE_OPTS },
        { "target-is-zero", no_argument, NULL, IMG_OPT_TARGET_IS_ZERO },
        { "force-share", no_argument, NULL, 'U' },
        { "salvage", no_argument, NULL, IMG_OPT_SALVAGE },
        { "bitmaps", no_argument, NULL, IMG_OPT_BITMAPS },
        { "skip-broken-bitmaps", no_argument, NULL, IMG_OPT_SKIP_BROKEN },
        { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:O:B:CcF:o:l:S:pt:T:qnm:WUr:", longopts)) != -1) {
        if (opt == IMG_OPT_OBJECT) {
            img_add_object(optarg);
        } else if (!take_long_option(a, opt)) {
            take_option(a, opt);
        }
    }
}

/* What goes together; ends the program with what does not. */
static void check_args(const ConvertArgs *a)
{
    const char *wrong =
        a->skip_broken && !a->bitmaps
            ? "Use of --skip-broken-bitmaps requires --bitmaps" :
        a->target.image_opts && !a->skip_create
            ? "--target-image-opts requires use of -n flag" :
        a->skip_create && a->options
            ? "-o has no effect when skipping image creation" :
        a->offload && a->c.compress
            ? "Cannot enable copy offloading when -c is used" :
        a->offload && a->has_sparse
            ? "Cannot enable copy offloading when -S is used" :
        a->offload && a->c.salvage
            ? "Cannot use copy offloading in salvaging mode" :
        a->target_is_zero && !a->skip_create
            ? "--target-is-zero requires use of -n flag" :
        a->target_is_zero && a->backing
            ? "Cannot use --target-is-zero when the destination image has a backing file" :
        a->n_sources > 1 && a->bitmaps
            ? "Copying bitmaps only possible with single source" : NULL;

    if (a->n_sources < 1 || !a->target.name) {
        tool_error("Must specify image file name");
        exit(1);
    }
    if (wrong) {
        tool_error("%s", wrong);
        exit(1);
    }
    img_check_naming(&a->source);
    if (a->target.image_opts && a->target.format) {
        tool_error("--target-image-opts and --format are mutually exclusive");
        exit(1);
    }
}

/* ---- sources ---- */

static bool co_main_fn open_sources(ConvertArgs *a)
{
    Convert *c = &a->c;

    c->sources = g_new0(BlockBackend *, a->n_sources);
    c->ends = g_new0(int64_t, a->n_sources);
    for (size_t i = 0; i < a->n_sources; i++) {
        ToolImage image = a->source;
        Error *err = NULL;

        image.name = a->sources[i];
        c->sources[i] = img_open_source(&image, a->snapshot, &err);
        if (!c->sources[i]) {
            img_fail(err);
            return false;
        }
        c->n_sources = i + 1;
        c->length += blk_length(c->sources[i]);
        c->ends[i] = c->length;
    }
    return true;
}

/* ---- the target ---- */

/* What is asked of the new image can be done. */
static bool main_fn prepare_options(ConvertArgs *a, Error **errp)
{
    g_autofree char *size = NULL;

    a->create = img_options_new(a->target.format, true, errp);
    if (!a->create || (a->options && !img_options_parse(a->create, a->options, errp))) {
        return false;
    }
    size = g_strdup_printf("%" PRId64, a->c.length);
    if (!img_options_has(a->create, "size") &&
        !img_options_set(a->create, "size", size, errp)) {
        return false;
    }
    if (a->backing && !img_options_set(a->create, "backing_file", a->backing, NULL)) {
        error_setg(errp, "Backing file not supported for file format '%s'", a->target.format);
        return false;
    }
    if (a->backing_format &&
        !img_options_set(a->create, "backing_fmt", a->backing_format, NULL)) {
        error_setg(errp, "Backing format not supported for file format '%s'", a->target.format);
        return false;
    }
    return true;
}

static bool main_fn check_options(ConvertArgs *a, Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver(a->target.format);
    const char *backing = img_options_get(a->create, "backing_file");
    const char *prealloc = img_options_get(a->create, "preallocation");

    if (backing && a->n_sources > 1) {
        error_setg(errp, "Having a backing file for the target makes no sense when concatenating "
                   "multiple input images");
    } else if (backing && !img_options_get(a->create, "backing_fmt")) {
        error_setg(errp, "Use of backing file requires explicit backing format");
    } else if (a->c.compress && !drv->co_write_compressed) {
        error_setg(errp, "Compression not supported for this file format");
    } else if (a->c.compress && prealloc && strcmp(prealloc, "off") != 0) {
        error_setg(errp, "Compression and preallocation not supported at the same time");
    } else if (a->bitmaps && !drv->can_store_bitmap) {
        error_setg(errp, "Format driver '%s' does not support bitmaps", a->target.format);
    } else if (a->bitmaps && !blk_bs(a->c.sources[0])->drv->can_store_bitmap) {
        error_setg(errp, "Source lacks bitmap support");
    } else {
        return true;
    }
    return false;
}

/* The driver that -O names, or an error that says there is none. */
static bool main_fn prepare_target(ConvertArgs *a)
{
    Error *err = NULL;

    if (!a->skip_create && !a->target.format) {
        a->target.format = "raw";
    }
    if (!a->skip_create && (!prepare_options(a, &err) || !check_options(a, &err))) {
        img_fail(err);
        return false;
    }
    if (a->bitmaps && !img_check_bitmaps(a->c.sources[0], a->skip_broken, &err)) {
        img_fail(err);
        return false;
    }
    return true;
}

static bool co_main_fn make_target(ConvertArgs *a)
{
    Error *err = NULL;

    if (a->create && !img_make(a->target.name, a->target.format, a->create, &err)) {
        error_prepend(&err, "%s: error while converting %s: ", a->target.name, a->target.format);
        img_fail(err);
        return false;
    }
    return true;
}

/* How long what the target's backing file has is; -1: it has none. */
static int64_t main_fn backing_length(const ConvertArgs *a)
{
    BlockDriverState *bs = blk_bs(a->c.target);

    return bs->backing && a->create ? bdrv_length(bs->backing->bs) : -1;
}

static bool co_main_fn open_target(ConvertArgs *a)
{
    Error *err = NULL;
    Convert *c = &a->c;

    a->target.writable = true;
    a->target.resize = false;
    a->target.may_guess_raw = false;
    a->target.discard = c->sparse > 0;
    c->target = tool_open(&a->target, &err);
    if (!c->target) {
        img_fail(err);
        return false;
    }
    if (blk_length(c->target) < c->length) {
        if (!a->create) {
            tool_error("output file is smaller than input file");
        } else {
            tool_error("output file '%s' is smaller than input file", a->target.name);
        }
        return false;
    }
    if (c->compress && !blk_bs(c->target)->limits.compress_unit) {
        tool_error("Compression not supported for this file format");
        return false;
    }
    c->target_name = a->target.name;
    c->backing_length = backing_length(a);
    BlockDriverState *bs = blk_bs(c->target);
    c->target_is_zero = a->target_is_zero ||
                        (a->create && (!bs->drv->shows_file || bdrv_truncated_is_zero(bs)));
    return true;
}

/* ---- the whole ---- */

static bool co_main_fn finish(ConvertArgs *a)
{
    Error *err = NULL;

    if (a->bitmaps &&
        !img_copy_bitmaps(a->c.sources[0], a->c.target, a->skip_broken, &err)) {
        img_fail(err);
        return false;
    }
    int ret = blk_co_flush(a->c.target, NULL);
    if (ret < 0) {
        tool_error("error while writing '%s': %s", a->target.name, strerror(-ret));
    }
    return ret == 0;
}

static int co_main_fn convert(ConvertArgs *a)
{
    bool ok = open_sources(a) && prepare_target(a) && make_target(a) && open_target(a) &&
              img_convert_copy(&a->c) && finish(a);

    ok = tool_close(a->c.target) && ok;
    for (size_t i = 0; i < a->c.n_sources; i++) {
        tool_close(a->c.sources[i]);
    }
    img_options_free(a->create);
    g_free(a->c.sources);
    g_free(a->c.ends);
    return ok ? 0 : 1;
}

static int print_help(const ConvertArgs *a)
{
    Error *err = NULL;
    g_autoptr(ImgOptions) o = img_options_new(a->target.format ?: "raw", a->target.name != NULL,
                                              &err);

    if (!o) {
        return img_fail(err);
    }
    img_options_print_help(o, false);
    return 0;
}

int co_main_fn img_convert(int argc, char **argv)
{
    ConvertArgs a = {
        .target.cache.no_flush = true,
        .c = { .sparse = DEFAULT_SPARSE, .backing_length = -1 },
    };

    parse(argc, argv, &a);
    if (optind < argc) {
        a.target.name = argv[argc - 1];
        a.sources = (const char **)argv + optind;
        a.n_sources = argc - optind - 1;
    }
    int status;
    if (a.options && img_options_wants_help(a.options)) {
        status = print_help(&a);
    } else {
        check_args(&a);
        status = convert(&a);
    }
    g_free(a.options);
    return status;
}

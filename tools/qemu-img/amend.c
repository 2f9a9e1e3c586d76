/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img amend: other options for an image that exists. */
#include "qemu/osdep.h"

#include "block/amend.h"
#include "create-options.h"

typedef struct Amend {
    ToolImage image;
    char *options;
    bool quiet, show_progress;
    BdrvCheckProgress progress;
    ImgProgress *shown;
} Amend;

static bool step(BdrvCheckProgress *progress, uint64_t done, uint64_t total)
{
    Amend *a = container_of(progress, Amend, progress);

    context_assert_main();
    img_progress_set(a->shown, done, total);
    return true;
}

/* ---- options ---- */

static bool get_bool(const ImgOptions *o, const char *name, bool *ret_has)
{
    bool value = false;

    *ret_has = img_options_has(o, name);
    return *ret_has && keyval_parse_bool(img_options_get(o, name), &value) && value;
}

static bool main_fn to_amend(const ImgOptions *o, BlockBackend *blk, BdrvAmendOptions *ret,
                             Error **errp)
{
    BdrvCreateOptions create;
    const BlockDriverState *bs = blk_bs(blk);
    const char *backing = img_options_get(o, "backing_file");
    const char *format = img_options_get(o, "backing_fmt");

    if ((backing && strcmp(backing, bs->backing_file ?: "") != 0) ||
        (format && strcmp(format, bs->backing_format ?: "") != 0)) {
        error_setg(errp, "Cannot amend the backing file\n"
                   "You can use 'qemu-img rebase' instead.");
        return false;
    }
    if (!img_options_to_create(o, &create, errp)) {
        return false;
    }
    *ret = (BdrvAmendOptions){
        .version = img_options_has(o, "compat") ? create.u.qcow2.version : 0,
        .refcount_bits = img_options_has(o, "refcount_bits") ? create.u.qcow2.refcount_bits : 0,
        .data_file = img_options_has(o, "data_file") ? create.u.qcow2.data_file : NULL,
        .has_size = img_options_has(o, "size"), .size = create.size,
    };
    ret->lazy_refcounts = get_bool(o, "lazy_refcounts", &ret->has_lazy_refcounts);
    ret->data_file_raw = get_bool(o, "data_file_raw", &ret->has_data_file_raw);
    return true;
}

static bool co_main_fn amend(Amend *a, BlockBackend *blk)
{
    const char *format = blk_bs(blk)->drv->name;
    Error *err = NULL;
    BdrvAmendOptions options;

    if (strcmp(format, "qcow2") != 0) {
        tool_error("Format driver '%s' does not support option amendment", format);
        return false;
    }
    g_autoptr(ImgOptions) o = img_options_new(format, false, &err);
    if (!o || !img_options_parse_amend(o, a->options, &err) ||
        !to_amend(o, blk, &options, &err)) {
        img_fail(err);
        return false;
    }
    a->progress.step = step;
    a->shown = img_progress_new(a->show_progress);
    bdrv_graph_lock();
    bool ok = bdrv_co_amend(blk_root(blk), &options, &a->progress, &err);
    bdrv_graph_unlock();
    img_progress_end(a->shown);
    if (!ok) {
        img_fail(err);
    }
    return ok;
}

/* ---- the command ---- */

static int print_help(const char *format)
{
    Error *err = NULL;
    g_autoptr(ImgOptions) o = img_options_new(format, false, &err);

    if (!o) {
        return img_fail(err);
    }
    if (strcmp(format, "qcow2") != 0) {
        tool_error("Format driver '%s' does not support option amendment", format);
        return 1;
    }
    img_options_print_help(o, true);
    return 0;
}

static void co_main_fn parse(int argc, char **argv, Amend *a)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force", no_argument, NULL, IMG_OPT_FORCE }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":ho:f:t:pq", longopts)) != -1) {
        switch (opt) {
        case 'o':
            if (!img_options_is_list(optarg)) {
                tool_error("Invalid option list: %s", optarg);
                exit(1);
            }
            a->options = img_options_join(a->options, optarg);
            break;
        case 'f': a->image.format = optarg; break;
        case 't': a->image.cache = img_cache_arg("cache", optarg); break;
        case 'p': a->show_progress = true; break;
        case 'q': a->quiet = true; break;
        case IMG_OPT_IMAGE_OPTS: a->image.image_opts = true; break;
        case IMG_OPT_OBJECT: img_add_object(optarg); break;
        }
    }
    if (!a->options) {
        img_usage_error("Must specify options (-o)");
    }
}

int co_main_fn img_amend(int argc, char **argv)
{
    Amend a = { .image.writable = true, .image.resize = true };
    Error *err = NULL;

    parse(argc, argv, &a);
    g_autofree char *options = a.options;
    if (a.image.format && img_options_wants_help(options)) {
        return print_help(a.image.format);
    }
    a.image.name = optind == argc - 1 ? argv[argc - 1] : NULL;
    if (!a.image.name) {
        tool_error("Expecting one image file name");
        return 1;
    }
    img_check_naming(&a.image);
    BlockBackend *blk = tool_open(&a.image, &err);
    if (!blk) {
        return img_fail(err);
    }
    if (img_options_wants_help(options)) {
        int status = print_help(blk_bs(blk)->drv->name);
        tool_close(blk);
        return status;
    }
    bool ok = amend(&a, blk);
    return tool_close(blk) && ok ? 0 : 1;
}

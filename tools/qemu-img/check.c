/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img check */
#include "qemu/osdep.h"

#include "check.h"
#include "qapi/qapi-format.h"

typedef struct Check {
    BdrvCheckProgress progress;
    ImgProgress *shown;
    bool silent;
} Check;

static bool step(BdrvCheckProgress *progress, uint64_t done, uint64_t total)
{
    Check *c = container_of(progress, Check, progress);

    context_assert_main();
    img_progress_set(c->shown, done, total);
    return true;
}

static void problem(BdrvCheckProgress *progress, BdrvProblemKind kind, bool repairing,
                    const char *text)
{
    Check *c = container_of(progress, Check, progress);

    if (!c->silent) {
        g_printerr("%s %s\n", repairing ? "Repairing" : kind == BDRV_PROBLEM_LEAK ? "Leaked"
                                                                               : "ERROR", text);
    }
}

/* ---- the result ---- */

static ImageCheck *main_fn image_check(const char *name, BlockBackend *blk,
                                       const BdrvCheckResult *res)
{
    ImageCheck *check = g_new0(ImageCheck, 1);

    *check = (ImageCheck){
        .filename = g_strdup(name), .format = g_strdup(blk_bs(blk)->drv->name),
        .has_image_end_offset = res->image_end_offset, .image_end_offset = res->image_end_offset,
        .has_corruptions = res->corruptions, .corruptions = res->corruptions,
        .has_leaks = res->leaks, .leaks = res->leaks,
        .has_corruptions_fixed = res->corruptions_fixed,
        .corruptions_fixed = res->corruptions_fixed,
        .has_leaks_fixed = res->leaks_fixed, .leaks_fixed = res->leaks_fixed,
        .has_total_clusters = res->total_clusters, .total_clusters = res->total_clusters,
        .has_allocated_clusters = res->allocated_clusters,
        .allocated_clusters = res->allocated_clusters,
        .has_fragmented_clusters = res->fragmented_clusters,
        .fragmented_clusters = res->fragmented_clusters,
        .has_compressed_clusters = res->compressed_clusters,
        .compressed_clusters = res->compressed_clusters,
    };
    return check;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * part / whole : 0;
}

static void print_human(const BdrvCheckResult *res)
{
    if (res->corruptions_fixed || res->leaks_fixed) {
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
               "Double checking the fixed image now...\n",
               res->leaks_fixed, res->corruptions_fixed);
    }
    if (!res->corruptions && !res->leaks) {
        printf("No errors were found on the image.\n");
    }
    if (res->corruptions) {
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               res->corruptions);
    }
    if (res->leaks) {
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n", res->leaks);
    }
    if (res->total_clusters && res->allocated_clusters) {
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, "
               "%0.2f%% compressed clusters\n", res->allocated_clusters, res->total_clusters,
               percent(res->allocated_clusters, res->total_clusters),
               percent(res->fragmented_clusters, res->allocated_clusters),
               percent(res->compressed_clusters, res->allocated_clusters));
    }
    if (res->image_end_offset) {
        printf("Image end offset: %" PRIu64 "\n", res->image_end_offset);
    }
}

/* ---- the work ---- */

static int co_main_fn check_image(const ImgCheckArgs *a, BlockBackend *blk, QObject **ret_json)
{
    Check c = {
        .progress = { .step = step, .problem = problem },
        .silent = a->output == IMG_OUTPUT_JSON || a->quiet,
    };
    BdrvCheckResult res;
    Error *err = NULL;

    c.shown = img_progress_new(false);
    bool ok = bdrv_co_check(blk_bs(blk), a->fix, &c.progress, &res, &err);
    img_progress_end(c.shown);
    if (!ok) {
        error_prepend(&err, "Check failed: ");
        return img_fail(err);
    }
    if (a->output == IMG_OUTPUT_JSON) {
        g_autoptr(ImageCheck) check = image_check(a->image.name, blk, &res);
        *ret_json = ImageCheck_format(check);
    } else if (!a->quiet) {
        print_human(&res);
    }
    int status = res.corruptions ? IMG_CHECK_CORRUPT : res.leaks ? IMG_CHECK_LEAKS : 0;
    bdrv_check_result_clear(&res);
    return status;
}

void co_main_fn img_check_parse(int argc, char **argv, ImgCheckArgs *a)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "format", required_argument, NULL, 'f' },
        { "repair", required_argument, NULL, 'r' },
        { "output", required_argument, NULL, IMG_OPT_OUTPUT },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:r:T:qU", longopts)) != -1) {
        switch (opt) {
        case 'f':
            a->image.format = optarg;
            break;
        case 'r':
            if (strcmp(optarg, "leaks") != 0 && strcmp(optarg, "all") != 0) {
                img_usage_error("Unknown option value for -r (expecting 'leaks' or 'all'): %s",
                                optarg);
            }
            a->fix = strcmp(optarg, "all") == 0 ? BDRV_FIX_ALL : BDRV_FIX_LEAKS;
            break;
        case 'T':
            a->image.cache = img_cache_arg("source cache", optarg);
            break;
        case 'q':
            a->quiet = true;
            break;
        case 'U':
            a->image.force_share = true;
            break;
        case IMG_OPT_OUTPUT:
            a->output = img_output_arg(optarg);
            break;
        case IMG_OPT_IMAGE_OPTS:
            a->image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
}

int co_main_fn img_check_one(const ImgCheckArgs *args, QObject **ret_json)
{
    ImgCheckArgs a = *args;
    Error *err = NULL;

    *ret_json = NULL;
    a.image.for_check = true;
    a.image.no_backing = true;
    a.image.writable = a.image.resize = a.fix != BDRV_FIX_NONE;
    a.image.may_guess_raw = true;
    /* What is written meanwhile would look like errors. */
    a.image.blocks = a.image.force_share ? 0 : CLAIM_WRITE | CLAIM_RESIZE;
    BlockBackend *blk = tool_open(&a.image, &err);
    if (!blk) {
        return img_fail(err);
    }
    if (!blk_bs(blk)->drv->co_check) {
        tool_error("This image format does not support checks");
        tool_close(blk);
        return IMG_CHECK_UNSUPPORTED;
    }
    int status = check_image(&a, blk, ret_json);
    return tool_close(blk) ? status : status ?: IMG_CHECK_FAILED;
}

int co_main_fn img_check(int argc, char **argv)
{
    ImgCheckArgs a = { 0 };
    QObject *json;

    img_check_parse(argc, argv, &a);
    a.image.name = img_only_filename(argc, argv);
    img_check_naming(&a.image);
    int status = img_check_one(&a, &json);
    if (json) {
        img_print_json(json);
    }
    return status;
}

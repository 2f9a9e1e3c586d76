/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command lines of all sub-commands have in common. */
#include "qemu/osdep.h"

#include "img.h"

void img_usage_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    tool_error("%s", text);
    g_free(text);                   /* nothing is freed by exit() */
    g_printerr("Try '%s --help' for more information\n", g_get_prgname());
    exit(1);
}

int img_next_option(int argc, char **argv, const char *letters, const struct option *longopts)
{
    int c = getopt_long(argc, argv, letters, longopts, NULL);

    switch (c) {
    case ':':
        img_usage_error("missing argument for option '%s'", argv[optind - 1]);
    case '?':
        img_usage_error("unrecognized option '%s'", argv[optind - 1]);
    case 'h':
        img_help();
    default:
        return c;
    }
}

void co_main_fn img_add_object(const char *arg)
{
    Error *err = NULL;

    if (!tool_add_object(arg, &err)) {
        exit(img_fail(err));
    }
}

ToolCache img_cache_arg(const char *what, const char *arg)
{
    ToolCache cache = { 0 };

    if (!tool_parse_cache(arg, &cache)) {
        tool_error("Invalid %s option: %s", what, arg);
        exit(1);
    }
    return cache;
}

/* Would it be a size if sizes could be any number? */
static bool is_out_of_range(const char *arg)
{
    size_t sign = arg[0] == '-', digits = strspn(arg + sign, "0123456789");
    const char *unit = arg + sign + digits;

    return digits > 0 && (!*unit || (!sign && strchr("bBkKmMgGtTpPeE", *unit) && !unit[1]));
}

bool img_parse_size(const char *what, const char *arg, int64_t min, int64_t max, int64_t *ret)
{
    uint64_t value;
    bool ok = keyval_parse_size(arg, &value, NULL);

    if (ok && value <= INT64_MAX && (int64_t)value >= min && (int64_t)value <= max) {
        *ret = value;
        return true;
    }
    if (ok || is_out_of_range(arg)) {
        if (max == INT64_MAX && (ok ? value <= INT64_MAX : false)) {
            tool_error("Invalid %s specified. Must be at least %" PRId64 ".", what, min);
        } else {
            tool_error("Invalid %s specified. Must be between %" PRId64 " and %" PRId64 ".", what,
                       min, max);
        }
    } else {
        tool_error("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
        tool_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
    }
    return false;
}

int64_t img_size_arg(const char *what, const char *arg, int64_t min, int64_t max)
{
    int64_t value;

    if (!img_parse_size(what, arg, min, max, &value)) {
        exit(1);
    }
    return value;
}

int64_t img_number_arg(const char *what, const char *arg, int64_t min, int64_t max)
{
    char *end;

    errno = 0;
    long long value = strtoll(arg, &end, 0);
    if (end == arg || *end || errno || value < min || value > max) {
        tool_error("Invalid %s: '%s'", what, arg);
        exit(1);
    }
    return value;
}

ImgOutput img_output_arg(const char *arg)
{
    if (strcmp(arg, "json") == 0) {
        return IMG_OUTPUT_JSON;
    }
    if (strcmp(arg, "human") != 0) {
        tool_error("--output must be used with human or json as argument.");
        exit(1);
    }
    return IMG_OUTPUT_HUMAN;
}

const char *img_only_filename(int argc, char **argv)
{
    if (optind != argc - 1) {
        img_usage_error("Expecting one image file name");
    }
    return argv[optind];
}

void img_check_naming(const ToolImage *image)
{
    if (image->image_opts && image->format) {
        tool_error("--image-opts and --format are mutually exclusive");
        exit(1);
    }
}

BlockBackend *co_main_fn img_open_source(const ToolImage *image, const char *snapshot,
                                         Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = tool_image_options(image, errp);
    Error *err = NULL;

    if (!opts || (snapshot && !tool_set_snapshot(opts, snapshot, errp))) {
        return NULL;
    }
    BlockBackend *blk = tool_open_options(image, opts, &err);
    if (!blk && snapshot && strstr(error_get_pretty(err), "Can't find snapshot")) {
        error_free(g_steal_pointer(&err));
        error_setg(&err, "Failed to load snapshot: Can't find snapshot");
    }
    if (err) {
        error_propagate(errp, err);
    }
    return blk;
}

int img_fail(Error *err)
{
    error_report_err(err);
    return 1;
}

int img_fail_on(const char *name, Error *err)
{
    error_prepend(&err, "%s: ", name);
    return img_fail(err);
}

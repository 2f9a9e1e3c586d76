/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of options that several programs take. */
#include "qemu/osdep.h"

#include "options.h"

bool any_fn tool_parse_cache(const char *mode, ToolCache *ret)
{
    static const struct {
        const char *name;
        ToolCache cache;
    } modes[] = {
        { "writeback", { 0 } },
        { "none", { .direct = true } }, { "off", { .direct = true } },
        { "writethrough", { .writethrough = true } },
        { "directsync", { .direct = true, .writethrough = true } },
        { "unsafe", { .no_flush = true } },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            *ret = modes[i].cache;
            return true;
        }
    }
    return false;
}

bool any_fn tool_parse_aio(const char *value, FileAio *ret)
{
    static const struct {
        const char *name;
        FileAio aio;
    } kinds[] = {
        { "threads", FILE_AIO_THREADS }, { "native", FILE_AIO_NATIVE },
        { "io_uring", FILE_AIO_IO_URING },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strcmp(value, kinds[i].name) == 0) {
            *ret = kinds[i].aio;
            return true;
        }
    }
    return false;
}

bool any_fn tool_parse_detect_zeroes(const char *value, BdrvDetectZeroes *ret)
{
    static const char *const names[] = { "off", "on", "unmap" };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret = (BdrvDetectZeroes)i;     /* in the order of the type */
            return true;
        }
    }
    return false;
}

bool any_fn tool_parse_discard(const char *value, bool *ret)
{
    *ret = strcmp(value, "unmap") == 0 || strcmp(value, "on") == 0;
    return *ret || strcmp(value, "ignore") == 0 || strcmp(value, "off") == 0;
}

bool any_fn tool_parse_prealloc(const char *value, BdrvPrealloc *ret, Error **errp)
{
    static const char *const names[] = { "off", "metadata", "falloc", "full" };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret = (BdrvPrealloc)i;         /* in the order of the type */
            return true;
        }
    }
    error_setg(errp, "Invalid parameter '%s'", value);
    return false;
}

void any_fn tool_warn_of_guess(const char *name)
{
    g_printerr("WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
               "         Automatically detecting the format is dangerous for raw images, write "
               "operations on block 0 will be restricted.\n"
               "         Specify the 'raw' format explicitly to remove the restrictions.\n", name);
}

bool co_main_fn tool_add_object(const char *value, Error **errp)
{
    g_autoptr(ObjectOptions) opts = NULL;

    return TOOL_PARSE_OPTION(ObjectOptions, value, "qom-type", &opts, errp) &&
           blockdev_object_add(opts, errp);
}

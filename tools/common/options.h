/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of options that several programs take. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include "block/blockdev.h"
#include "qapi/qapi-parse.h"
#include "qobject/keyval.h"

/* Parses @value, JSON or key=value, as the QAPI type TYPE. */
#define TOOL_PARSE_OPTION(TYPE, value, implied_key, ret, errp)                  \
    ({                                                                          \
        bool is_json_;                                                          \
        g_autoptr(QDict) dict_ = keyval_parse_or_json(value, implied_key, &is_json_, errp); \
        dict_ && (is_json_ ? TYPE##_parse(QOBJECT(dict_), ret, errp)            \
                           : TYPE##_parse_keyval(QOBJECT(dict_), ret, errp));   \
    })

/* How what is written gets to the disk: the five modes that QEMU has names for. */
typedef struct ToolCache {
    bool direct;                    /* not by way of the page cache */
    bool no_flush;                  /* flushes are ignored */
    bool writethrough;              /* each write is durable when it ends */
} ToolCache;

/* False: there is no mode of that name. */
bool any_fn tool_parse_cache(const char *mode, ToolCache *ret);
/* `threads`, `native`, `io_uring`. */
bool any_fn tool_parse_aio(const char *value, FileAio *ret);
/* `off`, `on`, `unmap`. */
bool any_fn tool_parse_detect_zeroes(const char *value, BdrvDetectZeroes *ret);
/* `ignore` and `off`, `unmap` and `on`. */
bool any_fn tool_parse_discard(const char *value, bool *ret);
/* `off`, `metadata`, `falloc`, `full`. */
bool any_fn tool_parse_prealloc(const char *value, BdrvPrealloc *ret, Error **errp);

/* The image @name, which looks like no format, is going to be written: whoever writes to it could
 * write another format's header. */
void any_fn tool_warn_of_guess(const char *name);

/* help.c: if @value, of the option @option (without dashes), asks for help, prints it and returns
 * true. */
bool any_fn tool_help(const char *option, const char *value);

/* --object */
bool co_main_fn tool_add_object(const char *value, Error **errp);

#endif

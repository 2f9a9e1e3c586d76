/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What programs share that open images, work on them in one coroutine and end: qemu-img, qemu-io,
 * qemu-nbd.  docs/design/tools.md.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include "block/backend.h"
#include "tools/common/options.h"

/* ---- from start to end ---- */

/* The program, on the main thread in a coroutine, with an event loop; what it returns is the exit
 * status. */
typedef int ToolEntry(int argc, char **argv);

/* The body of main(): sets the program's name to @name, runs @entry, closes what it left open. */
int tool_run(const char *name, ToolEntry *entry, int argc, char **argv);

/* "PROGRAM: ..." to standard error; any thread. */
void any_fn tool_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* ---- images ---- */

/* How an image is named on a command line, and what it is opened for. */
typedef struct ToolImage {
    const char *name;
    const char *format;             /* NULL: found out by its first bytes */
    bool image_opts;                /* @name is a list of options, not a name */
    bool writable, resize;
    bool force_share;               /* -U: no claims against others; not with @writable */
    bool no_backing;                /* its backing file is not opened */
    bool for_check;                 /* damage does not keep it from being opened */
    bool for_info;                  /* it is only asked for what it is like: files that it merely
                                     * names are not opened, and it cannot be read */
    bool discard;                   /* discards are passed on */
    bool may_guess_raw;             /* writable and of no known format: without a warning */
    bool plain_errors;              /* they do not begin with "Could not open 'NAME': " */
    BdrvDetectZeroes detect_zeroes;
    FileAio aio;
    ToolCache cache;
    unsigned blocks;                /* CLAIM_ bits that nobody else may have meanwhile */
} ToolImage;

/* What @image says, opened and in a backend; NULL with "Could not open 'NAME': ...". */
BlockBackend *co_main_fn tool_open(const ToolImage *image, Error **errp);
/* The same as options, for who wants to change them before; caller frees. */
BdrvOpenOptions *co_main_fn tool_image_options(const ToolImage *image, Error **errp);
/* The same for options that were made otherwise, which it takes (NULL: with an error) and
 * returns. */
BdrvOpenOptions *co_main_fn tool_image_options_of(const ToolImage *image, BdrvOpenOptions *opts,
                                                  Error **errp);
BlockBackend *co_main_fn tool_open_options(const ToolImage *image, const BdrvOpenOptions *opts,
                                           Error **errp);
/* @opts, which are read-only, are to open the internal snapshot that @param means:
 * `snapshot.id=ID`, `snapshot.name=NAME` or one word that is either. */
bool any_fn tool_set_snapshot(BdrvOpenOptions *opts, const char *param, Error **errp);
/* Flushes, closes and frees; NULL is fine.  False: something that was written may not be on disk,
 * which has been said. */
bool co_main_fn tool_close(BlockBackend *blk);

#endif

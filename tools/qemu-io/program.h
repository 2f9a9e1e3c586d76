/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the program qemu-io. */
#ifndef QEMU_IO_PROGRAM_H
#define QEMU_IO_PROGRAM_H

#include "qobject/qobject.h"
#include "tools/common/name-options.h"
#include "tools/common/snapshot-file.h"
#include "tools/common/tool.h"
#include "tools/qemu-io/commands.h"
#include "tools/qemu-io/reopen.h"

/* How to open an image: what the options of the program and those of `open` have in common. */
typedef struct OpenArgs {
    ToolImage image;
    bool snapshot;                  /* writes go to a file that is gone at the end */
    bool copy_on_read;
    const char *options;            /* `-o`, or NULL */
} OpenArgs;

/* What is so unless something else is said. */
void any_fn open_args_init(OpenArgs *a);
/* Takes the option @letter with @value as part of @a; false, with an error, if that makes no sense;
 * *@ret_known: whether there is such an option at all. */
bool any_fn open_args_take(OpenArgs *a, int letter, const char *value, bool *ret_known,
                           Error **errp);
/* Opens it in @s, in which nothing is open; failing says "can't open device ...". */
bool co_main_fn open_image(IoSession *s, const OpenArgs *a, Error **errp);
/* False: something that was written may not be on disk, which has been said.  Nothing open is
 * fine. */
bool co_main_fn close_image(IoSession *s);

/* open, close. */
extern const IoCommand program_commands[];

/*
 * The next line, without its end; NULL: there are no more.  Caller frees with free().  On a terminal
 * with history and completion of @s's commands, else after the prompt.
 */
char *co_main_fn next_line(IoSession *s);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command language of qemu-io, for whoever has a backend and a line of text: the program of that
 * name, and others that exercise a disk.  docs/design/tools.md.
 */
#ifndef QEMU_IO_SESSION_H
#define QEMU_IO_SESSION_H

#include "block/backend.h"
#include "qapi/error.h"

/* Where what commands say goes; called on the main thread. */
typedef struct IoOutput {
    /* @text is whole lines; @is_error: it is about the command, not the disk. */
    void (*text)(void *opaque, const char *text, bool is_error);
    /* An error that a program says with its name in front.  NULL: as text. */
    void (*error)(void *opaque, const char *text);
    /* What was said so far gets out now, for the process may end.  NULL: it is out already. */
    void (*flush)(void *opaque);
    void *opaque;
} IoOutput;

typedef struct IoCommand IoCommand;

/*
 * Somebody who gives commands, one after the other.  Set what is above the line; zero the rest.
 */
typedef struct IoSession {
    BlockBackend *blk;              /* what commands work on; NULL: nothing is open */
    const IoOutput *out;
    const IoCommand *const *more;   /* tables of commands beside those that work on a backend, or
                                     * NULL; the last command of each has no name, the last table
                                     * is NULL */
    void *opaque;                   /* theirs */
    bool misalign;                  /* buffers begin where direct I/O cannot use them */
    bool quiet;                     /* no statistics */

    /* ------------ the commands' own ------------ */

    CoGroup asynchronous;           /* aio_read, aio_write that have not ended */
    bool quit;                      /* the command of that name was given */
} IoSession;

/*
 * Does what @line says, if it says anything.  0, or -errno: it failed, which has been said.  Requests
 * that it began may go on; io_session_settle() waits for them.  @s->blk stays the caller's; it is not
 * freed before that.
 */
int co_main_fn io_session_run(IoSession *s, const char *line);

/* Does the command that @line names change what the backend holds? */
bool any_fn io_session_writes(const IoSession *s, const char *line);

/* All requests that commands began have ended; such as wait at a breakpoint are let go. */
void co_main_fn io_session_settle(IoSession *s);

/* The names of commands, for completion: number @i, or NULL. */
const char *any_fn io_session_command_name(const IoSession *s, size_t i);

#endif

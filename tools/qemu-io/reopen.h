/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reopen: for sessions with a Program as their opaque. */
#ifndef QEMU_IO_REOPEN_H
#define QEMU_IO_REOPEN_H

#include "qobject/qobject.h"
#include "tools/qemu-io/session.h"

/* What is known of what is open. */
typedef struct Program {
    bool copy_on_read;              /* it is below a filter that `-C` has put there */
    bool borrowed;                  /* the backend has a user of its own */
    QDict *own_options;             /* of the image, as far as they were given; or NULL */
} Program;

/* From now on @dict is how the image was opened; NULL: nothing is known of that. */
void any_fn program_note_options(Program *p, const QDict *dict);

/* Of this command alone. */
extern const IoCommand reopen_commands[];

#endif

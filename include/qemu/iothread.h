/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that run an event loop of their own (`-object iothread`). */
#ifndef QEMU_IOTHREAD_H
#define QEMU_IOTHREAD_H

#include "qemu/aio.h"

typedef struct IOThread IOThread;

/* Starts the thread and waits until its loop can be used. @id is copied. */
IOThread *main_fn iothread_new(const char *id, Error **errp);
/* Stops and joins it.  Nothing may use its context any more. */
void main_fn iothread_free(IOThread *iothread);

const char *any_fn iothread_id(const IOThread *iothread);
AioContext *any_fn iothread_context(const IOThread *iothread);
/* Kernel thread id. */
int any_fn iothread_tid(const IOThread *iothread);
/* Users of the context; iothread_in_use() refuses deletion. */
void main_fn iothread_ref(IOThread *iothread);
void main_fn iothread_unref(IOThread *iothread);
bool main_fn iothread_in_use(const IOThread *iothread);

#endif

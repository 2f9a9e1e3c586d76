/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that serves: a process with a log, signals, a monitor and the block layer, from start
 * to end.
 */
#ifndef TOOLS_SERVE_H
#define TOOLS_SERVE_H

#include "qapi/command.h"
#include "qapi/error.h"
#include "qapi/qapi-types.h"
#include "qemu/context.h"

typedef struct ToolServe {
    const char *log;                /* as for tool_log_init() */
    const char *pidfile;            /* NULL: none */
    bool daemonize;
    const QmpCommand *commands;     /* what monitors can run */
    /* Carries out the command line; nothing is served before it returns.  False: the program says
     * why, unless *errp is not set because another process did, and ends. */
    bool (*co_start)(Error **errp);
    /* Commands run from now on; NULL: nothing is to be done. */
    void (*co_started)(void);
    /* Somebody wants the program to end (@by_signal), and it is to go on until tool_serve_over() is
     * called: true.  NULL: it ends. */
    bool (*ask_end)(bool by_signal);
    /* No command runs any more and the block layer is still whole; NULL: nothing is to be done. */
    void (*co_end)(void);
} ToolServe;

/* From start to end; returns the exit status. */
int tool_serve(const ToolServe *serve);

/* End the program: monitors are told the cause.  A second call changes nothing. */
void main_fn tool_serve_end(ShutdownCause cause, bool by_guest);
bool main_fn tool_serve_ends(void);
/* The end that ask_end put off: with @status, and monitors have been told. */
void main_fn tool_serve_over(int status);
/* The exit status of an end that nothing else makes worse; 0 from the start. */
void main_fn tool_serve_set_status(int status);

#endif

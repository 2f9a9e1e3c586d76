/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process around a program that serves: background and pid file. */
#ifndef TOOLS_PROCESS_H
#define TOOLS_PROCESS_H

#include "qapi/error.h"

/*
 * Goes to the background: returns in the child, whose parent waits until tool_daemonize_done().
 * Before there are threads.
 */
void tool_daemonize(void);
/* The parent exits with @status; on success this process leaves its folder and its terminal. */
void tool_daemonize_done(int status);
/* Write and lock @path; removed at tool_pidfile_remove(). */
bool tool_pidfile_write(const char *path, Error **errp);
void tool_pidfile_remove(void);

#endif

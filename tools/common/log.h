/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the log of a program that serves goes. */
#ifndef TOOLS_LOG_H
#define TOOLS_LOG_H

#include "qapi/error.h"
#include "qemu/context.h"

/* @where: `stderr`, `syslog`, `journal`, or the name of a file; NULL: standard error.  Once, while
 * there is one thread. */
bool tool_log_init(const char *where, Error **errp);
bool any_fn tool_log_is_on_stderr(void);
/* Whoever rotates log files has moved ours away: the next line goes to a new one of that name. */
void any_fn tool_log_reopen(void);
/* Start-up is over: what was put so far is written, if that takes no longer than @patience_ns, and
 * from now on lines go to standard error only if the log is there. */
void blocking_fn tool_log_started(int64_t patience_ns);

#endif

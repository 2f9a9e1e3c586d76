/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option --trace of all programs. */
#ifndef TOOLS_TRACE_H
#define TOOLS_TRACE_H

#include "qapi/error.h"

/* What --trace says, before there are threads.  Exits if it asks for help. */
bool tool_trace(const char *value, Error **errp);
/* Before the program ends: the lines of its file are written, if that takes no longer than
 * @patience_ns. */
void blocking_fn tool_trace_finish(int64_t patience_ns);

#endif

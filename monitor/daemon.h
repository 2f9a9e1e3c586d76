/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the monitor knows of the daemon that it is in. */
#ifndef MONITOR_DAEMON_H
#define MONITOR_DAEMON_H

#include "qapi/qapi-types.h"

/* Caller frees. */
VersionInfo *any_fn monitor_version(void);

/* "7.2.0": what clients go by. */
const char *any_fn monitor_qemu_version(void);

/* As set with monitor_set_name(); NULL: it has none. */
const char *any_fn monitor_name(void);

/* It begins, and ends by @shutdown. */
void main_fn monitor_set_shutdown(void (*shutdown)(void));
/* monitor_stop_commands() was called: no command is begun any more. */
bool main_fn monitor_is_stopping(void);
/* End it, as far as the program sees to that. */
void main_fn monitor_quit(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service manager's side of a daemon: sockets that it hands over, readiness that it waits for.
 */
#ifndef QEMU_SYSTEMD_H
#define QEMU_SYSTEMD_H

#include "qemu/osdep.h"

/*
 * The descriptor that the service manager passed under @name (LISTEN_FDNAMES, sd_listen_fds(3));
 * -1: none of that name.  Descriptors for this process only; they are close-on-exec afterwards.
 */
int any_fn systemd_listen_fd(const char *name);

/* Tell the service manager @state, for example "READY=1" (sd_notify(3)).  Nothing if there is none.
 */
void any_fn systemd_notify(const char *state);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of the human monitor that all programs with a block layer have. */
#ifndef HMP_HMP_H
#define HMP_HMP_H

#include "qemu/context.h"

/* Once, after monitor_init(). */
void main_fn hmp_init(void);

/* What the emulator has besides: its machine, devices and media. */
void main_fn hmp_machine_init(void);
/* Requests that people have begun on disks have ended; before the disks go. */
void co_main_fn hmp_machine_finish(void);
/* What the daemon has besides. */
void main_fn hmp_daemon_init(void);

#endif

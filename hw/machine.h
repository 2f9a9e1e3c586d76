/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For whoever starts the machine: what it tells of devices. */
#ifndef HW_MACHINE_H
#define HW_MACHINE_H

#include "machine/machine.h"

/* The device of @disk is gone from the machine. */
void co_main_fn device_machine_deleted(MachineDisk *disk);
/* The machine has an empty drive @name that it has made itself, @qdev (NULL: nothing) has it. */
void co_main_fn device_machine_drive_found(const char *name, const char *qdev);
/* disk->state may be another. */
void main_fn device_machine_changed(MachineDisk *disk);

#endif

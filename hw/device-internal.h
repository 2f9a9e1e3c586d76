/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of devices: the steps of making and removing one. */
#ifndef HW_DEVICE_INTERNAL_H
#define HW_DEVICE_INTERNAL_H

#include "hw/device.h"

/* Give @dev, a disk that is on its bus, the backend that its options say; takes the graph lock. */
bool co_main_fn device_disk_realize(Device *dev, Error **errp);
/* The backend goes, or is a drive's without a device; takes the graph lock. */
void co_main_fn device_disk_unrealize(Device *dev);

#endif

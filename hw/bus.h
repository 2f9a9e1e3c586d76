/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of devices: what they are plugged into. */
#ifndef HW_BUS_H
#define HW_BUS_H

#include "hw/device.h"

/* The buses of @dev, which is plugged in. */
void main_fn device_bus_add_own(Device *dev);
/* They are empty. */
void main_fn device_bus_free_own(Device *dev);

/* Whether a bus of @dev has devices. */
bool main_fn device_bus_has_devices(const Device *dev);

/*
 * The bus that the device is to go on that @options describe: the one of that name, or the first of
 * the right type with a free place.  NULL with @errp set.
 */
DeviceBus *main_fn device_bus_find(const DeviceModel *model, const QDict *options, Error **errp);
/* Put @dev on @bus, at the place that its options say (unit, scsi-id) or at the first free one. */
bool main_fn device_bus_plug(DeviceBus *bus, Device *dev, Error **errp);
void main_fn device_bus_unplug(Device *dev);

void main_fn device_bus_free_all(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the generated qapi_event_send_FOO() stand on. */
#ifndef QAPI_EVENT_H
#define QAPI_EVENT_H

#include "qobject/qobject.h"

/* Stamp event @name with the time of day and hand it to the monitors. Takes @data (NULL: none). */
void main_fn qapi_event_send(const char *name, QObject *data);

#endif

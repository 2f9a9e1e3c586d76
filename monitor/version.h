/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which program this is. */
#ifndef MONITOR_VERSION_H
#define MONITOR_VERSION_H

#include "qapi/qapi-types.h"

/* Caller frees. */
VersionInfo *any_fn monitor_version(void);
/* "0.1.0 (qemu-group-snapshot)": for people. */
const char *any_fn monitor_version_text(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options for the child, on its command line and in its monitor.  Pure functions. */
#ifndef MACHINE_QEMU_ARGUMENTS_H
#define MACHINE_QEMU_ARGUMENTS_H

#include "qobject/qobject.h"

/* `key=value,a.b=c`; a comma in a value is doubled.  Caller frees. */
char *any_fn machine_keyval_text(const QDict *options);

/* Those of a -device or device_add with @node (NULL: none) in place of its disk. */
QDict *any_fn machine_device_options(const QDict *options, const char *node);

/* The text of a -device. */
char *any_fn machine_device_text(const QDict *options);

/* JSON with its members in their order. */
char *any_fn machine_json_text(const QDict *options);

/* The child's node @link: a connection to @export by the connected socket @fd. */
QDict *any_fn machine_link_options(const char *link, const char *export, const char *fd,
                                   bool read_only);
/* The node @node that the device has, on @link: it stays when @link is exchanged. */
QDict *any_fn machine_node_options(const char *node, const char *link, bool read_only);

/* The text of a -drive: both nodes, and @options.  @fd NULL: it is empty.  Caller frees. */
char *any_fn machine_drive_text(const QDict *options, const char *id, const char *node,
                                const char *link, const char *fd, bool read_only);

#endif

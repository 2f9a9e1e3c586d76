/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between qom.c, which has the tree, and qom-types.c. */
#ifndef MONITOR_QOM_INTERNAL_H
#define MONITOR_QOM_INTERNAL_H

#include "monitor/qom.h"
#include "qapi/qapi-types.h"

extern const QomTree *qom_tree;     /* the program's own, NULL: none */

void any_fn qom_append(ObjectPropertyInfoList ***tail, const char *name, char *takes_type);
/* The properties of all objects of @type. */
void any_fn qom_append_properties(ObjectPropertyInfoList ***tail, const char *type);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of QMP commands that the generator makes. */
#ifndef QAPI_COMMAND_H
#define QAPI_COMMAND_H

#include "qapi/error.h"
#include "qemu/context.h"
#include "qobject/qobject.h"

/*
 * A co_main_fn: parse @arguments, run the handler, format what it returns.  NULL and @errp on
 * failure, else a value (an empty dict if the command returns nothing).
 */
typedef QObject *QmpMarshal(QDict *arguments, Error **errp);

typedef struct QmpCommand {
    const char *name;
    QmpMarshal *marshal;
    bool allow_oob;             /* may be run with exec-oob */
    bool no_response;           /* success is not answered */
} QmpCommand;

/*
 * For marshallers: formats @list, of @length elements, which is consumed; a long one by a thread,
 * while the coroutine waits.
 */
QObject *co_main_fn qmp_format_list(void *list, size_t length,
                                    QObject *(*format_and_free)(void *list));

/* In the order of the schema; ends with a NULL name. */
extern const QmpCommand qmp_commands[];

/* What query-qmp-schema returns, as JSON. */
extern const char qmp_schema_json[];

#endif

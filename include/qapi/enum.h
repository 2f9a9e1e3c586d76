/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of enum values; what the generated FOO_str() and FOO_from_str() stand on. */
#ifndef QAPI_ENUM_H
#define QAPI_ENUM_H

#include "qapi/error.h"

typedef struct QapiEnum {
    const char *const *names;
    int count;
} QapiEnum;

const char *any_fn qapi_enum_str(const QapiEnum *lookup, int value);
/* The value's number, or -1 and @errp. */
int any_fn qapi_enum_from_str(const QapiEnum *lookup, const char *str, Error **errp);
/* The same without a message. */
int any_fn qapi_enum_find(const QapiEnum *lookup, const char *str);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON values to C, for generated code: knows where in the value it is, so that
 * an error can name the member ("devlist[0].device").
 *
 * A QapiInFn parses @value into the C member at @ret, which is zeroed before and
 * on failure is left as something that its owner's free function can free.
 */
#ifndef QAPI_INPUT_H
#define QAPI_INPUT_H

#include "qemu/limits.h"
#include "qapi/enum.h"
#include "qobject/qobject.h"

typedef struct QapiInput QapiInput;
typedef bool QapiInFn(QapiInput *in, QObject *value, void *ret, Error **errp);
typedef bool QapiInMembersFn(QapiInput *in, void *ret, Error **errp);

/* Parse @obj with @fn.  @keyval: leaves are strings. */
bool any_fn qapi_in_top(QObject *obj, bool keyval, QapiInFn *fn, void *ret, Error **errp);

/* For commands without arguments: @arguments must be empty. */
bool any_fn qapi_in_nothing(QDict *arguments, Error **errp);

/* The members of @value, which must be an object that has no others. */
bool any_fn qapi_in_object(QapiInput *in, QObject *value, QapiInMembersFn *members, void *ret,
                           Error **errp);
bool any_fn qapi_in_required(QapiInput *in, const char *name, QapiInFn *fn, void *ret,
                             Error **errp);
/* @ret_has may be NULL. */
bool any_fn qapi_in_optional(QapiInput *in, const char *name, QapiInFn *fn, bool *ret_has,
                             void *ret, Error **errp);

QList *any_fn qapi_in_list(QapiInput *in, QObject *value, Error **errp);
bool any_fn qapi_in_element(QapiInput *in, QList *list, size_t index, QapiInFn *fn, void *ret,
                            Error **errp);

bool any_fn qapi_in_enum(QapiInput *in, QObject *value, const QapiEnum *lookup, int *ret,
                         Error **errp);
/* Which of the branches in @mask (bits 1 << QType) @value is; QTYPE_NONE and @errp if none. */
QType any_fn qapi_in_alternate(QapiInput *in, QObject *value, unsigned mask,
                               const char *type_name, Error **errp);

/* Built-in types. */
QapiInFn qapi_in_str, qapi_in_bool, qapi_in_number, qapi_in_null, qapi_in_any;
QapiInFn qapi_in_int, qapi_in_int8, qapi_in_int16, qapi_in_int32, qapi_in_int64;
QapiInFn qapi_in_uint8, qapi_in_uint16, qapi_in_uint32, qapi_in_uint64, qapi_in_size;

#endif

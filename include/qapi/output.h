/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Built-in types to JSON values, for generated code; @member points to the C member. */
#ifndef QAPI_OUTPUT_H
#define QAPI_OUTPUT_H

#include "qobject/qobject.h"

QObject *any_fn qapi_out_str(const void *member);       /* NULL becomes "" */
QObject *any_fn qapi_out_bool(const void *member);
QObject *any_fn qapi_out_number(const void *member);
QObject *any_fn qapi_out_int(const void *member);
QObject *any_fn qapi_out_int8(const void *member);
QObject *any_fn qapi_out_int16(const void *member);
QObject *any_fn qapi_out_int32(const void *member);
QObject *any_fn qapi_out_int64(const void *member);
QObject *any_fn qapi_out_uint8(const void *member);
QObject *any_fn qapi_out_uint16(const void *member);
QObject *any_fn qapi_out_uint32(const void *member);
QObject *any_fn qapi_out_uint64(const void *member);
QObject *any_fn qapi_out_size(const void *member);
QObject *any_fn qapi_out_null(const void *member);
QObject *any_fn qapi_out_any(const void *member);       /* NULL becomes null */

#endif

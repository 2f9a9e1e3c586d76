/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Built-in types to JSON values. */
#include "qemu/osdep.h"

#include "qapi/output.h"

QObject *qapi_out_str(const void *member)
{
    const char *str = *(char *const *)member;

    return qstring_new(str ? str : "");
}

QObject *qapi_out_bool(const void *member)
{
    return qbool_new(*(const bool *)member);
}

QObject *qapi_out_number(const void *member)
{
    return qdouble_new(*(const double *)member);
}

QObject *qapi_out_int(const void *member)
{
    return qint_new(*(const int64_t *)member);
}

QObject *qapi_out_int8(const void *member)
{
    return qint_new(*(const int8_t *)member);
}

QObject *qapi_out_int16(const void *member)
{
    return qint_new(*(const int16_t *)member);
}

QObject *qapi_out_int32(const void *member)
{
    return qint_new(*(const int32_t *)member);
}

QObject *qapi_out_int64(const void *member)
{
    return qint_new(*(const int64_t *)member);
}

QObject *qapi_out_uint8(const void *member)
{
    return quint_new(*(const uint8_t *)member);
}

QObject *qapi_out_uint16(const void *member)
{
    return quint_new(*(const uint16_t *)member);
}

QObject *qapi_out_uint32(const void *member)
{
    return quint_new(*(const uint32_t *)member);
}

QObject *qapi_out_uint64(const void *member)
{
    return quint_new(*(const uint64_t *)member);
}

QObject *qapi_out_size(const void *member)
{
    return quint_new(*(const uint64_t *)member);
}

QObject *qapi_out_null(const void *member)
{
    return qnull_new();
}

QObject *qapi_out_any(const void *member)
{
    QObject *obj = *(QObject *const *)member;

    return obj ? qobject_ref(obj) : qnull_new();
}

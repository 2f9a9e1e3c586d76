/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers: 64-bit integers are exact, everything else is a finite double. */
#include "qemu/osdep.h"

#include <math.h>

#include "qobject-internal.h"

QObject *qint_new(int64_t value)
{
    QNum *n = qobject_alloc(QTYPE_QNUM, sizeof(*n));

    n->kind = QNUM_I64;
    n->u.i64 = value;
    return &n->base;
}

QObject *quint_new(uint64_t value)
{
    QNum *n;

    if (value <= INT64_MAX) {
        return qint_new((int64_t)value);
    }
    n = qobject_alloc(QTYPE_QNUM, sizeof(*n));
    n->kind = QNUM_U64;
    n->u.u64 = value;
    return &n->base;
}

QObject *qdouble_new(double value)
{
    QNum *n = qobject_alloc(QTYPE_QNUM, sizeof(*n));

    assert(isfinite(value));
    n->kind = QNUM_DOUBLE;
    n->u.dbl = value;
    return &n->base;
}

static const QNum *to_qnum(const QObject *obj)
{
    return qobject_type(obj) == QTYPE_QNUM ? (const QNum *)obj : NULL;
}

bool qobject_get_int(const QObject *obj, int64_t *ret)
{
    const QNum *n = to_qnum(obj);

    if (!n || n->kind != QNUM_I64) {
        return false;
    }
    *ret = n->u.i64;
    return true;
}

bool qobject_get_uint(const QObject *obj, uint64_t *ret)
{
    const QNum *n = to_qnum(obj);

    if (!n || n->kind == QNUM_DOUBLE || (n->kind == QNUM_I64 && n->u.i64 < 0)) {
        return false;
    }
    *ret = n->kind == QNUM_I64 ? (uint64_t)n->u.i64 : n->u.u64;
    return true;
}

bool qobject_get_double(const QObject *obj, double *ret)
{
    const QNum *n = to_qnum(obj);

    if (!n) {
        return false;
    }
    switch (n->kind) {
    case QNUM_I64:
        *ret = (double)n->u.i64;
        break;
    case QNUM_U64:
        *ret = (double)n->u.u64;
        break;
    case QNUM_DOUBLE:
        *ret = n->u.dbl;
        break;
    }
    return true;
}

char *qnum_to_string(const QObject *obj)
{
    const QNum *n = to_qnum(obj);
    char buf[G_ASCII_DTOSTR_BUF_SIZE];

    assert(n);
    switch (n->kind) {
    case QNUM_I64:
        return g_strdup_printf("%" PRId64, n->u.i64);
    case QNUM_U64:
        return g_strdup_printf("%" PRIu64, n->u.u64);
    case QNUM_DOUBLE:
        break;
    }
    /* 17 digits bring back the same double; not in the locale's way of writing it. */
    return g_strdup(g_ascii_formatd(buf, sizeof(buf), "%.17g", n->u.dbl));
}

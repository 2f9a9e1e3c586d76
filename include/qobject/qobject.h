/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON values: null, bool, number, string, list, dict.
 *
 * Values are reference counted and belong to one thread.  A value that others
 * may hold too is not changed; whoever builds a list or dict changes it before
 * handing it out.  Functions that put a value into a container take it.
 */
#ifndef QOBJECT_QOBJECT_H
#define QOBJECT_QOBJECT_H

#include "qemu/osdep.h"

typedef enum QType {
    QTYPE_NONE,                 /* no value at all */
    QTYPE_QNULL,
    QTYPE_QNUM,
    QTYPE_QSTRING,
    QTYPE_QDICT,
    QTYPE_QLIST,
    QTYPE_QBOOL,
    QTYPE__MAX,
} QType;

typedef struct QObject {
    QType type;
    unsigned refcnt;
} QObject;

typedef struct QList QList;
typedef struct QDict QDict;

#define QOBJECT(x) ((QObject *)(x))

/* NULL is fine for all of these. */
QObject *any_fn qobject_ref(QObject *obj);
void any_fn qobject_unref(QObject *obj);
QType any_fn qobject_type(const QObject *obj);
/* "object", "array", "string", "number", "boolean", "null": for messages. */
const char *any_fn qtype_name(QType type);

static inline void qlist_unref(QList *list)
{
    qobject_unref(QOBJECT(list));
}

static inline void qdict_unref(QDict *dict)
{
    qobject_unref(QOBJECT(dict));
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QObject, qobject_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QList, qlist_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QDict, qdict_unref)

/* @obj as its own type, or NULL if it is something else (or NULL itself).  Borrowed: the
 * result lives as long as @obj. */
QList *any_fn qobject_to_qlist(QObject *obj);
QDict *any_fn qobject_to_qdict(QObject *obj);

/* Same type and, recursively, same contents; 1 and 1.0 differ, 1 and uint64 1 do not. */
bool any_fn qobject_equal(const QObject *a, const QObject *b);

/* ---- scalars ---- */

QObject *any_fn qnull_new(void);
QObject *any_fn qbool_new(bool value);
QObject *any_fn qint_new(int64_t value);
QObject *any_fn quint_new(uint64_t value);
QObject *any_fn qdouble_new(double value);              /* must be finite */
QObject *any_fn qstring_new(const char *str);
QObject *any_fn qstring_new_len(const char *str, size_t len);

/* True and *ret set if @obj is a number of integer value in range; a double never is. */
bool any_fn qobject_get_int(const QObject *obj, int64_t *ret);
bool any_fn qobject_get_uint(const QObject *obj, uint64_t *ret);
/* Any number. */
bool any_fn qobject_get_double(const QObject *obj, double *ret);
bool any_fn qobject_get_bool(const QObject *obj, bool *ret);
/* NULL if it is no string.  NUL-terminated; owned by @obj. */
const char *any_fn qobject_get_str(const QObject *obj);
size_t any_fn qstring_len(const QObject *obj);
/* The number in JSON, as QEMU prints it.  Caller frees. */
char *any_fn qnum_to_string(const QObject *obj);

/* ---- list ---- */

QList *any_fn qlist_new(void);
void any_fn qlist_append(QList *list, QObject *takes);
size_t any_fn qlist_size(const QList *list);
QObject *any_fn qlist_get(const QList *list, size_t index);     /* borrowed; NULL: past the end */

static inline void qlist_append_str(QList *list, const char *str)
{
    qlist_append(list, qstring_new(str));
}

/* ---- dict: keeps the order of insertion ---- */

QDict *any_fn qdict_new(void);
/* A value that @key had before is dropped; its position stays. */
void any_fn qdict_put(QDict *dict, const char *key, QObject *takes);
bool any_fn qdict_has(const QDict *dict, const char *key);
QObject *any_fn qdict_get(const QDict *dict, const char *key);  /* borrowed, or NULL */
/* False if it was not there. */
bool any_fn qdict_del(QDict *dict, const char *key);
size_t any_fn qdict_size(const QDict *dict);
QDict *any_fn qdict_copy_shallow(const QDict *dict);

/* Member number @index in the order of insertion, both borrowed; false past the end.
 * Not across changes of @dict. */
bool any_fn qdict_member(const QDict *dict, size_t index, const char **ret_key,
                         QObject **ret_value);

static inline void qdict_put_str(QDict *dict, const char *key, const char *str)
{
    qdict_put(dict, key, qstring_new(str));
}

static inline void qdict_put_int(QDict *dict, const char *key, int64_t value)
{
    qdict_put(dict, key, qint_new(value));
}

static inline void qdict_put_bool(QDict *dict, const char *key, bool value)
{
    qdict_put(dict, key, qbool_new(value));
}

/* The member as a string, or NULL if it is missing or none. */
static inline const char *qdict_get_str(const QDict *dict, const char *key)
{
    return qobject_get_str(qdict_get(dict, key));
}

#endif

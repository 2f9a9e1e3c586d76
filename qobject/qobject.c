/* SPDX-License-Identifier: GPL-2.0-or-later */
/* References, comparison, and the simplest values. */
#include "qemu/osdep.h"

#include "qobject-internal.h"

void *qobject_alloc(QType type, size_t size)
{
    QObject *obj = g_malloc0(size);

    obj->type = type;
    obj->refcnt = 1;
    return obj;
}

QObject *qobject_ref(QObject *obj)
{
    if (obj) {
        obj->refcnt++;
    }
    return obj;
}

/* Drop one reference; what nobody holds any more is freed, or put on @pending if it has members. */
static void drop(QObject *obj, GPtrArray **pending)
{
    assert(obj->refcnt > 0);
    if (--obj->refcnt > 0) {
        return;
    }
    if (obj->type == QTYPE_QDICT || obj->type == QTYPE_QLIST) {
        if (!*pending) {
            *pending = g_ptr_array_new();
        }
        g_ptr_array_add(*pending, obj);
    } else {
        g_free(obj);
    }
}

/* Not recursive: values may be nested deeper than a coroutine's stack would bear. */
void qobject_unref(QObject *obj)
{
    g_autoptr(GPtrArray) pending = NULL;

    if (!obj) {
        return;
    }
    drop(obj, &pending);
    while (pending && pending->len > 0) {
        QObject *next = g_ptr_array_steal_index(pending, pending->len - 1);

        if (next->type == QTYPE_QDICT) {
            QDict *dict = (QDict *)next;

            for (size_t i = 0; i < dict->len; i++) {
                drop(dict->entries[i].value, &pending);
            }
            qdict_free_memory(dict);
        } else {
            QList *list = (QList *)next;

            for (size_t i = 0; i < list->len; i++) {
                drop(list->items[i], &pending);
            }
            qlist_free_memory(list);
        }
    }
}

QType qobject_type(const QObject *obj)
{
    return obj ? obj->type : QTYPE_NONE;
}

const char *qtype_name(QType type)
{
    static const char *const names[QTYPE__MAX] = {
        [QTYPE_NONE] = "nothing",
        [QTYPE_QNULL] = "null",
        [QTYPE_QNUM] = "number",
        [QTYPE_QSTRING] = "string",
        [QTYPE_QDICT] = "object",
        [QTYPE_QLIST] = "array",
        [QTYPE_QBOOL] = "boolean",
    };

    assert((unsigned)type < QTYPE__MAX);
    return names[type];
}

static bool dicts_equal(const QDict *a, const QDict *b)
{
    const char *key;
    QObject *value;

    if (qdict_size(a) != qdict_size(b)) {
        return false;
    }
    for (size_t i = 0; qdict_member(a, i, &key, &value); i++) {
        QObject *other = qdict_get(b, key);

        if (!other || !qobject_equal(value, other)) {
            return false;
        }
    }
    return true;
}

static bool lists_equal(const QList *a, const QList *b)
{
    if (qlist_size(a) != qlist_size(b)) {
        return false;
    }
    for (size_t i = 0; i < qlist_size(a); i++) {
        if (!qobject_equal(qlist_get(a, i), qlist_get(b, i))) {
            return false;
        }
    }
    return true;
}

static bool numbers_equal(const QNum *a, const QNum *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    return a->kind == QNUM_DOUBLE ? a->u.dbl == b->u.dbl : a->u.u64 == b->u.u64;
}

bool qobject_equal(const QObject *a, const QObject *b)
{
    if (qobject_type(a) != qobject_type(b)) {
        return false;
    }
    switch (qobject_type(a)) {
    case QTYPE_QBOOL:
        return ((const QBool *)a)->value == ((const QBool *)b)->value;
    case QTYPE_QNUM:
        return numbers_equal((const QNum *)a, (const QNum *)b);
    case QTYPE_QSTRING:
        return qstring_len(a) == qstring_len(b) &&
               memcmp(qobject_get_str(a), qobject_get_str(b), qstring_len(a)) == 0;
    case QTYPE_QLIST:
        return lists_equal((const QList *)a, (const QList *)b);
    case QTYPE_QDICT:
        return dicts_equal((const QDict *)a, (const QDict *)b);
    default:
        return true;
    }
}

/* ---- null, bool, string ---- */

QObject *qnull_new(void)
{
    return qobject_alloc(QTYPE_QNULL, sizeof(QObject));
}

QObject *qbool_new(bool value)
{
    QBool *b = qobject_alloc(QTYPE_QBOOL, sizeof(*b));

    b->value = value;
    return &b->base;
}

bool qobject_get_bool(const QObject *obj, bool *ret)
{
    if (qobject_type(obj) != QTYPE_QBOOL) {
        return false;
    }
    *ret = ((const QBool *)obj)->value;
    return true;
}

QObject *qstring_new_len(const char *str, size_t len)
{
    QString *s = qobject_alloc(QTYPE_QSTRING, sizeof(*s) + len + 1);

    memcpy(s->str, str, len);
    s->len = len;
    return &s->base;
}

QObject *qstring_new(const char *str)
{
    return qstring_new_len(str, strlen(str));
}

const char *qobject_get_str(const QObject *obj)
{
    return qobject_type(obj) == QTYPE_QSTRING ? ((const QString *)obj)->str : NULL;
}

size_t qstring_len(const QObject *obj)
{
    assert(qobject_type(obj) == QTYPE_QSTRING);
    return ((const QString *)obj)->len;
}

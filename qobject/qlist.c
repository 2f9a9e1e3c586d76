/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists. */
#include "qemu/osdep.h"

#include "qobject-internal.h"

QList *qlist_new(void)
{
    return qobject_alloc(QTYPE_QLIST, sizeof(QList));
}

QList *qobject_to_qlist(QObject *obj)
{
    return qobject_type(obj) == QTYPE_QLIST ? (QList *)obj : NULL;
}

void qlist_free_memory(QList *list)
{
    g_free(list->items);
    g_free(list);
}

void qlist_append(QList *list, QObject *takes)
{
    assert(takes);
    if (list->len == list->room) {
        list->room = list->room ? list->room * 2 : 4;
        list->items = g_renew(QObject *, list->items, list->room);
    }
    list->items[list->len++] = takes;
}

size_t qlist_size(const QList *list)
{
    return list->len;
}

QObject *qlist_get(const QList *list, size_t index)
{
    return index < list->len ? list->items[index] : NULL;
}

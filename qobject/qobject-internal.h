/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What values look like inside; only qobject/ knows. */
#ifndef QOBJECT_INTERNAL_H
#define QOBJECT_INTERNAL_H

#include "qobject/qobject.h"

typedef struct QBool {
    QObject base;
    bool value;
} QBool;

typedef enum QNumKind { QNUM_I64, QNUM_U64, QNUM_DOUBLE } QNumKind;

/* U64 only for what does not fit into I64. */
typedef struct QNum {
    QObject base;
    QNumKind kind;
    union {
        int64_t i64;
        uint64_t u64;
        double dbl;
    } u;
} QNum;

typedef struct QString {
    QObject base;
    size_t len;
    char str[];                 /* len bytes and a NUL */
} QString;

struct QList {
    QObject base;
    QObject **items;
    size_t len, room;
};

typedef struct QDictEntry {
    char *key;
    QObject *value;
} QDictEntry;

struct QDict {
    QObject base;
    QDictEntry *entries;        /* in the order of insertion */
    size_t len, room;
    GHashTable *index;          /* key -> position + 1; NULL while the dict is small */
};

/* A value of @size bytes, with one reference. */
void *any_fn qobject_alloc(QType type, size_t size);

/* Free the memory of a container whose values are dealt with. */
void any_fn qlist_free_memory(QList *list);
void any_fn qdict_free_memory(QDict *dict);

#endif

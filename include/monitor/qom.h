/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program adds to the tree of objects that the commands qom-... show. */
#ifndef MONITOR_QOM_H
#define MONITOR_QOM_H

#include "qemu/context.h"
#include "qobject/qobject.h"

typedef struct QomType {
    const char *name;
    const char *parent;             /* NULL: none */
    bool abstract;                  /* there are no objects of it, but of its descendants */
    bool user_creatable;            /* object-add makes them */
} QomType;

typedef struct QomObject {
    const char *path;               /* without the first slash; what it is in is there too */
    const char *type;
    void *opaque;                   /* the program's */
} QomObject;

typedef struct QomTree {
    /* Calls @fn for every object until it returns true; whether one did. */
    bool (*each)(bool (*fn)(const QomObject *o, void *opaque), void *opaque);
    /* Properties of a type of the program: pieces of text "name=<type>"; NULL: it has none that are
     * known here.  Caller frees. */
    char **(*properties)(const char *type);
    /* The value of a property of an object; NULL: it has none of that name. */
    QObject *(*get)(const QomObject *o, const char *name);
} QomTree;

/* Adds a type; its strings stay the caller's, its parent is there already. */
void any_fn monitor_add_qom_type(const QomType *type);
/* Sets what is in the tree; it stays the caller's. */
void any_fn monitor_set_qom_tree(const QomTree *tree);

#endif

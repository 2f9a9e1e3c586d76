/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What object-add has made, and the properties that the commands qom-... show and set. */
#ifndef BLOCK_OBJECTS_H
#define BLOCK_OBJECTS_H

#include "qemu/throttle.h"
#include "qapi/qapi-types.h"
#include "qemu/iothread.h"

typedef struct UserObject {
    char *id;
    ObjectType type;
    /* One of: */
    IOThread *iothread;
    ThrottleGroup *throttle;
    char *secret;                   /* the contents */
    size_t secret_len;

    /* As it was asked for. */
    int64_t poll_max_ns;            /* of an iothread */
    char *secret_file;              /* NULL: the secret was given itself */
    QCryptoSecretFormat secret_format;
} UserObject;

typedef struct ObjectProperty {
    const char *name, *type;        /* type: as clients are told, a type of JSON or of the schema */
} ObjectProperty;

/* Number @i in the order in which they were made; NULL: there are no more. */
UserObject *main_fn blockdev_object_at(guint i);

/* Those of a type; the last has no name. */
const ObjectProperty *any_fn object_properties(ObjectType type);
/* NULL: there is no such property. */
QObject *main_fn object_get_property(const UserObject *o, const char *name);
/* @name is one of object_properties(). */
bool main_fn object_set_property(UserObject *o, const char *name, QObject *value, Error **errp);

/* The limits that @props ask for, in both forms.  Caller frees. */
ThrottleLimits *any_fn object_throttle_limits(const ThrottleGroupProperties *props, Error **errp);

#endif

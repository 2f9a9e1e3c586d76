/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where in a value the parser is; shared by input.c and input-scalar.c. */
#ifndef QAPI_INPUT_INTERNAL_H
#define QAPI_INPUT_INTERNAL_H

#include "qapi/input.h"

/* One step down: a member (@name) or an element (@index). */
typedef struct QapiStep {
    const char *name;
    size_t index;
    struct QapiStep *up;
} QapiStep;

/* An object whose members are being parsed. */
typedef struct QapiObject {
    QDict *dict;
    GPtrArray *seen;            /* names that the schema knows and @dict has; static strings */
    struct QapiObject *up;
} QapiObject;

struct QapiInput {
    bool keyval;
    int depth;
    QapiStep *step;             /* innermost */
    QapiObject *object;         /* innermost */
};

/* "devlist[0].device", with @name (may be NULL) after it; caller frees. */
char *any_fn qapi_in_path(const QapiInput *in, const char *name);

/* "Invalid parameter type for PATH, expected: @expected" */
void any_fn qapi_in_wrong_type(const QapiInput *in, const char *expected, Error **errp);

#endif

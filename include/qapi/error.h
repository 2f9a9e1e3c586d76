/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors of the control path.
 *
 * A function that can fail takes `Error **errp` last and returns false or NULL
 * on failure.  The caller passes
 *   &local      to look at the error itself, and frees it or hands it on;
 *   errp        to hand it on to its own caller untouched;
 *   NULL        to learn no more than that it failed;
 *   &error_abort  where failure would be a bug of ours.
 * On success *errp is not touched.  On failure it is set exactly once.
 *
 * A message says what was attempted, on what object, and the cause; it has no
 * full stop and no newline.
 */
#ifndef QAPI_ERROR_H
#define QAPI_ERROR_H

#include "qemu/osdep.h"

typedef struct Error Error;

/* The `class` member of a QMP error; error_class_name() has the wire names. */
typedef enum ErrorClass {
    ERROR_CLASS_GENERIC_ERROR,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    /* The classes that blockdev-group-snapshot-sync was specified with. */
    ERROR_CLASS_DEVICE_HAS_NO_MEDIUM,
    ERROR_CLASS_DEVICE_IN_USE,
    ERROR_CLASS_INVALID_BLOCK_FORMAT,
    ERROR_CLASS_OPEN_FILE_FAILED,
    ERROR_CLASS_IO_ERROR,
} ErrorClass;

/* Which member of a group failed; goes on the wire as the error's `data`. */
typedef struct ErrorMember {
    const char *device;     /* borrowed; NULL: unknown */
    const char *filename;   /* borrowed; NULL: unknown */
    int64_t index;          /* position in the request's list; -1: no member */
} ErrorMember;

extern Error *error_abort;

void any_fn error_setg(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Appends ": " and the text of errno value @os_errno (positive). */
void any_fn error_setg_errno(Error **errp, int os_errno, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

void any_fn error_set_class(Error **errp, ErrorClass cls, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* Takes @err.  Hands it to *@errp if that is empty and wanted, else frees it. */
void any_fn error_propagate(Error **errp, Error *err);

/* Put text in front of the message of *@errp; @errp or *@errp may be NULL. */
void any_fn error_prepend(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Change the class / attach a member (strings are copied) to an existing error. */
void any_fn error_change_class(Error *err, ErrorClass cls);
void any_fn error_set_member(Error *err, const ErrorMember *member);

const char *any_fn error_get_pretty(const Error *err);      /* owned by @err */
ErrorClass any_fn error_get_class(const Error *err);
/* The positive errno given to error_setg_errno(), or 0. */
int any_fn error_get_errno(const Error *err);
/* NULL if none was attached; owned by @err. */
const ErrorMember *any_fn error_get_member(const Error *err);
const char *any_fn error_class_name(ErrorClass cls);

Error *any_fn error_copy(const Error *err);
void any_fn error_free(Error *err);                         /* NULL is fine */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

/* For programs: "PROGRAM: MESSAGE\n" on stderr; takes @err. */
void any_fn error_report_err(Error *err);

#endif

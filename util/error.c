/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors of the control path; the rules are in qapi/error.h. */
#include "qemu/osdep.h"

#include "qapi/error.h"

struct Error {
    char *msg;
    ErrorClass cls;
    int os_errno;
    bool has_member;
    ErrorMember member;         /* strings owned */
};

/* Only the variable's address matters; it stays NULL. */
Error *error_abort;

static const char *const class_names[] = {
    [ERROR_CLASS_GENERIC_ERROR] = "GenericError",
    [ERROR_CLASS_COMMAND_NOT_FOUND] = "CommandNotFound",
    [ERROR_CLASS_DEVICE_NOT_FOUND] = "DeviceNotFound",
    [ERROR_CLASS_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
    [ERROR_CLASS_DEVICE_HAS_NO_MEDIUM] = "DeviceHasNoMedium",
    [ERROR_CLASS_DEVICE_IN_USE] = "DeviceInUse",
    [ERROR_CLASS_INVALID_BLOCK_FORMAT] = "InvalidBlockFormat",
    [ERROR_CLASS_OPEN_FILE_FAILED] = "OpenFileFailed",
    [ERROR_CLASS_IO_ERROR] = "IOError",
};

/* Where the caller says failure is impossible, say what failed and stop. */
static void error_handle_abort(Error **errp, const char *msg)
{
    if (errp == &error_abort) {
        fprintf(stderr, "Unexpected error: %s\n", msg);
        abort();
    }
}

/* Takes @msg. */
static void error_store(Error **errp, ErrorClass cls, int os_errno, char *msg)
{
    Error *err;

    error_handle_abort(errp, msg);
    assert(*errp == NULL);
    err = g_new0(Error, 1);
    err->msg = msg;
    err->cls = cls;
    err->os_errno = os_errno;
    *errp = err;
}

/* Callers look at errno after reporting a failure: these functions keep it. */
void error_setg(Error **errp, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list ap;

    if (!errp) {
        return;
    }
    va_start(ap, fmt);
    error_store(errp, ERROR_CLASS_GENERIC_ERROR, 0, g_strdup_vprintf(fmt, ap));
    va_end(ap);
    errno = saved_errno;
}

void error_setg_errno(Error **errp, int os_errno, const char *fmt, ...)
{
    int saved_errno = errno;
    g_autofree char *text = NULL;
    va_list ap;

    if (!errp) {
        return;
    }
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_store(errp, ERROR_CLASS_GENERIC_ERROR, os_errno,
                os_errno ? g_strdup_printf("%s: %s", text, g_strerror(os_errno))
                         : g_strdup(text));
    errno = saved_errno;
}

void error_set_class(Error **errp, ErrorClass cls, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list ap;

    if (!errp) {
        return;
    }
    va_start(ap, fmt);
    error_store(errp, cls, 0, g_strdup_vprintf(fmt, ap));
    va_end(ap);
    errno = saved_errno;
}

void error_propagate(Error **errp, Error *err)
{
    if (!err) {
        return;
    }
    if (errp) {
        error_handle_abort(errp, err->msg);
        if (!*errp) {
            *errp = err;
            return;
        }
    }
    error_free(err);
}

void error_prepend(Error **errp, const char *fmt, ...)
{
    g_autofree char *prefix = NULL;
    char *msg;
    va_list ap;

    if (!errp || !*errp) {
        return;
    }
    va_start(ap, fmt);
    prefix = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    msg = g_strconcat(prefix, (*errp)->msg, NULL);
    g_free((*errp)->msg);
    (*errp)->msg = msg;
}

void error_change_class(Error *err, ErrorClass cls)
{
    err->cls = cls;
}

static void error_clear_member(Error *err)
{
    g_free((char *)err->member.device);
    g_free((char *)err->member.filename);
    err->has_member = false;
}

void error_set_member(Error *err, const ErrorMember *member)
{
    ErrorMember copy = {
        .device = g_strdup(member->device),
        .filename = g_strdup(member->filename),
        .index = member->index,
    };

    error_clear_member(err);
    err->member = copy;
    err->has_member = true;
}

const char *error_get_pretty(const Error *err)
{
    return err->msg;
}

ErrorClass error_get_class(const Error *err)
{
    return err->cls;
}

int error_get_errno(const Error *err)
{
    return err->os_errno;
}

const ErrorMember *error_get_member(const Error *err)
{
    return err->has_member ? &err->member : NULL;
}

const char *error_class_name(ErrorClass cls)
{
    assert((size_t)cls < G_N_ELEMENTS(class_names) && class_names[cls]);
    return class_names[cls];
}

Error *error_copy(const Error *err)
{
    Error *copy = g_new0(Error, 1);

    copy->msg = g_strdup(err->msg);
    copy->cls = err->cls;
    copy->os_errno = err->os_errno;
    if (err->has_member) {
        error_set_member(copy, &err->member);
    }
    return copy;
}

void error_free(Error *err)
{
    if (err) {
        error_clear_member(err);
        g_free(err->msg);
        g_free(err);
    }
}

void error_report_err(Error *err)
{
    const char *name = g_get_prgname();

    if (name) {
        fprintf(stderr, "%s: %s\n", name, err->msg);
    } else {
        fprintf(stderr, "%s\n", err->msg);
    }
    error_free(err);
}

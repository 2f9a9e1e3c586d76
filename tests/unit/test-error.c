/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An error tells what failed, why, and which member of a group it was. */
#include "qemu/osdep.h"

#include "qapi/error.h"

/* The text of an errno is part of the message, and its number is kept. */
static void test_errno_is_named_and_kept(void)
{
    g_autoptr(Error) err = NULL;

    errno = EBADF;
    error_setg_errno(&err, ENOSPC, "Cannot create '%s'", "a");
    g_assert_cmpstr(error_get_pretty(err), ==, "Cannot create 'a': No space left on device");
    g_assert_cmpint(error_get_errno(err), ==, ENOSPC);
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_GENERIC_ERROR);
    g_assert_cmpint(errno, ==, EBADF);
}

/* Who does not want to know gets no error, and nothing leaks. */
static void test_nobody_has_to_look(void)
{
    Error *first = NULL, *second = NULL;

    error_setg(NULL, "x");
    error_set_class(NULL, ERROR_CLASS_IO_ERROR, "x");
    error_setg(&first, "first");
    error_propagate(NULL, first);
    error_prepend(NULL, "x");
    error_prepend(&second, "x");
    g_assert_null(second);
    error_free(NULL);
}

/* The first of two errors is the one that is reported. */
static void test_first_error_wins(void)
{
    Error *first = NULL, *second = NULL;

    error_setg(&first, "first");
    error_setg(&second, "second");
    error_propagate(&first, second);
    error_prepend(&first, "While %s: ", "testing");
    g_assert_cmpstr(error_get_pretty(first), ==, "While testing: first");
    error_free(first);
}

/* The failed member of a group travels with the error and its copies. */
static void test_member_travels_along(void)
{
    Error *err = NULL;
    char device[] = "virtio0";
    ErrorMember member = { .device = device, .filename = NULL, .index = 3 };
    g_autoptr(Error) copy = NULL;

    error_set_class(&err, ERROR_CLASS_OPEN_FILE_FAILED, "x");
    g_assert_null(error_get_member(err));
    error_set_member(err, &member);
    error_set_member(err, error_get_member(err));
    device[0] = 'X';
    copy = error_copy(err);
    error_free(err);
    g_assert_cmpstr(error_get_member(copy)->device, ==, "virtio0");
    g_assert_null(error_get_member(copy)->filename);
    g_assert_cmpint(error_get_member(copy)->index, ==, 3);
    g_assert_cmpstr(error_class_name(error_get_class(copy)), ==, "OpenFileFailed");
    error_change_class(copy, ERROR_CLASS_DEVICE_IN_USE);
    g_assert_cmpstr(error_class_name(error_get_class(copy)), ==, "DeviceInUse");
}

/* Where failure would be a bug of ours the program says what failed and stops. */
static void test_abort_stops_the_program(void)
{
    if (g_test_subprocess()) {
        error_setg(&error_abort, "it broke");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*Unexpected error: it broke*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/errno-is-named-and-kept", test_errno_is_named_and_kept);
    g_test_add_func("/error/nobody-has-to-look", test_nobody_has_to_look);
    g_test_add_func("/error/first-error-wins", test_first_error_wins);
    g_test_add_func("/error/member-travels-along", test_member_travels_along);
    g_test_add_func("/error/abort-stops-the-program", test_abort_stops_the_program);
    return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnbd, which is loaded when the first NBD disk is opened: it brings two dozen other libraries
 * along, which would make the start of every program take twice as long.
 */
#ifndef NBD_LIBRARY_H
#define NBD_LIBRARY_H

#include <libnbd.h>

#include "qapi/error.h"

/* What is used of it. */
#define NBD_LIBRARY_FUNCTIONS(X) \
    X(add_meta_context) X(aio_block_status) X(aio_connect_socket) X(aio_disconnect) \
    X(aio_flush) X(aio_get_direction) X(aio_get_fd) X(aio_is_closed) X(aio_is_dead) \
    X(aio_is_negotiating) X(aio_is_processing) X(aio_is_ready) X(aio_notify_read) \
    X(aio_notify_write) X(aio_opt_go) X(aio_pread_structured) X(aio_pwrite) X(aio_trim) \
    X(aio_zero) X(can_fast_zero) X(can_flush) X(can_fua) X(can_meta_context) \
    X(can_multi_conn) X(can_trim) X(can_zero) X(close) X(create) X(get_block_size) \
    X(get_errno) X(get_error) X(get_size) X(is_read_only) X(set_debug) X(set_debug_callback) \
    X(set_export_name) X(set_opt_mode) X(set_pread_initialize) X(set_tls)

typedef struct NbdLibrary {
#define X(name) __typeof__(nbd_##name) *name;
    NBD_LIBRARY_FUNCTIONS(X)
#undef X
} NbdLibrary;

/* Its functions, once it is loaded. */
extern NbdLibrary nbd_library;

bool co_main_fn nbd_library_load(Error **errp);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-nbd. */
#ifndef QNBD_H
#define QNBD_H

#include "tools/common/tool.h"
#include "qemu/sockets.h"

#define QNBD_DEFAULT_PORT "10809"

/* The command line.  Strings are borrowed from it. */
typedef struct QnbdArgs {
    ToolImage image;
    bool has_cache, has_aio, has_discard, has_detect_zeroes;
    const char *load_snapshot;      /* an internal snapshot to serve instead, or NULL */
    bool snapshot;                  /* what is written goes to a file that nobody sees */
    uint64_t offset;                /* bytes */

    const char *path;               /* -k */
    const char *bind, *port;
    bool has_fd;                    /* socket activation: descriptor 3 listens */
    int shared;
    bool persistent, verbose;

    const char *name, *description;
    bool allocation_depth;
    GPtrArray *bitmaps;             /* of const char * */
    GPtrArray *objects;             /* the same */

    bool list;
    const char *device;             /* -c */
    bool disconnect;                /* ... is let go instead */
    bool fork;
    const char *pid_file;
} QnbdArgs;

/* args.c: "qemu-nbd: ..." and the end, with status 1, where it is wrong. */
void qnbd_parse(int argc, char **argv, QnbdArgs *a);
/* The address that @a means. */
void qnbd_address(const QnbdArgs *a, SocketSpec *ret);

/* image.c: the disk that is to be exported, in a backend; NULL with the installed program's words. */
BlockBackend *co_main_fn qnbd_open(const QnbdArgs *a, Error **errp);

/* list.c, serve.c: return the exit status. */
int co_main_fn qnbd_list(const QnbdArgs *a);
int co_main_fn qnbd_serve(const QnbdArgs *a);

/* ---- device.c: block devices of the kernel's NBD client ---- */

/* Lets @device go; the exit status. */
int blocking_fn qnbd_disconnect(const char *device);
/* Connects @device to the server at the unix socket @path; -1 with @errp set, or its descriptor.
 * Once the device is disconnected, by whomever, the process gets SIGTERM. */
int co_fn qnbd_connect(const char *device, const char *path, const char *name, Error **errp);
/* From any thread: the device is let go. */
void any_fn qnbd_hang_up(int device_fd);

#endif

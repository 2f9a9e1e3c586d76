/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block devices of Linux' NBD client, by ioctl().  The kernel has no handshake: libnbd makes the
 * connection and chooses the export, and the kernel goes on with the socket.
 */
#include "qemu/osdep.h"

#include <linux/fs.h>
#include <linux/nbd.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "config-host.h"
#include "qemu/aio.h"
#include "qnbd.h"
#if CONFIG_LIBNBD
#include <libnbd.h>
#endif

int blocking_fn qnbd_disconnect(const char *device)
{
    int fd = open(device, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        tool_error("Cannot open %s: %s", device, g_strerror(errno));
        return 1;
    }
    qnbd_hang_up(fd);
    printf("%s disconnected\n", device);
    return 0;
}

void any_fn qnbd_hang_up(int device_fd)
{
    if (device_fd >= 0) {
        ioctl(device_fd, NBD_CLEAR_QUE);
        ioctl(device_fd, NBD_DISCONNECT);
        ioctl(device_fd, NBD_CLEAR_SOCK);
        close(device_fd);
    }
}

#if CONFIG_LIBNBD
/* The block size in which the kernel counts. */
#define SECTOR 512

typedef struct Task {
    const char *device, *path, *name;
    Error **errp;
    int device_fd;                  /* the caller's */
} Task;

/* Serves the device until it is disconnected, and that is the end of this program. */
static gpointer run_device(gpointer opaque)
{
    int fd = GPOINTER_TO_INT(opaque);

    ioctl(fd, NBD_DO_IT);
    ioctl(fd, NBD_CLEAR_QUE);
    ioctl(fd, NBD_CLEAR_SOCK);
    close(fd);
    kill(getpid(), SIGTERM);
    return NULL;
}

static unsigned kernel_flags(struct nbd_handle *h)
{
    return NBD_FLAG_HAS_FLAGS | (nbd_is_read_only(h) > 0 ? NBD_FLAG_READ_ONLY : 0) |
           (nbd_can_flush(h) > 0 ? NBD_FLAG_SEND_FLUSH : 0) |
           (nbd_can_fua(h) > 0 ? NBD_FLAG_SEND_FUA : 0) |
           (nbd_can_trim(h) > 0 ? NBD_FLAG_SEND_TRIM : 0) |
           (nbd_can_multi_conn(h) > 0 ? NBD_FLAG_CAN_MULTI_CONN : 0);
}

static int set_up(int device_fd, int sock, struct nbd_handle *h, Error **errp)
{
    int read_only = nbd_is_read_only(h) > 0;
    unsigned long sectors = nbd_get_size(h) / SECTOR;

    if (ioctl(device_fd, NBD_SET_SOCK, (unsigned long)sock) < 0) {
        error_setg(errp, "Failed to set NBD socket");
    } else if (ioctl(device_fd, NBD_SET_BLKSIZE, (unsigned long)SECTOR) < 0) {
        error_setg(errp, "Failed setting NBD block size");
    } else if (ioctl(device_fd, NBD_SET_SIZE_BLOCKS, sectors) < 0) {
        error_setg(errp, "Failed setting size (in blocks)");
    } else if (ioctl(device_fd, NBD_SET_FLAGS, (unsigned long)kernel_flags(h)) < 0 &&
               errno != ENOTTY) {
        error_setg(errp, "Failed setting flags");
    } else if (read_only && ioctl(device_fd, BLKROSET, &read_only) < 0) {
        error_setg(errp, "Failed setting read-only attribute");
    } else {
        return 0;
    }
    ioctl(device_fd, NBD_CLEAR_SOCK);
    return -1;
}

static int blocking_fn connect_in_thread(void *opaque)
{
    Task *t = opaque;
    struct nbd_handle *h = nbd_create();
    int sock = -1, ret = -1;

    t->device_fd = open(t->device, O_RDWR | O_CLOEXEC);
    if (t->device_fd < 0) {
        error_setg(t->errp, "Failed to open %s: %s", t->device, g_strerror(errno));
    } else if (!h || nbd_set_export_name(h, t->name) < 0 ||
               nbd_set_request_structured_replies(h, false) < 0 ||
               nbd_connect_unix(h, t->path) < 0 ||
               (sock = fcntl(nbd_aio_get_fd(h), F_DUPFD_CLOEXEC, 3)) < 0) {
        error_setg(t->errp, "Cannot connect %s: %s", t->device, nbd_get_error() ?: "no memory");
    } else {
        fcntl(sock, F_SETFL, fcntl(sock, F_GETFL) & ~O_NONBLOCK);
        ret = set_up(t->device_fd, sock, h, t->errp);
    }
    if (ret == 0) {
        int fd = fcntl(t->device_fd, F_DUPFD_CLOEXEC, 3);
        g_thread_unref(g_thread_new("NBD device", run_device, GINT_TO_POINTER(fd)));
    } else if (t->device_fd >= 0) {
        close(t->device_fd);
    }
    nbd_close(h);                   /* its end of the socket; nothing is said to the server */
    if (sock >= 0) {
        close(sock);                /* the kernel has its own */
    }
    return ret;
}

int co_fn qnbd_connect(const char *device, const char *path, const char *name, Error **errp)
{
    Task t = { .device = device, .path = path, .name = name, .errp = errp };

    return thread_pool_co_run(connect_in_thread, &t) < 0 ? -1 : t.device_fd;
}
#else
int co_fn qnbd_connect(const char *device, const char *path, const char *name, Error **errp)
{
    error_setg(errp, "Cannot connect %s: this program was built without libnbd", device);
    return -1;
}
#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the server answers to an option; protocol document, "Option types" and "Option replies". */
#include "qemu/osdep.h"

#include <stdarg.h>

#include "nbd/nbd-internal.h"

int co_main_fn nbd_opt_reply(NbdConn *conn, uint32_t opt, uint32_t type, const void *data,
                             size_t len)
{
    uint8_t head[20];
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)data, len } };

    be64_store(head, NBD_REP_MAGIC);
    be32_store(head + 8, opt);
    be32_store(head + 12, type);
    be32_store(head + 16, len);
    return channel_send_all(&conn->chan, iov, len ? 2 : 1);
}

int co_main_fn nbd_opt_error(NbdConn *conn, uint32_t opt, uint32_t type, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    /* The protocol has all texts in UTF-8; a name that the client sent need not be. */
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    size_t len = MIN(strlen(valid), NBD_MAX_STRING);
    while (len > 0 && (valid[len] & 0xc0) == 0x80) {
        len--;                      /* not in the middle of a character */
    }
    return nbd_opt_reply(conn, opt, type, valid, len);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake: flags, then one option after the other until an export is chosen. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

/* Read @len bytes of no interest. */
static int co_fn skip(Channel *chan, uint32_t len)
{
    char buf[4096];
    int ret = 0;

    while (len > 0 && ret == 0) {
        size_t n = MIN(len, sizeof(buf));
        ret = channel_recv_all(chan, buf, n);
        len -= n;
    }
    return ret;
}

static int co_fn exchange_flags(NbdConn *conn)
{
    uint8_t hello[18], answer[4];
    struct iovec iov = { hello, sizeof(hello) };

    be64_store(hello, NBD_MAGIC);
    be64_store(hello + 8, NBD_OPTS_MAGIC);
    be16_store(hello + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    int ret = channel_send_all(&conn->chan, &iov, 1);
    if (ret == 0) {
        ret = channel_recv_all(&conn->chan, answer, sizeof(answer));
    }
    if (ret < 0) {
        return ret;
    }
    uint32_t flags = be32_load(answer);
    conn->fixed_newstyle = flags & NBD_FLAG_FIXED_NEWSTYLE;
    conn->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    /* A flag that we do not know changes what we cannot guess: the protocol wants us to leave. */
    return flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES) ? -EPROTO : 0;
}

/* The largest option with a meaning: a list of metadata contexts (a client may name many). */
#define MAX_KNOWN_OPTION (64 * 1024)

/* 1: *@opt is to be handled (free its data); 0: it was answered already; -errno. */
static int co_main_fn read_option(NbdConn *conn, NbdOption *opt)
{
    uint8_t head[16];
    int ret = channel_recv_all(&conn->chan, head, sizeof(head));

    if (ret < 0) {
        return ret;
    }
    *opt = (NbdOption){ .code = be32_load(head + 8), .len = be32_load(head + 12) };
    if (be64_load(head) != NBD_OPTS_MAGIC || opt->len > NBD_MAX_OPTION) {
        return -EPROTO;
    }
    if (!conn->fixed_newstyle && opt->code != NBD_OPT_EXPORT_NAME) {
        return -EPROTO;             /* it could not read an error reply */
    }
    if (opt->len > MAX_KNOWN_OPTION) {
        ret = skip(&conn->chan, opt->len);
        if (ret == 0) {
            ret = opt->code == NBD_OPT_EXPORT_NAME ? -EPROTO
                  : nbd_opt_error(conn, opt->code, NBD_REP_ERR_TOO_BIG,
                                  "option of %u bytes is too long", opt->len);
        }
        return ret;
    }
    opt->data = g_malloc(opt->len + 1);
    opt->data[opt->len] = 0;
    ret = channel_recv_all(&conn->chan, opt->data, opt->len);
    if (ret < 0) {
        g_free(opt->data);
        return ret;
    }
    return 1;
}

int co_main_fn nbd_negotiate(NbdConn *conn)
{
    int ret = exchange_flags(conn);

    while (ret >= 0) {
        NbdOption opt;
        ret = read_option(conn, &opt);
        if (ret == 1) {
            NbdOptResult result = nbd_handle_option(conn, &opt);
            g_free(opt.data);
            if (result != NBD_OPT_CONTINUE) {
                return result == NBD_OPT_TRANSMIT ? 0 : -ECONNRESET;
            }
        }
    }
    return ret;
}

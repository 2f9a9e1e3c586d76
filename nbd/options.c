/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of the handshake; protocol document, "Option haggling". */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

static NbdOptResult go_on(int ret)
{
    return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
}

static NbdOptResult co_main_fn invalid(NbdConn *conn, const NbdOption *opt, const char *why)
{
    return go_on(nbd_opt_error(conn, opt->code, NBD_REP_ERR_INVALID, "%s", why));
}

/* ---- the options ---- */

uint16_t main_fn nbd_transmission_flags(const NbdConn *conn, const NbdExport *exp)
{
    uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
                     NBD_FLAG_SEND_CACHE;

    if (exp->server->limits.max_connections != 1) {
        flags |= NBD_FLAG_CAN_MULTI_CONN;
    }
    if (exp->writable) {
        flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    } else {
        flags |= NBD_FLAG_READ_ONLY;
    }
    return conn->structured ? flags | NBD_FLAG_SEND_DF : flags;
}

/* conn->exp is it. */
static NbdOptResult choose(NbdConn *conn)
{
    /* Contexts were selected for one export; with another one they mean nothing. */
    if (conn->meta_export != conn->exp->serial) {
        conn->meta = 0;
    }
    return NBD_OPT_TRANSMIT;
}

static NbdOptResult co_main_fn opt_export_name(NbdConn *conn, const NbdOption *opt)
{
    uint8_t reply[8 + 2 + 124] = { 0 };
    struct iovec iov = { reply, conn->no_zeroes ? 10 : sizeof(reply) };
    NbdExport *exp;

    if (opt->len > NBD_MAX_STRING || strlen((char *)opt->data) != opt->len) {
        return NBD_OPT_CLOSE;       /* this option has no error reply */
    }
    exp = nbd_find_export(conn->server, (char *)opt->data);
    if (!exp) {
        return NBD_OPT_CLOSE;
    }
    conn->size = blk_length(exp->blk);
    be64_store(reply, conn->size);
    be16_store(reply + 8, nbd_transmission_flags(conn, exp));
    conn->exp = exp;
    return channel_send_all(&conn->chan, &iov, 1) < 0 || conn->shut ? NBD_OPT_CLOSE : choose(conn);
}

static NbdOptResult co_main_fn opt_abort(NbdConn *conn, const NbdOption *opt)
{
    nbd_opt_reply(conn, opt->code, NBD_REP_ACK, NULL, 0);
    return NBD_OPT_CLOSE;
}

static NbdOptResult co_main_fn opt_list(NbdConn *conn, const NbdOption *opt)
{
    if (opt->len) {
        return invalid(conn, opt, "LIST takes no data");
    }
    /* An export may come or go while we send: take the names first. */
    g_autoptr(GPtrArray) replies =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    for (GList *e = conn->server->exports.head; e; e = e->next) {
        const NbdExport *exp = e->data;
        GByteArray *r = g_byte_array_new();
        uint8_t len[4];
        be32_store(len, strlen(exp->name));
        g_byte_array_append(r, len, 4);
        g_byte_array_append(r, (uint8_t *)exp->name, strlen(exp->name));
        if (exp->description) {
            g_byte_array_append(r, (uint8_t *)exp->description, strlen(exp->description));
        }
        g_ptr_array_add(replies, r);
    }
    for (guint i = 0; i < replies->len; i++) {
        GByteArray *r = replies->pdata[i];
        if (nbd_opt_reply(conn, opt->code, NBD_REP_SERVER, r->data, r->len) < 0) {
            return NBD_OPT_CLOSE;
        }
    }
    return go_on(nbd_opt_reply(conn, opt->code, NBD_REP_ACK, NULL, 0));
}

static NbdOptResult co_main_fn opt_starttls(NbdConn *conn, const NbdOption *opt)
{
    if (opt->len) {
        return invalid(conn, opt, "STARTTLS takes no data");
    }
    return go_on(nbd_opt_error(conn, opt->code, NBD_REP_ERR_POLICY, "TLS not configured"));
}

static NbdOptResult co_main_fn opt_structured_reply(NbdConn *conn, const NbdOption *opt)
{
    if (opt->len) {
        return invalid(conn, opt, "STRUCTURED_REPLY takes no data");
    }
    if (conn->structured) {
        return invalid(conn, opt, "structured replies are negotiated already");
    }
    conn->structured = true;
    return go_on(nbd_opt_reply(conn, opt->code, NBD_REP_ACK, NULL, 0));
}

/* ---- INFO and GO ---- */

static int co_main_fn send_info_text(NbdConn *conn, uint32_t opt, uint16_t type, const char *text)
{
    size_t len = strlen(text);      /* the export may go while we wait for the client */
    g_autofree uint8_t *buf = g_malloc(2 + len);

    be16_store(buf, type);
    memcpy(buf + 2, text, len);
    return nbd_opt_reply(conn, opt, NBD_REP_INFO, buf, 2 + len);
}

/* The last one before transmission counts: GO names the export that is chosen. */
static int co_main_fn send_info_export(NbdConn *conn, uint32_t opt, const NbdExport *exp)
{
    uint8_t buf[12];

    be16_store(buf, NBD_INFO_EXPORT);
    conn->size = blk_length(exp->blk);
    be64_store(buf + 2, conn->size);
    be16_store(buf + 10, nbd_transmission_flags(conn, exp));
    return nbd_opt_reply(conn, opt, NBD_REP_INFO, buf, sizeof(buf));
}

static int co_main_fn send_info_block_size(NbdConn *conn, uint32_t opt)
{
    uint8_t buf[14];

    be16_store(buf, NBD_INFO_BLOCK_SIZE);
    be32_store(buf + 2, 1);           /* any request is padded as needed */
    be32_store(buf + 6, 4096);
    be32_store(buf + 10, NBD_MAX_PAYLOAD);
    return nbd_opt_reply(conn, opt, NBD_REP_INFO, buf, sizeof(buf));
}

typedef struct InfoRequest {
    char name[NBD_MAX_STRING + 1];
    bool wants_name, wants_description, wants_block_size;
} InfoRequest;

/* uint32 length, name, uint16 count, count * uint16; NULL or what is wrong with it. */
static const char *parse_info(const NbdOption *opt, InfoRequest *info)
{
    uint32_t name_len, at;

    memset(info, 0, sizeof(*info));
    if (opt->len < 6) {
        return "request is too short";
    }
    name_len = be32_load(opt->data);
    if (name_len > NBD_MAX_STRING || name_len > opt->len - 6) {
        return "export name is too long";
    }
    memcpy(info->name, opt->data + 4, name_len);
    if (strlen(info->name) != name_len) {
        return "export name contains a NUL byte";
    }
    at = 4 + name_len;
    if (opt->len - at - 2 != 2 * (uint32_t)be16_load(opt->data + at)) {
        return "request does not have the length that it says";
    }
    for (at += 2; at < opt->len; at += 2) {
        uint16_t type = be16_load(opt->data + at);
        info->wants_name |= type == NBD_INFO_NAME;
        info->wants_description |= type == NBD_INFO_DESCRIPTION;
        info->wants_block_size |= type == NBD_INFO_BLOCK_SIZE;
    }
    return NULL;
}

/* All that was asked about conn->exp, which is gone when conn->shut is set.  0 or -errno. */
static int co_main_fn send_infos(NbdConn *conn, uint32_t opt, const InfoRequest *info)
{
    int ret = 0;

    if (info->wants_name) {
        ret = send_info_text(conn, opt, NBD_INFO_NAME, conn->exp->name);
    }
    if (ret == 0 && !conn->shut && info->wants_description && conn->exp->description) {
        ret = send_info_text(conn, opt, NBD_INFO_DESCRIPTION, conn->exp->description);
    }
    if (ret == 0 && info->wants_block_size) {
        ret = send_info_block_size(conn, opt);
    }
    if (ret == 0 && !conn->shut) {
        ret = send_info_export(conn, opt, conn->exp);
    }
    return ret;
}

static NbdOptResult co_main_fn opt_info_go(NbdConn *conn, const NbdOption *opt)
{
    g_autofree InfoRequest *info = g_new(InfoRequest, 1);
    const char *wrong = parse_info(opt, info);

    if (wrong) {
        return invalid(conn, opt, wrong);
    }
    NbdExport *exp = nbd_find_export(conn->server, info->name);
    if (!exp) {
        return go_on(nbd_opt_error(conn, opt->code, NBD_REP_ERR_UNKNOWN,
                                   NBD_NO_EXPORT, NBD_NO_EXPORT_ARGS(info->name)));
    }
    conn->exp = exp;
    int ret = send_infos(conn, opt->code, info);
    if (ret == 0 && !conn->shut) {
        ret = nbd_opt_reply(conn, opt->code, NBD_REP_ACK, NULL, 0);
    }
    if (ret < 0 || conn->shut) {
        return NBD_OPT_CLOSE;
    }
    if (opt->code == NBD_OPT_GO) {
        return choose(conn);
    }
    conn->exp = NULL;
    return NBD_OPT_CONTINUE;
}

typedef struct OptionHandler {
    uint32_t code;
    NbdOptResult (*handle)(NbdConn *conn, const NbdOption *opt);
} OptionHandler;

static const OptionHandler handlers[] = {
    { NBD_OPT_EXPORT_NAME,          opt_export_name },
    { NBD_OPT_ABORT,                opt_abort },
    { NBD_OPT_LIST,                 opt_list },
    { NBD_OPT_STARTTLS,             opt_starttls },
    { NBD_OPT_INFO,                 opt_info_go },
    { NBD_OPT_GO,                   opt_info_go },
    { NBD_OPT_STRUCTURED_REPLY,     opt_structured_reply },
    { NBD_OPT_LIST_META_CONTEXT,    nbd_opt_meta_context },
    { NBD_OPT_SET_META_CONTEXT,     nbd_opt_meta_context },
};

NbdOptResult co_main_fn nbd_handle_option(NbdConn *conn, const NbdOption *opt)
{
    for (size_t i = 0; i < G_N_ELEMENTS(handlers); i++) {
        if (handlers[i].code == opt->code) {
            return handlers[i].handle(conn, opt);
        }
    }
    return go_on(nbd_opt_error(conn, opt->code, NBD_REP_ERR_UNSUP, "Unsupported option %u",
                               opt->code));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests: what may be asked, and doing it. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"
#include "qemu/trace.h"

/* Reads of at least this length are looked up first, so that holes are not read and sent. */
#define SPARSE_READ_MIN (64 * KiB)

/* ---- what may be asked ---- */

typedef struct RequestRule {
    uint16_t type;
    uint16_t flags;                 /* allowed, besides FUA */
    bool writes, has_range, bounded;    /* bounded: at most NBD_MAX_PAYLOAD bytes */
    bool may_be_empty;
    uint32_t beyond;                /* what a range gets that does not lie in the export */
} RequestRule;

static const RequestRule rules[] = {
    { NBD_CMD_READ,  NBD_CMD_FLAG_DF, false, true, true, true, NBD_EINVAL },
    { NBD_CMD_WRITE, 0, true, true, true, true, NBD_ENOSPC },
    { NBD_CMD_FLUSH, 0, false, false, false, true, 0 },
    { NBD_CMD_TRIM,  0, true, true, false, true, NBD_EINVAL },
    { NBD_CMD_CACHE, 0, false, true, true, true, NBD_EINVAL },
    { NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, true, true, false, true,
      NBD_ENOSPC },
    { NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, false, true, false, false, NBD_EINVAL },
};

static const RequestRule *find_rule(uint16_t type)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (rules[i].type == type) {
            return &rules[i];
        }
    }
    return NULL;
}

static uint32_t check(const NbdRequest *req)
{
    const NbdConn *conn = req->conn;
    const RequestRule *rule = find_rule(req->type);

    /* FUA was offered, so it is to be taken with any command. */
    if (!rule || req->flags & ~(rule->flags | NBD_CMD_FLAG_FUA)) {
        return NBD_EINVAL;
    }
    if ((req->type == NBD_CMD_BLOCK_STATUS && !conn->meta) ||
        (req->flags & NBD_CMD_FLAG_DF && !conn->structured)) {
        return NBD_EINVAL;
    }
    if (rule->writes && !conn->exp->writable) {
        return NBD_EPERM;
    }
    if (!rule->has_range) {
        return req->from || req->len ? NBD_EINVAL : 0;
    }
    if ((req->len == 0 && !rule->may_be_empty) ||
        (rule->bounded && req->len > NBD_MAX_PAYLOAD)) {
        return NBD_EINVAL;
    }
    if (req->from > conn->size || req->len > conn->size - req->from) {
        return rule->beyond;
    }
    return 0;
}

void co_fn nbd_request_check(NbdRequest *req)
{
    req->error = check(req);
}

/* ---- doing it ---- */

static const char *describe(uint32_t error)
{
    switch (error) {
    case NBD_EPERM:
        return "export is read-only";
    case NBD_EINVAL:
        return "invalid request";
    case NBD_ENOSPC:
        return "no space left";
    case NBD_ENOMEM:
        return "out of memory";
    case NBD_ENOTSUP:
        return "not supported";
    default:
        return "input/output error";
    }
}

static void finish(NbdRequest *req, int ret)
{
    if (ret < 0) {
        nbd_reply_error(req, nbd_errno(req, ret), describe(nbd_errno(req, ret)));
    } else {
        nbd_reply_simple(req, 0);   /* allowed with structured replies too, where nothing is
                                     * returned */
    }
}

static int co_fn read_into(NbdRequest *req, uint64_t from, size_t len)
{
    IoVec v;

    iovec_init_buf(&v, (char *)req->buf + (from - req->from), len);
    return blk_co_preadv(req->conn->exp->blk, &req->conn->client, from, len, &v);
}

static void data_chunk(NbdRequest *req, bool done, uint64_t from, size_t len)
{
    uint8_t fixed[8];

    be64_store(fixed, from);
    nbd_reply_chunk(req, done, NBD_REPLY_TYPE_OFFSET_DATA, fixed, sizeof(fixed),
                    (char *)req->buf + (from - req->from), len);
}

static void hole_chunk(NbdRequest *req, bool done, uint64_t from, uint32_t len)
{
    uint8_t fixed[12];

    be64_store(fixed, from);
    be32_store(fixed + 8, len);
    nbd_reply_chunk(req, done, NBD_REPLY_TYPE_OFFSET_HOLE, fixed, sizeof(fixed), NULL, 0);
}

/* Read run by run; a run of zeroes is not read and sent as a hole. */
static int co_fn read_sparse(NbdRequest *req)
{
    uint64_t at = req->from, end = req->from + req->len;

    while (at < end) {
        int64_t n;
        int ret = blk_co_read_hole(req->conn->exp->blk, &req->conn->client, at, end - at, &n);

        if (ret == 1) {
            hole_chunk(req, at + n == end, at, n);
        } else {
            ret = ret ?: read_into(req, at, n);
            if (ret < 0) {
                return ret;
            }
            data_chunk(req, at + n == end, at, n);
        }
        at += n;
    }
    return 0;
}

static void co_fn do_read(NbdRequest *req)
{
    bool structured = req->conn->structured;
    int ret;

    if (structured && req->len >= SPARSE_READ_MIN && !(req->flags & NBD_CMD_FLAG_DF)) {
        ret = read_sparse(req);
    } else {
        ret = req->len ? read_into(req, req->from, req->len) : 0;
        if (ret == 0 && structured && req->len) {
            data_chunk(req, true, req->from, req->len);
        } else if (ret == 0 && structured) {
            nbd_reply_chunk(req, true, NBD_REPLY_TYPE_NONE, NULL, 0, NULL, 0);
        }
    }
    if (ret < 0) {
        finish(req, ret);
    } else if (!structured) {
        nbd_reply_simple(req, 0);
        if (req->len) {
            iovec_add(&req->out, req->buf, req->len);
        }
    }
}

static int co_fn do_write(NbdRequest *req, unsigned flags)
{
    IoVec v;

    iovec_init_buf(&v, req->buf, req->len);
    return blk_co_pwritev(req->conn->exp->blk, &req->conn->client, req->from, req->len, &v, flags);
}

static int co_fn do_flush(NbdRequest *req)
{
    return blk_co_flush(req->conn->exp->blk, &req->conn->client);
}

static int co_fn do_trim(NbdRequest *req)
{
    int ret = blk_co_pdiscard(req->conn->exp->blk, &req->conn->client, req->from, req->len);

    return ret == 0 && req->flags & NBD_CMD_FLAG_FUA ? do_flush(req) : ret;
}

static int co_fn do_write_zeroes(NbdRequest *req, unsigned flags)
{
    if (!(req->flags & NBD_CMD_FLAG_NO_HOLE)) {
        flags |= BDRV_REQ_MAY_UNMAP;
    }
    if (req->flags & NBD_CMD_FLAG_FAST_ZERO) {
        flags |= BDRV_REQ_NO_FALLBACK;
    }
    return blk_co_pwrite_zeroes(req->conn->exp->blk, &req->conn->client, req->from, req->len,
                                flags);
}

static void co_fn run(NbdRequest *req)
{
    unsigned flags = req->flags & NBD_CMD_FLAG_FUA ? BDRV_REQ_FUA : 0;

    switch (req->type) {
    case NBD_CMD_READ:
        do_read(req);
        break;
    case NBD_CMD_BLOCK_STATUS:
        nbd_block_status(req);
        break;
    case NBD_CMD_WRITE:
        finish(req, do_write(req, flags));
        break;
    case NBD_CMD_FLUSH:
        finish(req, do_flush(req));
        break;
    case NBD_CMD_TRIM:
        finish(req, do_trim(req));
        break;
    case NBD_CMD_WRITE_ZEROES:
        finish(req, do_write_zeroes(req, flags));
        break;
    case NBD_CMD_CACHE:             /* reading it is what brings it into the host's cache */
        finish(req, read_into(req, req->from, req->len));
        break;
    default:
        g_assert_not_reached();     /* nbd_request_check() */
    }
}

static const char *command_name(uint16_t type)
{
    static const char *const names[] = {
        [NBD_CMD_READ] = "read", [NBD_CMD_WRITE] = "write", [NBD_CMD_DISC] = "disconnect",
        [NBD_CMD_FLUSH] = "flush", [NBD_CMD_TRIM] = "trim", [NBD_CMD_CACHE] = "cache",
        [NBD_CMD_WRITE_ZEROES] = "write-zeroes", [NBD_CMD_BLOCK_STATUS] = "block-status",
    };

    return type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}

void co_fn nbd_request_entry(void *opaque)
{
    NbdRequest *req = opaque;

    trace_nbd_request_begin(req->conn, req->cookie, command_name(req->type), req->from, req->len,
                            req->flags);
    if (req->error) {
        nbd_reply_error(req, req->error, describe(req->error));
    } else if (req->len == 0 && req->type != NBD_CMD_READ && req->type != NBD_CMD_FLUSH) {
        finish(req, 0);             /* nothing was asked, and it is done */
    } else {
        run(req);
    }
    trace_nbd_request_end(req->conn, req->cookie, command_name(req->type), req->from, req->len,
                          req->error);
    req->conn->exp->running--;
    nbd_request_done(req);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One request to libnbd, and its answer.  libnbd calls back while it is being called, so callbacks
 * only note what they are told.
 */
#include "qemu/osdep.h"

#include "block/protocols/nbd/library.h"
#include "block/protocols/nbd/nbd-internal.h"

/* The errno of a request whose connection is gone; no server's error becomes that. */
#define LOST ENOTCONN

static int errno_of(int error)
{
    return error <= 0 || error >= 4096 || error == EPROTO ? EIO : error;
}

/* Has all of a read come?  Bytes that did not are never taken for data. */
static int check_read(const NbdRequest *r)
{
    if (r->covered != r->bytes) {
        return -EIO;
    }
    /* Out of order it may be that one piece came twice and another one not at all. */
    return r->out_of_order && !r->cleared ? -EAGAIN : 0;
}

static int check_answer(const NbdRequest *r)
{
    switch (r->cmd) {
    case NBD_READ:
        return check_read(r);
    case NBD_STATUS:
        return r->status_bytes > 0 ? 0 : -EIO;
    default:
        return 0;
    }
}

static void finish(NbdRequest *r, int error)
{
    NbdConn *c = r->conn;

    r->ret = error == LOST ? -LOST : error ? -errno_of(error) : check_answer(r);
    r->conn = NULL;
    c->in_flight--;
    c->in_flight_bytes -= r->buf ? r->bytes : 0;
    nbd_list_append(&c->finished, r);
}

static int on_done(void *opaque, int *error)
{
    finish(opaque, *error);
    return 1;                       /* libnbd need not keep it */
}

static int on_chunk(void *opaque, const void *data, size_t count, uint64_t offset, unsigned status,
                    int *error)
{
    NbdRequest *r = opaque;

    if (status != LIBNBD_READ_ERROR) {
        r->out_of_order |= offset != r->offset + r->covered;
        r->covered += count;
    }
    return 0;
}

static int on_extent(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                     size_t n, int *error)
{
    NbdRequest *r = opaque;

    if (n >= 2 && r->status_bytes == 0 && strcmp(context, r->conn->s->context) == 0) {
        r->status_bytes = MIN(entries[0], r->bytes);
        r->status_flags = entries[1];
    }
    return 0;
}

static int64_t give_to_libnbd(struct nbd_handle *h, NbdRequest *r)
{
    nbd_completion_callback done = { .callback = on_done, .user_data = r };
    nbd_chunk_callback chunk = { .callback = on_chunk, .user_data = r };
    nbd_extent_callback extent = { .callback = on_extent, .user_data = r };

    switch (r->cmd) {
    case NBD_READ:
        return nbd_library.aio_pread_structured(h, r->buf, r->bytes, r->offset, chunk, done,
                                                r->flags);
    case NBD_WRITE:
        return nbd_library.aio_pwrite(h, r->buf, r->bytes, r->offset, done, r->flags);
    case NBD_ZERO:
        return nbd_library.aio_zero(h, r->bytes, r->offset, done, r->flags);
    case NBD_TRIM:
        return nbd_library.aio_trim(h, r->bytes, r->offset, done, r->flags);
    case NBD_STATUS:
        return nbd_library.aio_block_status(h, r->bytes, r->offset, extent, done, r->flags);
    default:
        return nbd_library.aio_flush(h, done, r->flags);
    }
}

void main_fn nbd_issue(NbdConn *c, NbdRequest *r)
{
    r->conn = c;
    r->covered = 0;
    r->status_bytes = 0;
    if (r->out_of_order) {
        memset(r->buf, 0, r->bytes);
        r->out_of_order = false;
        r->cleared = true;
    }
    c->in_flight++;
    c->in_flight_bytes += r->buf ? r->bytes : 0;
    /* A connection that ends while a request is given to it has called on_done() by then. */
    if (give_to_libnbd(c->h, r) < 0 && r->conn) {
        bool alive = nbd_library.aio_is_ready(c->h) > 0 || nbd_library.aio_is_processing(c->h) > 0;
        finish(r, alive ? nbd_library.get_errno() ?: EIO : LOST);
    }
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD client, on libnbd.
 *
 * (N1) A handle of libnbd is used on the main thread only, so nobody ever waits for its lock.
 *      Requests come from any thread by NbdState.incoming and a bottom half.
 * (N2) libnbd is told to read only when its descriptor is ready: else it would stay in the middle
 *      of a reply that has not begun, and keep new requests back.
 * (N3) A request that a connection was lost with is sent again by another one, or fails when its
 *      time (reconnect-delay) is over; it is answered exactly once.
 * (N4) What a server says of a disk - length, alignment, abilities - is checked when a connection
 *      is made, and is the same for all connections of a node for its whole life.
 */
#ifndef NBD_INTERNAL_H
#define NBD_INTERNAL_H

#include "block/driver.h"
#include "qemu/aio.h"

struct nbd_handle;
typedef struct NbdState NbdState;
typedef struct NbdConn NbdConn;
typedef struct NbdRequest NbdRequest;

typedef enum NbdCommand {
    NBD_READ, NBD_WRITE, NBD_ZERO, NBD_TRIM, NBD_FLUSH, NBD_STATUS,
} NbdCommand;

/* Requests whose sender waits for all of them. */
typedef struct NbdBatch {
    Coroutine *co;
    int left;                       /* main thread */
} NbdBatch;

struct NbdRequest {
    NbdCommand cmd;
    uint64_t offset;
    uint32_t bytes;
    uint32_t flags;                 /* LIBNBD_CMD_FLAG_ */
    void *buf;                      /* read, write */
    int ret;                        /* 0 or -errno */
    uint32_t status_bytes, status_flags;        /* status: the first extent */

    uint64_t covered;               /* read: bytes that came, one after the other from the start */
    bool out_of_order;              /* read: some did not */
    bool cleared;                   /* read: @buf was cleared before it was sent */
    int64_t give_up_ns;             /* when it fails if it is lost again; 0: it was not lost yet */
    NbdConn *conn;                  /* it is with; NULL: it waits */
    NbdBatch *batch;
    NbdRequest *next;
};

/* A singly linked list that is added to at its end; what has no head is empty. */
typedef struct NbdRequestList {
    NbdRequest *head, *tail;
} NbdRequestList;

static inline void nbd_list_append(NbdRequestList *l, NbdRequest *r)
{
    r->next = NULL;
    if (l->head) {
        l->tail->next = r;
    } else {
        l->head = r;
    }
    l->tail = r;
}

/* NULL if it is empty. */
static inline NbdRequest *nbd_list_pop(NbdRequestList *l)
{
    NbdRequest *r = l->head;

    if (r) {
        l->head = r->next;
    }
    return r;
}

/* What a server said of the export. */
typedef struct NbdExportInfo {
    int64_t length;                 /* bytes */
    uint32_t min_block;             /* bytes, power of two */
    uint32_t max_payload;           /* bytes, a multiple of it */
    bool read_only, can_flush, can_fua, can_trim, can_zero, can_fast_zero, can_multi_conn;
    bool can_status;                /* the context that was asked for is there */
} NbdExportInfo;

struct NbdConn {
    NbdState *s;
    int index;                      /* in NbdState.conns */
    struct nbd_handle *h;           /* NULL: not connected */
    Coroutine *co;                  /* that serves it; NULL: none does */
    bool ready;                     /* takes requests */
    bool stop;                      /* the node is being closed */
    unsigned polled;                /* LIBNBD_AIO_DIRECTION_ that @co waits for; 0: it does not */
    int in_flight;
    int64_t in_flight_bytes;
    NbdRequestList finished;        /* answered, not looked at yet */
    AioTimer timer;                 /* ends what @co waits for while it connects */
    bool timed_out;                 /* it has */
    GString *said;                  /* what the server said while it was being connected to */
};

struct NbdState {
    BlockDriverState *bs;
    AioContext *ctx;                /* of the main thread */
    SocketSpec server;              /* as given */
    SocketSpec pinned;              /* for when the process may have changed its directory */
    char *address;                  /* for messages */
    char *export;
    char *context;                  /* what block status is asked of */
    bool is_allocation;             /* ... is base:allocation */
    uint32_t reconnect_delay, open_timeout;     /* seconds */
    NbdExportInfo info;             /* constant after opening */
    uint32_t zero_max;              /* bytes that the server zeroes at once, atomic; 0: any */

    GMutex guard;                   /* of @incoming; held for a few instructions */
    NbdRequestList incoming;
    AioBh bh;

    /* Main thread only. */
    NbdRequestList waiting;
    NbdConn conns[NBD_CLIENT_MAX_CONNECTIONS];
    bool enough_conns;              /* no further ones: one could not be had */
    AioTimer timer;                 /* the end of reconnect-delay */
    bool given_up;                  /* it is over: requests fail at once */
    Coroutine *closer;              /* waits until no connection is served */
};

#define NBD_STATE(bs) ((NbdState *)(bs)->opaque)

/* ---- options.c, there without libnbd, too ---- */

void nbd_options_clear(BdrvOpenOptions *opts);
/* Fills @opts in from a name such as nbd://host/export. */
bool any_fn nbd_options_from_name(const char *name, BdrvOpenOptions *opts, Error **errp);
/* The name that leads there again; caller frees. */
char *any_fn nbd_name_from_options(const NbdOpenOptions *o);
/* The prefixes of such names. */
extern const char *const nbd_name_prefixes[];

/* ---- issue.c: one request to libnbd ---- */

/* @r is with @c from now on, or already in @c->finished. */
void main_fn nbd_issue(NbdConn *c, NbdRequest *r);

/* ---- queue.c: which connection gets which request ---- */

void main_fn nbd_queue_init(NbdState *s);
void main_fn nbd_queue_destroy(NbdState *s);
/* Carry @n requests out; returns when all are answered.  The first error, or 0. */
int co_fn nbd_run(NbdState *s, NbdRequest *r, int n);
/* Give waiting requests to connections, and answer what is finished. */
void main_fn nbd_dispatch(NbdState *s);
/* @c takes requests from now on / takes none any more, and has none. */
void main_fn nbd_give_up_waiting(BlockDriverState *bs);
void main_fn nbd_conn_is_ready(NbdConn *c);
void main_fn nbd_conn_is_lost(NbdConn *c);

/* ---- handshake.c ---- */

/* Sets @c->h and *@ret, or fails; by @c->co. */
bool co_main_fn nbd_handshake(NbdConn *c, NbdExportInfo *ret, Error **errp);
/* Does @now, what a server says, allow what @s was opened with? */
bool any_fn nbd_check_same_export(const NbdState *s, const NbdExportInfo *now, Error **errp);
/* Waits for the descriptor of @c and lets libnbd go on; false: the connection is dead or closed. */
bool co_main_fn nbd_step(NbdConn *c, int64_t timeout_ns);

/* ---- connection.c ---- */

/* The first connection, by open-timeout. */
bool co_main_fn nbd_connect_first(NbdState *s, Error **errp);
/* Serves it from now on. */
void main_fn nbd_serve_first(NbdState *s);
/* Ends all of them; there are no requests. */
void co_main_fn nbd_disconnect_all(NbdState *s);

/* ---- data.c ---- */

int co_fn nbd_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);
int co_fn nbd_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                         unsigned flags);
int co_fn nbd_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               unsigned flags);
int co_fn nbd_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int co_fn nbd_co_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              int64_t *ret_bytes);
int co_fn nbd_co_flush(BlockDriverState *bs, unsigned flags);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the NBD server. */
#ifndef NBD_INTERNAL_H
#define NBD_INTERNAL_H

#include "nbd/budget.h"
#include "nbd/protocol.h"
#include "nbd/server.h"
#include "qemu/channel.h"

typedef struct NbdConn NbdConn;
typedef struct NbdRequest NbdRequest;

struct NbdExport {
    char *name, *description;       /* description: NULL if none */
    uint64_t serial;                /* its own for ever, > 0 */
    NbdServer *server;
    BlockBackend *blk;
    bool writable;
    bool allocation_depth;          /* offers that metadata context */
    GPtrArray *bitmaps;             /* of BdrvDirtyBitmap: offers their contexts; constant */
    IOThread *iothread;             /* NULL: main thread */
    AioContext *ctx;
    int clients;                    /* connections in transmission */
    int running;                    /* requests with a stack; the export's thread */
    Coroutine *waiter;              /* who waits for clients to become 0 */
    GList entry;                    /* in server->exports */
};

struct NbdServer {
    char *id;                       /* NULL: private, and in no list */
    SocketSpec addr;                /* of a private one: not used, like the listener */
    SocketListener listener;
    AioContext *main_ctx;
    NbdServerLimits limits;
    GQueue exports;                 /* of NbdExport, in the order in which they came */
    GHashTable *exports_by_name;
    void (*idle_cb)(void *opaque);  /* see nbd_server_set_idle_cb() */
    void *idle_opaque;
    GQueue conns;                   /* of NbdConn, all phases */
    Coroutine *accept_co;           /* NULL once it ended */
    bool accept_parked;             /* waits for a connection to end */
    bool stopping;
    Coroutine *stop_waiter;
    NbdServer *next;
};

/* Metadata contexts a client selected; their ids on the wire. */
#define NBD_META_ALLOCATION 1       /* base:allocation */
#define NBD_META_DEPTH 2            /* qemu:allocation-depth */
#define NBD_META_BITMAP 3           /* and those behind: qemu:dirty-bitmap:NAME, in the export's
                                     * order */

/* Receive buffer: many small requests in one system call. */
#define NBD_RBUF_BYTES (64 * 1024)

/*
 *      conn_new()
 *          |
 *          v            conn_entry(): no export was chosen, or it went
 *     NEGOTIATING ---------------------------------------------------------+
 *          |                                                               |
 *          | conn_entry(): an export was chosen                            v
 *          v                                                           FINISHED, freed at once
 *     TRANSMITTING --------------------------------------------------------^
 *                       nbd_transmission_entry(): the last request is answered or dropped
 */
typedef enum NbdConnState {
    NBD_CONN_NEGOTIATING,           /* the main thread has the connection */
    NBD_CONN_TRANSMITTING,          /* its export's thread has it */
    NBD_CONN_FINISHED,              /* the main thread again: nbd_conn_finished() */
} NbdConnState;

struct NbdConn {
    /* Main thread. */
    NbdConnState state;             /* set by nbd_conn_set_state() only */
    NbdServer *server;
    NbdExport *exp;                 /* chosen, or just being told about: as long as it is set, the
                                     * export's end shuts the connection down, after which it may
                                     * be dangling and is not looked at */
    Channel chan;
    GList entry;                    /* in server->conns */
    bool shut;                      /* hung up on */
    bool ending;                    /* atomic: no further request is read */

    /* Negotiation (main thread), then constant. */
    bool fixed_newstyle, no_zeroes;
    uint64_t size;                  /* of the export, bytes, as the client was told */
    bool structured;
    uint64_t meta;                  /* bits 1 << NBD_META_... */
    uint64_t meta_export;           /* serial of the export they were selected for; 0: none */

    /* Transmission: the export's thread. */
    BlkClient client;               /* has it left? */
    char *rbuf;
    size_t rpos, rlen;              /* unread bytes are rbuf[rpos, rlen) */
    int in_flight;                  /* requests not completely answered */
    size_t in_flight_bytes;         /* what they are charged */
    NbdMemory memory;
    Coroutine *reader_waiter;       /* the reader, in a wait for answers that can be cancelled */
    NbdRequest *out_head, *out_tail;    /* answered, to be sent */
    bool sending, broken;           /* broken: the client cannot be written to */
    AioBh send_bh;
};

struct NbdRequest {
    NbdConn *conn;
    uint16_t flags, type;
    uint64_t cookie, from;
    uint32_t len;
    uint32_t error;                 /* NBD_E...: found wrong before it was run */
    void *buf;                      /* payload, len bytes, or NULL */
    NbdCharge charge;               /* for what it and its answer hold */

    /* The answer. */
    IoVec out;
    uint8_t head[32];               /* header of a single-chunk answer */
    GSList *memory;                 /* of further headers and texts */
    NbdRequest *next;
};

/* nbd/negotiate.c: 0 with conn->exp set: go on to transmission; else the client left or was
 * dropped. */
int co_main_fn nbd_negotiate(NbdConn *conn);

/* nbd/options.c */
typedef struct NbdOption {
    uint32_t code;
    uint32_t len;
    uint8_t *data;                  /* len bytes */
} NbdOption;
/* What the option means for the conversation. */
typedef enum NbdOptResult { NBD_OPT_CONTINUE, NBD_OPT_TRANSMIT, NBD_OPT_CLOSE } NbdOptResult;
NbdOptResult co_main_fn nbd_handle_option(NbdConn *conn, const NbdOption *opt);
uint16_t main_fn nbd_transmission_flags(const NbdConn *conn, const NbdExport *exp);
/* There is no export of that name, of which a long one is not repeated as a whole. */
#define NBD_NO_EXPORT "export '%.80s%s' not present"
#define NBD_NO_EXPORT_ARGS(name) name, strlen(name) > 80 ? "..." : ""
/* nbd/option-reply.c: 0 or -errno. */
int co_main_fn nbd_opt_reply(NbdConn *conn, uint32_t opt, uint32_t type, const void *data,
                             size_t len);
int co_main_fn nbd_opt_error(NbdConn *conn, uint32_t opt, uint32_t type, const char *fmt, ...)
    G_GNUC_PRINTF(4, 5);
/* nbd/meta.c */
NbdOptResult co_main_fn nbd_opt_meta_context(NbdConn *conn, const NbdOption *opt);

/* nbd/state.c: asserts that the one state may follow the other, and what is true in the new. */
void main_fn nbd_conn_set_state(NbdConn *conn, NbdConnState state);
/* What is true of a connection whenever neither its reader nor its sender is amid a step: bounds
 * (N1), and that only requests in flight have answers to send.  In the thread that has it. */
void any_fn nbd_transmission_assert(const NbdConn *conn);
void main_fn nbd_conn_shutdown(NbdConn *conn);      /* hang up on the client */
/* The connection's export goes.  A connection in transmission still sends the answers to what its
 * client has asked, until somebody calls nbd_conn_shutdown(). */
void main_fn nbd_conn_end(NbdConn *conn);
void main_fn nbd_conn_finished(void *conn);         /* frees it */

/* nbd/export.c */
NbdExport *main_fn nbd_find_export(NbdServer *server, const char *name);    /* NULL: none */

/* nbd/transmission.c: a coroutine of the export's thread; calls nbd_conn_finished() on the main
 * thread. */
void co_fn nbd_transmission_entry(void *conn);
/* nbd/reply.c */
void any_fn nbd_request_done(NbdRequest *req);      /* its answer is complete: queue it */
void any_fn nbd_send_init(NbdConn *conn);
void any_fn nbd_wake_reader(void *conn);            /* it may go on */
void any_fn nbd_reply_simple(NbdRequest *req, uint32_t error);
void any_fn nbd_reply_chunk(NbdRequest *req, bool done, uint16_t type, const void *fixed,
                            size_t fixed_len, void *payload, size_t len);
void any_fn nbd_reply_error(NbdRequest *req, uint32_t error, const char *msg);
/* -errno to an NBD_E... that @req may be answered with. */
uint32_t any_fn nbd_errno(const NbdRequest *req, int ret);
void any_fn nbd_request_free(NbdRequest *req);
/* nbd/request.c: a coroutine for each request. */
void co_fn nbd_request_entry(void *req);
/* Set req->error for what can be refused from the header alone. */
void co_fn nbd_request_check(NbdRequest *req);
/* nbd/block-status.c */
void co_fn nbd_block_status(NbdRequest *req);
size_t any_fn nbd_block_status_bytes(const NbdRequest *req);    /* the longest answer to it */

#endif

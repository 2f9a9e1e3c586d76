/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that the requests and answers of all connections may take together.
 *
 * Every connection has a little of its own (NBD_MEMORY_OWN), for which nobody ever waits.  What
 * goes beyond comes from one pool, whole before the request starts, so that no two wait for each
 * other.
 */
#ifndef NBD_BUDGET_H
#define NBD_BUDGET_H

#include "qemu/channel.h"

/* What a connection may hold without asking the pool: 64 small requests. */
#define NBD_MEMORY_OWN ((size_t)(64 * NBD_REQUEST_MEMORY))

/* In which direction we wait for a peer. */
typedef enum NbdPeerWait { NBD_PEER_READS, NBD_PEER_WRITES, NBD_PEER_WAIT__MAX } NbdPeerWait;

/* A connection.  Used by its thread; the pool's grants may come from any. */
typedef struct NbdMemory {
    size_t own;                     /* held of its own */
    int64_t pooled;                 /* atomic: held of the pool */
    Channel *chan;
    /* By direction. */
    size_t awaited[NBD_PEER_WAIT__MAX];     /* atomic: bytes that the peer is to move; 0: not
                                             * awaited */
    int64_t late_ns[NBD_PEER_WAIT__MAX];    /* atomic: clock_ns() from which it is late; 0: nobody
                                             * has looked yet */
    AioBh granted_bh;
    /* Under the pool's lock. */
    int64_t waiting_for;                 /* bytes that it waits for; 0: it does not wait, or was
                                          * given them */
    GList entry, wait_entry;        /* among all connections, among those that wait */
} NbdMemory;

/* Memory that a request holds. */
typedef struct NbdCharge {
    size_t bytes;
    bool pooled;
} NbdCharge;

/* @granted(@opaque) is called in @ctx, the calling thread's, when what is waited for is there.
 * @chan is hung up if its peer keeps memory for too long that others wait for. */
void any_fn nbd_memory_join(NbdMemory *m, Channel *chan, AioContext *ctx,
                            void (*granted)(void *opaque),
                            void *opaque);
/* Holds nothing and does not wait. */
void any_fn nbd_memory_leave(NbdMemory *m);

/* True: @charge is held.  False: m is in line for @bytes, one request at a time. */
bool any_fn nbd_memory_take(NbdMemory *m, size_t bytes, NbdCharge *charge);
/* In line, and something was released: true if @charge is held now. */
bool any_fn nbd_memory_take_in_line(NbdMemory *m, size_t bytes, NbdCharge *charge);
/* Leave the line; what was granted is given back. */
void any_fn nbd_memory_cancel(NbdMemory *m, size_t bytes);
void any_fn nbd_memory_release(NbdMemory *m, const NbdCharge *charge);

/* We begin to wait for the peer to read or write @bytes / no longer do. */
void any_fn nbd_memory_peer_begin(NbdMemory *m, NbdPeerWait wait, size_t bytes);
void any_fn nbd_memory_peer_end(NbdMemory *m, NbdPeerWait wait);
/* A connection that waits for memory calls this now and then: ends connections whose peers are
 * late, counted from the first look at what they are to do. */
void any_fn nbd_memory_drop_late(void);

#endif

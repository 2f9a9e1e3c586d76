/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of all connections.
 *
 * (M1) A request takes all it needs before it starts, or waits and holds nothing for it.
 * (M2) A connection that holds nothing of the pool gets what it asks for as soon as that is free,
 *      first come, first served.  A connection that holds something gets more only if it then
 *      holds at most half of what is free: so however many are greedy, something is left for the
 *      next one.
 * (M3) A peer that makes us wait, for its payload or for taking its answers, longer than
 *      PEER_PATIENCE_NS and a second for each PEER_RATE bytes while others wait for memory, loses
 *      its connection.  A request that a disk holds up is not its client's fault and stays.
 *
 * Taking and releasing are one atomic operation as long as nobody waits.
 */
#include "qemu/osdep.h"

#include "nbd/budget.h"
#include "nbd/protocol.h"
#include "nbd/server.h"

#define PEER_PATIENCE_NS (5 * NS_PER_SEC)
#define PEER_RATE MiB

static struct {
    int64_t total, free;            /* free: atomic */
    int waiting;                    /* atomic, changed under lock: length of waiters */
    pthread_mutex_t lock;           /* guards the rest */
    GQueue all, waiters;            /* of NbdMemory; waiters: first come, first in it */
} pool = {
    .total = NBD_DEFAULT_MEMORY, .free = NBD_DEFAULT_MEMORY,
    .lock = PTHREAD_MUTEX_INITIALIZER, .all = G_QUEUE_INIT, .waiters = G_QUEUE_INIT,
};

bool main_fn nbd_set_memory(uint64_t bytes, Error **errp)
{
    if (bytes < 2 * NBD_MAX_PAYLOAD || bytes > INT64_MAX) {
        error_setg(errp, "The memory of the NBD servers must be at least %d MiB",
                   (int)(2 * NBD_MAX_PAYLOAD / MiB));
        return false;
    }
    __atomic_fetch_add(&pool.free, (int64_t)bytes - pool.total, __ATOMIC_SEQ_CST);
    pool.total = bytes;
    return true;
}

void any_fn nbd_memory_join(NbdMemory *m, Channel *chan, AioContext *ctx,
                            void (*granted)(void *opaque),
                            void *opaque)
{
    *m = (NbdMemory){ .chan = chan, .entry.data = m, .wait_entry.data = m };
    aio_bh_init(&m->granted_bh, ctx, granted, opaque);
    pthread_mutex_lock(&pool.lock);
    g_queue_push_tail_link(&pool.all, &m->entry);
    pthread_mutex_unlock(&pool.lock);
}

void any_fn nbd_memory_leave(NbdMemory *m)
{
    g_assert(m->own == 0 && m->pooled == 0 && m->waiting_for == 0);
    pthread_mutex_lock(&pool.lock);
    g_queue_unlink(&pool.all, &m->entry);
    pthread_mutex_unlock(&pool.lock);
    aio_bh_cancel(&m->granted_bh);
}

/* ---- the pool ---- */

/* Takes @bytes of what is free if (M2) lets @m have them. */
static bool take_free(NbdMemory *m, int64_t bytes)
{
    int64_t left = __atomic_load_n(&pool.free, __ATOMIC_SEQ_CST);

    do {
        int64_t pooled = __atomic_load_n(&m->pooled, __ATOMIC_SEQ_CST);
        if (bytes > left || (pooled && pooled + bytes > left / 2)) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&pool.free, &left, left - bytes, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    __atomic_fetch_add(&m->pooled, bytes, __ATOMIC_SEQ_CST);
    return true;
}

/* Under the lock. */
static void stop_waiting(NbdMemory *m)
{
    m->waiting_for = 0;
    g_queue_unlink(&pool.waiters, &m->wait_entry);
    __atomic_fetch_sub(&pool.waiting, 1, __ATOMIC_SEQ_CST);
}

/* Give what is free to those that wait. */
static void hand_out(void)
{
    pthread_mutex_lock(&pool.lock);
    for (GList *e = pool.waiters.head, *next; e; e = next) {
        NbdMemory *m = e->data;
        bool holds = __atomic_load_n(&m->pooled, __ATOMIC_SEQ_CST) > 0;

        next = e->next;
        if (take_free(m, m->waiting_for)) {
            stop_waiting(m);
            aio_bh_schedule(&m->granted_bh);
        } else if (!holds) {
            break;                  /* nobody overtakes it */
        }
    }
    pthread_mutex_unlock(&pool.lock);
}

static void give_back(NbdMemory *m, int64_t bytes)
{
    __atomic_fetch_sub(&m->pooled, bytes, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&pool.free, bytes, __ATOMIC_SEQ_CST);
    /* A connection that gets in line counts itself and then looks at what is free: one of the two
     * sees the other. */
    if (__atomic_load_n(&pool.waiting, __ATOMIC_SEQ_CST) > 0) {
        hand_out();
    }
}

static void get_in_line(NbdMemory *m, size_t bytes)
{
    pthread_mutex_lock(&pool.lock);
    m->waiting_for = bytes;
    g_queue_push_tail_link(&pool.waiters, &m->wait_entry);
    __atomic_fetch_add(&pool.waiting, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&pool.lock);
    hand_out();
}

/* ---- taking ---- */

static bool take_own(NbdMemory *m, size_t bytes, NbdCharge *charge)
{
    if (m->own + bytes > NBD_MEMORY_OWN) {
        return false;
    }
    m->own += bytes;
    *charge = (NbdCharge){ bytes, false };
    return true;
}

bool any_fn nbd_memory_take(NbdMemory *m, size_t bytes, NbdCharge *charge)
{
    if (take_own(m, bytes, charge)) {
        return true;
    }
    if (__atomic_load_n(&pool.waiting, __ATOMIC_SEQ_CST) == 0 && take_free(m, bytes)) {
        *charge = (NbdCharge){ bytes, true };
        return true;
    }
    get_in_line(m, bytes);
    return false;
}

bool any_fn nbd_memory_take_in_line(NbdMemory *m, size_t bytes, NbdCharge *charge)
{
    pthread_mutex_lock(&pool.lock);
    bool granted = m->waiting_for == 0;
    bool own = !granted && take_own(m, bytes, charge);
    if (own) {
        stop_waiting(m);
    }
    pthread_mutex_unlock(&pool.lock);
    if (granted) {
        *charge = (NbdCharge){ bytes, true };
    } else if (own) {
        hand_out();                 /* those behind it need not wait for it any more */
    }
    return granted || own;
}

void any_fn nbd_memory_cancel(NbdMemory *m, size_t bytes)
{
    pthread_mutex_lock(&pool.lock);
    bool granted = m->waiting_for == 0;
    if (!granted) {
        stop_waiting(m);
    }
    pthread_mutex_unlock(&pool.lock);
    if (granted) {
        give_back(m, bytes);
    } else {
        hand_out();
    }
}

void any_fn nbd_memory_release(NbdMemory *m, const NbdCharge *charge)
{
    if (charge->pooled) {
        give_back(m, charge->bytes);
    } else {
        m->own -= charge->bytes;
    }
}

/* ---- peers that make us wait ---- */

void any_fn nbd_memory_peer_begin(NbdMemory *m, NbdPeerWait wait, size_t bytes)
{
    /* Without a look at the clock, for every answer comes by here. */
    __atomic_store_n(&m->late_ns[wait], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&m->awaited[wait], bytes, __ATOMIC_RELAXED);
}

void any_fn nbd_memory_peer_end(NbdMemory *m, NbdPeerWait wait)
{
    __atomic_store_n(&m->awaited[wait], 0, __ATOMIC_RELAXED);
}

static bool is_late(NbdMemory *m, NbdPeerWait wait, int64_t now_ns)
{
    size_t bytes = __atomic_load_n(&m->awaited[wait], __ATOMIC_RELAXED);
    int64_t late_ns = __atomic_load_n(&m->late_ns[wait], __ATOMIC_RELAXED);

    if (bytes && !late_ns) {
        late_ns = now_ns + PEER_PATIENCE_NS + bytes / PEER_RATE * NS_PER_SEC;
        __atomic_store_n(&m->late_ns[wait], late_ns, __ATOMIC_RELAXED);
    }
    return bytes && now_ns > late_ns && __atomic_load_n(&m->pooled, __ATOMIC_RELAXED) > 0;
}

void any_fn nbd_memory_drop_late(void)
{
    int64_t now_ns = clock_ns();

    pthread_mutex_lock(&pool.lock);
    for (GList *e = pool.all.head; e; e = e->next) {
        NbdMemory *m = e->data;
        if (is_late(m, NBD_PEER_READS, now_ns) || is_late(m, NBD_PEER_WRITES, now_ns)) {
            channel_hangup(m->chan);        /* it ends like any connection that breaks */
        }
    }
    pthread_mutex_unlock(&pool.lock);
}

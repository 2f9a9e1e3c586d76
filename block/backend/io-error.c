/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a backend does about requests that its image fails: the policy, telling, stopping.
 *
 * (E1) A request that waits in a stopped backend is outside of its bracket: nothing that holds the
 *      backend waits for it, and it is tried again in whatever image the backend leads to then.
 * (E2) A stop is always told.  Other failures are told at most once a second: a disk that is gone
 *      fails thousands.
 * (E3) Once its user leaves, a backend does not stop, and nothing waits in it; the same holds for
 *      each of its clients by itself.  What waited is given up: it ends with the error that stopped
 *      the backend and is not tried again, for nobody may know any more that it is to be written.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"
#include "qemu/aio.h"
#include "qemu/trace.h"

#define REPORT_INTERVAL_NS NS_PER_SEC

/* ---- telling ---- */

typedef struct Report {
    BlkIoError error;
    char *device, *node_name;
} Report;

static void (*report_cb)(const BlkIoError *error);
static AioContext *main_ctx;

void main_fn blk_set_io_error_cb(void (*cb)(const BlkIoError *error))
{
    report_cb = cb;
    main_ctx = aio_context_current();
}

static void main_fn send_report(void *opaque)
{
    Report *r = opaque;

    report_cb(&r->error);
    g_free(r->device);
    g_free(r->node_name);
    g_free(r);
}

/* May a failure be told now, a second after the last one? */
static bool report_is_due(BlockBackend *blk)
{
    int64_t now = clock_ns();
    int64_t last = __atomic_load_n(&blk->io_error_reported_ns, __ATOMIC_RELAXED);

    return (!last || now - last >= REPORT_INTERVAL_NS) &&
           __atomic_compare_exchange_n(&blk->io_error_reported_ns, &last, now, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void report(BlockBackend *blk, bool is_write, int error, BlkErrorAction action)
{
    if (!report_cb || blk->quiet) {
        return;
    }
    Report *r = g_new0(Report, 1);
    r->device = g_strdup(blk_name(blk));
    r->node_name = g_strdup(blk->root ? blk->root->bs->node_name : "");
    r->error = (BlkIoError){ r->device, r->node_name, is_write, error, action };
    aio_bh_schedule_oneshot(main_ctx, send_report, r);
}

/* ---- the policy ---- */

void main_fn blk_set_on_error(BlockBackend *blk, BlkOnError rerror, BlkOnError werror)
{
    blk->rerror = rerror;
    blk->werror = werror;
}

static bool may_stop(BlkOnError policy)
{
    return policy == BLK_ON_ERROR_STOP || policy == BLK_ON_ERROR_ENOSPC;
}

bool main_fn blk_may_stop(const BlockBackend *blk)
{
    return may_stop(blk->rerror) || may_stop(blk->werror);
}

static bool has_left(const BlkClient *client)
{
    return client && __atomic_load_n(&client->left, __ATOMIC_RELAXED);
}

/* Stops the backend unless its user or @client is leaving; *@ret_first: it ran until now. */
static bool try_to_stop(BlockBackend *blk, const BlkClient *client, int error, bool *ret_first)
{
    pthread_mutex_lock(&blk->lock);
    bool stop = !__atomic_load_n(&blk->user_leaves, __ATOMIC_SEQ_CST) && !has_left(client);
    *ret_first = stop && blk->stop_reason == 0;
    if (*ret_first) {
        __atomic_store_n(&blk->stop_reason, error, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&blk->lock);
    return stop;
}

static const char *const action_names[] = {
    [BLK_ERROR_ACTION_REPORT] = "report", [BLK_ERROR_ACTION_IGNORE] = "ignore",
    [BLK_ERROR_ACTION_STOP] = "stop",
};

BlkErrorAction any_fn blk_handle_error(BlockBackend *blk, const BlkClient *client, bool is_write,
                                       int error)
{
    BlkOnError policy = is_write ? blk->werror : blk->rerror;
    BlkErrorAction action = policy == BLK_ON_ERROR_IGNORE ? BLK_ERROR_ACTION_IGNORE
                                                          : BLK_ERROR_ACTION_REPORT;
    bool first = false;

    if ((policy == BLK_ON_ERROR_STOP || (policy == BLK_ON_ERROR_ENOSPC && error == -ENOSPC)) &&
        try_to_stop(blk, client, error, &first)) {
        action = BLK_ERROR_ACTION_STOP;
    }
    if (first || (action != BLK_ERROR_ACTION_STOP && report_is_due(blk))) {
        report(blk, is_write, error, action);
    }
    trace_backend_io_error(blk_name(blk), is_write, -error, action_names[action]);
    return action;
}

/* ---- stopped ---- */

int any_fn blk_stop_reason(const BlockBackend *blk)
{
    return __atomic_load_n(&blk->stop_reason, __ATOMIC_ACQUIRE);
}

/* One that waits; on its stack. */
typedef struct StoppedRequest {
    CoWaiter waiter;
    const BlkClient *client;
    int given_up;                   /* -errno that it ends with; 0: it is to be tried again */
} StoppedRequest;

int co_fn blk_wait_while_stopped(BlockBackend *blk, const BlkClient *client)
{
    StoppedRequest r = { .client = client };

    while (!r.given_up && blk_stop_reason(blk)) {
        r.waiter = (CoWaiter){ .co = coroutine_self() };
        pthread_mutex_lock(&blk->lock);
        bool wait = blk->stop_reason != 0;
        if (wait && has_left(client)) {
            r.given_up = blk->stop_reason;
            wait = false;
        } else if (wait) {
            waiter_list_add(&blk->stopped, &r.waiter);
        }
        pthread_mutex_unlock(&blk->lock);
        if (wait) {
            coroutine_yield();
        }
    }
    return r.given_up;
}

/* Take off the list, under the lock, those of @client (NULL: all); they are given up. */
static WaiterList take_given_up(BlockBackend *blk, const BlkClient *client)
{
    WaiterList all = blk->stopped, taken = { NULL };

    blk->stopped = (WaiterList){ NULL };
    for (CoWaiter *w = all.head, *next; w; w = next) {
        StoppedRequest *r = container_of(w, StoppedRequest, waiter);
        bool take = !client || r->client == client;

        next = w->next;
        w->next = NULL;
        if (take) {
            r->given_up = blk->stop_reason;
        }
        waiter_list_add(take ? &taken : &blk->stopped, w);
    }
    return taken;
}

void any_fn blk_client_leaves(BlockBackend *blk, BlkClient *client)
{
    pthread_mutex_lock(&blk->lock);
    __atomic_store_n(&client->left, true, __ATOMIC_RELAXED);
    WaiterList taken = take_given_up(blk, client);
    pthread_mutex_unlock(&blk->lock);
    blk_wake_all(taken);
}

void main_fn blk_give_up_stopped(BlockBackend *blk)
{
    pthread_mutex_lock(&blk->lock);
    WaiterList taken = take_given_up(blk, NULL);
    __atomic_store_n(&blk->stop_reason, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&blk->lock);
    blk_wake_all(taken);
}

void main_fn blk_continue(BlockBackend *blk)
{
    pthread_mutex_lock(&blk->lock);
    WaiterList taken = blk->stopped;
    blk->stopped = (WaiterList){ NULL };
    __atomic_store_n(&blk->stop_reason, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&blk->lock);
    blk_wake_all(taken);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leaky buckets: each limit has a level that every request raises and time lowers at the average
 * rate.  A request may go while the level is below the bucket's size: what a burst may take, or a
 * tenth of a second's worth where there are no bursts.
 */
#include "qemu/osdep.h"

#include "qemu/aio.h"
#include "qemu/throttle.h"

/* A sleeper looks again at least this often: limits and memberships change meanwhile. */
#define LONGEST_SLEEP_NS (100 * NS_PER_MS)

/* Limits beyond this make no sense and would overflow. */
#define RATE_MAX UINT64_C(1000000000000000)

/* A request that waits; on its coroutine's stack. */
typedef struct Waiter {
    GList entry;                    /* in its queue; not while @removed */
    Coroutine *co;
    const void *member;
    bool is_first;                  /* it is awake, and looks at the time itself */
    bool released, removed;
} Waiter;

struct ThrottleGroup {
    char *name;
    int refs;
    ThrottleGroup *next;
    pthread_mutex_t lock;           /* guards the rest */
    GQueue queue[2];                /* by direction, of Waiter: the first is the next to go */
    ThrottleConfig cfg;
    double level[THROTTLE_LIMIT__MAX];
    int64_t leaked_at_ns;           /* when the levels were last lowered */
};

static ThrottleGroup *groups;

/* ---- limits ---- */

static const char *const limit_names[] = {
    "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr",
};

void any_fn throttle_config_init(ThrottleConfig *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    for (int i = 0; i < THROTTLE_LIMIT__MAX; i++) {
        cfg->rate[i].burst_s = 1;
    }
}

bool any_fn throttle_config_is_limited(const ThrottleConfig *cfg)
{
    for (int i = 0; i < THROTTLE_LIMIT__MAX; i++) {
        if (cfg->rate[i].avg) {
            return true;
        }
    }
    return false;
}

static bool check_rate(const ThrottleRate *r, const char *name, Error **errp)
{
    if (r->avg > RATE_MAX || r->max > RATE_MAX) {
        error_setg(errp, "%s and its maximum must be at most %" PRIu64, name, RATE_MAX);
    } else if (!r->burst_s) {
        error_setg(errp, "the burst length of %s cannot be 0", name);
    } else if (r->burst_s > 1 && !r->max) {
        error_setg(errp, "the burst length of %s is set without its maximum", name);
    } else if (r->max && !r->avg) {
        error_setg(errp, "%s_max requires %s", name, name);
    } else if (r->max && r->max < r->avg) {
        error_setg(errp, "%s_max cannot be lower than %s", name, name);
    } else if (r->max && r->burst_s > RATE_MAX / r->max) {
        error_setg(errp, "the burst length of %s is too high", name);
    } else {
        return true;
    }
    return false;
}

bool any_fn throttle_config_check(const ThrottleConfig *cfg, Error **errp)
{
    const ThrottleRate *r = cfg->rate;

    for (int i = 0; i < THROTTLE_LIMIT__MAX; i++) {
        if (!check_rate(&r[i], limit_names[i], errp)) {
            return false;
        }
    }
    for (int i = 0; i < THROTTLE_LIMIT__MAX; i += 3) {
        if ((r[i].avg && (r[i + 1].avg || r[i + 2].avg)) ||
            (r[i].max && (r[i + 1].max || r[i + 2].max))) {
            error_setg(errp, "bps/iops/max total values and read/write values cannot be used at "
                       "the same time");
            return false;
        }
    }
    if (cfg->iops_size && !r[THROTTLE_IOPS_TOTAL].avg && !r[THROTTLE_IOPS_READ].avg &&
        !r[THROTTLE_IOPS_WRITE].avg) {
        error_setg(errp, "iops_size requires an iops value to be set");
        return false;
    }
    return true;
}

/* ---- groups ---- */

ThrottleGroup *main_fn throttle_group_find(const char *name)
{
    for (ThrottleGroup *g = groups; g; g = g->next) {
        if (strcmp(g->name, name) == 0) {
            return g;
        }
    }
    return NULL;
}

ThrottleGroup *main_fn throttle_group_new(const char *name, Error **errp)
{
    if (throttle_group_find(name)) {
        error_setg(errp, "A throttle group with name '%s' already exists", name);
        return NULL;
    }
    ThrottleGroup *g = g_new0(ThrottleGroup, 1);
    g->name = g_strdup(name);
    g->refs = 1;
    pthread_mutex_init(&g->lock, NULL);
    throttle_config_init(&g->cfg);
    g->leaked_at_ns = clock_ns();
    g->next = groups;
    groups = g;
    return g;
}

ThrottleGroup *main_fn throttle_group_ref(ThrottleGroup *g)
{
    g->refs++;
    return g;
}

void main_fn throttle_group_unref(ThrottleGroup *g)
{
    if (--g->refs > 0) {
        return;
    }
    ThrottleGroup **p = &groups;
    while (*p != g) {
        p = &(*p)->next;
    }
    *p = g->next;
    pthread_mutex_destroy(&g->lock);
    g_free(g->name);
    g_free(g);
}

const char *any_fn throttle_group_name(const ThrottleGroup *g)
{
    return g->name;
}

bool main_fn throttle_group_in_use(const ThrottleGroup *g)
{
    return g->refs > 1;
}

void any_fn throttle_group_get(ThrottleGroup *g, ThrottleConfig *ret)
{
    pthread_mutex_lock(&g->lock);
    *ret = g->cfg;
    pthread_mutex_unlock(&g->lock);
}

void any_fn throttle_group_set(ThrottleGroup *g, const ThrottleConfig *cfg)
{
    pthread_mutex_lock(&g->lock);
    g->cfg = *cfg;
    memset(g->level, 0, sizeof(g->level));
    g->leaked_at_ns = clock_ns();
    pthread_mutex_unlock(&g->lock);
}

/* ---- waiting ---- */

/* What a request adds to each bucket. */
static double units_of(const ThrottleConfig *cfg, int limit, int64_t bytes)
{
    if (limit < THROTTLE_IOPS_TOTAL) {
        return bytes;
    }
    return cfg->iops_size && (uint64_t)bytes > cfg->iops_size
           ? (double)bytes / cfg->iops_size : 1;
}

static bool applies(int limit, bool is_write)
{
    int kind = limit % 3;           /* total, read, write */

    return kind == 0 || kind == (is_write ? 2 : 1);
}

static double bucket_size(const ThrottleRate *r)
{
    return r->max ? (double)r->max * r->burst_s : r->avg / 10.0;
}

static void leak(ThrottleGroup *g, int64_t now_ns)
{
    double seconds = (now_ns - g->leaked_at_ns) / 1e9;

    for (int i = 0; i < THROTTLE_LIMIT__MAX; i++) {
        g->level[i] = MAX(0, g->level[i] - seconds * g->cfg.rate[i].avg);
    }
    g->leaked_at_ns = now_ns;
}

/* 0 and counted in, or the nanoseconds until it may go. */
static int64_t try_to_go(ThrottleGroup *g, bool is_write, int64_t bytes)
{
    double wait_s = 0;

    pthread_mutex_lock(&g->lock);
    leak(g, clock_ns());
    for (int i = 0; i < THROTTLE_LIMIT__MAX; i++) {
        const ThrottleRate *r = &g->cfg.rate[i];
        if (r->avg && applies(i, is_write)) {
            wait_s = MAX(wait_s, (g->level[i] - bucket_size(r)) / r->avg);
        }
    }
    for (int i = 0; wait_s <= 0 && i < THROTTLE_LIMIT__MAX; i++) {
        if (g->cfg.rate[i].avg && applies(i, is_write)) {
            g->level[i] += units_of(&g->cfg, i, bytes);
        }
    }
    pthread_mutex_unlock(&g->lock);
    return wait_s <= 0 ? 0 : MAX(1, (int64_t)MIN(wait_s * 1e9, 1e18));
}

/* Takes @w out of @queue; its successor, if it becomes the first, is woken.  Under the lock. */
static void remove_waiter(GQueue *queue, Waiter *w)
{
    bool was_first = queue->head == &w->entry;

    g_queue_unlink(queue, &w->entry);
    w->removed = true;
    if (was_first && queue->head) {
        Waiter *next = queue->head->data;
        next->is_first = true;
        coroutine_wake(next->co);
    }
}

/* Adds @w to the end; true: there is somebody before it. */
static bool add_waiter(ThrottleGroup *g, GQueue *queue, Waiter *w, const int *unlimited)
{
    pthread_mutex_lock(&g->lock);
    /* throttle_group_release() looks at the queue after this was set. */
    w->released = w->removed = __atomic_load_n(unlimited, __ATOMIC_SEQ_CST) > 0;
    bool wait = !w->released && queue->length > 0;
    if (!w->released) {
        w->entry.data = w;
        w->is_first = !wait;
        g_queue_push_tail_link(queue, &w->entry);
    }
    pthread_mutex_unlock(&g->lock);
    return wait;
}

static bool is_released(ThrottleGroup *g, const Waiter *w)
{
    pthread_mutex_lock(&g->lock);
    bool released = w->released;
    pthread_mutex_unlock(&g->lock);
    return released;
}

void co_fn throttle_group_wait(ThrottleGroup *g, const void *member, bool is_write, int64_t bytes,
                               const int *unlimited)
{
    GQueue *queue = &g->queue[is_write];
    Waiter w = { .co = coroutine_self(), .member = member };

    if (add_waiter(g, queue, &w, unlimited)) {
        coroutine_yield();          /* until it is the first, or released */
    }
    while (!is_released(g, &w)) {
        int64_t wait_ns = try_to_go(g, is_write, bytes);
        if (wait_ns == 0) {
            break;
        }
        aio_co_sleep_ns(MIN(wait_ns, LONGEST_SLEEP_NS));
    }
    pthread_mutex_lock(&g->lock);
    if (!w.removed) {
        remove_waiter(queue, &w);
    }
    pthread_mutex_unlock(&g->lock);
}

void any_fn throttle_group_release(ThrottleGroup *g, const void *member)
{
    pthread_mutex_lock(&g->lock);
    for (int i = 0; i < 2; i++) {
        for (GList *e = g->queue[i].head, *next; e; e = next) {
            Waiter *w = e->data;
            next = e->next;
            if (w->member != member || w->released) {
                continue;
            }
            w->released = true;
            if (!w->is_first) {     /* the first is awake, or will be, and looks itself */
                remove_waiter(&g->queue[i], w);
                coroutine_wake(w->co);
            }
        }
    }
    pthread_mutex_unlock(&g->lock);
}

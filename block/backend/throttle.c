/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leaky buckets: each limit has a level that every request raises and time lowers at the average
 * rate.  A request may go while the level is below the bucket's size: what a burst may take, or a
 * tenth of a second's worth where there are no bursts.
 */
#include "qemu/osdep.h"

#include "block/throttle.h"
#include "qemu/aio.h"

/* A sleeper looks again at least this often: limits and memberships change meanwhile. */
#define LONGEST_SLEEP_NS (100 * NS_PER_MS)

/* Limits beyond this make no sense and would overflow. */
#define RATE_MAX UINT64_C(1000000000000000)

struct ThrottleGroup {
    char *name;
    int refs;
    ThrottleGroup *next;
    CoMutex turn[2];                /* by direction: who holds it is the next to go */
    pthread_mutex_t lock;           /* guards the rest */
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
    co_mutex_init(&g->turn[0]);
    co_mutex_init(&g->turn[1]);
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
    co_mutex_destroy(&g->turn[0]);
    co_mutex_destroy(&g->turn[1]);
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

void co_fn throttle_group_wait(ThrottleGroup *g, bool is_write, int64_t bytes, const bool *ignore)
{
    co_mutex_lock(&g->turn[is_write]);
    while (!__atomic_load_n(ignore, __ATOMIC_RELAXED)) {
        int64_t wait_ns = try_to_go(g, is_write, bytes);
        if (wait_ns == 0) {
            break;
        }
        aio_co_sleep_ns(MIN(wait_ns, LONGEST_SLEEP_NS));
    }
    co_mutex_unlock(&g->turn[is_write]);
}

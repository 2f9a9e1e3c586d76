/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on requests.  Limits belong to a group, and all its members, which are backends and nodes
 * of the driver throttle, share them; a backend is a member of at most one.
 *
 * (L1) A request of a backend waits for its turn before it enters its bracket: it is not in flight
 *      meanwhile, and a snapshot neither waits for it nor changes its limits.  One that waits in a
 *      node goes at once when somebody waits for the requests that are in flight.
 * (L2) Requests of one direction of a group go in the order in which they came.
 */
#ifndef QEMU_THROTTLE_H
#define QEMU_THROTTLE_H

#include "qapi/error.h"
#include "qemu/coroutine.h"

typedef enum ThrottleLimit {
    THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL, THROTTLE_IOPS_READ, THROTTLE_IOPS_WRITE, THROTTLE_LIMIT__MAX,
} ThrottleLimit;

/* Units are bytes or requests. */
typedef struct ThrottleRate {
    uint64_t avg;                   /* units a second, 0: no limit */
    uint64_t max;                   /* units a second during a burst, 0: no bursts */
    uint64_t burst_s;               /* how long a burst may last, seconds, >= 1 */
} ThrottleRate;

typedef struct ThrottleConfig {
    ThrottleRate rate[THROTTLE_LIMIT__MAX];
    uint64_t iops_size;             /* bytes that count as one request, 0: any request is one */
} ThrottleConfig;

typedef struct ThrottleGroup ThrottleGroup;

/* No limits, no bursts. */
void any_fn throttle_config_init(ThrottleConfig *cfg);
/* Can these limits be kept? The names in messages are those of the QMP commands. */
bool any_fn throttle_config_check(const ThrottleConfig *cfg, Error **errp);
bool any_fn throttle_config_is_limited(const ThrottleConfig *cfg);

/* A group by name (copied), with one reference; NULL and @errp if there is one already. */
ThrottleGroup *main_fn throttle_group_new(const char *name, Error **errp);
/* NULL: none. Takes no reference. */
ThrottleGroup *main_fn throttle_group_find(const char *name);
ThrottleGroup *main_fn throttle_group_ref(ThrottleGroup *g);
void main_fn throttle_group_unref(ThrottleGroup *g);
const char *any_fn throttle_group_name(const ThrottleGroup *g);
/* References beside the first. */
bool main_fn throttle_group_in_use(const ThrottleGroup *g);
void any_fn throttle_group_get(ThrottleGroup *g, ThrottleConfig *ret);
/* @cfg has been checked. Requests that wait are measured by the new limits. */
void any_fn throttle_group_set(ThrottleGroup *g, const ThrottleConfig *cfg);

/*
 * Wait until a request of @member, of @bytes, may go.  While *@unlimited (atomic) is positive it
 * does not wait: the limits do not count for this member.
 */
void co_fn throttle_group_wait(ThrottleGroup *g, const void *member, bool is_write, int64_t bytes,
                               const int *unlimited);
/* Whatever of @member waits goes now, wherever in the queue it stands.  *@unlimited is set already.
 */
void any_fn throttle_group_release(ThrottleGroup *g, const void *member);

#endif

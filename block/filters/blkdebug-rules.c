/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug's rules.  One that belongs to an event is armed by that event, together with all others
 * of it, and stays so until another event arms rules; one that belongs to none is armed from the
 * start.  What is armed makes requests fail.
 */
#include "qemu/osdep.h"

#include "block/filters/blkdebug-internal.h"

typedef struct RuleState {
    int64_t matches;
    bool armed;                     /* by its event */
    bool spent;
} RuleState;

/* Those of the schema. */
static const char *const events[] = {
    "l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table",
    "l2_load", "l2_update", "l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write",
    "read_aio", "read_backing_aio", "read_compressed", "write_aio", "write_compressed",
    "vmstate_load", "vmstate_save", "cow_read", "cow_write", "reftable_load", "reftable_grow",
    "reftable_update", "refblock_load", "refblock_update", "refblock_update_part",
    "refblock_alloc", "refblock_alloc_hookup", "refblock_alloc_write",
    "refblock_alloc_write_blocks", "refblock_alloc_write_table", "refblock_alloc_switch_table",
    "cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os", "flush_to_disk",
    "pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail",
    "pwritev", "pwritev_zero", "pwritev_done", "empty_image_prepare", "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space", "none",
};

static const char *const iotypes[] = {
    "read", "write", "write-zeroes", "discard", "flush", "block-status",
};

bool any_fn blkdebug_knows_event(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        if (strcmp(events[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool any_fn blkdebug_knows_iotype(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(iotypes); i++) {
        if (strcmp(iotypes[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- life ---- */

void any_fn blkdebug_rule_free(void *opaque)
{
    BlkdebugRule *rule = opaque;

    g_free(rule->event);
    g_free(rule->iotype);
    g_free(rule);
}

static BlkdebugRule *rule_copy(const BlkdebugRule *rule)
{
    BlkdebugRule *copy = g_memdup2(rule, sizeof(*rule));

    copy->event = g_strdup(rule->event);
    copy->iotype = g_strdup(rule->iotype);
    return copy;
}

GPtrArray *any_fn blkdebug_rules_copy(const GPtrArray *rules)
{
    GPtrArray *copy = g_ptr_array_new_with_free_func(blkdebug_rule_free);

    for (guint i = 0; i < rules->len; i++) {
        g_ptr_array_add(copy, rule_copy(rules->pdata[i]));
    }
    return copy;
}

void any_fn blkdebug_rules_init(BlkdebugRules *s, GPtrArray *takes)
{
    pthread_mutex_init(&s->lock, NULL);
    s->state = 1;
    s->rules = takes;
    s->states = g_array_new(FALSE, TRUE, sizeof(RuleState));
    g_array_set_size(s->states, takes->len);
}

void any_fn blkdebug_rules_clear(BlkdebugRules *s)
{
    pthread_mutex_destroy(&s->lock);
    g_array_unref(s->states);
    g_ptr_array_unref(s->rules);
}

bool any_fn blkdebug_same_rules(const GPtrArray *a, const GPtrArray *b)
{
    for (guint i = 0; a->len == b->len && i < a->len; i++) {
        const BlkdebugRule *x = a->pdata[i], *y = b->pdata[i];
        if (g_strcmp0(x->event, y->event) != 0 || g_strcmp0(x->iotype, y->iotype) != 0 ||
            x->error != y->error || x->sector != y->sector || x->nth != y->nth ||
            x->delay_ns != y->delay_ns || x->once != y->once || x->state != y->state ||
            x->new_state != y->new_state) {
            return false;
        }
    }
    return a->len == b->len;
}

/* ---- what happens ---- */

static RuleState *state_of(BlkdebugRules *s, guint i)
{
    return &g_array_index(s->states, RuleState, i);
}

/* Counts a match of rule @i; is it the one that counts?  Lock held. */
static bool match(BlkdebugRules *s, guint i)
{
    const BlkdebugRule *r = s->rules->pdata[i];
    RuleState *rs = state_of(s, i);

    if (rs->spent || (r->state && r->state != s->state)) {
        return false;
    }
    rs->matches++;
    return !r->nth || rs->matches == r->nth;
}

static void disarm_all(BlkdebugRules *s)
{
    for (guint i = 0; i < s->rules->len; i++) {
        state_of(s, i)->armed = false;
    }
}

int64_t any_fn blkdebug_rules_event(BlkdebugRules *s, const char *event)
{
    int64_t delay_ns = 0;
    int new_state;
    bool arms = false;

    pthread_mutex_lock(&s->lock);
    new_state = s->state;
    for (guint i = 0; i < s->rules->len; i++) {
        const BlkdebugRule *r = s->rules->pdata[i];
        if (!r->event || strcmp(r->event, event) != 0 || !match(s, i)) {
            continue;
        }
        delay_ns += r->delay_ns;
        new_state = r->new_state ?: new_state;
        if (r->error) {
            if (!arms) {
                disarm_all(s);
            }
            arms = true;
            state_of(s, i)->armed = true;
        } else if (r->once) {
            state_of(s, i)->spent = true;
        }
    }
    s->state = new_state;           /* for all rules at once */
    pthread_mutex_unlock(&s->lock);
    return delay_ns;
}

static bool concerns(const BlkdebugRule *r, const char *iotype, int64_t offset, int64_t bytes)
{
    int64_t at = r->sector * 512;
    bool kind = r->iotype                       ? strcmp(r->iotype, iotype) == 0 :
                strcmp(iotype, "block-status") != 0 && strcmp(iotype, "truncate") != 0;

    return kind && (r->sector < 0 || (at < offset + bytes && at + 512 > offset));
}

int any_fn blkdebug_rules_request(BlkdebugRules *s, const char *iotype, int64_t offset,
                                  int64_t bytes, int64_t *ret_delay_ns)
{
    int error = 0;

    *ret_delay_ns = 0;
    pthread_mutex_lock(&s->lock);
    for (guint i = 0; i < s->rules->len; i++) {
        const BlkdebugRule *r = s->rules->pdata[i];
        RuleState *rs = state_of(s, i);
        if (rs->spent || !concerns(r, iotype, offset, bytes) ||
            (r->event ? !rs->armed || error : !match(s, i))) {
            continue;
        }
        *ret_delay_ns += r->event ? 0 : r->delay_ns;
        error = error ?: r->error;
        rs->spent = r->once;
        if (!r->event && r->new_state) {
            s->state = r->new_state;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return -error;
}

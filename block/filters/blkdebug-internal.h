/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of blkdebug. */
#ifndef BLOCK_BLKDEBUG_INTERNAL_H
#define BLOCK_BLKDEBUG_INTERNAL_H

#include "block/driver.h"

/* ---- rules: what fails, and when; blkdebug-rules.c ---- */

typedef struct BlkdebugRules {
    pthread_mutex_t lock;           /* guards all below */
    GPtrArray *rules;               /* of BlkdebugRule */
    GArray *states;                 /* of RuleState, one a rule */
    int state;                      /* of the state machine, from 1 */
} BlkdebugRules;

GPtrArray *any_fn blkdebug_rules_copy(const GPtrArray *rules);
/* Takes the array of BlkdebugRule. */
void any_fn blkdebug_rules_init(BlkdebugRules *s, GPtrArray *takes);
void any_fn blkdebug_rules_clear(BlkdebugRules *s);
/* The delay (ns) that @event brings with it; arms and disarms rules. */
int64_t any_fn blkdebug_rules_event(BlkdebugRules *s, const char *event);
/* What becomes of a request: 0 or -errno, after *@ret_delay_ns. */
int any_fn blkdebug_rules_request(BlkdebugRules *s, const char *iotype, int64_t offset,
                                  int64_t bytes, int64_t *ret_delay_ns);
bool any_fn blkdebug_same_rules(const GPtrArray *a, const GPtrArray *b);

/* Is there an event of that name? */
bool any_fn blkdebug_knows_event(const char *name);
bool any_fn blkdebug_knows_iotype(const char *name);

/*
 * The rules of a configuration file: sections [inject-error] and [set-state] of lines
 * `key = "value"`, added to @rules (of BlkdebugRule).  An error names the line.
 */
bool any_fn blkdebug_parse_config(const char *text, size_t len, GPtrArray *rules, Error **errp);

/* ---- breakpoints; blkdebug-break.c ---- */

typedef struct BlkdebugBreaks {
    pthread_mutex_t lock;           /* guards all below */
    GList *points;                  /* of Breakpoint, in the order in which they were set */
    GList *stopped;                 /* of StoppedRequest, which are on the requests' stacks */
    GList *waiting;                 /* of BreakWaiter, on theirs */
} BlkdebugBreaks;

void any_fn blkdebug_breaks_init(BlkdebugBreaks *b);
void any_fn blkdebug_breaks_destroy(BlkdebugBreaks *b);
/* A request has come to @event: it waits here if there are breakpoints for that. */
void co_fn blkdebug_breaks_event(BlkdebugBreaks *b, const char *event);
/* See bdrv_debug_breakpoint() and what follows it. */
int any_fn blkdebug_breaks_set(BlkdebugBreaks *b, const char *event, const char *tag);
int any_fn blkdebug_breaks_remove(BlkdebugBreaks *b, const char *tag);
int any_fn blkdebug_breaks_resume(BlkdebugBreaks *b, const char *tag);
void co_fn blkdebug_breaks_wait(BlkdebugBreaks *b, const char *tag);
void any_fn blkdebug_breaks_remove_all(BlkdebugBreaks *b);

#endif

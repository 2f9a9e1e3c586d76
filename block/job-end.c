/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How jobs run and how they end: alone, or in a group with others. */
#include "qemu/osdep.h"

#include "block/job-internal.h"

static int running;                 /* jobs whose coroutine has not returned */
static Coroutine *shutdown_waiter;
static bool shutting_down;

static Job *main_fn member(const JobGroup *group, guint i)
{
    return group->jobs->pdata[i];
}

/* ---- ending ---- */

static void main_fn set_error(Job *job, const char *text)
{
    if (!job->error) {
        job->error = g_strdup(text);
    }
}

static void main_fn conclude(Job *job)
{
    job_events()->ended(job);
    job_set_state(job, JOB_CONCLUDED);
    job->group = NULL;
    if (!job->manual_dismiss && !shutting_down) {
        job_remove(job);
    }
}

static void co_main_fn end_all(JobGroup *group, bool ok)
{
    for (guint i = 0; !ok && i < group->jobs->len; i++) {
        job_set_state(member(group, i), JOB_ABORTING);
    }
    for (guint i = 0; i < group->jobs->len; i++) {
        Job *job = member(group, i);
        job_update(job);
        if (job->drv->co_end) {
            job->drv->co_end(job, ok);
        }
        if (ok && !job->drv->on_disk) {
            job->current = job->total;
        }
    }
    for (guint i = 0; i < group->jobs->len; i++) {
        conclude(member(group, i));
    }
    job_group_free(group);
}

/* All have done their work, and one of them failed: all fail. */
static void co_main_fn abort_group(JobGroup *group)
{
    for (guint i = 0; i < group->jobs->len; i++) {
        Job *job = member(group, i);
        if (!job->error) {
            job->cancelled = true;
            set_error(job, g_strerror(ECANCELED));
        }
    }
    end_all(group, false);
}

/* Is there something that becomes visible? */
static bool main_fn has_finish(const JobGroup *group)
{
    for (guint i = 0; i < group->jobs->len; i++) {
        if (member(group, i)->drv->co_add_finish) {
            return true;
        }
    }
    return false;
}

static bool co_main_fn add_finish(Transaction *t, const void *args, Error **errp)
{
    const JobGroup *group = args;

    for (guint i = 0; i < group->jobs->len; i++) {
        Job *job = member(group, i);
        if (job->drv->co_add_finish && !job->drv->co_add_finish(job, t, errp)) {
            return false;
        }
    }
    return true;
}

static void co_main_fn finish_group(JobGroup *group)
{
    Error *err = NULL;

    group->finishing = true;
    bool ok = !has_finish(group) || job_run_transaction(add_finish, group, &err);
    for (guint i = 0; err && i < group->jobs->len; i++) {
        set_error(member(group, i), error_get_pretty(err));
    }
    error_free(err);
    end_all(group, ok);
}

/* All have done their work, well. */
static void co_main_fn all_done(JobGroup *group)
{
    bool wait = false;

    for (guint i = 0; i < group->jobs->len; i++) {
        job_set_state(member(group, i), JOB_PENDING);
    }
    for (guint i = 0; i < group->jobs->len; i++) {
        Job *job = member(group, i);
        if (job->manual_finalize) {
            wait = true;
            job_events()->pending(job);
        }
    }
    if (!wait) {
        finish_group(group);
    }
}

static void co_main_fn cancel_others(JobGroup *group, const Job *failed)
{
    for (guint i = 0; i < group->jobs->len; i++) {
        Job *job = member(group, i);
        if (job != failed && !job->ran) {
            job->cancelled = true;
            job_kick(job);
        }
    }
}

/* All have done their work. */
static void co_main_fn end_group(JobGroup *group)
{
    if (group->aborting) {
        abort_group(group);
    } else {
        all_done(group);
    }
}

/* The work of @job is done. */
static void co_main_fn job_ran(Job *job)
{
    JobGroup *group = job->group;

    job->ran = true;
    group->to_run--;
    if (job->error && !group->aborting) {
        group->aborting = true;
        cancel_others(group, job);
    } else if (!job->error) {
        job_set_state(job, JOB_WAITING);
    }
    if (group->to_run == 0 && group->complete) {
        end_group(group);
    }
}

void co_main_fn job_group_release(JobGroup *group)
{
    if (!group) {
        return;
    }
    group->complete = true;
    if (group->jobs->len == 0) {
        job_group_free(group);
    } else if (group->to_run == 0) {
        end_group(group);           /* they were quicker than the command that began them */
    }
}

/* ---- running ---- */

static void co_main_fn job_entry(void *opaque)
{
    Job *job = opaque;
    Error *err = NULL;

    coroutine_reschedule();         /* the command answers first */
    job_pause_point(job);
    bool ok = !job->cancelled && job->drv->co_run(job, &err);
    if (!ok || job->cancelled) {
        set_error(job, job->cancelled ? g_strerror(ECANCELED) : error_get_pretty(err));
    }
    error_free(err);
    job_ran(job);
    if (--running == 0 && shutdown_waiter) {
        coroutine_wake(g_steal_pointer(&shutdown_waiter));
    }
}

void co_main_fn job_start(Job *job)
{
    if (!job->group) {
        JobGroup *group = job_group_new();
        job_join(job, group);
        job_group_release(group);
    }
    job_add_to_table(job);
    running++;
    job_set_state(job, JOB_CREATED);
    job_set_state(job, JOB_RUNNING);
    coroutine_start(job_entry, job);
}

/* ---- asked by users ---- */

bool co_main_fn job_cancel(Job *job, bool force, Error **errp)
{
    if (!job_allows(job, JOB_VERB_CANCEL, errp)) {
        return false;
    }
    if (job->group->finishing) {
        error_setg(errp, "Job '%s' is being finalized and can no longer be cancelled", job->id);
        return false;
    }
    if (job->state == JOB_PENDING) {
        job->cancelled = true;
        abort_group(job->group);
        return true;
    }
    if (job->state == JOB_WAITING) {    /* it fails with the others as soon as these have ended */
        job->cancelled = job->group->aborting = true;
        cancel_others(job->group, job);
        return true;
    }
    if (!job->drv->cancel || job->drv->cancel(job, force)) {
        job->cancelled = true;
    } else {
        job->should_complete = true;
    }
    job_goes_on(job);
    job_kick(job);
    return true;
}

bool co_main_fn job_finalize(Job *job, Error **errp)
{
    if (!job_allows(job, JOB_VERB_FINALIZE, errp)) {
        return false;
    }
    finish_group(job->group);
    return true;
}

void co_main_fn job_shutdown(void)
{
    shutting_down = true;
    for (Job *job = job_next(NULL), *next; job; job = next) {
        next = job->next;
        if (job_allows(job, JOB_VERB_CANCEL, NULL) && !job->group->finishing) {
            job_cancel(job, true, NULL);
        }
    }
    while (running > 0) {
        shutdown_waiter = coroutine_self();
        coroutine_yield();
    }
    while (job_next(NULL)) {
        job_remove(job_next(NULL));
    }
    shutting_down = false;
}

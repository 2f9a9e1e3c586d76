/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: the table of them, their states, and what can be asked of them.
 *
 * (J1) A job changes its state only along the arrows in include/block/job.h, and each change is
 *      told.
 * (J2) What a job did becomes visible (co_add_finish) only when every job of its group has done its
 *      work, for all of them in one transaction, or for none.
 * (J3) co_end is called once for each job that was started, after that transaction or instead of
 *      it.
 */
#include "qemu/osdep.h"

#include "block/job-internal.h"
#include "qemu/id.h"
#include "qemu/trace.h"

static Job *jobs;                   /* newest first */
static const JobEvents *events;

void main_fn job_set_events(const JobEvents *e)
{
    events = e;
}

const JobEvents *main_fn job_events(void)
{
    return events;
}

/* ---- words ---- */

const char *any_fn job_state_name(JobState state)
{
    static const char *const names[JOB_STATE__MAX] = {
        [JOB_UNDEFINED] = "undefined", [JOB_CREATED] = "created", [JOB_RUNNING] = "running",
        [JOB_PAUSED] = "paused", [JOB_READY] = "ready", [JOB_STANDBY] = "standby",
        [JOB_WAITING] = "waiting", [JOB_PENDING] = "pending", [JOB_ABORTING] = "aborting",
        [JOB_CONCLUDED] = "concluded", [JOB_NULL] = "null",
    };

    return names[state];
}

const char *any_fn job_verb_name(JobVerb verb)
{
    static const char *const names[JOB_VERB__MAX] = {
        [JOB_VERB_CANCEL] = "cancel", [JOB_VERB_PAUSE] = "pause", [JOB_VERB_RESUME] = "resume",
        [JOB_VERB_SET_SPEED] = "set-speed", [JOB_VERB_COMPLETE] = "complete",
        [JOB_VERB_FINALIZE] = "finalize", [JOB_VERB_DISMISS] = "dismiss",
        [JOB_VERB_CHANGE] = "change",
    };

    return names[verb];
}

#define S(state) (1 << JOB_##state)

static bool may_follow(JobState from, JobState to)
{
    static const uint16_t followers[JOB_STATE__MAX] = {
        [JOB_UNDEFINED] = S(CREATED),
        [JOB_CREATED]   = S(RUNNING),
        [JOB_RUNNING]   = S(PAUSED) | S(READY) | S(WAITING) | S(ABORTING),
        [JOB_PAUSED]    = S(RUNNING),
        [JOB_READY]     = S(STANDBY) | S(WAITING) | S(ABORTING),
        [JOB_STANDBY]   = S(READY),
        [JOB_WAITING]   = S(PENDING) | S(ABORTING),
        [JOB_PENDING]   = S(CONCLUDED) | S(ABORTING),
        [JOB_ABORTING]  = S(CONCLUDED),
        [JOB_CONCLUDED] = S(NULL),
    };

    return followers[from] & 1 << to;
}

/* What can be asked in which states. */
static const uint16_t verb_states[JOB_VERB__MAX] = {
#define ALIVE (S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) | S(STANDBY))
    [JOB_VERB_CANCEL]    = ALIVE | S(WAITING) | S(PENDING),
    [JOB_VERB_PAUSE]     = ALIVE,
    [JOB_VERB_RESUME]    = ALIVE,
    [JOB_VERB_SET_SPEED] = ALIVE,
    [JOB_VERB_COMPLETE]  = S(READY) | S(STANDBY),
    [JOB_VERB_FINALIZE]  = S(PENDING),
    [JOB_VERB_DISMISS]   = S(CONCLUDED),
    [JOB_VERB_CHANGE]    = S(RUNNING) | S(PAUSED) | S(READY) | S(STANDBY),
};

bool main_fn job_allows(const Job *job, JobVerb verb, Error **errp)
{
    if (!(verb_states[verb] & 1 << job->state) || (verb == JOB_VERB_FINALIZE &&
                                                  job->group->finishing)) {
        error_setg(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
                   job_state_name(job->state), job_verb_name(verb));
        return false;
    }
    return true;
}

void main_fn job_set_state(Job *job, JobState state)
{
    g_assert(may_follow(job->state, state));
    g_assert(state != JOB_ABORTING || job->error);
    g_assert(state != JOB_PENDING || !job->error);
    trace_job_state(job->id, job_state_name(job->state), job_state_name(state));
    job->state = state;
    events->state_changed(job);
}

/* ---- the table ---- */

Job *main_fn job_find(const char *id)
{
    for (Job *job = jobs; job; job = job->next) {
        if (strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

Job *main_fn job_next(Job *prev)
{
    return prev ? prev->next : jobs;
}

Job *main_fn job_new(const JobDriver *drv, const char *id, Error **errp)
{
    if (!id_is_well_formed(id)) {
        error_setg(errp, "Invalid job ID '%s'", id);
        return NULL;
    }
    if (job_find(id)) {
        error_setg(errp, "Job ID '%s' already in use", id);
        return NULL;
    }
    Job *job = g_malloc0(drv->instance_size);
    job->drv = drv;
    job->id = g_strdup(id);
    job->total = drv->on_disk ? 0 : 1;
    job->manual_dismiss = !drv->on_disk;
    return job;
}

void main_fn job_free(Job *job)
{
    if (job->drv->clear) {
        job->drv->clear(job);
    }
    job_leave_group(job);
    g_free(job->id);
    g_free(job->error);
    g_free(job);
}

void main_fn job_add_to_table(Job *job)
{
    job->next = jobs;
    jobs = job;
}

void main_fn job_remove(Job *job)
{
    for (Job **p = &jobs; *p; p = &(*p)->next) {
        if (*p == job) {
            *p = job->next;
            break;
        }
    }
    job_set_state(job, JOB_NULL);
    job_free(job);
}

/* ---- for co_run ---- */

void main_fn job_progress(Job *job, uint64_t current, uint64_t total)
{
    job->current = current;
    job->total = total;
}

void main_fn job_update(Job *job)
{
    if (job->drv->update && job->state != JOB_CONCLUDED) {
        job->drv->update(job);
    }
}

bool co_main_fn job_run_transaction(TransactionAdd *add, const void *args, Error **errp)
{
    return events->co_finish(add, args, errp);
}

bool main_fn job_is_cancelled(const Job *job)
{
    return job->cancelled;
}

bool main_fn job_is_idle(const Job *job)
{
    return job->sleeper || job->ran;
}

void main_fn job_kick(Job *job)
{
    if (job->sleeper) {
        aio_co_cancel(job->sleeper);
    }
    if (job->drv->kick && !job->ran) {
        job->drv->kick(job);
    }
}

void co_main_fn job_sleep(Job *job, int64_t ns)
{
    job->sleeper = coroutine_self();
    aio_co_sleep_ns(ns);
    job->sleeper = NULL;
}

static bool is_to_pause(const Job *job)
{
    return job->pauses > 0 && !job->cancelled;
}

void main_fn job_goes_on(Job *job)
{
    if (!is_to_pause(job) && (job->state == JOB_PAUSED || job->state == JOB_STANDBY)) {
        job_set_state(job, job->state == JOB_PAUSED ? JOB_RUNNING : JOB_READY);
    }
}

void co_main_fn job_pause_point(Job *job)
{
    if (!is_to_pause(job)) {
        return;
    }
    JobState before = job->state;
    job_set_state(job, before == JOB_READY ? JOB_STANDBY : JOB_PAUSED);
    while (is_to_pause(job)) {
        job_sleep(job, NS_PER_SEC);
    }
    /* job_goes_on() may have said so already. */
    if (job->state != before) {
        job_set_state(job, before);
    }
}

void main_fn job_ready(Job *job)
{
    job_set_state(job, JOB_READY);
    events->ready(job);
}

static BlkErrorAction action_of(BlkOnError policy, int error)
{
    switch (policy) {
    case BLK_ON_ERROR_IGNORE:
        return BLK_ERROR_ACTION_IGNORE;
    case BLK_ON_ERROR_STOP:
        return BLK_ERROR_ACTION_STOP;
    case BLK_ON_ERROR_ENOSPC:
        return error == -ENOSPC ? BLK_ERROR_ACTION_STOP : BLK_ERROR_ACTION_REPORT;
    default:
        return BLK_ERROR_ACTION_REPORT;
    }
}

BlkErrorAction main_fn job_io_error(Job *job, bool is_write, int error)
{
    BlkErrorAction action = action_of(is_write ? job->on_target_error : job->on_source_error,
                                      error);

    events->io_error(job, is_write, action);
    if (action == BLK_ERROR_ACTION_STOP) {
        if (!job->user_paused) {
            job->user_paused = true;
            job->pauses++;
        }
        job->io_status = error == -ENOSPC ? JOB_IO_NOSPACE : JOB_IO_FAILED;
    }
    return action;
}

/* ---- what users ask ---- */

bool main_fn job_pause(Job *job, Error **errp)
{
    if (!job_allows(job, JOB_VERB_PAUSE, errp)) {
        return false;
    }
    if (job->user_paused) {
        error_setg(errp, "Job is already paused");
        return false;
    }
    job->user_paused = true;
    job->pauses++;
    job_kick(job);
    return true;
}

bool main_fn job_resume(Job *job, Error **errp)
{
    if (!job_allows(job, JOB_VERB_RESUME, errp)) {
        return false;
    }
    if (!job->user_paused) {
        error_setg(errp, "Can't resume a job that was not paused");
        return false;
    }
    job->user_paused = false;
    job->pauses--;
    job->io_status = JOB_IO_OK;
    job_goes_on(job);
    job_kick(job);
    return true;
}

bool main_fn job_complete(Job *job, Error **errp)
{
    if (!job_allows(job, JOB_VERB_COMPLETE, errp)) {
        return false;
    }
    if (job->cancelled || !job->drv->complete) {
        error_setg(errp, "The active block job '%s' cannot be completed", job->id);
        return false;
    }
    if (!job->drv->complete(job, errp)) {
        return false;
    }
    job->should_complete = true;
    job_kick(job);
    return true;
}

bool main_fn job_set_speed(Job *job, int64_t speed, Error **errp)
{
    if (!job_allows(job, JOB_VERB_SET_SPEED, errp)) {
        return false;
    }
    if (speed < 0) {
        error_setg(errp, "Parameter 'speed' expects a non-negative value");
        return false;
    }
    job->speed = speed;
    job_kick(job);
    return true;
}

bool main_fn job_dismiss(Job *job, Error **errp)
{
    if (!job_allows(job, JOB_VERB_DISMISS, errp)) {
        return false;
    }
    job_remove(job);
    return true;
}

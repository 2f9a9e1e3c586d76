/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of jobs, and the commands that look at it. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/job.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qemu/id.h"
#include "qemu/trace.h"

static Job *jobs;                   /* newest first */
static int running;
static Coroutine *shutdown_waiter;

static Job *main_fn find_job(const char *id)
{
    for (Job *job = jobs; job; job = job->next) {
        if (strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

static bool may_follow(JobStatus from, JobStatus to)
{
    static const uint16_t followers[JOB_STATUS__MAX] = {
        [JOB_STATUS_UNDEFINED] = 1 << JOB_STATUS_CREATED,
        [JOB_STATUS_CREATED]   = 1 << JOB_STATUS_RUNNING,
        [JOB_STATUS_RUNNING]   = 1 << JOB_STATUS_WAITING | 1 << JOB_STATUS_ABORTING,
        [JOB_STATUS_WAITING]   = 1 << JOB_STATUS_PENDING,
        [JOB_STATUS_PENDING]   = 1 << JOB_STATUS_CONCLUDED,
        [JOB_STATUS_ABORTING]  = 1 << JOB_STATUS_CONCLUDED,
        [JOB_STATUS_CONCLUDED] = 1 << JOB_STATUS_NULL,
    };

    return followers[from] & 1 << to;
}

static void main_fn set_status(Job *job, JobStatus status)
{
    EventJobStatusChangeArgs ev = { .id = job->id, .status = status };

    g_assert(may_follow(job->status, status));
    g_assert(status != JOB_STATUS_ABORTING || job->error);
    g_assert(status != JOB_STATUS_PENDING || (!job->error && job->current == job->total));
    trace_job_state(job->id, JobStatus_str(job->status), JobStatus_str(status));
    job->status = status;
    qapi_event_send_job_status_change(&ev);
}

void main_fn job_free(Job *job)
{
    job->drv->clear(job);
    g_free(job->id);
    g_free(job->error);
    g_free(job);
}

/* ---- life ---- */

Job *main_fn job_new(const JobDriver *drv, const char *id, Error **errp)
{
    if (!id_is_well_formed(id)) {
        error_setg(errp, "Invalid job ID '%s'", id);
        return NULL;
    }
    if (find_job(id)) {
        error_setg(errp, "Job ID '%s' already in use", id);
        return NULL;
    }
    Job *job = g_malloc0(drv->instance_size);
    job->drv = drv;
    job->id = g_strdup(id);
    job->total = 1;
    return job;
}

static void co_main_fn job_entry(void *opaque)
{
    Job *job = opaque;
    Error *err = NULL;

    coroutine_reschedule();         /* the command answers first */
    if (!job->drv->co_run(job, &err)) {
        job->error = g_strdup(job->cancelled ? g_strerror(ECANCELED) : error_get_pretty(err));
        error_free(err);
        set_status(job, JOB_STATUS_ABORTING);
    } else {
        job->current = job->total;
        set_status(job, JOB_STATUS_WAITING);
        set_status(job, JOB_STATUS_PENDING);
    }
    set_status(job, JOB_STATUS_CONCLUDED);
    if (--running == 0 && shutdown_waiter) {
        coroutine_wake(g_steal_pointer(&shutdown_waiter));
    }
}

void co_main_fn job_start(Job *job)
{
    job->next = jobs;
    jobs = job;
    running++;
    set_status(job, JOB_STATUS_CREATED);
    set_status(job, JOB_STATUS_RUNNING);
    coroutine_start(job_entry, job);
}

void main_fn job_progress(Job *job, uint64_t current, uint64_t total)
{
    job->current = current;
    job->total = total;
}

bool main_fn job_is_cancelled(const Job *job)
{
    return job->cancelled;
}

static void main_fn cancel(Job *job)
{
    if (!job->cancelled) {
        job->cancelled = true;
        if (job->drv->cancel) {
            job->drv->cancel(job);
        }
    }
}

/* ---- commands ---- */

bool co_main_fn qmp_query_jobs(JobInfoList **ret, Error **errp)
{
    JobInfoList *list = NULL, **tail = &list;

    for (Job *job = jobs; job; job = job->next) {
        JobInfo *info = g_new0(JobInfo, 1);
        info->id = g_strdup(job->id);
        info->type = job->drv->type;
        info->status = job->status;
        info->current_progress = job->current;
        info->total_progress = job->total;
        info->error = g_strdup(job->error);
        JobInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

/* The job that a command names, if @verb can be done in its state. */
static Job *main_fn job_for(const char *id, const char *verb, JobStatus required, Error **errp)
{
    Job *job = find_job(id);

    if (!job) {
        error_setg(errp, "Job not found");
        return NULL;
    }
    if (job->status != required) {
        error_setg(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
                   JobStatus_str(job->status), verb);
        return NULL;
    }
    return job;
}

/* Jobs on disks of guests: there is no type of them yet. */
bool co_main_fn qmp_query_block_jobs(BlockJobInfoList **ret, Error **errp)
{
    *ret = NULL;
    return true;
}

bool co_main_fn qmp_job_cancel(const QmpJobCancelArgs *args, Error **errp)
{
    Job *job = job_for(args->id, "cancel", JOB_STATUS_RUNNING, errp);

    if (!job) {
        return false;
    }
    if (!job->drv->can_cancel) {
        error_setg(errp, "Job '%s' of type '%s' cannot be cancelled", job->id,
                   JobType_str(job->drv->type));
        return false;
    }
    cancel(job);
    return true;
}

bool co_main_fn qmp_job_dismiss(const QmpJobDismissArgs *args, Error **errp)
{
    Job *job = job_for(args->id, "dismiss", JOB_STATUS_CONCLUDED, errp);

    if (!job) {
        return false;
    }
    for (Job **p = &jobs; *p; p = &(*p)->next) {
        if (*p == job) {
            *p = job->next;
            break;
        }
    }
    set_status(job, JOB_STATUS_NULL);
    job_free(job);
    return true;
}

void co_main_fn blockdev_jobs_shutdown(void)
{
    for (Job *job = jobs; job; job = job->next) {
        if (job->drv->can_cancel && job->status == JOB_STATUS_RUNNING) {
            cancel(job);
        }
    }
    while (running > 0) {
        shutdown_waiter = coroutine_self();
        coroutine_yield();
    }
    while (jobs) {
        Job *job = jobs;
        jobs = job->next;
        job_free(job);
    }
}

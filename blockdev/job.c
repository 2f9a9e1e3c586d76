/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on the wire: both families of commands, and the events. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/copy.h"
#include "block/jobs.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"

/* ---- from plain to QAPI ---- */

static JobType type_of(const Job *job)
{
    int type = -1;

    for (int i = 0; i < JOB_TYPE__MAX; i++) {
        if (strcmp(JobType_str(i), job->drv->type) == 0) {
            type = i;
        }
    }
    g_assert(type >= 0);
    return type;
}

static JobStatus status_of(const Job *job)
{
    static const JobStatus map[JOB_STATE__MAX] = {
        [JOB_UNDEFINED] = JOB_STATUS_UNDEFINED, [JOB_CREATED] = JOB_STATUS_CREATED,
        [JOB_RUNNING] = JOB_STATUS_RUNNING, [JOB_PAUSED] = JOB_STATUS_PAUSED,
        [JOB_READY] = JOB_STATUS_READY, [JOB_STANDBY] = JOB_STATUS_STANDBY,
        [JOB_WAITING] = JOB_STATUS_WAITING, [JOB_PENDING] = JOB_STATUS_PENDING,
        [JOB_ABORTING] = JOB_STATUS_ABORTING, [JOB_CONCLUDED] = JOB_STATUS_CONCLUDED,
        [JOB_NULL] = JOB_STATUS_NULL,
    };

    return map[job->state];
}

/* ---- events ---- */

static void main_fn send_state(Job *job)
{
    EventJobStatusChangeArgs ev = { .id = job->id, .status = status_of(job) };

    qapi_event_send_job_status_change(&ev);
}

static void main_fn send_ready(Job *job)
{
    EventBlockJobReadyArgs ev = {
        .type = type_of(job), .device = job->id, .len = job->total, .offset = job->current,
        .speed = job->speed,
    };

    qapi_event_send_block_job_ready(&ev);
}

static void main_fn send_pending(Job *job)
{
    EventBlockJobPendingArgs ev = { .type = type_of(job), .id = job->id };

    if (job->drv->on_disk) {
        qapi_event_send_block_job_pending(&ev);
    }
}

static void main_fn send_ended(Job *job)
{
    EventBlockJobCompletedArgs completed = {
        .type = type_of(job), .device = job->id, .len = job->total, .offset = job->current,
        .speed = job->speed, .error = job->error,
    };
    EventBlockJobCancelledArgs cancelled = {
        .type = type_of(job), .device = job->id, .len = job->total, .offset = job->current,
        .speed = job->speed,
    };

    if (!job->drv->on_disk) {
        return;
    }
    if (job->cancelled) {
        qapi_event_send_block_job_cancelled(&cancelled);
    } else {
        qapi_event_send_block_job_completed(&completed);
    }
}

static void main_fn send_io_error(Job *job, bool is_write, BlkErrorAction action)
{
    static const BlockErrorAction actions[] = {
        [BLK_ERROR_ACTION_REPORT] = BLOCK_ERROR_ACTION_REPORT,
        [BLK_ERROR_ACTION_IGNORE] = BLOCK_ERROR_ACTION_IGNORE,
        [BLK_ERROR_ACTION_STOP]   = BLOCK_ERROR_ACTION_STOP,
    };
    EventBlockJobErrorArgs ev = {
        .device = job->id, .action = actions[action],
        .operation = is_write ? IO_OPERATION_TYPE_WRITE : IO_OPERATION_TYPE_READ,
    };

    qapi_event_send_block_job_error(&ev);
}

void main_fn blockdev_jobs_init(void)
{
    static const JobEvents events = {
        .state_changed = send_state, .ready = send_ready, .pending = send_pending,
        .ended = send_ended, .io_error = send_io_error, .co_finish = blockdev_run_transaction,
    };

    job_set_events(&events);
}

void co_main_fn blockdev_jobs_shutdown(void)
{
    job_shutdown();
}

/* ---- queries ---- */

bool co_main_fn qmp_query_jobs(JobInfoList **ret, Error **errp)
{
    JobInfoList *list = NULL, **tail = &list;

    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        JobInfo *info = g_new0(JobInfo, 1);
        job_update(job);
        info->id = g_strdup(job->id);
        info->type = type_of(job);
        info->status = status_of(job);
        info->current_progress = job->current;
        info->total_progress = job->total;
        info->error = g_strdup(job->error);
        JobInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

static BlockJobInfo *main_fn block_job_info(Job *job)
{
    static const BlockDeviceIoStatus io[] = {
        [JOB_IO_OK] = BLOCK_DEVICE_IO_STATUS_OK, [JOB_IO_FAILED] = BLOCK_DEVICE_IO_STATUS_FAILED,
        [JOB_IO_NOSPACE] = BLOCK_DEVICE_IO_STATUS_NOSPACE,
    };
    BlockJobInfo *info = g_new0(BlockJobInfo, 1);

    job_update(job);
    info->type = g_strdup(job->drv->type);
    info->device = g_strdup(job->id);
    info->len = job->total;
    info->offset = job->current;
    info->busy = !job_is_idle(job);
    info->paused = job->pauses > 0;
    info->speed = job->speed;
    info->io_status = io[job->io_status];
    info->ready = job->state == JOB_READY || job->state == JOB_STANDBY;
    info->status = status_of(job);
    info->auto_finalize = !job->manual_finalize;
    info->auto_dismiss = !job->manual_dismiss;
    info->error = g_strdup(job->error);
    info->has_actively_synced = job_is_mirror(job);
    info->actively_synced = info->has_actively_synced && mirror_is_active(job);
    return info;
}

bool co_main_fn qmp_query_block_jobs(BlockJobInfoList **ret, Error **errp)
{
    BlockJobInfoList *list = NULL, **tail = &list;

    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        if (job->drv->on_disk) {
            BlockJobInfoList_append(&tail, block_job_info(job));
        }
    }
    *ret = list;
    return true;
}

/* ---- job-... ---- */

static Job *main_fn find(const char *id, Error **errp)
{
    Job *job = job_find(id);

    if (!job) {
        error_setg(errp, "Job not found");
    }
    return job;
}

bool co_main_fn qmp_job_cancel(const QmpJobCancelArgs *args, Error **errp)
{
    Job *job = find(args->id, errp);

    return job && job_cancel(job, true, errp);
}

bool co_main_fn qmp_job_pause(const QmpJobPauseArgs *args, Error **errp)
{
    Job *job = find(args->id, errp);

    return job && job_pause(job, errp);
}

bool co_main_fn qmp_job_resume(const QmpJobResumeArgs *args, Error **errp)
{
    Job *job = find(args->id, errp);

    return job && job_resume(job, errp);
}

bool co_main_fn qmp_job_complete(const QmpJobCompleteArgs *args, Error **errp)
{
    Job *job = find(args->id, errp);

    return job && job_complete(job, errp);
}

bool co_main_fn qmp_job_finalize(const QmpJobFinalizeArgs *args, Error **errp)
{
    Job *job = find(args->id, errp);

    return job && job_finalize(job, errp);
}

bool co_main_fn qmp_job_dismiss(const QmpJobDismissArgs *args, Error **errp)
{
    Job *job = find(args->id, errp);

    return job && job_dismiss(job, errp);
}

/* ---- block-job-... ---- */

static Job *main_fn find_block_job(const char *id, Error **errp)
{
    Job *job = job_find(id);

    if (!job || !job->drv->on_disk) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
        return NULL;
    }
    return job;
}

bool co_main_fn qmp_block_job_set_speed(const QmpBlockJobSetSpeedArgs *args, Error **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_set_speed(job, args->speed, errp);
}

bool co_main_fn qmp_block_job_cancel(const QmpBlockJobCancelArgs *args, Error **errp)
{
    Job *job = find_block_job(args->device, errp);
    bool force = args->has_force && args->force;

    if (!job) {
        return false;
    }
    if (job->user_paused && !force) {
        error_setg(errp, "The block job for device '%s' is currently paused", args->device);
        return false;
    }
    return job_cancel(job, force, errp);
}

bool co_main_fn qmp_block_job_pause(const QmpBlockJobPauseArgs *args, Error **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_pause(job, errp);
}

bool co_main_fn qmp_block_job_resume(const QmpBlockJobResumeArgs *args, Error **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_resume(job, errp);
}

bool co_main_fn qmp_block_job_complete(const QmpBlockJobCompleteArgs *args, Error **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_complete(job, errp);
}

bool co_main_fn qmp_block_job_finalize(const QmpBlockJobFinalizeArgs *args, Error **errp)
{
    Job *job = find_block_job(args->id, errp);

    return job && job_finalize(job, errp);
}

bool co_main_fn qmp_block_job_dismiss(const QmpBlockJobDismissArgs *args, Error **errp)
{
    Job *job = find_block_job(args->id, errp);

    return job && job_dismiss(job, errp);
}

bool co_main_fn qmp_block_job_change(const BlockJobChangeOptions *args, Error **errp)
{
    Job *job = find_block_job(args->id, errp);

    if (!job || !job_allows(job, JOB_VERB_CHANGE, errp)) {
        return false;
    }
    if (!job_is_mirror(job)) {
        error_setg(errp, "Job type does not support change");
        return false;
    }
    if (args->copy_mode == MIRROR_COPY_MODE_BACKGROUND) {
        if (mirror_is_active(job)) {
            error_setg(errp, "Change to copy mode 'background' is not implemented");
        }
        return !mirror_is_active(job);
    }
    mirror_make_active(job);
    return true;
}

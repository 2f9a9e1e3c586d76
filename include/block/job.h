/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: commands that answer at once and go on working.  A job runs as a coroutine of the main
 * thread (what copies data runs elsewhere, block/copy.h), says how far it has come, can be paused,
 * cancelled and completed, and ends alone or together with others.  Nothing here knows the wire:
 * whoever does gives functions that are told of everything, job_set_events().
 * docs/design/jobs.md.
 */
#ifndef BLOCK_JOB_H
#define BLOCK_JOB_H

#include "block/transaction.h"

/*
 * The states of a job; each change is told.
 *
 *   UNDEFINED --> CREATED --> RUNNING <--> PAUSED
 *                                |
 *                                |-------> READY <--> STANDBY
 *                                |           |
 *                                v           v        what it does is done;
 *                             WAITING <------'        others of its group work yet
 *                                |
 *                             PENDING                 all of them are; job-finalize is missing
 *                                |
 *   NULL <-- CONCLUDED <---------+
 *                ^
 *             ABORTING <-- from RUNNING, READY, WAITING, PENDING
 */
typedef enum JobState {
    JOB_UNDEFINED, JOB_CREATED, JOB_RUNNING, JOB_PAUSED, JOB_READY, JOB_STANDBY, JOB_WAITING,
    JOB_PENDING, JOB_ABORTING, JOB_CONCLUDED, JOB_NULL, JOB_STATE__MAX,
} JobState;

/* What can be asked of a job; which in what state is a table in block/job.c. */
typedef enum JobVerb {
    JOB_VERB_CANCEL, JOB_VERB_PAUSE, JOB_VERB_RESUME, JOB_VERB_SET_SPEED, JOB_VERB_COMPLETE,
    JOB_VERB_FINALIZE, JOB_VERB_DISMISS, JOB_VERB_CHANGE, JOB_VERB__MAX,
} JobVerb;

typedef struct Job Job;
typedef struct JobGroup JobGroup;

/* A kind of job.  Functions that are NULL have nothing to do. */
typedef struct JobDriver {
    const char *type;               /* on the wire: "mirror" */
    size_t instance_size;           /* bytes of the struct that begins with a Job, zeroed */
    bool on_disk;                   /* it works on the disk of a guest: a block job */
    bool has_ready;                 /* it does not end by itself: it is ready, and then completed */
    /* The work, as a coroutine of the main thread, not under the graph mutex.  It looks at
     * job_is_cancelled() and calls job_pause_point() where that is safe.  An error is how the job
     * failed. */
    bool (*co_run)(Job *job, Error **errp);
    /* Bring current and total up to date: somebody looks. */
    void (*update)(Job *job);
    /* Something that co_run may wait for has changed (cancelled, paused, speed): what it does
     * elsewhere returns soon. */
    void (*kick)(Job *job);
    /* Adds to @t, in the check of a transaction, the action that makes what the job did visible (a
     * change of the graph), for jobs that succeeded. */
    bool (*co_add_finish)(Job *job, Transaction *t, Error **errp);
    /* It has ended, one way or the other: let go of all nodes. */
    void (*co_end)(Job *job, bool ok);
    /* @force: at once.  Else a job that is ready may end its work well, without the change that
     * completing it would make.  Returns whether the job is to fail. NULL: true. */
    bool (*cancel)(Job *job, bool force);
    bool (*complete)(Job *job, Error **errp);   /* it is ready; NULL: there is nothing to complete */
    /* Release what the instance owns; the job itself is the caller's. */
    void (*clear)(Job *job);
} JobDriver;

typedef enum JobIoStatus { JOB_IO_OK, JOB_IO_FAILED, JOB_IO_NOSPACE } JobIoStatus;

struct Job {
    const JobDriver *drv;
    char *id;
    JobState state;
    uint64_t current, total;        /* progress; see job_progress() */
    bool manual_finalize, manual_dismiss;
    bool cancelled;                 /* it shall fail, soon */
    bool should_complete;           /* it was ready and shall end */
    bool user_paused;
    int pauses;                     /* reasons for it to pause; > 0: it does at its next point */
    char *error;                    /* how it failed, or NULL */
    int64_t speed;                  /* bytes a second; 0: no limit */
    JobIoStatus io_status;
    BlkOnError on_source_error, on_target_error;

    /* The core's own. */
    JobGroup *group;
    Coroutine *sleeper;             /* co_run, in job_sleep() or job_pause_point() */
    bool ran;                       /* co_run has returned */
    Job *next;
};

/* Told on the main thread; none yields but co_finish. */
typedef struct JobEvents {
    void (*state_changed)(Job *job);
    void (*ready)(Job *job);
    void (*pending)(Job *job);      /* it waits for job_finalize() */
    void (*ended)(Job *job);        /* completed, failed or cancelled */
    void (*io_error)(Job *job, bool is_write, BlkErrorAction action);
    /* Run one transaction with what @add adds. */
    bool (*co_finish)(TransactionAdd *add, const void *args, Error **errp);
} JobEvents;

void main_fn job_set_events(const JobEvents *events);

const char *any_fn job_state_name(JobState state);
const char *any_fn job_verb_name(JobVerb verb);

/* ---- for those that make jobs ---- */

/* A job that has not started; the caller fills its own members and then starts it. NULL: the name
 * is not a valid one, or taken. */
Job *main_fn job_new(const JobDriver *drv, const char *id, Error **errp);
/* One that was never started. */
void main_fn job_free(Job *job);
/*
 * Run @job; the table of jobs owns it from now on.  Its first step is after the command's answer.
 * Jobs that were put into one group end together: all of them well, or all of them not.
 */
void co_main_fn job_start(Job *job);
JobGroup *main_fn job_group_new(void);
/* Before it starts. */
void main_fn job_join(Job *job, JobGroup *group);
/* All that are to be in it have joined, and started or been freed; NULL is fine. */
void co_main_fn job_group_release(JobGroup *group);

/* ---- for co_run ---- */

/* @current of @total, in a unit of the job's own; both may change. */
void main_fn job_progress(Job *job, uint64_t current, uint64_t total);
/* Somebody wants it to end: co_run returns as soon as that is safe. */
bool main_fn job_is_cancelled(const Job *job);
/* Stays while the job is to pause, and is not cancelled. */
void co_main_fn job_pause_point(Job *job);
/* Until @ns have passed or something has happened to the job: it was kicked. */
void co_main_fn job_sleep(Job *job, int64_t ns);
void main_fn job_kick(Job *job);
/* From now on it can be completed. */
void main_fn job_ready(Job *job);
/* What is to be done about a request that failed with @error (-errno).  STOP: the job pauses at its
 * next point, and tries again. */
BlkErrorAction main_fn job_io_error(Job *job, bool is_write, int error);
/* For what is to be made visible outside of co_add_finish: as co_finish of the events. */
bool co_main_fn job_run_transaction(TransactionAdd *add, const void *args, Error **errp);
/* Does co_run wait? */
bool main_fn job_is_idle(const Job *job);

/* ---- for users ---- */

Job *main_fn job_find(const char *id);
/* Its progress is up to date when this returns. */
void main_fn job_update(Job *job);
Job *main_fn job_next(Job *prev);   /* NULL: the newest */
/* May it be asked of @job, as it is now? */
bool main_fn job_allows(const Job *job, JobVerb verb, Error **errp);

bool main_fn job_pause(Job *job, Error **errp);
bool main_fn job_resume(Job *job, Error **errp);
/* See JobDriver.cancel. */
bool co_main_fn job_cancel(Job *job, bool force, Error **errp);
bool main_fn job_complete(Job *job, Error **errp);
/* Finishes its whole group. */
bool co_main_fn job_finalize(Job *job, Error **errp);
bool main_fn job_dismiss(Job *job, Error **errp);
bool main_fn job_set_speed(Job *job, int64_t speed, Error **errp);

/* Cancels all and waits until they have ended. */
void co_main_fn job_shutdown(void);

#endif

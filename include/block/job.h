/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: commands that answer at once and go on working.  A job runs as a coroutine of the main
 * thread, says how far it has come, and stays in query-jobs until it is dismissed.
 */
#ifndef BLOCK_JOB_H
#define BLOCK_JOB_H

#include "qapi/error.h"
#include "qapi/qapi-types.h"

/*
 * The statuses of a job; each change is an event.
 *
 *     job_new()     undefined
 *                       |  job_start()
 *                    created
 *                       |  job_start()
 *                    running ---- job_entry(): co_run failed or was cancelled ----> aborting
 *                       |  job_entry(): co_run succeeded                               |
 *                    waiting                                                           |
 *                       |  job_entry()                                                 |
 *                    pending                                                           |
 *                       |  job_entry()                                                 |
 *                   concluded <--------------------------------------------------------+
 *                       |  job-dismiss
 *                      null, freed
 */
typedef struct Job Job;

/* A kind of job. */
typedef struct JobDriver {
    JobType type;
    size_t instance_size;           /* bytes of the struct that begins with a Job, zeroed */
    bool can_cancel;                /* co_run looks at job_is_cancelled() now and then */
    void (*cancel)(Job *job);       /* called when it is; NULL: that will do */
    /* The work.  Not under the graph mutex. An error is how the job failed. */
    bool (*co_run)(Job *job, Error **errp);
    /* Release what the instance owns; the job itself is the caller's. */
    void (*clear)(Job *job);
} JobDriver;

struct Job {
    const JobDriver *drv;
    char *id;
    JobStatus status;
    uint64_t current, total;        /* progress; see job_progress() */
    bool cancelled;
    char *error;                    /* how it failed, or NULL */
    Job *next;
};

/* A job that has not started; the caller fills its own members and then starts it. NULL: the name
 * is not a valid one, or taken. */
Job *main_fn job_new(const JobDriver *drv, const char *id, Error **errp);
/* One that was never started. */
void main_fn job_free(Job *job);
/* Run @job; the table of jobs owns it from now on.  Its first step is after the command's answer.
 */
void co_main_fn job_start(Job *job);

/* @current of @total, in a unit of the job's own; both may change. */
void main_fn job_progress(Job *job, uint64_t current, uint64_t total);
/* Somebody wants it to end: co_run returns as soon as that is safe. */
bool main_fn job_is_cancelled(const Job *job);

#endif

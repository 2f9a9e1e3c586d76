/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of jobs only. */
#ifndef BLOCK_JOB_INTERNAL_H
#define BLOCK_JOB_INTERNAL_H

#include "block/job.h"

/* Jobs that end together; each job is in one, if only in one of its own. */
struct JobGroup {
    GPtrArray *jobs;                /* in the order in which they joined */
    int to_run;                     /* jobs whose co_run has not returned */
    bool complete;                  /* none joins any more */
    bool aborting;                  /* one has failed or was cancelled */
    bool finishing;                 /* its transaction is under way */
};

const JobEvents *main_fn job_events(void);
void main_fn job_set_state(Job *job, JobState state);
/* It is not to pause any more: its state says so at once. */
void main_fn job_goes_on(Job *job);
void main_fn job_add_to_table(Job *job);
/* One that never started. */
void main_fn job_leave_group(Job *job);
void main_fn job_group_free(JobGroup *group);
/* @job, which has concluded, is taken out of the table and freed. */
void main_fn job_remove(Job *job);

#endif

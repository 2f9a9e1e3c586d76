/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of jobs: who is in them.  How they end: job-end.c. */
#include "qemu/osdep.h"

#include "block/job-internal.h"

JobGroup *main_fn job_group_new(void)
{
    JobGroup *group = g_new0(JobGroup, 1);

    group->jobs = g_ptr_array_new();
    return group;
}

void main_fn job_group_free(JobGroup *group)
{
    g_ptr_array_unref(group->jobs);
    g_free(group);
}

void main_fn job_join(Job *job, JobGroup *group)
{
    g_assert(!job->group && !group->complete);
    job->group = group;
    group->to_run++;
    g_ptr_array_add(group->jobs, job);
}

void main_fn job_leave_group(Job *job)
{
    if (job->group) {
        g_ptr_array_remove(job->group->jobs, job);
        job->group->to_run--;
        job->group = NULL;
    }
}

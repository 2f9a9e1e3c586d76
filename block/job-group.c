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
    JobGroup *group = g_steal_pointer(&job->group);

    if (!group) {
        return;
    }
    g_ptr_array_remove(group->jobs, job);
    group->to_run--;
    /* The command may have given up before its makers did, and let go of the group. */
    if (group->complete && group->jobs->len == 0) {
        job_group_free(group);
    }
}

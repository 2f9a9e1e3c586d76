/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs that work on disks: those that there are, and what is done to one. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

/* ---- info block-jobs ---- */

static void append_job(GString *out, const BlockJobInfo *job)
{
    if (strcmp(job->type, "stream") == 0) {
        g_string_append_printf(out, "Streaming device %s", job->device);
    } else {
        g_string_append_printf(out, "Type %s, device %s", job->type, job->device);
    }
    g_string_append_printf(out, ": Completed %" PRId64 " of %" PRId64 " bytes, speed limit %" PRId64
                           " bytes/s\n", job->offset, job->len, job->speed);
}

static void co_main_fn info_block_jobs(GString *out, const HmpArgs *args)
{
    g_autoptr(BlockJobInfoList) list = NULL;
    Error *err = NULL;

    qmp_query_block_jobs(&list, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    if (!list) {
        g_string_append(out, "No active jobs\n");
    }
    for (BlockJobInfoList *l = list; l; l = l->next) {
        append_job(out, l->value);
    }
}

/* ---- one job ---- */

static char *device_of(const HmpArgs *args)
{
    return (char *)hmp_str(args, "device");
}

static void co_main_fn set_speed(GString *out, const HmpArgs *args)
{
    QmpBlockJobSetSpeedArgs q = { .device = device_of(args), .speed = hmp_int(args, "speed") };
    Error *err = NULL;

    qmp_block_job_set_speed(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn cancel(GString *out, const HmpArgs *args)
{
    QmpBlockJobCancelArgs q = {
        .device = device_of(args), .has_force = true, .force = hmp_flag(args, "f"),
    };
    Error *err = NULL;

    qmp_block_job_cancel(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn complete(GString *out, const HmpArgs *args)
{
    QmpBlockJobCompleteArgs q = { .device = device_of(args) };
    Error *err = NULL;

    qmp_block_job_complete(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn pause_job(GString *out, const HmpArgs *args)
{
    QmpBlockJobPauseArgs q = { .device = device_of(args) };
    Error *err = NULL;

    qmp_block_job_pause(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn resume(GString *out, const HmpArgs *args)
{
    QmpBlockJobResumeArgs q = { .device = device_of(args) };
    Error *err = NULL;

    qmp_block_job_resume(&q, &err);
    hmp_failed(out, err);
}

const HmpCommand hmp_info_job_commands[] = {
    { "block-jobs", NULL, "show progress of ongoing block device operations", info_block_jobs },
    { NULL },
};

const HmpCommand hmp_job_commands[] = {
    { "block_job_cancel", "[-f] device", "stop an active background block operation (-f: abort it "
      "at once instead of running until the data is in sync)", cancel,
      { { "f", HMP_FLAG }, { "device", HMP_DEVICE } } },
    { "block_job_complete", "device", "let a background block operation that is ready come to its "
      "end", complete, { { "device", HMP_DEVICE } } },
    { "block_job_pause", "device", "pause an active background block operation", pause_job,
      { { "device", HMP_DEVICE } } },
    { "block_job_resume", "device", "resume a paused background block operation", resume,
      { { "device", HMP_DEVICE } } },
    { "block_job_set_speed", "device speed", "set maximum speed for a background block operation",
      set_speed, { { "device", HMP_DEVICE }, { "speed", HMP_SIZE } } },
    { NULL },
};

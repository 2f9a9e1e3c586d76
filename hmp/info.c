/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info` about the program itself: channels, threads, jobs, its name and version. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

static void co_main_fn info_chardev(GString *out, const HmpArgs *args)
{
    g_autoptr(ChardevInfoList) list = NULL;
    Error *err = NULL;

    qmp_query_chardev(&list, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    for (ChardevInfoList *l = list; l; l = l->next) {
        g_string_append_printf(out, "%s: filename=%s\n", l->value->label, l->value->filename);
    }
}

static void co_main_fn info_iothreads(GString *out, const HmpArgs *args)
{
    g_autoptr(IOThreadInfoList) list = NULL;
    Error *err = NULL;

    qmp_query_iothreads(&list, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    for (IOThreadInfoList *l = list; l; l = l->next) {
        g_string_append_printf(out, "%s:\n  thread_id=%" PRId64 "\n  poll-max-ns=%" PRId64 "\n",
                               l->value->id, l->value->thread_id, l->value->poll_max_ns);
    }
}

static void co_main_fn info_jobs(GString *out, const HmpArgs *args)
{
    g_autoptr(JobInfoList) list = NULL;
    Error *err = NULL;

    qmp_query_jobs(&list, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    for (JobInfoList *l = list; l; l = l->next) {
        const JobInfo *job = l->value;

        g_string_append_printf(out, "%s: type=%s status=%s progress=%" PRId64 "/%" PRId64 "%s%s\n",
                               job->id, JobType_str(job->type), JobStatus_str(job->status),
                               job->current_progress, job->total_progress,
                               job->error ? " error=" : "", job->error ?: "");
    }
    if (!list) {
        g_string_append(out, "No jobs\n");
    }
}

static void co_main_fn info_name(GString *out, const HmpArgs *args)
{
    g_autoptr(NameInfo) info = NULL;

    if (qmp_query_name(&info, NULL) && info->name) {
        g_string_append_printf(out, "%s\n", info->name);
    }
}

static void co_main_fn info_version(GString *out, const HmpArgs *args)
{
    g_autoptr(VersionInfo) info = NULL;

    if (qmp_query_version(&info, NULL)) {
        const VersionTriple *v = info->qemu;
        g_string_append_printf(out, "%" PRId64 ".%" PRId64 ".%" PRId64 " (%s)\n", v->major,
                               v->minor, v->micro, info->package);
    }
}

const HmpCommand hmp_info_commands[] = {
    { "chardev", NULL, "show the character devices", info_chardev },
    { "iothreads", NULL, "show iothreads", info_iothreads },
    { "jobs", NULL, "show jobs, also those that work on no disk", info_jobs },
    { "name", NULL, "show the current VM name", info_name },
    { "version", NULL, "show the version of QEMU", info_version },
    { NULL },
};

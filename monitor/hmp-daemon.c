/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info` about the daemon itself: channels, threads, jobs. */
#include "qemu/osdep.h"

#include "daemon.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"

/* Says in @out why a query failed; takes @err. */
static bool failed(GString *out, bool ok, Error *err)
{
    if (!ok) {
        g_string_append_printf(out, "Error: %s\n", error_get_pretty(err));
        error_free(err);
    }
    return !ok;
}

void hmp_info_chardev(GString *out, int argc, char **argv)
{
    g_autoptr(ChardevInfoList) list = NULL;
    Error *err = NULL;

    if (failed(out, qmp_query_chardev(&list, &err), err)) {
        return;
    }
    for (ChardevInfoList *l = list; l; l = l->next) {
        g_string_append_printf(out, "%s: filename=%s\n", l->value->label, l->value->filename);
    }
}

void hmp_info_iothreads(GString *out, int argc, char **argv)
{
    g_autoptr(IOThreadInfoList) list = NULL;
    Error *err = NULL;

    if (failed(out, qmp_query_iothreads(&list, &err), err)) {
        return;
    }
    for (IOThreadInfoList *l = list; l; l = l->next) {
        g_string_append_printf(out, "%s:\n  thread_id=%" PRId64 "\n  poll-max-ns=%" PRId64 "\n",
                               l->value->id, l->value->thread_id, l->value->poll_max_ns);
    }
}

void hmp_info_jobs(GString *out, int argc, char **argv)
{
    g_autoptr(JobInfoList) list = NULL;
    Error *err = NULL;

    if (failed(out, qmp_query_jobs(&list, &err), err)) {
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

void hmp_info_name(GString *out, int argc, char **argv)
{
    const char *name = monitor_name();

    if (name) {
        g_string_append_printf(out, "%s\n", name);
    }
}

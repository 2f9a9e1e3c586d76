/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-save, snapshot-load, snapshot-delete: snapshots of the machine by jobs. */
#include "qemu/osdep.h"

#include "block/job.h"
#include "migration/vmstate.h"
#include "qapi/qapi-commands.h"

typedef struct SnapshotJob {
    Job job;
    char *tag, *vmstate;
    GPtrArray *nodes;               /* of strings; the last is NULL */
} SnapshotJob;

static SnapshotJob *of(Job *job)
{
    return container_of(job, SnapshotJob, job);
}

static VmStateDisks disks_of(const SnapshotJob *s)
{
    return (VmStateDisks){
        .vmstate = s->vmstate, .nodes = (const char *const *)s->nodes->pdata,
    };
}

typedef bool (*VmStateOperation)(const char *tag, const VmStateDisks *disks, Error **errp);

static bool co_main_fn run(Job *job, VmStateOperation operation, Error **errp)
{
    VmStateDisks disks = disks_of(of(job));

    job_progress(job, 0, 1);
    bool ok = operation(of(job)->tag, &disks, errp);
    job_progress(job, ok, 1);
    return ok;
}

static bool co_main_fn save_run(Job *job, Error **errp)
{
    return run(job, vmstate_save, errp);
}

static bool co_main_fn load_run(Job *job, Error **errp)
{
    return run(job, vmstate_load, errp);
}

static bool co_main_fn delete_run(Job *job, Error **errp)
{
    return run(job, vmstate_delete, errp);
}

static void clear(Job *job)
{
    SnapshotJob *s = of(job);

    g_free(s->tag);
    g_free(s->vmstate);
    g_ptr_array_unref(s->nodes);
}

#define SNAPSHOT_DRIVER(type_, run) {                                           \
    .type = type_, .instance_size = sizeof(SnapshotJob), .co_run = run, .clear = clear, \
}

static const JobDriver save_job = SNAPSHOT_DRIVER("snapshot-save", save_run);
static const JobDriver load_job = SNAPSHOT_DRIVER("snapshot-load", load_run);
static const JobDriver delete_job = SNAPSHOT_DRIVER("snapshot-delete", delete_run);

/* @vmstate: NULL: the first of @nodes, which then may be none. */
static bool co_main_fn start(const JobDriver *drv, const char *id, const char *tag,
                             const char *vmstate, const strList *nodes, Error **errp)
{
    Job *job = job_new(drv, id, errp);

    if (!job) {
        return false;
    }
    SnapshotJob *s = of(job);
    s->tag = g_strdup(tag);
    s->nodes = g_ptr_array_new_with_free_func(g_free);
    for (const strList *e = nodes; e; e = e->next) {
        g_ptr_array_add(s->nodes, g_strdup(e->value));
    }
    g_ptr_array_add(s->nodes, NULL);
    s->vmstate = g_strdup(vmstate ?: s->nodes->pdata[0]);
    /* As in QEMU: its end is told, and it stays until it is dismissed. */
    job->manual_dismiss = true;
    job_start(job);
    return true;
}

bool co_main_fn qmp_snapshot_save(const QmpSnapshotSaveArgs *args, Error **errp)
{
    return start(&save_job, args->job_id, args->tag, args->vmstate, args->devices, errp);
}

bool co_main_fn qmp_snapshot_load(const QmpSnapshotLoadArgs *args, Error **errp)
{
    return start(&load_job, args->job_id, args->tag, args->vmstate, args->devices, errp);
}

bool co_main_fn qmp_snapshot_delete(const QmpSnapshotDeleteArgs *args, Error **errp)
{
    if (!args->devices) {
        error_setg(errp, "No devices are given");
        return false;
    }
    return start(&delete_job, args->job_id, args->tag, NULL, args->devices, errp);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-create: jobs that make images. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/job.h"
#include "block/new-file.h"
#include "qapi/qapi-commands.h"

typedef struct CreateJob {
    Job job;
    BlockdevCreateOptions *options;
    BdrvLink *links[2];             /* to what is being filled; NULL: none */
} CreateJob;

/* ---- being cancelled ---- */

static void main_fn interrupt(BdrvLink *link, bool on)
{
    BlockDriverState *bs = link ? link->bs : NULL;

    while (bs && bs->file) {
        bs = bs->file->bs;
    }
    if (bs && bs->drv->interrupt) {
        bs->drv->interrupt(bs, on);
    }
}

static void main_fn create_kick(Job *job)
{
    CreateJob *c = container_of(job, CreateJob, job);

    for (size_t i = 0; job_is_cancelled(job) && i < G_N_ELEMENTS(c->links); i++) {
        interrupt(c->links[i], true);
    }
}

/* From here to end_work() the job can be cancelled amid what it does with these.  False: it is. */
static bool main_fn begin_work(CreateJob *c, BdrvLink *file, BdrvLink *data, Error **errp)
{
    c->links[0] = file;
    c->links[1] = data;
    if (job_is_cancelled(&c->job)) {
        error_setg_errno(errp, ECANCELED, "Cannot create an image");
        return false;
    }
    return true;
}

static void main_fn end_work(CreateJob *c)
{
    for (size_t i = 0; i < G_N_ELEMENTS(c->links); i++) {
        interrupt(c->links[i], false);
        c->links[i] = NULL;
    }
}

/* ---- the work ---- */

static BdrvPrealloc prealloc_of(bool given, PreallocMode mode)
{
    static const BdrvPrealloc map[] = {
        [PREALLOC_MODE_OFF] = BDRV_PREALLOC_OFF, [PREALLOC_MODE_METADATA] = BDRV_PREALLOC_METADATA,
        [PREALLOC_MODE_FALLOC] = BDRV_PREALLOC_FALLOC, [PREALLOC_MODE_FULL] = BDRV_PREALLOC_FULL,
    };

    return given ? map[mode] : BDRV_PREALLOC_OFF;
}

static bool co_main_fn flush_new(BdrvLink *link, const char *filename, Error **errp)
{
    int ret = bdrv_co_flush(link, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot write '%s'", filename);
    }
    return ret == 0;
}

static bool co_main_fn fill_file(CreateJob *c, BdrvLink *link, const BlockdevCreateOptionsFile *q,
                                 Error **errp)
{
    bool ok = begin_work(c, link, NULL, errp) &&
              bdrv_co_truncate(link, q->size,
                               prealloc_of(q->has_preallocation, q->preallocation), errp) &&
              flush_new(link, q->filename, errp);

    end_work(c);
    return ok;
}

/* A file of the wanted size, synced; an existing file is resized only if it was empty.  The node is
 * hidden and nobody else's. */
static bool co_main_fn create_file(CreateJob *c, const BlockdevCreateOptionsFile *q, Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_READ,
        .holder = "blockdev-create", .hidden = true,
    };
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("file");

    NewFile *target = new_file_prepare(q->filename, errp);

    if (!target) {
        return false;
    }
    opts->u.file.filename = g_strdup(new_file_name(target));
    opts->u.file.fd = new_file_dup(target, false, errp);
    BdrvLink *link = opts->u.file.fd < 0 ? NULL : bdrv_open(opts, &spec, errp);
    bool ok = link && new_file_claim(target, errp);
    if (ok && q->has_nocow && q->nocow) {
        new_file_set_nocow(target);
    }
    ok = ok && fill_file(c, link, q, errp) &&
              new_file_sync_dir(target, errp);
    bdrv_link_free(link);
    if (ok) {
        new_file_commit(target);
    } else {
        new_file_abort(target);
    }
    return ok;
}

static bool qcow2_options(const BlockdevCreateOptionsQcow2 *q, BdrvCreateOptions *o, Error **errp)
{
    if (q->size > (uint64_t)BDRV_MAX_LENGTH) {
        error_setg(errp, "Image size must be less than 8 EiB!");
        return false;
    }
    o->size = q->size;
    o->has_name = true;
    o->preallocation = prealloc_of(q->has_preallocation, q->preallocation);
    o->u.qcow2 = (Qcow2CreateOptions){
        .version = q->has_version && q->version == BLOCKDEV_QCOW2_VERSION_V2 ? 2 : 3,
        .cluster_size = q->has_cluster_size ? q->cluster_size : 64 * KiB,
        .extended_l2 = q->has_extended_l2 && q->extended_l2,
        .refcount_bits = q->has_refcount_bits ? CLAMP(q->refcount_bits, 0, 1000) : 16,
        .lazy_refcounts = q->has_lazy_refcounts && q->lazy_refcounts,
        .compression_type = q->has_compression_type &&
                            q->compression_type != QCOW2_COMPRESSION_TYPE_ZLIB,
        .data_file_raw = q->has_data_file_raw && q->data_file_raw,
        .backing_file = q->backing_file,
        .backing_fmt = q->has_backing_fmt ? (char *)BlockdevDriver_str(q->backing_fmt) : NULL,
    };
    return true;
}

/* The node that @ref names or describes, held by a link that keeps others from writing. */
static BdrvLink *co_main_fn open_ref(const BlockdevRef *ref, Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_READ,
        .holder = "blockdev-create",
    };

    if (ref->type == QTYPE_QSTRING) {
        const char *name = ref->u.reference;
        BlockDriverState *bs;
        do {
            bs = blockdev_lookup(name, name, false, errp);
        } while (bs && bdrv_wait_until_unchanged(bs));
        return bs ? bdrv_link_new(bs, &spec, errp) : NULL;
    }
    g_autoptr(BdrvOpenOptions) opts = blockdev_options_to_plain(&ref->u.definition, errp);
    return opts ? bdrv_open(opts, &spec, errp) : NULL;
}

/* The name to record for the data file @data; caller frees. */
static char *main_fn data_file_name(BdrvLink *data, Error **errp)
{
    BlockDriverState *bs = data->bs;

    if (!bs->drv->get_identity || !bs->filename[0]) {
        error_setg(errp, "Cannot record node '%s' as a data file: it is not a file", bs->node_name);
        return NULL;
    }
    return bdrv_path_combine(NULL, bs->filename);
}

/* @data reaches to the end of the disk.  What it holds already is the user's, and in a raw one the
 * disk's. */
static bool co_main_fn fill_data_file(BdrvLink *data, const BdrvCreateOptions *opts, Error **errp)
{
    return (bdrv_length(data->bs) >= opts->size ||
            bdrv_co_truncate(data, opts->size, opts->preallocation, errp)) &&
           flush_new(data, data->bs->filename, errp);
}

/* The links keep the nodes, and others from using them. */
static bool co_main_fn fill_qcow2(CreateJob *c, BdrvLink *file, BdrvLink *data,
                                  const BdrvCreateOptions *opts, Error **errp)
{
    bool ok = begin_work(c, file, data, errp) &&
              bdrv_co_create(bdrv_find_driver("qcow2"), file, opts, errp) &&
              (!data || fill_data_file(data, opts, errp)) &&
              flush_new(file, file->bs->filename, errp);

    end_work(c);
    return ok;
}

static bool co_main_fn create_qcow2(CreateJob *c, const BlockdevCreateOptionsQcow2 *q, Error **errp)
{
    BdrvCreateOptions opts = { 0 };
    BdrvLink *data = NULL;
    bool ok = false;

    if (!qcow2_options(q, &opts, errp)) {
        return false;
    }
    BdrvLink *file = open_ref(q->file, errp);
    if (file && q->data_file) {
        data = open_ref(q->data_file, errp);
        opts.u.qcow2.data_file = data ? data_file_name(data, errp) : NULL;
    }
    if (file && (!q->data_file || opts.u.qcow2.data_file)) {
        ok = fill_qcow2(c, file, data, &opts, errp);
    }
    bdrv_link_free(data);
    bdrv_link_free(file);
    g_free(opts.u.qcow2.data_file);
    return ok;
}

/* ---- the job ---- */

static bool co_main_fn create_run(Job *job, Error **errp)
{
    CreateJob *c = container_of(job, CreateJob, job);

    switch (c->options->driver) {
    case BLOCKDEV_DRIVER_FILE:
        return create_file(c, &c->options->u.file, errp);
    case BLOCKDEV_DRIVER_QCOW2:
        return create_qcow2(c, &c->options->u.qcow2, errp);
    default:
        error_setg(errp, "Driver does not support blockdev-create");
        return false;
    }
}

static void create_clear(Job *job)
{
    BlockdevCreateOptions_free(container_of(job, CreateJob, job)->options);
}

static const JobDriver create_job = {
    .type          = "create",
    .instance_size = sizeof(CreateJob),
    .kick          = create_kick,
    .co_run        = create_run,
    .clear         = create_clear,
};

bool co_main_fn qmp_blockdev_create(const QmpBlockdevCreateArgs *args, Error **errp)
{
    Job *job = job_new(&create_job, args->job_id, errp);

    if (!job) {
        return false;
    }
    if (args->options->driver != BLOCKDEV_DRIVER_FILE &&
        args->options->driver != BLOCKDEV_DRIVER_QCOW2) {
        error_setg(errp, "Driver does not support blockdev-create");
        job_free(job);
        return false;
    }
    container_of(job, CreateJob, job)->options = BlockdevCreateOptions_clone(args->options);
    job_start(job);
    return true;
}

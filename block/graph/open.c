/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening nodes, images that are only named, and chains of them. */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "block/claims.h"
#include "block/claims.h"
#include "block/ranges.h"
#include "qemu/id.h"
#include "qemu/trace.h"

/* Longest node name, so that QEMU's clients and ours can use each other's. */
#define NODE_NAME_MAX 31

bool main_fn bdrv_check_node_name(const char *name, Error **errp)
{
    if (!id_is_well_formed(name)) {
        error_setg(errp, "Invalid node-name: '%s'", name);
        return false;
    }
    if (strlen(name) > NODE_NAME_MAX) {
        error_setg(errp, "Node name too long");
        return false;
    }
    if (bdrv_node_name_is_taken(name)) {
        error_setg(errp, "Duplicate nodes with node-name='%s'", name);
        return false;
    }
    if (bdrv_name_is_device(name)) {
        error_setg(errp, "node-name=%s is conflicting with a device id", name);
        return false;
    }
    return true;
}

static char *main_fn generate_node_name(void)
{
    static unsigned counter;

    return g_strdup_printf("#block%03u", counter++);
}

static bool opens_inactive;

bool main_fn bdrv_open_inactive(bool inactive)
{
    bool before = opens_inactive;

    opens_inactive = inactive;
    return before;
}

bool main_fn bdrv_opens_inactive(void)
{
    return opens_inactive;
}

static BlockDriverState *main_fn node_new(const BlockDriver *drv, const BdrvOpenOptions *opts)
{
    BlockDriverState *bs = g_new0(BlockDriverState, 1);

    bs->drv = drv;
    bs->opaque = drv->instance_size ? g_malloc0(drv->instance_size) : NULL;
    bs->node_name = opts->node_name ? g_strdup(opts->node_name) : generate_node_name();
    bs->read_only = opts->read_only || drv->cannot_write;
    bs->asked_read_only = opts->read_only;
    bs->inactive = opens_inactive && !bs->read_only;
    bs->read_only |= bs->inactive;
    bs->force_share = opts->force_share || bs->inactive;
    bs->cache_direct = opts->cache_direct;
    bs->cache_no_flush = opts->cache_no_flush;
    bs->discard = opts->discard;
    bs->detect_zeroes = opts->detect_zeroes;
    bs->limits = (BdrvLimits){ .request_alignment = 1, .mem_alignment = 1 };
    bs->ranges = bdrv_ranges_new();
    co_mutex_init(&bs->flush_lock);
    g_queue_init(&bs->followers);
    g_queue_init(&bs->others);
    bs->allows = CLAIM_ALL;
    bdrv_registry_add(bs);
    return bs;
}

/* The node that an option names, to which a link is made before anything yields. */
static BlockDriverState *co_main_fn find_reference(const char *node_name, Error **errp)
{
    BlockDriverState *bs;

    do {
        bs = bdrv_find_node(node_name);
    } while (bs && bdrv_wait_until_unchanged(bs));
    if (!bs) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", node_name, node_name);
    }
    return bs;
}

/* A link of @role from the new node @bs to what @child says: a node by name or one to open. */
static BdrvLink *co_main_fn open_link(BlockDriverState *bs, const BdrvLinkRole *role,
                                      const BdrvChildOption *child, Error **errp)
{
    BdrvLinkSpec spec;

    bdrv_storage_spec(bs, role, &spec);
    if (child->options) {
        return bdrv_open(child->options, &spec, errp);
    }
    BlockDriverState *target = child->node ?: find_reference(child->reference, errp);
    if (!target) {
        return NULL;
    }
    if (!bs->read_only && target->read_only) {
        error_setg(errp, "Cannot open node '%s' for writing: its %s node '%s' is read-only",
                   bs->node_name, role->name, target->node_name);
        return NULL;
    }
    return bdrv_nest(bs, target, errp) ? bdrv_link_new(target, &spec, errp) : NULL;
}

/* The same, as the child of that role. */
static bool co_main_fn open_child(BlockDriverState *bs, const BdrvLinkRole *role,
                                  const BdrvChildOption *child, Error **errp)
{
    BdrvLink *link = open_link(bs, role, child, errp);

    if (!link) {
        return false;
    }
    bdrv_add_child(link);
    return bdrv_nest(bs, link->bs, errp);
}

bool co_main_fn bdrv_open_data_file(BlockDriverState *bs, const char *name, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("file");
    BdrvChildOption child = { .options = opts };

    opts->u.file.filename = bdrv_path_combine(bs->filename ?: bs->file->bs->filename, name);
    opts->read_only = bs->read_only && !bs->inactive;
    opts->cache_direct = bs->cache_direct;
    opts->cache_no_flush = bs->cache_no_flush;
    opts->discard = bs->discard;
    opts->force_share = bs->force_share && !bs->inactive;
    if (!open_child(bs, &bdrv_role_data_file, &child, errp)) {
        error_prepend(errp, "Cannot open the data file of '%s': ", bs->file->bs->filename);
        return false;
    }
    return true;
}

BdrvLink *co_main_fn bdrv_open_own_child(BlockDriverState *bs, const BdrvLinkRole *role,
                                         const BdrvChildOption *child, Error **errp)
{
    BdrvLink *link = NULL;

    if (!child->options && !child->reference && !child->node) {
        error_setg(errp, "A block device must be specified for \"%s\"", role->name);
        return NULL;
    }
    link = open_link(bs, role, child, errp);
    if (!link) {
        return NULL;
    }
    bdrv_add_child(link);           /* a node that cannot be opened frees its children */
    if (!bs->read_only && link->bs->read_only) {
        error_setg(errp, "Cannot open node '%s' for writing: its %s node '%s' is read-only",
                   bs->node_name, role->name, link->bs->node_name);
        return NULL;
    }
    return bdrv_nest(bs, link->bs, errp) ? link : NULL;
}

static bool child_given(const BdrvChildOption *child)
{
    return child->options || child->reference || child->node;
}

/* Is the existing node that @child means read-only? */
static bool main_fn is_read_only(const BdrvChildOption *child)
{
    BlockDriverState *bs = child->node;

    if (!bs && child->reference) {
        bs = bdrv_find_node(child->reference);
    }
    return bs && bs->read_only;
}

static bool co_main_fn open_children(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                     Error **errp)
{
    bool wants_file = !bs->drv->is_protocol || bs->drv->is_filter || bs->drv->has_file;

    if (!wants_file) {
        return true;
    }
    if (!child_given(&opts->file)) {
        error_setg(errp, "A block device must be specified for \"file\"");
        return false;
    }
    /* A filter cannot write what is below it: it is as read-only as that. */
    if ((opts->auto_read_only || bs->drv->is_filter) &&
        (is_read_only(&opts->file) || is_read_only(&opts->data_file))) {
        bs->read_only = true;
    }
    if (!open_child(bs, &bdrv_role_file, &opts->file, errp)) {
        return false;
    }
    if (!bs->read_only && bs->file->bs->read_only) {
        if (!opts->auto_read_only) {
            error_setg(errp, "Cannot open node '%s' for writing: its file '%s' is read-only",
                       bs->node_name, bs->file->bs->filename);
            return false;
        }
        bs->read_only = true;
    }
    return !child_given(&opts->data_file) ||
           open_child(bs, &bdrv_role_data_file, &opts->data_file, errp);
}

/* Offsets behind the end have to fit as well. */
static bool main_fn check_length(const BlockDriverState *bs, Error **errp)
{
    g_assert(bs->length >= 0);
    if (bs->length > BDRV_MAX_LENGTH) {
        error_setg_errno(errp, EFBIG, "Cannot open '%s': its length is %" PRId64 " bytes",
                         bs->filename ?: bs->node_name, bs->length);
        return false;
    }
    return true;
}

/* @bs has no users yet; after a failure it is gone. */
static bool co_main_fn open_node(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    if (!open_children(bs, opts, errp) || !bs->drv->co_open(bs, opts, errp) ||
        !check_length(bs, errp)) {
        trace_node_open_failed(bs->node_name, bs->drv->name,
                               errp && *errp ? error_get_pretty(*errp) : NULL);
        bdrv_close_node(bs, false);
        return false;
    }
    if (!bs->filename) {
        bs->filename = g_strdup(bs->file ? bs->file->bs->filename : "");
    }
    g_assert(IS_POWER_OF_2(bs->limits.request_alignment));
    trace_node_open(bs->node_name, bs->drv->name, bs->filename, bs->read_only);
    return true;
}

/* One node, without a backing file, with the link of @spec to it. */
static BdrvLink *co_main_fn open_one(const BdrvOpenOptions *opts, const BdrvLinkSpec *spec,
                                     Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver(opts->driver);

    if (!drv) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT, "Unknown driver '%s'",
                        opts->driver);
        return NULL;
    }
    if (opts->node_name && !bdrv_check_node_name(opts->node_name, errp)) {
        return NULL;
    }
    if (opts->force_share && !opts->read_only) {
        error_setg(errp, "force-share=on can only be used with read-only images");
        return NULL;
    }
    if (drv->cannot_write && !opts->read_only && !opts->auto_read_only) {
        error_setg(errp, "Cannot open a node of format '%s' for writing: it can only be read",
                   drv->name);
        return NULL;
    }
    if (!drv->supports_backing && (child_given(&opts->backing) || opts->backing.is_null)) {
        error_setg(errp, "Driver '%s' does not support backing files", drv->name);
        return NULL;
    }
    BlockDriverState *bs = node_new(drv, opts);
    bs->hidden = spec->parent ? spec->parent->hidden : spec->hidden;
    if (!open_node(bs, opts, errp)) {
        return NULL;
    }
    return bdrv_link_new(bs, spec, errp);
}

/* ---- an image that is only named ---- */

#define PROBE_BYTES 2048

const char *co_main_fn bdrv_probe_format(const BdrvOpenOptions *file_opts, Error **errp)
{
    uint8_t buf[PROBE_BYTES] = { 0 };
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ, .allows = CLAIM_ALL, .holder = "format probing",
    };
    BdrvLink *link = bdrv_open(file_opts, &spec, errp);

    if (!link) {
        return NULL;
    }
    int ret = bdrv_co_pread(link, 0, sizeof(buf), buf);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot read '%s' to find its format",
                         link->bs->filename);
    }
    bdrv_link_free(link);
    return ret < 0 ? NULL : bdrv_probe(buf, sizeof(buf))->name;
}

/* Can @drv open what a name for the driver @named says?  A file may be a device. */
static bool leads_there_too(const BlockDriver *drv, const char *named)
{
    return drv == bdrv_find_driver(named) ||
           (drv->get_identity && bdrv_find_driver(named)->get_identity);
}

void any_fn bdrv_note_probed(BdrvOpenOptions *opts, bool probed)
{
    if (strcmp(opts->driver, "raw") == 0) {
        opts->u.raw.probed = probed;
    }
}

BdrvOpenOptions *co_main_fn bdrv_options_from_filename(const char *filename, const char *format,
                                                       const char *base_filename, Error **errp)
{
    if (g_str_has_prefix(filename, "json:")) {
        return bdrv_options_from_json_name(filename, format, errp);
    }
    g_autoptr(BdrvOpenOptions) file = bdrv_protocol_options(filename, base_filename, errp);
    if (!file) {
        return NULL;
    }
    for (BdrvOpenOptions *o = file; o; o = o->file.options) {
        o->read_only = true;
    }
    bool probed = !format;
    if (!format) {
        format = bdrv_probe_format(file, errp);
        if (!format) {
            return NULL;
        }
    }
    const BlockDriver *drv = bdrv_find_driver(format);
    if (!drv) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT, "Unknown driver '%s'", format);
        return NULL;
    }
    if (drv->is_protocol && !leads_there_too(drv, file->driver)) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT,
                        "'%s' is not a format of files", format);
        return NULL;
    }
    if (drv->is_protocol) {
        g_free(file->driver);
        file->driver = g_strdup(format);
        return g_steal_pointer(&file);
    }
    BdrvOpenOptions *opts = bdrv_open_options_new(format);
    opts->read_only = true;
    opts->file.options = g_steal_pointer(&file);
    bdrv_note_probed(opts, probed);
    return opts;
}

/* ---- chains ---- */

/*
 * What @bs shall have as its backing file: as the user said, else as the image says.  NULL without
 * an error: none, or @ret_reference, an existing node.
 */
static BdrvOpenOptions *co_main_fn backing_options(BlockDriverState *bs,
                                                   const BdrvOpenOptions *opts,
                                                   const BdrvOpenOptions **ret_borrowed,
                                                   BlockDriverState **ret_reference,
                                                   Error **errp)
{
    *ret_borrowed = NULL;
    *ret_reference = NULL;
    if (opts->no_backing_open || opts->backing.is_null) {
        return NULL;
    }
    if (opts->backing.reference) {
        *ret_reference = find_reference(opts->backing.reference, errp);
        return NULL;
    }
    if (opts->backing.options) {
        *ret_borrowed = opts->backing.options;
        return NULL;
    }
    if (!bs->backing_file || !bs->backing_file[0]) {
        return NULL;
    }
    BdrvOpenOptions *own = bdrv_options_from_filename(bs->backing_file, bs->backing_format,
                                                      bs->filename, errp);
    if (!own) {
        error_prepend(errp, "Could not open backing file: ");
        return NULL;
    }
    /* It was decided when the image was made that its base is used like this. */
    bdrv_note_probed(own, false);
    own->cache_direct = bs->cache_direct;
    own->cache_no_flush = bs->cache_no_flush;
    own->force_share = bs->force_share && !bs->inactive;
    if (own->file.options) {
        own->file.options->cache_direct = bs->cache_direct;
        own->file.options->cache_no_flush = bs->cache_no_flush;
        own->file.options->force_share = own->force_share;
    }
    return own;
}

static guint hash_file(gconstpointer key)
{
    const BdrvFileId *id = key;

    return g_int64_hash(&(int64_t){ id->ino ^ (uint64_t)id->dev << 32 });
}

static gboolean same_file(gconstpointer a, gconstpointer b)
{
    const BdrvFileId *x = a, *y = b;

    return x->dev == y->dev && x->ino == y->ino;
}

/* Adds the file of @bs, an image that fills it, to @files; false: it has been met before. */
static bool main_fn note_file(GHashTable *files, const BlockDriverState *bs)
{
    BlockDriverState *file = bs->file ? bs->file->bs : NULL;
    BdrvFileId id;

    if (!bs->drv->supports_backing || !file || !file->drv->get_identity ||
        !file->drv->get_identity(file, &id)) {
        return true;
    }
    return g_hash_table_add(files, g_memdup2(&id, sizeof(id)));
}

/* Open the chain below @bs, one image after the other: it is as long as the images say. */
static bool co_main_fn open_backing_chain(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                          Error **errp)
{
    g_autoptr(BdrvOpenOptions) held = NULL;
    g_autoptr(GHashTable) files = g_hash_table_new_full(hash_file, same_file, g_free, NULL);

    for (int depth = 1; ; depth++) {
        const BdrvOpenOptions *borrowed;
        BlockDriverState *reference;
        BdrvLinkSpec spec;
        Error *err = NULL;
        BdrvOpenOptions *own = backing_options(bs, opts, &borrowed, &reference, &err);

        if (err) {
            error_propagate(errp, err);
            return false;
        }
        bdrv_backing_spec(bs, &spec);
        if (reference) {
            /* Nobody uses @bs yet. */
            spec.tolerant = true;
            spec.allows |= CLAIM_WRITE;
            BdrvLink *link = bdrv_link_new(reference, &spec, errp);
            if (link) {
                bdrv_add_child(link);
            }
            return link != NULL;
        }
        if (own) {
            bdrv_open_options_free(held);
            held = own;
            borrowed = own;
        }
        if (!borrowed) {
            return true;
        }
        if (!note_file(files, bs)) {
            error_setg(errp, "Cannot open '%s': its chain of backing files goes round in circles",
                       bs->filename);
            return false;
        }
        if (depth >= BDRV_MAX_CHAIN) {
            error_setg(errp, "Cannot open '%s': its chain of backing files has more than %d images",
                       bs->filename, BDRV_MAX_CHAIN);
            return false;
        }
        BdrvLink *link = open_one(borrowed, &spec, errp);
        if (!link) {
            error_prepend(errp, "Could not open backing file: ");
            return false;
        }
        bdrv_add_child(link);
        bs->backing_as_recorded = own != NULL;
        bs = link->bs;
        opts = borrowed;
    }
}

BdrvLink *co_main_fn bdrv_open(const BdrvOpenOptions *opts, const BdrvLinkSpec *spec, Error **errp)
{
    context_assert_main();
    BdrvLink *link = open_one(opts, spec, errp);

    if (link && !open_backing_chain(link->bs, opts, errp)) {
        bdrv_link_free(link);
        return NULL;
    }
    return link;
}

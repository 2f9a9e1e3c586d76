/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Laying out a new image.  Everything is in one piece, in this order, so that all of it can be
 * computed and written from front to back, the header last:
 *
 *   header | refcount table | refcount blocks | L1 table | (L2 tables | data)
 *
 * The last two exist with preallocation only.  All these clusters have a refcount of 1.
 */
#include "qemu/osdep.h"

#include "config-host.h"
#include "qcow2.h"

typedef struct Layout {
    Qcow2Geometry g;
    uint64_t size;                  /* virtual, bytes */
    uint64_t guest_clusters;
    /* Clusters of each part, and where it begins (cluster index). */
    uint64_t reftable, refblocks, l1, l2, data;
    uint64_t refblocks_at, l1_at, l2_at, data_at, total;
    uint64_t l1_entries;
    bool preallocated;              /* there are L2 tables */
} Layout;

/* ---- options ---- */

/* What of @q images of version 2 do not have; NULL: nothing. */
static const char *needs_version_3(const Qcow2CreateOptions *q)
{
    return q->data_file       ? "External data files are only supported" :
           q->extended_l2     ? "Extended L2 entries are only supported" :
           q->lazy_refcounts  ? "Lazy refcounts only supported" :
           q->compression_type ? "Non-zlib compression type is only supported" : NULL;
}

static bool check_format_options(const Qcow2CreateOptions *q, Error **errp)
{
    int64_t cs = q->cluster_size;

    if (q->version != 2 && q->version != 3) {
        error_setg(errp, "qcow2 version %d does not exist", q->version);
    } else if (!IS_POWER_OF_2(cs) || cs < 1 << QCOW2_MIN_CLUSTER_BITS ||
               cs > 1 << QCOW2_MAX_CLUSTER_BITS) {
        error_setg(errp, "Cluster size must be a power of two between %d and %dk",
                   1 << QCOW2_MIN_CLUSTER_BITS, 1 << (QCOW2_MAX_CLUSTER_BITS - 10));
    } else if (!IS_POWER_OF_2(q->refcount_bits) || q->refcount_bits > 64) {
        error_setg(errp, "Refcount width must be a power of two and may not exceed 64 bits");
    } else if (q->version < 3 && needs_version_3(q)) {
        error_setg(errp, "%s with compatibility level 1.1 and above (use version=v3 or greater)",
                   needs_version_3(q));
    } else if (q->version < 3 && q->refcount_bits != 16) {
        error_setg(errp, "Different refcount widths than 16 bits require compatibility level 1.1 "
                   "or above (use version=v3 or greater)");
    } else if (q->extended_l2 && cs < 1 << 14) {
        error_setg(errp, "Extended L2 entries are only supported with cluster sizes of at least "
                   "%d bytes", 1 << 14);
    } else if (q->compression_type < 0 || q->compression_type > 1 ||
               (q->compression_type == 1 && !CONFIG_ZSTD)) {
        error_setg(errp, "Compression type %d is not supported by this build",
                   q->compression_type);
    } else {
        return true;
    }
    return false;
}

static bool check_options(const BdrvCreateOptions *opts, Error **errp)
{
    const Qcow2CreateOptions *q = &opts->u.qcow2;

    if (!check_format_options(q, errp)) {
        return false;
    }
    if (q->data_file_raw && !q->data_file) {
        error_setg(errp, "data-file-raw requires data-file");
    } else if (q->data_file_raw && q->backing_file) {
        error_setg(errp, "Backing file and data-file-raw cannot be used at the same time");
    } else if (q->backing_file && opts->preallocation != BDRV_PREALLOC_OFF && !q->extended_l2) {
        error_setg(errp, "Backing file and preallocation can only be used at the same time if "
                   "extended_l2 is on");
    } else if (q->backing_fmt && !q->backing_file) {
        error_setg(errp, "Backing format cannot be used without backing file");
    } else if (opts->size < 0 || opts->size > BDRV_MAX_LENGTH - 512) {
        error_setg(errp, "Image size must be less than 8 EiB!");
    } else {
        return true;
    }
    return false;
}

/* ---- the plan ---- */

/* Refcount clusters for @others clusters that are not refcounts, so that they count themselves as
 * well. */
static void plan_refcounts(Layout *l, uint64_t others)
{
    const Qcow2Geometry *g = &l->g;

    l->reftable = l->refblocks = 1;
    for (;;) {
        uint64_t total = others + l->reftable + l->refblocks;
        uint64_t blocks = DIV_ROUND_UP(total, UINT64_C(1) << g->refblock_bits);
        uint64_t table = DIV_ROUND_UP(blocks * 8, g->cluster_size);

        if (blocks <= l->refblocks && table <= l->reftable) {
            break;
        }
        l->refblocks = MAX(l->refblocks, blocks);
        l->reftable = MAX(l->reftable, table);
    }
}

static bool plan(const BdrvCreateOptions *opts, Layout *l, Error **errp)
{
    const Qcow2CreateOptions *q = &opts->u.qcow2;
    Qcow2Geometry *g = &l->g;

    qcow2_geometry_init(g, __builtin_ctzll(q->cluster_size), q->extended_l2,
                        __builtin_ctz(q->refcount_bits), q->version >= 3, q->data_file != NULL);
    /* Sizes are multiples of 512: others cut off what is not. */
    l->size = ROUND_UP(opts->size, 512);
    /* Raw data is there, whatever the tables say: so they must say that it is. */
    l->preallocated = opts->preallocation != BDRV_PREALLOC_OFF || q->data_file_raw;
    l->guest_clusters = DIV_ROUND_UP(l->size, g->cluster_size);
    l->l1_entries = qcow2_l1_entries_for(g, l->size);
    l->l1 = DIV_ROUND_UP(l->l1_entries * 8, g->cluster_size);
    l->l2 = l->preallocated ? l->l1_entries : 0;
    l->data = l->preallocated && !q->data_file ? l->guest_clusters : 0;
    if (l->l1_entries > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "The image size is too large for file format 'qcow2' (try using a larger "
                   "cluster size)");
        return false;
    }
    plan_refcounts(l, 1 + l->l1 + l->l2 + l->data);
    l->refblocks_at = 1 + l->reftable;
    l->l1_at = l->refblocks_at + l->refblocks;
    l->l2_at = l->l1_at + l->l1;
    l->data_at = l->l2_at + l->l2;
    l->total = l->data_at + l->data;
    if (l->reftable > QCOW2_MAX_REFTABLE_BYTES >> g->cluster_bits ||
        l->total > QCOW2_MAX_HOST_OFFSET >> g->cluster_bits) {
        error_setg(errp, "The image of %" PRIu64 " bytes is too large to be preallocated with "
                   "these clusters and refcounts", l->size);
        return false;
    }
    return true;
}

bool any_fn qcow2_measure(const BdrvCreateOptions *opts, uint64_t *ret, Error **errp)
{
    BdrvCreateOptions full = *opts;
    Layout l = { 0 };

    full.preallocation = BDRV_PREALLOC_METADATA;
    if (!check_format_options(&full.u.qcow2, errp) || !plan(&full, &l, errp)) {
        return false;
    }
    *ret = (l.total - l.data) << l.g.cluster_bits;
    return true;
}

/* ---- writing ---- */

static int co_fn put(BdrvLink *file, const Layout *l, uint64_t cluster, const void *buf,
                     uint64_t bytes)
{
    return bdrv_co_pwrite(file, cluster << l->g.cluster_bits, bytes, buf, 0);
}

/* The tables are small or zero for the most part: only what is not zero is written. */
static int co_fn write_refcounts(BdrvLink *file, const Layout *l)
{
    const Qcow2Geometry *g = &l->g;
    uint64_t per_block = UINT64_C(1) << g->refblock_bits;
    g_autofree uint8_t *table = g_try_malloc0(ROUND_UP(l->refblocks * 8, 512));
    g_autofree uint8_t *block = g_try_malloc0(g->cluster_size);
    int ret = table && block ? 0 : -ENOMEM;

    for (uint64_t b = 0; b < l->refblocks && ret == 0; b++) {
        uint64_t n = MIN(per_block, l->total - MIN(l->total, b * per_block));

        memset(block, 0, g->cluster_size);
        for (uint64_t i = 0; i < n; i++) {
            qcow2_refcount_store(block, g->refcount_order, i, 1);
        }
        uint64_t bytes = DIV_ROUND_UP(n << g->refcount_order, 8);
        if (bytes) {
            ret = put(file, l, l->refblocks_at + b, block, ROUND_UP(bytes, 512));
        }
        be64_store(table + b * 8, (l->refblocks_at + b) << g->cluster_bits);
    }
    return ret < 0 ? ret : put(file, l, 1, table, ROUND_UP(l->refblocks * 8, 512));
}

static int co_fn write_l1(BdrvLink *file, const Layout *l)
{
    uint64_t bytes = ROUND_UP(l->l1_entries * 8, 512);

    if (!l->preallocated || bytes == 0) {
        return 0;
    }
    g_autofree uint8_t *table = g_try_malloc0(bytes);
    if (!table) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < l->l1_entries; i++) {
        be64_store(table + i * 8, (l->l2_at + i) << l->g.cluster_bits | QCOW2_COPIED);
    }
    return put(file, l, l->l1_at, table, bytes);
}

/* Every guest cluster has a host cluster; @data: and its content is there, not in a
 * backing file. */
static int co_fn write_l2(BdrvLink *file, const Layout *l, bool data)
{
    const Qcow2Geometry *g = &l->g;
    uint64_t per_table = UINT64_C(1) << g->l2_bits;
    g_autofree uint8_t *table = l->l2 ? g_try_malloc0(g->cluster_size) : NULL;
    int ret = !l->l2 || table ? 0 : -ENOMEM;

    for (uint64_t t = 0; t < l->l2 && ret == 0; t++) {
        memset(table, 0, g->cluster_size);
        for (uint64_t i = 0; i < per_table && t * per_table + i < l->guest_clusters; i++) {
            uint64_t cluster = t * per_table + i;
            Qcow2Entry e = {
                .has_host = true, .copied = true, .alloc = data ? g->all_subs : 0,
                .host = (g->has_data_file ? cluster : l->data_at + cluster) << g->cluster_bits,
            };
            qcow2_entry_encode(g, &e, table + i * g->entry_size);
        }
        ret = put(file, l, l->l2_at + t, table, g->cluster_size);
    }
    return ret;
}

/* ---- the header ---- */

static void put_u32(GByteArray *a, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    g_byte_array_append(a, (const uint8_t *)&v, sizeof(v));
}

static void put_u64(GByteArray *a, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    g_byte_array_append(a, (const uint8_t *)&v, sizeof(v));
}

static void put_extension(GByteArray *a, uint32_t type, const void *data, size_t len)
{
    static const uint8_t padding[8];

    put_u32(a, type);
    put_u32(a, len);
    g_byte_array_append(a, data, len);
    g_byte_array_append(a, padding, ROUND_UP(len, 8) - len);
}

static void put_feature_names(GByteArray *a)
{
    static const struct {
        uint8_t type, bit;
        char name[46];
    } names[] = {
        { 0, 0, "dirty bit" }, { 0, 1, "corrupt bit" }, { 0, 2, "external data file" },
        { 0, 3, "compression type" }, { 0, 4, "extended L2 entries" },
        { 1, 0, "lazy refcounts" }, { 2, 0, "bitmaps" }, { 2, 1, "raw external data" },
    };

    G_STATIC_ASSERT(sizeof(names[0]) == 48);
    put_extension(a, QCOW2_EXT_FEATURE_NAMES, names, sizeof(names));
}

static void put_v3_fields(GByteArray *a, const Qcow2CreateOptions *q)
{
    put_u64(a, (q->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0) |
               (q->compression_type ? QCOW2_INCOMPAT_COMPRESSION : 0) |
               (q->extended_l2 ? QCOW2_INCOMPAT_EXTL2 : 0));
    put_u64(a, q->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0);
    put_u64(a, q->data_file_raw ? QCOW2_AUTOCLEAR_RAW_DATA : 0);
    put_u32(a, __builtin_ctz(q->refcount_bits));
    put_u32(a, QCOW2_HDR_V3_LENGTH + 8);
    put_u64(a, (uint64_t)q->compression_type << 56);
}

/* All of the first cluster, up to its last byte that is not zero. */
static GByteArray *make_header(const Layout *l, const Qcow2CreateOptions *q)
{
    GByteArray *a = g_byte_array_new();
    size_t name_len = q->backing_file ? strlen(q->backing_file) : 0;

    put_u32(a, QCOW2_MAGIC);
    put_u32(a, q->version);
    put_u64(a, 0);                  /* of the backing file's name: below */
    put_u32(a, name_len);
    put_u32(a, l->g.cluster_bits);
    put_u64(a, l->size);
    put_u32(a, 0);                  /* not encrypted */
    put_u32(a, l->l1_entries);
    put_u64(a, l->l1 ? l->l1_at << l->g.cluster_bits : 0);
    put_u64(a, UINT64_C(1) << l->g.cluster_bits);
    put_u32(a, l->reftable);
    put_u32(a, 0);                  /* no snapshots */
    put_u64(a, 0);
    if (q->version >= 3) {
        put_v3_fields(a, q);
    }
    if (q->backing_fmt) {
        put_extension(a, QCOW2_EXT_BACKING_FORMAT, q->backing_fmt, strlen(q->backing_fmt));
    }
    if (q->data_file) {
        put_extension(a, QCOW2_EXT_DATA_FILE, q->data_file, strlen(q->data_file));
    }
    /* A courtesy to programs that do not know the features: left out where it is tight. */
    if (q->version >= 3 && a->len + 8 * 48 + 16 + name_len <= l->g.cluster_size) {
        put_feature_names(a);
    }
    put_u64(a, 0);                  /* end of extensions */
    if (name_len) {
        be64_store(a->data + 8, a->len);
        g_byte_array_append(a, (const uint8_t *)q->backing_file, name_len);
    }
    return a;
}

static bool check_names(const Qcow2CreateOptions *q, Error **errp)
{
    const struct { const char *value, *what; } names[] = {
        { q->backing_file, "backing file" }, { q->data_file, "data file" },
        { q->backing_fmt, "backing format" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (names[i].value && strlen(names[i].value) > BDRV_MAX_BACKING_NAME) {
            error_setg(errp, "The name of the %s has %zu bytes, more than %d", names[i].what,
                       strlen(names[i].value), BDRV_MAX_BACKING_NAME);
            return false;
        }
    }
    return true;
}

/* ---- the operation ---- */

/* The L1 table comes last where nothing is mapped: what its cluster has behind it is not needed. */
static int64_t file_bytes(const Layout *l)
{
    bool ends_with_l1 = l->l1 && !l->l2 && !l->data;

    return ends_with_l1 ? (l->l1_at << l->g.cluster_bits) + l->l1_entries * 8
                        : l->total << l->g.cluster_bits;
}

/*
 * Give the file its length, all zero as far as the tables go and wherever they say that data is.
 * Only what is known to read as zeroes is not written: a device that anything was on before can be
 * truncated, too, and keeps it.
 */
static bool co_fn prepare_file(BdrvLink *file, const Layout *l, BdrvPrealloc prealloc,
                               Error **errp)
{
    int64_t bytes = file_bytes(l);
    BdrvPrealloc mode = l->data && prealloc >= BDRV_PREALLOC_FALLOC ? prealloc
                                                                      : BDRV_PREALLOC_OFF;
    int ret;

    if (bdrv_truncated_is_zero(file->bs) &&
        (bdrv_length(file->bs) == 0 || bdrv_co_truncate(file, 0, BDRV_PREALLOC_OFF, NULL))) {
        return bdrv_co_truncate(file, bytes, mode, errp);
    }
    if (bdrv_length(file->bs) < bytes) {
        error_setg(errp, "It needs %" PRId64 " bytes, but there are only %" PRId64, bytes,
                   bdrv_length(file->bs));
        return false;
    }
    ret = bdrv_co_pwrite_zeroes(file, 0, bytes,
                                mode == BDRV_PREALLOC_OFF ? BDRV_REQ_MAY_UNMAP : 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot write zeroes");
        return false;
    }
    return true;
}

/* @behind_sync: its first sector, without which this is no image, when everything else is on disk.
 */
static int co_fn write_header(BdrvLink *file, const GByteArray *header, bool behind_sync)
{
    size_t first = behind_sync ? MIN(512, header->len) : header->len;
    int ret = 0;

    if (first < header->len) {
        ret = bdrv_co_pwrite(file, first, header->len - first, header->data + first, 0);
    }
    if (ret == 0 && behind_sync) {
        ret = bdrv_co_flush(file, 0);
    }
    return ret ?: bdrv_co_pwrite(file, 0, first, header->data, 0);
}

static int co_fn write_all(BdrvLink *file, const Layout *l, const BdrvCreateOptions *opts,
                           const GByteArray *header)
{
    int ret = write_refcounts(file, l);

    if (ret == 0) {
        ret = write_l1(file, l);
    }
    if (ret == 0) {
        ret = write_l2(file, l, opts->u.qcow2.backing_file == NULL);
    }
    return ret ?: write_header(file, header, opts->has_name);
}

bool co_fn qcow2_co_create(BdrvLink *file, const BdrvCreateOptions *opts, Error **errp)
{
    const Qcow2CreateOptions *q = &opts->u.qcow2;
    Layout l = { 0 };

    if (!check_options(opts, errp) || !check_names(q, errp) || !plan(opts, &l, errp)) {
        return false;
    }
    g_autoptr(GByteArray) header = make_header(&l, q);
    if (header->len > l.g.cluster_size) {
        error_setg(errp, "Cannot create '%s': the names of its backing and data files do not fit "
                   "into a cluster of %" PRIu64 " bytes", file->bs->filename, l.g.cluster_size);
        return false;
    }
    if (!prepare_file(file, &l, opts->preallocation, errp)) {
        error_prepend(errp, "Cannot create '%s': ", file->bs->filename);
        return false;
    }
    int ret = write_all(file, &l, opts, header);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot write the new image '%s'", file->bs->filename);
        return false;
    }
    return true;
}

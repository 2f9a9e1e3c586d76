/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsing the header.  A pure function over a buffer: every field is checked here against what the
 * specification allows and against our limits, before anything is computed from it.
 */
#include "qemu/osdep.h"

#include "block/types.h"
#include "config-host.h"
#include "header.h"

/* What is being parsed, for the functions below. */
typedef struct Parser {
    const uint8_t *buf;
    size_t len;                     /* bytes of the file that are shown */
    uint64_t file_length;
    const char *name;
    Qcow2Header *h;
    size_t need;                    /* out: show this much */
    const uint8_t *feature_names;   /* data of the feature name table, or NULL */
    size_t feature_names_len;
} Parser;

int any_fn qcow2_probe(const uint8_t *buf, size_t len)
{
    if (len < 8 || be32_load(buf) != QCOW2_MAGIC) {
        return 0;
    }
    /* Version 1 is another format, higher ones are for this driver to refuse. */
    return be32_load(buf + 4) >= 2 ? 100 : 0;
}

uint64_t any_fn qcow2_l1_entries_for(const Qcow2Geometry *g, uint64_t size)
{
    unsigned shift = g->cluster_bits + g->l2_bits;

    return (size >> shift) + ((size & ((UINT64_C(1) << shift) - 1)) != 0);
}

void any_fn qcow2_header_clear(Qcow2Header *header)
{
    g_clear_pointer(&header->backing_file, g_free);
    g_clear_pointer(&header->backing_format, g_free);
    g_clear_pointer(&header->data_file, g_free);
    g_clear_pointer(&header->reftable_problem, g_free);
}

/* Is the whole of [0, @end) shown?  If not but the file has it, asks for it. */
static bool shown(Parser *p, uint64_t end, const char *what, Error **errp)
{
    if (end <= p->len) {
        return true;
    }
    if (end <= p->file_length && end <= p->h->geometry.cluster_size) {
        p->need = MIN(p->h->geometry.cluster_size, p->file_length);
    }
    error_setg(errp, "Cannot read the header of '%s': the file ends inside %s", p->name, what);
    return false;
}

/* ---- feature bits ---- */

/* The image's own name for bit @bit of the incompatible features, NULL: none; caller frees;
 * printable. */
static char *feature_name(Parser *p, unsigned bit)
{
    for (size_t i = 0; i + 2 < p->feature_names_len; i += 48) {     /* the last may be cut off */
        const uint8_t *e = p->feature_names + i;
        if (e[0] == 0 && e[1] == bit) {
            char *name = g_strndup((const char *)e + 2, MIN(46, p->feature_names_len - i - 2));
            for (char *c = name; *c; c++) {
                *c = g_ascii_isprint(*c) ? *c : '?';
            }
            return name;
        }
    }
    return NULL;
}

static bool check_incompatible(Parser *p, Error **errp)
{
    uint64_t unknown = p->h->incompatible & ~QCOW2_INCOMPAT_KNOWN;
    g_autoptr(GString) names = g_string_new(NULL);

    if (!unknown) {
        return true;
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        g_autofree char *name = unknown >> bit & 1 ? feature_name(p, bit) : NULL;
        if (name) {
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", name);
            unknown &= ~(UINT64_C(1) << bit);
        }
    }
    if (unknown) {
        g_string_append_printf(names, "%sUnknown incompatible feature: %" PRIx64,
                               names->len ? ", " : "", unknown);
    }
    error_setg(errp, "Cannot open '%s': Unsupported qcow2 feature(s): %s", p->name, names->str);
    return false;
}

static bool check_compression(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;

    if (!!(h->incompatible & QCOW2_INCOMPAT_COMPRESSION) != (h->compression_type != 0)) {
        error_setg(errp, "Cannot open '%s': the compression type %u contradicts the compression "
                   "feature bit", p->name, h->compression_type);
        return false;
    }
    if (h->compression_type > 1) {
        error_setg(errp, "Cannot open '%s': unknown compression type %u", p->name,
                   h->compression_type);
        return false;
    }
    if (h->compression_type == 1 && !CONFIG_ZSTD) {
        error_setg(errp, "Cannot open '%s': its compression type zstd is not supported by this "
                   "build", p->name);
        return false;
    }
    return true;
}

/* ---- header extensions ---- */

static char *take_string(Parser *p, const uint8_t *data, size_t len, const char *what,
                         Error **errp)
{
    if (memchr(data, 0, len)) {
        error_setg(errp, "Cannot open '%s': its %s has a zero byte in it", p->name, what);
        return NULL;
    }
    return g_strndup((const char *)data, len);
}

static bool parse_bitmaps(Parser *p, const uint8_t *data, size_t len, Error **errp)
{
    Qcow2Header *h = p->h;

    if (len < 24) {
        error_setg(errp, "Cannot open '%s': its bitmaps extension has %zu bytes instead of 24",
                   p->name, len);
        return false;
    }
    h->has_bitmaps = true;
    h->nb_bitmaps = be32_load(data);
    h->bitmap_directory_size = be64_load(data + 8);
    h->bitmap_directory = host_offset(be64_load(data + 16));
    if (h->nb_bitmaps == 0 || h->nb_bitmaps > QCOW2_MAX_BITMAPS ||
        h->bitmap_directory_size > QCOW2_MAX_BITMAP_DIRECTORY ||
        h->bitmap_directory.v & (h->geometry.cluster_size - 1) ||
        h->bitmap_directory.v >= QCOW2_MAX_HOST_OFFSET) {
        error_setg(errp, "Cannot open '%s': its bitmaps extension is invalid (%u bitmaps in a "
                   "directory of %" PRIu64 " bytes at %" PRIu64 ")", p->name, h->nb_bitmaps,
                   h->bitmap_directory_size, h->bitmap_directory.v);
        return false;
    }
    return true;
}

static bool parse_string_extension(Parser *p, char **field, const uint8_t *data, size_t len,
                                   const char *what, Error **errp)
{
    g_clear_pointer(field, g_free);     /* of several the last one counts, as for QEMU */
    if (len > BDRV_MAX_BACKING_NAME) {
        error_setg(errp, "Cannot open '%s': its %s has %zu bytes, more than %d", p->name, what,
                   len, BDRV_MAX_BACKING_NAME);
        return false;
    }
    *field = take_string(p, data, len, what, errp);
    return *field != NULL;
}

static bool parse_extension(Parser *p, uint32_t type, const uint8_t *data, size_t len,
                            Error **errp)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        return parse_string_extension(p, &p->h->backing_format, data, len, "backing format",
                                      errp);
    case QCOW2_EXT_DATA_FILE:
        return parse_string_extension(p, &p->h->data_file, data, len, "data file name", errp);
    case QCOW2_EXT_FEATURE_NAMES:
        p->feature_names = data;
        p->feature_names_len = len;
        return true;
    case QCOW2_EXT_BITMAPS:
        /* Without the bit some program has written to the image and knew nothing of bitmaps:
         * whatever is there means nothing. */
        return !(p->h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) || parse_bitmaps(p, data, len, errp);
    default:
        return true;                /* not ours: stays in the file as it is */
    }
}

/* Extensions lie between the header and the backing file's name, or the end of the cluster. */
static bool parse_extensions(Parser *p, uint64_t limit, Error **errp)
{
    uint64_t pos = p->h->header_length;

    /* The area may end without an end marker where it is full. */
    while (pos + 8 <= limit) {
        if (!shown(p, pos + 8, "a header extension", errp)) {
            return false;
        }
        uint32_t type = be32_load(p->buf + pos);
        uint32_t len = be32_load(p->buf + pos + 4);

        if (type == QCOW2_EXT_END) {
            return true;
        }
        pos += 8;
        if (len > limit - pos) {
            error_setg(errp, "Cannot open '%s': Header extension too large", p->name);
            return false;
        }
        if (!shown(p, pos + len, "a header extension", errp) ||
            !parse_extension(p, type, p->buf + pos, len, errp)) {
            return false;
        }
        pos += ROUND_UP((uint64_t)len, 8);
    }
    return true;
}

static bool parse_names(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;
    uint64_t cluster_size = h->geometry.cluster_size, limit = cluster_size;
    uint64_t offset = be64_load(p->buf + 8);
    uint32_t len = be32_load(p->buf + 16);

    if (offset) {
        if (offset < h->header_length || offset > cluster_size) {
            error_setg(errp, "Cannot open '%s': Invalid backing file offset", p->name);
            return false;
        }
        if (len > BDRV_MAX_BACKING_NAME || len > cluster_size - offset) {
            error_setg(errp, "Cannot open '%s': Backing file name too long", p->name);
            return false;
        }
        limit = offset;
    }
    if (!parse_extensions(p, limit, errp)) {
        return false;
    }
    if (offset && len) {
        if (!shown(p, offset + len, "the name of the backing file", errp)) {
            return false;
        }
        h->backing_file = take_string(p, p->buf + offset, len, "backing file name", errp);
        return h->backing_file != NULL;
    }
    return true;
}

/* ---- fixed fields ---- */

static bool parse_version(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;
    const uint8_t *b = p->buf;

    if (p->len < QCOW2_HDR_V2_LENGTH || be32_load(b) != QCOW2_MAGIC) {
        error_setg(errp, "Cannot open '%s': Image is not in qcow2 format", p->name);
        return false;
    }
    h->version = be32_load(b + 4);
    if (h->version < 2 || h->version > 3) {
        error_setg(errp, "Cannot open '%s': Unsupported qcow2 version %u", p->name, h->version);
        return false;
    }
    if (h->version == 3 && p->len < QCOW2_HDR_V3_LENGTH) {
        error_setg(errp, "Cannot read the header of '%s': the file ends inside it", p->name);
        return false;
    }
    return true;
}

static bool parse_geometry(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;
    const uint8_t *b = p->buf;
    uint32_t cluster_bits = be32_load(b + 20), refcount_order = 4;

    h->header_length = QCOW2_HDR_V2_LENGTH;
    if (h->version == 3) {
        h->incompatible = be64_load(b + 72);
        h->compatible = be64_load(b + 80);
        h->autoclear = be64_load(b + QCOW2_HDR_AUTOCLEAR);
        refcount_order = be32_load(b + 96);
        h->header_length = be32_load(b + 100);
    }
    if (cluster_bits < QCOW2_MIN_CLUSTER_BITS || cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        error_setg(errp, "Cannot open '%s': Unsupported cluster size: 2^%u", p->name,
                   cluster_bits);
        return false;
    }
    if (refcount_order > QCOW2_MAX_REFCOUNT_ORDER) {
        error_setg(errp, "Cannot open '%s': unsupported refcount width (1 << %u bits)", p->name,
                   refcount_order);
        return false;
    }
    qcow2_geometry_init(&h->geometry, cluster_bits, h->incompatible & QCOW2_INCOMPAT_EXTL2,
                        refcount_order, h->version == 3,
                        h->incompatible & QCOW2_INCOMPAT_DATA_FILE);
    if (h->version == 3 && h->header_length > h->geometry.cluster_size) {
        error_setg(errp, "Cannot open '%s': qcow2 header exceeds cluster size", p->name);
        return false;
    }
    if (h->version == 3 &&
        (h->header_length < QCOW2_HDR_V3_LENGTH || h->header_length % 8)) {
        error_setg(errp, "Cannot open '%s': its header length of %u bytes is invalid", p->name,
                   h->header_length);
        return false;
    }
    return true;
}

static bool table_ok(const Qcow2Geometry *g, uint64_t offset, uint64_t bytes)
{
    return (offset & (g->cluster_size - 1)) == 0 && bytes <= QCOW2_MAX_HOST_OFFSET &&
           offset <= QCOW2_MAX_HOST_OFFSET - bytes;
}

static bool parse_l1(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;
    const uint8_t *b = p->buf;

    h->size = be64_load(b + QCOW2_HDR_SIZE);
    h->l1_size = be32_load(b + QCOW2_HDR_L1_SIZE);
    h->l1_offset = host_offset(be64_load(b + QCOW2_HDR_L1_OFFSET));
    if (h->size > BDRV_MAX_LENGTH) {
        error_setg(errp, "Cannot open '%s': its size of %" PRIu64 " bytes is too large", p->name,
                   h->size);
        return false;
    }
    if (h->l1_size > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "Cannot open '%s': Active L1 table too large", p->name);
        return false;
    }
    if (h->l1_size < qcow2_l1_entries_for(&h->geometry, h->size)) {
        bool none = qcow2_l1_entries_for(&h->geometry, h->size) > INT_MAX;
        error_setg(errp, "Cannot open '%s': %s", p->name,
                   none ? "Image is too big" : "L1 table is too small");
        return false;
    }
    if (!table_ok(&h->geometry, h->l1_offset.v, h->l1_size * UINT64_C(8)) ||
        (h->l1_size && (h->l1_offset.v == 0 || h->l1_offset.v >= p->file_length))) {
        error_setg(errp, "Cannot open '%s': Active L1 table offset invalid", p->name);
        return false;
    }
    return true;
}

/* A broken refcount table is the only table that can be made anew. */
static void check_reftable(Parser *p)
{
    Qcow2Header *h = p->h;
    const Qcow2Geometry *g = &h->geometry;

    if (h->reftable_clusters == 0 ||
        h->reftable_clusters > QCOW2_MAX_REFTABLE_BYTES >> g->cluster_bits) {
        h->reftable_problem = g_strdup(h->reftable_clusters
                                       ? "Reference count table too large"
                                       : "Image does not contain a reference count table");
    } else if (!table_ok(g, h->reftable_offset.v,
                         (uint64_t)h->reftable_clusters << g->cluster_bits) ||
               h->reftable_offset.v == 0 || h->reftable_offset.v >= p->file_length) {
        h->reftable_problem = g_strdup("Reference count table offset invalid");
    }
    if (h->reftable_problem) {
        h->reftable_offset = host_offset(0);
        h->reftable_clusters = 0;
    }
}

static bool parse_tables(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;
    const uint8_t *b = p->buf;

    h->reftable_offset = host_offset(be64_load(b + QCOW2_HDR_REFTABLE_OFFSET));
    h->reftable_clusters = be32_load(b + QCOW2_HDR_REFTABLE_CLUSTERS);
    h->nb_snapshots = be32_load(b + 60);
    h->snapshots_offset = host_offset(be64_load(b + 64));
    check_reftable(p);
    if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS) {
        error_setg(errp, "Cannot open '%s': Snapshot table too large", p->name);
        return false;
    }
    if (h->nb_snapshots && (h->snapshots_offset.v == 0 ||
                            !table_ok(&h->geometry, h->snapshots_offset.v,
                                      QCOW2_MAX_SNAPSHOT_TABLE))) {
        error_setg(errp, "Cannot open '%s': Snapshot table offset invalid", p->name);
        return false;
    }
    return true;
}

static bool parse_compression(Parser *p, Error **errp)
{
    if (p->h->header_length <= QCOW2_HDR_V3_LENGTH) {
        return true;
    }
    if (!shown(p, QCOW2_HDR_V3_LENGTH + 1, "the header", errp)) {
        return false;
    }
    p->h->compression_type = p->buf[QCOW2_HDR_V3_LENGTH];
    return true;
}

/* Fields that are fine one by one but not together. */
static bool check_together(Parser *p, Error **errp)
{
    Qcow2Header *h = p->h;
    uint32_t crypt_method = be32_load(p->buf + 32);
    bool data_file = h->geometry.has_data_file;

    if (crypt_method) {
        error_setg(errp, "Cannot open '%s': %s are not supported", p->name,
                   crypt_method == 1 ? "images encrypted with AES" :
                   crypt_method == 2 ? "images encrypted with LUKS" :
                   "unknown encryption methods");
        return false;
    }
    if (h->geometry.subclusters > 1 && h->geometry.cluster_bits < 14) {
        error_setg(errp, "Cannot open '%s': extended L2 entries need clusters of at least 16 KiB",
                   p->name);
        return false;
    }
    if (data_file && h->nb_snapshots) {
        error_setg(errp, "Cannot open '%s': it has both an external data file and snapshots",
                   p->name);
        return false;
    }
    if (data_file && h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA && h->backing_file) {
        error_setg(errp, "Cannot open '%s': it has both a raw external data file and a backing "
                   "file", p->name);
        return false;
    }
    return true;
}

bool any_fn qcow2_header_parse(const uint8_t *buf, size_t len, uint64_t file_length,
                               const char *name, Qcow2Header *ret, size_t *ret_need,
                               Error **errp)
{
    Qcow2Header h = { 0 };
    Parser p = { .buf = buf, .len = len, .file_length = file_length, .name = name, .h = &h };

    if (parse_version(&p, errp) && parse_geometry(&p, errp) && parse_compression(&p, errp) &&
        parse_names(&p, errp) && check_incompatible(&p, errp) && check_compression(&p, errp) &&
        parse_l1(&p, errp) && parse_tables(&p, errp) && check_together(&p, errp)) {
        *ret = h;
        return true;
    }
    qcow2_header_clear(&h);
    *ret_need = p.need;
    return false;
}

char *any_fn qcow2_recorded_backing_file(const uint8_t *buf, size_t len, uint64_t file_length,
                                         size_t *ret_need)
{
    Qcow2Header h;

    *ret_need = 0;
    if (!qcow2_probe(buf, len) ||
        !qcow2_header_parse(buf, len, file_length, "", &h, ret_need, NULL)) {
        return NULL;
    }
    char *name = g_steal_pointer(&h.backing_file);
    qcow2_header_clear(&h);
    return name;
}

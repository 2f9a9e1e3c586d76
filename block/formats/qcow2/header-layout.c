/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header laid out anew, with other extensions or of another version.
 *
 * (Y1) All that is new lies in the first sector, which is written as one, so a power cut leaves the
 *      old header or the new one.  The name of the backing file may lie behind it: there it stays,
 *      or is written, durably, where nothing refers to, before.
 */
#include "qemu/osdep.h"

#include "header-layout.h"

#define SECTOR 512
#define V3_LENGTH 112
/* Who opens an image reads this much at first. */
#define NAME_AREA (64 * KiB)

typedef struct HeaderExt {
    uint32_t type, len;
    const uint8_t *data;
} HeaderExt;

typedef struct Layout {
    uint8_t *old;                   /* the header as it is on disk */
    size_t area;                    /* of @old */
    GArray *exts;                   /* of HeaderExt */
    size_t name, name_len;          /* of the backing file; 0: none */
} Layout;

/* ---- what there is ---- */

static void read_exts(Layout *l, size_t pos)
{
    size_t limit = l->name ? MIN(l->area, l->name) : l->area;

    while (pos + 8 <= limit) {
        HeaderExt e = { be32_load(l->old + pos), be32_load(l->old + pos + 4), l->old + pos + 8 };

        if (e.type == QCOW2_EXT_END || e.len > limit - pos - 8) {
            return;
        }
        g_array_append_val(l->exts, e);
        pos += 8 + ROUND_UP((size_t)e.len, 8);
    }
}

static int co_fn layout_read(BlockDriverState *bs, Layout *l)
{
    Qcow2State *s = qcow2_state(bs);

    *l = (Layout){ .area = MIN(s->g.cluster_size, NAME_AREA) };
    l->exts = g_array_new(FALSE, FALSE, sizeof(HeaderExt));
    l->old = g_malloc0(NAME_AREA);
    int ret = qcow2_read_table(bs, host_offset(0), l->old, l->area);
    if (ret == 0) {
        memcpy(l->old, s->header_sector, SECTOR);
        l->name = be64_load(l->old + QCOW2_HDR_BACKING_OFFSET);
        l->name_len = l->name ? be32_load(l->old + QCOW2_HDR_BACKING_SIZE) : 0;
        if (l->name + l->name_len > l->area) {
            ret = -EFBIG;           /* by another program, and of no use */
        } else {
            read_exts(l, s->header.header_length);
        }
    }
    return ret;
}

static void layout_clear(Layout *l)
{
    g_array_unref(l->exts);
    g_free(l->old);
}

/* ---- what is wanted ---- */

static void edit_exts(Layout *l, const Qcow2HeaderEdit *edit, bool keep_names)
{
    for (guint i = l->exts->len; i-- > 0; ) {
        HeaderExt *e = &g_array_index(l->exts, HeaderExt, i);

        /* The names of features are for messages, and can be done without. */
        if ((e->type == QCOW2_EXT_DATA_FILE && edit->data_file) ||
            (e->type == QCOW2_EXT_FEATURE_NAMES && !keep_names)) {
            g_array_remove_index(l->exts, i);
        }
    }
    if (edit->data_file && *edit->data_file) {
        HeaderExt e = {
            QCOW2_EXT_DATA_FILE, strlen(edit->data_file), (const uint8_t *)edit->data_file,
        };
        g_array_append_val(l->exts, e);
    }
}

/* The header's fields of version @version in @sector, which has the old ones. */
static size_t put_fields(Qcow2State *s, const Qcow2HeaderEdit *edit, uint8_t *sector)
{
    unsigned version = edit->version ? edit->version : s->header.version;

    be32_store(sector + 4, version);
    if (version < 3) {
        return QCOW2_HDR_V2_LENGTH;
    }
    if (s->header.version == 3) {
        return s->header.header_length;
    }
    memset(sector + QCOW2_HDR_V2_LENGTH, 0, V3_LENGTH - QCOW2_HDR_V2_LENGTH);
    be32_store(sector + QCOW2_HDR_REFCOUNT_ORDER, s->g.refcount_order);
    be32_store(sector + QCOW2_HDR_LENGTH, V3_LENGTH);
    return V3_LENGTH;
}

/* The extensions from @pos on; returns where they end, or 0: they do not fit. */
static size_t put_exts(const Layout *l, uint8_t *sector, size_t pos)
{
    memset(sector + pos, 0, SECTOR - pos);
    for (guint i = 0; i < l->exts->len; i++) {
        const HeaderExt *e = &g_array_index(l->exts, HeaderExt, i);
        size_t len = ROUND_UP((size_t)e->len, 8);

        if (len > SECTOR || pos + 8 + len + 8 > SECTOR) {
            return 0;
        }
        be32_store(sector + pos, e->type);
        be32_store(sector + pos + 4, e->len);
        memcpy(sector + pos + 8, e->data, e->len);
        pos += 8 + len;
    }
    return pos + 8;
}

/* Where the name goes: where it is, behind it, or into the sector.  0: there is no room. */
static size_t place_name(const Layout *l, size_t end)
{
    size_t behind = ROUND_UP(MAX(SECTOR, l->name + l->name_len), 8);

    if (end + l->name_len <= SECTOR) {
        return end;
    }
    if (l->name >= SECTOR) {
        return l->name;
    }
    return behind + l->name_len <= l->area ? behind : 0;
}

static int co_fn put_name(BlockDriverState *bs, const Layout *l, size_t end, uint8_t *sector)
{
    size_t at = place_name(l, end);
    int ret = at ? 0 : -ENOSPC;

    if (!l->name) {
        return 0;
    }
    if (ret == 0 && at < SECTOR) {
        memcpy(sector + at, l->old + l->name, l->name_len);
    } else if (ret == 0 && at != l->name) {
        ret = qcow2_write_table(bs, host_offset(at), l->old + l->name, l->name_len);
        ret = ret ?: bdrv_co_flush(bs->file, 0);
    }
    be64_store(sector + QCOW2_HDR_BACKING_OFFSET, at);
    return ret;
}

/* ---- the change ---- */

/* Under header_lock. */
static int co_fn change(BlockDriverState *bs, const Qcow2HeaderEdit *edit)
{
    Qcow2State *s = qcow2_state(bs);
    unsigned version = edit->version ? edit->version : s->header.version;
    uint8_t sector[SECTOR];
    Layout l;
    int ret = layout_read(bs, &l);
    size_t end = 0;

    for (int keep_names = version >= 3; ret == 0 && !end && keep_names >= 0; keep_names--) {
        edit_exts(&l, edit, keep_names);
        memcpy(sector, l.old, SECTOR);
        end = put_exts(&l, sector, put_fields(s, edit, sector));
    }
    if (ret == 0) {
        ret = end ? put_name(bs, &l, end, sector) : -ENOSPC;
    }
    if (ret == 0) {
        ret = qcow2_header_write_sector(bs, sector);
    }
    if (ret == 0) {
        s->header.version = version;
        s->header.header_length = version < 3 ? QCOW2_HDR_V2_LENGTH
                                              : be32_load(sector + QCOW2_HDR_LENGTH);
        s->header.geometry.has_zero_flag = s->g.has_zero_flag = version >= 3;
    }
    layout_clear(&l);
    return ret;
}

int co_fn qcow2_header_edit(BlockDriverState *bs, const Qcow2HeaderEdit *edit)
{
    Qcow2State *s = qcow2_state(bs);

    co_mutex_lock(&s->header_lock);
    int ret = change(bs, edit);
    co_mutex_unlock(&s->header_lock);
    return ret;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recording another backing file (qcow2 specification, "Header", "Header extensions", "Backing file
 * name").
 *
 * (B1) After a power cut at any moment the old name and format are recorded, or the new ones.  The
 *      new name is written where nothing refers to and flushed; then the fields that refer to it and
 *      the format change with one sector.  Where the format's extension reaches beyond that, all
 *      extensions are laid out anew in it.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* Of the first cluster, this much is used for names at most: who opens the image reads it whole. */
#define NAME_AREA (64 * KiB)

/* Where things are in the first cluster, bytes. */
typedef struct Layout {
    uint8_t *buf;
    size_t area;                    /* of @buf */
    size_t start;                   /* of the extensions */
    size_t end_marker;              /* 0: the extensions have none */
    size_t format, format_len;      /* data of the backing format's extension; 0: none */
    size_t old_name, old_len;
} Layout;

typedef struct NewName {
    const char *name, *format;
    size_t len, format_len, pos;
    bool compact;                   /* the extensions are laid out anew, in the first sector */
} NewName;

static void find_extensions(Layout *l)
{
    size_t pos = l->start, limit = l->old_name ? MIN(l->area, l->old_name) : l->area;

    while (pos + 8 <= limit) {
        uint32_t type = be32_load(l->buf + pos), len = be32_load(l->buf + pos + 4);
        if (type == QCOW2_EXT_END) {
            l->end_marker = pos;
            return;
        }
        if (type == QCOW2_EXT_BACKING_FORMAT) {
            l->format = pos + 8;
            l->format_len = len;
        }
        pos += 8 + ROUND_UP((size_t)len, 8);
    }
}

static int co_fn read_layout(BlockDriverState *bs, Layout *l)
{
    Qcow2State *s = qcow2_state(bs);

    l->area = MIN(s->g.cluster_size, NAME_AREA);
    l->buf = bdrv_try_blockalign(l->area);
    int ret = l->buf ? bdrv_co_pread(bs->file, 0, l->area, l->buf) : -ENOMEM;
    if (ret == 0) {
        l->old_name = be64_load(l->buf + QCOW2_HDR_BACKING_OFFSET);
        l->old_len = be32_load(l->buf + QCOW2_HDR_BACKING_SIZE);
        l->start = s->header.header_length;
        find_extensions(l);
    }
    return ret;
}

/* End of all extensions, with one for the format if there is none yet. */
static size_t extensions_end(const Layout *l, const NewName *n)
{
    return l->end_marker + 8 + (l->format || !n->len ? 0 : 8 + ROUND_UP(n->format_len, 8));
}

static bool overlaps(size_t a, size_t a_len, size_t b, size_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

/* A place for the name that nothing refers to; or, if all is one sector, any.  0: there is none. */
static size_t find_place(const Layout *l, const NewName *n)
{
    size_t need = ROUND_UP(n->len, 8), begin = extensions_end(l, n);
    size_t slot = ROUND_UP((size_t)BDRV_MAX_BACKING_NAME, 8);
    size_t places[] = { l->area - need, l->area - slot - need, begin };

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        size_t p = places[i];
        bool inside = p >= begin && p < l->area && need <= l->area - p;
        if (inside && !(l->old_name && overlaps(p, need, l->old_name, l->old_len))) {
            return p;
        }
    }
    return begin + need <= MIN(512, l->area) ? begin : 0;
}

static bool is_recorded(const Layout *l, const NewName *n)
{
    return l->format && l->format_len == n->format_len && l->format + n->format_len <= l->area &&
           memcmp(l->buf + l->format, n->format, n->format_len) == 0;
}

/* Can the format be recorded with the sector that refers to the name, or before it? */
static bool format_fits(const Layout *l, const NewName *n)
{
    if (l->format) {
        return is_recorded(l, n) ||
               (l->format + ROUND_UP(l->format_len, 8) <= 512 &&
                ROUND_UP(l->format_len, 8) == ROUND_UP(n->format_len, 8));
    }
    /* Without a name a format means nothing: it can come first. */
    return extensions_end(l, n) <= (l->old_name ? 512 : l->area);
}

static void put_format(const Layout *l, const NewName *n, uint8_t *sector)
{
    size_t pos = l->format ? l->format - 8 : l->end_marker;

    be32_store(sector + pos, QCOW2_EXT_BACKING_FORMAT);
    be32_store(sector + pos + 4, n->format_len);
    memset(sector + pos + 8, 0, ROUND_UP(n->format_len, 8));
    memcpy(sector + pos + 8, n->format, n->format_len);
    if (!l->format) {               /* what was the end marker is the extension now */
        memset(sector + extensions_end(l, n) - 8, 0, 8);
    }
}

static size_t put_extension(uint8_t *sector, size_t pos, uint32_t type, const void *data,
                            size_t len)
{
    size_t end = pos + 8 + ROUND_UP(len, 8);

    if (end + 8 <= 512) {           /* with the end marker behind it */
        be32_store(sector + pos, type);
        be32_store(sector + pos + 4, len);
        memcpy(sector + pos + 8, data, len);
    }
    return end;
}

/*
 * All extensions anew in @sector, with the format among them.  The names of features are left out:
 * they are a courtesy to programs that do not know these.  False: there is no room.
 */
static bool compact(const Layout *l, const NewName *n, uint8_t *sector)
{
    size_t pos = l->start;

    memset(sector + pos, 0, 512 - pos);
    pos = put_extension(sector, pos, QCOW2_EXT_BACKING_FORMAT, n->format, n->format_len);
    for (size_t old = l->start; old < l->end_marker && pos + 8 <= 512; ) {
        uint32_t type = be32_load(l->buf + old), len = be32_load(l->buf + old + 4);
        if (type != QCOW2_EXT_BACKING_FORMAT && type != QCOW2_EXT_FEATURE_NAMES) {
            pos = put_extension(sector, pos, type, l->buf + old + 8, len);
        }
        old += 8 + ROUND_UP((size_t)len, 8);
    }
    return pos + 8 <= 512;
}

/* A place for the name beyond the first sector, whose extensions are going to be laid out anew; 0:
 * there is none. */
static size_t find_place_to_compact(const Layout *l, const NewName *n)
{
    Layout rest = *l;
    uint8_t scratch[512] = { 0 };

    rest.end_marker = MAX(l->end_marker, 512);
    rest.format = 1;                /* it takes no room there */
    size_t pos = l->area > 512 && compact(l, n, scratch) ? find_place(&rest, n) : 0;
    return pos >= 512 ? pos : 0;
}

static int co_fn write_durably(BlockDriverState *bs, size_t pos, size_t len, const void *buf)
{
    int ret = bdrv_co_pwrite(bs->file, pos, len, buf, 0);

    return ret == 0 ? bdrv_co_flush(bs->file, 0) : ret;
}

/* An extension for the format at the end of those that reach beyond the first sector.  Its head
 * comes last: until then the list ends before it. */
static int co_fn append_format(BlockDriverState *bs, const Layout *l, const NewName *n)
{
    size_t data = l->end_marker + 8, len = ROUND_UP(n->format_len, 8);
    g_autofree uint8_t *buf = g_malloc0(len + 8);
    uint8_t head[8];

    memcpy(buf, n->format, n->format_len);
    be32_store(head, QCOW2_EXT_BACKING_FORMAT);
    be32_store(head + 4, n->format_len);
    int ret = write_durably(bs, data, len + 8, buf);
    ret = ret ?: write_durably(bs, l->end_marker, sizeof(head), head);
    if (ret == 0 && l->end_marker < 512) {
        memcpy(qcow2_state(bs)->header_sector + l->end_marker, head, sizeof(head));
    }
    return ret;
}

static bool in_sector(const Layout *l, const NewName *n)
{
    return l->format || extensions_end(l, n) <= 512;
}

/* Under header_lock. */
static int co_fn switch_name(BlockDriverState *bs, const Layout *l, const NewName *n)
{
    uint8_t sector[512];

    qcow2_header_begin_change(qcow2_state(bs), sector);
    if (n->compact) {
        compact(l, n, sector);
    } else if (n->len && in_sector(l, n) && !is_recorded(l, n)) {
        put_format(l, n, sector);
    }
    if (n->len && n->pos < sizeof(sector)) {
        memcpy(sector + n->pos, n->name, MIN(n->len, sizeof(sector) - n->pos));
    }
    be64_store(sector + QCOW2_HDR_BACKING_OFFSET, n->pos);
    be32_store(sector + QCOW2_HDR_BACKING_SIZE, n->len);
    return qcow2_header_write_sector(bs, sector);
}

/* Under header_lock.  *@ret_no_room: the reason is the header and not the file system. */
static int co_fn record(BlockDriverState *bs, NewName *n, bool *ret_no_room)
{
    Layout l = { NULL };
    int ret = read_layout(bs, &l);

    if (ret == 0 && n->len) {
        n->pos = format_fits(&l, n) ? find_place(&l, n) : 0;
        n->compact = !n->pos && l.end_marker;
        n->pos = n->compact ? find_place_to_compact(&l, n) : n->pos;
    }
    /* Without an end marker the extensions end where the old name begins. */
    *ret_no_room = ret == 0 && (!l.end_marker || (n->len && !n->pos));
    ret = *ret_no_room ? -ENOSPC : ret;
    /* What the sector itself holds comes with it. */
    if (ret == 0 && n->len && !n->compact && !in_sector(&l, n)) {
        ret = append_format(bs, &l, n);
    }
    if (ret == 0 && n->len && n->pos + n->len > 512) {
        ret = write_durably(bs, n->pos, n->len, n->name);
    }
    ret = ret ?: switch_name(bs, &l, n);
    free(l.buf);
    return ret;
}

static void set_error(BlockDriverState *bs, int ret, bool no_room, Error **errp)
{
    if (no_room) {
        error_setg(errp, "Cannot record the backing file of '%s': its header has no room",
                   qcow2_name(bs));
    } else {
        error_setg_errno(errp, -ret, "Cannot record the backing file of '%s'", qcow2_name(bs));
    }
}

bool co_main_fn qcow2_co_set_backing(BlockDriverState *bs, const char *name, const char *format,
                                     Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    NewName n = {
        .name = name, .format = format, .len = name ? strlen(name) : 0,
        .format_len = name ? strlen(format) : 0,
    };

    co_mutex_lock(&s->header_lock);
    bool no_room;
    int ret = record(bs, &n, &no_room);
    co_mutex_unlock(&s->header_lock);
    if (ret < 0) {
        set_error(bs, ret, no_room, errp);
        return false;
    }
    g_free(s->header.backing_file);
    g_free(s->header.backing_format);
    s->header.backing_file = g_strdup(name);
    s->header.backing_format = g_strdup(name ? format : NULL);
    return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header's extension that says where the bitmaps are, in place.
 *
 * The autoclear bit, in the first sector, says that the extension counts.  (X1) While it is set,
 * what the extension says changes by one sector, so that a power cut leaves the old or the new
 * bitmaps.  (X2) While it is not set the extension counts for nobody; only, at every moment the list
 * of extensions can be read.
 *
 * An extension that is not there yet takes the place of the end marker.  What follows the marker
 * counts for nobody; so what lies in later sectors is written first, and the sector with the marker
 * goes over to it.  If the name of the backing file is in the way it is copied further back first,
 * and the header, one sector, then leads there.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

#define SECTOR 512
#define DATA_BYTES 24
#define EXT_BYTES (8 + DATA_BYTES)
/* Takes the place up to where the extension's data lies in one sector.  Of no meaning: readers skip
 * types that they do not know. */
#define EXT_FILLER 0x46696c6cu

typedef struct HeaderEdit {
    BlockDriverState *bs;
    uint8_t *buf;                   /* the first cluster as it is on disk */
    uint64_t limit;                 /* the extensions end there at the latest */
    uint64_t at;                    /* of the bitmaps' extension, or else of the end marker */
    bool found;                     /* it is the extension */
} HeaderEdit;

/* Write [@start, @end) of what @edit has, but for the first sector of the file; durable. */
static int co_fn put_behind(const HeaderEdit *edit, uint64_t start, uint64_t end)
{
    start = MAX(start, SECTOR);
    if (start >= end) {
        return 0;
    }
    int ret = qcow2_write_table(edit->bs, host_offset(start), edit->buf + start, end - start);
    return ret == 0 ? bdrv_co_flush(edit->bs->file, 0) : ret;
}

/* The first sector, as it is in @edit. */
static int co_fn put_first(const HeaderEdit *edit)
{
    return qcow2_header_put(edit->bs, edit->buf);
}

static bool crosses(uint64_t start, uint64_t bytes)
{
    return start / SECTOR != (start + bytes - 1) / SECTOR;
}

/* -EINVAL: there is no end marker, and so no room. */
static int find_place(HeaderEdit *edit)
{
    uint64_t pos = qcow2_state(edit->bs)->header.header_length;

    while (pos + 8 <= edit->limit) {
        uint32_t type = be32_load(edit->buf + pos), len = be32_load(edit->buf + pos + 4);

        edit->at = pos;
        edit->found = type == QCOW2_EXT_BITMAPS && len >= DATA_BYTES;
        if (edit->found || type == QCOW2_EXT_END) {
            return 0;
        }
        if (len > edit->limit - pos - 8) {
            break;
        }
        pos += 8 + ROUND_UP((uint64_t)len, 8);
    }
    return -EINVAL;
}

/* The backing file's name makes way for extensions up to @end. */
static int co_fn move_name(HeaderEdit *edit, uint64_t end)
{
    uint64_t old = be64_load(edit->buf + 8), len = be32_load(edit->buf + 16);
    uint64_t cluster = qcow2_state(edit->bs)->g.cluster_size;
    uint64_t new = ROUND_UP(MAX(end, old + len), 8);

    if (end <= edit->limit) {
        return 0;
    }
    /* A name within the first sector would move by the write that leads to it. */
    new = MAX(new, SECTOR);
    if (!old || new + len > cluster) {
        return -ENOSPC;
    }
    memcpy(edit->buf + new, edit->buf + old, len);
    int ret = put_behind(edit, new, new + len);
    if (ret == 0) {
        be64_store(edit->buf + 8, new);
        ret = put_first(edit);
    }
    edit->limit = new;
    return ret;
}

static void set_bit(HeaderEdit *edit, bool on)
{
    uint64_t bits = be64_load(edit->buf + QCOW2_HDR_AUTOCLEAR);

    be64_store(edit->buf + QCOW2_HDR_AUTOCLEAR, on ? bits | QCOW2_AUTOCLEAR_BITMAPS
                                                   : bits & ~QCOW2_AUTOCLEAR_BITMAPS);
}

static bool bit_is_set(const HeaderEdit *edit)
{
    return be64_load(edit->buf + QCOW2_HDR_AUTOCLEAR) & QCOW2_AUTOCLEAR_BITMAPS;
}

/* The extension, without meaning as yet, in the place of the end marker (X2). */
static int co_fn insert(HeaderEdit *edit)
{
    uint64_t marker = edit->at, at = marker;

    if (crosses(at + 8, DATA_BYTES)) {
        at = ROUND_UP(at + 8, SECTOR) - 8;      /* its data begins a sector */
    }
    uint64_t end = at + EXT_BYTES + 8;
    int ret = end > qcow2_state(edit->bs)->g.cluster_size ? -ENOSPC : 0;
    if (ret == 0 && bit_is_set(edit)) {
        set_bit(edit, false);                   /* of no extension: (X2) is to be true */
        ret = put_first(edit);
    }
    if (ret == 0) {
        ret = move_name(edit, end);
    }
    if (ret < 0) {
        return ret;
    }
    memset(edit->buf + marker, 0, end - marker);
    if (at > marker) {
        be32_store(edit->buf + marker, EXT_FILLER);
        be32_store(edit->buf + marker + 4, at - marker - 8);
    }
    be32_store(edit->buf + at, QCOW2_EXT_BITMAPS);
    be32_store(edit->buf + at + 4, DATA_BYTES);
    edit->at = at;
    edit->found = true;
    uint64_t next = ROUND_DOWN(marker, SECTOR) + SECTOR;
    ret = put_behind(edit, next, end);
    if (ret < 0) {
        return ret;
    }
    return marker < SECTOR ? put_first(edit) : put_behind(edit, marker, MIN(next, end));
}

/* The extension's data, and the bit. */
static int co_fn put_data(HeaderEdit *edit, uint32_t n, HostOffset directory, uint64_t bytes)
{
    uint64_t data = edit->at + 8;
    int ret = 0;

    if (bit_is_set(edit) && crosses(data, DATA_BYTES)) {
        /* Another program put it across two sectors: (X1) is not to be had.  Better none at all
         * for a moment than half of each. */
        set_bit(edit, false);
        ret = put_first(edit);
    }
    bool behind = data + DATA_BYTES > SECTOR;
    be32_store(edit->buf + data, n);
    be32_store(edit->buf + data + 4, 0);
    be64_store(edit->buf + data + 8, bytes);
    be64_store(edit->buf + data + 16, directory.v);
    if (ret == 0 && behind) {
        ret = put_behind(edit, data, data + DATA_BYTES);
        if (ret < 0 && bit_is_set(edit)) {
            set_bit(edit, false);               /* nobody knows what is there */
            put_first(edit);
        }
    }
    if (ret == 0 && (!behind || !bit_is_set(edit) || crosses(data, DATA_BYTES))) {
        set_bit(edit, true);
        ret = put_first(edit);
    }
    return ret;
}

/* There are none: the bit goes, and then the extension, of which other programs would warn. */
static int co_fn take_out(HeaderEdit *edit)
{
    set_bit(edit, false);
    int ret = put_first(edit);

    if (ret == 0 && edit->found) {
        be32_store(edit->buf + edit->at, EXT_FILLER);
        ret = edit->at < SECTOR ? put_first(edit) : put_behind(edit, edit->at, edit->at + 8);
    }
    return ret;
}

static int co_fn edit_begin(BlockDriverState *bs, HeaderEdit *edit)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t cluster = s->g.cluster_size;

    *edit = (HeaderEdit){ .bs = bs, .buf = g_try_malloc0(cluster) };
    if (!edit->buf) {
        return -ENOMEM;
    }
    int ret = qcow2_read_table(bs, host_offset(0), edit->buf, cluster);
    if (ret < 0) {
        return ret;
    }
    memcpy(edit->buf, s->header_sector, SECTOR);
    uint64_t name = be64_load(edit->buf + 8);
    edit->limit = name ? MIN(name, cluster) : cluster;
    return find_place(edit);
}

int co_fn qcow2_header_set_bitmaps(BlockDriverState *bs, uint32_t n, HostOffset directory,
                                   uint64_t bytes)
{
    Qcow2State *s = qcow2_state(bs);
    HeaderEdit edit;

    co_mutex_lock(&s->header_lock);
    int ret = edit_begin(bs, &edit);
    if (ret == 0 && n == 0) {
        ret = take_out(&edit);
    } else if (ret == 0) {
        ret = edit.found ? 0 : insert(&edit);
        ret = ret == 0 ? put_data(&edit, n, directory, bytes) : ret;
    }
    if (ret < 0 && !(be64_load(s->header_sector + QCOW2_HDR_AUTOCLEAR) &
                     QCOW2_AUTOCLEAR_BITMAPS)) {
        qcow2_lock(s);
        s->header.has_bitmaps = false;
        s->header.nb_bitmaps = 0;
        s->header.bitmap_directory_size = 0;
        qcow2_unlock(s);
    }
    co_mutex_unlock(&s->header_lock);
    g_free(edit.buf);
    return ret;
}

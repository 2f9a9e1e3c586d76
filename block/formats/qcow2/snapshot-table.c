/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots: from and to what is on disk.  Entries are written as they were
 * read, with what is not known here. */
#include "qemu/osdep.h"

#include "snapshot.h"

#define ENTRY_BYTES 40
#define EXTRA_BYTES 24              /* of a new entry: size of the VM state, of the disk, icount */

void any_fn qcow2_snapshot_free(void *snapshot)
{
    Qcow2Snapshot *sn = snapshot;

    bdrv_snapshot_free(sn->info);
    g_free(sn->raw);
    g_free(sn);
}

int any_fn qcow2_snapshot_find(const GPtrArray *list, const char *what)
{
    for (int by_name = 0; by_name < 2; by_name++) {
        for (guint i = 0; i < list->len; i++) {
            const BdrvSnapshot *info = ((Qcow2Snapshot *)list->pdata[i])->info;

            if (g_str_equal(by_name ? info->name : info->id, what)) {
                return i;
            }
        }
    }
    return -1;
}

/* ---- reading ---- */

static bool snapshot_ok(const Qcow2Geometry *g, const Qcow2Snapshot *sn, uint32_t extra)
{
    return (sn->l1_offset.v & (g->cluster_size - 1)) == 0 &&
           sn->l1_offset.v < QCOW2_MAX_HOST_OFFSET && sn->l1_size <= QCOW2_MAX_L1_BYTES / 8 &&
           extra <= QCOW2_MAX_SNAPSHOT_EXTRA;
}

/* What the whole entry @e says; of a disk of @size bytes, if it does not say so. */
static BdrvSnapshot *parse_info(const uint8_t *e, int64_t size)
{
    BdrvSnapshot *info = g_new0(BdrvSnapshot, 1);
    uint32_t extra = be32_load(e + 36), id = be16_load(e + 12), name = be16_load(e + 14);
    const char *text = (const char *)e + ENTRY_BYTES + extra;

    info->id = g_strndup(text, id);
    info->name = g_strndup(text + id, name);
    info->date_sec = be32_load(e + 16);
    info->date_nsec = be32_load(e + 20);
    info->vm_clock_nsec = be64_load(e + 24);
    info->vm_state_size = extra >= 8 ? be64_load(e + ENTRY_BYTES) : be32_load(e + 32);
    info->disk_size = extra >= 16 ? be64_load(e + ENTRY_BYTES + 8) : (uint64_t)size;
    info->icount = extra >= 24 ? be64_load(e + ENTRY_BYTES + 16) : BDRV_SNAPSHOT_NO_ICOUNT;
    return info;
}

/* The entry at @pos of the table.  Caller frees. */
static Qcow2Snapshot *co_fn read_entry(BlockDriverState *bs, uint64_t pos, uint32_t i,
                                       Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    HostOffset at = host_add(s->header.snapshots_offset, pos);
    Qcow2Snapshot *sn = NULL;
    uint8_t e[ENTRY_BYTES];
    int ret = qcow2_read_table(bs, at, e, sizeof(e));

    if (ret == 0) {
        uint32_t extra = be32_load(e + 36);

        sn = g_new0(Qcow2Snapshot, 1);
        sn->l1_offset = host_offset(be64_load(e));
        sn->l1_size = be32_load(e + 8);
        if (!snapshot_ok(&s->g, sn, extra)) {
            error_setg(errp, "Cannot open '%s': entry %u of its snapshot table is invalid (L1 "
                       "table of %u entries at %" PRIu64 ", %u bytes of extra data)",
                       qcow2_name(bs), i, sn->l1_size, sn->l1_offset.v, extra);
            qcow2_snapshot_free(sn);
            return NULL;
        }
        sn->raw_bytes = ROUND_UP((uint64_t)ENTRY_BYTES + extra + be16_load(e + 12) +
                                 be16_load(e + 14), 8);
        sn->raw = g_malloc(sn->raw_bytes);
        ret = qcow2_read_table(bs, at, sn->raw, sn->raw_bytes);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot read the snapshot table of '%s'", qcow2_name(bs));
        if (sn) {
            qcow2_snapshot_free(sn);
        }
        return NULL;
    }
    memcpy(sn->raw, e, sizeof(e));      /* what was checked */
    sn->info = parse_info(sn->raw, s->header.size);
    return sn;
}

GPtrArray *co_fn qcow2_snapshots_read(BlockDriverState *bs, uint64_t *ret_bytes, Error **errp)
{
    const Qcow2Header *h = &qcow2_state(bs)->header;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(qcow2_snapshot_free);
    uint64_t pos = 0;

    for (uint32_t i = 0; i < h->nb_snapshots; i++) {
        Qcow2Snapshot *sn = read_entry(bs, pos, i, errp);

        if (!sn) {
            return NULL;
        }
        g_ptr_array_add(list, sn);
        pos += sn->raw_bytes;
        if (pos > QCOW2_MAX_SNAPSHOT_TABLE) {
            error_setg(errp, "Cannot open '%s': its snapshot table has more than %" PRId64
                       " bytes", qcow2_name(bs), QCOW2_MAX_SNAPSHOT_TABLE);
            return NULL;
        }
    }
    *ret_bytes = pos;
    return g_steal_pointer(&list);
}

bool co_fn qcow2_co_snapshot_list(BlockDriverState *bs, GPtrArray *ret_list, Error **errp)
{
    uint64_t bytes;
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, errp);

    for (guint i = 0; list && i < list->len; i++) {
        Qcow2Snapshot *sn = list->pdata[i];
        g_ptr_array_add(ret_list, g_steal_pointer(&sn->info));
        sn->info = g_new0(BdrvSnapshot, 1);
    }
    return list != NULL;
}

/* ---- writing ---- */

Qcow2Snapshot *any_fn qcow2_snapshot_new(const BdrvSnapshot *info, HostOffset l1_offset,
                                         uint32_t l1_size)
{
    size_t id = strlen(info->id), name = strlen(info->name);

    if (id > UINT16_MAX || name > UINT16_MAX) {
        return NULL;
    }
    Qcow2Snapshot *sn = g_new0(Qcow2Snapshot, 1);
    sn->l1_offset = l1_offset;
    sn->l1_size = l1_size;
    sn->raw_bytes = ROUND_UP(ENTRY_BYTES + EXTRA_BYTES + id + name, 8);
    uint8_t *e = sn->raw = g_malloc0(sn->raw_bytes);
    be64_store(e, l1_offset.v);
    be32_store(e + 8, l1_size);
    be16_store(e + 12, id);
    be16_store(e + 14, name);
    be32_store(e + 16, info->date_sec);
    be32_store(e + 20, info->date_nsec);
    be64_store(e + 24, info->vm_clock_nsec);
    be32_store(e + 32, info->vm_state_size > UINT32_MAX ? 0 : info->vm_state_size);
    be32_store(e + 36, EXTRA_BYTES);
    be64_store(e + 40, info->vm_state_size);
    be64_store(e + 48, info->disk_size);
    be64_store(e + 56, info->icount);
    memcpy(e + ENTRY_BYTES + EXTRA_BYTES, info->id, id);
    memcpy(e + ENTRY_BYTES + EXTRA_BYTES + id, info->name, name);
    sn->info = parse_info(e, info->disk_size);
    return sn;
}

/* ---- one of them as the disk ---- */

bool co_fn qcow2_open_snapshot(BlockDriverState *bs, const char *id, Error **errp)
{
    Qcow2Header *h = &qcow2_state(bs)->header;
    uint64_t bytes;

    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, errp);
    int i = list ? qcow2_snapshot_find(list, id) : -1;
    if (i < 0) {
        if (list) {
            error_setg(errp, "Can't find snapshot");
        }
        return false;
    }
    const Qcow2Snapshot *sn = list->pdata[i];
    if (sn->info->disk_size < 0 || sn->info->disk_size > BDRV_MAX_LENGTH ||
        sn->l1_size < qcow2_l1_entries_for(&h->geometry, sn->info->disk_size)) {
        error_setg(errp, "Cannot open snapshot '%s' of '%s': its L1 table of %u entries is too "
                   "small for %" PRId64 " bytes", id, qcow2_name(bs), sn->l1_size,
                   sn->info->disk_size);
        return false;
    }
    h->l1_offset = sn->l1_offset;
    h->l1_size = sn->l1_size;
    h->size = sn->info->disk_size;
    return true;
}

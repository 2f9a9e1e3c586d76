/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots: read and checked; they are kept as they are. */
#include "qemu/osdep.h"

#include "qcow2.h"

#define ENTRY_BYTES 40

static bool snapshot_ok(const Qcow2Geometry *g, const Qcow2Snapshot *sn, uint32_t extra)
{
    return (sn->l1_offset.v & (g->cluster_size - 1)) == 0 &&
           sn->l1_offset.v < QCOW2_MAX_HOST_OFFSET && sn->l1_size <= QCOW2_MAX_L1_BYTES / 8 &&
           extra <= QCOW2_MAX_SNAPSHOT_EXTRA;
}

GArray *co_fn qcow2_snapshots_read(BlockDriverState *bs, uint64_t *ret_bytes, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Header *h = &s->header;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Qcow2Snapshot));
    uint64_t pos = 0;

    for (uint32_t i = 0; i < h->nb_snapshots; i++) {
        uint8_t e[ENTRY_BYTES];
        int ret = qcow2_read_table(bs, host_add(h->snapshots_offset, pos), e, sizeof(e));

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Cannot read the snapshot table of '%s'",
                             qcow2_name(bs));
            return NULL;
        }
        uint32_t extra = be32_load(e + 36);
        Qcow2Snapshot sn = { host_offset(be64_load(e)), be32_load(e + 8) };

        if (!snapshot_ok(&s->g, &sn, extra)) {
            error_setg(errp, "Cannot open '%s': entry %u of its snapshot table is invalid (L1 "
                       "table of %u entries at %" PRIu64 ", %u bytes of extra data)",
                       qcow2_name(bs), i, sn.l1_size, sn.l1_offset.v, extra);
            return NULL;
        }
        pos += ROUND_UP((uint64_t)ENTRY_BYTES + extra + be16_load(e + 12) + be16_load(e + 14), 8);
        if (pos > QCOW2_MAX_SNAPSHOT_TABLE) {
            error_setg(errp, "Cannot open '%s': its snapshot table has more than %" PRId64
                       " bytes", qcow2_name(bs), QCOW2_MAX_SNAPSHOT_TABLE);
            return NULL;
        }
        g_array_append_val(list, sn);
    }
    *ret_bytes = pos;
    return g_steal_pointer(&list);
}

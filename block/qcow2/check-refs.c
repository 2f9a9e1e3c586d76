/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "check-refs.h"

void any_fn qcow2_refs_init(Qcow2Refs *r, unsigned chunk_bits)
{
    r->chunk_bits = chunk_bits;
    r->chunks = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
}

void any_fn qcow2_refs_destroy(Qcow2Refs *r)
{
    g_clear_pointer(&r->chunks, g_hash_table_unref);
}

const uint32_t *any_fn qcow2_refs_chunk(const Qcow2Refs *r, uint64_t index)
{
    return g_hash_table_lookup(r->chunks, &index);
}

bool any_fn qcow2_refs_add(Qcow2Refs *r, uint64_t cluster, uint32_t flags)
{
    uint64_t index = cluster >> r->chunk_bits;
    uint32_t *chunk = g_hash_table_lookup(r->chunks, &index);

    if (!chunk) {
        chunk = g_try_new0(uint32_t, (size_t)1 << r->chunk_bits);
        if (!chunk) {
            return false;
        }
        g_hash_table_insert(r->chunks, g_memdup2(&index, sizeof(index)), chunk);
    }
    uint32_t *ref = &chunk[cluster & (((uint64_t)1 << r->chunk_bits) - 1)];
    *ref |= flags;
    *ref += (*ref & QCOW2_REF_COUNT) < QCOW2_REF_COUNT;
    return true;
}

uint32_t any_fn qcow2_refs_get(const Qcow2Refs *r, uint64_t cluster)
{
    const uint32_t *chunk = qcow2_refs_chunk(r, cluster >> r->chunk_bits);

    return chunk ? chunk[cluster & (((uint64_t)1 << r->chunk_bits) - 1)] : 0;
}

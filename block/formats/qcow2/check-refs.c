/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "check-refs.h"

#define CHUNK_CLUSTERS (UINT64_C(1) << QCOW2_REFS_CHUNK_BITS)

void any_fn qcow2_refs_init(Qcow2Refs *r)
{
    *r = (Qcow2Refs){
        .chunks = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, free),
    };
}

void any_fn qcow2_refs_destroy(Qcow2Refs *r)
{
    g_clear_pointer(&r->chunks, g_hash_table_unref);
}

/* NULL: there is none, or (@make) it cannot be made. */
static uint32_t *ref_of(Qcow2Refs *r, uint64_t cluster, bool make)
{
    uint64_t index = cluster >> QCOW2_REFS_CHUNK_BITS;
    uint32_t *chunk = g_hash_table_lookup(r->chunks, &index);

    if (!chunk && make) {
        if ((g_hash_table_size(r->chunks) + 1) * CHUNK_CLUSTERS * sizeof(*chunk) >
            QCOW2_REFS_MAX_BYTES) {
            r->state = QCOW2_REFS_TOO_MANY;
            return NULL;
        }
        chunk = calloc(CHUNK_CLUSTERS, sizeof(*chunk));
        if (!chunk) {
            r->state = QCOW2_REFS_NO_MEMORY;
            return NULL;
        }
        g_hash_table_insert(r->chunks, g_memdup2(&index, sizeof(index)), chunk);
    }
    return chunk ? &chunk[cluster & (CHUNK_CLUSTERS - 1)] : NULL;
}

void any_fn qcow2_refs_add(Qcow2Refs *r, uint64_t cluster, uint32_t n, uint32_t flags)
{
    uint32_t *ref = ref_of(r, cluster, true);

    if (ref) {
        *ref |= flags;
        *ref += MIN(n, QCOW2_REF_COUNT - (*ref & QCOW2_REF_COUNT));
    }
}

uint32_t any_fn qcow2_refs_get(const Qcow2Refs *r, uint64_t cluster)
{
    uint32_t *ref = ref_of((Qcow2Refs *)r, cluster, false);

    return ref ? *ref : 0;
}

void any_fn qcow2_refs_set(Qcow2Refs *r, uint64_t cluster, uint32_t count)
{
    uint32_t *ref = ref_of(r, cluster, count != 0);

    if (ref) {
        *ref = (*ref & ~QCOW2_REF_COUNT) | MIN(count, QCOW2_REF_COUNT);
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

GArray *any_fn qcow2_refs_chunks(const Qcow2Refs *r)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, r->chunks);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        g_array_append_val(list, *(uint64_t *)key);
    }
    g_array_sort(list, by_value);
    return list;
}

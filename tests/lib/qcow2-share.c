/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/formats/qcow2/entry.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

typedef struct Share {
    MemDisk *d;
    int64_t cluster_size;
    uint64_t refblock;
    int64_t next_free;
} Share;

static uint32_t load32(MemDisk *d, int64_t offset)
{
    return rig_load64(d, offset) >> 32;
}

static void count_up(Share *s, uint64_t offset)
{
    uint64_t index = offset / s->cluster_size;
    uint8_t buf[2];

    g_assert_cmpuint(index, <, s->cluster_size / 2);    /* one block */
    memdisk_read(s->d, s->refblock + index * 2, 2, buf);
    be16_store(buf, be16_load(buf) + 1);
    memdisk_poke(s->d, s->refblock + index * 2, 2, buf);
}

static int64_t take(Share *s, int64_t bytes)
{
    int64_t offset = s->next_free, clusters = DIV_ROUND_UP(bytes, s->cluster_size);

    for (int64_t i = 0; i < clusters; i++) {
        count_up(s, offset + i * s->cluster_size);
    }
    s->next_free += clusters * s->cluster_size;
    return offset;
}

static void share_l2(Share *s, uint64_t table, int entry_size)
{
    for (int64_t i = 0; i < s->cluster_size; i += entry_size) {
        uint64_t e = rig_load64(s->d, table + i);

        if (e & QCOW2_OFFSET_MASK) {
            rig_poke64(s->d, table + i, e & ~QCOW2_COPIED);
            count_up(s, e & QCOW2_OFFSET_MASK);
        }
    }
}

static void write_entry(Share *s, int64_t l1, uint32_t l1_size, uint64_t disk_size)
{
    uint8_t e[64] = { 0 };
    int64_t table = take(s, sizeof(e));

    be64_store(e, l1);
    be32_store(e + 8, l1_size);
    be16_store(e + 12, 1);          /* id "1" */
    be16_store(e + 14, 1);          /* name "s" */
    be32_store(e + 36, 16);
    be64_store(e + 48, disk_size);
    e[56] = '1';
    e[57] = 's';
    memdisk_poke(s->d, table, sizeof(e), e);
    rig_poke64(s->d, 64, table);
    uint8_t count[4];
    be32_store(count, 1);
    memdisk_poke(s->d, 60, 4, count);
}

void qcow2_share_with_snapshot(MemDisk *d)
{
    int64_t cluster_size = INT64_C(1) << load32(d, 20);
    uint64_t reftable = rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET);
    uint64_t l1 = rig_load64(d, QCOW2_HDR_L1_OFFSET);
    uint32_t l1_size = load32(d, QCOW2_HDR_L1_SIZE);
    int entry_size = rig_load64(d, 72) & QCOW2_INCOMPAT_EXTL2 ? 16 : 8;
    Share s = {
        .d = d, .cluster_size = cluster_size, .refblock = rig_load64(d, reftable),
        .next_free = ROUND_UP(memdisk_length(d), cluster_size),
    };
    int64_t copy = take(&s, l1_size * 8);

    for (uint32_t i = 0; i < l1_size; i++) {
        uint64_t e = rig_load64(d, l1 + i * 8) & ~QCOW2_COPIED;

        rig_poke64(d, copy + i * 8, e);
        rig_poke64(d, l1 + i * 8, e);
        if (e) {
            count_up(&s, e);
            share_l2(&s, e, entry_size);
        }
    }
    write_entry(&s, copy, l1_size, rig_load64(d, QCOW2_HDR_SIZE));
}

static void poke32(MemDisk *d, int64_t offset, uint32_t value)
{
    uint8_t buf[4];

    be32_store(buf, value);
    memdisk_poke(d, offset, 4, buf);
}

/* One table entry, which says that all of the bitmap is zero. */
uint64_t qcow2_add_bitmap(MemDisk *d, uint32_t flags)
{
    int64_t cluster_size = INT64_C(1) << load32(d, 20), extension = load32(d, 100);
    Share s = {
        .d = d, .cluster_size = cluster_size,
        .refblock = rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET)),
        .next_free = ROUND_UP(memdisk_length(d), cluster_size),
    };
    int64_t directory = take(&s, cluster_size), table = take(&s, cluster_size);

    rig_poke64(d, table, 0);
    rig_poke64(d, directory, table);
    poke32(d, directory + 8, 1);
    poke32(d, directory + 12, flags);
    /* type, granularity, length of the name */
    poke32(d, directory + 16, UINT32_C(1) << 24 | 16 << 16 | 1);
    poke32(d, directory + 20, 0);
    poke32(d, directory + 24, (uint32_t)'b' << 24);
    poke32(d, directory + 28, 0);
    while (rig_load64(d, extension)) {
        extension += 8 + ROUND_UP(rig_load64(d, extension) & UINT32_MAX, 8);
    }
    rig_poke64(d, extension, (uint64_t)QCOW2_EXT_BITMAPS << 32 | 24);
    rig_poke64(d, extension + 8, UINT64_C(1) << 32);
    rig_poke64(d, extension + 16, 32);
    rig_poke64(d, extension + 24, directory);
    rig_poke64(d, extension + 32, 0);
    rig_poke64(d, QCOW2_HDR_AUTOCLEAR, QCOW2_AUTOCLEAR_BITMAPS);
    return directory;
}

void qcow2_view_snapshot(MemDisk *d, MemDisk *to)
{
    int64_t length = memdisk_length(d), entry = rig_load64(d, 64);
    g_autofree uint8_t *data = g_malloc(length);

    memdisk_read(d, 0, length, data);
    memdisk_set_content(to, data, length);
    rig_poke64(to, QCOW2_HDR_L1_OFFSET, rig_load64(d, entry));
    rig_poke64(to, QCOW2_HDR_SIZE, rig_load64(d, entry + 48));
    uint8_t l1_size[4];
    memdisk_read(d, entry + 8, 4, l1_size);
    memdisk_poke(to, QCOW2_HDR_L1_SIZE, 4, l1_size);
}

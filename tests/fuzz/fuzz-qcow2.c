/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A qcow2 image of any bytes: opened, checked, read, written, flushed, resized.  Input: 64 bytes that
 * say what is done, then the image.
 */
#include "qemu/osdep.h"

#include "block/qcow2.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/qcow2-rig.h"

#define PROGRAM_BYTES 64
#define MAX_DISK_BYTES (2 * MiB)
#define MAX_REQUESTS 12
#define MAX_REQUEST_BYTES (256 * KiB)

/* A place in the disk that is worth a try: its edges, or anywhere. */
static int64_t pick_offset(FuzzInput *in, int64_t length)
{
    uint64_t how = fuzz_take(in, 1), v = fuzz_take(in, 3);

    if (length == 0) {
        return 0;
    }
    return how < 64 ? v % length :
           how < 128 ? length - 1 - v % MIN(length, MiB) :
           ((v << 12) ^ (how << 9)) % length;
}

static void co_main_fn request(BdrvLink *link, FuzzInput *in)
{
    static uint8_t buf[MAX_REQUEST_BYTES];
    int64_t length = bdrv_length(link->bs);
    unsigned kind = fuzz_take(in, 1);
    int64_t offset = pick_offset(in, length);
    int64_t bytes = MIN(length - offset, (int64_t)(fuzz_take(in, 3) % MAX_REQUEST_BYTES));

    switch (kind % 6) {
    case 0:
    case 1:
        bdrv_co_pread(link, offset, bytes, buf);
        break;
    case 2:
        bdrv_co_pwrite(link, offset, bytes, buf, 0);
        break;
    case 3:
        bdrv_co_pwrite_zeroes(link, offset, bytes, kind & 64 ? BDRV_REQ_MAY_UNMAP : 0);
        break;
    case 4:
        bdrv_co_pdiscard(link, offset, bytes);
        break;
    case 5:
        bdrv_co_flush(link, 0);
        break;
    }
}

static void co_main_fn check(BdrvLink *link)
{
    BdrvCheckResult res = { 0 };
    Error *err = NULL;

    bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &err);
    bdrv_check_result_clear(&res);
    error_free(err);
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    MemDisk *disk = memdisk_new("disk");
    FuzzInput program = { data, PROGRAM_BYTES };
    Error *err = NULL;

    memdisk_set_max_bytes(disk, MAX_DISK_BYTES);
    memdisk_poke(disk, 0, size - PROGRAM_BYTES, data + PROGRAM_BYTES);
    unsigned flags = fuzz_take(&program, 1);
    RigOpen how = { .read_only = flags & 1, .cache_size = flags & 2 ? 1 : 0 };
    BdrvLink *link = rig_try_open(disk, &how, &err);
    g_assert(!link != !err);
    error_free(err);
    if (link) {
        if (flags & 4) {
            check(link);
        }
        for (int i = 0; i < MAX_REQUESTS && program.size >= 8; i++) {
            request(link, &program);
        }
        if (flags & 8) {
            check(link);
        }
        rig_close(link);
    }
    memdisk_free(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > PROGRAM_BYTES && size < MiB) {
        fuzz_run(run, data, size);
    }
    return 0;
}

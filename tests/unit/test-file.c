/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A raw disk in a file, over system calls that the test can count, fail, and have the answer of
 * changed. */
#include "qemu/osdep.h"

#include <sys/uio.h>

#include "block/block.h"
#include "test-loop.h"

/* ---- system calls; those of the pool's threads happen while the test waits ---- */

static struct {
    int syncs;                      /* fdatasync, and writes with RWF_DSYNC */
    int fallocates;
    int sync_error, fallocate_error;    /* of the next ones; 0: none */
    int sync_errors, fallocate_errors;  /* so many */
    bool align_4096;                /* O_DIRECT wants it */
} calls;

static bool fails(int *left, int error)
{
    if (*left > 0) {
        --*left;
        errno = error;
        return true;
    }
    return false;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    calls.syncs++;
    return fails(&calls.sync_errors, calls.sync_error) ? -1 : 0;
}

ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
    if (flags & RWF_DSYNC) {
        calls.syncs++;
        if (fails(&calls.sync_errors, calls.sync_error)) {
            return -1;
        }
    }
    return __real_pwritev64v2(fd, iov, n, off, flags & ~RWF_DSYNC);
}

int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
    calls.fallocates++;
    return fails(&calls.fallocate_errors, calls.fallocate_error)
           ? -1 : __real_fallocate64(fd, mode, off, len);
}

int __real_statx(int dir, const char *path, int flags, unsigned mask, struct statx *sx);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *sx);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *sx)
{
    int ret = __real_statx(dir, path, flags, mask, sx);

    if (ret == 0 && calls.align_4096) {
        sx->stx_mask |= STATX_DIOALIGN;
        sx->stx_dio_offset_align = sx->stx_dio_mem_align = 4096;
    }
    return ret;
}

/* ---- disks ---- */

#define DISK "disk.raw"

static bool have_direct(void)
{
    int fd = open(DISK, O_RDWR | O_CREAT | O_DIRECT, 0600);

    if (fd < 0) {
        g_test_skip("no O_DIRECT here");
        return false;
    }
    close(fd);
    return true;
}

static void make_file(int64_t bytes, char fill)
{
    g_autofree char *data = g_malloc(bytes);
    int fd = open(DISK, O_RDWR | O_CREAT | O_TRUNC, 0600);

    memset(data, fill, bytes);
    g_assert_cmpint(write(fd, data, bytes), ==, bytes);
    close(fd);
}

static BdrvLink *co_main_fn open_disk(bool direct)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(DISK, "raw", NULL, &error_abort);
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE, .allows = CLAIM_ALL, .holder = "the test",
    };

    opts->read_only = opts->file.options->read_only = false;
    opts->discard = opts->file.options->discard = true;
    opts->file.options->cache_direct = direct;
    memset(&calls, 0, offsetof(typeof(calls), align_4096));
    return bdrv_open(opts, &spec, &error_abort);
}

static int co_main_fn write_some(BdrvLink *disk, int64_t offset, int64_t bytes, unsigned flags)
{
    g_autofree char *data = g_malloc(bytes);

    memset(data, 'w', bytes);
    return bdrv_co_pwrite(disk, offset, bytes, data, flags);
}

/* ---- syncs ---- */

static void co_main_fn fua_entry(void *opaque)
{
    make_file(64 * KiB, 'x');
    for (int direct = 0; direct <= *(int *)opaque; direct++) {
        BdrvLink *disk = open_disk(direct);
        for (int i = 1; i <= 3; i++) {
            g_assert_cmpint(write_some(disk, i * 4096, 4096, BDRV_REQ_FUA), ==, 0);
            g_assert_cmpint(calls.syncs, ==, i);
        }
        g_assert_cmpint(write_some(disk, 0, 4096, 0), ==, 0);
        g_assert_cmpint(calls.syncs, ==, 3);
        g_assert_cmpint(bdrv_co_flush(disk, 0), ==, 0);
        g_assert_cmpint(calls.syncs, ==, 4);
        bdrv_link_free(disk);
    }
}

static void test_fua(void)
{
    int direct = have_direct();

    run_co(fua_entry, &direct);
}

/* Whichever kind of sync of a cached file fails: what it was to save may be gone, and no later one
 * says otherwise. */
static void co_main_fn lost_entry(void *opaque)
{
    make_file(64 * KiB, 'x');
    for (int fua = 0; fua <= 1; fua++) {
        BdrvLink *disk = open_disk(false);
        g_assert_cmpint(write_some(disk, 0, 4096, 0), ==, 0);
        calls.sync_error = EIO;
        calls.sync_errors = 1;
        g_assert_cmpint(fua ? write_some(disk, 4096, 4096, BDRV_REQ_FUA) : bdrv_co_flush(disk, 0),
                        ==, -EIO);
        g_assert_cmpint(calls.sync_errors, ==, 0);
        g_assert_cmpint(bdrv_co_flush(disk, 0), ==, -EIO);
        g_assert_cmpint(write_some(disk, 4096, 4096, BDRV_REQ_FUA), ==, -EIO);
        bdrv_link_free(disk);
    }
}

static void test_lost(void)
{
    run_co(lost_entry, NULL);
}

static void co_main_fn direct_entry(void *opaque)
{
    make_file(64 * KiB, 'x');
    for (int fua = 0; fua <= 1; fua++) {
        BdrvLink *disk = open_disk(true);
        for (int i = 0; i < 3; i++) {
            g_assert_cmpint(write_some(disk, 0, 4096, 0), ==, 0);
            calls.sync_error = EIO;
            calls.sync_errors = 1;
            g_assert_cmpint(fua ? write_some(disk, 4096, 4096, BDRV_REQ_FUA)
                                : bdrv_co_flush(disk, 0), ==, -EIO);
            g_assert_cmpint(calls.sync_errors, ==, 0);
            g_assert_cmpint(bdrv_co_flush(disk, 0), ==, 0);
        }
        /* Zeroes in a part of a block are put there in memory, by the file system. */
        if (calls.fallocates == 0 && !fua) {
            int64_t part = disk->bs->file->bs->limits.request_alignment;
            g_assert_cmpint(bdrv_co_pwrite_zeroes(disk, 0, part, 0), ==, 0);
            calls.sync_errors = 1;
            g_assert_cmpint(bdrv_co_flush(disk, 0), ==, -EIO);
            g_assert_cmpint(bdrv_co_flush(disk, 0), ==, part < 4096 ? -EIO : 0);
        }
        bdrv_link_free(disk);
    }
}

static void test_direct(void)
{
    if (have_direct()) {
        run_co(direct_entry, NULL);
    }
}

/* ---- space ---- */

static void co_main_fn einval_entry(void *opaque)
{
    make_file(64 * KiB, 'x');
    BdrvLink *disk = open_disk(false);

    calls.fallocate_error = EINVAL;
    for (int i = 0; i < 4; i++) {
        calls.fallocates = 0;
        calls.fallocate_errors = i % 2 ? 0 : 10;
        g_assert_cmpint(bdrv_co_pwrite_zeroes(disk, i * 4096, 4096, i & 2 ? BDRV_REQ_MAY_UNMAP : 0),
                        ==, 0);
        g_assert_cmpint(calls.fallocates, >, 0);
        calls.fallocates = 0;
        calls.fallocate_errors = i % 2 ? 0 : 1;
        g_assert_cmpint(bdrv_co_pdiscard(disk, 32 * KiB + i * 4096, 4096), ==, 0);
        g_assert_cmpint(calls.fallocates, ==, 1);
    }
    calls.fallocate_error = EOPNOTSUPP;
    for (int i = 0; i < 2; i++) {
        calls.fallocates = 0;
        calls.fallocate_errors = 10;
        g_assert_cmpint(bdrv_co_pdiscard(disk, 0, 4096), ==, 0);
        g_assert_cmpint(calls.fallocates, ==, i == 0);
    }
    bdrv_link_free(disk);
    g_autofree char *data = NULL;
    g_assert_true(g_file_get_contents(DISK, &data, NULL, NULL));
    for (int i = 0; i < 16 * KiB; i++) {
        g_assert_cmpint(data[i], ==, 0);
    }
}

static void test_einval(void)
{
    run_co(einval_entry, NULL);
}

static void co_main_fn no_falloc_entry(void *opaque)
{
    struct stat st;

    make_file(4096, 'x');
    BdrvLink *disk = open_disk(false);
    calls.fallocate_error = EOPNOTSUPP;
    calls.fallocate_errors = INT_MAX;
    g_assert_true(bdrv_co_truncate(disk->bs->file, MiB, BDRV_PREALLOC_FALLOC, &error_abort));
    g_assert_cmpint(calls.fallocates, ==, 1);
    bdrv_link_free(disk);
    g_assert_cmpint(stat(DISK, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, MiB);
    g_assert_cmpint(st.st_blocks * 512, >=, MiB);
}

static void test_no_falloc(void)
{
    run_co(no_falloc_entry, NULL);
}

/* ---- length ---- */

/* [@from, @length) is 'w', or zeroes, and the rest 'x'. */
static void check_file(int64_t length, int64_t from, char fill)
{
    g_autofree char *data = NULL;
    gsize have;

    g_assert_true(g_file_get_contents(DISK, &data, &have, NULL));
    g_assert_cmpint(have, ==, length);
    for (int64_t i = 0; i < length; i++) {
        g_assert_cmpint(data[i], ==, i < from ? 'x' : fill);
    }
}

static void co_main_fn length_entry(void *opaque)
{
    for (int64_t length = 4096; length < 8192; length++) {
        int64_t froms[] = { length - 1, MAX(length - 513, 0), length & ~4095, 17 };
        int64_t from = froms[length % 4];
        from -= from == length;

        make_file(length, 'x');
        BdrvLink *disk = open_disk(true);
        g_assert_cmpint(write_some(disk, from, length - from, length & 4 ? BDRV_REQ_FUA : 0),
                        ==, 0);
        g_assert_cmpint(bdrv_length(disk->bs->file->bs), ==, length);
        g_assert_cmpint(bdrv_co_flush(disk, 0), ==, 0);
        check_file(length, from, 'w');
        char last;
        g_assert_cmpint(bdrv_co_pread(disk, length - 1, 1, &last), ==, 0);
        g_assert_cmpint(last, ==, 'w');
        if (length % 16 < 2) {
            g_assert_cmpint(bdrv_co_pwrite_zeroes(disk, from, length - from, 0), ==, 0);
            check_file(length, from, 0);
        }
        bdrv_link_free(disk);
    }
}

static void test_length(void)
{
    if (have_direct()) {
        calls.align_4096 = true;
        run_co(length_entry, NULL);
        calls.align_4096 = false;
    }
}

int main(int argc, char **argv)
{
    g_setenv("QEMU_AIO", "threads", TRUE);
    AioContext *ctx = test_loop_init(&argc, &argv);
    g_autofree char *dir = g_dir_make_tmp("file-XXXXXX", NULL);

    g_assert_cmpint(chdir(dir), ==, 0);
    g_test_add_func("/file/a-fua-write-costs-one-sync", test_fua);
    g_test_add_func("/file/data-that-a-sync-lost-is-never-called-durable", test_lost);
    g_test_add_func("/file/a-sync-without-page-cache-can-be-repeated", test_direct);
    g_test_add_func("/file/one-range-that-cannot-be-zeroed-says-nothing-about-the-next",
                    test_einval);
    g_test_add_func("/file/space-is-written-where-it-cannot-be-reserved", test_no_falloc);
    g_test_add_func("/file/writes-never-change-the-length-of-a-raw-disk", test_length);
    int ret = g_test_run();
    unlink(DISK);
    rmdir(dir);
    aio_context_free(ctx);
    return ret;
}

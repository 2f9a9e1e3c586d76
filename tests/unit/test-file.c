/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A raw disk in a file, over system calls that the test can count, fail, and have the answer of
 * changed. */
#include "qemu/osdep.h"

#include <sys/uio.h>

#include "block/block.h"
#include "block/new-file.h"
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

/* ---- new files ---- */

static BdrvLink *co_main_fn open_new(NewFile *file, bool direct)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(new_file_driver(file));
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE, .allows = CLAIM_READ, .holder = "the test",
    };

    opts->cache_direct = direct;
    opts->u.file.filename = g_strdup(new_file_name(file));
    opts->u.file.fd = new_file_dup(file, direct, &error_abort);
    return bdrv_open(opts, &spec, &error_abort);
}

/* Descriptors of this process whose name ends so. */
static int count_fds(const char *end)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    const char *fd;
    int n = 0;

    while ((fd = g_dir_read_name(dir))) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%s", fd);
        g_autofree char *name = g_file_read_link(path, NULL);
        n += name && g_str_has_suffix(name, end);
    }
    g_dir_close(dir);
    return n;
}

/* May another one write to DISK, as far as locks say? */
static bool is_locked(void)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1 };
    int fd = open(DISK, O_RDWR);

    g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &fl), ==, 0);
    close(fd);
    return fl.l_type != F_UNLCK;
}

static void co_main_fn named_entry(void *opaque)
{
    for (int direct = 0; direct <= *(int *)opaque; direct++) {
        unlink(DISK);
        NewFile *file = new_file_prepare(DISK, &error_abort);
        BdrvLink *disk = open_new(file, direct);
        g_assert_true(new_file_claim(file, &error_abort));
        g_assert_cmpint(write_some(disk, 0, 4096, 0), ==, 0);
        g_assert_true(new_file_sync_dir(file, &error_abort));
        g_assert_true(new_file_open_by_name(file, disk->bs, &error_abort));
        g_assert_cmpint(count_fds(" (deleted)"), ==, 0);
        g_assert_true(is_locked());
        g_assert_cmpint(write_some(disk, 4096, 4096, 0), ==, 0);
        check_file(8192, 0, 'w');
        bdrv_link_free(disk);
        g_assert_true(is_locked());     /* what is undone is undone under the locks */
        new_file_abort(file);
        g_assert_false(g_file_test(DISK, G_FILE_TEST_EXISTS));
        g_assert_cmpint(count_fds(DISK) + count_fds(" (deleted)"), ==, 0);
    }
}

static void test_named(void)
{
    int direct = have_direct();

    run_co(named_entry, &direct);
}

/* Somebody puts a file of their own in the place of the new one, or takes it away. */
static void co_main_fn exchanged_entry(void *opaque)
{
    for (int there = 0; there < 2; there++) {
        Error *err = NULL;

        unlink(DISK);
        NewFile *file = new_file_prepare(DISK, &error_abort);
        BdrvLink *disk = open_new(file, false);
        g_assert_true(new_file_claim(file, &error_abort));
        g_assert_cmpint(write_some(disk, 0, 4096, 0), ==, 0);
        g_assert_true(new_file_sync_dir(file, &error_abort));
        unlink(DISK);
        if (there) {
            make_file(512, 'x');
        }
        g_assert_false(new_file_open_by_name(file, disk->bs, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), there ? "File exists" : "No such file"));
        g_assert_nonnull(strstr(error_get_pretty(err), DISK));
        error_free(err);
        g_assert_cmpint(write_some(disk, 0, 4096, 0), ==, 0);   /* to the file that it was */
        bdrv_link_free(disk);
        new_file_abort(file);
        if (there) {
            check_file(512, 0, 'x');
        }
        g_assert_true(g_file_test(DISK, G_FILE_TEST_EXISTS) == there);
    }
}

static void test_exchanged(void)
{
    run_co(exchanged_entry, NULL);
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
    g_test_add_func("/file/a-new-file-is-open-under-its-name", test_named);
    g_test_add_func("/file/a-name-that-leads-elsewhere-is-left-alone", test_exchanged);
    int ret = g_test_run();
    unlink(DISK);
    rmdir(dir);
    aio_context_free(ctx);
    return ret;
}

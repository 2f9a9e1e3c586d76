/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine: time, blocking calls, and what the wrapped calls do. */
#include "qemu/osdep.h"

#include <linux/falloc.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "qemu/aio.h"
#include "qemu/iothread.h"
#include "sim-internal.h"

#define SHORT_DELAY_NS (2 * NS_PER_MS)
#define LONG_DELAY_NS (30 * NS_PER_MS)
#define QUICK_DELAY_NS (2 * NS_PER_MS / 1000)
#define MAX_TURNS 4

static struct {
    bool on;
    uint64_t random;
    int64_t now_ns;
    GHashTable *numbers;            /* inode number of the kernel -> our number */
    ino_t dir_ino;
    SimPace pace;
    GArray *begun;                  /* of guint: entries of the blocking call that runs now, not
                                     * ended */
    unsigned short_one_in;
    int64_t room;
    int64_t fail_after;
    int fail_error;
    SimFailure failure;
} sim;

uint64_t sim_random(void)
{
    uint64_t z = (sim.random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- life ---- */

static void know_file(const char *name)
{
    g_autofree char *data = NULL;
    gsize len = 0;
    struct stat st;

    g_assert_cmpint(lstat(name, &st), ==, 0);
    if (S_ISREG(st.st_mode)) {
        g_assert_true(g_file_get_contents(name, &data, &len, NULL));
        int number = sim_log_new_file(data, len);
        g_hash_table_replace(sim.numbers, GSIZE_TO_POINTER(st.st_ino), GINT_TO_POINTER(number));
        sim_log_set_name(name, number);
    }
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char **)a, *(char **)b);
}

void sim_start(uint64_t seed)
{
    g_autoptr(GDir) dir = g_dir_open(".", 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;
    struct stat st;

    sim_log_clear();
    sim.random = seed;
    sim.now_ns = NS_PER_SEC;
    sim.room = sim.fail_after = -1;
    sim.short_one_in = 0;
    sim.failure = SIM_FAILURE_NOTHING;
    sim.pace = SIM_PACE_DISKS;
    sim.numbers = g_hash_table_new(NULL, NULL);
    sim.begun = g_array_new(FALSE, FALSE, sizeof(guint));
    g_assert_cmpint(stat(".", &st), ==, 0);
    sim.dir_ino = st.st_ino;
    while ((name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, compare_strings);       /* numbers are the same in each run */
    for (guint i = 0; i < names->len; i++) {
        know_file(names->pdata[i]);
    }
    sim.on = true;
}

void sim_stop(void)
{
    sim.on = false;
    g_hash_table_unref(sim.numbers);
    g_array_unref(sim.begun);
}

void sim_set_short_transfers(unsigned one_in)
{
    sim.short_one_in = one_in;
}

void sim_set_room(int64_t bytes)
{
    sim.room = bytes;
}

void sim_fail_call(int64_t after, int error)
{
    sim.fail_after = after;
    sim.fail_error = error;
}

void sim_set_failure(SimFailure failure)
{
    sim.failure = failure;
}

void sim_note(uint64_t note)
{
    sim_log_add((SimEntry){ .kind = SIM_NOTE, .note = note });
}

/* ---- time ---- */

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (!sim.on) {
        return __real_clock_gettime(clock, ts);
    }
    ts->tv_sec = sim.now_ns / NS_PER_SEC;
    ts->tv_nsec = sim.now_ns % NS_PER_SEC;
    return 0;
}

int __real_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms)
{
    if (!sim.on) {
        return __real_epoll_wait(epfd, events, n, timeout_ms);
    }
    int ret = __real_epoll_wait(epfd, events, n, 0);
    if (ret == 0 && timeout_ms < 0) {
        g_error("everybody waits, and nothing can ever happen");
    }
    return ret;
}

int __real_epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
                        const sigset_t *mask);
int __wrap_epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
                        const sigset_t *mask);
int __wrap_epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
                        const sigset_t *mask)
{
    if (!sim.on) {
        return __real_epoll_pwait2(epfd, events, n, timeout, mask);
    }
    int ret = __real_epoll_wait(epfd, events, n, 0);
    if (ret == 0) {
        sim.now_ns += timeout->tv_sec * NS_PER_SEC + timeout->tv_nsec;
    }
    return ret;
}

/* ---- threads: all is done by one ---- */

IOThread *main_fn __wrap_iothread_new(const char *id, Error **errp);
IOThread *main_fn __wrap_iothread_new(const char *id, Error **errp)
{
    return g_malloc(1);
}

void main_fn __wrap_iothread_free(IOThread *iothread);
void main_fn __wrap_iothread_free(IOThread *iothread)
{
    g_free(iothread);
}

AioContext *any_fn __wrap_iothread_context(const IOThread *iothread);
AioContext *any_fn __wrap_iothread_context(const IOThread *iothread)
{
    return aio_context_current();
}

/* ---- blocking calls ---- */

void sim_set_pace(SimPace pace)
{
    sim.pace = pace;
}

void co_fn sim_take_a_while(void)
{
    int64_t most = sim_random() % 16 ? SHORT_DELAY_NS : LONG_DELAY_NS;
    bool quick = sim.pace == SIM_PACE_QUICK;

    if (quick && sim_random() % 2) {
        /* Some time passes all the same, or who waits for a moment would never see it. */
        sim.now_ns += 1 + sim_random() % 100;
        for (uint64_t turns = sim_random() % MAX_TURNS; turns > 0; turns--) {
            coroutine_reschedule();
        }
        return;
    }
    aio_co_sleep_ns(1 + sim_random() % (quick ? QUICK_DELAY_NS : most));
}

static void end_all(GArray *begun)
{
    for (guint i = 0; i < begun->len; i++) {
        sim_log_add((SimEntry){ .kind = SIM_END, .of = g_array_index(begun, guint, i) });
    }
    g_array_set_size(begun, 0);
}

/* Add a change or a sync.  The one before it in the same blocking call has ended, this one will
 * with it. */
static void begin(SimEntry e)
{
    end_all(sim.begun);
    guint index = sim_log_add(e);
    g_array_append_val(sim.begun, index);
}

int __real_thread_pool_co_run(int (*fn)(void *opaque), void *opaque);
int __wrap_thread_pool_co_run(int (*fn)(void *opaque), void *opaque);
int co_fn __wrap_thread_pool_co_run(int (*fn)(void *opaque), void *opaque)
{
    if (!sim.on) {
        return __real_thread_pool_co_run(fn, opaque);
    }
    sim_take_a_while();
    int ret = fn(opaque);
    g_autoptr(GArray) begun = g_array_copy(sim.begun);
    g_array_set_size(sim.begun, 0);
    sim_take_a_while();
    end_all(begun);
    return ret;
}

int __wrap_thread_pool_co_run_io(int (*fn)(void *opaque), void *opaque);
int co_fn __wrap_thread_pool_co_run_io(int (*fn)(void *opaque), void *opaque)
{
    return __wrap_thread_pool_co_run(fn, opaque);
}

/* ---- what calls do to the disk ---- */

static bool is_directory(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_ino == sim.dir_ino;
}

/* The number of the open file @fd, or -1: none of ours. */
static int number_of(int fd)
{
    struct stat st;
    void *number;

    if (!sim.on || fstat(fd, &st) < 0 ||
        !g_hash_table_lookup_extended(sim.numbers, GSIZE_TO_POINTER(st.st_ino), NULL, &number)) {
        return -1;
    }
    return GPOINTER_TO_INT(number);
}

/* True: the call shall fail; errno is set. */
static bool fails(void)
{
    if (!sim.on || sim.failure == SIM_FAILURE_DROPPED || sim.fail_after < 0 ||
        sim.fail_after-- > 0) {
        return false;
    }
    errno = sim.fail_error;
    return true;
}

typedef enum Fate { FATE_RUNS, FATE_FAILS, FATE_FAILS_AFTERWARDS } Fate;

/* The same for a call that may have its effect before it fails. */
static Fate fate(void)
{
    return !fails() ? FATE_RUNS
                    : sim.failure == SIM_FAILURE_ALL ? FATE_FAILS_AFTERWARDS : FATE_FAILS;
}

/* What the call returns that would return @ret. */
static ssize_t end_as(Fate f, ssize_t ret)
{
    if (f == FATE_FAILS_AFTERWARDS) {
        errno = sim.fail_error;
    }
    return f == FATE_RUNS ? ret : -1;
}

/* A sync of file @number that fails and drops what it covered? errno is set. */
static bool drops(int number)
{
    if (sim.failure != SIM_FAILURE_DROPPED || sim.fail_after < 0 || sim.fail_after-- > 0) {
        return false;
    }
    sim_log_add((SimEntry){ .kind = SIM_DROP, .file = number });
    errno = sim.fail_error;
    return true;
}

/* How much longer the file may become, so that it ends at @end: 0 or less, or not at all. */
static bool takes_room(int fd, int64_t end)
{
    struct stat st;

    if (sim.room < 0 || fstat(fd, &st) < 0 || end <= st.st_size) {
        return true;
    }
    if (end - st.st_size > sim.room) {
        errno = ENOSPC;
        return false;
    }
    sim.room -= end - st.st_size;
    return true;
}

/* @bytes, or less of it. */
static int64_t cut_short(int64_t bytes)
{
    bool may = sim.on && sim.short_one_in && sim_random() % sim.short_one_in == 0;
    bool is_short = may && bytes > 512;

    return is_short ? 512 * (1 + sim_random() % (bytes / 512)) : bytes;
}

/* The first @bytes of @iov in @out, which has room for @n. */
static int first_bytes(const struct iovec *iov, int n, int64_t bytes, struct iovec *out)
{
    int used = 0;

    for (int i = 0; i < n && bytes > 0; i++) {
        out[used] = iov[i];
        out[used].iov_len = MIN((int64_t)iov[i].iov_len, bytes);
        bytes -= out[used++].iov_len;
    }
    return used;
}

static int64_t iov_bytes(const struct iovec *iov, int n)
{
    int64_t bytes = 0;

    for (int i = 0; i < n; i++) {
        bytes += iov[i].iov_len;
    }
    return bytes;
}

ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
    g_autofree struct iovec *part = g_new(struct iovec, MAX(n, 1));

    if (fails()) {
        return -1;
    }
    n = first_bytes(iov, n, cut_short(iov_bytes(iov, n)), part);
    return __real_preadv64v2(fd, part, n, off, flags);
}

ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
    g_autofree struct iovec *part = g_new(struct iovec, MAX(n, 1));
    int number = number_of(fd);

    if (number < 0) {
        return __real_pwritev64v2(fd, iov, n, off, flags);
    }
    int64_t bytes = cut_short(iov_bytes(iov, n));
    n = first_bytes(iov, n, bytes, part);
    Fate f = fate();
    if (f == FATE_FAILS || !takes_room(fd, off + bytes)) {
        return -1;
    }
    if (f == FATE_FAILS_AFTERWARDS && bytes > 512 && sim_random() % 2) {
        bytes = 512 * (1 + sim_random() % (bytes / 512));   /* torn, as it comes to that */
        n = first_bytes(iov, n, bytes, part);
    }
    SimEntry e = {
        .kind = SIM_WRITE, .file = number, .offset = off, .bytes = bytes,
        .data = g_malloc(bytes), .durable = flags & RWF_DSYNC,
    };
    for (int i = 0, at = 0; i < n; at += part[i++].iov_len) {
        memcpy(e.data + at, part[i].iov_base, part[i].iov_len);
    }
    begin(e);
    return end_as(f, __real_pwritev64v2(fd, part, n, off, flags & ~RWF_DSYNC));
}

int __real_ftruncate64(int fd, off_t len);
int __wrap_ftruncate64(int fd, off_t len);
int __wrap_ftruncate64(int fd, off_t len)
{
    int number = number_of(fd);
    Fate f = FATE_RUNS;

    if (number >= 0) {
        f = fate();
        if (f == FATE_FAILS) {
            return -1;
        }
        begin((SimEntry){ .kind = SIM_TRUNCATE, .file = number, .offset = len });
    }
    return end_as(f, __real_ftruncate64(fd, len));
}

int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
    int number = number_of(fd);
    Fate f = FATE_RUNS;

    if (number >= 0) {
        bool grows = !(mode & FALLOC_FL_KEEP_SIZE);
        f = fate();
        if (f == FATE_FAILS || (grows && !takes_room(fd, off + len))) {
            return -1;
        }
        if (grows) {
            begin((SimEntry){ .kind = SIM_GROW, .file = number, .offset = off + len });
        }
        if (mode & (FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE)) {
            begin((SimEntry){ .kind = SIM_ZERO, .file = number, .offset = off, .bytes = len });
        }
    }
    return end_as(f, __real_fallocate64(fd, mode, off, len));
}

static int sync_fd(int fd, int (*real)(int fd))
{
    int number = number_of(fd);

    if (number < 0 && sim.on && is_directory(fd)) {
        number = SIM_DIRECTORY;
    }
    if (number < 0) {
        return real(fd);
    }
    Fate f = fate();
    if (f == FATE_FAILS || drops(number)) {
        return -1;
    }
    begin((SimEntry){ .kind = SIM_SYNC, .file = number });
    return end_as(f, 0);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return sync_fd(fd, __real_fsync);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    return sync_fd(fd, __real_fdatasync);
}

/* ---- names ---- */

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
    bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    va_list ap;
    struct stat st;

    va_start(ap, flags);
    mode_t mode = flags & O_CREAT || unnamed ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (sim.on && flags & O_CREAT && fails()) {
        return -1;
    }
    int fd = __real_openat64(dir, path, flags, mode);
    if (fd >= 0 && sim.on && (unnamed || flags & O_CREAT) && fstat(fd, &st) == 0) {
        int number = sim_log_new_file(NULL, 0);
        g_hash_table_replace(sim.numbers, GSIZE_TO_POINTER(st.st_ino), GINT_TO_POINTER(number));
        if (!unnamed) {             /* the product only creates what is not there (O_EXCL) */
            g_assert_true(flags & O_EXCL);
            begin((SimEntry){ .kind = SIM_LINK, .file = SIM_DIRECTORY, .linked = number,
                              .name = g_strdup(path) });
        }
    }
    return fd;
}

int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    struct stat st;

    if (sim.on && fails()) {
        return -1;
    }
    int ret = __real_linkat(from_dir, from, to_dir, to, flags);
    if (ret == 0 && sim.on && fstatat(to_dir, to, &st, 0) == 0) {
        void *number = g_hash_table_lookup(sim.numbers, GSIZE_TO_POINTER(st.st_ino));
        g_assert_nonnull(number);
        begin((SimEntry){ .kind = SIM_LINK, .file = SIM_DIRECTORY,
                          .linked = GPOINTER_TO_INT(number), .name = g_strdup(to) });
    }
    return ret;
}

int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags)
{
    int ret = __real_unlinkat(dir, path, flags);

    if (ret == 0 && sim.on) {
        begin((SimEntry){ .kind = SIM_UNLINK, .file = SIM_DIRECTORY, .name = g_strdup(path) });
    }
    return ret;
}

int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int ret = __real_renameat2(from_dir, from, to_dir, to, flags);

    if (ret == 0 && sim.on) {
        g_assert_cmpuint(flags, ==, RENAME_NOREPLACE);
        begin((SimEntry){ .kind = SIM_RENAME, .file = SIM_DIRECTORY, .name = g_strdup(from),
                          .new_name = g_strdup(to) });
    }
    return ret;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file system that passes everything through to a directory, and fails the n-th operation of some
 * kinds.  It sees whatever reaches the kernel, io_uring included.
 *
 *     faultfs DIRECTORY MOUNTPOINT [locks]    until SIGTERM; locks: they come here, too
 *
 * Write one line to the file .control in it:
 *     KIND[,KIND...] NTH ERRNO once|forever|after [PART-OF-THE-PATH]
 *     KIND[,KIND...] NTH kill PID
 *     KIND[,KIND...] NTH hang [PART-OF-THE-PATH]
 *     KIND[,KIND...] NTH slow MILLISECONDS
 *     fsync NTH ERRNO drop [PART-OF-THE-PATH]
 *     none
 *     cache
 *     cut
 * "after" is once, and if the operation changes or syncs data it has its effect before it fails.
 * The second ends the process by SIGKILL in place of the n-th operation; nothing it had under way
 * is done after that.  The third does not answer the n-th operation until the next line is written.
 * The fourth makes the n-th operation and all that follow take so long.
 * The fifth fails once, and what that sync covered does not get to the disk by a later one either.
 * With "cache" data is lost by a power cut from then on unless it was synced; "cut" is one (of a
 * daemon that was killed before): both leave the faults as they are.
 * Read it: "struck COUNT", then the operations seen since the last such line was written, one a
 * line: "KIND PATH", with a ! behind those that were failed.
 */
#define FUSE_USE_VERSION 31
#include "qemu/osdep.h"

#include <dirent.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <signal.h>

#include "cache.h"

#define CONTROL "/.control"

/* ---- faults ---- */

typedef enum Kind {
    OPEN, CREATE, READ, WRITE, FSYNC, FSYNCDIR, TRUNCATE, FALLOCATE, UNLINK, RENAME, LINK,
    RENAMEFLAGS, GETATTR, FLUSH, LSEEK, STATFS, LOCK, KINDS
} Kind;

static const char *const kind_names[KINDS] = {
    "open", "create", "read", "write", "fsync", "fsyncdir", "truncate", "fallocate", "unlink",
    "rename", "link", "renameflags", "getattr", "flush", "lseek", "statfs", "lock",
};

static struct {
    GMutex lock;
    unsigned kinds;                 /* bits 1 << Kind */
    long left;                      /* operations until the failing one */
    int error;
    bool forever;
    pid_t victim;                   /* 0: none; else killed by the failing operation */
    bool hangs;
    long slow_ms;                   /* what would fail takes so long instead; 0: it fails */
    bool drops;
    bool after;
    unsigned epoch;                 /* lines written to .control */
    GCond changed;                  /* epoch */
    char part[256];                 /* only of paths that contain it */
    unsigned struck;
    GString *log;
} fault;

static const char *root;
static int root_fd;

/* 0, or -errno with which the operation shall fail.  @path: NULL if it was removed. */
static int strike(Kind kind, const char *path)
{
    int ret = 0;

    path = path ?: "(removed)";
    g_mutex_lock(&fault.lock);
    if (fault.victim && fault.struck) {
        ret = -EIO;                 /* of one that is dead */
    } else if (fault.kinds & 1u << kind && strstr(path, fault.part)) {
        fault.left--;
        if (fault.left == 0 || (fault.forever && fault.left < 0)) {
            fault.struck++;
            ret = -fault.error;
        }
        if (ret && fault.victim) {
            kill(fault.victim, SIGKILL);
        }
    }
    if (ret && fault.hangs) {
        unsigned epoch = fault.epoch;
        while (epoch == fault.epoch) {
            g_cond_wait(&fault.changed, &fault.lock);
        }
        ret = 0;
    }
    if (ret && fault.slow_ms) {
        long ms = fault.slow_ms;
        g_mutex_unlock(&fault.lock);
        g_usleep(ms * 1000);
        g_mutex_lock(&fault.lock);
        ret = 0;
    }
    if (fault.log->len < 1 << 20) {
        g_string_append_printf(fault.log, "%s %s%s\n", kind_names[kind], path, ret ? " !" : "");
    }
    g_mutex_unlock(&fault.lock);
    return ret;
}

/* Has an operation its effect for which strike() returned @ret? */
static bool is_done(int ret)
{
    return ret == 0 || fault.after;
}

static bool cache_command(const char *line)
{
    bool start = g_str_has_prefix(line, "cache"), cut = g_str_has_prefix(line, "cut");

    g_mutex_lock(&fault.lock);
    if (start) {
        cache_start();
    } else if (cut) {
        cache_cut();
    }
    g_mutex_unlock(&fault.lock);
    return start || cut;
}

static int set_faults(const char *line)
{
    if (cache_command(line)) {
        return 0;
    }
    g_auto(GStrv) words = g_strsplit_set(line, " \n", -1);
    guint n = g_strv_length(words);
    unsigned kinds = 0;

    if (n >= 4) {
        g_auto(GStrv) names = g_strsplit(words[0], ",", -1);
        for (char **name = names; *name; name++) {
            int k = 0;
            while (k < KINDS && strcmp(kind_names[k], *name) != 0) {
                k++;
            }
            if (k == KINDS) {
                return -EINVAL;
            }
            kinds |= 1u << k;
        }
    } else if (strcmp(words[0], "none") != 0) {
        return -EINVAL;
    }
    g_mutex_lock(&fault.lock);
    fault.kinds = kinds;
    fault.struck = 0;
    fault.victim = 0;
    fault.hangs = fault.drops = fault.after = false;
    fault.epoch++;
    g_cond_broadcast(&fault.changed);
    g_string_truncate(fault.log, 0);
    if (kinds) {
        bool is_kill = strcmp(words[2], "kill") == 0, is_slow = strcmp(words[2], "slow") == 0;
        fault.hangs = strcmp(words[2], "hang") == 0;
        fault.left = atol(words[1]);
        fault.slow_ms = is_slow ? atol(words[3]) : 0;
        fault.error = is_kill || is_slow || fault.hangs ? EIO : atoi(words[2]);
        fault.victim = is_kill ? atoi(words[3]) : 0;
        fault.forever = is_slow || (!fault.hangs && strcmp(words[3], "forever") == 0);
        fault.after = !fault.hangs && strcmp(words[3], "after") == 0;
        fault.drops = !fault.hangs && strcmp(words[3], "drop") == 0;
        guint part = fault.hangs ? 3 : 4;
        g_strlcpy(fault.part, n > part ? words[part] : "", sizeof(fault.part));
    }
    g_mutex_unlock(&fault.lock);
    return 0;
}

static bool is_control(const char *path)
{
    return path && strcmp(path, CONTROL) == 0;
}

static int read_control(char *buf, size_t size, off_t offset)
{
    g_mutex_lock(&fault.lock);
    g_autofree char *text = g_strdup_printf("struck %u\n%s", fault.struck, fault.log->str);
    g_mutex_unlock(&fault.lock);
    size_t len = strlen(text), n = offset < (off_t)len ? MIN(size, len - offset) : 0;

    memcpy(buf, text + offset, n);
    return n;
}

/* ---- files ---- */

static const char *below(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static int result(long ret)
{
    return ret < 0 ? -errno : ret;
}

static void *fs_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
    cfg->use_ino = 1;
    cfg->hard_remove = 1;
    cfg->entry_timeout = cfg->attr_timeout = cfg->negative_timeout = 0;
    return NULL;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    if (is_control(path)) {
        *st = (struct stat){ .st_mode = S_IFREG | 0600, .st_nlink = 1 };
        return 0;
    }
    int ret = strike(GETATTR, path);

    return ret ? ret : fi ? result(fstat(fi->fh, st))
              : result(fstatat(root_fd, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int fs_open(const char *path, struct fuse_file_info *fi)
{
    if (is_control(path)) {
        fi->direct_io = 1;
        return 0;
    }
    int ret = strike(OPEN, path);
    if (ret == 0) {
        ret = result(openat(root_fd, below(path), fi->flags & ~O_DIRECT));
        fi->fh = ret;
    }
    return MIN(ret, 0);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    int ret = strike(CREATE, path);

    if (ret == 0) {
        ret = result(openat(root_fd, below(path), (fi->flags & ~O_DIRECT) | O_CREAT, mode));
        fi->fh = ret;
    }
    return MIN(ret, 0);
}

/* Each close() of a descriptor. */
static int fs_flush(const char *path, struct fuse_file_info *fi)
{
    return is_control(path) ? 0 : strike(FLUSH, path);
}

/* Locks belong to the open file, as the ones that are asked for do. */
static int fs_lock(const char *path, struct fuse_file_info *fi, int cmd, struct flock *fl)
{
    if (is_control(path)) {
        return 0;
    }
    int ret = strike(LOCK, path);
    fl->l_pid = 0;
    return ret ?: result(fcntl(fi->fh, cmd == F_GETLK ? F_OFD_GETLK : F_OFD_SETLK, fl));
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
    if (!is_control(path)) {
        close(fi->fh);
    }
    return 0;
}

static int fs_read(const char *path, char *buf, size_t size, off_t offset,
                   struct fuse_file_info *fi)
{
    if (is_control(path)) {
        return read_control(buf, size, offset);
    }
    return strike(READ, path) ?: result(pread(fi->fh, buf, size, offset));
}

/* A write or fallocate, remembered as long as a power cut would undo it. */
static int change(int fd, Kind kind, int mode, const char *buf, off_t offset, size_t bytes)
{
    g_mutex_lock(&fault.lock);
    if (kind == WRITE || mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        cache_note(fd, offset, bytes);
    }
    int ret = kind == WRITE ? result(pwrite(fd, buf, bytes, offset))
                            : result(fallocate(fd, mode, offset, bytes));
    g_mutex_unlock(&fault.lock);
    return ret;
}

static int fs_write(const char *path, const char *buf, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    if (is_control(path)) {
        g_autofree char *line = g_strndup(buf, size);
        return set_faults(line) ?: (int)size;
    }
    int ret = strike(WRITE, path);
    int done = is_done(ret) ? change(fi->fh, WRITE, 0, buf, offset, size) : 0;
    return ret ?: done;
}

static int fs_fsync(const char *path, int data_only, struct fuse_file_info *fi)
{
    g_mutex_lock(&fault.lock);
    unsigned begun = cache_sync_begins(fi->fh);
    g_mutex_unlock(&fault.lock);
    int ret = strike(FSYNC, path);

    int done = is_done(ret) ? result(data_only ? fdatasync(fi->fh) : fsync(fi->fh)) : -1;
    ret = ret ?: done;
    g_mutex_lock(&fault.lock);
    if (done == 0) {
        cache_synced(fi->fh, begun);
    } else if (fault.drops) {
        cache_dropped(fi->fh);
    }
    g_mutex_unlock(&fault.lock);
    return ret;
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    if (is_control(path)) {
        return 0;
    }
    int ret = strike(TRUNCATE, path);
    if (!is_done(ret)) {
        return ret;
    }
    if (fi) {
        int done = result(ftruncate(fi->fh, size));
        return ret ?: done;
    }
    int fd = openat(root_fd, below(path), O_WRONLY);
    if (fd < 0) {
        return -errno;
    }
    int done = result(ftruncate(fd, size));
    close(fd);
    return ret ?: done;
}

static int fs_fallocate(const char *path, int mode, off_t offset, off_t len,
                        struct fuse_file_info *fi)
{
    int ret = strike(FALLOCATE, path);
    int done = is_done(ret) ? change(fi->fh, FALLOCATE, mode, NULL, offset, len) : 0;
    return ret ?: done;
}

static off_t fs_lseek(const char *path, off_t offset, int whence, struct fuse_file_info *fi)
{
    int fault = strike(LSEEK, path);
    off_t ret = fault ? 0 : lseek(fi->fh, offset, whence);

    return fault ? fault : ret < 0 ? -errno : ret;
}

/* ---- names ---- */

static int fs_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    int fd = openat(root_fd, below(path), O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    if (!dir) {
        return -errno;
    }
    while ((e = readdir(dir))) {
        fill(buf, e->d_name, NULL, 0, 0);
    }
    closedir(dir);
    return 0;
}

static int fs_fsyncdir(const char *path, int data_only, struct fuse_file_info *fi)
{
    return strike(FSYNCDIR, path);
}

static int fs_unlink(const char *path)
{
    return strike(UNLINK, path) ?: result(unlinkat(root_fd, below(path), 0));
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
    int ret = flags ? strike(RENAMEFLAGS, from) : 0;

    return ret ?: strike(RENAME, from) ?:
           result(renameat2(root_fd, below(from), root_fd, below(to), flags));
}

static int fs_link(const char *from, const char *to)
{
    return strike(LINK, to) ?: result(linkat(root_fd, below(from), root_fd, below(to), 0));
}

static int fs_mkdir(const char *path, mode_t mode)
{
    return result(mkdirat(root_fd, below(path), mode));
}

static int fs_rmdir(const char *path)
{
    return result(unlinkat(root_fd, below(path), AT_REMOVEDIR));
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    return result(fchmodat(root_fd, below(path), mode, 0));
}

static int fs_statfs(const char *path, struct statvfs *st)
{
    return strike(STATFS, path) ?: result(fstatvfs(root_fd, st));
}

static struct fuse_operations operations = {
    .init = fs_init, .getattr = fs_getattr, .open = fs_open, .create = fs_create,
    .release = fs_release, .read = fs_read, .write = fs_write, .fsync = fs_fsync,
    .truncate = fs_truncate, .fallocate = fs_fallocate, .lseek = fs_lseek,
    .readdir = fs_readdir, .fsyncdir = fs_fsyncdir, .unlink = fs_unlink, .rename = fs_rename,
    .link = fs_link, .mkdir = fs_mkdir, .rmdir = fs_rmdir, .chmod = fs_chmod,
    .statfs = fs_statfs, .flush = fs_flush,
};

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: faultfs DIRECTORY MOUNTPOINT [locks]\n");
        return 2;
    }
    operations.lock = argc > 3 ? fs_lock : NULL;
    root = argv[1];
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0) {
        perror(root);
        return 1;
    }
    umask(0);
    fault.log = g_string_new(NULL);
    char foreground[] = "-f";
    char *args[] = { argv[0], argv[2], foreground, NULL };
    return fuse_main(3, args, &operations, NULL);
}

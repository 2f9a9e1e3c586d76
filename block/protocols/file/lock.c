/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims against other processes, by byte-range locks in the scheme that QEMU uses, so that
 * its programs and ours keep out of each other's way.  Locks are shared and on single bytes:
 *
 *   byte 100 + i    this process needs claim i
 *   byte 200 + i    this process does not let others have claim i
 *
 * A lock is taken first and then the opposite byte is tested: of two that come at the same
 * moment at least one sees the other.  Locks belong to the open file description.
 */
#include "qemu/osdep.h"

#include <sys/sysmacros.h>

#include "block/block.h"
#include "block/new-file.h"
#include "block/protocols/file/file-internal.h"
#include "qemu/aio.h"

#define THIS_PROCESS "this process"
#define NEED_BYTE 100
#define REFUSE_BYTE 200
#define LOCKED_CLAIMS 4             /* read, write, write-same, resize */
#define REFUSE_SHIFT 16

static unsigned lock_bits(unsigned needs, unsigned allows)
{
    unsigned mask = (1u << LOCKED_CLAIMS) - 1;

    return (needs & mask) | (~allows & mask) << REFUSE_SHIFT;
}

static int bit_to_byte(int bit)
{
    return bit < REFUSE_SHIFT ? NEED_BYTE + bit : REFUSE_BYTE + bit - REFUSE_SHIFT;
}

/* The byte whose lock by somebody else would contradict ours at @bit. */
static int opposite_byte(int bit)
{
    return bit_to_byte(bit ^ REFUSE_SHIFT);
}

/* A run of bits, that is of neighbouring bytes: one system call does for all of them. */
typedef struct BitRun {
    int first, count;
} BitRun;

/* The first run of @bits at or after bit @from; count 0: there is none. */
static BitRun next_run(unsigned bits, int from)
{
    BitRun r = { from, 0 };

    while (r.first < 32 && !(bits & (1u << r.first))) {
        r.first++;
    }
    while (r.first + r.count < 32 && bits & (1u << (r.first + r.count)) &&
           (r.first < REFUSE_SHIFT) == (r.first + r.count < REFUSE_SHIFT)) {
        r.count++;
    }
    return r;
}

static int blocking_fn set_lock(int fd, BitRun r, short type)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = bit_to_byte(r.first),
                        .l_len = r.count };

    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

static void blocking_fn unlock_bits(int fd, unsigned bits)
{
    for (BitRun r = next_run(bits, 0); r.count; r = next_run(bits, r.first + r.count)) {
        set_lock(fd, r, F_UNLCK);
    }
}

static int blocking_fn lock_bits_on(int fd, unsigned bits)
{
    for (BitRun r = next_run(bits, 0); r.count; r = next_run(bits, r.first + r.count)) {
        int ret = set_lock(fd, r, F_RDLCK);
        if (ret < 0) {
            unlock_bits(fd, bits & ((1u << r.first) - 1));
            return ret;
        }
    }
    return 0;
}

/* ---- who holds a lock: for messages ---- */

typedef struct HolderTask {
    int fd;
    int byte;
    char *holder;                   /* out */
} HolderTask;

/* Does this fdinfo name a lock on @byte?  Of what file, it says in a way that some file systems'
 * own st_dev and st_ino do not agree with (btrfs, overlayfs). */
static bool blocking_fn fdinfo_has_lock(const char *path, int byte)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    for (char *line = text; line; line = strchr(line, '\n')) {
        long long start, end;

        line += *line == '\n';
        if (sscanf(line, "lock: %*d: %*s %*s %*s %*d %*x:%*x:%*u %lld %lld", &start, &end) == 2 &&
            start <= byte && byte <= end) {
            return true;
        }
    }
    return false;
}

/* Is the descriptor at @path one of the file @st?  Other file systems that do not answer are not
 * asked. */
static bool blocking_fn is_descriptor_of(const char *path, const struct stat *st)
{
    struct statx sx;

    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, &sx) == 0 &&
           makedev(sx.stx_dev_major, sx.stx_dev_minor) == st->st_dev && sx.stx_ino == st->st_ino;
}

static bool blocking_fn process_has_lock(const char *pid, const struct stat *st, int byte)
{
    g_autofree char *dir_name = g_strdup_printf("/proc/%s/fdinfo", pid);
    g_autoptr(GDir) dir = g_dir_open(dir_name, 0, NULL);
    const char *fd;

    while (dir && (fd = g_dir_read_name(dir))) {
        g_autofree char *info = g_strdup_printf("%s/%s", dir_name, fd);
        g_autofree char *path = g_strdup_printf("/proc/%s/fd/%s", pid, fd);
        if (fdinfo_has_lock(info, byte) && is_descriptor_of(path, st)) {
            return true;
        }
    }
    return false;
}

static char *blocking_fn describe_process(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid);
    g_autofree char *comm = NULL;

    if (atoi(pid) == getpid()) {
        return g_strdup(THIS_PROCESS);
    }
    if (g_file_get_contents(path, &comm, NULL, NULL)) {
        g_strchomp(comm);
    }
    return g_strdup_printf("process %s (%s)", pid, comm ?: "unknown program");
}

static int blocking_fn find_holder(void *opaque)
{
    HolderTask *t = opaque;
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *pid;
    struct stat st;

    if (fstat(t->fd, &st) < 0) {
        return -errno;
    }
    while (proc && (pid = g_dir_read_name(proc))) {
        if (g_ascii_isdigit(pid[0]) && process_has_lock(pid, &st, t->byte)) {
            g_free(t->holder);      /* it may be ourselves, seen before */
            t->holder = describe_process(pid);
            /* Ourselves only if there is nobody else: the caller may have taken it too. */
            if (atoi(pid) != getpid()) {
                break;
            }
        }
    }
    return 0;
}

/* ---- claims ---- */

/* The first bit of @bits that somebody contradicts, or -1. */
static int blocking_fn find_conflict(int fd, unsigned bits)
{
    for (BitRun r = next_run(bits, 0); r.count; r = next_run(bits, r.first + r.count)) {
        struct flock fl = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = opposite_byte(r.first),
            .l_len = r.count,
        };
        if (fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK) {
            /* The kernel tells where the other lock begins, which may be before our bytes. */
            return r.first + MAX(0, fl.l_start - opposite_byte(r.first));
        }
    }
    return -1;
}

/* The process that keeps @bit from us, or NULL: no process that can be seen; caller frees. */
static char *co_main_fn holder_of(const FileState *s, int bit)
{
    HolderTask t = { .fd = s->fd, .byte = opposite_byte(bit) };

    thread_pool_co_run(find_holder, &t);
    return t.holder;
}

/* The node besides @bs that has the same file open here, or NULL. */
static const BlockDriverState *main_fn node_of_same_file(BlockDriverState *bs)
{
    BdrvFileId id, other_id;

    if (!bs->drv->get_identity(bs, &id)) {
        return NULL;
    }
    for (BlockDriverState *other = bdrv_next_node(NULL); other; other = bdrv_next_node(other)) {
        if (other != bs && other->drv->get_identity && other->drv->get_identity(other, &other_id) &&
            file_id_equal(id, other_id)) {
            return other;
        }
    }
    return NULL;
}

static void main_fn set_conflict(BlockDriverState *bs, int bit, const char *holder,
                                 Error **errp)
{
    g_autofree char *claim = bdrv_claims_to_text(1u << (bit % REFUSE_SHIFT));
    bool is_us = g_strcmp0(holder, THIS_PROCESS) == 0;
    const BlockDriverState *node = is_us ? node_of_same_file(bs) : NULL;
    g_autofree char *ours = node ? g_strdup_printf(THIS_PROCESS ", with its node '%s',",
                                                   node->node_name) : NULL;

    holder = ours ?: holder;
    error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                    bit < REFUSE_SHIFT
                    ? "Failed to get \"%s\" lock on '%s': %s does not allow it"
                    : "Failed to get shared \"%s\" lock on '%s': %s is using it",
                    claim, bs->filename, holder ?: "another process");
}

typedef struct LockTask {
    int fd;
    unsigned bits;
    int conflict;                   /* out: the first bit that somebody contradicts, or -1 */
} LockTask;

/* All of @bits are locked, or none: then there is a conflict, or -errno. */
static int blocking_fn take_in_thread(void *opaque)
{
    LockTask *t = opaque;
    int ret = lock_bits_on(t->fd, t->bits);

    t->conflict = ret < 0 ? -1 : find_conflict(t->fd, t->bits);
    if (t->conflict >= 0) {
        unlock_bits(t->fd, t->bits);
    }
    return ret;
}

static int blocking_fn give_up_in_thread(void *opaque)
{
    LockTask *t = opaque;

    unlock_bits(t->fd, t->bits);
    return 0;
}

static void co_main_fn give_up(const FileState *s, unsigned bits)
{
    LockTask t = { .fd = s->fd, .bits = bits };

    if (bits) {
        file_run(s, give_up_in_thread, &t);
    }
}

/*
 * A second description that is prepared (reopen.c) gets the locks that the first one gets
 * meanwhile, in the form that it is to have them.  Others were looked for through the first.
 */
static unsigned on_new_fd(const FileState *s, unsigned bits, unsigned without)
{
    return s->new_fd < 0 ? 0 : file_locks_after_reopen(bits, s->new_read_only) &
                               ~file_locks_after_reopen(without, s->new_read_only);
}

static int blocking_fn take_unseen_in_thread(void *opaque)
{
    LockTask *t = opaque;

    return lock_bits_on(t->fd, t->bits);
}

static int co_main_fn take_on_new_fd(const FileState *s)
{
    LockTask t = { .fd = s->new_fd, .bits = on_new_fd(s, s->new_locked, s->locked) };

    return t.bits ? file_run(s, take_unseen_in_thread, &t) : 0;
}

/* What it has for @s->new_locked and need not have for @s->locked. */
static void co_main_fn give_up_on_new_fd(const FileState *s)
{
    LockTask t = { .fd = s->new_fd, .bits = on_new_fd(s, s->new_locked, s->locked) };

    if (t.bits) {
        file_run(s, give_up_in_thread, &t);
    }
}

/*
 * After a process was killed the kernel may need a moment to finish its requests, and as long its
 * files stay open and locked, though there is no such process any more.  So a lock without a holder
 * is waited for, but not for long: it may be one of a process that cannot be seen from here.
 */
#define ORPHAN_LOOKS 100
#define ORPHAN_LOOK_NS (20 * NS_PER_MS)

/* 0 with the bits locked, -EAGAIN with @errp set: somebody holds them, or -errno without. */
static int co_main_fn take(BlockDriverState *bs, unsigned bits, Error **errp)
{
    FileState *s = bs->opaque;
    LockTask t = { .fd = s->fd, .bits = bits, .conflict = -1 };

    for (int looks = 1; ; looks++) {
        int ret = bits ? file_run(s, take_in_thread, &t) : 0;
        if (ret < 0 || t.conflict < 0) {
            return ret;
        }
        g_autofree char *holder = holder_of(s, t.conflict);
        if (holder || looks == ORPHAN_LOOKS) {
            set_conflict(bs, t.conflict, holder, errp);
            return -EAGAIN;
        }
        aio_co_sleep_ns(ORPHAN_LOOK_NS);
    }
}

bool co_main_fn file_claims_prepare(BlockDriverState *bs, unsigned needs, unsigned allows,
                                    Error **errp)
{
    FileState *s = bs->opaque;
    Error *conflict = NULL;

    s->goal = s->locking ? lock_bits(needs, allows) : 0;
    unsigned added = s->goal & ~s->locked;
    int ret = take(bs, added, &conflict);
    if (conflict) {
        error_propagate(errp, conflict);
        return false;
    }
    if (ret < 0 && (bs->locking == FILE_LOCKING_ON || (ret != -ENOLCK && ret != -EINVAL))) {
        error_setg_errno(errp, -ret, "Failed to lock '%s'", bs->filename);
        return false;
    }
    if (ret < 0) {                  /* a file system without locks, and they were not asked for */
        s->goal = s->new_locked = s->locked;
        return true;
    }
    s->new_locked = s->locked | added;
    ret = take_on_new_fd(s);
    if (ret < 0) {
        file_claims_abort(bs);
        s->new_locked = s->locked;
        error_setg_errno(errp, -ret, "Failed to lock '%s'", bs->filename);
    }
    return ret == 0;
}

void co_main_fn file_claims_commit(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    unsigned needless = s->new_locked & ~s->goal;

    s->locked = s->goal;
    give_up(s, needless);
    give_up_on_new_fd(s);
}

void co_main_fn file_claims_abort(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    give_up(s, s->new_locked & ~s->locked);
    give_up_on_new_fd(s);
}

bool main_fn file_get_locks(BlockDriverState *bs, unsigned *ret_needs, unsigned *ret_refuses)
{
    unsigned locked = FILE_STATE(bs)->locked;

    *ret_needs = locked & ((1u << REFUSE_SHIFT) - 1);
    *ret_refuses = locked >> REFUSE_SHIFT;
    return locked != 0;
}

unsigned any_fn file_locks_after_reopen(unsigned locked, bool read_only)
{
    /* Nothing is locked where locks cannot be had, or nobody uses the node. */
    return !locked || !read_only
           ? locked : lock_bits(CLAIM_READ, CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE));
}

int blocking_fn file_take_locks_on(const FileState *s, int fd, bool read_only)
{
    return lock_bits_on(fd, file_locks_after_reopen(s->locked, read_only));
}

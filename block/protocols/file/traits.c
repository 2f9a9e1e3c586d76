/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the system says about an open file: length, alignment, and how its file system behaves. */
#include "qemu/osdep.h"

#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "block/protocols/file/file-internal.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef F2FS_SUPER_MAGIC
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif

/*
 * Where the kernel itself moves the bytes between a disk of this machine and memory: it makes
 * nobody wait for another program or machine, and O_DIRECT leaves nothing in the page cache that a
 * failing sync could drop.
 */
static bool blocking_fn is_local(int fd, const struct stat *st)
{
    struct statfs fs;

    if (S_ISBLK(st->st_mode)) {
        return true;
    }
    if (fstatfs(fd, &fs) < 0) {
        return false;
    }
    switch ((uint32_t)fs.f_type) {
    case BTRFS_SUPER_MAGIC:
    case EXT4_SUPER_MAGIC:              /* ext2 and ext3, too */
    case F2FS_SUPER_MAGIC:
    case RAMFS_MAGIC:
    case TMPFS_MAGIC:
    case XFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

static void blocking_fn set_direct_limits(int fd, const struct stat *st, BdrvLimits *l)
{
    uint32_t offset_align = 4096, mem_align = 4096;
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        sx.stx_mask & STATX_DIOALIGN && sx.stx_dio_offset_align) {
        offset_align = MAX(512, sx.stx_dio_offset_align);
        mem_align = MAX(1, sx.stx_dio_mem_align);
    }
#else
    int sector;

    if (S_ISBLK(st->st_mode) && ioctl(fd, BLKSSZGET, &sector) == 0 && sector >= 512) {
        offset_align = sector;
    }
#endif
    l->request_alignment = offset_align;
    l->mem_alignment = mem_align;
}

void blocking_fn file_get_traits(int fd, const struct stat *st, bool direct, FileTraits *t)
{
    int sector;

    *t = (FileTraits){
        .limits = { .request_alignment = 1, .mem_alignment = 1 },
        .is_local = is_local(fd, st), .block_size = MAX(st->st_blksize, 4096),
    };
    if (direct) {
        set_direct_limits(fd, st, &t->limits);
    }
    t->bypasses_cache = direct && t->is_local;
    t->limits.native_fua = t->bypasses_cache;
    if (S_ISBLK(st->st_mode)) {
        t->limits.zero_unit = ioctl(fd, BLKSSZGET, &sector) == 0 && sector >= 512 ? sector : 4096;
    }
}

int64_t blocking_fn file_fd_length(int fd)
{
    struct stat st;
    uint64_t bytes;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISBLK(st.st_mode)) {
        return st.st_size;
    }
    return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? -errno : (int64_t)bytes;
}

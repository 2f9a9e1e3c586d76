/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Undoing what was done for an image that is not wanted after all: its name, or its content. */
#include "qemu/osdep.h"

#include "block/protocols/file/new-file-internal.h"
#include "qemu/log.h"

/* Has somebody else put something there, or one of the locks by which programs claim images
 * (lock.c)? */
static bool blocking_fn is_used(int fd)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200 };
    struct stat st;

    return (fstat(fd, &st) == 0 && st.st_size > 0) ||
           (fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK);
}

/* 1: @name in the directory is the file that was created, 0: it is not, or -errno. */
static int blocking_fn is_ours(const NewFile *t, const char *name)
{
    struct stat st;

    if (fstatat(t->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    return st.st_dev == t->st.st_dev && st.st_ino == t->st.st_ino;
}

static bool lacks_flags(int err)
{
    return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP;
}

/* Another name in the same directory; 0 or -errno.  @to is one that nobody else would choose. */
static int blocking_fn move_aside(const NewFile *t, const char *to)
{
    int ret = renameat2(t->dir_fd, t->base, t->dir_fd, to, RENAME_NOREPLACE);

    if (ret < 0 && lacks_flags(errno)) {
        ret = renameat(t->dir_fd, t->base, t->dir_fd, to);
    }
    return ret < 0 ? -errno : 0;
}

/* @from has its name again; -EEXIST if somebody has taken that meanwhile. */
static int blocking_fn move_back(const NewFile *t, const char *from)
{
    int ret = renameat2(t->dir_fd, from, t->dir_fd, t->base, RENAME_NOREPLACE);

    if (ret < 0 && lacks_flags(errno)) {
        ret = linkat(t->dir_fd, from, t->dir_fd, t->base, 0);
        if (ret == 0) {
            ret = unlinkat(t->dir_fd, from, 0);
        }
    }
    return ret < 0 ? -errno : 0;
}

/* What was moved aside to @aside: remove it if it is ours, else its name is given back.  0 or
 * -errno. */
static int blocking_fn remove_or_give_back(const NewFile *t, const char *aside)
{
    int ret = is_ours(t, aside);

    if (ret > 0) {
        ret = unlinkat(t->dir_fd, aside, 0) < 0 ? -errno : 0;
        if (ret == 0) {
            return 0;
        }
    }
    int back = move_back(t, aside);
    if (back < 0) {
        log_line("'%s' in the directory of '%s' is a file that had that name until now and "
                 "cannot get it back: %s", aside, t->filename, g_strerror(-back));
    }
    return ret;
}

/*
 * Remove the name, if it leads to the file that was created.  Between a look and a removal another
 * process could rename a file of its own to the name; so the name is moved aside first, to where
 * nobody else gets at it, and looked at there.
 */
static int blocking_fn remove_name(const NewFile *t)
{
    g_autofree char *aside = g_strdup_printf(".undo-%d-%08x%08x", getpid(), g_random_int(),
                                             g_random_int());
    int ret = is_ours(t, t->base);

    if (ret > 0) {
        ret = move_aside(t, aside);
        ret = ret < 0 ? ret : remove_or_give_back(t, aside);
    }
    fsync(t->dir_fd);               /* if this fails: the name may come back after a power cut */
    return ret == -ENOENT ? 0 : ret;
}

int blocking_fn new_file_undo(NewFile *t)
{
    if (!t->created) {
        /* What was in it or in a device before is not this command's to take away. */
        return t->claimed && S_ISREG(t->st.st_mode) && ftruncate(t->fd, 0) < 0 ? -errno : 0;
    }
    if (!t->named) {
        return 0;
    }
    /* That it could not be looked at may be why we are here. */
    if (t->st.st_ino == 0 && fstat(t->fd, &t->st) < 0) {
        return -errno;
    }
    if (!t->claimed && is_used(t->fd)) {
        log_line("'%s' is left where it is: another process has begun to use it", t->filename);
        return 0;
    }
    return remove_name(t);
}

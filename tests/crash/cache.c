/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "cache.h"

/* What was in a range before it changed. */
typedef struct Change {
    int fd;                         /* ours, of the file */
    ino_t ino;
    off_t offset;
    size_t bytes;
    uint8_t *before;
    bool dropped;
} Change;

static GArray *changes;             /* of Change; NULL: nothing is remembered */
static GHashTable *files;           /* inode number -> our descriptor + 1 */

static void change_clear(void *opaque)
{
    g_free(((Change *)opaque)->before);
}

static void close_file(void *opaque)
{
    close(GPOINTER_TO_INT(opaque) - 1);
}

void cache_start(void)
{
    if (changes) {
        g_array_unref(changes);
        g_hash_table_unref(files);
    }
    changes = g_array_new(FALSE, TRUE, sizeof(Change));
    g_array_set_clear_func(changes, change_clear);
    files = g_hash_table_new_full(NULL, NULL, NULL, close_file);
}

static ino_t ino_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* A descriptor that may be read as well, and stays. */
static int own_fd(int fd, ino_t ino)
{
    void *known = g_hash_table_lookup(files, GSIZE_TO_POINTER(ino));
    char path[64];

    if (!known) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        known = GINT_TO_POINTER(open(path, O_RDWR | O_CLOEXEC) + 1);
        g_hash_table_insert(files, GSIZE_TO_POINTER(ino), known);
    }
    return GPOINTER_TO_INT(known) - 1;
}

/* What is behind the end of the file is zero. */
static void read_range(int fd, off_t offset, size_t bytes, uint8_t *buf)
{
    ssize_t n = pread(fd, buf, bytes, offset);

    n = MAX(n, 0);
    memset(buf + n, 0, bytes - n);
}

void cache_note(int fd, off_t offset, size_t bytes)
{
    Change c = { .ino = ino_of(fd), .offset = offset, .bytes = bytes };

    if (changes && bytes) {
        c.fd = own_fd(fd, c.ino);
        c.before = g_malloc(bytes);
        read_range(c.fd, offset, bytes, c.before);
        g_array_append_val(changes, c);
    }
}

unsigned cache_sync_begins(int fd)
{
    return changes ? changes->len : 0;
}

/* What @synced brought to the disk, dropped changes below it do not take away any more. */
static void cover(const Change *synced)
{
    for (guint i = 0; i < changes->len; i++) {
        Change *c = &g_array_index(changes, Change, i);
        off_t from = MAX(c->offset, synced->offset);
        off_t end = MIN(c->offset + c->bytes, synced->offset + synced->bytes);

        if (c->dropped && c->ino == synced->ino && from < end) {
            read_range(c->fd, from, end - from, c->before + (from - c->offset));
        }
    }
}

void cache_synced(int fd, unsigned begun)
{
    ino_t ino = ino_of(fd);

    for (guint i = 0; changes && i < begun && i < changes->len; ) {
        Change *c = &g_array_index(changes, Change, i);
        if (c->ino == ino && !c->dropped) {
            cover(c);
            g_array_remove_index(changes, i);
            begun--;
        } else {
            i++;
        }
    }
}

void cache_dropped(int fd)
{
    ino_t ino = ino_of(fd);

    for (guint i = 0; changes && i < changes->len; i++) {
        Change *c = &g_array_index(changes, Change, i);
        c->dropped |= c->ino == ino;
    }
}

void cache_cut(void)
{
    for (guint i = changes ? changes->len : 0; i-- > 0; ) {
        Change *c = &g_array_index(changes, Change, i);
        struct stat st;

        if (fstat(c->fd, &st) == 0 && c->offset < st.st_size) {
            size_t n = MIN(c->bytes, (size_t)(st.st_size - c->offset));
            if (pwrite(c->fd, c->before, n, c->offset) != (ssize_t)n) {
                perror("faultfs: cannot undo a change");
            }
        }
    }
    cache_start();
}

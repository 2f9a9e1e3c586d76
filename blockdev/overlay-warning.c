/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a snapshot the disk goes on in the overlay, and its old file is what the overlay begins
 * with.  Who starts the daemon again on the old file serves the disk as it was, and each write to
 * it shows through the overlay where that has nothing of its own: a mixture that never was.  It may
 * be meant (nobody needs the overlay any more), so it is not refused; but it is said.
 *
 * Only the file's own folder is looked at, by a thread, up to MAX_ENTRIES names in it; of each
 * image its header.  What was found is kept for a moment: a machine with 1,000 disks in one folder
 * starts with a thousand openings.
 */
#include "qemu/osdep.h"

#include <dirent.h>

#include "block/blockdev.h"
#include "block/new-file.h"
#include "block/qcow2.h"
#include "qemu/aio.h"
#include "qemu/log.h"

#define MAX_ENTRIES 4096
#define KEEP_US G_USEC_PER_SEC

/* What the images of a folder record as their backing files. */
typedef struct Folder {
    BdrvFileId id;
    struct timespec changed;
    int64_t looked_us;
    GHashTable *overlays;           /* last component of the recorded name → OverlayNames */
} Folder;

typedef struct OverlayName {
    char *overlay;                  /* name in the folder */
    char *recorded;                 /* absolute */
} OverlayName;

/* One file that was opened for writing. */
typedef struct OpenedFile {
    char *path;                     /* absolute */
    BdrvFileId id;
    char *ret_overlay;              /* absolute name of an image that records it, NULL: none */
} OpenedFile;

static bool is_off;
static Folder *kept;                /* the last one, or NULL: none, or in use */

void main_fn blockdev_set_overlay_warnings(bool on)
{
    is_off = !on;
}

static void overlay_name_free(void *opaque)
{
    OverlayName *n = opaque;

    g_free(n->overlay);
    g_free(n->recorded);
    g_free(n);
}

static void overlay_names_free(void *opaque)
{
    g_ptr_array_unref(opaque);
}

static void folder_free(Folder *f)
{
    if (f) {
        g_hash_table_unref(f->overlays);
        g_free(f);
    }
}

static void opened_file_free(void *opaque)
{
    OpenedFile *f = opaque;

    g_free(f->path);
    g_free(f->ret_overlay);
    g_free(f);
}

/* ---- what an image records ---- */

/* The file that a description opens first. */
static char *any_fn file_of_json(const char *json)
{
    g_autoptr(BdrvOpenOptions) opts = blockdev_options_from_whole_json(json, NULL);
    const BdrvOpenOptions *o = opts;

    while (o && o->file.options) {
        o = o->file.options;
    }
    return o && (strcmp(o->driver, "file") == 0 || strcmp(o->driver, "host_device") == 0)
           ? g_strdup(o->u.file.filename) : NULL;
}

/* What the image in @fd records; NULL: it is no image with a backing file. */
static char *blocking_fn read_recorded(int fd)
{
    g_autofree uint8_t *buf = NULL;
    size_t need = QCOW2_HEADER_FIRST_READ;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return NULL;
    }
    for (int tries = 0; need > 0 && need <= 4 * MiB && tries < 3; tries++) {
        buf = g_realloc(buf, need);
        ssize_t n = pread(fd, buf, need, 0);
        char *name = n < 0 ? NULL : qcow2_recorded_backing_file(buf, n, st.st_size, &need);
        if (n < 0 || name) {
            return name;
        }
    }
    return NULL;
}

/* Absolute name of the backing file that the image called @name in @folder records, or NULL. */
static char *blocking_fn recorded_by(int folder_fd, const char *folder, const char *name)
{
    /* Links lead elsewhere, and what is no regular file may wait or act when it is opened. */
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    g_autofree char *recorded = NULL, *file = NULL, *path = g_build_filename(folder, name, NULL);

    if (fd >= 0) {
        /* The page cache is for others: the header and no more is read, and not kept. */
        posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
        recorded = read_recorded(fd);
        posix_fadvise(fd, 0, QCOW2_HEADER_FIRST_READ, POSIX_FADV_DONTNEED);
        close(fd);
    }
    if (!recorded) {
        return NULL;
    }
    if (g_str_has_prefix(recorded, "json:")) {
        file = file_of_json(recorded + strlen("json:"));
    } else if (g_str_has_prefix(recorded, "file:")) {
        file = g_strdup(recorded + strlen("file:"));
    } else if (!bdrv_path_has_protocol(recorded)) {
        file = g_strdup(recorded);
    }
    return file ? bdrv_path_combine(path, file) : NULL;
}

static void blocking_fn add_overlay(Folder *f, int folder_fd, const char *folder, const char *name)
{
    g_autofree char *recorded = recorded_by(folder_fd, folder, name);
    g_autofree char *key = recorded ? g_path_get_basename(recorded) : NULL;

    if (!recorded) {
        return;
    }
    GPtrArray *list = g_hash_table_lookup(f->overlays, key);
    if (!list) {
        list = g_ptr_array_new_with_free_func(overlay_name_free);
        g_hash_table_insert(f->overlays, g_steal_pointer(&key), list);
    }
    OverlayName *n = g_new0(OverlayName, 1);
    n->overlay = g_build_filename(folder, name, NULL);
    n->recorded = g_steal_pointer(&recorded);
    g_ptr_array_add(list, n);
}

/* ---- looking, on a thread ---- */

static bool is_current(const Folder *f, const struct stat *st)
{
    BdrvFileId id = { st->st_dev, st->st_ino };

    return f && file_id_equal(f->id, id) && f->changed.tv_sec == st->st_mtim.tv_sec &&
           f->changed.tv_nsec == st->st_mtim.tv_nsec &&
           g_get_monotonic_time() - f->looked_us < KEEP_US;
}

/* @old if nothing has changed there, which is taken; NULL: the folder cannot be read. */
static Folder *blocking_fn look_into(const char *folder, Folder *old)
{
    DIR *dir = opendir(folder);
    struct dirent *e;
    struct stat st;

    if (!dir || fstat(dirfd(dir), &st) < 0 || is_current(old, &st)) {
        if (dir) {
            closedir(dir);
        }
        return old;
    }
    folder_free(old);
    Folder *f = g_new0(Folder, 1);
    f->id = (BdrvFileId){ st.st_dev, st.st_ino };
    f->changed = st.st_mtim;
    f->looked_us = g_get_monotonic_time();
    f->overlays = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, overlay_names_free);
    for (unsigned n = 0; n < MAX_ENTRIES && (e = readdir(dir)); n++) {
        if (e->d_type == DT_REG || e->d_type == DT_UNKNOWN) {
            add_overlay(f, dirfd(dir), folder, e->d_name);
        }
    }
    closedir(dir);
    return f;
}

static void blocking_fn find_overlay(OpenedFile *file, Folder **folder)
{
    g_autofree char *folder_name = g_path_get_dirname(file->path);
    g_autofree char *name = g_path_get_basename(file->path);

    *folder = look_into(folder_name, *folder);
    GPtrArray *list = *folder ? g_hash_table_lookup((*folder)->overlays, name) : NULL;
    for (guint i = 0; list && i < list->len && !file->ret_overlay; i++) {
        OverlayName *n = list->pdata[i];
        BdrvFileId id;
        /* The same name in another folder is another file. */
        if (file_id_of_path(n->recorded, &id) && file_id_equal(id, file->id)) {
            file->ret_overlay = g_strdup(n->overlay);
        }
    }
}

typedef struct LookTask {
    GPtrArray *files;               /* of OpenedFile */
    Folder *folder;
} LookTask;

static int blocking_fn look(void *opaque)
{
    LookTask *t = opaque;

    for (guint i = 0; i < t->files->len; i++) {
        find_overlay(t->files->pdata[i], &t->folder);
    }
    return 0;
}

/* ---- on the loop ---- */

static void main_fn add_file(GPtrArray *files, BlockDriverState *bs)
{
    BdrvFileId id;

    while (bs->file) {
        bs = bs->file->bs;
    }
    if (!bs->read_only && !bs->looked_for_overlays && bs->path && bs->drv->get_identity &&
        bs->drv->get_identity(bs, &id)) {
        OpenedFile *f = g_new0(OpenedFile, 1);
        f->path = g_strdup(bs->path);
        f->id = id;
        g_ptr_array_add(files, f);
        bs->looked_for_overlays = true;
    }
}

void co_main_fn blockdev_warn_of_overlays(BlockDriverState *bs)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(opened_file_free);

    if (is_off || bs->read_only) {
        return;
    }
    add_file(files, bs);            /* the node may have gone when we know more */
    if (files->len == 0) {
        return;
    }
    LookTask task = { files, g_steal_pointer(&kept) };
    thread_pool_co_run(look, &task);
    folder_free(kept);
    kept = task.folder;
    for (guint i = 0; i < files->len; i++) {
        const OpenedFile *f = files->pdata[i];
        if (f->ret_overlay) {
            log_line("warning: '%s' was opened for writing, and '%s' records it as its backing "
                     "file: it is the disk as it was at a snapshot, and what is written to it "
                     "changes what that image shows; to go on after the snapshot, open '%s'",
                     f->path, f->ret_overlay, f->ret_overlay);
        }
    }
}

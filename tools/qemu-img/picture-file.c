/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A picture as a file.  It is made beside the one that has the name, and takes its place when it is
 * on disk.  Only a picture gives way to a picture.
 */
#include "qemu/osdep.h"

#include <png.h>

#include "picture-internal.h"

static const uint8_t png_signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };

/* ---- where to ---- */

typedef struct Target {
    char *path;                     /* behind all links */
    bool is_stream;                 /* a pipe, a terminal: what is written is gone */
    bool exists;
    mode_t mode;                    /* of a file that exists */
} Target;

/* Is a picture in @path, or nothing yet? */
static bool blocking_fn is_picture(const char *path, Error **errp)
{
    uint8_t head[sizeof(png_signature)];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));

    if (n < 0) {
        error_setg_errno(errp, errno, "Cannot look at '%s'", path);
    } else if (n > 0 && (n < (ssize_t)sizeof(head) || memcmp(head, png_signature, n) != 0)) {
        error_setg(errp, "'%s' exists and is no PNG picture, so it is not overwritten; the "
                   "picture's file is named in front of the image", path);
        n = -1;
    }
    if (fd >= 0) {
        close(fd);
    }
    return n >= 0;
}

static bool blocking_fn look_at_target(const char *filename, Target *t, Error **errp)
{
    struct stat st;
    char *real = realpath(filename, NULL);

    *t = (Target){ .path = g_strdup(real ?: filename) };
    free(real);
    if (stat(t->path, &st) < 0) {
        if (errno == ENOENT) {
            return true;
        }
        error_setg_errno(errp, errno, "Cannot write '%s'", filename);
        return false;
    }
    t->exists = true;
    t->mode = st.st_mode & 07777;
    if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) {
        error_setg(errp, "Cannot write the picture '%s': it is a %s", filename,
                   S_ISDIR(st.st_mode) ? "directory" : "block device");
        return false;
    }
    t->is_stream = !S_ISREG(st.st_mode);
    return t->is_stream || is_picture(t->path, errp);
}

bool blocking_fn picture_check_file(const char *filename, Error **errp)
{
    Target t;
    bool ok = look_at_target(filename, &t, errp);

    g_free(t.path);
    return ok;
}

/* ---- writing ---- */

/* 0 or -errno */
static int blocking_fn write_all(int fd, const GByteArray *png)
{
    for (guint done = 0; done < png->len; ) {
        ssize_t n = write(fd, png->data + done, png->len - done);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += MAX(n, 0);
    }
    return 0;
}

static int blocking_fn write_stream(const Target *t, const GByteArray *png)
{
    int fd = open(t->path, O_WRONLY | O_CLOEXEC);
    int ret = fd < 0 ? -errno : write_all(fd, png);

    if (fd >= 0 && close(fd) < 0 && ret == 0) {
        ret = -errno;
    }
    return ret;
}

static int blocking_fn write_file(const Target *t, const GByteArray *png)
{
    g_autofree char *dir = g_path_get_dirname(t->path);
    g_autofree char *beside = g_strdup_printf("%s/.picture-%d-%08x", dir, getpid(), g_random_int());
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd < 0) {
        return -errno;
    }
    int ret = write_all(fd, png);
    if (ret == 0 && ((t->exists && fchmod(fd, t->mode) < 0) || fsync(fd) < 0)) {
        ret = -errno;
    }
    if (close(fd) < 0 && ret == 0) {
        ret = -errno;
    }
    if (ret == 0 && rename(beside, t->path) < 0) {
        ret = -errno;
    }
    if (ret < 0) {
        unlink(beside);
    }
    return ret;
}

/* Compressed; NULL: it cannot be. */
static GByteArray *encode(const Picture *p, Error **errp)
{
    size_t pixels = (size_t)p->width * p->height;
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = p->width, .height = p->height,
        .format = PNG_FORMAT_RGB,
    };
    g_autofree uint8_t *rgb = g_try_malloc_n(pixels, 3);
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    g_autofree uint8_t *data = g_try_malloc(size);

    if (!rgb || !data) {
        error_setg(errp, "not enough memory for a picture of %d by %d pixels", p->width,
                   p->height);
        return NULL;
    }
    for (size_t i = 0; i < pixels; i++) {
        rgb[3 * i] = p->pixels[i] >> 16;
        rgb[3 * i + 1] = p->pixels[i] >> 8;
        rgb[3 * i + 2] = p->pixels[i];
    }
    if (!png_image_write_to_memory(&image, data, &size, 0, rgb, 0, NULL)) {
        error_setg(errp, "libpng cannot write the picture: %s", image.message);
        png_image_free(&image);
        return NULL;
    }
    return g_byte_array_new_take(g_steal_pointer(&data), size);
}

bool blocking_fn picture_save(const Picture *p, const char *filename, Error **errp)
{
    Target t;
    bool ok = look_at_target(filename, &t, errp);
    GByteArray *png = ok ? encode(p, errp) : NULL;

    if (png) {
        int ret = t.is_stream ? write_stream(&t, png) : write_file(&t, png);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Cannot write '%s'", filename);
        }
        ok = ret == 0;
        g_byte_array_unref(png);
    } else {
        ok = false;
    }
    g_free(t.path);
    return ok;
}

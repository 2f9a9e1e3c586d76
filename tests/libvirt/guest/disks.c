/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks by their serial numbers, which are in another place of sysfs for each kind of disk. */
#include "guest.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is in /sys/block/NAME/ATTRIBUTE from byte @skip on, without space around it; false if
 * nothing. */
static bool attribute(const char *name, const char *attribute, size_t skip, char *text, size_t size)
{
    char path[300], data[256] = "";
    int fd;

    snprintf(path, sizeof(path), "/sys/block/%s/%s", name, attribute);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t length = read(fd, data, sizeof(data) - 1);
    close(fd);
    if (length <= (ssize_t)skip) {
        return false;
    }
    while (length > (ssize_t)skip && !isgraph((unsigned char)data[length - 1])) {
        data[--length] = '\0';
    }
    while (data[skip] == ' ') {
        skip++;
    }
    snprintf(text, size, "%s", data + skip);
    return *text;
}

static bool serial_of(const char *name, char *serial, size_t size)
{
    return attribute(name, "serial", 0, serial, size) ||                /* virtio */
           attribute(name, "device/vpd_pg80", 4, serial, size) ||       /* SCSI, and ATA as one */
           attribute(name, "device/serial", 0, serial, size);           /* NVMe */
}

void disks_each(void (*fn)(void *opaque, const char *serial, const char *name, uint64_t bytes),
                void *opaque)
{
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char serial[64], sectors[32] = "0";
        if (entry->d_name[0] != '.' && serial_of(entry->d_name, serial, sizeof(serial))) {
            attribute(entry->d_name, "size", 0, sectors, sizeof(sectors));
            fn(opaque, serial, entry->d_name, strtoull(sectors, NULL, 10) * 512);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

struct search {
    const char *serial;
    char *name;
    size_t size;
    bool found;
};

static void compare(void *opaque, const char *serial, const char *name, uint64_t bytes)
{
    struct search *s = opaque;

    if (!strcmp(serial, s->serial)) {
        snprintf(s->name, s->size, "%s", name);
        s->found = true;
    }
}

bool disk_by_serial(const char *serial, char *name, size_t size)
{
    struct search s = { .serial = serial, .name = name, .size = size };

    disks_each(compare, &s);
    return s.found;
}

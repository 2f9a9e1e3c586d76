/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of the child's nodes, which nobody but us is to see. */
#include "qemu/osdep.h"

#include "qemu-internal.h"

#define NODE_PREFIX "x-"

static unsigned last_number;

char *main_fn machine_qemu_new_name(void)
{
    return g_strdup_printf(NODE_PREFIX "%u", ++last_number);
}

const char *main_fn machine_qemu_node(const MachineDisk *disk)
{
    return disk->qemu->node;
}

const char *main_fn machine_qemu_link(const MachineDisk *disk)
{
    return disk->qemu->link;
}

/* The disk whose node is called as the @len bytes at @name. */
static MachineDisk *main_fn disk_of_node(const char *name, size_t len)
{
    for (GList *l = machine_disks; l; l = l->next) {
        MachineDisk *disk = l->data;

        if (strlen(disk->qemu->node) == len && memcmp(disk->qemu->node, name, len) == 0) {
            return disk;
        }
    }
    return NULL;
}

char *main_fn machine_qemu_translate(const char *text)
{
    GString *out = g_string_new(NULL);

    while (*text) {
        size_t len = g_str_has_prefix(text, NODE_PREFIX)
                     ? strlen(NODE_PREFIX) + strspn(text + strlen(NODE_PREFIX), "0123456789") : 0;
        MachineDisk *disk = len > 0 ? disk_of_node(text, len) : NULL;

        if (disk) {
            g_string_append(out, disk->shown ?: disk->id);
            text += len;
        } else {
            g_string_append_c(out, *text++);
        }
    }
    return g_string_free(out, false);
}

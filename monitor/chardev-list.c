/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of channels that there are. */
#include "qemu/osdep.h"

#include "monitor-internal.h"

static GList *chardevs;         /* of MonitorChardev */

GList *monitor_chardevs(void)
{
    return chardevs;
}

MonitorChardev *monitor_chardev_find(const char *id)
{
    for (GList *l = chardevs; l; l = l->next) {
        MonitorChardev *chr = l->data;

        if (strcmp(chr->id, id) == 0) {
            return chr;
        }
    }
    return NULL;
}

void monitor_chardev_list(MonitorChardev *chr, MonitorChardev *old)
{
    if (old) {
        g_list_find(chardevs, old)->data = chr;
    } else {
        chardevs = g_list_append(chardevs, chr);
    }
}

void monitor_chardev_unlist(MonitorChardev *chr)
{
    chardevs = g_list_remove(chardevs, chr);
}

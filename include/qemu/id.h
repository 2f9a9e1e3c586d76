/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef QEMU_ID_H
#define QEMU_ID_H

#include "qemu/osdep.h"

/* A name that a user may give to an object, node or job: a letter, then letters, digits, - . and _
 */
static inline bool id_is_well_formed(const char *id)
{
    if (!g_ascii_isalpha(id[0])) {
        return false;
    }
    for (const char *p = id; *p; p++) {
        if (!g_ascii_isalnum(*p) && !strchr("-._", *p)) {
            return false;
        }
    }
    return true;
}

#endif

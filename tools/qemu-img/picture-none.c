/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In the place of what draws, where that was not built; picture-args.c has refused before. */
#include "qemu/osdep.h"

#include "chain.h"
#include "map.h"
#include "picture.h"

static bool refuse(Error **errp)
{
    error_setg(errp, "this program was built without pictures");
    return false;
}

bool blocking_fn picture_check_file(const char *filename, Error **errp)
{
    return refuse(errp);
}

bool co_main_fn img_map_draw(const MapCells *c, const char *filename, Error **errp)
{
    return refuse(errp);
}

bool co_main_fn img_chain_draw(const QList *list, const char *filename, Error **errp)
{
    return refuse(errp);
}

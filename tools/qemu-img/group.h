/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-img group: commands on several images at once. */
#ifndef IMG_GROUP_H
#define IMG_GROUP_H

#include "img.h"

/* argv[0] is the sub-command's name; they return the exit status. */
int co_main_fn img_group_create(int argc, char **argv);
int co_main_fn img_group_commit(int argc, char **argv);
int co_main_fn img_group_check(int argc, char **argv);
int co_main_fn img_group_info(int argc, char **argv);

/*
 * Before members are committed: is there room for what their bases lack?  @commits: of ImgCommit,
 * open.  False: it was said which file system is too small.
 */
bool co_main_fn img_group_has_room(const GPtrArray *commits);

#endif

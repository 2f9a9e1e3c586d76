/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking one image: for check and group check. */
#ifndef IMG_CHECK_H
#define IMG_CHECK_H

#include "block/check.h"
#include "img.h"

/* Exit statuses, beside 0: nothing is wrong. */
enum {
    IMG_CHECK_FAILED = 1,           /* it could not be checked */
    IMG_CHECK_CORRUPT = 2, IMG_CHECK_LEAKS = 3, IMG_CHECK_UNSUPPORTED = 63,
};

typedef struct ImgCheckArgs {
    ToolImage image;
    BdrvFix fix;
    ImgOutput output;
    bool quiet;
} ImgCheckArgs;

/* The options of the command. */
void co_main_fn img_check_parse(int argc, char **argv, ImgCheckArgs *a);
/* Checks and says so; an exit status.  For JSON output *@ret_json is the result, NULL if there is
 * none, instead of being printed; the caller's. */
int co_main_fn img_check_one(const ImgCheckArgs *a, QObject **ret_json);

#endif

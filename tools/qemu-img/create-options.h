/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of a format that stand behind -o: for create, convert, measure, amend. */
#ifndef IMG_CREATE_OPTIONS_H
#define IMG_CREATE_OPTIONS_H

#include "img.h"

/* Values for the options that a format has, and the file that it lies in; none is set at first. */
typedef struct ImgOptions ImgOptions;

/* Those of @format, and of files if @with_file.  NULL: "Unknown file format", or its images cannot
 * be created. */
ImgOptions *any_fn img_options_new(const char *format, bool with_file, Error **errp);
void any_fn img_options_free(ImgOptions *o);                    /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImgOptions, img_options_free)

/* Is @list well-formed enough for others to be added behind it? */
bool any_fn img_options_is_list(const char *list);
/* @list (NULL: none) and @more, one list; takes @list. */
char *any_fn img_options_join(char *list, const char *more);
/* Does `help` stand in it? */
bool any_fn img_options_wants_help(const char *list);
/* What there is, to standard output; @amend: that can be changed later. */
void any_fn img_options_print_help(const ImgOptions *o, bool amend);

/* `name=value,...`; false with an unknown name, or a value that cannot be. */
bool any_fn img_options_parse(ImgOptions *o, const char *list, Error **errp);
/* The same where the image exists: only what can be changed. */
bool any_fn img_options_parse_amend(ImgOptions *o, const char *list, Error **errp);
bool any_fn img_options_set(ImgOptions *o, const char *name, const char *value, Error **errp);
bool any_fn img_options_has(const ImgOptions *o, const char *name);
/* As given, or the default; NULL: neither. */
const char *any_fn img_options_get(const ImgOptions *o, const char *name);
/* Bytes; 0: not given. */
uint64_t any_fn img_options_size(const ImgOptions *o);
/* "cluster_size=65536 size=1048576 ...": what is given or has a default; caller frees. */
char *any_fn img_options_text(const ImgOptions *o);

/* All of them, checked; strings stay those of @o. */
bool any_fn img_options_to_create(const ImgOptions *o, BdrvCreateOptions *ret, Error **errp);

#endif

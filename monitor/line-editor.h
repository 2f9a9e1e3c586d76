/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line of text at a time, as somebody types it. */
#ifndef MONITOR_LINE_EDITOR_H
#define MONITOR_LINE_EDITOR_H

#include "qemu/osdep.h"

typedef struct LineEditor LineEditor;

/*
 * @prompt (a literal) stands in front of each line.  @put gets what is to be shown, as a terminal
 * understands it; text that is only typed on is shown as it is.
 */
LineEditor *line_editor_new(const char *prompt,
                            void (*put)(void *opaque, const char *text, size_t len), void *opaque);
void line_editor_free(LineEditor *e);

/* Shows the prompt and what has been typed. */
void line_editor_show(LineEditor *e);

/* Takes one byte.  The line, without its end, if that was the end of one, else NULL; caller
 * frees. */
char *line_editor_feed(LineEditor *e, char c);

/* What a Tab completes: @name returns number @i of the words that can stand behind @first (NULL: of
 * the first words), or NULL. */
void line_editor_set_names(LineEditor *e, const char *(*name)(const char *first, size_t i));

G_DEFINE_AUTOPTR_CLEANUP_FUNC(LineEditor, line_editor_free)

#endif

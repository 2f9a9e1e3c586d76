/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's commands in the process of a test, without a monitor's channel: requests are JSON
 * text, and the working directory is one of the test's own.
 */
#ifndef TESTS_QMP_RIG_H
#define TESTS_QMP_RIG_H

#include "block/backend.h"
#include "qobject/qobject.h"

/* Once: the main loop, in the working directory @dir.  NULL: an empty one, removed at exit. */
void qmp_rig_init(const char *dir);
/* Run @entry in a coroutine of the main loop. */
void qmp_rig_run(CoroutineEntry *entry, void *opaque);

/* "NAME FORMAT SIZE [BACKING BACKING-FORMAT]": make an image; aborts if it cannot. */
void co_main_fn qmp_rig_make_disk(const char *words);

/*
 * Run @request; NULL on success, else what the error says (caller frees).  A command that
 * starts jobs, or tells one to end, is over when they are, or wait for another command, and fails
 * if they do.  @ret_data: the error's data as JSON, or NULL if it has none; may be NULL.
 */
char *co_main_fn qmp_rig_try(const char *request, char **ret_data);
/* The same; aborts the test on an error. */
void co_main_fn qmp_rig_cmd(const char *request);
/* Dismiss the jobs that have ended. */
void co_main_fn qmp_rig_dismiss_jobs(void);
/* What @request returns, as JSON; caller frees. */
char *co_main_fn qmp_rig_query(const char *request);

/* --drive @value; aborts if it fails. */
void co_main_fn qmp_rig_add_drive(const char *value);
/* A backend of the test's own on the node that @name leads to: a guest that writes. */
BlockBackend *co_main_fn qmp_rig_guest_new(const char *name);
/* The guest's writes are of so many bytes; all of @pattern.  Both abort if they fail. */
#define QMP_RIG_GUEST_BYTES 8192
void co_main_fn qmp_rig_guest_write(BlockBackend *guest, int64_t offset, uint8_t pattern);
void co_main_fn qmp_rig_guest_expect(BlockBackend *guest, int64_t offset, uint8_t pattern);
void co_main_fn qmp_rig_guest_free(BlockBackend *guest);
/* A guest that comes to @name, writes the same and flushes it, and leaves. */
void co_main_fn qmp_rig_write(const char *name, int64_t offset, uint8_t pattern);

/*
 * All that a failed command has to leave as it was, as text: what the queries say, files with size
 * and content (not the content of those named in @changing, separated by blanks), descriptors and
 * locks. Waits until what ends by itself has ended.
 */
char *co_main_fn qmp_rig_state(const char *changing);

/* End everything that commands have made, and empty the directory; aborts if anything is left. */
void co_main_fn qmp_rig_reset(void);

#endif

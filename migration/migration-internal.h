/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files about migration. */
#ifndef MIGRATION_INTERNAL_H
#define MIGRATION_INTERNAL_H

#include "migration/migration.h"
#include "qemu/channel.h"

/* As migration_init() got them. */
extern const MigrationOps *migration_ops;

/* outgoing.c, incoming.c */
void co_main_fn migration_outgoing_shutdown(void);
void co_main_fn migration_incoming_shutdown(void);

/* ---- settings.c ---- */

bool main_fn migration_has(MigrationCapability capability);
/* The name on the way of the bitmap @name of @node, and that of the node; NULL: it stays.  Both are
 * borrowed. */
const char *main_fn migration_alias_of(const char *node, const char *name,
                                       const char **ret_node_alias, bool *ret_persistent);
/* The other way round; *@ret_node is the node's name. */
const char *main_fn migration_name_of(const char *node_alias, const char *alias,
                                      const char **ret_node, bool *ret_persistent);

/* ---- progress.c ---- */

/* The event is sent, if these are wanted. */
void main_fn migration_set_status(MigrationStatus status);
MigrationStatus main_fn migration_status(void);
/* It failed; @err is taken and told by query-migrate. */
void main_fn migration_set_failed(Error *err);
/* It begins: times are counted from here. */
void main_fn migration_begin(void);
void main_fn migration_note_downtime(int64_t ns);

/* ---- address.c ---- */

typedef struct MigrationPipe {
    Channel chan;
    pid_t child;                    /* of exec:, 0: none */
} MigrationPipe;

/* To whoever listens at @uri.  aio_co_cancel() ends it. */
bool co_main_fn migration_connect(const char *uri, MigrationPipe *ret, Error **errp);
/* From whoever connects to @uri: listens, calls @listening, and waits for one. */
bool co_main_fn migration_accept(const char *uri, void (*listening)(void), MigrationPipe *ret,
                                 Error **errp);
/* Closes it, and waits for a command to end. 0 or -errno; -EPIPE: the command has failed. */
int co_main_fn migration_pipe_close(MigrationPipe *p);
/* What it is waited for ends: a command is killed. */
void main_fn migration_pipe_abort(MigrationPipe *p);

/* ---- stream.c ---- */

/* What goes over: text, and the bits of bitmaps. */
typedef struct MigrationStream {
    QDict *state;                   /* owned */
    GPtrArray *bits;                /* of GBytes, one for each of its "bitmaps" */
} MigrationStream;

void main_fn migration_stream_clear(MigrationStream *s);
bool co_main_fn migration_send(Channel *c, const MigrationStream *s, Error **errp);
bool co_main_fn migration_recv(Channel *c, MigrationStream *ret, Error **errp);

/* ---- bitmaps.c ---- */

/* Those that go with the machine, into @s. */
void main_fn migration_add_bitmaps(MigrationStream *s);
/* Those of @s become bitmaps of the nodes here. */
bool co_main_fn migration_make_bitmaps(const MigrationStream *s, Error **errp);

#endif

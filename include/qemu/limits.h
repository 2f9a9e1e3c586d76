/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits that others can meet: what a client, an image, a file or a disk can make the daemon
 * hold or wait for.  They stand together because they lean on each other; the relations at the end
 * are checked by the compiler.  Limits of one format's fields are in that format's folder.
 */
#ifndef QEMU_LIMITS_H
#define QEMU_LIMITS_H

#include "qemu/osdep.h"

/* ---- images ---- */

/* Largest offset of any image: bytes; room for rounding up without overflow. */
#define BDRV_MAX_LENGTH (INT64_MAX - (INT64_C(1) << 30))
/* Images of the longest chain that is opened, and made by snapshots. */
#define BDRV_MAX_CHAIN 10000
/* Nodes that lie on each other as files, under one node. */
#define BDRV_MAX_NESTING 100
/* Bytes of a name that an image can record (qcow2 specification, "backing file name"), and so of a
 * file on which a snapshot is possible. */
#define BDRV_MAX_BACKING_NAME 1023

/* ---- time that commands take at most ---- */

/* How long guests are held where a command does not say: the time after which Windows thaws its
 * file systems by itself. */
#define BDRV_HOLD_TIMEOUT_NS (10 * NS_PER_SEC)
/* How long the steps of a transaction in which guests run may take where a command does not say. */
#define TRANSACTION_RUN_TIMEOUT_NS (300 * NS_PER_SEC)
/* Making files may take this long even where the command has less time for the rest. */
#define TRANSACTION_MAKE_TIMEOUT_NS (10 * NS_PER_SEC)

/* ---- copying ---- */

/* Bytes of a piece, and pieces that one job copies at a time: together the memory that it takes. */
#define BDRV_COPY_CHUNK (1 * MiB)
#define BDRV_COPY_PARALLEL 8

/* ---- threads that disks take: what one of them leaves to the others ---- */

#define THREAD_POOL_MAX_THREADS 1056
/* The rest is a reserve for commands. */
#define THREAD_POOL_MAX_IO_THREADS 1024
/* Requests of one file that have a thread each. */
#define FILE_MAX_WAITING 32
/* Of these, changes of a local file in the page cache or of its blocks.  The file system makes them
 * wait for each other, so more threads make nothing faster. */
#define FILE_MAX_CHANGING 4

/* Coroutines up to which those are started that somebody outside asks for: requests, connections.
 * Each takes two mappings, a stack and its guard page, of which Linux gives a process 65,530. */
#define COROUTINE_MAX_ASKED_FOR 28000

/* ---- NBD ---- */

/* The longest string a peer may send or be sent: export name, description, query. */
#define NBD_MAX_STRING 4096
/* The most that a request may read or write: what we announce as the maximum block size. */
#define NBD_MAX_PAYLOAD (32 * MiB)
/* The most that is read (and thrown away) of an option that we do not know. */
#define NBD_MAX_OPTION (32 * MiB)
/* Requests of one connection, and bytes of their payloads. */
#define NBD_MAX_IN_FLIGHT 256
#define NBD_MAX_IN_FLIGHT_BYTES (64 * MiB)
/* Requests of one export that run: so many always may, where there are stacks at all; more only up
 * to this part of the stacks that are left. */
#define NBD_EXPORT_OWN_STACKS 64
#define NBD_EXPORT_STACKS_PART 8
/* What a request holds at least, bytes: a stack as far as it is used, and its answer's header. */
#define NBD_REQUEST_MEMORY (16 * KiB)
/* Bitmaps that an export shows. */
#define NBD_MAX_BITMAPS 60
/* Memory that the requests of all clients of all servers may hold together, bytes; an option
 * changes it. */
#define NBD_DEFAULT_MEMORY (256 * MiB)
/* As a client: requests of one connection, and bytes of their payloads; connections of one disk,
 * where the server lets a client have several; what connecting and choosing an export may take. */
#define NBD_CLIENT_MAX_IN_FLIGHT 64
#define NBD_CLIENT_MAX_IN_FLIGHT_BYTES (64 * MiB)
#define NBD_CLIENT_MAX_CONNECTIONS 4
#define NBD_CLIENT_HANDSHAKE_SECONDS 20
/* Connections a server takes unless told otherwise; further ones wait to be accepted. */
#define NBD_DEFAULT_MAX_CONNECTIONS 100
/* A client that has not chosen an export by then is dropped. */
#define NBD_DEFAULT_HANDSHAKE_SECONDS 10

/* ---- QMP ---- */

/* Of one text: nesting, bytes of a token, tokens, bytes of all its values. */
#define JSON_MAX_NESTING 1024
#define JSON_MAX_TOKEN_BYTES (64 * MiB)
#define JSON_MAX_TOKENS (2 * MiB)
#define JSON_MAX_HEAP (256 * MiB)
/* Deepest nesting of typed values; JSON itself may be deeper (in members of type `any`). */
#define QAPI_MAX_NESTING 256
/* Levels of a chain that an answer nests; what lies below is asked for by its name, or flat. */
#define QMP_MAX_CHAIN_NESTING 200
/* Unread bytes from which a session runs no further command / from which its client is cut off. */
#define MONITOR_LONG_BYTES (1 * MiB)
#define MONITOR_MAX_BYTES (64 * MiB)
/* Memory of a channel of the kind ringbuf; bytes of a channel's log that wait for its disk. */
#define MONITOR_MAX_RING (64 * MiB)
#define MONITOR_MAX_LOG_BYTES (1 * MiB)
/* Clients on one channel at once; further ones are greeted when one of these leaves. */
#define MONITOR_MAX_CLIENTS 64

/* ---- how they lean on each other ---- */

_Static_assert(2 * COROUTINE_MAX_ASKED_FOR <= 65530 - 8192,
               "what the daemon does by itself always gets a stack");
_Static_assert(NBD_MAX_PAYLOAD <= NBD_MAX_IN_FLIGHT_BYTES,
               "one request fits into a connection");
_Static_assert(NBD_MAX_IN_FLIGHT_BYTES <= NBD_DEFAULT_MEMORY,
               "one connection does not take it all");
_Static_assert(16 * NBD_EXPORT_OWN_STACKS * NBD_EXPORT_STACKS_PART < COROUTINE_MAX_ASKED_FOR,
               "one export does not take it all");
_Static_assert(THREAD_POOL_MAX_IO_THREADS < THREAD_POOL_MAX_THREADS,
               "commands always have a thread");
_Static_assert(32 * FILE_MAX_WAITING <= THREAD_POOL_MAX_IO_THREADS,
               "31 files that hang leave another one");
_Static_assert(FILE_MAX_CHANGING <= FILE_MAX_WAITING,
               "a part is not more than the whole");
_Static_assert(TRANSACTION_MAKE_TIMEOUT_NS <= TRANSACTION_RUN_TIMEOUT_NS,
               "the shorter is the shorter");
_Static_assert(BDRV_HOLD_TIMEOUT_NS <= TRANSACTION_RUN_TIMEOUT_NS,
               "running takes what holding may");
_Static_assert(QAPI_MAX_NESTING <= JSON_MAX_NESTING,
               "what is typed has been read");
_Static_assert(QMP_MAX_CHAIN_NESTING * 2 + 16 <= JSON_MAX_NESTING,
               "clients like us read our answers");
_Static_assert(JSON_MAX_TOKEN_BYTES <= JSON_MAX_HEAP,
               "one token fits");
_Static_assert(MONITOR_LONG_BYTES < MONITOR_MAX_BYTES,
               "a client is waited for before it is cut off");
_Static_assert(BDRV_MAX_BACKING_NAME < 4096,
               "a name that can be recorded is one that the kernel takes");

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How to open and how to create nodes, as plain structs.  block/graph/options.c makes
 * them from QAPI types and option strings; nothing below knows QAPI.
 * Strings and sub-structs are owned by the struct that holds them.
 */
#ifndef BLOCK_OPTIONS_H
#define BLOCK_OPTIONS_H

#include "block/types.h"
#include "qemu/sockets.h"

typedef struct BdrvChildOption {
    char *reference;                /* name of an existing node, or NULL */
    BdrvOpenOptions *options;       /* a node to open, or NULL */
    struct BlockDriverState *node;  /* an existing node, hidden or not, or NULL */
    bool is_null;                   /* `null`: explicitly none */
} BdrvChildOption;

typedef enum FileLocking { FILE_LOCKING_AUTO, FILE_LOCKING_ON, FILE_LOCKING_OFF } FileLocking;
typedef enum FileAio {
    FILE_AIO_AUTO, FILE_AIO_THREADS, FILE_AIO_IO_URING,
    FILE_AIO_NATIVE,            /* as AUTO, and only without the page cache */
} FileAio;

typedef struct FileOpenOptions {            /* file, host_device */
    char *filename;
    FileLocking locking;
    FileAio aio;
    /* >= 0: an open descriptor of the file to use instead of opening @filename (taken over on
     * success and on failure). */
    int fd;
} FileOpenOptions;

typedef struct NullOpenOptions {            /* null-co */
    int64_t size;                           /* bytes */
    int64_t latency_ns;
    bool read_zeroes;
    bool has_size, has_read_zeroes;         /* given, and so part of its name */
} NullOpenOptions;

typedef struct NbdOpenOptions {             /* nbd */
    SocketSpec server;
    char *export;                           /* NULL: the default one, "" */
    char *dirty_bitmap;                     /* a context that block status is asked of; or NULL */
    char *tls_creds;                        /* or NULL */
    uint32_t reconnect_delay, open_timeout; /* seconds */
} NbdOpenOptions;

typedef struct RawOpenOptions {
    int64_t offset;
    int64_t size;                           /* -1: to the end of the file */
    /* Nobody has said that it is raw: what is written to its first bytes must not make it look like
     * another format, in which the next user would take it to be. */
    bool probed;
} RawOpenOptions;

/* Kinds of metadata that a write is checked for not hitting (overlap-check). */
typedef enum Qcow2OverlapKind {
    QCOW2_OL_HEADER           = 1 << 0,
    QCOW2_OL_ACTIVE_L1        = 1 << 1,
    QCOW2_OL_ACTIVE_L2        = 1 << 2,
    QCOW2_OL_REFTABLE         = 1 << 3,
    QCOW2_OL_REFBLOCK         = 1 << 4,
    QCOW2_OL_SNAPSHOT_TABLE   = 1 << 5,
    QCOW2_OL_INACTIVE_L1      = 1 << 6,
    QCOW2_OL_INACTIVE_L2      = 1 << 7,
    QCOW2_OL_BITMAP_DIRECTORY = 1 << 8,
} Qcow2OverlapKind;

#define QCOW2_OL_CONSTANT (QCOW2_OL_HEADER | QCOW2_OL_ACTIVE_L1 | QCOW2_OL_REFTABLE | \
                           QCOW2_OL_SNAPSHOT_TABLE | QCOW2_OL_BITMAP_DIRECTORY)
#define QCOW2_OL_CACHED   (QCOW2_OL_CONSTANT | QCOW2_OL_ACTIVE_L2 | QCOW2_OL_REFBLOCK | \
                           QCOW2_OL_INACTIVE_L1)
#define QCOW2_OL_ALL      (QCOW2_OL_CACHED | QCOW2_OL_INACTIVE_L2)

/* Seconds; the default, as QEMU's. */
#define QCOW2_CACHE_CLEAN_INTERVAL 600

typedef struct Qcow2OpenOptions {
    int64_t cache_size;                     /* bytes of metadata kept in memory; -1: default */
    int64_t l2_cache_size, refcount_cache_size;     /* -1: from cache_size */
    /* bytes; checked, and else a hint that is not taken: pages have one size.  0: not given */
    int64_t l2_cache_entry_size;
    int64_t cache_clean_interval;           /* seconds, 0: never */
    bool lazy_refcounts, has_lazy_refcounts;
    unsigned overlap_checks;                /* QCOW2_OL_ bits; default QCOW2_OL_CACHED */
    bool discard_request, discard_snapshot, discard_other;  /* pass-discard-* */
    bool has_discard_request, has_discard_snapshot, has_discard_other;
    /* Open an image that is marked as damaged, or whose refcounts are, too: for bdrv_co_check().
     * Until it was repaired all writes fail. */
    bool for_check;
    /* Open only what the image itself has, to tell of it: the data file that it names is not
     * opened, and what is there cannot be read. */
    bool for_info;
    char *snapshot;                         /* id or name of an internal snapshot that is the disk;
                                             * read-only. NULL: none. Owned */
} Qcow2OpenOptions;

typedef struct BlkdebugRule {
    char *event;                    /* named event that triggers the rule, or NULL: any I/O */
    char *iotype;                   /* read, write, write-zeroes, discard, flush, truncate, ... or
                                     * NULL: all */
    int error;                      /* errno to return; 0: none (delay only) */
    int64_t sector;                 /* 512-byte sector the request must touch; -1: any */
    int64_t nth;                    /* on the n-th match, counted from 1; 0: on every match */
    int64_t delay_ns;
    bool once;                      /* disarm after it struck */
    int state, new_state;           /* blkdebug state machine; 0: any / no change */
} BlkdebugRule;

/* A GDestroyNotify of BlkdebugRule; block/filters/blkdebug.c. */
void any_fn blkdebug_rule_free(void *opaque);

typedef struct BlkdebugOpenOptions {
    GPtrArray *rules;               /* of BlkdebugRule */
    char *config;                   /* a file with more rules; NULL: none */
    /* Bytes, 0: those of the child.  What requests have to be multiples of, how long they may be. */
    int64_t align, max_transfer;
    int64_t opt_write_zero, max_write_zero;
    int64_t opt_discard, max_discard;
    unsigned takes_claims, refuses_claims;      /* on the child, beside what users want: CLAIM_ */
} BlkdebugOpenOptions;

typedef struct CorOpenOptions {             /* copy-on-read */
    char *bottom;                   /* name of a node, or NULL */
} CorOpenOptions;

/* The largest cluster that copy-before-write copies as one: what it has in memory for each copy. */
#define CBW_MAX_CLUSTER_SIZE (INT64_C(64) << 20)

typedef struct CbwOpenOptions {             /* copy-before-write */
    BdrvChildOption target;
    char *bitmap_node, *bitmap_name;        /* or NULL */
    bool break_snapshot;                    /* on-cbw-error */
    uint32_t timeout_s;                     /* 0: none */
    int64_t min_cluster_size;               /* bytes; 0: not given */
} CbwOpenOptions;

typedef struct ThrottleOpenOptions {        /* throttle */
    char *group;                    /* name of a throttle group */
} ThrottleOpenOptions;

typedef struct BlkverifyOpenOptions {       /* blkverify; the raw node is the file */
    BdrvChildOption test;
    char *test_name;                /* instead of @test: an image whose format is found out when it
                                     * is opened; or NULL */
} BlkverifyOpenOptions;

typedef struct BlklogwritesOpenOptions {    /* blklogwrites */
    BdrvChildOption log;
    int64_t sector_size;                    /* bytes */
    bool has_sector_size, append;
    uint64_t update_interval;               /* entries */
} BlklogwritesOpenOptions;

typedef struct PreallocateOpenOptions {     /* preallocate */
    int64_t align, size;                    /* bytes */
} PreallocateOpenOptions;

typedef struct QuorumOpenOptions {          /* quorum */
    GArray *children;                       /* of BdrvChildOption */
    int64_t threshold;                      /* votes */
    bool blkverify, rewrite_corrupted, fifo;
} QuorumOpenOptions;

struct BdrvOpenOptions {
    char *driver;                   /* "qcow2" */
    char *node_name;                /* NULL: a generated one, "#block123" */
    bool read_only;
    bool auto_read_only;            /* read-only if it cannot be opened for writing */
    bool force_share;               /* no claims against others; read-only */
    bool cache_direct, cache_no_flush;
    bool discard;                   /* pass discards down ("unmap"), else ignore them */
    BdrvDetectZeroes detect_zeroes;

    BdrvChildOption file, backing, data_file;   /* all empty: none given, the image's own is used */
    bool no_backing_open;           /* leave the image's recorded backing file alone: the
                                     * caller links one */

    union {
        FileOpenOptions file;
        NbdOpenOptions nbd;
        NullOpenOptions null;
        RawOpenOptions raw;
        Qcow2OpenOptions qcow2;
        BlkdebugOpenOptions blkdebug;
        CorOpenOptions cor;
        CbwOpenOptions cbw;
        ThrottleOpenOptions throttle;
        BlkverifyOpenOptions blkverify;
        BlklogwritesOpenOptions blklogwrites;
        PreallocateOpenOptions preallocate;
        QuorumOpenOptions quorum;
    } u;                            /* by @driver */
};

/* Everything at its default for @driver, which must be a driver's name. */
BdrvOpenOptions *any_fn bdrv_open_options_new(const char *driver);
void any_fn bdrv_open_options_free(BdrvOpenOptions *opts);
/* What @child owns is freed: for the options_clear of a driver with children of its own. */
void any_fn bdrv_child_option_clear(BdrvChildOption *child);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvOpenOptions, bdrv_open_options_free)

typedef enum BdrvPrealloc {
    BDRV_PREALLOC_OFF, BDRV_PREALLOC_METADATA, BDRV_PREALLOC_FALLOC, BDRV_PREALLOC_FULL,
} BdrvPrealloc;

typedef struct Qcow2CreateOptions {
    int version;                    /* 2 or 3 */
    int64_t cluster_size;           /* bytes */
    bool extended_l2;
    int refcount_bits;
    bool lazy_refcounts;
    int compression_type;           /* 0 zlib, 1 zstd */
    char *backing_file, *backing_fmt;   /* recorded as they are, never opened; or NULL */
    char *data_file;                /* name to record, or NULL */
    bool data_file_raw;
} Qcow2CreateOptions;

struct BdrvCreateOptions {
    int64_t size;                   /* virtual, bytes */
    bool has_name;                  /* the file can be found already: after a power cut it must be
                                     * the whole image, or nothing that could be taken for one */
    BdrvPrealloc preallocation;
    union {
        Qcow2CreateOptions qcow2;
    } u;
};

/* Absolute name of @name as found next to @base_filename (or in the working directory if NULL).
 * Caller frees. */
char *any_fn bdrv_path_combine(const char *base_filename, const char *name);
#endif

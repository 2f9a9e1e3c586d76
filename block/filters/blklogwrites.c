/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blklogwrites: what is written to its file is logged to another node, in the format of Linux'
 * device mapper target log-writes, whose tools replay it: a superblock, then entries, each a
 * sector that describes a request and, for writes, its data.
 *
 * (L1) An entry follows when the request it describes has ended well, and the request ends when
 *      the entry is written.
 * (L2) What is logged before the entry of a flush was written to the file before that flush began:
 *      nothing is logged meanwhile.
 * (L3) The superblock counts only entries that are in the log.
 */
#include "qemu/osdep.h"

#include "block/filters/pass.h"
#include "qemu/bswap.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)
#define LOG_VERSION 1
#define MIN_SECTOR 512
#define MAX_SECTOR (8 * MiB)

typedef enum LogFlags {
    LOG_FLUSH = 1 << 0, LOG_FUA = 1 << 1, LOG_DISCARD = 1 << 2,
} LogFlags;

typedef struct LogState {
    BdrvLink *log;
    int64_t sector_size;            /* bytes, a power of two */
    uint64_t update_interval;       /* entries between two updates of the superblock */
    CoMutex lock;                   /* guards the rest, and all writes to the log */
    int64_t next_sector;            /* of the log: where the next entry goes */
    uint64_t entries;
} LogState;

static const BdrvLinkRole role_log = { .name = "log" };

static void log_options_clear(BdrvOpenOptions *opts)
{
    bdrv_child_option_clear(&opts->u.blklogwrites.log);
}

/* ---- the log ---- */

static int co_fn write_superblock(LogState *s)
{
    uint8_t *buf = bdrv_try_blockalign(s->sector_size);

    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, s->sector_size);
    le64_store(buf, LOG_MAGIC);
    le64_store(buf + 8, LOG_VERSION);
    le64_store(buf + 16, s->entries);
    le32_store(buf + 24, s->sector_size);
    int ret = bdrv_co_pwrite(s->log, 0, s->sector_size, buf, 0);
    free(buf);
    return ret ?: bdrv_co_flush(s->log, 0);
}

/* The sector of an entry, and behind it @qiov (NULL: zeroes) filled up to @data_sectors. */
static int co_fn write_entry(LogState *s, const uint8_t *header, IoVec *qiov,
                             int64_t data_sectors)
{
    int64_t at = s->next_sector * s->sector_size, data = data_sectors * s->sector_size;
    g_autofree uint8_t *tail = NULL;
    g_auto(IoVec) v;

    iovec_init(&v);
    iovec_add(&v, (void *)header, s->sector_size);
    if (qiov) {
        iovec_add_slice(&v, qiov, 0, qiov->size);
        if ((int64_t)qiov->size < data) {
            tail = g_malloc0(data - qiov->size);
            iovec_add(&v, tail, data - qiov->size);
        }
    }
    int ret = bdrv_co_pwritev(s->log, at, v.size, &v, 0);
    if (ret == 0 && !qiov && data_sectors > 0) {
        ret = bdrv_co_pwrite_zeroes(s->log, at + s->sector_size, data, 0);
    }
    return ret;
}

/* Under the lock.  @qiov: of a write, NULL: zeroes, or no data (discards and flushes). */
static int co_fn log_request(LogState *s, int64_t offset, int64_t bytes, IoVec *qiov,
                             unsigned flags)
{
    int64_t sectors = DIV_ROUND_UP(bytes, s->sector_size);
    int64_t data_sectors = flags & LOG_DISCARD ? 0 : sectors;
    uint8_t *header = bdrv_try_blockalign(s->sector_size);

    if (!header) {
        return -ENOMEM;
    }
    memset(header, 0, s->sector_size);
    le64_store(header, offset / s->sector_size);
    le64_store(header + 8, sectors);
    le64_store(header + 16, flags);
    int ret = write_entry(s, header, qiov, data_sectors);
    free(header);
    if (ret < 0) {
        return ret;                 /* the next one takes its place */
    }
    s->next_sector += 1 + data_sectors;
    s->entries++;
    return flags & LOG_FLUSH || s->entries % s->update_interval == 0 ? write_superblock(s) : 0;
}

/* ---- opening ---- */

static bool co_main_fn read_superblock(LogState *s, Error **errp)
{
    uint8_t buf[MIN_SECTOR];
    int ret = bdrv_co_pread(s->log, 0, sizeof(buf), buf);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read log superblock");
    } else if (le64_load(buf) != LOG_MAGIC) {
        error_setg(errp, "Invalid log superblock magic");
    } else if (le64_load(buf + 8) != LOG_VERSION) {
        error_setg(errp, "Unsupported log version %" PRIu64, le64_load(buf + 8));
    } else {
        s->entries = le64_load(buf + 16);
        s->sector_size = le32_load(buf + 24);
        return true;
    }
    return false;
}

/* Goes through the entries of the log to its end. */
static bool co_main_fn find_end(LogState *s, Error **errp)
{
    int64_t sectors = bdrv_length(s->log->bs) / s->sector_size;
    uint8_t buf[32];

    for (uint64_t i = 0; i < s->entries; i++) {
        int ret = s->next_sector < sectors
                  ? bdrv_co_pread(s->log, s->next_sector * s->sector_size, sizeof(buf), buf) : -EIO;
        uint64_t n = ret == 0 && !(le64_load(buf + 16) & LOG_DISCARD) ? le64_load(buf + 8) : 0;
        if (ret < 0 || n >= (uint64_t)(sectors - s->next_sector)) {
            error_setg_errno(errp, ret < 0 ? -ret : EINVAL, "Failed to read log entry %" PRIu64, i);
            return false;
        }
        s->next_sector += 1 + n;
    }
    return true;
}

static bool co_main_fn start_log(LogState *s, const BlklogwritesOpenOptions *o, Error **errp)
{
    s->next_sector = 1;
    s->sector_size = o->has_sector_size ? o->sector_size : MIN_SECTOR;
    if (o->append && o->has_sector_size) {
        error_setg(errp, "log-append and log-sector-size are mutually exclusive");
        return false;
    }
    if (o->append && !read_superblock(s, errp)) {
        return false;
    }
    if (s->sector_size < MIN_SECTOR || s->sector_size > MAX_SECTOR ||
        !IS_POWER_OF_2(s->sector_size)) {
        error_setg(errp, "Invalid log sector size %" PRId64, s->sector_size);
        return false;
    }
    if (o->append) {
        return find_end(s, errp);
    }
    int ret = write_superblock(s);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write log superblock");
    }
    return ret == 0;
}

static bool co_main_fn log_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    LogState *s = bs->opaque;
    const BlklogwritesOpenOptions *o = &opts->u.blklogwrites;

    s->log = bdrv_open_own_child(bs, &role_log, &o->log, errp);
    if (!s->log) {
        return false;
    }
    if (s->log->bs->read_only) {
        error_setg(errp, "Cannot open node '%s': its log node '%s' is read-only", bs->node_name,
                   s->log->bs->node_name);
        return false;
    }
    s->update_interval = o->update_interval;
    if (s->update_interval == 0) {
        error_setg(errp, "Invalid log superblock update interval 0");
        return false;
    }
    if (!start_log(s, o, errp)) {
        return false;
    }
    co_mutex_init(&s->lock);
    filter_pass_open(bs);
    bs->limits.request_alignment = s->sector_size;
    return true;
}

static int co_main_fn log_close(BlockDriverState *bs)
{
    LogState *s = bs->opaque;

    int ret = write_superblock(s);
    co_mutex_destroy(&s->lock);
    return ret;
}

/* Nobody else has anything to do with the log. */
static void main_fn log_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                     unsigned allows, unsigned *ret_needs, unsigned *ret_allows)
{
    if (link->role == &role_log) {
        *ret_needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE;
        *ret_allows = CLAIM_READ;
        return;
    }
    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
}

/* ---- requests ---- */

/* The request has ended with @ret. */
static int co_fn log_after(BlockDriverState *bs, int ret, int64_t offset, int64_t bytes,
                           IoVec *qiov, unsigned flags)
{
    LogState *s = bs->opaque;

    if (ret < 0) {
        return ret;
    }
    co_mutex_lock(&s->lock);
    ret = log_request(s, offset, bytes, qiov, flags);
    co_mutex_unlock(&s->lock);
    return ret;
}

static int co_fn log_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                             unsigned flags)
{
    int ret = filter_pwritev(bs, offset, bytes, qiov, flags);

    return log_after(bs, ret, offset, bytes, qiov, flags & BDRV_REQ_FUA ? LOG_FUA : 0);
}

static int co_fn log_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                   unsigned flags)
{
    return log_after(bs, filter_pwrite_zeroes(bs, offset, bytes, flags), offset, bytes, NULL, 0);
}

static int co_fn log_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return log_after(bs, filter_pdiscard(bs, offset, bytes), offset, bytes, NULL, LOG_DISCARD);
}

static int co_fn log_flush(BlockDriverState *bs, unsigned flags)
{
    LogState *s = bs->opaque;

    co_mutex_lock(&s->lock);
    int ret = bdrv_co_flush(bs->file, flags) ?: log_request(s, 0, 0, NULL, LOG_FLUSH);
    co_mutex_unlock(&s->lock);
    return ret;
}

static const BlockDriver bdrv_blklogwrites = {
    .name               = "blklogwrites",
    .instance_size      = sizeof(LogState),
    .is_protocol        = true,
    .is_filter          = true,
    .options_clear      = log_options_clear,
    .co_open            = log_open,
    .co_close           = log_close,
    .co_reopen_prepare  = filter_cannot_reopen,
    .co_preadv          = filter_preadv,
    .co_pwritev         = log_pwritev,
    .co_pwrite_zeroes   = log_pwrite_zeroes,
    .co_pdiscard        = log_pdiscard,
    .co_flush           = log_flush,
    .co_block_status    = filter_block_status,
    .co_truncate        = filter_truncate,
    .co_extend          = filter_extend,
    .co_getlength       = filter_getlength,
    .child_claims       = log_child_claims,
};

static void blklogwrites_init(void)
{
    bdrv_register(&bdrv_blklogwrites);
}

block_init(blklogwrites_init);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block_set_io_throttle, and limits as clients see them. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "qapi/qapi-commands.h"

/* One limit from its three members; negative numbers have no meaning. */
static bool set_rate(ThrottleRate *r, int64_t avg, bool has_max, int64_t max, bool has_length,
                     int64_t length, Error **errp)
{
    if (avg < 0 || (has_max && max < 0) || (has_length && length < 0)) {
        error_setg(errp, "bps/iops/max values must be within [0, 1000000000000000]");
        return false;
    }
    r->avg = avg;
    r->max = has_max ? max : 0;
    r->burst_s = has_length ? length : 1;
    return true;
}

static bool set_iops_size(ThrottleConfig *cfg, bool has_size, int64_t size, Error **errp)
{
    if (has_size && size < 0) {
        error_setg(errp, "the size of an I/O must not be negative");
        return false;
    }
    cfg->iops_size = has_size ? size : 0;
    return true;
}

#define RATE(cfg, LIMIT, q, name, errp)                                                     \
    set_rate(&(cfg)->rate[LIMIT], (q)->name, (q)->has_##name##_max, (q)->name##_max,        \
             (q)->has_##name##_max_length, (q)->name##_max_length, errp)

/* A member that may be absent. */
#define OPTIONAL_RATE(cfg, LIMIT, q, name, errp)                                            \
    set_rate(&(cfg)->rate[LIMIT], (q)->has_##name ? (q)->name : 0, (q)->has_##name##_max,   \
             (q)->name##_max, (q)->has_##name##_max_length, (q)->name##_max_length, errp)

bool any_fn blockdev_throttle_config(const ThrottleLimits *q, ThrottleConfig *cfg, Error **errp)
{
    throttle_config_init(cfg);
    return !q || (OPTIONAL_RATE(cfg, THROTTLE_BPS_TOTAL, q, bps_total, errp) &&
                  OPTIONAL_RATE(cfg, THROTTLE_BPS_READ, q, bps_read, errp) &&
                  OPTIONAL_RATE(cfg, THROTTLE_BPS_WRITE, q, bps_write, errp) &&
                  OPTIONAL_RATE(cfg, THROTTLE_IOPS_TOTAL, q, iops_total, errp) &&
                  OPTIONAL_RATE(cfg, THROTTLE_IOPS_READ, q, iops_read, errp) &&
                  OPTIONAL_RATE(cfg, THROTTLE_IOPS_WRITE, q, iops_write, errp) &&
                  set_iops_size(cfg, q->has_iops_size, q->iops_size, errp) &&
                  throttle_config_check(cfg, errp));
}

static bool config_of_command(const BlockIOThrottle *q, ThrottleConfig *cfg, Error **errp)
{
    throttle_config_init(cfg);
    return RATE(cfg, THROTTLE_BPS_TOTAL, q, bps, errp) &&
           RATE(cfg, THROTTLE_BPS_READ, q, bps_rd, errp) &&
           RATE(cfg, THROTTLE_BPS_WRITE, q, bps_wr, errp) &&
           RATE(cfg, THROTTLE_IOPS_TOTAL, q, iops, errp) &&
           RATE(cfg, THROTTLE_IOPS_READ, q, iops_rd, errp) &&
           RATE(cfg, THROTTLE_IOPS_WRITE, q, iops_wr, errp) &&
           set_iops_size(cfg, q->has_iops_size, q->iops_size, errp) &&
           throttle_config_check(cfg, errp);
}

bool co_main_fn blockdev_throttle_backend(BlockBackend *blk, const char *group_name,
                                        const ThrottleConfig *cfg, Error **errp)
{
    if (!throttle_config_is_limited(cfg)) {
        return blk_set_throttle_group(blk, NULL);
    }
    ThrottleGroup *group = throttle_group_find(group_name);
    group = group ? throttle_group_ref(group) : throttle_group_new(group_name, errp);
    if (!group) {
        return false;
    }
    throttle_group_set(group, cfg);
    bool there = blk_set_throttle_group(blk, group);
    throttle_group_unref(group);
    if (!there) {
        error_setg(errp, "The device was removed meanwhile");
    }
    return there;
}

bool co_main_fn qmp_block_set_io_throttle(const BlockIOThrottle *args, Error **errp)
{
    const char *name = args->device ?: args->id;
    BlockBackend *drive = name ? blk_find(name) : NULL;
    BlockBackend *export = name ? blk_find_export(name) : NULL;
    /* A device is a drive, an id is that of who uses one: a device of a machine, or an export. */
    BlockBackend *user = args->id ? blk_find_device(args->id) ?: export : NULL;
    BlockBackend *blk = args->device ? drive ?: export : user ?: drive;
    ThrottleConfig cfg;

    if (!args->device == !args->id) {
        error_setg(errp, "Need exactly one of 'device' and 'id'");
        return false;
    }
    if (!blk) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", name);
        return false;
    }
    return config_of_command(args, &cfg, errp) &&
           blockdev_throttle_backend(blk, args->group ?: name, &cfg, errp);
}

void main_fn blockdev_throttle_info(BlockBackend *blk, BlockDeviceInfo *info)
{
    ThrottleGroup *group = blk_throttle_group(blk);
    ThrottleConfig cfg;

    if (!group) {
        return;
    }
    throttle_group_get(group, &cfg);
    info->group = g_strdup(throttle_group_name(group));
    info->bps = cfg.rate[THROTTLE_BPS_TOTAL].avg;
    info->bps_rd = cfg.rate[THROTTLE_BPS_READ].avg;
    info->bps_wr = cfg.rate[THROTTLE_BPS_WRITE].avg;
    info->iops = cfg.rate[THROTTLE_IOPS_TOTAL].avg;
    info->iops_rd = cfg.rate[THROTTLE_IOPS_READ].avg;
    info->iops_wr = cfg.rate[THROTTLE_IOPS_WRITE].avg;
    info->has_bps_max = (info->bps_max = cfg.rate[THROTTLE_BPS_TOTAL].max);
    info->has_bps_rd_max = (info->bps_rd_max = cfg.rate[THROTTLE_BPS_READ].max);
    info->has_bps_wr_max = (info->bps_wr_max = cfg.rate[THROTTLE_BPS_WRITE].max);
    info->has_iops_max = (info->iops_max = cfg.rate[THROTTLE_IOPS_TOTAL].max);
    info->has_iops_rd_max = (info->iops_rd_max = cfg.rate[THROTTLE_IOPS_READ].max);
    info->has_iops_wr_max = (info->iops_wr_max = cfg.rate[THROTTLE_IOPS_WRITE].max);
    info->has_iops_size = (info->iops_size = cfg.iops_size);
}

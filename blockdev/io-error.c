/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Failed requests and damaged images as clients see them: the policy, the events, and letting
 * stopped disks run. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/quorum.h"
#include "block/corruption.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"

BlkOnError any_fn blockdev_on_error(bool has_policy, BlockdevOnError policy, bool is_write)
{
    static const BlkOnError policies[] = {
        [BLOCKDEV_ON_ERROR_REPORT] = BLK_ON_ERROR_REPORT,
        [BLOCKDEV_ON_ERROR_IGNORE] = BLK_ON_ERROR_IGNORE,
        [BLOCKDEV_ON_ERROR_ENOSPC] = BLK_ON_ERROR_ENOSPC,
        [BLOCKDEV_ON_ERROR_STOP]   = BLK_ON_ERROR_STOP,
    };

    if (!has_policy) {
        return BLK_ON_ERROR_REPORT;
    }
    if (policy == BLOCKDEV_ON_ERROR_AUTO) {
        return is_write ? BLK_ON_ERROR_ENOSPC : BLK_ON_ERROR_REPORT;
    }
    return policies[policy];
}

static void main_fn io_error(const BlkIoError *e)
{
    static const BlockErrorAction actions[] = {
        [BLK_ERROR_ACTION_REPORT] = BLOCK_ERROR_ACTION_REPORT,
        [BLK_ERROR_ACTION_IGNORE] = BLOCK_ERROR_ACTION_IGNORE,
        [BLK_ERROR_ACTION_STOP]   = BLOCK_ERROR_ACTION_STOP,
    };
    EventBlockIoErrorArgs ev = {
        .device = (char *)e->device, .node_name = (char *)e->node_name,
        .operation = e->is_write ? IO_OPERATION_TYPE_WRITE : IO_OPERATION_TYPE_READ,
        .action = actions[e->action], .has_nospace = true,
        .nospace = e->error == -ENOSPC, .reason = (char *)g_strerror(-e->error),
    };

    qapi_event_send_block_io_error(&ev);
}

/* The name of a disk that leads to the node, or "". */
static const char *main_fn disk_of(const char *node_name)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        BlockDriverState *bs = bdrv_skip_implicit(blk_bs(blk));

        if (bs && !blk_user(blk) && strcmp(bs->node_name, node_name) == 0) {
            return blk_name(blk);
        }
    }
    return "";
}

static void main_fn image_corrupted(const BdrvCorruption *c)
{
    EventBlockImageCorruptedArgs ev = {
        .device = (char *)disk_of(c->node_name), .node_name = (char *)c->node_name,
        .msg = (char *)c->text, .has_offset = c->bytes != 0, .offset = c->offset,
        .has_size = c->bytes != 0, .size = c->bytes, .fatal = c->fatal,
    };

    qapi_event_send_block_image_corrupted(&ev);
}

static void main_fn quorum_reports(const QuorumReport *r)
{
    const char *disk = r->failure ? disk_of(r->node_name) : "";
    EventQuorumFailureArgs failure = {
        .reference = (char *)(disk[0] ? disk : r->node_name), .sector_num = r->sector,
        .sectors_count = r->sectors,
    };
    EventQuorumReportBadArgs bad = {
        .type = (QuorumOpType)r->op, .error = (char *)r->error, .node_name = (char *)r->node_name,
        .sector_num = r->sector, .sectors_count = r->sectors,
    };

    if (r->failure) {
        qapi_event_send_quorum_failure(&failure);
    } else {
        qapi_event_send_quorum_report_bad(&bad);
    }
}

void main_fn blockdev_io_error_init(void)
{
    quorum_set_report_cb(quorum_reports);
    blk_set_io_error_cb(io_error);
    bdrv_set_corruption_cb(image_corrupted);
}

static bool (*run_machine)(Error **errp);

void main_fn blockdev_set_run(bool (*run)(Error **errp))
{
    run_machine = run;
}

bool co_main_fn qmp_cont(Error **errp)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        blk_continue(blk);
    }
    return !run_machine || run_machine(errp);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a snapshot in the image, deleting one, going back to one: whatever fails, and whenever the
 * power goes, it has happened or it has not, and nothing else changes. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "tests/lib/qcow2-rig.h"

#define DISK_BYTES (512 * KiB)
#define PART (DISK_BYTES / 4)

typedef enum Operation {
    CREATE, DELETE_FIRST, DELETE_LAST, APPLY_FIRST, APPLY_LAST, OPERATIONS,
} Operation;

static const char *const names[OPERATIONS] = {
    "create", "delete the first", "delete the last", "apply the first", "apply the last",
};

typedef struct Variant {
    const char *name;
    int version;
    int64_t cluster_size;
    bool extended_l2, lazy;
} Variant;

static const Variant variants[] = {
    { "default", 3, 65536 },
    { "small-clusters", 3, 512 },
    { "v2", 2, 4096 },
    { "extended-l2", 3, 16384, .extended_l2 = true },
    { "lazy", 3, 4096, .lazy = true },
};

typedef struct Bed {
    const Variant *v;
    Operation op;
    MemDisk *d, *crashed;
    BdrvLink *link;
    unsigned states;
    bool judging;
} Bed;

/* What the disk has, in four parts, at snapshot "1", at "2", and now. */
static const uint8_t patterns[3][4] = {
    { 0x11, 0x12, 0x00, 0x14 }, { 0x21, 0x12, 0x00, 0x24 }, { 0x31, 0x32, 0x00, 0x24 },
};

static void co_main_fn write_state(Bed *b, int state)
{
    for (int i = 0; i < 4; i++) {
        uint8_t now = patterns[state][i];
        g_autofree uint8_t *buf = g_malloc(PART);

        memset(buf, now, PART);
        if (now && (state == 0 || patterns[state - 1][i] != now)) {
            g_assert_cmpint(bdrv_co_pwrite(b->link, i * PART, PART, buf,
                                           i == 3 ? BDRV_REQ_WRITE_COMPRESSED : 0), ==, 0);
        }
    }
}

static void co_main_fn bed_setup(Bed *b, const Variant *v, Operation op)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);
    BdrvSnapshot sn = { .name = (char *)"before" };

    *b = (Bed){ .v = v, .op = op, .d = memdisk_new("disk"), .crashed = memdisk_new("crashed") };
    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    rig_create(b->d, &opts);
    b->link = rig_open(b->d, NULL);
    for (int state = 0; state < 3; state++) {
        write_state(b, state);
        if (state < 2) {
            g_assert_cmpint(bdrv_co_snapshot_create(b->link->bs, &sn), ==, 0);
        }
    }
    rig_flush(b->link);
}

static void co_main_fn bed_teardown(Bed *b)
{
    rig_close(b->link);
    memdisk_free(b->d);
    memdisk_free(b->crashed);
}

static bool co_main_fn run(Bed *b)
{
    BdrvSnapshot sn = { .name = (char *)"new" };
    BlockDriverState *bs = b->link->bs;

    switch (b->op) {
    case CREATE:
        return bdrv_co_snapshot_create(bs, &sn) == 0;
    case DELETE_FIRST:
        return bdrv_co_snapshot_delete(bs, "1", NULL, NULL);
    case DELETE_LAST:
        return bdrv_co_snapshot_delete(bs, "2", NULL, NULL);
    case APPLY_FIRST:
        return bdrv_co_snapshot_apply(b->link, "1", NULL);
    default:
        return bdrv_co_snapshot_apply(b->link, "2", NULL);
    }
}

/* ---- judging ---- */

static bool co_main_fn has_state(BdrvLink *link, int state)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_length(link->bs), ==, DISK_BYTES);
    g_assert_cmpint(bdrv_co_pread(link, 0, DISK_BYTES, buf), ==, 0);
    for (int64_t i = 0; i < DISK_BYTES; i++) {
        if (buf[i] != patterns[state][i / PART]) {
            return false;
        }
    }
    return true;
}

static int applied_state(const Bed *b)
{
    return b->op == APPLY_FIRST ? 0 : b->op == APPLY_LAST ? 1 : 2;
}

/* The snapshots of the image in @d have what they had. */
static void co_main_fn judge_snapshots(MemDisk *d, const GPtrArray *list, const char *what)
{
    for (guint i = 0; i < list->len; i++) {
        const BdrvSnapshot *sn = list->pdata[i];
        BdrvLink *link = rig_open(d, &(RigOpen){ .read_only = true, .snapshot = sn->id });

        if (!has_state(link, atoi(sn->id) - 1)) {
            g_error("%s: snapshot %s has something else", what, sn->id);
        }
        rig_close(link);
    }
}

/* True: the operation has happened. */
static bool judge_list(const Bed *b, const GPtrArray *list, const char *what)
{
    bool first = bdrv_snapshot_find(list, "1", NULL), second = bdrv_snapshot_find(list, "2", NULL);
    bool third = bdrv_snapshot_find(list, "3", NULL);
    bool ok = list->len == (guint)first + second + third && (first || b->op == DELETE_FIRST) &&
              (second || b->op == DELETE_LAST) && (!third || b->op == CREATE);

    if (!ok) {
        g_error("%s: there are %u snapshots", what, list->len);
    }
    return b->op == CREATE ? third : b->op == DELETE_FIRST ? !first : !second;
}

/* The closed image in @d. @expect: 1: the operation has happened, 0: it has not, -1: either. */
static void co_main_fn judge(Bed *b, MemDisk *d, const char *what, int expect)
{
    /* An image of version 2 cannot say that it is to be repaired. */
    BdrvLink *link = rig_open(d, &(RigOpen){ .for_check = b->v->version == 2 });

    if (b->v->version == 2) {
        BdrvCheckResult res;
        g_assert_true(bdrv_co_check(link->bs, BDRV_FIX_ALL, NULL, &res, &error_abort));
        bdrv_check_result_clear(&res);
    }
    rig_check(link);
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(link->bs, &error_abort);
    bool happened = judge_list(b, list, what);
    if (b->op >= APPLY_FIRST) {
        happened = has_state(link, applied_state(b));
    }
    if (!happened || b->op < APPLY_FIRST) {
        g_assert_true(has_state(link, 2));
    }
    if (expect >= 0 && happened != expect) {
        g_error("%s, %s: it has %shappened", what, names[b->op], happened ? "" : "not ");
    }
    rig_close(link);
    judge_snapshots(d, list, what);
    link = rig_open(d, NULL);
    rig_write(link, 0, DISK_BYTES, 0x99);               /* life goes on */
    rig_check(link);
    rig_close(link);
    judge_snapshots(d, list, what);
    b->states++;
}

/* ---- the power goes ---- */

static void co_main_fn at_sync(MemDisk *d, void *opaque)
{
    Bed *b = opaque;

    if (b->judging || memdisk_unsynced(d) == 0) {
        return;
    }
    b->judging = true;
    for (int i = 0; i < (SANITIZE_ADDRESS ? 2 : 6); i++) {
        g_autofree char *what = g_strdup_printf("%s, %s, state %u", b->v->name, names[b->op],
                                                b->states);
        MemCrash how = i < 2 ? (MemCrash)i : MEM_CRASH_RANDOM + i % 3;

        memdisk_crash(d, b->crashed, how, b->states);
        judge(b, b->crashed, what, -1);
    }
    b->judging = false;
}

static void co_main_fn test_power_cut_leaves_the_old_or_the_new(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (Operation op = 0; op < OPERATIONS; op++) {
            Bed b;

            bed_setup(&b, &variants[i], op);
            memdisk_on_sync(b.d, at_sync, &b);
            g_assert_true(run(&b));
            memdisk_on_sync(b.d, NULL, NULL);
            g_test_message("%s, %s: %u states", variants[i].name, names[op], b.states);
            g_assert_cmpuint(b.states, >, 5);
            bed_teardown(&b);
        }
    }
}

/* ---- operations fail ---- */

/* False: it did not get as far as operation @after. */
static bool co_main_fn run_with_fault(const Variant *v, Operation op, int64_t after,
                                      MemFailure failure, bool sticky)
{
    Bed b;

    bed_setup(&b, v, op);
    int64_t before = memdisk_operations(b.d);
    memdisk_set_failure(b.d, failure);
    memdisk_fail(b.d, after, EIO, sticky);
    bool ok = run(&b);
    bool struck = memdisk_operations(b.d) - before > after;
    memdisk_fail(b.d, -1, 0, false);
    /* After a failure of the header's write nobody knows until it is written once more. */
    g_autofree char *what = g_strdup_printf("%s, failure %d at %" PRId64 "%s", v->name, failure,
                                            after, sticky ? " and on" : "");
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(b.link->bs, &error_abort);
    if (op < APPLY_FIRST) {
        g_assert_cmpint(judge_list(&b, list, what), ==, ok);
        g_assert_true(has_state(b.link, 2));
    } else {
        g_assert_true(has_state(b.link, ok ? applied_state(&b) : 2));
    }
    rig_close(b.link);
    judge(&b, b.d, what, ok);
    b.link = rig_open(b.d, NULL);
    bed_teardown(&b);
    return struck;
}

static void co_main_fn test_what_fails_has_not_happened(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (int k = 0; k < OPERATIONS * 4; k++) {
            int64_t after = k % RIG_STRIDE;

            while (run_with_fault(&variants[i], k / 4, after,
                                  k & 1 ? MEM_FAILURE_ALL : MEM_FAILURE_NOTHING, k & 2)) {
                after += RIG_STRIDE;
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/snapshots/power-cut-leaves-the-old-or-the-new",
            test_power_cut_leaves_the_old_or_the_new);
    rig_add("/qcow2/snapshots/what-fails-has-not-happened", test_what_fails_has_not_happened);
    return g_test_run();
}

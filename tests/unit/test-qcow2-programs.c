/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All small programs instead of some large ones: every sequence of up to three operations out of
 * write (in two places), zero, discard, flush, snapshot, grow and shrink on a tiny image; the power
 * is cut in front of every sync, with every choice of what was not synced; and every call to a disk
 * below fails once, and for ever, with nothing done, all done, a part done, or, if it is a flush,
 * with some of what it covered dropped for good.
 *
 * The image is consistent in each state, what a flush acknowledged is there, nothing shows that was
 * never written, a base shows what it showed when its snapshot was taken, and a command that failed
 * has changed no size.
 *
 * -m thorough: all failing calls of all programs on all images (`make programs`).
 */
#include "qemu/osdep.h"

#include "tests/lib/qcow2-rig.h"

#define SECTOR 512
#define CLUSTER 1024
#define TABLE (CLUSTER / 8 * CLUSTER)           /* what an L2 table maps */
#define SMALL (64 * KiB + SECTOR)
#define MEDIUM (TABLE + 32 * KiB)
#define LARGE (2 * TABLE + 32 * KiB)
#define SECTORS (LARGE / SECTOR)
#define MAX_OPS 3
#define MAX_DISKS (MAX_OPS + 1)
/* Up to so many operations that were not synced all choices are made, of more so many at random. */
#define ALL_SUBSETS 6
#define SOME_SUBSETS 24
/* The same of a flush that makes up for one that failed. */
#define ALL_SUBSETS_AFTER_FAULT 2
#define SOME_SUBSETS_AFTER_FAULT 6

/* ---- programs ---- */

typedef enum Kind { WRITE, WRITE_FAR, ZERO, DISCARD, FLUSH, SNAPSHOT, GROW, SHRINK, KINDS } Kind;

static const char *const kind_names[KINDS] = {
    "write", "write-far", "zero", "discard", "flush", "snapshot", "grow", "shrink",
};

typedef struct Range {
    int64_t offset, bytes;
} Range;

/* Parts of clusters at both ends, and all of them across the end of the small disk or in another
 * table. */
static const Range ranges[KINDS] = {
    [WRITE] = { 63 * KiB + SECTOR, 3 * KiB },
    [WRITE_FAR] = { TABLE - SECTOR, 2 * KiB },
    [ZERO] = { 64 * KiB, 2 * KiB + SECTOR },
    [DISCARD] = { 62 * KiB, 4 * KiB },
};

typedef struct Variant {
    const char *name;
    bool lazy, data_file, backing;
    int refcount_bits;
    int64_t cache_size;
} Variant;

static const Variant variants[] = {
    { "plain" },
    { "lazy", .lazy = true },
    { "data-file", .data_file = true },
    { "backing", .backing = true },
    { "wide-refcounts", .refcount_bits = 64, .cache_size = 1 },
};

/* ---- the model: values as bits of a set ---- */

#define BIT_ZERO 1u
#define BIT_BASE 2u
#define BIT_OLD 4u
#define BIT_OP(i) (8u << (i))

typedef struct Content {
    int64_t bytes;
    uint8_t may[SECTORS];           /* what a sector may be */
} Content;

typedef struct Run {
    const Variant *v;
    Kind ops[MAX_OPS];
    int n, at;                      /* operations, and the one that runs */
    MemDisk *base_disk, *data, *disks[MAX_DISKS];
    MemDisk *crashed[MAX_DISKS], *data_crashed;
    BdrvLink *base, *links[MAX_DISKS];
    int top;                        /* of @disks */
    Content now;                    /* what is read */
    Content after_cut;              /* what may be found after a power cut */
    GArray *sizes;                  /* of int64_t: those that may be found */
    Content frozen[MAX_DISKS];      /* below the top: what was there when its snapshot was taken */
    bool cuts;                      /* the power is cut in front of each sync */
    bool failing;                   /* a call may fail: what is asked for need not succeed */
    bool faulted;                   /* a call has failed */
    uint64_t seed;
} Run;

static struct {
    uint64_t programs, cuts, faults;
} total;

static void G_GNUC_PRINTF(2, 3) G_GNUC_NORETURN wrong(const Run *r, const char *fmt, ...)
{
    g_autoptr(GString) text = g_string_new(r->v->name);
    va_list ap;

    for (int i = 0; i < r->n; i++) {
        g_string_append_printf(text, "%s%s", i ? ", " : ": ", kind_names[r->ops[i]]);
    }
    g_string_append_printf(text, " (at %d): ", r->at);
    va_start(ap, fmt);
    g_string_append_vprintf(text, fmt, ap);
    va_end(ap);
    g_error("%s", text->str);
}

static void add_value(Content *c, Range r, uint8_t bit)
{
    for (int64_t i = r.offset / SECTOR; i < (r.offset + r.bytes) / SECTOR && i < SECTORS; i++) {
        c->may[i] |= bit;
    }
}

static void set_value(Content *c, Range r, uint8_t bit)
{
    for (int64_t i = r.offset / SECTOR; i < (r.offset + r.bytes) / SECTOR && i < SECTORS; i++) {
        c->may[i] = bit;
    }
}

/* The disk of @link shows what @c allows; with @learn that is from now on all that is allowed. */
static void co_fn compare(const Run *r, BdrvLink *link, Content *c, const char *what, bool learn)
{
    int64_t bytes = bdrv_length(link->bs);
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(bdrv_co_pread(link, 0, bytes, buf), ==, 0);
    for (int64_t i = 0; i < bytes / SECTOR; i++) {
        const uint8_t *p = buf + i * SECTOR;
        uint8_t value = *p ?: BIT_ZERO;
        if (memcmp(p, p + 1, SECTOR - 1) != 0 || !IS_POWER_OF_2(value) || !(c->may[i] & value)) {
            wrong(r, "%s: sector %" PRId64 " is %#x, may be %#x", what, i, value, c->may[i]);
        }
        if (learn) {
            c->may[i] = value;
        }
    }
}

/* From now on @bytes is the size that is found after a power cut. */
static void set_size(Run *r, int64_t bytes)
{
    g_array_set_size(r->sizes, 0);
    g_array_append_val(r->sizes, bytes);
}

static bool may_have_size(const Run *r, int64_t bytes)
{
    for (guint i = 0; i < r->sizes->len; i++) {
        if (g_array_index(r->sizes, int64_t, i) == bytes) {
            return true;
        }
    }
    return false;
}

/* ---- judging a state ---- */

static void co_main_fn judge(Run *r, const char *what)
{
    BdrvLink *below = r->base, *links[MAX_DISKS];
    BdrvCheckResult res;

    for (int i = 0; i <= r->top; i++) {
        links[i] = rig_open(r->crashed[i], &(RigOpen){ .backing = below,
                                                       .data_file = i ? NULL : r->data_crashed });
        below = links[i];
        bdrv_co_check(below->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
        if (res.corruptions) {
            wrong(r, "%s: damaged: %s", what, res.first);
        }
        bdrv_check_result_clear(&res);
        if (i < r->top) {
            compare(r, below, &r->frozen[i], what, false);
        }
    }
    if (!may_have_size(r, bdrv_length(below->bs))) {
        wrong(r, "%s: it has %" PRId64 " bytes", what, bdrv_length(below->bs));
    }
    compare(r, below, &r->after_cut, what, false);
    for (int i = r->top; i >= 0; i--) {
        rig_close(links[i]);
    }
    total.cuts++;
}

static unsigned unsynced(const Run *r)
{
    unsigned n = r->data ? memdisk_unsynced(r->data) : 0;

    for (int i = 0; i <= r->top; i++) {
        n += memdisk_unsynced(r->disks[i]);
    }
    return n;
}

/* @subset has a bit for each operation of each disk. */
static void crash_all(Run *r, MemCrash how, uint64_t subset)
{
    for (int i = 0; i <= r->top; i++) {
        unsigned n = memdisk_unsynced(r->disks[i]);
        memdisk_crash(r->disks[i], r->crashed[i], how, subset);
        subset = how == MEM_CRASH_SUBSET ? n < 64 ? subset >> n : 0 : subset + 1;
    }
    if (r->data) {
        memdisk_crash(r->data, r->data_crashed, how, subset);
    }
}

static void co_main_fn cut(Run *r)
{
    unsigned n = unsynced(r);
    bool all = n <= (r->faulted ? ALL_SUBSETS_AFTER_FAULT : ALL_SUBSETS);
    unsigned states = all ? 1u << n : r->faulted ? SOME_SUBSETS_AFTER_FAULT : SOME_SUBSETS;

    for (unsigned i = 0; i < states; i++) {
        uint64_t subset = all ? i : i == 0 ? 0 : i == 1 ? UINT64_MAX : rig_random(&r->seed);
        crash_all(r, MEM_CRASH_SUBSET, subset);
        judge(r, "a power cut");
    }
    for (unsigned i = 0; i < MIN(n, 2); i++) {
        crash_all(r, MEM_CRASH_TORN, rig_random(&r->seed));
        judge(r, "a power cut between sectors");
    }
}

static void co_main_fn at_sync(MemDisk *d, void *opaque)
{
    Run *r = opaque;

    /* Who syncs while states are judged (a timer) is not stopped again. */
    if (r->cuts && unsynced(r) > 0) {
        r->cuts = false;
        cut(r);
        r->cuts = true;
    }
}

/* ---- operations ---- */

static void expect(const Run *r, int ret)
{
    if (ret < 0 && !r->failing) {
        wrong(r, "it failed: %s", g_strerror(-ret));
    }
}

static int co_fn data_op(Run *r, Kind kind, BdrvLink *link, Range range, uint8_t bit)
{
    uint8_t buf[4 * KiB];

    switch (kind) {
    case ZERO:
        return bdrv_co_pwrite_zeroes(link, range.offset, range.bytes, BDRV_REQ_MAY_UNMAP);
    case DISCARD:
        return bdrv_co_pdiscard(link, range.offset, range.bytes);
    default:
        memset(buf, bit, range.bytes);
        return bdrv_co_pwrite(link, range.offset, range.bytes, buf, 0);
    }
}

static void co_fn change_data(Run *r, Kind kind)
{
    BdrvLink *link = r->links[r->top];
    Range range = ranges[kind];
    uint8_t bit = kind == ZERO || kind == DISCARD ? BIT_ZERO : BIT_OP(r->at);

    range.bytes = MIN(range.bytes, r->now.bytes - range.offset);
    if (range.bytes <= 0) {
        return;                     /* behind the end of what was shrunk */
    }
    add_value(&r->after_cut, range, bit);
    int ret = data_op(r, kind, link, range, bit);
    expect(r, ret);
    if (ret == 0 && kind != DISCARD) {
        set_value(&r->now, range, bit);
    } else {
        add_value(&r->now, range, bit);
    }
}

static bool co_fn flush(Run *r, unsigned flags)
{
    int ret = bdrv_co_flush(r->links[r->top], flags);

    expect(r, ret);
    if (ret == 0) {
        memcpy(r->after_cut.may, r->now.may, sizeof(r->now.may));
        set_size(r, r->now.bytes);
    }
    return ret == 0;
}

static MemDisk *new_disk(const char *name, int i, Run *r)
{
    g_autofree char *full = g_strdup_printf("%s%d", name, i);
    MemDisk *d = memdisk_new(full);

    memdisk_on_sync(d, at_sync, r);
    return d;
}

/* As the command does it: the base is settled, the new image is whole and durable before it is
 * used. */
static void co_main_fn take_snapshot(Run *r)
{
    BdrvCreateOptions opts = rig_create_options(r->now.bytes);
    int i = r->top + 1;

    if (!flush(r, BDRV_FLUSH_SETTLE)) {
        return;
    }
    opts.u.qcow2.cluster_size = CLUSTER;
    opts.u.qcow2.backing_file = (char *)"below";
    if (!rig_try_create(r->disks[i], &opts, NULL)) {
        expect(r, -EIO);
        return;
    }
    r->links[i] = rig_try_open(r->disks[i], &(RigOpen){ .backing = r->links[r->top] }, NULL);
    if (!r->links[i]) {
        expect(r, -EIO);
        return;
    }
    r->frozen[r->top] = r->now;
    r->top = i;
}

static void co_fn change_size(Run *r, int64_t bytes)
{
    int64_t old = r->now.bytes;

    g_array_append_val(r->sizes, bytes);
    bool ok = bdrv_co_truncate(r->links[r->top], bytes, BDRV_PREALLOC_OFF, NULL);
    int64_t is = bdrv_length(r->links[r->top]->bs);
    expect(r, ok ? 0 : -EIO);
    if (is != (ok ? bytes : old)) {
        wrong(r, "the size is %" PRId64 " now, and the command has %s", is,
              ok ? "succeeded" : "failed");
    }
    if (ok) {
        Range gone = { MIN(old, bytes), LARGE - MIN(old, bytes) };
        r->now.bytes = bytes;
        set_size(r, bytes);
        set_value(&r->now, gone, BIT_ZERO);
        set_value(&r->after_cut, gone, BIT_ZERO);
    }
}

static void co_main_fn run_op(Run *r, Kind kind)
{
    if (kind <= DISCARD) {
        change_data(r, kind);
    } else if (kind == FLUSH) {
        flush(r, 0);
    } else if (kind == SNAPSHOT) {
        take_snapshot(r);
    } else {
        change_size(r, kind == GROW ? LARGE : SMALL);
    }
}

/* ---- a run ---- */

static void co_main_fn make_base(Run *r)
{
    BdrvCreateOptions opts = rig_create_options(MEDIUM);

    opts.u.qcow2.cluster_size = CLUSTER;
    r->base_disk = memdisk_new("base");
    rig_create(r->base_disk, &opts);
    r->base = rig_open(r->base_disk, NULL);
    rig_write(r->base, 60 * KiB, 8 * KiB, BIT_BASE);
    rig_flush(r->base);
    set_value(&r->now, (Range){ 60 * KiB, 8 * KiB }, BIT_BASE);
}

static void co_main_fn set_up(Run *r)
{
    BdrvCreateOptions opts = rig_create_options(MEDIUM);

    r->now.bytes = MEDIUM;
    set_value(&r->now, (Range){ 0, LARGE }, BIT_ZERO);
    opts.u.qcow2.cluster_size = CLUSTER;
    opts.u.qcow2.lazy_refcounts = r->v->lazy;
    opts.u.qcow2.refcount_bits = r->v->refcount_bits ?: 16;
    if (r->v->backing) {
        make_base(r);
        opts.u.qcow2.backing_file = (char *)"base";
    }
    if (r->v->data_file) {
        r->data = new_disk("data", 0, r);
        r->data_crashed = memdisk_new("data-crashed");
        opts.u.qcow2.data_file = (char *)"data0";
    }
    for (int i = 0; i < MAX_DISKS; i++) {
        g_autofree char *name = g_strdup_printf("crashed%d", i);
        r->disks[i] = new_disk("disk", i, r);
        r->crashed[i] = memdisk_new(name);
    }
    rig_create(r->disks[0], &opts);
    r->links[0] = rig_open(r->disks[0], &(RigOpen){ .backing = r->base, .data_file = r->data,
                                                    .cache_size = r->v->cache_size,
                                                    .discard_other = r->seed & 1 });
    rig_write(r->links[0], 63 * KiB, 2 * KiB, BIT_OLD);
    set_value(&r->now, (Range){ 63 * KiB, 2 * KiB }, BIT_OLD);
    rig_flush(r->links[0]);
    r->after_cut = r->now;
    r->sizes = g_array_new(FALSE, FALSE, sizeof(int64_t));
    set_size(r, MEDIUM);
}

static void co_main_fn tear_down(Run *r)
{
    r->cuts = false;
    g_array_unref(r->sizes);
    for (int i = r->top; i >= 0; i--) {
        rig_close(r->links[i]);
    }
    for (int i = 0; i < MAX_DISKS; i++) {
        memdisk_free(r->disks[i]);
        memdisk_free(r->crashed[i]);
    }
    if (r->data) {
        memdisk_free(r->data);
        memdisk_free(r->data_crashed);
    }
    if (r->base) {
        rig_close(r->base);
        memdisk_free(r->base_disk);
    }
}

static void co_main_fn run_all_ops(Run *r)
{
    for (r->at = 0; r->at < r->n; r->at++) {
        run_op(r, r->ops[r->at]);
    }
}

static void co_main_fn run_with_cuts(const Variant *v, const Kind *ops, int n)
{
    Run r = { .v = v, .n = n, .seed = total.programs };

    memcpy(r.ops, ops, n * sizeof(*ops));
    set_up(&r);
    r.cuts = true;
    run_all_ops(&r);
    cut(&r);
    compare(&r, r.links[r.top], &r.now, "at the end", true);
    flush(&r, 0);
    cut(&r);
    tear_down(&r);
    total.programs++;
}

/* ---- calls that fail ---- */

typedef struct Fault {
    int disk;                       /* -1: the data file */
    int64_t after;
    bool forever;
    MemFailure failure;
} Fault;

/* New data, for which space is taken: from what nothing needs, whatever failed before. */
static void co_main_fn write_more(Run *r)
{
    Range range = { 16 * KiB, 3 * KiB };
    uint8_t bit = BIT_OP(MAX_OPS);

    add_value(&r->after_cut, range, bit);
    int ret = data_op(r, WRITE, r->links[r->top], range, bit);
    expect(r, ret);
    if (ret == 0) {
        set_value(&r->now, range, bit);
    } else {
        add_value(&r->now, range, bit);
    }
    crash_all(r, MEM_CRASH_KEEP_ALL, 0);
    judge(r, "a write after the failure");
}

/* Everything that can be judged when a call has failed and others work again, or do not. */
static void co_main_fn judge_after_fault(Run *r, const Fault *f)
{
    r->at = r->n;
    for (int how = 0; how < 4; how++) {
        crash_all(r, how, rig_random(&r->seed));
        judge(r, "a power cut after the failure");
    }
    if (f->failure == MEM_FAILURE_DROPPED && bdrv_co_flush(r->links[r->top], 0) < 0) {
        return;                     /* as it must until it is opened anew */
    }
    r->failing = f->failure == MEM_FAILURE_DROPPED;
    compare(r, r->links[r->top], &r->now, "after the failure", true);
    write_more(r);
    r->cuts = r->faulted = true;
    if (flush(r, 0)) {
        crash_all(r, MEM_CRASH_DROP_ALL, 0);
        judge(r, "a flush after the failure");
    }
}

/* False: the program has no so many calls. */
static bool co_main_fn run_with_fault(const Variant *v, const Kind *ops, int n, const Fault *f)
{
    Run r = { .v = v, .n = n, .failing = true, .seed = total.faults };

    memcpy(r.ops, ops, n * sizeof(*ops));
    set_up(&r);
    MemDisk *d = f->disk < 0 ? r.data : r.disks[f->disk];
    int64_t before = memdisk_operations(d);
    memdisk_set_failure(d, f->failure);
    memdisk_fail(d, f->after, EIO, f->forever);
    run_all_ops(&r);
    memdisk_fail(d, -1, 0, false);
    bool struck = memdisk_operations(d) - before > f->after;
    if (struck) {
        judge_after_fault(&r, f);
        total.faults++;
    }
    tear_down(&r);
    return struck;
}

static void co_main_fn fail_every_call(const Variant *v, const Kind *ops, int n, unsigned stride)
{
    static const struct {
        bool forever;
        MemFailure failure;
    } ways[] = {
        { false, MEM_FAILURE_NOTHING }, { true, MEM_FAILURE_NOTHING }, { false, MEM_FAILURE_ALL },
        { false, MEM_FAILURE_TORN }, { false, MEM_FAILURE_DROPPED }, { true, MEM_FAILURE_TORN },
    };
    static unsigned turn;
    int disks = 1;

    for (int i = 0; i < n; i++) {
        disks += ops[i] == SNAPSHOT;
    }
    for (int disk = v->data_file ? -1 : 0; disk < disks; disk++) {
        bool struck = true;
        for (int64_t after = 0; struck; after++) {
            for (size_t i = 0; i < G_N_ELEMENTS(ways) && struck; i++) {
                Fault f = { disk, after, ways[i].forever, ways[i].failure };
                if (turn++ % stride == 0) {
                    struck = run_with_fault(v, ops, n, &f);
                } else if (after > 200) {
                    struck = false;
                }
            }
        }
    }
}

/* ---- all of them ---- */

typedef void Each(const Variant *v, const Kind *ops, int n);

static void co_main_fn for_all_programs(const Variant *v, int longest, Each *each)
{
    for (int n = 1; n <= longest; n++) {
        int count = 1;
        for (int i = 0; i < n; i++) {
            count *= KINDS;
        }
        for (int number = 0; number < count; number++) {
            Kind ops[MAX_OPS];
            for (int i = 0, left = number; i < n; i++, left /= KINDS) {
                ops[i] = left % KINDS;
            }
            each(v, ops, n);
        }
    }
}

static void co_main_fn fail_each(const Variant *v, const Kind *ops, int n)
{
    bool all = g_test_thorough() || (n < MAX_OPS && !SANITIZE_ADDRESS);

    fail_every_call(v, ops, n, all ? 1 : SANITIZE_ADDRESS ? 41 : 97);
}

static void co_main_fn test_every_program_survives_every_power_cut(void)
{
    total.programs = total.cuts = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        int longest = SANITIZE_ADDRESS ? MAX_OPS - 1 : MAX_OPS;
        for_all_programs(&variants[i], longest, run_with_cuts);
    }
    g_test_message("%" PRIu64 " programs, %" PRIu64 " power cuts", total.programs, total.cuts);
    g_assert_cmpuint(total.programs, >=, 5 * (KINDS + KINDS * KINDS));
}

static void co_main_fn test_every_program_survives_every_failing_call(void)
{
    total.faults = total.cuts = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        int longest = g_test_thorough() || (i == 0 && !SANITIZE_ADDRESS) ? MAX_OPS : MAX_OPS - 1;
        for_all_programs(&variants[i], longest, fail_each);
    }
    g_test_message("%" PRIu64 " failing calls, %" PRIu64 " states", total.faults, total.cuts);
    g_assert_cmpuint(total.faults, >, SANITIZE_ADDRESS ? 100 : 1000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/programs/survive-every-power-cut", test_every_program_survives_every_power_cut);
    rig_add("/qcow2/programs/survive-every-failing-call",
            test_every_program_survives_every_failing_call);
    return g_test_run();
}

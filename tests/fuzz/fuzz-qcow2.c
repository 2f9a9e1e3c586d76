/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A qcow2 image of any bytes, and everything that can be done to one.  Input: a program of
 * PROGRAM_BYTES, that is how it is opened and a list of actions, then the image.
 *
 * Whatever the image is, nothing crashes or hangs, and an error comes with its text.  Once a check
 * has found no corruption, none of the actions may make one.
 */
#include "qemu/osdep.h"

#include "block/qcow2.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/qcow2-rig.h"

#define PROGRAM_BYTES 128
#define ACTION_BYTES 8              /* kind and variant: 1, a place: 4, a value: 3 */
#define MAX_DISK_BYTES (2 * MiB)
#define MAX_REQUEST_BYTES (256 * KiB)

typedef struct Subject {
    MemDisk *disk;
    RigOpen how;
    BdrvLink *link;                 /* NULL: it could not be opened */
    bool sound;                     /* a check has found no corruption */
} Subject;

/* One action's operands. */
typedef struct Operands {
    unsigned variant;               /* the kind's upper bits: which of several ways */
    int64_t offset, bytes;          /* inside of the disk */
    uint64_t value;
} Operands;

/* As g_error(), but with a signal that libFuzzer keeps the input of. */
static void violated(const char *what, const char *how)
{
    fprintf(stderr, "%s: %s\n", what, how);
    abort();
}

/* A place in the disk that is worth a try: its edges, or anywhere. */
static int64_t pick_offset(FuzzInput *in, int64_t length)
{
    uint64_t how = fuzz_take(in, 1), v = fuzz_take(in, 3);

    if (length == 0) {
        return 0;
    }
    return how < 64 ? v % length :
           how < 128 ? length - 1 - v % MIN(length, MiB) :
           ((v << 12) ^ (how << 9)) % length;
}

/* ---- opening ---- */

static void co_main_fn open_again(Subject *s)
{
    Error *err = NULL;

    s->link = rig_try_open(s->disk, &s->how, &err);
    g_assert(!s->link != !err);
    if (err && s->sound) {
        violated("what was sound cannot be opened", error_get_pretty(err));
    }
    error_free(err);
}

static void co_main_fn act_open(Subject *s, const Operands *o)
{
    rig_close(s->link);
    s->how.read_only = o->variant & 1;
    s->how.lazy_refcounts = o->variant & 2;
    s->how.discard_other = o->variant & 4;
    s->how.keep_space = o->variant & 8;
    open_again(s);
}

static void co_main_fn act_reopen(Subject *s, const Operands *o)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("qcow2");
    BlockDriverState *bs = s->link->bs;
    BdrvReopen to = bdrv_reopen_same(bs);
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    unsigned writes = CLAIM_WRITE | CLAIM_RESIZE;

    to.read_only = opts->read_only = o->variant & 1;
    to.discard = o->variant & 2;
    opts->u.qcow2.overlap_checks = o->value & QCOW2_OL_ALL;
    opts->u.qcow2.cache_size = o->variant & 4 ? 1 : -1;
    opts->u.qcow2.has_lazy_refcounts = true;
    opts->u.qcow2.lazy_refcounts = o->variant & 8;
    opts->u.qcow2.has_discard_other = opts->u.qcow2.has_discard_request = true;
    opts->u.qcow2.discard_other = o->value & 1 << 16;
    opts->u.qcow2.discard_request = o->value & 1 << 17;
    to.options = opts;
    g_ptr_array_add(nodes, bs);
    if (to.read_only) {
        bdrv_link_set_claims(s->link, CLAIM_READ, CLAIM_ALL, &error_abort);
    }
    if (bdrv_reopen_prepare(nodes, &to, NULL)) {
        if (bdrv_reopen_flush(nodes, NULL)) {
            bdrv_reopen_commit(nodes);
            bdrv_reopen_clean(nodes, NULL);
        } else {
            bdrv_reopen_abort(nodes);
        }
    }
    if (!bs->read_only) {
        bdrv_link_set_claims(s->link, CLAIM_READ | writes, CLAIM_ALL, &error_abort);
    }
}

/* ---- checking ---- */

/*
 * Two entries of a disk may share a cluster, as a disk and its snapshot do.  The one that is left
 * alone with it later does not get the flag that says so, and copies it once more than it would
 * have to.
 */
static bool is_harmless(const BdrvCheckResult *res)
{
    return strstr(res->first, "is not marked as exclusive but has refcount 1") != NULL;
}

/* Damage that was found in use, and replaced by then, leaves the mark. */
static bool is_marked(const Subject *s)
{
    BlockDriverState *bs = s->link->bs;
    BdrvInfo info = { 0 };

    bs->drv->get_info(bs, &info);
    return info.qcow2.corrupt;
}

static void co_main_fn check(Subject *s, BdrvFix fix)
{
    BdrvCheckResult res = { 0 };
    Error *err = NULL;
    bool ok = bdrv_co_check(s->link->bs, fix, NULL, &res, &err);

    g_assert(ok == !err);
    if (s->sound && res.corruptions && !is_harmless(&res)) {
        violated("a corruption that was not there", res.first);
    }
    s->sound |= ok && !res.corruptions && !is_marked(s);
    bdrv_check_result_clear(&res);
    error_free(err);
}

static void co_main_fn act_check(Subject *s, const Operands *o)
{
    check(s, BDRV_FIX_NONE);
}

static void co_main_fn act_repair(Subject *s, const Operands *o)
{
    check(s, o->variant & 1 ? BDRV_FIX_LEAKS : BDRV_FIX_ALL);
}

/* ---- requests ---- */

static uint8_t buf[MAX_REQUEST_BYTES];

static void co_main_fn act_read(Subject *s, const Operands *o)
{
    bdrv_co_pread(s->link, o->offset, o->bytes, buf);
}

static void co_main_fn act_write(Subject *s, const Operands *o)
{
    bdrv_co_pwrite(s->link, o->offset, o->bytes, buf, 0);
}

static void co_main_fn act_write_compressed(Subject *s, const Operands *o)
{
    bdrv_co_pwrite(s->link, o->offset, o->bytes, buf, BDRV_REQ_WRITE_COMPRESSED);
}

static void co_main_fn act_zero(Subject *s, const Operands *o)
{
    bdrv_co_pwrite_zeroes(s->link, o->offset, o->bytes, o->variant & 1 ? BDRV_REQ_MAY_UNMAP : 0);
}

static void co_main_fn act_discard(Subject *s, const Operands *o)
{
    bdrv_co_pdiscard(s->link, o->offset, o->bytes);
}

static void co_main_fn act_flush(Subject *s, const Operands *o)
{
    bdrv_co_flush(s->link, o->variant & 1 ? BDRV_FLUSH_SETTLE : 0);
}

static void co_main_fn act_resize(Subject *s, const Operands *o)
{
    Error *err = NULL;
    int64_t grown = bdrv_length(s->link->bs) + (int64_t)o->value;
    bool ok = bdrv_co_truncate(s->link, o->variant & 8 ? grown : o->offset, o->variant & 3, &err);

    g_assert(ok == !err);
    error_free(err);
}

static void (*const actions[])(Subject *s, const Operands *o) = {
    act_read, act_write, act_zero, act_discard, act_flush, act_write_compressed,
    act_resize, act_check, act_repair, act_reopen, act_open,
};

static void co_main_fn act(Subject *s, FuzzInput *in)
{
    int64_t length = bdrv_length(s->link->bs);
    unsigned kind = fuzz_take(in, 1);
    Operands o = { .variant = kind / 16, .offset = pick_offset(in, length) };

    o.value = fuzz_take(in, 3);
    o.bytes = MIN(length - o.offset, (int64_t)(o.value % MAX_REQUEST_BYTES));
    if (kind % 16 < G_N_ELEMENTS(actions)) {
        actions[kind % 16](s, &o);
    }
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    Subject s = { .disk = memdisk_new("disk") };
    FuzzInput program = { data, PROGRAM_BYTES };
    unsigned flags = fuzz_take(&program, 1);

    memdisk_set_max_bytes(s.disk, MAX_DISK_BYTES);
    memdisk_poke(s.disk, 0, size - PROGRAM_BYTES, data + PROGRAM_BYTES);
    s.how.read_only = flags & 1;
    s.how.cache_size = flags & 2 ? 1 : 0;
    s.how.for_check = flags & 4;
    s.how.lazy_refcounts = flags & 8;
    s.how.no_overlap_checks = fuzz_take(&program, 2);
    fuzz_take(&program, ACTION_BYTES - 3);
    open_again(&s);
    while (s.link && program.size >= ACTION_BYTES) {
        act(&s, &program);
    }
    if (s.link) {
        rig_close(s.link);
    }
    memdisk_free(s.disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > PROGRAM_BYTES && size < MiB) {
        fuzz_run(run, data, size);
    }
    return 0;
}

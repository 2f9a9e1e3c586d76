/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every field of every structure of a qcow2 image, with every value that might do harm: opened,
 * read, checked, written, resized, put behind a snapshot.  Each step succeeds or says what is wrong
 * and with which image; nothing crashes, hangs or takes memory without bound, and what could be
 * read before can be read afterwards.  Legal values of the same fields are accepted, and read
 * right.
 *
 * With QCOW2_HOSTILE_DIR in the environment each image is left there with what was made of it, for
 * other judges (tests/interop/qcow2-hostile.py).  `make hostile` damages several fields at random
 * as well.
 */
#include "qemu/osdep.h"

#include "block/amend.h"
#include "block/check.h"
#include "block/snapshot.h"
#include "block/formats/qcow2/entry.h"
#include "tests/lib/qcow2-hostile.h"
#include "tests/lib/qcow2-rig.h"
#include "util/sanitizer.h"

/* Seconds for one image. */
#define PATIENCE 60
/* How large an image may become, and the memory that it may take: the tables' caches have a budget
 * of their own (32 MiB); the largest table that is read whole has 64. */
#define MAX_IMAGE_BYTES (4 * MiB)
#define MAX_GROWTH_KIB (112 * 1024)

/*
 * Damage after which a write may hit what somebody else reads: the image says of a cluster that is
 * in use that it is free, or that it is the disk's own.  Only comparing all references finds that
 * (qcow2_check()), which is not done at every opening.
 */
static const char *const two_owners[] = {
    "refcount.data", "refcount.last", "reftable[0]", "header.refcount_order",    /* free */
    "l2.", "header.cluster_bits",                                               /* claimed twice */
};

typedef struct Subject {
    const HostileBed *bed;
    const char *name;
    MemDisk *disk, *data;
    bool legal;
    bool seen[HOSTILE_CLUSTERS];    /* could be read in the beginning ... */
    uint8_t *first;                 /* ... as this */
    uint8_t *buf;
} Subject;

static struct {
    unsigned images, opened, harmed;
    long growth_kib;
    const char *current;
} total;

static void on_alarm(int sig)
{
    static const char text[] = "too slow: ";

    if (write(2, text, sizeof(text) - 1) < 0 ||
        write(2, total.current, strlen(total.current)) < 0) {
        _exit(2);
    }
    abort();
}

/* ---- memory ---- */

static long status_kib(const char *key)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/self/status", &text, NULL, NULL)) {
        return 0;
    }
    char *line = strstr(text, key);
    return line ? strtol(line + strlen(key), NULL, 10) : 0;
}

static void reset_peak(void)
{
    if (SANITIZE_ADDRESS) {
        return;                     /* memory is not what it is, and looking at it takes long */
    }
    int fd = open("/proc/self/clear_refs", O_WRONLY);

    if (fd >= 0) {
        if (write(fd, "5", 1) != 1) {
            g_test_message("the peak of memory cannot be reset");
        }
        close(fd);
    }
}

/* ---- one image ---- */

static void expect_clear(const Subject *s, const char *step, Error *err)
{
    const char *text = error_get_pretty(err);

    if (s->legal) {
        g_error("%s: legal, but %s fails: %s", s->name, step, text);
    }
    if (!strstr(text, "disk") || strlen(text) < 20) {
        g_error("%s: %s: the error \"%s\" does not name the image", s->name, step, text);
    }
    error_free(err);
}

/* These texts are QEMU's, and do not name the image. */
static void expect_clear_of_damaged(const Subject *s, const char *step, Error *err)
{
    if (s->legal && !strstr(error_get_pretty(err), "dirty bitmaps")) {
        g_error("%s: legal, but %s fails: %s", s->name, step, error_get_pretty(err));
    }
    error_free(err);
}

static void expect_ok(const Subject *s, const char *step, int ret)
{
    if (s->legal && ret < 0) {
        g_error("%s: legal, but %s fails: %s", s->name, step, g_strerror(-ret));
    }
}

/* What was said about the last image that was not opened. */
static char *refusal;

static BdrvLink *co_main_fn open_subject(const Subject *s, bool read_only)
{
    Error *err = NULL;
    BdrvLink *link = rig_try_open(s->disk, &(RigOpen){ .read_only = read_only,
                                  .data_file = s->data },
                                  &err);

    g_assert(!link != !err);
    if (!link) {
        g_free(refusal);
        refusal = g_strdup(error_get_pretty(err));
        expect_clear(s, read_only ? "opening for reading" : "opening", err);
    }
    return link;
}

static void co_main_fn check(const Subject *s, BdrvLink *link, bool leaks_ok)
{
    BdrvCheckResult res = { 0 };
    Error *err = NULL;

    if (!bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &err)) {
        expect_clear(s, "checking", err);
        return;
    }
    if (s->legal && (res.corruptions || (res.leaks && !leaks_ok))) {
        g_error("%s: legal, but has %" PRIu64 " corruptions, %" PRIu64 " leaks: %s", s->name,
                res.corruptions, res.leaks, res.first ?: "");
    }
    bdrv_check_result_clear(&res);
}

static int co_main_fn read_cluster(const Subject *s, BdrvLink *link, unsigned i)
{
    int64_t cs = s->bed->layout->cluster_size, left = bdrv_length(link->bs) - i * cs;

    return left < cs ? -EINVAL : bdrv_co_pread(link, i * cs, cs, s->buf);
}

/* For other judges: the image, and a line "number opened legal name", a tab, and why it was not
 * opened. */
static void save(const Subject *s, bool opened)
{
    const char *dir = g_getenv("QCOW2_HOSTILE_DIR");

    if (dir) {
        g_autofree char *list = g_strdup_printf("%s/list", dir);
        g_autofree char *path = g_strdup_printf("%s/%u", dir, total.images);
        FILE *f = fopen(list, "a");
        g_assert_nonnull(f);
        fprintf(f, "%u %d %d %s\t%s\n", total.images, opened, s->legal, s->name,
                opened ? "" : refusal);
        fclose(f);
        g_assert_true(memdisk_save(s->disk, path));
    }
}

static void co_main_fn first_look(Subject *s)
{
    int64_t cs = s->bed->layout->cluster_size;
    BdrvLink *link = open_subject(s, true);

    save(s, link != NULL);
    memset(s->seen, 0, sizeof(s->seen));
    if (!link) {
        return;
    }
    for (unsigned i = 0; i < HOSTILE_CLUSTERS; i++) {
        int ret = read_cluster(s, link, i);

        expect_ok(s, "reading", ret);
        s->seen[i] = ret == 0;
        memcpy(s->first + i * cs, s->buf, cs);
    }
    check(s, link, true);
    rig_close(link);
}

/* Clusters that may_change() are not compared. */
static bool may_change(unsigned i)
{
    return i == HOSTILE_OVERWRITE || i == HOSTILE_CLEAR || i == HOSTILE_DISCARD ||
           i == HOSTILE_NEW || i == HOSTILE_NEW_PACKED;
}

static bool has_two_owners(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(two_owners); i++) {
        if (strstr(name, two_owners[i])) {
            return true;
        }
    }
    return false;
}

/* What was there in the first look is there still. */
static void co_main_fn look_again(const Subject *s, BdrvLink *link, const char *when)
{
    int64_t cs = s->bed->layout->cluster_size;

    for (unsigned i = 0; i < HOSTILE_CLUSTERS; i++) {
        if (!s->seen[i] || may_change(i)) {
            continue;
        }
        int ret = read_cluster(s, link, i);
        if (ret == 0 && memcmp(s->buf, s->first + i * cs, cs) == 0) {
            continue;
        }
        if (s->legal || !has_two_owners(s->name)) {
            g_error("%s: %s, cluster %u is not what it was: %s", s->name, when, i,
                    ret < 0 ? g_strerror(-ret) : "other bytes");
        }
        total.harmed++;
        return;
    }
}

static void co_main_fn change(const Subject *s, BdrvLink *link)
{
    int64_t cs = s->bed->layout->cluster_size, length = bdrv_length(link->bs);
    Error *err = NULL;

    memset(s->buf, 0x77, cs);
    if (length < HOSTILE_CLUSTERS * cs) {
        return;                     /* a smaller disk */
    }
    expect_ok(s, "overwriting",
              bdrv_co_pwrite(link, HOSTILE_OVERWRITE * cs + 100, cs / 2, s->buf, 0));
    expect_ok(s, "writing", bdrv_co_pwrite(link, HOSTILE_NEW * cs, cs, s->buf, 0));
    if (!s->data) {
        expect_ok(s, "compressing", bdrv_co_pwrite(link, HOSTILE_NEW_PACKED * cs, cs, s->buf,
                                                   BDRV_REQ_WRITE_COMPRESSED));
    }
    expect_ok(s, "zeroing", bdrv_co_pwrite_zeroes(link, HOSTILE_CLEAR * cs, cs, 0));
    expect_ok(s, "discarding", bdrv_co_pdiscard(link, HOSTILE_DISCARD * cs, cs));
    expect_ok(s, "flushing", bdrv_co_flush(link, 0));
    check(s, link, true);
    if (!s->bed->layout->snapshot && !bdrv_co_truncate(link, length + 4 * cs, 0, &err)) {
        expect_clear(s, "resizing", err);
    }
}

/* A new overlay of @link's disk that only the monitor holds, on @d; NULL: the disk is too large for
 * one. */
static BdrvLink *co_main_fn make_overlay(MemDisk *d, BdrvLink *link)
{
    BdrvCreateOptions create = rig_create_options(bdrv_length(link->bs));
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("qcow2");
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "test" };

    create.u.qcow2.backing_file = (char *)"disk";
    if (!rig_try_create(d, &create, NULL)) {
        return NULL;
    }
    opts->file.options = memdisk_options(d, false);
    opts->no_backing_open = true;
    BdrvLink *overlay = bdrv_open(opts, &spec, &error_abort);
    overlay->bs->monitor_link = overlay;
    return overlay;
}

static bool co_main_fn add_snapshot(Transaction *t, const void *req, Error **errp)
{
    return snapshot_action_add(t, req, errp);
}

/* What was @link's disk lies behind a snapshot: it reads the same, and writes go elsewhere. */
static void co_main_fn snapshot(const Subject *s, BdrvLink *link)
{
    MemDisk *d = memdisk_new("overlay");
    BdrvLink *overlay = make_overlay(d, link);
    BlockDriverState *base = link->bs;
    Error *err = NULL;

    if (overlay) {
        Transaction *t = transaction_new(-1);
        SnapshotRequest req = { .device = "disk", .base = base, .overlay = overlay->bs };
        bool ok = transaction_check(t, add_snapshot, &req, &err) &&
                  transaction_prepare(t, &err) && transaction_flush(t, &err) &&
                  transaction_hold(t, &err) && transaction_work_held(t, &err);

        if (ok) {
            transaction_commit(t);
        }
        transaction_resume(t);
        transaction_end(t);
        if (ok) {
            g_assert_true(link->bs == overlay->bs && base->read_only);
            expect_ok(s, "writing to the overlay",
                      bdrv_co_pwrite(link, 0, MIN(512, bdrv_length(link->bs)), s->buf, 0));
            g_assert_cmpint(bdrv_co_flush(link, 0), ==, 0);
        } else {
            expect_clear(s, "the snapshot", err);
        }
        overlay->bs->monitor_link = NULL;
        transaction_free(t);
    }
    rig_close(link);
    bdrv_link_free(overlay);
    memdisk_free(d);
}

/* A snapshot inside of it is made, gone back to and deleted, as is one that it had; its refcounts
 * get another width. */
static void co_main_fn inner_snapshot(const Subject *s, BdrvLink *link)
{
    BdrvSnapshot sn = { .name = (char *)"inner" };
    BdrvAmendOptions wider = { .version = 3, .refcount_bits = 64 };
    Error *err = NULL;

    if (bdrv_co_snapshot_create(link->bs, &sn) == 0) {
        if (!bdrv_co_snapshot_apply(link, "inner", &err)) {
            expect_clear_of_damaged(s, "going back", err);
            err = NULL;
        }
        if (!bdrv_co_snapshot_delete(link->bs, NULL, "inner", &err)) {
            expect_clear_of_damaged(s, "deleting", err);
            err = NULL;
        }
    }
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(link->bs, NULL);
    /* A damaged one may call clusters its own that are the disk's. */
    if (s->legal && list && list->len) {
        const BdrvSnapshot *first = list->pdata[0];
        bdrv_co_snapshot_delete(link->bs, first->id, NULL, NULL);
    }
    if (!bdrv_co_amend(link, &wider, NULL, &err)) {
        expect_clear_of_damaged(s, "amending", err);
    }
}

static void co_main_fn try_image(Subject *s)
{
    total.current = s->name;
    total.images++;
    alarm(PATIENCE);
    reset_peak();
    long before = status_kib("VmRSS:");

    first_look(s);
    BdrvLink *link = open_subject(s, false);
    if (link) {
        total.opened++;
        look_again(s, link, "opened for writing");
        change(s, link);
        look_again(s, link, "written");
        inner_snapshot(s, link);
        look_again(s, link, "with a snapshot inside that came and went");
        snapshot(s, link);
        link = open_subject(s, true);
        if (link) {
            look_again(s, link, "closed and opened again");
            check(s, link, s->legal && strstr(s->name, "leaked"));
            rig_close(link);
        }
    }
    long growth = SANITIZE_ADDRESS ? 0 : status_kib("VmHWM:") - before;
    total.growth_kib = MAX(total.growth_kib, growth);
    if (growth > MAX_GROWTH_KIB) {
        g_error("%s: memory grew by %ld KiB", s->name, growth);
    }
    alarm(0);
}

/* @image stays as it is. */
static void co_main_fn subject_run(const HostileBed *bed, const char *name, const GByteArray *image,
                                   const uint8_t *legal_guest)
{
    const char *only = g_getenv("QCOW2_HOSTILE_ONLY");
    if (only && !strstr(name, only)) {
        return;
    }
    g_autofree uint8_t *first = g_malloc0(bed->disk_bytes);
    g_autofree uint8_t *buf = g_malloc(bed->layout->cluster_size);
    Subject s = {
        .bed = bed, .name = name, .disk = memdisk_new("disk"), .legal = legal_guest,
        .data = bed->data ? memdisk_new("data") : NULL, .first = first, .buf = buf,
    };

    memdisk_set_max_bytes(s.disk, MAX_IMAGE_BYTES);
    memdisk_poke(s.disk, 0, image->len, image->data);
    if (s.data) {
        memdisk_poke(s.data, 0, bed->data->len, bed->data->data);
    }
    try_image(&s);
    if (legal_guest) {
        g_assert_cmpmem(first, bed->disk_bytes, legal_guest, bed->disk_bytes);
    }
    memdisk_free(s.disk);
    if (s.data) {
        memdisk_free(s.data);
    }
}

/* ---- the tests ---- */

static void co_main_fn for_each_bed(void (*fn)(const HostileBed *bed))
{
    for (size_t i = 0; i < hostile_n_layouts; i++) {
        HostileBed *bed = hostile_bed_new(&hostile_layouts[i]);
        fn(bed);
        hostile_bed_free(bed);
    }
}

static GByteArray *copy_of(const GByteArray *image)
{
    GByteArray *copy = g_byte_array_new();

    g_byte_array_append(copy, image->data, image->len);
    return copy;
}

static void co_main_fn legal_bed(const HostileBed *bed)
{
    const char *edit = "as it is";

    for (size_t n = 0; edit; n++) {
        g_autoptr(GByteArray) image = copy_of(bed->image);
        g_autofree uint8_t *guest = g_memdup2(bed->guest, bed->disk_bytes);

        if (n > 0) {
            edit = hostile_legal_edit(bed, n - 1, image, guest);
        }
        if (edit && *edit) {
            g_autofree char *name = g_strdup_printf("%s, %s", bed->layout->name, edit);
            subject_run(bed, name, image, guest);
        }
    }
}

static void co_main_fn test_legal_values_are_accepted(void)
{
    for_each_bed(legal_bed);
}

static void co_main_fn damaged_bed(const HostileBed *bed)
{
    g_autoptr(GByteArray) image = copy_of(bed->image);
    bool thorough = g_test_thorough();

    for (guint i = 0; i < bed->fields->len; i++) {
        const HostileField *f = &g_array_index(bed->fields, HostileField, i);
        g_autoptr(GArray) values = hostile_values(bed, f);
        uint64_t old = hostile_load(image, f->offset, f->bytes);

        /* A third of them, every time the same: a different third for each field. */
        for (guint k = thorough ? 0 : i % 3; k < values->len; k += thorough ? 1 : 3) {
            uint64_t v = g_array_index(values, uint64_t, k);
            g_autofree char *name = g_strdup_printf("%s, %s = 0x%" PRIx64 " (was 0x%" PRIx64 ")",
                                                    bed->layout->name, f->name, v, old);
            hostile_store(image, f->offset, f->bytes, v);
            subject_run(bed, name, image, NULL);
        }
        hostile_store(image, f->offset, f->bytes, old);
    }
}

static void co_main_fn test_damaged_fields_do_no_harm(void)
{
    unsigned before = total.images, opened_before = total.opened;

    for_each_bed(damaged_bed);
    unsigned images = total.images - before, opened = total.opened - opened_before;
    g_test_message("%u images, %u of them opened, %u harmed by two owners of a cluster, memory "
                   "grew by %ld KiB at most", images, opened, total.harmed, total.growth_kib);
}

/* Two to four fields at once. */
static void co_main_fn random_bed(const HostileBed *bed)
{
    static uint64_t seed = 1;
    int rounds = g_test_thorough() ? 20000 : 40;

    for (int i = 0; i < rounds; i++) {
        g_autoptr(GByteArray) image = copy_of(bed->image);
        g_autoptr(GString) name = g_string_new(bed->layout->name);

        for (int k = rig_random(&seed) % 3 + 2; k > 0; k--) {
            const HostileField *f = &g_array_index(bed->fields, HostileField,
                                                   rig_random(&seed) % bed->fields->len);
            g_autoptr(GArray) values = hostile_values(bed, f);
            uint64_t v = g_array_index(values, uint64_t, rig_random(&seed) % values->len);

            hostile_store(image, f->offset, f->bytes, v);
            g_string_append_printf(name, ", %s = 0x%" PRIx64, f->name, v);
        }
        subject_run(bed, name->str, image, NULL);
    }
}

static void co_main_fn test_several_damages_at_once_do_no_harm(void)
{
    for_each_bed(random_bed);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGALRM, on_alarm);
    rig_add("/qcow2/hostile/legal-values-are-accepted", test_legal_values_are_accepted);
    rig_add("/qcow2/hostile/damaged-fields-do-no-harm", test_damaged_fields_do_no_harm);
    rig_add("/qcow2/hostile/several-damages-at-once-do-no-harm",
            test_several_damages_at_once_do_no_harm);
    return g_test_run();
}

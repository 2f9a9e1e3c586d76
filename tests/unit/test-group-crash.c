/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whenever the power goes around a group snapshot, the group is all old or all new: either each
 * disk has a new image that opens with the right base, or the bases are what counts; all that was
 * flushed is there; no image is damaged; after the reply the names are there to stay, and after an
 * error they are gone.
 *
 * The real commands, drivers and files run on a simulated machine (tests/lib/sim.h), with guests
 * that write and flush all the time.  Afterwards the log is cut at every sync and in between, and
 * each state that is found is opened and judged.
 *
 * With CRASH_DIR in the environment every 40th state's qcow2 images are left there, for other
 * judges (tests/interop/crash-states.py).  test-group-crash --seeds=FIRST-LAST: more of them, or
 * one.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qemu/aio.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qmp-rig.h"
#include "tests/lib/sim.h"

#define DISKS 2
#define WRITERS 2
#define GENERATIONS 2
#define SECTOR 512
#define SECTORS 384
#define OWN (SECTORS / WRITERS)     /* sectors of one writer */
#define DISK_BYTES (SECTORS * SECTOR)

/* ---- notes in the log: what guests did and what they were told ---- */

typedef enum NoteKind { NOTE_BEGUN, NOTE_DONE, NOTE_FLUSHED, NOTE_TAKEN, NOTE_REFUSED } NoteKind;

typedef struct Note {
    NoteKind kind;
    unsigned disk;
    unsigned where;                 /* sector, or writer */
    uint32_t value;                 /* or generation */
} Note;

static void note(NoteKind kind, unsigned disk, unsigned where, uint32_t value)
{
    sim_note((uint64_t)kind << 56 | (uint64_t)disk << 48 | (uint64_t)where << 32 | value);
}

static Note note_decode(uint64_t n)
{
    return (Note){ n >> 56, n >> 48 & 0xff, n >> 32 & 0xffff, n };
}

/* ---- the run: guests and snapshots ---- */

typedef struct Guest {
    BlockBackend *blk;
    unsigned disk, writer;
    const bool *stop;
} Guest;

static uint32_t next_value;

static int co_fn write_sectors(Guest *g, unsigned first, unsigned n, uint32_t value)
{
    g_autofree uint32_t *buf = g_malloc(n * SECTOR);
    unsigned flags = sim_random() % 8 == 0 ? BDRV_REQ_FUA : 0;
    IoVec v;

    if (value == 0) {
        return blk_co_pwrite_zeroes(g->blk, NULL, first * SECTOR, n * SECTOR,
                                    sim_random() % 2 ? BDRV_REQ_MAY_UNMAP : 0);
    }
    for (unsigned i = 0; i < n * SECTOR / 4; i++) {
        buf[i] = value;
    }
    iovec_init_buf(&v, (void *)buf, n * SECTOR);
    return blk_co_pwritev(g->blk, NULL, first * SECTOR, n * SECTOR, &v, flags);
}

static void co_fn guest_entry(void *opaque)
{
    Guest *g = opaque;

    while (!*g->stop) {
        if (sim_random() % 6 == 0) {
            if (blk_co_flush(g->blk, NULL) == 0) {
                note(NOTE_FLUSHED, g->disk, g->writer, 0);
            }
            continue;
        }
        unsigned n = 1 + sim_random() % 24;
        unsigned first = g->writer * OWN + sim_random() % (OWN - n);
        uint32_t value = sim_random() % 8 == 0 ? 0 : ++next_value;

        for (unsigned i = 0; i < n; i++) {
            note(NOTE_BEGUN, g->disk, first + i, value);
        }
        if (write_sectors(g, first, n, value) == 0) {
            for (unsigned i = 0; i < n; i++) {
                note(NOTE_DONE, g->disk, first + i, value);
            }
        }
    }
}

static void co_main_fn snapshot(unsigned generation)
{
    g_autofree char *request = g_strdup_printf(
        "{'execute':'blockdev-group-snapshot-sync','arguments':{'devlist':["
        "{'device':'disk0','snapshot-file':'new0.%u'},"
        "{'device':'disk1','snapshot-file':'new1.%u'}]}}", generation, generation);
    g_autofree char *error = qmp_rig_try(request, NULL);

    if (error) {
        g_test_message("generation %u: %s", generation, error);
    }
    note(error ? NOTE_REFUSED : NOTE_TAKEN, 0, 0, generation);
}

/* What goes wrong in the run of @seed. */
static void choose_faults(uint64_t seed, unsigned generation)
{
    bool in_this_one = generation == 1 + seed / 4 % GENERATIONS;

    sim_set_short_transfers(seed % 4 == 1 ? 3 : 0);
    sim_set_room(seed % 4 == 2 && in_this_one ? sim_random() % (600 * KiB) : -1);
    /* Syncs are fewer than calls. */
    SimFailure failure = seed / 4 % 3;
    sim_set_failure(failure);
    sim_fail_call(seed % 4 == 3 && in_this_one
                      ? sim_random() % (failure == SIM_FAILURE_DROPPED ? 12 : 80) : -1, EIO);
}

static void co_main_fn run_machine(void *opaque)
{
    uint64_t seed = *(uint64_t *)opaque;
    Guest guests[DISKS * WRITERS];
    CoGroup group = CO_GROUP_INIT;
    bool stop = false;
    int n = 0;

    SnapshotLayout layout = {
        .cluster_size = seed % 3 ? 16 * KiB : 4 * KiB,
        .has_extended_l2 = true, .extended_l2 = seed % 3,
    };
    g_assert_true(snapshot_set_layout(&layout, &error_abort));
    qmp_rig_make_disk("base0 raw 196608");
    qmp_rig_make_disk("base1 qcow2 196608");
    qmp_rig_add_drive("id=disk0,file=base0,format=raw,if=none,discard=unmap");
    qmp_rig_add_drive("id=disk1,file=base1,format=qcow2,if=none");
    sim_start(seed);
    next_value = 0;
    for (unsigned disk = 0; disk < DISKS; disk++) {
        for (unsigned writer = 0; writer < WRITERS; writer++, n++) {
            guests[n] = (Guest){ qmp_rig_guest_new(disk ? "disk1" : "disk0"), disk, writer,
                                 &stop };
            co_group_start(&group, guest_entry, &guests[n]);
        }
    }
    for (unsigned generation = 1; generation <= GENERATIONS; generation++) {
        aio_co_sleep_ns(20 * NS_PER_MS);
        choose_faults(seed, generation);
        snapshot(generation);
        sim_set_room(-1);
        sim_fail_call(-1, 0);
    }
    aio_co_sleep_ns(20 * NS_PER_MS);
    stop = true;
    co_group_wait(&group);
    sim_stop();
    for (int i = 0; i < n; i++) {
        qmp_rig_guest_free(guests[i].blk);
    }
    qmp_rig_reset();
}

/* ---- what may be found ---- */

typedef struct Sector {
    GArray *allowed;                /* of uint32_t */
    uint32_t current;
    bool sure;                      /* the write of ->current was answered */
} Sector;

typedef struct Model {
    Sector sectors[DISKS][SECTORS];
    bool taken[GENERATIONS + 1], refused[GENERATIONS + 1];
    MemDisk *bases[DISKS], *news[DISKS][GENERATIONS + 1];
    uint64_t seed;
    guint pos;
    SimCut how;
    unsigned states, all_new;
} Model;

static void model_init(Model *m, uint64_t seed)
{
    *m = (Model){ .seed = seed };
    for (unsigned disk = 0; disk < DISKS; disk++) {
        for (unsigned s = 0; s < SECTORS; s++) {
            m->sectors[disk][s].allowed = g_array_new(FALSE, TRUE, sizeof(uint32_t));
            g_array_set_size(m->sectors[disk][s].allowed, 1);       /* 0 */
        }
        g_autofree char *base = g_strdup_printf("base%u", disk);
        m->bases[disk] = memdisk_new(base);
        for (unsigned g = 1; g <= GENERATIONS; g++) {
            g_autofree char *name = g_strdup_printf("new%u.%u", disk, g);
            m->news[disk][g] = memdisk_new(name);
        }
    }
}

static void model_clear(Model *m)
{
    for (unsigned disk = 0; disk < DISKS; disk++) {
        for (unsigned s = 0; s < SECTORS; s++) {
            g_array_unref(m->sectors[disk][s].allowed);
        }
        memdisk_free(m->bases[disk]);
        for (unsigned g = 1; g <= GENERATIONS; g++) {
            memdisk_free(m->news[disk][g]);
        }
    }
}

static void learn(Model *m, Note n)
{
    Sector *s = n.where < SECTORS ? &m->sectors[n.disk][n.where] : NULL;

    switch (n.kind) {
    case NOTE_BEGUN:
        g_array_append_val(s->allowed, n.value);
        s->current = n.value;
        s->sure = false;
        break;
    case NOTE_DONE:
        s->sure = true;
        break;
    case NOTE_FLUSHED:
        for (unsigned i = n.where * OWN; i < (n.where + 1) * OWN; i++) {
            s = &m->sectors[n.disk][i];
            if (s->sure) {
                g_array_set_size(s->allowed, 0);
                g_array_append_val(s->allowed, s->current);
            }
        }
        break;
    case NOTE_TAKEN:
        m->taken[n.value] = true;
        break;
    case NOTE_REFUSED:
        m->refused[n.value] = true;
        break;
    }
}

/* ---- judging a state ---- */

static void G_GNUC_PRINTF(2, 3) G_GNUC_NORETURN wrong(Model *m, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_error("seed %" PRIu64 ", cut at %u (%d): %s", m->seed, m->pos, m->how, text);
}

static void save_image(Model *m, const char *name, const SimFile *f)
{
    const char *dir = g_getenv("CRASH_DIR");

    if (dir && m->states % 40 == 0) {
        g_autofree char *path = g_strdup_printf("%s/%" PRIu64 "-%u-%s", dir, m->seed, m->states,
                                                name);
        g_assert_true(g_file_set_contents(path, (char *)f->data, f->length, NULL));
    }
}

/* Fill @d with the file of its name; false if there is none. */
static bool load(Model *m, GHashTable *files, MemDisk *d, const char *name)
{
    SimFile *f = g_hash_table_lookup(files, name);

    if (f) {
        memdisk_set_content(d, f->data, f->length);
        if (f->length > 4 && memcmp(f->data, "QFI\xfb", 4) == 0) {
            save_image(m, name, f);
        }
    }
    return f != NULL;
}

static BdrvLink *co_main_fn open_raw(MemDisk *d)
{
    g_autoptr(BdrvOpenOptions) opts = memdisk_options(d, true);
    BdrvLinkSpec spec = { .needs = CLAIM_READ, .allows = CLAIM_ALL,
                          .holder = "test" };

    return bdrv_open(opts, &spec, &error_abort);
}

static BdrvLink *co_main_fn open_image(Model *m, MemDisk *d, BdrvLink *below, const char *base)
{
    Error *err = NULL;
    BdrvLink *link = rig_try_open(d, &(RigOpen){ .read_only = true, .backing = below }, &err);
    BdrvCheckResult res;

    if (!link) {
        wrong(m, "cannot be opened: %s", error_get_pretty(err));
    }
    bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
    if (res.corruptions) {
        wrong(m, "damaged: %s", res.first);
    }
    if (base && !(link->bs->backing_file && g_str_has_suffix(link->bs->backing_file, base))) {
        wrong(m, "its base is %s, not %s", link->bs->backing_file, base);
    }
    return link;
}

static void co_main_fn judge_content(Model *m, unsigned disk, BdrvLink *top)
{
    g_autofree uint32_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_co_pread(top, 0, DISK_BYTES, buf), ==, 0);
    for (unsigned i = 0; i < SECTORS; i++) {
        const uint32_t *p = buf + i * SECTOR / 4;
        const GArray *allowed = m->sectors[disk][i].allowed;
        bool ok = false;

        if (memcmp(p, p + 1, SECTOR - 4) != 0) {
            wrong(m, "sector %u of disk %u is torn", i, disk);
        }
        for (guint k = 0; k < allowed->len && !ok; k++) {
            ok = g_array_index(allowed, uint32_t, k) == *p;
        }
        if (!ok) {
            wrong(m, "sector %u of disk %u has %u; flushed was %u", i, disk, *p,
                  g_array_index(allowed, uint32_t, 0));
        }
    }
}

/* Are all images of generation @g there?  Checks the names against what the command answered. */
static bool all_there(Model *m, GHashTable *files, unsigned g)
{
    unsigned n = 0;

    for (unsigned disk = 0; disk < DISKS; disk++) {
        g_autofree char *name = g_strdup_printf("new%u.%u", disk, g);
        n += g_hash_table_contains(files, name);
    }
    if (m->taken[g] && n < DISKS) {
        wrong(m, "generation %u was taken and has %u files", g, n);
    }
    if (m->refused[g] && n > 0) {
        wrong(m, "generation %u was refused and has left %u files", g, n);
    }
    return n == DISKS;
}

static void co_main_fn judge_disk(Model *m, GHashTable *files, unsigned disk, const bool *is_new)
{
    g_autofree char *base = g_strdup_printf("base%u", disk);
    g_autoptr(GPtrArray) links = g_ptr_array_new();
    BdrvLink *top;

    if (!load(m, files, m->bases[disk], base)) {
        wrong(m, "%s is gone", base);
    }
    top = disk ? open_image(m, m->bases[disk], NULL, NULL) : open_raw(m->bases[disk]);
    g_ptr_array_add(links, top);
    for (unsigned g = 1; g <= GENERATIONS; g++) {
        g_autofree char *name = g_strdup_printf("new%u.%u", disk, g);
        if (load(m, files, m->news[disk][g], name)) {
            BdrvLink *link = open_image(m, m->news[disk][g], top, base);
            g_ptr_array_add(links, link);
            if (is_new[g]) {
                top = link;
                g_free(base);
                base = g_steal_pointer(&name);
            }
        }
    }
    judge_content(m, disk, top);
    while (links->len) {
        rig_close(g_ptr_array_steal_index(links, links->len - 1));
    }
}

static void co_main_fn judge(Model *m, SimCut how)
{
    bool is_new[GENERATIONS + 1] = { false };

    m->how = how;
    g_autoptr(GHashTable) files = sim_cut(m->pos, how, m->seed + m->states);
    for (unsigned g = 1; g <= GENERATIONS; g++) {
        is_new[g] = all_there(m, files, g);
        m->all_new += is_new[g];
    }
    for (unsigned disk = 0; disk < DISKS; disk++) {
        judge_disk(m, files, disk, is_new);
    }
    m->states++;
}

static unsigned total_states;

static void co_main_fn judge_log(void *opaque)
{
    uint64_t seed = *(uint64_t *)opaque, n;
    Model m;

    model_init(&m, seed);
    for (m.pos = 0; m.pos <= sim_log_length(); m.pos++) {
        bool sync = sim_log_is_sync(m.pos), after = m.pos && sim_log_is_sync(m.pos - 1);
        uint64_t before;
        bool answered = m.pos && sim_log_note(m.pos - 1, &before) &&
                        note_decode(before).kind >= NOTE_FLUSHED;

        for (int how = 0; (sync || answered) && how < SIM_CUT_KINDS; how++) {
            judge(&m, how);
        }
        if (after) {
            judge(&m, SIM_CUT_DROP);
        }
        if (sim_log_note(m.pos, &n)) {
            learn(&m, note_decode(n));
        }
    }
    g_test_message("seed %" PRIu64 ": %u states at %u entries, %u generations taken or there",
                   seed, m.states, sim_log_length(), m.all_new);
    g_assert_cmpuint(m.states, >, 100);
    total_states += m.states;
    model_clear(&m);
}

static void run_seed(uint64_t seed)
{
    qmp_rig_run(run_machine, &seed);
    qmp_rig_run(judge_log, &seed);
}

static uint64_t first_seed = 1, last_seed = SANITIZE_ADDRESS ? 4 : 16;

static void test_all_old_or_all_new(void)
{
    clock_t begin = clock();

    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        run_seed(seed);
    }
    g_test_message("%u states, %.0f in a second of CPU time", total_states,
                   total_states / ((double)(clock() - begin) / CLOCKS_PER_SEC));
}

/* What fails once can be made to fail again. */
static void test_same_seed_same_run(void)
{
    uint64_t seed = 7, hash;

    qmp_rig_run(run_machine, &seed);
    hash = sim_log_hash();
    qmp_rig_run(run_machine, &seed);
    g_assert_cmphex(sim_log_hash(), ==, hash);
    seed = 8;
    qmp_rig_run(run_machine, &seed);
    g_assert_cmphex(sim_log_hash(), !=, hash);
}

int main(int argc, char **argv)
{
    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    if (argc > 1) {
        sscanf(argv[1], "--seeds=%" SCNu64 "-%" SCNu64, &first_seed, &last_seed);
    }
    qmp_rig_init(NULL);
    g_test_add_func("/group-crash/same-seed-same-run", test_same_seed_same_run);
    g_test_add_func("/group-crash/all-old-or-all-new", test_all_old_or_all_new);
    return g_test_run();
}

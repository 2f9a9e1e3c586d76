/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instant, whoever runs when: if a guest sent write B after write A was acknowledged, no group
 * snapshot has B and not A, on whichever disks they are.
 *
 * The real command runs on the simulated machine, with guests that write one round after the other,
 * each in an order of disks of its own. From a seed it is chosen who goes on at each step of each
 * call; the steps are quick, so that guests get through several writes wherever the command lets
 * them, were it for the tenth part of a millisecond. What each schedule left in the frozen files is
 * compared with that rule.
 *
 * test-group-schedules --seeds=FIRST-LAST: more of them, or one.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qemu/aio.h"
#include "tests/lib/qmp-rig.h"
#include "tests/lib/sim.h"
#include "util/sanitizer.h"

#define DISKS 3
#define GUESTS 6
#define SLOT 4096
#define DISK_BYTES (GUESTS * SLOT)

static const int orders[GUESTS][DISKS] = {
    { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
};

typedef struct Guest {
    int number;
    const bool *stop;
    uint64_t rounds;
} Guest;

static BlockBackend *disks[DISKS];

static struct {
    uint64_t schedules, cuts, between;
} total;

static void co_fn write_round(Guest *g)
{
    uint64_t buf[512 / 8];
    IoVec v;

    g->rounds++;
    for (size_t i = 0; i < G_N_ELEMENTS(buf); i++) {
        buf[i] = g->rounds;
    }
    iovec_init_buf(&v, (void *)buf, sizeof(buf));
    for (int i = 0; i < DISKS; i++) {
        int disk = orders[g->number][i];
        int ret = blk_co_pwritev(disks[disk], NULL, g->number * SLOT, sizeof(buf), &v, 0);
        g_assert_cmpint(ret, ==, 0);
        if (sim_random() % 4 == 0) {
            sim_take_a_while();
        }
    }
}

static void co_fn guest_entry(void *opaque)
{
    Guest *g = opaque;

    while (!*g->stop) {
        write_round(g);
        if (sim_random() % 16 == 0) {
            blk_co_flush(disks[sim_random() % DISKS], NULL);
        }
    }
}

static uint64_t counter_in(int disk, int guest)
{
    g_autofree char *name = g_strdup_printf("base%d", disk);
    uint64_t value = 0;
    FILE *f = fopen(name, "r");

    g_assert_nonnull(f);
    g_assert_cmpint(fseek(f, guest * SLOT, SEEK_SET), ==, 0);
    g_assert_cmpuint(fread(&value, sizeof(value), 1, f), ==, 1);
    fclose(f);
    return value;
}

static void judge(uint64_t seed)
{
    for (int guest = 0; guest < GUESTS; guest++) {
        const int *order = orders[guest];
        uint64_t first = counter_in(order[0], guest), before = first, value = first;

        for (int i = 1; i < DISKS; i++, before = value) {
            value = counter_in(order[i], guest);
            if (value > before || value + 1 < first) {
                g_error("seed %" PRIu64 ": guest %d was in round %" PRIu64 " on disk %d and in "
                        "round %" PRIu64 " on disk %d", seed, guest, before, order[i - 1], value,
                        order[i]);
            }
        }
        total.cuts++;
        total.between += value != first;
    }
}

static void co_main_fn run_schedule(void *opaque)
{
    uint64_t seed = *(uint64_t *)opaque;
    Guest guests[GUESTS];
    CoGroup group = CO_GROUP_INIT;
    bool stop = false;

    for (int i = 0; i < DISKS; i++) {
        g_autofree char *make = g_strdup_printf("base%d raw %d", i, DISK_BYTES);
        g_autofree char *add = g_strdup_printf("id=disk%d,file=base%d,format=raw,if=none", i, i);
        g_autofree char *name = g_strdup_printf("disk%d", i);
        qmp_rig_make_disk(make);
        qmp_rig_add_drive(add);
        disks[i] = qmp_rig_guest_new(name);
    }
    sim_start(seed);
    sim_set_pace(SIM_PACE_QUICK);
    for (int i = 0; i < GUESTS; i++) {
        guests[i] = (Guest){ i, &stop };
        co_group_start(&group, guest_entry, &guests[i]);
    }
    aio_co_sleep_ns(sim_random() % NS_PER_MS);
    qmp_rig_cmd("{'execute':'blockdev-group-snapshot-sync','arguments':{'devlist':["
                "{'device':'disk0','snapshot-file':'new0'},"
                "{'device':'disk1','snapshot-file':'new1'},"
                "{'device':'disk2','snapshot-file':'new2'}]}}");
    stop = true;
    co_group_wait(&group);
    sim_stop();
    judge(seed);
    for (int i = 0; i < DISKS; i++) {
        qmp_rig_guest_free(disks[i]);
    }
    qmp_rig_reset();
    total.schedules++;
}

static uint64_t first_seed = 1, last_seed = SANITIZE_ADDRESS ? 20 : 120;

static void test_one_instant_in_every_schedule(void)
{
    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        qmp_rig_run(run_schedule, &seed);
    }
    g_test_message("%" PRIu64 " schedules, %" PRIu64 " of %" PRIu64 " cuts fell between two writes",
                   total.schedules, total.between, total.cuts);
    g_assert_cmpuint(total.between, >=, total.cuts / 8);
}

int main(int argc, char **argv)
{
    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    if (argc > 1) {
        sscanf(argv[1], "--seeds=%" SCNu64 "-%" SCNu64, &first_seed, &last_seed);
    }
    qmp_rig_init(NULL);
    g_test_add_func("/group-schedules/one-instant-whoever-runs-when",
                    test_one_instant_in_every_schedule);
    return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whatever fails below a command, it fails as a whole: the n-th system call, or allocation of a
 * size that somebody else decides, fails, once and for ever, n = 1, 2, ... until the command runs
 * through.  After each failure the error names what it was about and the cause, everything is as it
 * was, guests go on, and the same command succeeds.
 *
 * And if in the middle of undoing that something fails again, once or for ever, the error still
 * tells of the first cause, guests go on, and what could not be removed is named in the log.
 *
 * Each command has a row in command-faults.c, or is in the list of those that change nothing.
 */
#include "qemu/osdep.h"

#include "../lib/fault.h"
#include "../lib/qmp-rig.h"
#include "qemu/log.h"
#include "command-faults.h"
#include "qapi/command.h"
#include "util/sanitizer.h"

static const struct {
    const char *name;
    unsigned kinds;
    int error;
} faults[] = {
    { "open", FAULT_OPEN, EMFILE }, { "write", FAULT_WRITE, ENOSPC }, { "sync", FAULT_SYNC, EIO },
    { "truncate", FAULT_TRUNCATE, EFBIG }, { "fallocate", FAULT_SPACE, ENOSPC },
    { "read", FAULT_READ, EIO }, { "lock", FAULT_LOCK, EAGAIN }, { "link", FAULT_LINK, EDQUOT },
    { "unlink", FAULT_UNLINK, EACCES }, { "stat", FAULT_STAT, EIO },
    { "socket", FAULT_SOCKET, ENOBUFS }, { "thread", FAULT_THREAD, EAGAIN },
    { "event", FAULT_EVENT, EMFILE }, { "memory", FAULT_MEMORY, ENOMEM },
};

#define MAX_GUESTS 4

typedef struct Case {
    const CommandRow *row;
    unsigned kinds;
    int error;
    const char *fault;
    bool sticky;
    /* of one run */
    BlockBackend *guests[MAX_GUESTS];
    int nguests;
    uint8_t pattern;                /* that guests wrote last */
    char *digests[MAX_GUESTS];      /* of what the beginning of their disks reads as */
    unsigned seen;                  /* kinds of calls that the command made */
} Case;

static unsigned failures, passed_over, runs;

/* ---- guests ---- */

#define DIGEST_BYTES (512 * KiB)

static char *co_main_fn digest(BlockBackend *guest)
{
    g_autofree uint8_t *buf = g_malloc(DIGEST_BYTES);
    int64_t bytes = MIN(blk_length(guest), DIGEST_BYTES);
    IoVec v;

    iovec_init_buf(&v, buf, bytes);
    g_assert_cmpint(blk_co_preadv(guest, NULL, 0, bytes, &v), ==, 0);
    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, buf, bytes);
}

static void co_main_fn guests_write(Case *c, uint8_t pattern)
{
    for (int i = 0; i < c->nguests; i++) {
        qmp_rig_guest_write(c->guests[i], i * 65536, pattern);
        g_free(c->digests[i]);
        c->digests[i] = digest(c->guests[i]);
    }
    c->pattern = pattern;
}

static void co_main_fn guests_verify(Case *c)
{
    for (int i = 0; i < c->nguests; i++) {
        g_autofree char *now = digest(c->guests[i]);
        qmp_rig_guest_expect(c->guests[i], i * 65536, c->pattern);
        g_assert_cmpstr(now, ==, c->digests[i]);
    }
}

static void co_main_fn guests_come(Case *c)
{
    g_auto(GStrv) names = g_strsplit(c->row->guests ?: "", " ", -1);

    c->nguests = 0;
    for (char **name = names; *name; name++) {
        c->guests[c->nguests++] = qmp_rig_guest_new(*name);
    }
    guests_write(c, 0x51);
}

static void co_main_fn guests_leave(Case *c)
{
    for (int i = 0; i < c->nguests; i++) {
        qmp_rig_guest_free(c->guests[i]);
        g_clear_pointer(&c->digests[i], g_free);
    }
}

/* ---- what the log says ---- */

static GString *log_text;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void note_line(const char *line)
{
    pthread_mutex_lock(&log_lock);
    g_string_append_printf(log_text, "%s\n", line);
    pthread_mutex_unlock(&log_lock);
}

/* ---- one run ---- */

static void co_main_fn set_up(Case *c)
{
    const CommandRow *row = c->row;

    for (int i = 0; row->disks[i]; i++) {
        qmp_rig_make_disk(row->disks[i]);
    }
    for (int i = 0; row->drives[i]; i++) {
        qmp_rig_add_drive(row->drives[i]);
    }
    command_run_before(row);
    guests_come(c);
    g_string_truncate(log_text, 0);
    log_set_handler(note_line);
}

/* After a failed sync nobody may know which header is on disk; then no cluster is allocated. */
static bool can_allocate(const Case *c, bool struck)
{
    return !(struck && c->row->marks && c->kinds == FAULT_SYNC);
}

/* @struck: although something failed. */
static void co_main_fn check_succeeded(Case *c, bool struck)
{
    guests_verify(c);
    if (can_allocate(c, struck)) {
        guests_write(c, 0x53);
    }
    for (int i = 0; c->row->left[i]; i++) {
        g_assert_true(g_file_test(c->row->left[i], G_FILE_TEST_EXISTS));
    }
    /* A job may succeed although what it takes users away from could not be synced; but that node
     * cannot be closed well any more. */
    for (int i = 0; c->row->after[i] && !(struck && c->kinds == FAULT_SYNC); i++) {
        qmp_rig_cmd(c->row->after[i]);
    }
}

static void check_error(Case *c, const char *where, const char *error, const char *data)
{
    g_auto(GStrv) names = g_strsplit(c->row->names ?: "", " ", -1);
    bool named = !names[0] || (c->row->is_job && strcmp(error, g_strerror(c->error)) == 0);

    for (char **name = names; *name; name++) {
        named |= strstr(error, *name) != NULL;
    }
    if (!named || !strstr(error, g_strerror(c->error))) {
        g_error("%s: the error is '%s'; expected one of '%s', and '%s'", where, error,
                c->row->names, g_strerror(c->error));
    }
    if (c->row->is_group && !(data && strstr(data, "\"index\""))) {
        g_error("%s: no member comes with the error '%s'", where, error);
    }
}

/* Whether an image is marked as dirty is of no consequence. */
static void forget_marks(char *state)
{
    for (char *at = state; (at = strstr(at, "\"dirty-flag\": true")); ) {
        memcpy(at, "\"dirty-flag\":false", strlen("\"dirty-flag\":false"));
    }
    for (char *at = state; (at = strstr(at, "\"dirty-flag\": false")); ) {
        memmove(at + strlen("\"dirty-flag\":"), at + strlen("\"dirty-flag\": "),
                strlen(at + strlen("\"dirty-flag\": ")) + 1);
    }
}

static void co_main_fn check_failed(Case *c, const char *where, char *before)
{
    g_autofree char *now = qmp_rig_state(c->row->changing);

    if (c->row->marks) {
        forget_marks(now);
        forget_marks(before);
    }
    if (strcmp(now, before) != 0) {
        g_file_set_contents("before", before, -1, NULL);
        g_file_set_contents("after", now, -1, NULL);
        g_assert_cmpint(system("diff -u before after >&2"), ==, -1);
    }
    guests_verify(c);
    if (can_allocate(c, true)) {
        guests_write(c, 0x52);
    }
}

/* What the log names could not be removed: the user does what the daemon could not. */
static void clear_away(const CommandRow *row)
{
    g_autoptr(GDir) dir = g_dir_open(".", 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *empty = g_strdup_printf("%s raw 0", name);
        bool was_empty = g_strv_contains(row->disks, empty);
        if (!g_strv_contains(row->left, name) && !was_empty) {
            continue;
        }
        if (strstr(log_text->str, name)) {
            g_assert_cmpint(was_empty ? truncate(name, 0) : remove(name), ==, 0);
        }
    }
}

/* The job that failed had begun: of what it copied so far there is a file, which is its user's. */
static void remove_unfinished(const Case *c, const char *error)
{
    if (c->row->is_job && strcmp(error, g_strerror(c->error)) == 0) {
        for (int i = 0; c->row->left[i]; i++) {
            remove(c->row->left[i]);
        }
    }
}

/* A job whose disks fail for ever may have to leave an image writable, or the name of its new
 * backing file recorded: it reads the same, and the log tells of it. */
static bool was_left_and_told(void)
{
    return strstr(log_text->str, "stays writable") ||
           strstr(log_text->str, "another backing file recorded than before");
}

/* ---- one failure ---- */

/* A node that could not be synced has lost something and never has it again: there it stays a
 * failure. */
static bool may_be_repeated(const Case *c)
{
    return c->kinds != FAULT_SYNC || !(c->row->guests || c->row->changing);
}

/* A snapshot was taken and could not be deleted again, which the log says, of each image: of two
 * disks whichever was faster.  The user does, unless syncs of that disk fail from now on.  True: it
 * is still there. */
static bool co_main_fn snapshot_stays(const Case *c)
{
    static const char *const images[] = { "a.qcow2", "b.qcow2" };     /* of disk0, disk1 */

    if (!c->row->marks || !strstr(log_text->str, "though its command failed")) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(images) && c->kinds != FAULT_SYNC; i++) {
        g_autofree char *told = g_strdup_printf("stays in '%s'", images[i]);
        g_auto(GStrv) parts = g_strsplit(c->row->after[0], "disk0", 2);
        g_autofree char *disk = g_strdup_printf("disk%zu", i);
        g_autofree char *command = g_strjoinv(disk, parts);

        if (strstr(log_text->str, told)) {
            qmp_rig_cmd(command);
        }
    }
    return c->kinds == FAULT_SYNC;
}

/* A run with the @nth call failing; returns whether none was failed. */
static bool co_main_fn run_once(Case *c, int nth)
{
    g_autofree char *where = g_strdup_printf("%s, %s %d fails %s", c->row->name, c->fault, nth,
                                             c->sticky ? "for ever" : "once");
    g_autofree char *before = NULL, *error = NULL, *data = NULL;

    set_up(c);
    before = qmp_rig_state(c->row->changing);
    fault_arm(c->kinds, nth, c->error, c->sticky);
    error = command_try(c->row, &data);
    bool struck = fault_disarm();
    c->seen = fault_seen();
    qmp_rig_dismiss_jobs();
    runs++;
    if (error) {
        g_test_message("%s: %s", where, error);
        if (!struck) {
            g_error("%s: nothing failed, and yet: %s", where, error);
        }
        failures++;
        check_error(c, where, error, data);
        remove_unfinished(c, error);
        if (c->sticky) {            /* what undoes it may fail as well */
            clear_away(c->row);
        }
        if (!snapshot_stays(c) && (!c->row->is_job || !was_left_and_told())) {
            check_failed(c, where, before);
        }
        if (may_be_repeated(c)) {
            g_autofree char *again = command_try(c->row, NULL);
            if (again) {
                g_error("%s: and when it is repeated: %s", where, again);
            }
            qmp_rig_dismiss_jobs();
        }
    } else {
        passed_over += struck;
    }
    if (!error || may_be_repeated(c)) {
        check_succeeded(c, !error && struck);
    }
    guests_leave(c);
    qmp_rig_reset();
    return !struck;
}

static void co_main_fn run_case(void *opaque)
{
    for (int nth = 1; !run_once(opaque, nth); nth++) {
        g_assert_cmpint(nth, <, 1000);
    }
}

static void run_row(gconstpointer data)
{
    Case c = { .row = data, .fault = "nothing" };

    qmp_rig_run(run_case, &c);
    unsigned seen = c.seen;
    for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
        for (int sticky = 0; sticky < 2 && seen & faults[i].kinds; sticky++) {
            c = (Case){
                .row = data, .kinds = faults[i].kinds, .error = faults[i].error,
                .fault = faults[i].name, .sticky = sticky,
            };
            qmp_rig_run(run_case, &c);
        }
    }
    g_test_message("so far %u runs, %u failures, %u faults passed over", runs, failures,
                   passed_over);
}

/* ---- two failures ---- */

/* Commands that make or change something in several steps. */
static const char *const double_rows[] = {
    "blockdev-group-snapshot-sync/", "blockdev-snapshot-sync", "blockdev-reopen/", "block_resize/",
    "blockdev-create/",
};

/* What works on files. */
#define DISK_KINDS (FAULT_OPEN | FAULT_WRITE | FAULT_SYNC | FAULT_TRUNCATE | FAULT_SPACE | \
                    FAULT_READ | FAULT_LOCK | FAULT_LINK | FAULT_UNLINK | FAULT_STAT)
/* Of the pairs of calls that may fail one in so many is tried, but all of those of a reopen, which
 * makes few calls and flushes several nodes. */
#define PAIRS_STRIDE (SANITIZE_ADDRESS ? 31 : 7)

/* The @nth call fails and, if @second is not 0, the @second call after it; returns whether that one
 * did. */
static bool co_main_fn run_twice(Case *c, int nth, int second, const char *alone)
{
    const char *often = c->sticky ? "for ever" : "once";
    g_autofree char *where = g_strdup_printf("%s, %s %d fails and then call %d %s", c->row->name,
                                             c->fault, nth, second, often);
    g_autofree char *before = NULL, *error = NULL, *data = NULL;

    set_up(c);
    before = qmp_rig_state(c->row->changing);
    fault_arm_second(DISK_KINDS, second, EROFS, c->sticky);
    fault_arm(c->kinds, nth, c->error, false);
    error = command_try(c->row, &data);
    fault_disarm();
    unsigned struck = fault_second_struck();
    qmp_rig_dismiss_jobs();
    runs++;
    if (error) {
        g_test_message("%s: %s", where, error);
        if (alone && !strstr(error, g_strerror(c->error)) && !c->row->is_group) {
            g_error("%s: the error is '%s', was '%s'", where, error, alone);
        }
        if (!strstr(error, "it keeps its new length")) {
            clear_away(c->row);
            check_failed(c, where, before);
        }
        guests_verify(c);
    } else {
        guests_verify(c);
        guests_write(c, 0x53);
    }
    guests_leave(c);
    qmp_rig_reset();
    return struck != 0;
}

/* The error of the @nth call alone, or NULL if the command gets through; *@ret_struck: there is
 * such a call. */
static char *co_main_fn error_alone(Case *c, int nth, bool *ret_struck)
{
    set_up(c);
    fault_arm(c->kinds, nth, c->error, false);
    char *error = command_try(c->row, NULL);
    *ret_struck = fault_disarm();
    qmp_rig_dismiss_jobs();
    guests_leave(c);
    qmp_rig_reset();
    return error;
}

static void co_main_fn run_pairs(void *opaque)
{
    Case *c = opaque;
    int stride = g_str_has_prefix(c->row->name, "blockdev-reopen/") ? 1 : PAIRS_STRIDE;
    bool struck = true;

    for (int nth = 1; struck; nth++) {
        g_autofree char *alone = error_alone(c, nth, &struck);
        for (int second = 1 + nth % stride; struck; second += stride) {
            if (!run_twice(c, nth, second, alone)) {
                break;
            }
        }
        c->sticky = true;
        if (struck) {               /* the disk is gone */
            run_twice(c, nth, 1, alone);
        }
        c->sticky = false;
    }
}

static void run_row_twice(gconstpointer data)
{
    for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
        Case c = {
            .row = data, .kinds = faults[i].kinds, .error = faults[i].error,
            .fault = faults[i].name,
        };
        if (c.kinds & DISK_KINDS) {
            qmp_rig_run(run_pairs, &c);
        }
    }
    g_test_message("so far %u runs", runs);
}

static bool is_tried_twice(const CommandRow *row)
{
    for (size_t i = 0; i < G_N_ELEMENTS(double_rows); i++) {
        if (g_str_has_prefix(row->name, double_rows[i])) {
            return true;
        }
    }
    return false;
}

/* ---- nobody is left out ---- */

/* Change nothing, or tell a job that runs to end, or end the daemon, or (the human monitor) do what
 * others do. */
static const char *const without_row[] = {
    "qmp_capabilities", "quit", "human-monitor-command", "job-cancel", "qom-list", "qom-get",
    "qom-list-types", "qom-list-properties", "trace-event-get-state", NULL,
};

static bool has_row(const char *command)
{
    g_autofree char *word = g_strdup_printf("'execute':'%s'", command);

    for (const CommandRow *row = command_rows; row->name; row++) {
        if (strstr(row->request, word)) {
            return true;
        }
        for (int i = 0; row->then[i]; i++) {
            if (strstr(row->then[i], word)) {
                return true;
            }
        }
    }
    return false;
}

static void test_every_command_has_a_row(void)
{
    for (const QmpCommand *cmd = qmp_commands; cmd->name; cmd++) {
        if (!g_str_has_prefix(cmd->name, "query-") && !has_row(cmd->name) &&
            !g_strv_contains(without_row, cmd->name)) {
            g_error("%s changes something and has no row in command-faults.c", cmd->name);
        }
    }
}

int main(int argc, char **argv)
{
    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    qmp_rig_init(NULL);
    log_text = g_string_new(NULL);
    g_test_add_func("/command-faults/every-command-that-changes-something-is-tried",
                    test_every_command_has_a_row);
    for (const CommandRow *row = command_rows; row->name; row++) {
        g_autofree char *path = g_strdup_printf("/command-faults/fails-as-a-whole/%s", row->name);
        g_test_add_data_func(path, row, run_row);
        if (is_tried_twice(row)) {
            g_autofree char *twice = g_strdup_printf("/command-faults/fails-twice/%s", row->name);
            g_test_add_data_func(twice, row, run_row_twice);
        }
    }
    return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "monitor/monitor-internal.h"
#include "qmp-rig.h"
#include "qobject/json.h"
#include "tools/qemu-storage-daemon/qsd.h"

static char *top_dir;
static char *idle_descriptors;

static void no_shutdown(void)
{
    g_error("a test's command ended the daemon");
}

static void remove_dir(void)
{
    if (chdir("/") == 0) {
        rmdir(top_dir);
    }
    g_free(top_dir);
    g_free(idle_descriptors);
}

void qmp_rig_init(const char *dir)
{
    if (!dir) {
        dir = top_dir = g_dir_make_tmp("commands-XXXXXX", NULL);
        atexit(remove_dir);
    }
    g_assert_cmpint(chdir(dir), ==, 0);
    context_set_main();
    aio_context_new(AIO_BACKEND_AUTO, &error_abort);
    blockdev_init();
    monitor_init(qmp_commands, no_shutdown);
}

void qmp_rig_run(CoroutineEntry *entry, void *opaque)
{
    aio_context_run_coroutine(aio_context_current(), entry, opaque);
}

/* ---- disks ---- */

void co_main_fn qmp_rig_make_disk(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("file");
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL,
        .holder = "the test",
    };
    BdrvCreateOptions create = { .size = g_ascii_strtoll(words[2], NULL, 10) };

    create.u.qcow2 = (Qcow2CreateOptions){ .version = 3, .cluster_size = 64 * KiB,
                                           .refcount_bits = 16 };
    if (words[3]) {
        create.u.qcow2.backing_file = words[3];
        create.u.qcow2.backing_fmt = words[4];
    }
    g_assert_true(g_file_set_contents(words[0], "", 0, NULL));
    opts->u.file.filename = g_strdup(words[0]);
    bdrv_graph_lock();
    BdrvLink *file = bdrv_open(opts, &spec, &error_abort);
    bdrv_co_create(bdrv_find_driver(words[1]), file, &create, &error_abort);
    bdrv_link_free(file);
    bdrv_graph_unlock();
}

void co_main_fn qmp_rig_add_drive(const char *value)
{
    qsd_apply_drive(value, &error_abort);
}

BlockBackend *co_main_fn qmp_rig_guest_new(const char *name)
{
    BlockDriverState *bs = blockdev_lookup(name, name, false, &error_abort);
    BlockBackend *guest = blk_new(NULL, CLAIM_READ | CLAIM_WRITE, CLAIM_ALL, &error_abort);

    blk_set_user(guest, "the test's guest");
    bdrv_graph_lock();
    blk_insert(guest, bs, &error_abort);
    bdrv_graph_unlock();
    return guest;
}

void co_main_fn qmp_rig_guest_write(BlockBackend *guest, int64_t offset, uint8_t pattern)
{
    uint8_t buf[QMP_RIG_GUEST_BYTES];
    IoVec v;

    memset(buf, pattern, sizeof(buf));
    iovec_init_buf(&v, buf, sizeof(buf));
    g_assert_cmpint(blk_co_pwritev(guest, NULL, offset, sizeof(buf), &v, 0), ==, 0);
}

void co_main_fn qmp_rig_guest_expect(BlockBackend *guest, int64_t offset, uint8_t pattern)
{
    uint8_t buf[QMP_RIG_GUEST_BYTES];
    IoVec v;

    iovec_init_buf(&v, buf, sizeof(buf));
    g_assert_cmpint(blk_co_preadv(guest, NULL, offset, sizeof(buf), &v), ==, 0);
    for (size_t i = 0; i < sizeof(buf); i++) {
        g_assert_cmphex(buf[i], ==, pattern);
    }
}

void co_main_fn qmp_rig_write(const char *name, int64_t offset, uint8_t pattern)
{
    BlockBackend *guest = qmp_rig_guest_new(name);

    qmp_rig_guest_write(guest, offset, pattern);
    g_assert_cmpint(blk_co_flush(guest, NULL), ==, 0);
    qmp_rig_guest_free(guest);
}

void co_main_fn qmp_rig_guest_free(BlockBackend *guest)
{
    bdrv_graph_lock();
    blk_free(guest);
    bdrv_graph_unlock();
}

/* ---- requests ---- */

static QDict *co_main_fn dispatch(const char *request)
{
    MonitorSession session = { .negotiated = true };
    g_autoptr(QObject) obj = json_parse_str(request, &error_abort);

    return qobject_to_qdict(qmp_dispatch(&session, obj));
}

/* Job number @n, or NULL; its members are borrowed from @reply. */
static QDict *co_main_fn query_job(unsigned n, QDict **reply)
{
    *reply = dispatch("{'execute':'query-jobs'}");
    return qobject_to_qdict(qlist_get(qobject_to_qlist(qdict_get(*reply, "return")), n));
}

static bool is_in_state(const QDict *job, const char *state)
{
    return strcmp(qdict_get_str(job, "status"), state) == 0;
}

static bool is_concluded(const QDict *job)
{
    return is_in_state(job, "concluded");
}

/* Is job-finalize what is missing? */
static bool co_main_fn waits_for_finalize(const QDict *job)
{
    g_autoptr(QDict) reply = dispatch("{'execute':'query-block-jobs'}");
    QList *list = qobject_to_qlist(qdict_get(reply, "return"));
    QDict *info;

    for (size_t i = 0; (info = qobject_to_qdict(qlist_get(list, i))); i++) {
        if (strcmp(qdict_get_str(info, "device"), qdict_get_str(job, "id")) == 0) {
            bool by_itself = false;
            qobject_get_bool(qdict_get(info, "auto-finalize"), &by_itself);
            return is_in_state(info, "pending") && !by_itself;
        }
    }
    return false;
}

/* Does it wait for somebody to tell it to go on?  @ending: it was told. */
static bool co_main_fn is_at_rest(const QDict *job, bool ending)
{
    if (!ending && (is_in_state(job, "ready") || is_in_state(job, "standby"))) {
        return true;
    }
    return is_concluded(job) || waits_for_finalize(job);
}

/* Keep in *@error what @job failed with; that of one which was told to go with another one says
 * least. */
static void note_error(const QDict *job, char **error)
{
    const char *text = is_concluded(job) ? qdict_get_str(job, "error") : NULL;

    if (text && (!*error || strcmp(*error, g_strerror(ECANCELED)) == 0)) {
        g_free(*error);
        *error = g_strdup(text);
    }
}

/* Wait for the jobs; how they failed, or NULL. */
static char *co_main_fn wait_for_jobs(bool ending)
{
    char *error = NULL;

    for (unsigned n = 0; ; ) {
        g_autoptr(QDict) reply = NULL;
        QDict *job = query_job(n, &reply);
        if (!job) {
            return error;
        }
        if (is_at_rest(job, ending)) {
            note_error(job, &error);
            n++;
        } else {
            aio_co_sleep_ns(NS_PER_MS / 10);
        }
    }
}

void co_main_fn qmp_rig_dismiss_jobs(void)
{
    for (unsigned n = 0; ; ) {
        g_autoptr(QDict) reply = NULL;
        QDict *job = query_job(n, &reply);
        if (!job) {
            return;
        }
        if (is_concluded(job)) {
            g_autofree char *dismiss = g_strdup_printf(
                "{'execute':'job-dismiss','arguments':{'id':'%s'}}", qdict_get_str(job, "id"));
            g_autoptr(QDict) answer = dispatch(dismiss);
            g_assert_true(qdict_has(answer, "return"));
        } else {
            n++;
        }
    }
}

char *co_main_fn qmp_rig_try(const char *request, char **ret_data)
{
    g_autoptr(QDict) reply = dispatch(request);
    QDict *error = qobject_to_qdict(qdict_get(reply, "error"));

    if (ret_data) {
        *ret_data = error && qdict_has(error, "data")
                    ? json_to_string(qdict_get(error, "data")) : NULL;
    }
    return error ? g_strdup(qdict_get_str(error, "desc"))
                 : wait_for_jobs(strstr(request, "-complete'") || strstr(request, "-cancel'"));
}

void co_main_fn qmp_rig_cmd(const char *request)
{
    g_autofree char *error = qmp_rig_try(request, NULL);

    if (error) {
        g_error("%s: %s", request, error);
    }
}

char *co_main_fn qmp_rig_query(const char *request)
{
    g_autoptr(QDict) reply = dispatch(request);

    g_assert_true(qdict_has(reply, "return"));
    return json_to_string_pretty(qdict_get(reply, "return"));
}

/* ---- the state ---- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char **)a, *(char **)b);
}

/* @lines (taken), sorted, behind @title. */
static void append_sorted(GString *out, const char *title, GPtrArray *lines)
{
    g_ptr_array_sort(lines, compare_strings);
    g_string_append_printf(out, "%s:\n", title);
    for (guint i = 0; i < lines->len; i++) {
        g_string_append_printf(out, "  %s\n", (char *)lines->pdata[i]);
    }
    g_ptr_array_unref(lines);
}

static bool is_word_of(const char *word, const char *words)
{
    g_auto(GStrv) list = g_strsplit(words ?: "", " ", -1);

    return g_strv_contains((const char *const *)list, word);
}

static void append_files(GString *out, const char *changing)
{
    g_autoptr(GDir) dir = g_dir_open(".", 0, NULL);
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *data = NULL, *sum = NULL;
        gsize len = 0;

        if (!is_word_of(name, changing) && g_file_get_contents(name, &data, &len, NULL)) {
            sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)data, len);
        }
        g_ptr_array_add(lines, sum ? g_strdup_printf("%s %zu %s", name, len, sum)
                                   : g_strdup(name));
    }
    append_sorted(out, "files", lines);
}

static void append_descriptors(GString *out, const char *title, bool locks)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *link = g_strdup_printf("/proc/self/fd/%s", name);
        g_autofree char *info = g_strdup_printf("/proc/self/fdinfo/%s", name);
        g_autofree char *target = g_file_read_link(link, NULL), *text = NULL;

        if (!target || g_str_has_prefix(target, "/proc/")) {
            continue;               /* the directory that we are reading */
        }
        if (!locks) {
            /* Numbers of sockets and pipes come new each time. */
            char *colon = strstr(target, ":[");
            if (colon) {
                *colon = '\0';
            }
            g_ptr_array_add(lines, g_steal_pointer(&target));
        } else if (g_file_get_contents(info, &text, NULL, NULL)) {
            g_auto(GStrv) each = g_strsplit(text, "\n", -1);
            for (char **l = each; *l; l++) {
                if (g_str_has_prefix(*l, "lock:")) {
                    g_ptr_array_add(lines, g_strdup(strstr(*l, ": ") + 2));
                }
            }
        }
    }
    append_sorted(out, title, lines);
}

static char *descriptors(void)
{
    GString *out = g_string_new(NULL);

    append_descriptors(out, "descriptors", false);
    return g_string_free(out, FALSE);
}

/* @text (taken) without what @pattern matches. */
static char *without(char *text, const char *pattern)
{
    g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
    char *rest = g_regex_replace_literal(regex, text, -1, 0, "", 0, NULL);

    g_free(text);
    return rest;
}

static char *co_main_fn state_now(const char *changing)
{
    static const char *const queries[] = {
        "{'execute':'query-chardev'}",
        "{'execute':'query-named-block-nodes','arguments':{'flat':true}}",
        "{'execute':'query-block'}", "{'execute':'query-block-exports'}",
        "{'execute':'query-iothreads'}", "{'execute':'query-jobs'}",
    };
    GString *out = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        g_autofree char *text = qmp_rig_query(queries[i]);
        text = without(g_steal_pointer(&text), "\"actual-size\": [0-9]+");
        if (changing) {             /* nor the length of a file that may change */
            text = without(g_steal_pointer(&text), "\"virtual-size\": [0-9]+,"
                           "(?=\\s*\"filename\": [^\n]*\\s*\"format\": \"file\")");
        }
        g_string_append_printf(out, "%s\n%s\n", queries[i], text);
    }
    append_files(out, changing);
    append_descriptors(out, "descriptors", false);
    append_descriptors(out, "locks", true);
    return g_string_free(out, FALSE);
}

char *co_main_fn qmp_rig_state(const char *changing)
{
    char *last = state_now(changing);

    for (;;) {
        aio_co_sleep_ns(NS_PER_MS / 5);
        char *now = state_now(changing);
        bool same = strcmp(now, last) == 0;
        g_free(last);
        if (same) {
            return now;
        }
        last = now;
    }
}

void co_main_fn qmp_rig_reset(void)
{
    g_autoptr(GDir) dir = g_dir_open(".", 0, NULL);
    const char *name;

    monitor_chardev_free_all();
    blockdev_shutdown();
    while ((name = g_dir_read_name(dir))) {
        remove(name);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_assert_null(bdrv_next_of_all_nodes(NULL));
    g_assert_null(blk_next(NULL));
    g_autofree char *now = descriptors();
    if (!idle_descriptors) {
        idle_descriptors = g_strdup(now);
    }
    g_assert_cmpstr(now, ==, idle_descriptors);
}

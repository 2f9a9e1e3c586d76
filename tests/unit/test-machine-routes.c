/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who runs what where there is a machine, and what one schema of two halves is. */
#include "qemu/osdep.h"

#include "machine/routes.h"
#include "qapi/command.h"
#include "qobject/json.h"

/* ---- commands ---- */

static void test_block_commands_are_never_the_machines(void)
{
    static const char *const names[] = {
        "blockdev-add", "blockdev-snapshot-sync", "blockdev-group-snapshot-sync", "block-commit",
        "block_resize", "block-no-such-command", "x-blockdev-set-iothread", "drive-mirror",
        "query-block", "query-blockstats", "query-block-jobs", "query-named-block-nodes",
        "query-jobs", "job-dismiss", "nbd-server-start", "transaction", "eject", "device_add",
        "device_del", "quit", "snapshot-save", "change-backing-file",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(machine_route(names[i]), ==, MACHINE_ROUTE_OURS);
    }
}

static void test_the_rest_is_the_machines(void)
{
    static const char *const names[] = {
        "query-status", "system_reset", "qom-list-types", "query-cpus-fast", "balloon", "migrate",
        "getfd", "query-machines", "chardev-add", "netdev_add", "no-such-command",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(machine_route(names[i]), ==, MACHINE_ROUTE_MACHINE);
    }
}

static void test_people_do_not_see_the_machines_disks(void)
{
    g_assert_false(machine_has_hmp("info", "block"));
    g_assert_false(machine_has_hmp("info", "blockstats"));
    g_assert_false(machine_has_hmp("info", "snapshots"));
    g_assert_false(machine_has_hmp("drive_add", "0"));
    g_assert_false(machine_has_hmp("savevm", "x"));
    g_assert_false(machine_has_hmp("info", NULL));
    g_assert_false(machine_has_hmp("change", "ide1-cd0"));
    g_assert_true(machine_has_hmp("change", "vnc"));
    g_assert_true(machine_has_hmp("info", "registers"));
    g_assert_true(machine_has_hmp("system_reset", NULL));
    g_assert_true(machine_has_hmp("sendkey", "ret"));
}

static void test_objects_are_where_they_are_used(void)
{
    g_assert_cmpint(machine_object_place("throttle-group"), ==, MACHINE_OBJECT_OURS);
    g_assert_cmpint(machine_object_place("iothread"), ==, MACHINE_OBJECT_BOTH);
    g_assert_cmpint(machine_object_place("secret"), ==, MACHINE_OBJECT_BOTH);
    g_assert_cmpint(machine_object_place("tls-creds-x509"), ==, MACHINE_OBJECT_BOTH);
    g_assert_cmpint(machine_object_place("memory-backend-ram"), ==, MACHINE_OBJECT_MACHINES);
    g_assert_cmpint(machine_object_place("rng-random"), ==, MACHINE_OBJECT_MACHINES);
}

static void test_the_machines_own_jobs_are_not_told_of(void)
{
    g_assert_false(machine_event_is_forwarded("JOB_STATUS_CHANGE"));
    g_assert_false(machine_event_is_forwarded("BLOCK_JOB_COMPLETED"));
    g_assert_false(machine_event_is_forwarded("BLOCK_EXPORT_DELETED"));
    g_assert_true(machine_event_is_forwarded("BLOCK_IO_ERROR"));
    g_assert_true(machine_event_is_forwarded("SHUTDOWN"));
    g_assert_true(machine_event_is_forwarded("DEVICE_DELETED"));
    g_assert_true(machine_event_is_forwarded("MIGRATION"));
}

/* ---- the schema ---- */

static QList *parse(const char *text)
{
    QObject *value = json_parse_str(text, &error_abort);

    g_assert_nonnull(qobject_to_qlist(value));
    return qobject_to_qlist(value);
}

static QDict *find(const QList *schema, const char *name, const char *kind)
{
    for (size_t i = 0; i < qlist_size(schema); i++) {
        QDict *e = qobject_to_qdict(qlist_get(schema, i));
        if (strcmp(qdict_get_str(e, "name"), name) == 0 &&
            strcmp(qdict_get_str(e, "meta-type"), kind) == 0) {
            return e;
        }
    }
    return NULL;
}

static const char ours_text[] =
    "[{'name':'block-commit','meta-type':'command','arg-type':'0','ret-type':'0'},"
    " {'name':'query-status','meta-type':'command','arg-type':'0','ret-type':'0'},"
    " {'name':'0','meta-type':'object','members':[{'name':'a','type':'str'}]},"
    " {'name':'str','meta-type':'builtin','json-type':'string'}]";
static const char machines_text[] =
    "[{'name':'block-commit','meta-type':'command','arg-type':'1','ret-type':'2'},"
    " {'name':'query-status','meta-type':'command','arg-type':'2','ret-type':'3'},"
    " {'name':'balloon','meta-type':'command','arg-type':'5','ret-type':'2'},"
    " {'name':'JOB_STATUS_CHANGE','meta-type':'event','arg-type':'1'},"
    " {'name':'STOP','meta-type':'event','arg-type':'2'},"
    " {'name':'1','meta-type':'object','members':[]},"
    " {'name':'2','meta-type':'object','members':[]},"
    " {'name':'3','meta-type':'object','members':[{'name':'s','type':'4'}],"
    "  'tag':'s','variants':[{'case':'x','type':'2'}]},"
    " {'name':'4','meta-type':'enum','values':['x']},"
    " {'name':'5','meta-type':'object','members':[{'name':'v','type':'[int]'}]},"
    " {'name':'[int]','meta-type':'array','element-type':'int'},"
    " {'name':'int','meta-type':'builtin','json-type':'int'},"
    " {'name':'str','meta-type':'builtin','json-type':'string'}]";

static void test_a_command_is_described_by_who_runs_it(void)
{
    g_autoptr(QList) ours = parse(ours_text), theirs = parse(machines_text);
    g_autoptr(QList) all = machine_merge_schema(ours, theirs, &error_abort);
    QDict *e;

    g_assert_cmpstr(qdict_get_str(find(all, "block-commit", "command"), "arg-type"), ==, "0");
    g_assert_cmpstr(qdict_get_str(find(all, "query-status", "command"), "ret-type"), ==, "m3");
    g_assert_nonnull(find(all, "balloon", "command"));
    g_assert_nonnull(find(all, "STOP", "event"));
    g_assert_null(find(all, "JOB_STATUS_CHANGE", "event"));
    g_assert_null(find(all, "m1", "object"));       /* only block-commit reached it */
    e = find(all, "m3", "object");
    e = qobject_to_qdict(qlist_get(qobject_to_qlist(qdict_get(e, "variants")), 0));
    g_assert_cmpstr(qdict_get_str(e, "type"), ==, "m2");
    g_assert_cmpstr(qdict_get_str(find(all, "m[int]", "array"), "element-type"), ==, "int");
    g_assert_nonnull(find(all, "int", "builtin"));
}

/* Every type that is named is there, once, and every name means one thing. */
static void check_whole(const QList *schema)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    static const char *const keys[] = { "arg-type", "ret-type", "element-type" };

    for (size_t i = 0; i < qlist_size(schema); i++) {
        QDict *e = qobject_to_qdict(qlist_get(schema, i));
        g_assert_true(g_hash_table_add(names, (char *)qdict_get_str(e, "name")));
    }
    for (size_t i = 0; i < qlist_size(schema); i++) {
        QDict *e = qobject_to_qdict(qlist_get(schema, i));
        QList *members = qobject_to_qlist(qdict_get(e, "members"));
        for (size_t k = 0; k < G_N_ELEMENTS(keys); k++) {
            const char *type = qdict_get_str(e, keys[k]);
            g_assert_true(!type || g_hash_table_contains(names, type));
        }
        for (size_t k = 0; members && k < qlist_size(members); k++) {
            QDict *m = qobject_to_qdict(qlist_get(members, k));
            const char *type = m ? qdict_get_str(m, "type") : NULL;
            g_assert_true(!type || g_hash_table_contains(names, type));
        }
    }
}

static void test_a_merged_schema_is_whole(void)
{
    g_autoptr(QList) ours = parse(ours_text), theirs = parse(machines_text);
    g_autoptr(QList) all = machine_merge_schema(ours, theirs, &error_abort);

    check_whole(all);
}

/* The real one, where the test is told of it: MACHINE_SCHEMA names a file with the answers. */
static void test_the_schema_of_the_installed_machine_is_whole(void)
{
    g_autofree char *text = NULL;
    g_autoptr(QList) ours = parse(qmp_schema_json), theirs = NULL, all = NULL;

    if (!g_getenv("MACHINE_SCHEMA") ||
        !g_file_get_contents(g_getenv("MACHINE_SCHEMA"), &text, NULL, NULL)) {
        g_test_skip("no schema of an installed QEMU");
        return;
    }
    theirs = parse(text);
    all = machine_merge_schema(ours, theirs, &error_abort);
    check_whole(all);
    g_assert_nonnull(find(all, "query-cpus-fast", "command"));
    g_assert_nonnull(find(all, "blockdev-add", "command"));
    g_assert_nonnull(find(all, "RESET", "event"));
}

static void test_a_schema_that_is_none_is_refused(void)
{
    g_autoptr(QList) ours = parse(ours_text), theirs = parse("[{'meta-type':'command'}]");
    g_autoptr(QList) numbers = parse("[1,2]");
    Error *err = NULL;

    g_assert_null(machine_merge_schema(ours, theirs, &err));
    g_assert_nonnull(err);
    g_clear_pointer(&err, error_free);
    g_assert_null(machine_merge_schema(ours, numbers, &err));
    g_clear_pointer(&err, error_free);
}

static void test_commands_of_both_are_listed_once(void)
{
    g_autoptr(QList) ours = parse("[{'name':'quit'},{'name':'query-status'}]");
    g_autoptr(QList) theirs = parse("[{'name':'block-commit'},{'name':'query-status'},"
                                    "{'name':'balloon'},{}]");
    g_autoptr(QList) all = machine_merge_commands(ours, theirs);

    g_assert_cmpuint(qlist_size(all), ==, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/machine/block-commands-are-never-the-machines",
                    test_block_commands_are_never_the_machines);
    g_test_add_func("/machine/the-rest-is-the-machines", test_the_rest_is_the_machines);
    g_test_add_func("/machine/people-do-not-see-the-machines-disks",
                    test_people_do_not_see_the_machines_disks);
    g_test_add_func("/machine/objects-are-where-they-are-used",
                    test_objects_are_where_they_are_used);
    g_test_add_func("/machine/the-machines-own-jobs-are-not-told-of",
                    test_the_machines_own_jobs_are_not_told_of);
    g_test_add_func("/machine/a-command-is-described-by-who-runs-it",
                    test_a_command_is_described_by_who_runs_it);
    g_test_add_func("/machine/a-merged-schema-is-whole", test_a_merged_schema_is_whole);
    g_test_add_func("/machine/the-schema-of-the-installed-machine-is-whole",
                    test_the_schema_of_the_installed_machine_is_whole);
    g_test_add_func("/machine/a-schema-that-is-none-is-refused",
                    test_a_schema_that_is_none_is_refused);
    g_test_add_func("/machine/commands-of-both-are-listed-once",
                    test_commands_of_both_are_listed_once);
    return g_test_run();
}

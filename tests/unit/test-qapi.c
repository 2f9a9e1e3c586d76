/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generated parsing, formatting, cloning: what a client may send, and what it is told. */
#include "qemu/osdep.h"

#include "qapi/qapi-format.h"
#include "qapi/qapi-parse.h"
#include "qobject/json.h"
#include "qobject/keyval.h"

static BlockdevOptions *parse(const char *text, Error **errp)
{
    g_autoptr(QObject) obj = json_parse_str(text, &error_abort);
    BlockdevOptions *opts = NULL;

    return BlockdevOptions_parse(obj, &opts, errp) ? opts : NULL;
}

static void assert_out_of_range(const char *text, const char *message)
{
    g_autoptr(QObject) obj = json_parse_str(text, &error_abort);
    NbdServerOptions *opts = NULL;
    g_autoptr(Error) err = NULL;

    g_assert_false(NbdServerOptions_parse(obj, &opts, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
}

static void assert_refused(const char *text, const char *message)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(parse(text, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
}

/* Members, branches, alternates, lists and absent members all arrive. */
static void test_parse(void)
{
    g_autoptr(BlockdevOptions) o = parse("{'driver':'qcow2','node-name':'d','backing':null,"
                                         "'l2-cache-size':65536,'file':{'driver':'file',"
                                         "'filename':'a','aio':'threads'}}", &error_abort);
    g_autoptr(BlockdevOptions) d = parse("{'driver':'blkdebug','image':'x','inject-error':["
                                         "{'event':'none'},{'event':'flush_to_disk','errno':28}"
                                         "]}", &error_abort);
    BlkdebugInjectErrorOptionsList *l = d->u.blkdebug.inject_error;

    g_assert_cmpint(o->driver, ==, BLOCKDEV_DRIVER_QCOW2);
    g_assert_cmpstr(o->node_name, ==, "d");
    g_assert_false(o->has_discard);
    g_assert_null(o->cache);
    g_assert_cmpint(o->u.qcow2.backing->type, ==, QTYPE_QNULL);
    g_assert_true(o->u.qcow2.has_l2_cache_size && o->u.qcow2.l2_cache_size == 65536);
    g_assert_cmpint(o->u.qcow2.file->type, ==, QTYPE_QDICT);
    g_assert_cmpstr(o->u.qcow2.file->u.definition.u.file.filename, ==, "a");
    g_assert_cmpint(o->u.qcow2.file->u.definition.u.file.aio, ==, BLOCKDEV_AIO_OPTIONS_THREADS);
    g_assert_cmpint(d->u.blkdebug.image->type, ==, QTYPE_QSTRING);
    g_assert_cmpstr(d->u.blkdebug.image->u.reference, ==, "x");
    g_assert_false(l->value->has_errno);
    g_assert_cmpint(l->next->value->q_errno, ==, 28);
    g_assert_null(l->next->next);
}

/* Whatever is wrong is named by its path. */
static void test_mistakes_are_named(void)
{
    assert_refused("{}", "Parameter 'driver' is missing");
    assert_refused("{'driver':'null-co','detect-zeroes':'zip'}", "Parameter 'detect-zeroes' does "
                   "not accept value 'zip' (accepted: off, on, unmap)");
    assert_refused("{'driver':1}", "Invalid parameter type for 'driver', expected: string");
    assert_refused("{'driver':'file'}", "Parameter 'filename' is missing");
    assert_refused("{'driver':'file','filename':'a','size':1}", "Parameter 'size' is unexpected");
    assert_refused("{'driver':'qcow2','file':{'driver':'file'}}",
                   "Parameter 'file.filename' is missing");
    assert_refused("{'driver':'qcow2','file':{'driver':'null-co','x':1}}",
                   "Parameter 'file.x' is unexpected");
    assert_refused("{'driver':'qcow2','file':1}",
                   "Invalid parameter type for 'file', expected: BlockdevRef");
    assert_refused("{'driver':'qcow2','file':null}",
                   "Invalid parameter type for 'file', expected: BlockdevRef");
    assert_refused("{'driver':'null-co','read-only':'on'}",
                   "Invalid parameter type for 'read-only', expected: boolean");
    assert_refused("{'driver':'null-co','size':1.0}",
                   "Invalid parameter type for 'size', expected: integer");
    assert_refused("{'driver':'null-co','size':18446744073709551615}",
                   "Invalid parameter type for 'size', expected: integer");
    assert_refused("{'driver':'null-co','cache':[]}",
                   "Invalid parameter type for 'cache', expected: object");
    assert_out_of_range("{'addr':{'type':'unix','path':'x'},'max-connections':4294967296}",
                        "Parameter 'max-connections' expects uint32_t");
    assert_out_of_range("{'addr':{'type':'inet','host':'','port':'1','to':65536}}",
                        "Parameter 'addr.to' expects uint16_t");
    assert_refused("{'driver':'blkdebug','image':'x','inject-error':{}}",
                   "Invalid parameter type for 'inject-error', expected: array");
    assert_refused("{'driver':'blkdebug','image':'x','inject-error':[{'event':'none'},{}]}",
                   "Parameter 'inject-error[1].event' is missing");
    assert_refused("[]", "Invalid parameter type for 'null', expected: object");
}

/* Definitions inside of definitions are bounded, whatever the nesting of JSON allows. */
static void test_nesting_is_bounded(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(Error) err = NULL;

    for (int i = 0; i < 400; i++) {
        g_string_append(text, "{'driver':'raw','file':");
    }
    g_string_append(text, "'x'");
    for (int i = 0; i < 400; i++) {
        g_string_append_c(text, '}');
    }
    g_assert_null(parse(text->str, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Parameters are nested deeper than 256 levels");
}

/* On a command line numbers and switches are words, and mean the same. */
static void test_keyval(void)
{
    g_autoptr(QDict) dict = keyval_parse("qcow2,read-only=on,cache.direct=yes,l2-cache-size=1M,"
                                         "file.driver=null-co,file.size=1.5G,"
                                         "file.latency-ns=10,overlap-check=none,backing=base",
                                         "driver", NULL, &error_abort);
    g_autoptr(BlockdevOptions) o = NULL;
    g_autoptr(QDict) bad = keyval_parse("driver=null-co,size=big", NULL, NULL, &error_abort);
    g_autoptr(QDict) bad_switch = keyval_parse("driver=null-co,read-only=maybe", NULL, NULL,
                                               &error_abort);
    g_autoptr(Error) err = NULL;
    BlockdevOptions *none = NULL;

    BlockdevOptions_parse_keyval(QOBJECT(dict), &o, &error_abort);
    g_assert_true(o->has_read_only && o->read_only);
    g_assert_true(o->cache->has_direct && o->cache->direct);
    g_assert_cmpint(o->u.qcow2.l2_cache_size, ==, 1048576);
    g_assert_cmpint(o->u.qcow2.file->u.definition.u.null_co.size, ==, 1610612736);
    g_assert_cmpint(o->u.qcow2.overlap_check->u.mode, ==, QCOW2_OVERLAP_CHECK_MODE_NONE);
    g_assert_cmpstr(o->u.qcow2.backing->u.reference, ==, "base");
    g_assert_false(BlockdevOptions_parse_keyval(QOBJECT(bad), &none, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Invalid parameter type for 'size', expected: integer");
    g_assert_false(BlockdevOptions_parse_keyval(QOBJECT(bad_switch), &none, NULL));
    /* Over the wire a word is no number. */
    g_assert_false(BlockdevOptions_parse(QOBJECT(dict), &none, NULL));
    g_assert_null(none);
}

/* What was parsed is formatted to the same again, and so is a clone that outlives it. */
static void test_round_trip(void)
{
    static const char *const texts[] = {
        "{'driver':'qcow2','file':{'driver':'file','filename':'a'},'backing':null}",
        "{'driver':'qcow2','file':'f','backing':{'driver':'raw','file':'b','offset':512}}",
        "{'driver':'qcow2','file':'f','overlap-check':{'template':'all','active-l1':false}}",
        "{'driver':'blkdebug','image':'x','inject-error':[{'event':'none'}],'set-state':[]}",
        "{'driver':'null-co','size':-1,'latency-ns':18446744073709551615}",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(QObject) in = json_parse_str(texts[i], &error_abort), out = NULL;
        BlockdevOptions *o = parse(texts[i], &error_abort);
        g_autoptr(BlockdevOptions) copy = BlockdevOptions_clone(o);
        g_autofree char *printed = NULL;

        BlockdevOptions_free(o);
        out = BlockdevOptions_format(copy);
        printed = json_to_string(out);
        /* An empty list is the same as none, in C. */
        if (!strstr(texts[i], "[]") && !qobject_equal(in, out)) {
            g_error("%s became %s", texts[i], printed);
        }
    }
    g_assert_null(BlockdevOptions_clone(NULL));
    BlockdevOptions_free(NULL);
}

static void test_enums(void)
{
    NewImageMode mode = NEW_IMAGE_MODE_EXISTING;
    g_autoptr(Error) err = NULL;

    g_assert_true(NewImageMode_from_str("absolute-paths", &mode, &error_abort));
    g_assert_cmpint(mode, ==, NEW_IMAGE_MODE_ABSOLUTE_PATHS);
    g_assert_cmpstr(NewImageMode_str(mode), ==, "absolute-paths");
    g_assert_false(NewImageMode_from_str("x", &mode, &err));
    g_assert_cmpint(mode, ==, NEW_IMAGE_MODE_ABSOLUTE_PATHS);
}

/* Any JSON at all is a value or an error, and neither leaks. */
static void test_random_changes(void)
{
    static const char text[] = "{'driver':'qcow2','node-name':'d','backing':null,'cache':{'direct"
                               "':true},'file':{'driver':'file','filename':'a','aio':'threads'}}";
    static const char alphabet[] = "{}[]:,'01tfnde";

    for (int round = 0; round < 20000; round++) {
        g_autofree char *changed = g_strdup(text);
        g_autoptr(QObject) obj = NULL;
        BlockdevOptions *o = NULL;

        for (int i = 0; i < 3; i++) {
            changed[g_test_rand_int_range(0, sizeof(text) - 1)] =
                alphabet[g_test_rand_int_range(0, sizeof(alphabet) - 1)];
        }
        obj = json_parse_str(changed, NULL);
        if (obj && BlockdevOptions_parse(obj, &o, NULL)) {
            BlockdevOptions_free(o);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/parse", test_parse);
    g_test_add_func("/qapi/mistakes-are-named", test_mistakes_are_named);
    g_test_add_func("/qapi/nesting-is-bounded", test_nesting_is_bounded);
    g_test_add_func("/qapi/keyval", test_keyval);
    g_test_add_func("/qapi/round-trip", test_round_trip);
    g_test_add_func("/qapi/enums", test_enums);
    g_test_add_func("/qapi/random-changes", test_random_changes);
    return g_test_run();
}

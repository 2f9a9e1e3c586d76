/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings mean what they mean on QEMU's command line. */
#include "qemu/osdep.h"

#include "qobject/json.h"
#include "qobject/keyval.h"

static void assert_parses(const char *text, const char *implied, const char *expected)
{
    g_autoptr(QDict) dict = keyval_parse(text, implied, NULL, &error_abort);
    g_autoptr(QObject) want = json_parse_str(expected, &error_abort);

    if (!qobject_equal(QOBJECT(dict), want)) {
        g_autofree char *got = json_to_string(QOBJECT(dict));

        g_error("%s: got %s, not %s", text, got, expected);
    }
}

static void assert_refused(const char *text, const char *implied, const char *reason)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(keyval_parse(text, implied, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, reason);
}

/* Dots nest, doubled commas are commas, the last of two values counts. */
static void test_nesting(void)
{
    assert_parses("", NULL, "{}");
    assert_parses("a=b", NULL, "{'a':'b'}");
    assert_parses("a=,b==c", NULL, "{'a':'','b':'=c'}");
    assert_parses("a=1,a=2,", NULL, "{'a':'2'}");
    assert_parses("driver=qcow2,file.driver=file,file.filename=a,,b", NULL,
                  "{'driver':'qcow2','file':{'driver':'file','filename':'a,b'}}");
    assert_parses("f=,,,g=x", NULL, "{'f':',','g':'x'}");
    assert_parses("qcow2,node-name=d", "driver", "{'driver':'qcow2','node-name':'d'}");
    assert_parses("a=b", "driver", "{'a':'b'}");
}

/* Numbers as keys make lists, in any order. */
static void test_lists(void)
{
    assert_parses("l.0=a,l.1=b", NULL, "{'l':['a','b']}");
    assert_parses("l.1.x=b,l.0.x=a", NULL, "{'l':[{'x':'a'},{'x':'b'}]}");
    assert_parses("l.0.0=a", NULL, "{'l':[['a']]}");
    assert_refused("l.1=a", NULL, "Parameter 'l.0' missing");
    assert_refused("l.0=a,l.x=b", NULL, "Parameters 'l.*' used inconsistently");
    assert_refused("0=a", NULL, "Parameters must not be a list");
}

static void test_mistakes_are_named(void)
{
    assert_refused("a", NULL, "Expected '=' after parameter 'a'");
    assert_refused("a=1,b", "driver", "Expected '=' after parameter 'b'");
    assert_refused("=x", NULL, "Invalid parameter ''");
    assert_refused("a..b=x", NULL, "Invalid parameter 'a..b'");
    assert_refused("a.=x", NULL, "Invalid parameter 'a.'");
    assert_refused("-a=x", NULL, "Invalid parameter '-a'");
    assert_refused("a=1,a.b=2", NULL, "Parameters 'a.b.*' used inconsistently");
    assert_refused("a.b=1,a=2", NULL, "Parameters 'a.*' used inconsistently");
    assert_refused(",", NULL, "Expected parameter before ','");
}

/* A key cannot be nested deeper than anybody's stack is. */
static void test_deep_keys_are_refused(void)
{
    g_autoptr(GString) text = g_string_new("a");
    g_autoptr(Error) err = NULL;

    for (int i = 0; i < 100000; i++) {
        g_string_append(text, ".a");
    }
    g_string_append(text, "=x");
    g_assert_null(keyval_parse(text->str, NULL, NULL, &err));
}

static void test_help(void)
{
    bool help = false;
    g_autoptr(QDict) dict = keyval_parse("qcow2,help", "driver", &help, &error_abort);

    g_assert_true(help);
    g_assert_cmpstr(qdict_get_str(dict, "driver"), ==, "qcow2");
    g_assert_cmpuint(qdict_size(dict), ==, 1);
}

static void test_json_form(void)
{
    bool is_json;
    g_autoptr(QDict) json = keyval_parse_or_json("{'a':1}", NULL, &is_json, &error_abort);
    g_autoptr(QDict) keyval = NULL;
    g_autoptr(Error) err = NULL;

    g_assert_true(is_json);
    g_assert_cmpint(qobject_type(qdict_get(json, "a")), ==, QTYPE_QNUM);
    keyval = keyval_parse_or_json("a=1", NULL, &is_json, &error_abort);
    g_assert_false(is_json);
    g_assert_cmpstr(qdict_get_str(keyval, "a"), ==, "1");
    g_assert_null(keyval_parse_or_json("{'a':1", NULL, &is_json, &err));
    g_assert_nonnull(err);
}

/* -drive: dots are part of the name, switches need no value. */
static void test_flat_form(void)
{
    g_autoptr(QDict) dict = keyval_parse_flat("a.img,if=none,file.locking=off,readonly,nowait,"
                                              "x=,,y", "file", &error_abort);
    g_autoptr(QObject) want = json_parse_str("{'file':'a.img','if':'none','file.locking':'off',"
                                             "'readonly':'on','wait':'off','x':',y'}",
                                             &error_abort);

    g_assert_true(qobject_equal(QOBJECT(dict), want));
}

static void assert_size(const char *text, uint64_t expected)
{
    uint64_t value;

    g_assert_true(keyval_parse_size(text, &value, &error_abort));
    g_assert_cmpuint(value, ==, expected);
}

static void test_sizes(void)
{
    static const char *const bad[] = { "", "k", "-1", "+1", "1x", "1kk", "1.5", "0x", "0xg", "0x1.",
                                       "18446744073709551616", "16E", "17179869184G", " 1" };
    uint64_t value;

    assert_size("0", 0);
    assert_size("4096", 4096);
    assert_size("64k", 65536);
    assert_size("1.", 1);           /* as QEMU does */
    assert_size("1.k", 1024);
    assert_size("1.0", 1);
    assert_size("64K", 65536);
    assert_size("1.5G", 1610612736);
    assert_size("1b", 1);
    assert_size("0x1000", 4096);
    assert_size("18446744073709551615", UINT64_MAX);
    assert_size("15E", 15ull << 60);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        if (keyval_parse_size(bad[i], &value, NULL)) {
            g_error("'%s' was accepted", bad[i]);
        }
    }
}

static void test_random_strings(void)
{
    static const char alphabet[] = "ab01.,=-_ {}?";

    for (int round = 0; round < 20000; round++) {
        char buf[24] = "";
        QDict *dict;

        for (size_t i = 0; i < sizeof(buf) - 1; i++) {
            buf[i] = alphabet[g_test_rand_int_range(0, sizeof(alphabet) - 1)];
        }
        dict = keyval_parse(buf, "k", NULL, NULL);
        qdict_unref(dict);
        qdict_unref(keyval_parse_flat(buf, "k", NULL));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keyval/nesting", test_nesting);
    g_test_add_func("/keyval/lists", test_lists);
    g_test_add_func("/keyval/mistakes-are-named", test_mistakes_are_named);
    g_test_add_func("/keyval/deep-keys-are-refused", test_deep_keys_are_refused);
    g_test_add_func("/keyval/help", test_help);
    g_test_add_func("/keyval/json-form", test_json_form);
    g_test_add_func("/keyval/flat-form", test_flat_form);
    g_test_add_func("/keyval/sizes", test_sizes);
    g_test_add_func("/keyval/random-strings", test_random_strings);
    return g_test_run();
}

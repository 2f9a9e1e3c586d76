/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON that QMP speaks: what is accepted, what is refused, how it is bounded and printed. */
#include "qemu/osdep.h"

#include "qobject/json.h"

static void assert_prints(const char *text, const char *expected)
{
    g_autoptr(QObject) obj = json_parse_str(text, &error_abort);
    g_autofree char *printed = json_to_string(obj);

    g_assert_cmpstr(printed, ==, expected);
}

static void assert_refused(const char *text, const char *reason)
{
    g_autoptr(Error) err = NULL;
    QObject *obj = json_parse_str(text, &err);

    if (obj || !strstr(error_get_pretty(err), reason)) {
        g_error("%s: %s", text, obj ? "was accepted" : error_get_pretty(err));
    }
}

/* Every kind of value comes back as it went in. */
static void test_values(void)
{
    assert_prints("null", "null");
    assert_prints(" true ", "true");
    assert_prints("[false, [], {}]", "[false, [], {}]");
    assert_prints("0", "0");
    assert_prints("-0", "0");
    assert_prints("[1,2 ,3]", "[1, 2, 3]");
    assert_prints("{\"a\":{\"b\":[null]}}", "{\"a\": {\"b\": [null]}}");
}

/* Integers of 64 bits are exact; what no double can hold is refused, never infinite. */
static void test_numbers(void)
{
    assert_prints("[9223372036854775807,-9223372036854775808,18446744073709551615]",
                  "[9223372036854775807, -9223372036854775808, 18446744073709551615]");
    assert_prints("18446744073709551616", "1.8446744073709552e+19");
    assert_prints("[1.5,1e10,0.1,1e-7,-0.0]",
                  "[1.5, 10000000000, 0.10000000000000001, 9.9999999999999995e-08, -0]");
    assert_refused("1e999", "too large");
    assert_refused("[-1e999]", "too large");
    assert_refused("01", "stray");
    assert_refused("[-]", "stray");
    assert_refused("[1.]", "stray");
    assert_refused("[1e]", "stray");
    assert_refused("[.5]", "stray");
    assert_refused("[+1]", "stray");
    assert_refused("[NaN]", "stray");
}

/* Double and single quotes, every escape; output is ASCII. */
static void test_strings(void)
{
    assert_prints("'it\\'s \"x\" \\u00e9 \\ud83d\\ude00 \\u007f \\u001f \\/ \\b\\f\\n\\r\\t'",
                  "\"it's \\\"x\\\" \\u00E9 \\uD83D\\uDE00 \\u007F \\u001F / \\b\\f\\n\\r\\t\"");
    assert_prints("\"\xc3\xa9\xf0\x9f\x98\x80'\"", "\"\\u00E9\\uD83D\\uDE00'\"");
    assert_prints("''", "\"\"");
    assert_prints("{'a':1}", "{\"a\": 1}");
    assert_refused("'\\ud800'", "not a valid Unicode");
    assert_refused("'\\udc00'", "not a valid Unicode");
    assert_refused("'\\ud800\\u0041'", "not a valid Unicode");
    assert_refused("'\\ufffe'", "\\ufffe is not a valid Unicode");
    assert_refused("'\\uffff'", "\\uffff is not a valid Unicode");
    assert_refused("'\\ufdd0'", "not a valid Unicode");
    assert_refused("'\\udbff\\udfff'", "\\udbff\\udfff is not a valid Unicode");
    assert_refused("'\xef\xbf\xbe'", "invalid UTF-8");
    assert_refused("'\xef\xb7\xaf'", "invalid UTF-8");
    assert_refused("{'\xf4\x8f\xbf\xbf':1}", "invalid UTF-8");
    assert_prints("'\\ufffd\xef\xbf\xbd\xef\xb7\xb0\\uefff'", "\"\\uFFFD\\uFFFD\\uFDF0\\uEFFF\"");
    assert_prints("'a\\u0000b'", "\"a\\u0000b\"");
    assert_prints("{'\\u0000':'\\u0000'}", "{\"\\u0000\": \"\\u0000\"}");
    assert_prints("{'a':1,'a\\u0000':2}", "{\"a\": 1, \"a\\u0000\": 2}");
    assert_refused("{'a\\u0000':1,'a\\u0000':2}", "duplicate key");
    assert_refused("'\\u12'", "invalid hex");
    assert_refused("'\\ud83d\\ude0'", "not a valid Unicode");
    assert_refused("'\\x'", "invalid escape");
    assert_refused("'\xc0\x80'", "invalid UTF-8");
    assert_refused("'\xed\xa0\x80'", "invalid UTF-8");
    assert_refused("'\xe2\x82'", "invalid UTF-8");
    assert_refused("'\x80'", "invalid UTF-8");
    assert_refused("'\xf5\x80\x80\x80'", "invalid UTF-8");
    assert_refused("'\n'", "stray");
    assert_refused("'\xff'", "stray");
    assert_refused("'abc", "stray");
    assert_refused("'abc\\'", "stray");
}

/* A text that is not UTF-8 (a file's name) is printed with U+FFFD in place of what is wrong. */
static void test_output_is_always_valid(void)
{
    g_autoptr(QObject) obj = qstring_new_len("a\xff\xc3(\0b\xef\xbf\xbe" "c", 10);
    g_autofree char *printed = json_to_string(obj);

    g_assert_cmpstr(printed, ==, "\"a\\uFFFD\\uFFFD(\\u0000b\\uFFFDc\"");
}

static void test_structure_is_strict(void)
{
    assert_refused("", "no value");
    assert_refused("  ", "no value");
    assert_refused("1 2", "more than one");
    assert_refused("{} {}", "more than one");
    assert_refused("{} x", "invalid keyword 'x'");
    assert_refused("[1,]", "expecting value");
    assert_refused("[,1]", "expecting value");
    assert_refused("[1 2]", "expected separator in list");
    assert_refused("{,}", "expecting value");
    assert_refused("{'a':1,}", "expecting value");
    assert_refused("{'a'}", "missing :");
    assert_refused("{'a' 1}", "missing :");
    assert_refused("{'a':}", "expecting value");
    assert_refused("{'a':1 'b':2}", "expected separator in dict");
    assert_refused("{1:2}", "key is not a string");
    assert_refused("{true:2}", "key is not a string");
    assert_refused("{a:2}", "invalid keyword 'a'");
    assert_refused("{'a':1,'\\u0061':2}", "duplicate key");
    assert_refused("}", "expecting value");
    assert_refused("]", "expecting value");
    assert_refused("[}", "expecting value");
    assert_refused("[1, 2", "premature end");
    assert_refused("{'a': [", "premature end");
    assert_refused("tru", "invalid keyword 'tru'");
    assert_refused("%s", "stray");
}

/* Members come in the order in which QEMU prints them. */
static void test_members_come_in_order_of_qemu(void)
{
    assert_prints("{'data':1,'event':2,'timestamp':3}",
                  "{\"timestamp\": 3, \"event\": 2, \"data\": 1}");
    assert_prints("{'major':7,'minor':2,'micro':22}",
                  "{\"micro\": 22, \"minor\": 2, \"major\": 7}");
    assert_prints("{'capabilities':[],'version':{}}", "{\"version\": {}, \"capabilities\": []}");
    assert_prints("{'id':1,'return':{}}", "{\"return\": {}, \"id\": 1}");
    assert_prints("{'error':1,'id':7}", "{\"id\": 7, \"error\": 1}");
    assert_prints("{'desc':'x','class':'y'}", "{\"class\": \"y\", \"desc\": \"x\"}");
}

static void test_pretty(void)
{
    g_autoptr(QObject) obj = json_parse_str("{'a':[1,{}],'b':'x'}", &error_abort);
    g_autofree char *printed = json_to_string_pretty(obj);

    g_assert_cmpstr(printed, ==,
                    "{\n    \"a\": [\n        1,\n        {\n        }\n    ],\n"
                    "    \"b\": \"x\"\n}");
}

/* ---- limits ---- */

static char *nested(int levels)
{
    g_autofree char *open = g_strnfill(levels, '['), *end = g_strnfill(levels, ']');

    return g_strconcat(open, end, NULL);
}

/* 1024 levels are read and printed, one more is refused: not a crash, at any depth. */
static void test_nesting_limit(void)
{
    g_autofree char *below = nested(1023), *at = nested(1024), *above = nested(1025);
    g_autofree char *far_above = nested(1000000);

    assert_prints(below, below);
    assert_prints(at, at);
    assert_refused(above, "nesting depth limit");
    assert_refused(far_above, "nesting depth limit");
}

static void test_token_size_limit(void)
{
    size_t limit = JSON_MAX_TOKEN_BYTES;
    g_autofree char *text = g_malloc(limit + 2);
    g_autoptr(Error) err = NULL;
    QObject *obj;

    memset(text, 'x', limit + 2);
    text[0] = text[limit - 1] = '"';
    obj = json_parse(text, limit, &error_abort);
    g_assert_cmpuint(qstring_len(obj), ==, limit - 2);
    qobject_unref(obj);
    text[limit - 1] = 'x';
    text[limit] = '"';
    g_assert_null(json_parse(text, limit + 1, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "JSON token size limit exceeded");
}

static void test_token_count_limit(void)
{
    g_autoptr(GString) text = g_string_new("[0");
    g_autoptr(Error) err = NULL;

    while (text->len < JSON_MAX_TOKENS + 10) {
        g_string_append(text, ",0");
    }
    g_string_append_c(text, ']');
    g_assert_null(json_parse(text->str, text->len, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "JSON token count limit exceeded");
}

/* What is bounded is the memory that values really take, not the length of their text. */
static void test_memory_limit(void)
{
    g_autoptr(GString) text = g_string_new("[");
    g_autoptr(Error) err = NULL;

    /* Below 2 Mi tokens, each object costs far more than its two bytes. */
    for (int i = 0; i < 690000; i++) {
        g_string_append(text, "{},");
    }
    for (int i = 0; i < 4; i++) {
        g_autofree char *big = g_strnfill(50 * MiB, 'x');

        g_string_append_printf(text, "'%s',", big);
    }
    g_string_append(text, "0]");
    g_assert_null(json_parse(text->str, text->len, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "JSON memory limit exceeded");
}

/* ---- streams ---- */

static void collect(void *opaque, QObject *value, Error *err)
{
    GString *seen = opaque;

    if (err) {
        g_string_append_printf(seen, "E:%s;", error_get_pretty(err));
        error_free(err);
    } else {
        json_append(seen, value, false);
        g_string_append_c(seen, ';');
        qobject_unref(value);
    }
}

static char *feed(const char *text, size_t len, size_t chunk)
{
    GString *seen = g_string_new(NULL);
    g_autoptr(JsonStream) s = json_stream_new(collect, seen);

    for (size_t pos = 0; pos < len; pos += chunk) {
        json_stream_feed(s, text + pos, MIN(chunk, len - pos));
    }
    json_stream_end(s);
    return g_string_free(seen, FALSE);
}

/* However the input is cut, the same values come out, each as soon as it is complete. */
static void test_stream_any_chunks(void)
{
    static const char text[] = "{'a':'\\ud83d\\ude00'}[1,2.5e3]true'x' 17 {'b':[{}]}\n";
    static const char expected[] = "{\"a\": \"\\uD83D\\uDE00\"};[1, 2500];true;\"x\";17;"
                                   "{\"b\": [{}]};";

    for (size_t chunk = 1; chunk < sizeof(text); chunk++) {
        g_autofree char *seen = feed(text, strlen(text), chunk);

        g_assert_cmpstr(seen, ==, expected);
    }
}

/* After an error the next value is understood, where QEMU understands it too. */
static void test_stream_goes_on_after_errors(void)
{
    static const struct { const char *text, *seen; } cases[] = {
        { "{\"a\": &}\n1\n",
          "E:JSON parse error, stray '&';E:JSON parse error, expecting value;1;" },
        { "{\"execute\": foo bar}1 ", "E:JSON parse error, invalid keyword 'foo';1;" },
        { "{\"a\" 1, [{}]} 1 ", "E:JSON parse error, missing : in object pair;1;" },
        { "{\"a\":\"unterminated\n1 \n2\n", "E:JSON parse error, stray '\"unterminated\n';2;" },
        { "{\"a\":\"b\nc\"}1 ",
          "E:JSON parse error, stray '\"b\n';E:JSON parse error, expecting value;1;" },
        { "{\"a\":\"b\\\nc\"}1 ",
          "E:JSON parse error, stray '\"b\\\n';E:JSON parse error, expecting value;1;" },
        { "&\xff&\x01[] ",
          "E:JSON parse error, stray '&';E:JSON parse error, stray '\xff';"
          "E:JSON parse error, stray '\x01';[];" },
        { "\xff\xff[] ", "E:JSON parse error, stray '\xff';E:JSON parse error, stray '\xff';[];" },
        { "[01]\n1 ", "E:JSON parse error, stray '01';E:JSON parse error, expecting value;1;" },
        { "[-]\n1 ", "E:JSON parse error, stray '-]';1;" },
        { "{\"a\":[\xff\n1 ", "E:JSON parse error, stray '\xff';1;" },
        { "}1 ", "E:JSON parse error, expecting value;1;" },
        { "[1,2", "E:JSON parse error, premature end of input;" },
        { "[[[[}1 ", "E:JSON parse error, expecting value;1;" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (size_t chunk = 1; chunk <= strlen(cases[i].text); chunk++) {
            g_autofree char *seen = feed(cases[i].text, strlen(cases[i].text), chunk);

            g_assert_cmpstr(seen, ==, cases[i].seen);
        }
    }
}

/* One reply for one broken value, and the value after it is understood, beyond any limit too. */
static void test_stream_goes_on_after_limit(void)
{
    g_autofree char *deep = nested(3000);
    g_autofree char *text = g_strconcat(deep, "{}", NULL);
    g_autofree char *seen = feed(text, strlen(text), 100);

    g_assert_cmpstr(seen, ==, "E:JSON nesting depth limit exceeded;{};");
}

/* A long string costs time in proportion to its length: in small pieces too. */
static void test_stream_is_linear(void)
{
    g_autoptr(GString) text = g_string_new("\"");
    int64_t start = clock_ns();
    g_autofree char *seen = NULL;

    for (int i = 0; i < 1048576; i++) {
        g_string_append_c(text, 'x');
    }
    g_string_append_c(text, '"');
    seen = feed(text->str, text->len, 1);
    /* Quadratic would take minutes. */
    g_assert_cmpint(clock_ns() - start, <, 5 * NS_PER_SEC);
    g_assert_cmpuint(strlen(seen), ==, text->len + 1);
}

/* Any bytes at all are values or errors. */
static void test_random_bytes(void)
{
    static const char alphabet[] = "{}[]:,\"'\\u0dDeE1-+.tfnrul \n\xff\xc3\xa9";

    for (int round = 0; round < 20000; round++) {
        char buf[40];
        g_autofree char *seen = NULL;

        for (size_t i = 0; i < sizeof(buf); i++) {
            buf[i] = alphabet[g_test_rand_int_range(0, sizeof(alphabet))];
        }
        seen = feed(buf, sizeof(buf), 1 + round % 40);
    }
}

/* ---- values ---- */

/* A dict keeps the order of insertion, whatever its size, and finds what is in it. */
static void test_dict_keeps_order(void)
{
    g_autoptr(QDict) dict = qdict_new();
    const char *key;
    QObject *value;

    for (int i = 0; i < 100; i++) {
        g_autofree char *name = g_strdup_printf("k%d", i);

        qdict_put_int(dict, name, i);
    }
    qdict_put_int(dict, "k7", 700);
    g_assert_true(qdict_del(dict, "k3"));
    g_assert_false(qdict_del(dict, "k3"));
    g_assert_null(qdict_get(dict, "k3"));
    g_assert_cmpuint(qdict_size(dict), ==, 99);
    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        int64_t number, expected = i < 3 ? (int64_t)i : (int64_t)i + 1;
        g_autofree char *name = g_strdup_printf("k%" PRId64, expected);

        g_assert_cmpstr(key, ==, name);
        g_assert_true(qobject_get_int(value, &number));
        g_assert_cmpint(number, ==, expected == 7 ? 700 : expected);
        g_assert_true(qdict_get(dict, name) == value);
    }
}

/* No number is taken for one of another kind or range. */
static void test_number_types(void)
{
    g_autoptr(QObject) minus = qint_new(-1), big = quint_new(UINT64_MAX), frac = qdouble_new(1);
    g_autoptr(QObject) one = quint_new(1), same = qint_new(1);
    int64_t i;
    uint64_t u;
    double d;

    g_assert_true(qobject_get_int(minus, &i) && i == -1);
    g_assert_false(qobject_get_uint(minus, &u));
    g_assert_false(qobject_get_int(big, &i));
    g_assert_true(qobject_get_uint(big, &u) && u == UINT64_MAX);
    g_assert_false(qobject_get_int(frac, &i));
    g_assert_true(qobject_get_double(frac, &d) && d == 1);
    g_assert_true(qobject_get_double(minus, &d) && d == -1);
    g_assert_true(qobject_equal(one, same));
    g_assert_false(qobject_equal(one, frac));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/values", test_values);
    g_test_add_func("/json/numbers", test_numbers);
    g_test_add_func("/json/strings", test_strings);
    g_test_add_func("/json/output-is-always-valid", test_output_is_always_valid);
    g_test_add_func("/json/structure-is-strict", test_structure_is_strict);
    g_test_add_func("/json/members-in-order-of-qemu", test_members_come_in_order_of_qemu);
    g_test_add_func("/json/pretty", test_pretty);
    g_test_add_func("/json/limit/nesting", test_nesting_limit);
    g_test_add_func("/json/limit/token-size", test_token_size_limit);
    g_test_add_func("/json/limit/token-count", test_token_count_limit);
    g_test_add_func("/json/limit/memory", test_memory_limit);
    g_test_add_func("/json/stream/any-chunks", test_stream_any_chunks);
    g_test_add_func("/json/stream/goes-on-after-errors", test_stream_goes_on_after_errors);
    g_test_add_func("/json/stream/goes-on-after-limit", test_stream_goes_on_after_limit);
    g_test_add_func("/json/stream/is-linear", test_stream_is_linear);
    g_test_add_func("/json/random-bytes", test_random_bytes);
    g_test_add_func("/json/dict-keeps-order", test_dict_keeps_order);
    g_test_add_func("/json/number-types", test_number_types);
    return g_test_run();
}

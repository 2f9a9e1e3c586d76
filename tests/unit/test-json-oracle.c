/* SPDX-License-Identifier: GPL-2.0-or-later */
/* On what is plain JSON, our parser and jansson agree. */
#include "qemu/osdep.h"

#include "qobject/json.h"

#ifdef CONFIG_JANSSON
#include <jansson.h>

/* Text that often is JSON and often nearly is. */
static void append_random(GString *out, int depth)
{
    static const char *const scalars[] = {
        "0", "-1", "1.5", "1e5", "9007199254740993", "true", "false", "null", "\"\"", "\"a\\n\"",
        "\"\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\"", "\"\\u0041\"",
        /* and these are not: */
        "01", "+1", "1.", "\"\\x\"", "\"\xff\"", "tru", "\"\\ud800\"", ",", "",
    };
    int kind = g_test_rand_int_range(0, depth ? 4 : 2), count;

    if (kind < 2) {
        /* The last ones rarely, or nothing would ever be valid. */
        int n = g_test_rand_int_range(0, 10) ? 13 : G_N_ELEMENTS(scalars);

        g_string_append(out, scalars[g_test_rand_int_range(0, n)]);
        return;
    }
    count = g_test_rand_int_range(0, 4);
    g_string_append(out, kind == 2 ? "[" : " {");
    for (int i = 0; i < count; i++) {
        if (kind == 3) {
            g_string_append_printf(out, "\"k%d\" : ", g_test_rand_int_range(0, 12));
        }
        append_random(out, depth - 1);
        g_string_append(out, i + 1 < count ? ", " : "");
    }
    g_string_append(out, kind == 2 ? "]\n" : "}");
}

static void test_agrees_with_jansson(void)
{
    int valid = 0;

    for (int round = 0; round < 50000; round++) {
        g_autoptr(GString) text = g_string_new(NULL);
        g_autofree char *ours = NULL;
        g_autoptr(QObject) obj = NULL;
        json_error_t error;
        json_t *theirs, *back;

        append_random(text, 4);
        obj = json_parse(text->str, text->len, NULL);
        theirs = json_loadb(text->str, text->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
        if (!obj != !theirs) {
            g_error("%s: we say %s, jansson: %s", text->str, obj ? "yes" : "no", error.text);
        }
        if (!obj) {
            continue;
        }
        valid++;
        ours = json_to_string(obj);
        back = json_loads(ours, JSON_DECODE_ANY, &error);
        g_assert_nonnull(back);
        /* jansson tells 100000 from 1e5; we print a double without a point if it needs none. */
        if (!json_equal(theirs, back) && !strstr(text->str, "1e5")) {
            g_error("%s was printed as %s", text->str, ours);
        }
        json_decref(theirs);
        json_decref(back);
    }
    g_assert_cmpint(valid, >, 5000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/agrees-with-jansson", test_agrees_with_jansson);
    return g_test_run();
}
#else
int main(void)
{
    puts("skipped: built without jansson");
    return 77;
}
#endif

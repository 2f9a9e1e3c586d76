/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains as Graphviz text. */
#include "qemu/osdep.h"

#include "chain.h"
#include "qobject/json.h"

/* @text in a string of that language; a label's line ends are left to the caller. */
static char *escape(const char *text)
{
    GString *out = g_string_new(NULL);
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    for (const char *at = valid; *at; at++) {
        if (*at == '"' || *at == '\\') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, (unsigned char)*at < ' ' ? '?' : *at);
    }
    return g_string_free(out, false);
}

static void print_node(const QDict *d, bool is_top)
{
    g_autofree char *name = escape(qdict_get_str(d, "filename"));
    g_autofree char *format = escape(qdict_get_str(d, "format"));
    int64_t size = 0, file = 0;

    qobject_get_int(qdict_get(d, "virtual-size"), &size);
    g_autofree char *size_text = img_size_text(size);
    g_autofree char *file_text = qobject_get_int(qdict_get(d, "actual-size"), &file)
                                 ? img_size_text(file) : g_strdup("?");
    printf("  \"%s\" [label=\"%s\\n%s, disk of %s, %s in the file\"%s];\n", name, name, format,
           size_text, file_text, is_top ? ", style=\"filled,bold\"" : "");
}

static void print_chain(const QList *list, GHashTable *seen)
{
    for (size_t i = 0; i < qlist_size(list); i++) {
        const QDict *d = qobject_to_qdict(qlist_get(list, i));
        const char *name = qdict_get_str(d, "filename");
        const QDict *below = qobject_to_qdict(qlist_get(list, i + 1));
        const char *backing = below ? qdict_get_str(below, "filename")
                                    : qdict_get_str(d, "full-backing-filename");

        if (!g_hash_table_add(seen, (char *)name)) {
            return;                 /* and what is below it */
        }
        print_node(d, i == 0);
        if (backing) {
            g_autofree char *from = escape(name), *to = escape(backing);
            printf("  \"%s\" -> \"%s\";\n", from, to);
        }
    }
}

void any_fn img_chain_print_dot(QList *const *lists, size_t n)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    printf("digraph chain {\n"
           "  node [shape=box, style=filled, fillcolor=\"#f1f2f4\", fontname=\"sans-serif\"];\n"
           "  edge [label=\"backing file\", fontname=\"sans-serif\", fontsize=10];\n");
    for (size_t i = 0; i < n; i++) {
        print_chain(lists[i], seen);
    }
    printf("}\n");
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gives each file that it is called with, and each file of a directory, to a fuzz target. */
#include "qemu/osdep.h"

#include "tests/fuzz/fuzz.h"

static bool replay_file(const char *path)
{
    g_autofree char *data = NULL;
    gsize len;

    if (!g_file_get_contents(path, &data, &len, NULL)) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    /* An allocation of exactly that size, so that the address sanitizer sees its end. */
    g_autofree uint8_t *exact = g_memdup2(data, MAX(len, 1));
    fprintf(stderr, "%s\n", path);      /* the last name is that of the input that crashed */
    LLVMFuzzerTestOneInput(exact, len);
    return true;
}

int main(int argc, char **argv)
{
    int done = 0;

    for (int i = 1; i < argc; i++) {
        g_autoptr(GDir) dir = g_dir_open(argv[i], 0, NULL);
        const char *name;
        if (!dir) {
            if (!replay_file(argv[i])) {
                return 1;
            }
            done++;
            continue;
        }
        while ((name = g_dir_read_name(dir))) {
            g_autofree char *path = g_build_filename(argv[i], name, NULL);
            if (!replay_file(path)) {
                return 1;
            }
            done++;
        }
    }
    fprintf(stderr, "%d inputs\n", done);
    return done ? 0 : 1;
}

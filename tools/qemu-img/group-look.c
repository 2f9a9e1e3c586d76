/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img group check, group info: several images, one after the other. */
#include "qemu/osdep.h"

#include "chain.h"
#include "check.h"
#include "group.h"
#include "info.h"
#include "qobject/json.h"

/* ---- check ---- */

/* The further behind, the worse. */
static const int statuses[] = {
    0, IMG_CHECK_UNSUPPORTED, IMG_CHECK_LEAKS, IMG_CHECK_FAILED, IMG_CHECK_CORRUPT,
};

static int worse(int a, int b)
{
    for (size_t i = G_N_ELEMENTS(statuses); i-- > 0; ) {
        if (statuses[i] == a || statuses[i] == b) {
            return statuses[i];
        }
    }
    return IMG_CHECK_FAILED;
}

int co_main_fn img_group_check(int argc, char **argv)
{
    g_autoptr(QList) results = qlist_new();
    ImgCheckArgs a = { 0 };
    int worst = 0;

    img_check_parse(argc, argv, &a);
    img_check_naming(&a.image);
    if (optind == argc) {
        img_usage_error("Expecting image file names");
    }
    for (int i = optind; i < argc; i++) {
        QObject *json;

        a.image.name = argv[i];
        if (a.output == IMG_OUTPUT_HUMAN && !a.quiet) {
            printf("%s%s:\n", i > optind ? "\n" : "", argv[i]);
            fflush(stdout);         /* before what goes to standard error */
        }
        int status = img_check_one(&a, &json);
        if (json) {
            qlist_append(results, json);
        }
        if (status == IMG_CHECK_FAILED || status == IMG_CHECK_UNSUPPORTED) {
            tool_error("%s: was not checked", argv[i]);
        }
        fflush(stdout);
        worst = worse(worst, status);
    }
    if (a.output == IMG_OUTPUT_JSON) {
        img_print_json(qobject_ref(QOBJECT(results)));
    }
    return worst;
}

/* ---- info ---- */

static void print_human(char **names, QList *const *chains, int n)
{
    for (int i = 0; i < n; i++) {
        size_t images = qlist_size(chains[i]);

        printf("%schain of '%s', %zu image%s:\n", i > 0 ? "\n" : "", names[i], images,
               images == 1 ? "" : "s");
        img_print_info(chains[i]);
    }
}

static void print_json(char **names, QList *const *chains, int n)
{
    QList *list = qlist_new();

    for (int i = 0; i < n; i++) {
        QDict *dict = qdict_new();

        qdict_put_str(dict, "image", names[i]);
        qdict_put(dict, "chain", qobject_ref(QOBJECT(chains[i])));
        qlist_append(list, QOBJECT(dict));
    }
    img_print_json(QOBJECT(list));
}

/* All of them, or false after it was said why. */
static bool co_main_fn collect(const ToolImage *common, char **names, QList **chains, int n)
{
    for (int i = 0; i < n; i++) {
        ToolImage image = *common;

        image.name = names[i];
        chains[i] = img_collect_info(&image, true);
        if (!chains[i]) {
            tool_error("%s: its chain cannot be shown", names[i]);
            return false;
        }
    }
    return true;
}

static int co_main_fn show(const ToolImage *common, ImgOutput output, char **names, int n)
{
    g_autofree QList **chains = g_new0(QList *, n);
    bool ok = collect(common, names, chains, n);

    if (ok && output == IMG_OUTPUT_HUMAN) {
        print_human(names, chains, n);
    } else if (ok && output == IMG_OUTPUT_JSON) {
        print_json(names, chains, n);
    } else if (ok) {
        img_chain_print_dot(chains, n);
    }
    for (int i = 0; i < n && chains[i]; i++) {
        qlist_unref(chains[i]);
    }
    return ok ? 0 : 1;
}

int co_main_fn img_group_info(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "format", required_argument, NULL, 'f' },
        { "output", required_argument, NULL, IMG_OPT_OUTPUT },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    ToolImage image = { 0 };
    ImgOutput output = IMG_OUTPUT_HUMAN;
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:U", longopts)) != -1) {
        switch (opt) {
        case 'f':
            image.format = optarg;
            break;
        case 'U':
            image.force_share = true;
            break;
        case IMG_OPT_OUTPUT:
            output = strcmp(optarg, "dot") == 0 ? IMG_OUTPUT_DOT : img_output_arg(optarg);
            break;
        case IMG_OPT_IMAGE_OPTS:
            image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
    img_check_naming(&image);
    if (optind == argc) {
        img_usage_error("Expecting image file names");
    }
    return show(&image, output, argv + optind, argc - optind);
}

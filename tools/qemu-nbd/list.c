/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a server exports, one after the other, with what it says of each. */
#include "qemu/osdep.h"

#include "config-host.h"
#include "qemu/aio.h"
#include "qnbd.h"
#if CONFIG_LIBNBD
#include <libnbd.h>

/* The most that a server is listened to: lines and contexts. */
#define MOST 10000

typedef struct List {
    int fd;
    GPtrArray *names, *descriptions;    /* of char * */
    GString *out;
    char *error;
} List;

static int on_export(void *opaque, const char *name, const char *description)
{
    List *l = opaque;

    if (l->names->len < MOST) {
        g_ptr_array_add(l->names, g_strdup(name));
        g_ptr_array_add(l->descriptions, g_strdup(description));
    }
    return 0;
}

static int on_context(void *opaque, const char *name)
{
    GPtrArray *contexts = opaque;

    if (contexts->len < MOST) {
        g_ptr_array_add(contexts, g_strdup(name));
    }
    return 0;
}

static void print_flags(struct nbd_handle *h, GString *out)
{
    const struct {
        int has;
        unsigned bit;
        const char *name;
    } flags[] = {
        { nbd_is_read_only(h), 1 << 1, "readonly" }, { nbd_can_flush(h), 1 << 2, "flush" },
        { nbd_can_fua(h), 1 << 3, "fua" }, { nbd_is_rotational(h), 1 << 4, "rotational" },
        { nbd_can_trim(h), 1 << 5, "trim" }, { nbd_can_zero(h), 1 << 6, "zeroes" },
        { nbd_can_df(h), 1 << 7, "df" }, { nbd_can_multi_conn(h), 1 << 8, "multi" },
        { nbd_can_cache(h), 1 << 10, "cache" }, { nbd_can_fast_zero(h), 1 << 11, "fast-zero" },
    };
    unsigned bits = 1;
    g_autoptr(GString) names = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].has > 0) {
            bits |= flags[i].bit;
            g_string_append_printf(names, " %s", flags[i].name);
        }
    }
    g_string_append_printf(out, "  flags: 0x%x (%s )\n", bits, names->str);
}

static void print_details(struct nbd_handle *h, GString *out)
{
    g_autoptr(GPtrArray) contexts = g_ptr_array_new_with_free_func(g_free);
    int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
    nbd_context_callback context = { .callback = on_context, .user_data = contexts };

    g_string_append_printf(out, "  size:  %" PRIu64 "\n", (uint64_t)nbd_get_size(h));
    print_flags(h, out);
    if (min > 0) {
        g_string_append_printf(out, "  min block: %" PRId64 "\n  opt block: %" PRId64
                               "\n  max block: %" PRId64 "\n", min,
                               nbd_get_block_size(h, LIBNBD_SIZE_PREFERRED),
                               nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM));
    }
    if (nbd_opt_list_meta_context(h, context) > 0) {
        g_string_append_printf(out, "  available meta contexts: %u\n", contexts->len);
        for (guint i = 0; i < contexts->len; i++) {
            g_string_append_printf(out, "   %s\n", (char *)contexts->pdata[i]);
        }
    }
}

static void print_exports(struct nbd_handle *h, List *l)
{
    g_string_append_printf(l->out, "exports available: %u\n", l->names->len);
    for (guint i = 0; i < l->names->len; i++) {
        const char *description = l->descriptions->pdata[i];

        g_string_append_printf(l->out, " export: '%s'\n", (char *)l->names->pdata[i]);
        if (description[0]) {
            g_string_append_printf(l->out, "  description: %s\n", description);
        }
        if (nbd_set_export_name(h, l->names->pdata[i]) == 0 && nbd_opt_info(h) == 0) {
            print_details(h, l->out);
        }
    }
}

static int blocking_fn list_in_thread(void *opaque)
{
    List *l = opaque;
    struct nbd_handle *h = nbd_create();
    nbd_list_callback list = { .callback = on_export, .user_data = l };
    bool ok = h && nbd_set_opt_mode(h, true) == 0 && nbd_set_full_info(h, true) == 0;

    if (ok) {
        ok = nbd_connect_socket(h, l->fd) == 0 && nbd_opt_list(h, list) >= 0;
    } else {
        close(l->fd);
    }
    if (ok) {
        print_exports(h, l);
        nbd_opt_abort(h);
    } else {
        l->error = g_strdup(nbd_get_error() ?: "no memory");
    }
    nbd_close(h);
    return ok ? 0 : -EIO;
}

int co_main_fn qnbd_list(const QnbdArgs *a)
{
    List l = {
        .names = g_ptr_array_new_with_free_func(g_free),
        .descriptions = g_ptr_array_new_with_free_func(g_free), .out = g_string_new(NULL),
    };
    Error *err = NULL;
    SocketSpec addr;

    qnbd_address(a, &addr);
    l.fd = socket_connect(&addr, &err);
    socket_spec_clear(&addr);
    int ret = l.fd < 0 ? -1 : thread_pool_co_run(list_in_thread, &l);
    if (l.fd < 0) {
        error_report_err(err);
    } else if (ret < 0) {
        tool_error("%s", l.error);
    } else {
        fputs(l.out->str, stdout);
    }
    g_free(l.error);
    g_string_free(l.out, TRUE);
    g_ptr_array_unref(l.names);
    g_ptr_array_unref(l.descriptions);
    return ret < 0;
}
#else
int co_main_fn qnbd_list(const QnbdArgs *a)
{
    tool_error("Cannot list exports: this program was built without libnbd");
    return 1;
}
#endif

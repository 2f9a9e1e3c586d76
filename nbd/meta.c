/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Metadata contexts: base:allocation and qemu:allocation-depth. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

typedef struct MetaContext {
    const char *name;
    uint32_t id;
} MetaContext;

static const MetaContext contexts[] = {
    { "base:allocation",        NBD_META_ALLOCATION },
    { "qemu:allocation-depth",  NBD_META_DEPTH },
};

/* Does @query, of @len bytes, ask for the context?  In a LIST, "base:" asks for all of a namespace.
 */
static bool query_matches(const char *query, size_t len, const char *name, bool list)
{
    size_t namespace_len = strchr(name, ':') - name + 1;

    return (len == strlen(name) || (list && len == namespace_len)) &&
           memcmp(query, name, len) == 0;
}

/* Bits of the contexts that the queries ask for; NULL or what is wrong. */
static const char *parse_queries(const uint8_t *p, const uint8_t *end, uint32_t count, bool list,
                                 unsigned *ret_bits)
{
    *ret_bits = list && count == 0 ? ~0u : 0;
    for (; count > 0; count--) {
        uint32_t len;
        if (end - p < 4 || (len = be32_load(p)) > (size_t)(end - p - 4)) {
            return "query is longer than the option";
        }
        for (size_t i = 0; i < G_N_ELEMENTS(contexts); i++) {
            if (query_matches((const char *)p + 4, len, contexts[i].name, list)) {
                *ret_bits |= 1u << contexts[i].id;
            }
        }
        p += 4 + len;
    }
    return p == end ? NULL : "option is longer than its queries";
}

static const char *parse_option(NbdConn *conn, const NbdOption *opt, char *name,
                                unsigned *ret_bits)
{
    const uint8_t *p = opt->data, *end = p + opt->len;
    uint32_t name_len;

    if (!conn->structured) {
        return "request metadata contexts only after structured replies";
    }
    if (opt->len < 8) {
        return "request is too short";
    }
    name_len = be32_load(p);
    if (name_len > NBD_MAX_STRING || name_len > opt->len - 8) {
        return "export name is too long";
    }
    memcpy(name, p + 4, name_len);
    name[name_len] = 0;
    if (strlen(name) != name_len) {
        return "export name contains a NUL byte";
    }
    p += 4 + name_len;
    return parse_queries(p + 4, end, be32_load(p), opt->code == NBD_OPT_LIST_META_CONTEXT,
                         ret_bits);
}

NbdOptResult co_main_fn nbd_opt_meta_context(NbdConn *conn, const NbdOption *opt)
{
    bool set = opt->code == NBD_OPT_SET_META_CONTEXT;
    g_autofree char *name = g_malloc(NBD_MAX_STRING + 1);
    unsigned bits = 0;
    const char *wrong = parse_option(conn, opt, name, &bits);
    int ret = 0;

    if (set) {                      /* a failed SET leaves none selected */
        conn->meta = 0;
        g_clear_pointer(&conn->meta_export, g_free);
    }
    if (wrong) {
        ret = nbd_opt_error(conn, opt->code, NBD_REP_ERR_INVALID, "%s", wrong);
        return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
    }
    NbdExport *exp = nbd_find_export(conn->server, name);
    if (!exp) {
        ret = nbd_opt_error(conn, opt->code, NBD_REP_ERR_UNKNOWN, "export '%s' not present", name);
        return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
    }
    if (!exp->allocation_depth) {
        bits &= ~(1u << NBD_META_DEPTH);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(contexts) && ret == 0; i++) {
        if (bits & (1u << contexts[i].id)) {
            uint8_t buf[64];
            size_t len = strlen(contexts[i].name);
            be32_store(buf, set ? contexts[i].id : 0);
            memcpy(buf + 4, contexts[i].name, len);
            ret = nbd_opt_reply(conn, opt->code, NBD_REP_META_CONTEXT, buf, 4 + len);
        }
    }
    if (set) {
        conn->meta = bits;
        conn->meta_export = g_steal_pointer(&name);
    }
    if (ret == 0) {
        ret = nbd_opt_reply(conn, opt->code, NBD_REP_ACK, NULL, 0);
    }
    return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Metadata contexts: base:allocation, qemu:allocation-depth, qemu:dirty-bitmap:NAME. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

#define BITMAP_NAMESPACE "qemu:dirty-bitmap:"

/* The name of context @id; a bitmap's is put together in @buf. */
#define NAME_BYTES (sizeof(BITMAP_NAMESPACE) + BDRV_BITMAP_MAX_NAME)
static const char *main_fn context_name(const NbdExport *exp, uint32_t id, char *buf)
{
    if (id == NBD_META_ALLOCATION) {
        return "base:allocation";
    }
    if (id == NBD_META_DEPTH) {
        return "qemu:allocation-depth";
    }
    snprintf(buf, NAME_BYTES, BITMAP_NAMESPACE "%s",
             bdrv_dirty_bitmap_name(exp->bitmaps->pdata[id - NBD_META_BITMAP]));
    return buf;
}

/* Those that @exp has, as bits. */
static uint64_t main_fn contexts_of(const NbdExport *exp)
{
    uint64_t bits = UINT64_C(1) << NBD_META_ALLOCATION;

    if (exp->allocation_depth) {
        bits |= UINT64_C(1) << NBD_META_DEPTH;
    }
    for (guint i = 0; i < exp->bitmaps->len; i++) {
        bits |= UINT64_C(1) << (NBD_META_BITMAP + i);
    }
    return bits;
}

/*
 * Does @query, of @len bytes, ask for the context?  In a LIST, "base:" asks for all of a namespace,
 * and "qemu:dirty-bitmap:" for all bitmaps.
 */
static bool query_matches(const char *query, size_t len, const char *name, bool list)
{
    size_t name_len = strlen(name), namespace_len = strchr(name, ':') - name + 1;
    bool bitmaps = len == strlen(BITMAP_NAMESPACE) && len < name_len;

    return (len == name_len || (list && (len == namespace_len || bitmaps))) &&
           memcmp(query, name, len) == 0;
}

/* Those of @exp that one query asks for. */
static uint64_t main_fn one_query(const NbdExport *exp, const char *query, size_t len, bool list)
{
    uint64_t bits = 0;
    char buf[NAME_BYTES];

    for (uint64_t left = contexts_of(exp); left; left &= left - 1) {
        uint32_t id = __builtin_ctzll(left);

        if (query_matches(query, len, context_name(exp, id, buf), list)) {
            bits |= UINT64_C(1) << id;
        }
    }
    return bits;
}

/* Bits of the contexts that the queries ask for; NULL or what is wrong. @exp may be NULL. */
static const char *main_fn parse_queries(const NbdExport *exp, const uint8_t *p,
                                         const uint8_t *end, uint32_t count, bool list,
                                         uint64_t *ret_bits)
{
    *ret_bits = list && count == 0 && exp ? contexts_of(exp) : 0;
    for (; count > 0; count--) {
        uint32_t len;
        if (end - p < 4 || (len = be32_load(p)) > (size_t)(end - p - 4)) {
            return "query is longer than the option";
        }
        if (exp) {
            *ret_bits |= one_query(exp, (const char *)p + 4, len, list);
        }
        p += 4 + len;
    }
    return p == end ? NULL : "option is longer than its queries";
}

/* *@ret_exp: NULL if there is none of that name, which is put into @name. */
static const char *main_fn parse_option(NbdConn *conn, const NbdOption *opt, char *name,
                                        NbdExport **ret_exp, uint64_t *ret_bits)
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
    *ret_exp = nbd_find_export(conn->server, name);
    return parse_queries(*ret_exp, p + 4, end, be32_load(p),
                         opt->code == NBD_OPT_LIST_META_CONTEXT, ret_bits);
}

/* Answers with each context of @bits. They are copied first: while the client takes the answers
 * the export may go, and its bitmaps with it. */
static int co_main_fn send_contexts(NbdConn *conn, const NbdOption *opt, const NbdExport *exp,
                                    uint64_t bits)
{
    bool set = opt->code == NBD_OPT_SET_META_CONTEXT;
    g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    char buf[NAME_BYTES];
    int ret = 0;

    for (; bits; bits &= bits - 1) {
        uint32_t id = __builtin_ctzll(bits);
        const char *name = context_name(exp, id, buf);
        GByteArray *answer = g_byte_array_new();
        uint8_t head[4];

        be32_store(head, set ? id : 0);
        g_byte_array_append(answer, head, sizeof(head));
        g_byte_array_append(answer, (const uint8_t *)name, strlen(name));
        g_ptr_array_add(answers, answer);
    }
    for (guint i = 0; i < answers->len && ret == 0; i++) {
        const GByteArray *answer = answers->pdata[i];
        ret = nbd_opt_reply(conn, opt->code, NBD_REP_META_CONTEXT, answer->data, answer->len);
    }
    return ret;
}

NbdOptResult co_main_fn nbd_opt_meta_context(NbdConn *conn, const NbdOption *opt)
{
    bool set = opt->code == NBD_OPT_SET_META_CONTEXT;
    g_autofree char *name = g_malloc(NBD_MAX_STRING + 1);
    NbdExport *exp = NULL;
    uint64_t bits = 0;
    const char *wrong = parse_option(conn, opt, name, &exp, &bits);
    int ret = 0;

    if (set) {                      /* a failed SET leaves none selected */
        conn->meta = 0;
        conn->meta_export = 0;
    }
    if (wrong) {
        ret = nbd_opt_error(conn, opt->code, NBD_REP_ERR_INVALID, "%s", wrong);
        return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
    }
    if (!exp) {
        ret = nbd_opt_error(conn, opt->code, NBD_REP_ERR_UNKNOWN, NBD_NO_EXPORT,
                            NBD_NO_EXPORT_ARGS(name));
        return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
    }
    if (set) {
        conn->meta = bits;
        conn->meta_export = exp->serial;
    }
    ret = send_contexts(conn, opt, exp, bits);
    if (ret == 0) {
        ret = nbd_opt_reply(conn, opt->code, NBD_REP_ACK, NULL, 0);
    }
    return ret < 0 ? NBD_OPT_CLOSE : NBD_OPT_CONTINUE;
}

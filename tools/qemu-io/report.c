/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said about a request: its numbers, its bytes. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

void any_fn io_print(IoSession *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    s->out->text(s->out->opaque, text, false);
}

void any_fn io_complain(IoSession *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_autofree char *line = g_strdup_printf("%s\n", text);
    s->out->text(s->out->opaque, line, true);
}

void any_fn io_complain_err(IoSession *s, Error *err)
{
    if (s->out->error) {
        s->out->error(s->out->opaque, error_get_pretty(err));
    } else {
        io_complain(s, "%s: %s", g_get_prgname() ?: "qemu-io", error_get_pretty(err));
    }
    error_free(err);
}

int co_main_fn io_failed(IoSession *s, const char *what, int ret)
{
    io_print(s, "%s failed: %s\n", what, g_strerror(-ret));
    return ret;
}

/* ---- numbers ---- */

char *any_fn io_human_bytes(double bytes)
{
    static const char units[] = "KMGTPE";
    char text[64];
    int unit = -1;

    while (unit + 1 < (int)strlen(units) && bytes >= (double)(UINT64_C(1) << (10 * (unit + 2)))) {
        unit++;
    }
    bool plain = bytes < 1024;
    snprintf(text, sizeof(text), plain ? "%f" : "%.3f",
             plain ? bytes : bytes / (double)(UINT64_C(1) << (10 * (unit + 1))));
    /* A whole number needs no places. */
    char *point = strchr(text, '.');
    if (point && strspn(point + 1, "0") == strlen(point + 1)) {
        *point = '\0';
    }
    return plain ? g_strdup_printf("%s bytes", text)
                 : g_strdup_printf("%s %ciB", text, units[unit]);
}

/* @fixed: hours and minutes even if there are none. */
static char *human_time(int64_t ns, bool fixed)
{
    int64_t seconds = ns / NS_PER_SEC;
    int hundredths = (int)(ns % NS_PER_SEC / 10000000);

    if (!fixed && seconds < 60) {
        return g_strdup_printf("%02d.%02d sec", (int)seconds, hundredths);
    }
    return g_strdup_printf("%" PRId64 ":%02d:%02d.%02d", seconds / 3600,
                           (int)(seconds / 60 % 60), (int)(seconds % 60), hundredths);
}

void any_fn io_report(IoSession *s, IoReport how, const char *verb, int64_t start_ns,
                      int64_t offset, int64_t wanted, int64_t done)
{
    int64_t ns = clock_ns() - start_ns;
    double seconds = (double)MAX(ns, 1) / NS_PER_SEC;

    if (how.quiet || s->quiet) {
        return;
    }
    g_autofree char *time = human_time(ns, how.machine);
    if (how.machine) {
        io_print(s, "%" PRId64 ",1,%s,%.3f,%.3f\n", done, time, (double)done / seconds,
                 1 / seconds);
        return;
    }
    g_autofree char *size = io_human_bytes((double)done);
    g_autofree char *speed = io_human_bytes((double)done / seconds);
    io_print(s, "%s %" PRId64 "/%" PRId64 " bytes at offset %" PRId64 "\n"
             "%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", verb, done, wanted, offset, size, time,
             speed, 1 / seconds);
}

/* ---- bytes ---- */

/* Far enough from the page's beginning that no device's sector begins there. */
#define MISALIGNMENT 16

void *any_fn io_buffer_new(IoSession *s, size_t len, int pattern)
{
    uint8_t *buf = bdrv_try_blockalign(MAX(len, 1) + MISALIGNMENT);

    if (!buf) {
        io_complain(s, "cannot get %zu bytes of memory", len);
        return NULL;
    }
    buf += s->misalign ? MISALIGNMENT : 0;
    memset(buf, pattern, len);
    return buf;
}

void any_fn io_buffer_free(IoSession *s, void *buf)
{
    if (buf) {
        free((uint8_t *)buf - (s->misalign ? MISALIGNMENT : 0));
    }
}

bool any_fn io_buffer_is(const void *buf, int pattern, size_t len)
{
    const uint8_t *p = buf;

    return len == 0 || (p[0] == pattern && memcmp(p, p + 1, len - 1) == 0);
}

static void dump_line(GString *out, const uint8_t *buf, size_t len, uint64_t offset)
{
    g_string_append_printf(out, "%08" PRIx64 ":  ", offset);
    for (size_t i = 0; i < len; i++) {
        g_string_append_printf(out, "%02x ", buf[i]);
    }
    g_string_append_c(out, ' ');
    for (size_t i = 0; i < len; i++) {
        g_string_append_c(out, g_ascii_isalnum(buf[i]) ? (char)buf[i] : '.');
    }
    g_string_append_c(out, '\n');
}

void any_fn io_dump(IoSession *s, const void *buf, size_t len, int64_t offset)
{
    g_autoptr(GString) out = g_string_new(NULL);

    for (size_t at = 0; at < len; at += 16) {
        dump_line(out, (const uint8_t *)buf + at, MIN(len - at, 16), (uint64_t)offset + at);
        if (out->len > 64 * KiB) {
            io_print(s, "%s", out->str);
            g_string_truncate(out, 0);
        }
    }
    io_print(s, "%s", out->str);
}

/* ---- vectors ---- */

static int vector_lengths(IoSession *s, char *const *lengths, guint n, GArray *ret_lengths,
                          int64_t *ret_total)
{
    *ret_total = 0;
    for (guint i = 0; i < n; i++) {
        int64_t len;
        int err = io_parse_bytes(s, lengths[i], &len);
        if (err < 0) {
            return err;
        }
        if (len > IO_MAX_BYTES) {
            io_print(s, "Argument '%s' exceeds maximum size %" PRId64 "\n", lengths[i],
                     IO_MAX_BYTES);
            return -EINVAL;
        }
        if (*ret_total > IO_MAX_BYTES - len) {
            io_print(s, "The total number of bytes exceed the maximum size %" PRId64 "\n",
                     IO_MAX_BYTES);
            return -EINVAL;
        }
        g_array_append_val(ret_lengths, len);
        *ret_total += len;
    }
    return 0;
}

int any_fn io_vector_new(IoSession *s, IoVec *vec, char *const *lengths, guint n, int pattern,
                         void **ret_buf)
{
    g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(int64_t));
    int64_t total;
    int err = vector_lengths(s, lengths, n, parts, &total);

    if (err < 0) {
        return err;
    }
    uint8_t *buf = io_buffer_new(s, (size_t)total, pattern);
    if (!buf) {
        return -ENOMEM;
    }
    *ret_buf = buf;
    iovec_init(vec);
    for (guint i = 0; i < n; i++) {
        size_t len = (size_t)g_array_index(parts, int64_t, i);
        iovec_add(vec, buf, len);
        buf += len;
    }
    return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a command's words mean: options, numbers, patterns. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

/* ---- options ---- */

void any_fn io_args_init(IoArgs *a, IoSession *s, const IoCommand *cmd, int argc, char **argv,
                         const char *letters)
{
    *a = (IoArgs){ .s = s, .cmd = cmd, .letters = letters, .argc = argc, .argv = argv,
                   .values = g_ptr_array_new() };
}

void any_fn io_args_clear(IoArgs *a)
{
    g_ptr_array_unref(a->values);
}

/* Goes to the next argument with options; false: there is none. */
static bool find_letters(IoArgs *a)
{
    while (++a->index < a->argc) {
        char *arg = a->argv[a->index];
        if (a->only_values || arg[0] != '-' || !arg[1]) {
            g_ptr_array_add(a->values, arg);
        } else if (strcmp(arg, "--") == 0) {
            a->only_values = true;
        } else {
            a->next = arg + 1;
            return true;
        }
    }
    return false;
}

static int option_error(IoArgs *a, const char *what, char letter)
{
    io_complain(a->s, "%s: %s -- '%c'", a->argv[0], what, letter);
    return '?';
}

int any_fn io_args_next(IoArgs *a)
{
    if ((!a->next || !*a->next) && !find_letters(a)) {
        return 0;
    }
    char letter = *a->next++;
    const char *known = letter == ':' ? NULL : strchr(a->letters, letter);
    if (!known) {
        return option_error(a, "invalid option", letter);
    }
    if (known[1] != ':') {
        return letter;
    }
    if (*a->next) {
        a->value = a->next;
    } else if (a->index + 1 < a->argc) {
        a->value = a->argv[++a->index];
    } else {
        return option_error(a, "option requires an argument", letter);
    }
    a->next = NULL;
    return letter;
}

/* ---- numbers ---- */

/* How many binary digits the unit at the end of a number has, -1: there is no such unit. */
static int unit_bits(const char *unit)
{
    static const char units[] = "BKMGTPE";

    if (!unit[0]) {
        return 0;
    }
    const char *at = strchr(units, g_ascii_toupper(unit[0]));
    return at && !unit[1] ? (int)(at - units) * 10 : -1;
}

static int parse_bytes(const char *text, int64_t *ret)
{
    double fraction = 0;
    char *end;

    text += strspn(text, "\t\n\v\f\r");       /* words end at spaces only */
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');

    if (!g_ascii_isdigit(text[0])) {
        return -EINVAL;
    }
    errno = 0;
    uint64_t whole = g_ascii_strtoull(text, &end, hex ? 16 : 10);
    if (errno) {
        return -errno;
    }
    if (*end == '.' && !hex && g_ascii_isdigit(end[1])) {
        double place = 0.1;
        for (end++; g_ascii_isdigit(*end); end++, place /= 10) {
            fraction += place * (*end - '0');
        }
    }
    int bits = unit_bits(end);
    if (bits < 0 || (fraction > 0 && bits == 0)) {
        return -EINVAL;
    }
    if (whole > (uint64_t)INT64_MAX >> bits) {
        return -ERANGE;
    }
    uint64_t sum = (whole << bits) + (uint64_t)(fraction * (double)(UINT64_C(1) << bits));
    *ret = (int64_t)sum;
    return sum > INT64_MAX ? -ERANGE : 0;
}

int any_fn io_parse_bytes(IoSession *s, const char *text, int64_t *ret)
{
    int err = parse_bytes(text, ret);

    if (err == -ERANGE) {
        io_print(s, "Parsing error: argument too large -- %s\n", text);
    } else if (err < 0) {
        io_print(s, "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- "
                 "%s\n", text);
    }
    return err;
}

int any_fn io_parse_length(IoSession *s, const char *text, int64_t *ret)
{
    int err = io_parse_bytes(s, text, ret);

    if (err == 0 && *ret > IO_MAX_BYTES) {
        io_print(s, "length cannot exceed %" PRId64 ", given %s\n", IO_MAX_BYTES, text);
        return -EINVAL;
    }
    return err;
}

int any_fn io_parse_pattern(IoSession *s, const char *text, int *ret)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 0);
    if (errno || end == text || *end || value < 0 || value > 0xff) {
        io_print(s, "%s is not a valid pattern byte\n", text);
        return -EINVAL;
    }
    *ret = (int)value;
    return 0;
}

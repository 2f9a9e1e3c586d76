/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and switches as people write them in options. */
#include "qemu/osdep.h"

#include "qobject/keyval.h"

/* log2 of the unit that @suffix names, or -1. */
static int unit_shift(const char *suffix)
{
    static const char units[] = "bkmgtpe";
    const char *unit;

    if (suffix[0] == '\0') {
        return 0;
    }
    unit = strchr(units, g_ascii_tolower(suffix[0]));
    return unit && suffix[1] == '\0' ? (int)(unit - units) * 10 : -1;
}

/* @fraction is ".5" or the like: what it adds to a whole number of units of 2^@shift bytes. */
static bool parse_fraction(const char *fraction, const char **ret_end, int shift, uint64_t *ret)
{
    double value = 0, place = 0.1;
    const char *p = fraction + 1;

    for (; g_ascii_isdigit(*p); p++, place /= 10) {
        value += place * (*p - '0');
    }
    *ret_end = p;
    *ret = (uint64_t)(value * (double)(UINT64_C(1) << shift));
    return p > fraction + 1;
}

static bool parse_size(const char *str, uint64_t *ret)
{
    bool hex = str[0] == '0' && (str[1] == 'x' || str[1] == 'X');
    const char *suffix;
    char *end;
    uint64_t whole, part = 0;
    int shift;

    if (!g_ascii_isdigit(str[0])) {
        return false;
    }
    errno = 0;
    whole = g_ascii_strtoull(str, &end, hex ? 16 : 10);
    if (errno || end == str || (hex && end == str + 1)) {
        return false;
    }
    suffix = end;
    if (*end == '.' && !hex) {
        suffix = end + 1 + strspn(end + 1, "0123456789");
    }
    shift = unit_shift(suffix);
    if (shift < 0 || (hex && *suffix) || (shift && whole > UINT64_MAX >> shift)) {
        return false;
    }
    bool has_part = end + 1 + strspn(end, ".0") < suffix + 1;      /* "1.0" is 1 */
    if (has_part && (shift == 0 || !parse_fraction(end, &suffix, shift, &part))) {
        return false;
    }
    if (part > UINT64_MAX - (whole << shift)) {
        return false;
    }
    *ret = (whole << shift) + part;
    return true;
}

bool keyval_parse_size(const char *str, uint64_t *ret, Error **errp)
{
    if (!parse_size(str, ret)) {
        error_setg(errp, "Invalid size '%s': a number, with an optional suffix b, k, M, G, T, P "
                   "or E, is needed", str);
        return false;
    }
    return true;
}

bool keyval_parse_bool(const char *str, bool *ret)
{
    static const char *const words[] = { "on", "yes", "true", "y", "off", "no", "false", "n" };

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(str, words[i]) == 0) {
            *ret = i < 4;
            return true;
        }
    }
    return false;
}

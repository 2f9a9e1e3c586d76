/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that several commands print. */
#include "qemu/osdep.h"

#include "img.h"
#include "qobject/json.h"

char *img_size_text(int64_t bytes)
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    double value = bytes;
    size_t unit = 0;

    /* Three digits are shown. */
    while (value >= 1000 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    return g_strdup_printf("%0.3g %sB", value, units[unit]);
}

void img_print_json(QObject *value)
{
    g_autofree char *text = json_to_string_pretty(value);

    puts(text);
    qobject_unref(value);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots. */
#include "qemu/osdep.h"

#include <time.h>

#include "snapshot-list.h"

static int64_t get_int(const QDict *dict, const char *key)
{
    int64_t value = 0;

    qobject_get_int(qdict_get(dict, key), &value);
    return value;
}

static void print_one(const QDict *d)
{
    time_t date = get_int(d, "date-sec");
    int64_t clock = get_int(d, "vm-clock-sec"), icount;
    g_autofree char *size = img_size_text(get_int(d, "vm-state-size"));
    char date_text[64] = "", clock_text[64], icount_text[32] = "";
    struct tm tm;

    if (localtime_r(&date, &tm)) {
        strftime(date_text, sizeof(date_text), "%Y-%m-%d %H:%M:%S", &tm);
    }
    snprintf(clock_text, sizeof(clock_text), "%02d:%02d:%02d.%03d", (int)(clock / 3600),
             (int)(clock / 60 % 60), (int)(clock % 60),
             (int)(get_int(d, "vm-clock-nsec") / NS_PER_MS));
    if (qobject_get_int(qdict_get(d, "icount"), &icount)) {
        snprintf(icount_text, sizeof(icount_text), "%" PRId64, icount);
    }
    printf("%-9s %-16s %8s%20s%13s%11s\n", qdict_get_str(d, "id"), qdict_get_str(d, "name"),
           size, date_text, clock_text, icount_text);
}

void any_fn img_print_snapshots(const QList *list)
{
    printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
           "ICOUNT");
    for (size_t i = 0; i < qlist_size(list); i++) {
        print_one(qobject_to_qdict(qlist_get(list, i)));
    }
}

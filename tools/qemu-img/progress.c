/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a command is. */
#include "qemu/osdep.h"

#include <signal.h>

#include "img.h"

#define SHOW_EVERY_NS (100 * NS_PER_MS)
#define BAR_WIDTH 40

struct ImgProgress {
    bool bar;                       /* standard output is a terminal, and it was asked for */
    double percent, shown;
    int64_t begun_ns, shown_ns;
};

/* Somebody wants to know; looked at now and then. */
static volatile sig_atomic_t wanted;

static void want(int signal)
{
    wanted = 1;
}

ImgProgress *main_fn img_progress_new(bool show)
{
    ImgProgress *p = g_new0(ImgProgress, 1);
    struct sigaction action = { .sa_handler = want, .sa_flags = SA_RESTART };

    p->bar = show && isatty(STDOUT_FILENO);
    p->shown = -1;
    p->begun_ns = clock_ns();
    sigaction(SIGUSR1, &action, NULL);
    return p;
}

/* A line that the next one overwrites. */
static void draw(ImgProgress *p)
{
    int filled = p->percent / 100 * BAR_WIDTH;
    int64_t spent = clock_ns() - p->begun_ns;
    char bar[BAR_WIDTH + 1] = "", left[32] = "";

    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    if (p->percent > 1 && p->percent < 100 && spent > 2 * NS_PER_SEC) {
        int64_t s = spent * (100 / p->percent - 1) / NS_PER_SEC;
        snprintf(left, sizeof(left), "  %" PRId64 ":%02" PRId64 " left", s / 60, s % 60);
    }
    printf("\r    [%s] %6.2f%%%s\033[K", bar, p->percent, left);
    fflush(stdout);
    p->shown = p->percent;
    p->shown_ns = clock_ns();
}

void main_fn img_progress_set(ImgProgress *p, uint64_t done, uint64_t total)
{
    p->percent = total ? 100.0 * MIN(done, total) / total : 100;
    if (p->bar && p->percent != p->shown && clock_ns() - p->shown_ns >= SHOW_EVERY_NS) {
        draw(p);
    }
    if (wanted) {
        wanted = 0;
        g_printerr("    (%3.2f/100%%)\n", p->percent);
    }
}

void main_fn img_progress_end(ImgProgress *p)
{
    if (p && p->bar) {
        draw(p);
        putchar('\n');
    }
    g_free(p);
}

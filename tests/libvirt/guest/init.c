/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Process 1 of the guest.  It loads the modules that are beside it, says READY on the second serial
 * port, and answers there: a line of a command, a line that begins with OK or ERR.  What the kernel
 * and it complain about goes to the first one.
 */
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

static FILE *line, *orders;     /* the serial port that we are spoken to on: to it, from it */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Their names begin with numbers: what a module needs comes before it. */
static void load_modules(void)
{
    struct dirent **names;
    int n = scandir("/modules", &names, NULL, by_name);

    for (int i = 0; i < n; i++) {
        char path[300];
        snprintf(path, sizeof(path), "/modules/%s", names[i]->d_name);
        int fd = names[i]->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST) {
            printf("guest: %s: %s\n", path, strerror(errno));
        }
        close(fd);
    }
}

static void prepare(void)
{
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int fd = open("/dev/console", O_RDWR);
    dup2(fd, 1);
    dup2(fd, 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    load_modules();
}

static bool open_line(void)
{
    struct termios t;

    line = fopen("/dev/ttyS1", "w");
    orders = fopen("/dev/ttyS1", "r");
    if (!line || !orders || tcgetattr(fileno(line), &t)) {
        return false;
    }
    cfmakeraw(&t);
    cfsetspeed(&t, B115200);
    tcsetattr(fileno(line), TCSANOW, &t);
    setvbuf(line, NULL, _IOLBF, 4096);
    return true;
}

static void tell_disk(void *opaque, const char *serial, const char *name, uint64_t bytes)
{
    fprintf(line, " %s=%s=%llu", serial, name, (unsigned long long)bytes);
}

static void tell_writers(void)
{
    struct writer_state s;

    for (unsigned i = 0; writer_state(i, &s); i++) {
        fprintf(line, " %s=%llu=%u=%llu", s.serial, (unsigned long long)s.number, s.errors,
                (unsigned long long)s.gap_us);
    }
}

/* Writes one record's size of @byte at @offset, and flushes it. */
static const char *poke(const char *serial, uint64_t offset, int byte)
{
    char name[64], path[80];
    void *data;
    const char *why = NULL;

    if (!disk_by_serial(serial, name, sizeof(name))) {
        return "no such disk";
    }
    snprintf(path, sizeof(path), "/dev/%s", name);
    int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0 || posix_memalign(&data, RECORD_SIZE, RECORD_SIZE)) {
        return "cannot be opened";
    }
    memset(data, byte, RECORD_SIZE);
    if (pwrite(fd, data, RECORD_SIZE, offset) != RECORD_SIZE || fsync(fd)) {
        why = strerror(errno);
    }
    free(data);
    close(fd);
    return why;
}

static void answer(const char *why)
{
    fprintf(line, why ? "ERR %s\n" : "OK\n", why);
}

static void end(int how)
{
    writers_stop();
    sync();
    fprintf(line, "OK\n");
    fflush(line);
    tcdrain(fileno(line));
    reboot(how);
}

static void obey(char *text)
{
    char verb[16] = "", serial[64] = "";
    unsigned long long a = 0, b = 0;
    unsigned c = 0;

    sscanf(text, "%15s %63s %llu %llu %u", verb, serial, &a, &b, &c);
    if (!strcmp(verb, "disks")) {
        fprintf(line, "OK");
        disks_each(tell_disk, NULL);
        fprintf(line, "\n");
    } else if (!strcmp(verb, "state")) {
        fprintf(line, "OK");
        tell_writers();
        fprintf(line, "\n");
    } else if (!strcmp(verb, "start")) {
        answer(writer_start(serial, a, b, c));
    } else if (!strcmp(verb, "stop")) {
        answer(writer_stop(serial));
    } else if (!strcmp(verb, "poke")) {
        answer(poke(serial, a, b));
    } else if (!strcmp(verb, "ping")) {
        answer(NULL);
    } else if (!strcmp(verb, "reboot")) {
        end(RB_AUTOBOOT);
    } else if (!strcmp(verb, "poweroff")) {
        end(RB_POWER_OFF);
    } else {
        answer("no such command");
    }
    fflush(line);
}

int main(void)
{
    char text[256];

    prepare();
    if (!open_line()) {
        printf("guest: no second serial port\n");
    }
    while (line) {
        fprintf(line, "READY\n");
        fflush(line);
        while (fgets(text, sizeof(text), orders)) {
            obey(text);
        }
        clearerr(orders);        /* nobody is at the other end now */
        sleep(1);
    }
    for (;;) {
        pause();
    }
}

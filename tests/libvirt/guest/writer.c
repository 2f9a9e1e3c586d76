/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writers: one thread for each disk, one request at a time, beside the page cache. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH_EVERY = 64, READ_EVERY = 16 };

struct writer {
    char serial[64];
    unsigned index, pause_us;
    uint64_t slots, number;
    int fd;
    struct record *record, *readback;
    pthread_t thread;
    bool is_running;
    atomic_bool ended;
    atomic_uint errors;
    atomic_uint_least64_t gap_us;
};

static struct writer writers[MAX_DISKS];
static unsigned n_writers;
static atomic_uint_least64_t completed[MAX_DISKS];

static uint32_t crc32_of(const void *data, size_t length)
{
    static uint32_t table[256];
    const uint8_t *bytes = data;
    uint32_t crc = ~0u;

    if (!table[1]) {
        for (unsigned i = 1; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++) {
                c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
            }
            table[i] = c;
        }
    }
    for (size_t i = 0; i < length; i++) {
        crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

static uint32_t record_sum(const struct record *r)
{
    return crc32_of(&r->index, RECORD_SIZE - offsetof(struct record, index));
}

static bool record_is_good(const struct record *r)
{
    return !memcmp(r->magic, RECORD_MAGIC, 8) && r->sum == record_sum(r);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * UINT64_C(1000000) + t.tv_nsec / 1000;
}

static off_t place(const struct writer *w, uint64_t number)
{
    return number * STEP % w->slots * RECORD_SIZE;
}

static void fill(struct writer *w, uint64_t number)
{
    struct record *r = w->record;
    uint64_t word = number * MAX_DISKS + w->index + 1;

    memcpy(r->magic, RECORD_MAGIC, 8);
    r->index = w->index;
    r->number = number;
    for (unsigned i = 0; i < MAX_DISKS; i++) {
        r->seen[i] = atomic_load(&completed[i]);
    }
    for (size_t i = 0; i < sizeof(r->body); i++) {
        word = word * 6364136223846793005u + 1442695040888963407u;
        r->body[i] = word >> 56;
    }
    r->sum = record_sum(r);
}

static void complain(struct writer *w, const char *what, uint64_t number)
{
    atomic_fetch_add(&w->errors, 1);
    printf("guest: %s of record %llu on %s: %s\n", what, (unsigned long long)number, w->serial,
           strerror(errno));
}

/* One record, which was written not long ago, is still what was written. */
static void read_back(struct writer *w, uint64_t number)
{
    errno = EILSEQ;
    if (pread(w->fd, w->readback, RECORD_SIZE, place(w, number)) != RECORD_SIZE ||
        !record_is_good(w->readback) || w->readback->number != number) {
        complain(w, "read", number);
    }
}

static void write_next(struct writer *w)
{
    uint64_t number = w->number + 1;

    fill(w, number);
    while (pwrite(w->fd, w->record, RECORD_SIZE, place(w, number)) != RECORD_SIZE) {
        complain(w, "write", number);
        if (atomic_load(&w->ended)) {
            return;
        }
        sleep(1);
    }
    w->number = number;
    atomic_store(&completed[w->index], number);
    if (number % FLUSH_EVERY == 0 && fdatasync(w->fd)) {
        complain(w, "flush", number);
    }
    if (number % READ_EVERY == 0) {
        read_back(w, number - number / READ_EVERY % READ_EVERY);
    }
}

static void *writer_run(void *opaque)
{
    struct writer *w = opaque;
    uint64_t last = now_us();

    while (!atomic_load(&w->ended)) {
        write_next(w);
        uint64_t now = now_us(), longest = atomic_load(&w->gap_us);
        while (now - last > longest &&
               !atomic_compare_exchange_weak(&w->gap_us, &longest, now - last)) {
        }
        last = now;
        if (w->pause_us) {
            usleep(w->pause_us);
            last += w->pause_us < now_us() - last ? w->pause_us : 0;
        }
    }
    return NULL;
}

/* The newest record that is there, 0 if there is none. */
static uint64_t newest(struct writer *w)
{
    uint64_t number = 0;

    for (uint64_t slot = 0; slot < w->slots; slot++) {
        if (pread(w->fd, w->readback, RECORD_SIZE, slot * RECORD_SIZE) == RECORD_SIZE &&
            record_is_good(w->readback) && w->readback->number > number) {
            number = w->readback->number;
        }
    }
    return number;
}

static struct writer *find(const char *serial)
{
    for (unsigned i = 0; i < n_writers; i++) {
        if (!strcmp(writers[i].serial, serial)) {
            return &writers[i];
        }
    }
    return NULL;
}

static const char *writer_open(struct writer *w)
{
    char name[64], path[80];

    if (!disk_by_serial(w->serial, name, sizeof(name))) {
        return "no such disk";
    }
    snprintf(path, sizeof(path), "/dev/%s", name);
    w->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    return w->fd < 0 ? strerror(errno) : NULL;
}

const char *writer_start(const char *serial, unsigned index, uint64_t slots, unsigned pause_us)
{
    struct writer *w = find(serial);
    const char *why;

    if (w && w->is_running) {
        return "it runs";
    }
    if (index >= MAX_DISKS || !slots || (!w && n_writers == MAX_DISKS)) {
        return "too many disks, or no slots";
    }
    if (!w) {
        w = &writers[n_writers];
        snprintf(w->serial, sizeof(w->serial), "%s", serial);
        if (posix_memalign((void **)&w->record, RECORD_SIZE, RECORD_SIZE) ||
            posix_memalign((void **)&w->readback, RECORD_SIZE, RECORD_SIZE)) {
            return "no memory";
        }
        n_writers++;
    }
    w->index = index;
    w->slots = slots;
    w->pause_us = pause_us;
    why = writer_open(w);
    if (why) {
        return why;
    }
    w->number = newest(w);
    atomic_store(&completed[index], w->number);
    atomic_store(&w->gap_us, 0);
    atomic_store(&w->ended, false);
    w->is_running = !pthread_create(&w->thread, NULL, writer_run, w);
    return w->is_running ? NULL : "no thread";
}

const char *writer_stop(const char *serial)
{
    struct writer *w = find(serial);

    if (!w || !w->is_running) {
        return "it does not run";
    }
    atomic_store(&w->ended, true);
    pthread_join(w->thread, NULL);
    w->is_running = false;
    if (fsync(w->fd)) {
        complain(w, "the last flush", w->number);
    }
    close(w->fd);
    return NULL;
}

void writers_stop(void)
{
    for (unsigned i = 0; i < n_writers; i++) {
        if (writers[i].is_running) {
            writer_stop(writers[i].serial);
        }
    }
}

bool writer_state(unsigned i, struct writer_state *state)
{
    struct writer *w = &writers[i];

    if (i >= n_writers) {
        return false;
    }
    snprintf(state->serial, sizeof(state->serial), "%s", w->serial);
    state->number = atomic_load(&completed[w->index]);
    state->errors = atomic_load(&w->errors);
    state->gap_us = atomic_exchange(&w->gap_us, 0);
    return true;
}

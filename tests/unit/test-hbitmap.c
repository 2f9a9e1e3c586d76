/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps against a model of one bool a granule, and with threads that set, reset and search. */
#include "qemu/osdep.h"

#include "qemu/hbitmap.h"

#define MODEL_MAX 20000             /* granules */

typedef struct Model {
    HBitmap *h;
    int64_t length, granularity;
    bool dirty[MODEL_MAX];
} Model;

static int64_t granules(const Model *m)
{
    return DIV_ROUND_UP(m->length, m->granularity);
}

static int64_t model_set(Model *m, int64_t offset, int64_t bytes, bool value)
{
    int64_t changed = 0, end = offset + bytes;

    for (int64_t i = 0; i < granules(m); i++) {
        int64_t start = i * m->granularity, stop = MIN(start + m->granularity, m->length);
        bool touched = value ? start < end && stop > offset : start >= offset && stop <= end;

        if (bytes > 0 && touched && m->dirty[i] != value) {
            m->dirty[i] = value;
            changed += m->granularity;
        }
    }
    return changed;
}

static void check_all(const Model *m)
{
    int64_t count = 0;

    for (int64_t i = 0; i < granules(m); i++) {
        count += m->dirty[i] ? m->granularity : 0;
        g_assert_cmpint(hbitmap_get(m->h, i * m->granularity), ==, m->dirty[i]);
    }
    g_assert_cmpint(hbitmap_count(m->h), ==, count);
    g_assert_cmpint(hbitmap_length(m->h), ==, m->length);
}

/* What a search has to find, byte by byte of the model. */
static void check_search(const Model *m, int64_t start, int64_t end, int64_t max_bytes)
{
    int64_t limit = MIN(end, m->length), at = start, stop, offset = -1, bytes = -1;

    while (at < limit && !m->dirty[at / m->granularity]) {
        at = ROUND_DOWN(at, m->granularity) + m->granularity;
    }
    bool found = hbitmap_next_dirty_area(m->h, start, end, max_bytes, &offset, &bytes);
    g_assert_cmpint(found, ==, at < limit);
    if (found) {
        for (stop = at; stop < limit && m->dirty[stop / m->granularity]; ) {
            stop = ROUND_DOWN(stop, m->granularity) + m->granularity;
        }
        g_assert_cmpint(offset, ==, at);
        g_assert_cmpint(bytes, ==, MIN(MIN(stop, limit) - at, max_bytes));
    }
    for (at = start; at < limit && m->dirty[at / m->granularity]; ) {
        at = ROUND_DOWN(at, m->granularity) + m->granularity;
    }
    g_assert_cmpint(hbitmap_next_zero(m->h, start, end), ==, at < limit ? at : -1);
}

static int64_t any_length(int64_t granularity)
{
    return g_random_int_range(0, MODEL_MAX - 1) * granularity +
           g_random_int_range(0, granularity + 1);
}

/* Another length: what it grows by is dirty, what is cut off is forgotten. */
static void resize(Model *m)
{
    int64_t old = granules(m), length = any_length(m->granularity);

    if (length > m->length) {
        int64_t first = m->length / m->granularity;
        g_assert_true(hbitmap_truncate(m->h, length));
        m->length = length;
        for (int64_t i = first; i < granules(m); i++) {
            m->dirty[i] = true;
        }
    } else {
        g_assert_true(hbitmap_truncate(m->h, length));
        m->length = length;
        for (int64_t i = granules(m); i < old; i++) {
            m->dirty[i] = false;
        }
    }
}

/* The copy by bytes is the same bitmap, in whatever pieces it is made. */
static void check_serial(const Model *m)
{
    g_autofree uint8_t *buf = NULL;
    HBitmap *copy = hbitmap_new(m->length, m->granularity);
    int64_t total = hbitmap_serial_bytes(m->h);

    for (int64_t pos = 0, n; pos < total; pos += n) {
        n = 8 * g_random_int_range(1, 64);
        buf = g_realloc(buf, n);
        hbitmap_serialize(m->h, pos, n, buf);
        for (int64_t bit = pos * 8; bit < MIN((pos + n) * 8, granules(m)); bit++) {
            g_assert_cmpint(buf[bit / 8 - pos] >> bit % 8 & 1, ==, m->dirty[bit]);
        }
        bool zero = hbitmap_serial_is_zero(m->h, pos, n);
        for (int64_t i = 0; i < n; i++) {
            zero &= buf[i] == 0 || !hbitmap_serial_is_zero(m->h, pos, n);
        }
        if (!zero) {
            hbitmap_deserialize(copy, pos, n, buf);
        }
    }
    Model other = *m;
    other.h = copy;
    check_all(&other);
    hbitmap_free(copy);
}

static void check_merge(const Model *m)
{
    static Model other;

    other.granularity = m->granularity << g_random_int_range(0, 4) / 2;
    other.length = m->length;
    memset(other.dirty, 0, sizeof(other.dirty));
    other.h = hbitmap_new(other.length, other.granularity);
    hbitmap_merge(other.h, m->h);
    for (int64_t i = 0; i < granules(m); i++) {
        if (m->dirty[i]) {
            other.dirty[i * m->granularity / other.granularity] = true;
        }
    }
    check_all(&other);
    hbitmap_free(other.h);
}

static void test_model(void)
{
    static Model m;

    for (int round = 0; round < 30; round++) {
        memset(m.dirty, 0, sizeof(m.dirty));
        m.granularity = INT64_C(1) << g_random_int_range(0, 20);
        m.length = any_length(m.granularity);
        m.h = hbitmap_new(m.length, m.granularity);
        for (int i = 0; i < 100; i++) {
            int64_t offset = any_length(m.granularity), bytes = any_length(m.granularity);
            if (g_random_boolean()) {
                bytes /= 1000;
            }
            if (g_random_int_range(0, 3)) {
                g_assert_cmpint(hbitmap_set(m.h, offset, bytes), ==,
                                model_set(&m, offset, bytes, true));
            } else {
                g_assert_cmpint(hbitmap_reset(m.h, offset, bytes), ==,
                                model_set(&m, offset, bytes, false));
            }
            check_search(&m, offset, offset + bytes, 1 + any_length(m.granularity));
            check_search(&m, any_length(m.granularity), INT64_MAX, INT64_MAX);
            if (i % 20 == 19) {
                resize(&m);
            }
        }
        check_all(&m);
        check_serial(&m);
        check_merge(&m);
        hbitmap_free(m.h);
    }
}

/* A TiB with a write here and there is searched in no time, also when all of it was dirty once. */
static void test_sparse(void)
{
    HBitmap *h = hbitmap_new(64 * TiB, 64 * KiB);
    int64_t offset = 0, bytes;

    g_assert_cmpint(hbitmap_set(h, 0, TiB), ==, TiB);
    g_assert_cmpint(hbitmap_reset(h, 0, 64 * TiB), ==, TiB);
    hbitmap_set(h, 64 * TiB - 1, 1);

    int64_t start = clock_ns();
    for (int i = 0; i < 10; i++) {
        g_assert_true(hbitmap_next_dirty_area(h, 0, INT64_MAX, INT64_MAX, &offset, &bytes));
        g_assert_cmpint(offset, ==, 64 * TiB - 64 * KiB);
        g_assert_cmpint(bytes, ==, 64 * KiB);
    }
    g_test_message("a search over 64 TiB: %" PRId64 " us", (clock_ns() - start) / 10000);
    hbitmap_free(h);
}

/* Sizes that an image or a user decides are refused, not died of. */
static void test_too_large(void)
{
    g_assert_null(hbitmap_new(INT64_MAX, 512));
    g_assert_null(hbitmap_new(HBITMAP_MAX_BITS * 512 + 1, 512));

    HBitmap *h = hbitmap_new(MiB, 512);
    g_assert_false(hbitmap_reserve(h, INT64_MAX));
    g_assert_false(hbitmap_truncate(h, INT64_MAX));
    g_assert_cmpint(hbitmap_length(h), ==, MiB);
    g_assert_cmpint(hbitmap_set(h, INT64_MAX - 10, 10), ==, 0);
    g_assert_cmpint(hbitmap_set(h, MiB - 1, INT64_MAX), ==, 512);
    hbitmap_free(h);
}

/* ---- threads: no change is ever missed by one that resets and then copies ---- */

#define CELLS 4096
#define WRITERS 3
#define WRITES 300000

static HBitmap *shared;
static int data[CELLS], copy[CELLS];    /* atomic, relaxed: only the bitmap orders them */
static int writers_left;

static void *writer(void *opaque)
{
    unsigned x = GPOINTER_TO_UINT(opaque) * 7919 + 1;

    for (int i = 0; i < WRITES; i++) {
        x = x * 1664525 + 1013904223;
        int cell = x >> 8 & (i & 1 ? CELLS - 1 : 7);    /* some are fought for */
        __atomic_fetch_add(&data[cell], 1, __ATOMIC_RELAXED);
        hbitmap_set(shared, cell, 1);
    }
    __atomic_fetch_sub(&writers_left, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static bool copy_what_is_dirty(void)
{
    int64_t offset = 0, bytes;
    bool any = false;

    while (hbitmap_next_dirty_area(shared, offset, CELLS, 16, &offset, &bytes)) {
        hbitmap_reset(shared, offset, bytes);
        for (int64_t end = offset + bytes; offset < end; offset++) {
            copy[offset] = __atomic_load_n(&data[offset], __ATOMIC_RELAXED);
        }
        any = true;
    }
    return any;
}

static void test_threads(void)
{
    pthread_t threads[WRITERS];

    shared = hbitmap_new(CELLS, 1);
    writers_left = WRITERS;
    for (int i = 0; i < WRITERS; i++) {
        g_assert_cmpint(pthread_create(&threads[i], NULL, writer, GUINT_TO_POINTER(i)), ==, 0);
    }
    while (__atomic_load_n(&writers_left, __ATOMIC_SEQ_CST) > 0) {
        copy_what_is_dirty();
    }
    while (copy_what_is_dirty()) {
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    g_assert_cmpint(hbitmap_count(shared), ==, 0);
    g_assert_cmpmem(copy, sizeof(copy), data, sizeof(data));
    hbitmap_free(shared);
}

/* Threads that make it longer at once, each beyond the other: all that it grew by is dirty. */
static void *grower(void *opaque)
{
    for (int64_t i = 1; i <= 2000; i++) {
        int64_t length = i * 1000 + GPOINTER_TO_UINT(opaque);
        g_assert_true(hbitmap_extend(shared, length));
        hbitmap_set(shared, length - 1, 1);
        g_assert_true(hbitmap_get(shared, length - 1));
    }
    return NULL;
}

static void test_grown_by_threads(void)
{
    pthread_t threads[WRITERS];

    shared = hbitmap_new(0, 1);
    for (int i = 0; i < WRITERS; i++) {
        g_assert_cmpint(pthread_create(&threads[i], NULL, grower, GUINT_TO_POINTER(i)), ==, 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    g_assert_cmpint(hbitmap_count(shared), ==, hbitmap_length(shared));
    g_assert_cmpint(hbitmap_next_zero(shared, 0, INT64_MAX), ==, -1);
    hbitmap_free(shared);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hbitmap/model", test_model);
    g_test_add_func("/hbitmap/sparse", test_sparse);
    g_test_add_func("/hbitmap/too-large", test_too_large);
    g_test_add_func("/hbitmap/threads", test_threads);
    g_test_add_func("/hbitmap/grown-by-threads", test_grown_by_threads);
    return g_test_run();
}

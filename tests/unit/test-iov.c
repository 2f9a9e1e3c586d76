/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter/gather lists: slices and copies give exactly the bytes asked for. */
#include "qemu/osdep.h"

#include "qemu/iov.h"

/* "abcdefghij" in pieces, some of them empty. */
static void pieces_init(IoVec *v, char *text)
{
    iovec_init(v);
    iovec_add(v, text, 0);
    iovec_add(v, text, 3);
    iovec_add(v, text + 3, 1);
    iovec_add(v, text + 4, 0);
    iovec_add(v, text + 4, 4);
    iovec_add(v, text + 8, 2);
    iovec_add(v, text, 0);
}

/* Every part of a list, as a slice, reads as that part of the text. */
static void test_every_slice(void)
{
    char text[] = "abcdefghij", buf[16];
    g_auto(IoVec) v;

    pieces_init(&v, text);
    g_assert_cmpuint(v.size, ==, 10);
    for (size_t from = 0; from <= 10; from++) {
        for (size_t len = 0; len <= 10 - from; len++) {
            g_auto(IoVec) s;

            iovec_init_slice(&s, &v, from, len);
            g_assert_cmpuint(s.size, ==, len);
            g_assert_cmpuint(iovec_to_buf(&s, 0, buf, sizeof(buf)), ==, len);
            g_assert_cmpmem(buf, len, text + from, len);
            g_assert_cmpuint(iovec_to_buf(&v, from, buf, len), ==, len);
            g_assert_cmpmem(buf, len, text + from, len);
        }
    }
}

/* A copy past the end is cut there. */
static void test_range_is_cut(void)
{
    char text[] = "abcdefghij", buf[16] = "";
    g_auto(IoVec) v;

    pieces_init(&v, text);
    g_assert_cmpuint(iovec_to_buf(&v, 8, buf, 16), ==, 2);
    g_assert_cmpstr(buf, ==, "ij");
    g_assert_cmpuint(iovec_to_buf(&v, 10, buf, 1), ==, 0);
    g_assert_cmpuint(iovec_to_buf(&v, 11, buf, 1), ==, 0);
    g_assert_cmpuint(iovec_from_buf(&v, 9, "XYZ", 3), ==, 1);
    g_assert_cmpuint(iovec_memset(&v, 7, '.', 100), ==, 3);
    g_assert_cmpstr(text, ==, "abcdefg...");
}

/* Writes touch the range and no byte beside it. */
static void test_writes_stay_in_range(void)
{
    char text[] = "abcdefghij";
    g_auto(IoVec) v;

    pieces_init(&v, text);
    g_assert_cmpuint(iovec_from_buf(&v, 2, "23456", 5), ==, 5);
    g_assert_cmpstr(text, ==, "ab23456hij");
    g_assert_cmpuint(iovec_memset(&v, 3, '-', 1), ==, 1);
    g_assert_cmpuint(iovec_memset(&v, 0, '-', 0), ==, 0);
    g_assert_cmpstr(text, ==, "ab2-456hij");
}

/* A list grows past its inline room, and a slice that shared its source's array can grow too. */
static void test_growing(void)
{
    char bytes[100];
    g_auto(IoVec) v, s;

    iovec_init(&v);
    for (int i = 0; i < 100; i++) {
        bytes[i] = i;
        iovec_add(&v, &bytes[i], 1);
    }
    g_assert_cmpint(v.niov, ==, 100);
    iovec_init_slice(&s, &v, 0, 100);
    iovec_add(&s, bytes, 7);
    iovec_add_slice(&s, &v, 50, 3);
    g_assert_cmpuint(s.size, ==, 110);
    g_assert_cmpint(s.niov, ==, 104);
    g_assert_cmpint(v.niov, ==, 100);
    for (int i = 0; i < 100; i++) {
        g_assert_true(v.iov[i].iov_base == &bytes[i] && s.iov[i].iov_base == &bytes[i]);
    }
    g_assert_true(s.iov[103].iov_base == &bytes[52]);
}

/* One byte that is not zero is found wherever it is, at every length and alignment. */
static void test_zero_detection(void)
{
    static unsigned char buf[1024];

    for (size_t len = 0; len <= 300; len++) {
        for (size_t align = 0; align < 9; align++) {
            unsigned char *p = buf + 64 + align;

            /* The neighbours do not count. */
            p[len] = 1;
            p[-1] = 1;
            g_assert_true(buffer_is_zero(p, len));
            for (size_t i = 0; i < len; i += 1 + len / 40) {
                p[i] = 0x80;
                g_assert_false(buffer_is_zero(p, len));
                p[i] = 0;
            }
            p[len] = p[-1] = 0;
        }
    }
}

static void test_list_zero_and_alignment(void)
{
    static char buf[4096] __attribute__((aligned(4096)));
    g_auto(IoVec) v;

    iovec_init(&v);
    g_assert_true(iovec_is_zero(&v));
    g_assert_true(iovec_is_aligned(&v, 512));
    iovec_add(&v, buf, 512);
    iovec_add(&v, buf + 1024, 1024);
    g_assert_true(iovec_is_zero(&v));
    g_assert_true(iovec_is_aligned(&v, 512));
    g_assert_false(iovec_is_aligned(&v, 1024));
    buf[600] = 1;               /* in neither part */
    g_assert_true(iovec_is_zero(&v));
    buf[2047] = 1;
    g_assert_false(iovec_is_zero(&v));
    iovec_add(&v, buf + 1, 512);
    g_assert_false(iovec_is_aligned(&v, 512));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iov/every-slice", test_every_slice);
    g_test_add_func("/iov/range-is-cut", test_range_is_cut);
    g_test_add_func("/iov/writes-stay-in-range", test_writes_stay_in_range);
    g_test_add_func("/iov/growing", test_growing);
    g_test_add_func("/iov/zero-detection", test_zero_detection);
    g_test_add_func("/iov/list-zero-and-alignment", test_list_zero_and_alignment);
    return g_test_run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bitmap that any number of threads set, reset and search at once.
 *
 * Its words lie in segments, each as large as all before it together, so that a bitmap grows without
 * a word changing its place.  For each CHUNK words there is a counter of those that are not 0.
 *
 * (H1) A bit whose set has returned is found by every search that begins afterwards, until it is
 *      reset.  So a counter is never less than the number of words of its chunk that are not 0: it
 *      goes up before a word becomes other than 0, and down after one became 0.  Whoever makes a
 *      word other than 0 knows so from the value that it exchanged.
 * (H2) In the same way the count of dirty bits is never less than the bits that are set.
 * (H3) A thread that changes data, then sets the bit; another one that resets the bit, then reads
 *      the data: either that sees the change, or the bit is set afterwards.  All exchanges are
 *      sequentially consistent; a bit that is found to be set already is left alone only behind
 *      a fence, so that the change is seen by whoever resets it later.
 * (H4) A segment that was published stays until the bitmap is freed.
 * (H5) Bits behind the length are 0, but for a set that races with a shrinking, and nobody looks
 *      there.
 */
#include "qemu/osdep.h"

#include "qemu/bswap.h"
#include "qemu/hbitmap.h"

#define WORD_BITS 64
#define CHUNK 64                    /* words that have one counter */
#define CHUNK_BITS (CHUNK * WORD_BITS)
#define MAX_SEGMENTS 32

typedef struct Segment {
    int64_t first, bits;            /* it has [first, first + bits); multiples of CHUNK_BITS */
    uint32_t *counters;             /* atomic; of words of a chunk that are not 0, or more (H1) */
    uint64_t words[];               /* atomic */
} Segment;

struct HBitmap {
    int shift;                      /* granularity is 1 << shift */
    int base_shift;                 /* the first segment has 1 << base_shift bits */
    int64_t length;                 /* atomic, bytes */
    int64_t dirty_bits;             /* atomic, (H2) */
    Segment *segments[MAX_SEGMENTS];    /* atomic; the others are NULL */
};

/* ---- segments ---- */

static int segment_index(const HBitmap *h, int64_t bit)
{
    uint64_t n = (uint64_t)bit >> h->base_shift;

    return n == 0 ? 0 : 64 - __builtin_clzll(n);
}

static Segment *segment_new(const HBitmap *h, int index)
{
    int64_t bits = INT64_C(1) << (h->base_shift + MAX(index - 1, 0));
    size_t words = bits / WORD_BITS, counters = bits / CHUNK_BITS;
    Segment *s = g_try_malloc0(sizeof(*s) + words * sizeof(uint64_t) + counters * sizeof(uint32_t));

    if (s) {
        s->first = index == 0 ? 0 : bits;
        s->bits = bits;
        s->counters = (uint32_t *)(s->words + words);
    }
    return s;
}

/* The segment of @bit, which is one that the length has or had; else NULL. */
static Segment *segment_of(const HBitmap *h, int64_t bit)
{
    return __atomic_load_n(&h->segments[segment_index(h, bit)], __ATOMIC_ACQUIRE);
}

/* There are segments for [0, @bits). */
static bool have_segments(HBitmap *h, int64_t bits)
{
    int last = bits > 0 ? segment_index(h, bits - 1) : 0;

    for (int i = 0; i <= last; i++) {
        Segment *none = NULL;

        if (__atomic_load_n(&h->segments[i], __ATOMIC_ACQUIRE)) {
            continue;
        }
        Segment *s = segment_new(h, i);
        if (!s) {
            return false;
        }
        if (!__atomic_compare_exchange_n(&h->segments[i], &none, s, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST)) {
            g_free(s);              /* another thread was faster */
        }
    }
    return true;
}

/* ---- words ---- */

/* Set the bits of @mask in word @i of @s; returns how many were not. The caller has passed a fence
 * since the data that they stand for changed. */
static int word_set(HBitmap *h, Segment *s, int64_t i, uint64_t mask)
{
    uint32_t *counter = &s->counters[i / CHUNK];
    uint64_t old = __atomic_load_n(&s->words[i], __ATOMIC_SEQ_CST);
    bool counted = false;
    int changed = 0;

    while ((old & mask) != mask) {
        int n = __builtin_popcountll(mask & ~old);

        if (old == 0 && !counted) {
            __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
            counted = true;
        }
        __atomic_fetch_add(&h->dirty_bits, n, __ATOMIC_SEQ_CST);
        if (__atomic_compare_exchange_n(&s->words[i], &old, old | mask, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            changed = n;
            break;
        }
        __atomic_fetch_sub(&h->dirty_bits, n, __ATOMIC_SEQ_CST);
    }
    if (counted && (changed == 0 || old != 0)) {
        __atomic_fetch_sub(counter, 1, __ATOMIC_SEQ_CST);   /* it was somebody else's to count */
    }
    return changed;
}

static int word_clear(HBitmap *h, Segment *s, int64_t i, uint64_t mask)
{
    /* A bit that is not set yet is set after this, and stays. */
    if (!(__atomic_load_n(&s->words[i], __ATOMIC_SEQ_CST) & mask)) {
        return 0;
    }
    uint64_t old = __atomic_fetch_and(&s->words[i], ~mask, __ATOMIC_SEQ_CST);
    int n = __builtin_popcountll(old & mask);

    if (old != 0 && (old & ~mask) == 0) {
        __atomic_fetch_sub(&s->counters[i / CHUNK], 1, __ATOMIC_SEQ_CST);
    }
    if (n) {
        __atomic_fetch_sub(&h->dirty_bits, n, __ATOMIC_SEQ_CST);
    }
    return n;
}

/* Bits [@bit, @end) of the word that @bit is in; *@ret_next is the first bit behind them. */
static uint64_t word_mask(int64_t bit, int64_t end, int64_t *ret_next)
{
    int from = bit % WORD_BITS;
    int64_t n = MIN(end - bit, WORD_BITS - from);

    *ret_next = bit + n;
    return (n == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << n) - 1) << from;
}

static int64_t set_bits(HBitmap *h, int64_t bit, int64_t end)
{
    int64_t changed = 0;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);        /* (H3) */
    while (bit < end) {
        Segment *s = segment_of(h, bit);
        int64_t i = (bit - s->first) / WORD_BITS;
        uint64_t mask = word_mask(bit, end, &bit);

        changed += word_set(h, s, i, mask);
    }
    return changed;
}

static bool chunk_is_clear(const Segment *s, int64_t local)
{
    return __atomic_load_n(&s->counters[local / CHUNK_BITS], __ATOMIC_SEQ_CST) == 0;
}

static int64_t clear_bits(HBitmap *h, int64_t bit, int64_t end)
{
    int64_t changed = 0;

    while (bit < end) {
        Segment *s = segment_of(h, bit);
        int64_t local = bit - s->first;

        if (chunk_is_clear(s, local)) {
            bit = s->first + ROUND_DOWN(local, CHUNK_BITS) + CHUNK_BITS;
            continue;
        }
        uint64_t mask = word_mask(bit, end, &bit);
        changed += word_clear(h, s, local / WORD_BITS, mask);
    }
    return changed;
}

/* The first bit in [@bit, @end) that is set, or not set if @inverted; @end if there is none. */
static int64_t find_bit(const HBitmap *h, int64_t bit, int64_t end, bool inverted)
{
    while (bit < end) {
        const Segment *s = segment_of(h, bit);
        int64_t local = bit - s->first;

        if (!inverted && chunk_is_clear(s, local)) {
            bit = s->first + ROUND_DOWN(local, CHUNK_BITS) + CHUNK_BITS;
            continue;
        }
        uint64_t word = __atomic_load_n(&s->words[local / WORD_BITS], __ATOMIC_SEQ_CST);
        word = (inverted ? ~word : word) >> (bit % WORD_BITS);
        if (word) {
            return MIN(bit + __builtin_ctzll(word), end);
        }
        bit = ROUND_DOWN(bit, WORD_BITS) + WORD_BITS;
    }
    return end;
}

/* ---- life ---- */

static int64_t bits_of(const HBitmap *h, int64_t length)
{
    return (length >> h->shift) + ((length & ((INT64_C(1) << h->shift) - 1)) != 0);
}

HBitmap *any_fn hbitmap_new(int64_t length, int64_t granularity)
{
    HBitmap *h = g_try_new0(HBitmap, 1);

    g_assert(length >= 0 && IS_POWER_OF_2(granularity));
    if (!h) {
        return NULL;
    }
    h->shift = __builtin_ctzll(granularity);
    h->length = length;

    int64_t bits = bits_of(h, length);
    h->base_shift = __builtin_ctzll(CHUNK_BITS);
    while (bits <= HBITMAP_MAX_BITS && INT64_C(1) << h->base_shift < bits) {
        h->base_shift++;
    }
    if (!hbitmap_reserve(h, length)) {
        hbitmap_free(h);
        return NULL;
    }
    return h;
}

void any_fn hbitmap_free(HBitmap *h)
{
    for (int i = 0; h && i < MAX_SEGMENTS; i++) {
        g_free(h->segments[i]);
    }
    g_free(h);
}

int64_t any_fn hbitmap_length(const HBitmap *h)
{
    return __atomic_load_n(&h->length, __ATOMIC_SEQ_CST);
}

int64_t any_fn hbitmap_granularity(const HBitmap *h)
{
    return INT64_C(1) << h->shift;
}

/* ---- bytes ---- */

/* The end of a range, cut at the length; @offset if nothing is left of it. */
static int64_t range_end(const HBitmap *h, int64_t offset, int64_t bytes)
{
    int64_t length = hbitmap_length(h);

    return offset >= length || bytes <= 0 ? offset : offset + MIN(bytes, length - offset);
}

int64_t any_fn hbitmap_set(HBitmap *h, int64_t offset, int64_t bytes)
{
    int64_t end = range_end(h, offset, bytes);

    return offset < end ? set_bits(h, offset >> h->shift, bits_of(h, end)) << h->shift : 0;
}

int64_t any_fn hbitmap_reset(HBitmap *h, int64_t offset, int64_t bytes)
{
    int64_t end = range_end(h, offset, bytes);

    if (offset >= end) {
        return 0;
    }
    int64_t last = end == hbitmap_length(h) ? bits_of(h, end) : end >> h->shift;
    return clear_bits(h, bits_of(h, offset), last) << h->shift;
}

bool any_fn hbitmap_get(const HBitmap *h, int64_t offset)
{
    int64_t bit = offset >> h->shift;

    return offset >= 0 && offset < hbitmap_length(h) && find_bit(h, bit, bit + 1, false) == bit;
}

int64_t any_fn hbitmap_count(const HBitmap *h)
{
    return __atomic_load_n(&h->dirty_bits, __ATOMIC_SEQ_CST) << h->shift;
}

/* The byte at which granule @bit begins. */
static int64_t byte_of(const HBitmap *h, int64_t bit)
{
    return bit << h->shift;
}

bool any_fn hbitmap_next_dirty_area(const HBitmap *h, int64_t start, int64_t end,
                                    int64_t max_bytes, int64_t *ret_offset, int64_t *ret_bytes)
{
    end = MIN(end, hbitmap_length(h));
    if (start >= end) {
        return false;
    }
    int64_t end_bit = bits_of(h, end);
    int64_t first = find_bit(h, start >> h->shift, end_bit, false);
    if (first == end_bit) {
        return false;
    }
    int64_t offset = MAX(byte_of(h, first), start);
    int64_t limit = max_bytes < end - offset ? offset + max_bytes : end;
    int64_t last = find_bit(h, first, bits_of(h, limit), true);

    *ret_offset = offset;
    /* A granule that became clean meanwhile was dirty. */
    last = MAX(last, first + 1);
    *ret_bytes = (last > limit >> h->shift ? limit : byte_of(h, last)) - offset;
    return true;
}

int64_t any_fn hbitmap_next_zero(const HBitmap *h, int64_t start, int64_t end)
{
    end = MIN(end, hbitmap_length(h));
    if (start >= end) {
        return -1;
    }
    int64_t end_bit = bits_of(h, end), bit = find_bit(h, start >> h->shift, end_bit, true);
    return bit == end_bit ? -1 : MAX(byte_of(h, bit), start);
}

/* The same granularity: word by word. */
static void merge_words(HBitmap *dst, const HBitmap *src)
{
    int64_t bits = MIN(bits_of(dst, hbitmap_length(dst)), bits_of(src, hbitmap_length(src)));
    int64_t bit = 0;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);        /* (H3) */
    while ((bit = find_bit(src, bit, bits, false)) < bits) {
        Segment *d = segment_of(dst, bit);
        const Segment *s = segment_of(src, bit);
        int64_t first = ROUND_DOWN(bit, WORD_BITS);
        uint64_t word = __atomic_load_n(&s->words[(first - s->first) / WORD_BITS],
                                        __ATOMIC_SEQ_CST);
        int64_t next;

        word_set(dst, d, (first - d->first) / WORD_BITS, word & word_mask(first, bits, &next));
        bit = next;
    }
}

void any_fn hbitmap_merge(HBitmap *dst, const HBitmap *src)
{
    if (dst->shift == src->shift) {
        merge_words(dst, src);
        return;
    }
    int64_t offset = 0, bytes;

    while (hbitmap_next_dirty_area(src, offset, INT64_MAX, INT64_MAX, &offset, &bytes)) {
        hbitmap_set(dst, offset, bytes);
        offset += bytes;
    }
}

/* ---- another length ---- */

bool any_fn hbitmap_reserve(HBitmap *h, int64_t length)
{
    int64_t bits = bits_of(h, length);

    return bits <= HBITMAP_MAX_BITS && have_segments(h, bits);
}

static void shrink(HBitmap *h, int64_t length)
{
    int64_t old = __atomic_exchange_n(&h->length, length, __ATOMIC_SEQ_CST);

    clear_bits(h, bits_of(h, length), bits_of(h, old));         /* (H5) */
}

static bool extend(HBitmap *h, int64_t length, bool dirty)
{
    int64_t old = hbitmap_length(h);

    if (old >= length) {
        return true;
    }
    if (!hbitmap_reserve(h, length)) {
        return false;
    }
    while (old < length && !__atomic_compare_exchange_n(&h->length, &old, length, false,
                                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    if (old < length && dirty) {
        set_bits(h, old >> h->shift, bits_of(h, length));
    }
    return true;
}

bool any_fn hbitmap_extend(HBitmap *h, int64_t length)
{
    return extend(h, length, true);
}

bool any_fn hbitmap_truncate_clean(HBitmap *h, int64_t length)
{
    if (length < hbitmap_length(h)) {
        shrink(h, length);
    }
    return extend(h, length, false);
}

bool any_fn hbitmap_truncate(HBitmap *h, int64_t length)
{
    if (length < hbitmap_length(h)) {
        shrink(h, length);
    }
    return hbitmap_extend(h, length);
}

/* ---- as bytes ---- */

int64_t any_fn hbitmap_serial_bytes(const HBitmap *h)
{
    return MAX(DIV_ROUND_UP(bits_of(h, hbitmap_length(h)), WORD_BITS), 1) * 8;
}

void any_fn hbitmap_serialize(const HBitmap *h, int64_t first, int64_t n, uint8_t *buf)
{
    int64_t bits = bits_of(h, hbitmap_length(h));

    for (int64_t pos = 0; pos < n; pos += 8) {
        int64_t bit = (first + pos) * 8;
        uint64_t word = 0;

        if (bit < bits) {
            const Segment *s = segment_of(h, bit);
            word = __atomic_load_n(&s->words[(bit - s->first) / WORD_BITS], __ATOMIC_SEQ_CST);
        }
        le64_store(buf + pos, word);
    }
}

void any_fn hbitmap_deserialize(HBitmap *h, int64_t first, int64_t n, const uint8_t *buf)
{
    int64_t bits = bits_of(h, hbitmap_length(h));

    __atomic_thread_fence(__ATOMIC_SEQ_CST);        /* (H3) */
    for (int64_t pos = 0; pos < n && (first + pos) * 8 < bits; pos += 8) {
        int64_t bit = (first + pos) * 8, next;
        uint64_t word = le64_load(buf + pos) & word_mask(bit, bits, &next);
        Segment *s = segment_of(h, bit);

        word_set(h, s, (bit - s->first) / WORD_BITS, word);
    }
}

void any_fn hbitmap_deserialize_ones(HBitmap *h, int64_t first, int64_t n)
{
    set_bits(h, first * 8, MIN(bits_of(h, hbitmap_length(h)), (first + n) * 8));
}

bool any_fn hbitmap_serial_is_zero(const HBitmap *h, int64_t first, int64_t n)
{
    int64_t end = MIN(bits_of(h, hbitmap_length(h)), (first + n) * 8);

    return find_bit(h, first * 8, end, false) >= end;
}

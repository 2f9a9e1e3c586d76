/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that keeps the last bytes written to it. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qemu/limits.h"

struct MonitorRing {
    size_t size;                /* a power of two */
    uint64_t written, read;     /* since the beginning; never more than size apart */
    char bytes[];
};

MonitorRing *monitor_ring_new(int64_t size, Error **errp)
{
    MonitorRing *ring;

    if (size <= 0 || !IS_POWER_OF_2(size)) {
        error_setg(errp, "size of ringbuf chardev must be power of two");
        return NULL;
    }
    if (size > MONITOR_MAX_RING) {
        error_setg(errp, "size of ringbuf chardev must be at most %" PRId64, MONITOR_MAX_RING);
        return NULL;
    }
    ring = g_malloc(sizeof(*ring) + size);
    ring->size = size;
    ring->written = ring->read = 0;
    return ring;
}

void monitor_ring_free(MonitorRing *ring)
{
    g_free(ring);
}

/* Bytes from position @pos to the end of the array, @len at most. */
static size_t until_wrap(const MonitorRing *ring, uint64_t pos, size_t len)
{
    return MIN(len, ring->size - (pos & (ring->size - 1)));
}

void monitor_ring_put(MonitorRing *ring, const char *bytes, size_t len)
{
    if (len > ring->size) {
        bytes += len - ring->size;
        len = ring->size;
    }
    while (len > 0) {
        size_t n = until_wrap(ring, ring->written, len);

        memcpy(ring->bytes + (ring->written & (ring->size - 1)), bytes, n);
        ring->written += n;
        bytes += n;
        len -= n;
    }
    if (ring->written - ring->read > ring->size) {
        ring->read = ring->written - ring->size;
    }
}

size_t monitor_ring_used(const MonitorRing *ring)
{
    return ring->written - ring->read;
}

void monitor_ring_peek(const MonitorRing *ring, char *buf, size_t len)
{
    uint64_t pos = ring->read;

    assert(len <= monitor_ring_used(ring));
    while (len > 0) {
        size_t n = until_wrap(ring, pos, len);

        memcpy(buf, ring->bytes + (pos & (ring->size - 1)), n);
        pos += n;
        buf += n;
        len -= n;
    }
}

void monitor_ring_drop(MonitorRing *ring, size_t len)
{
    assert(len <= monitor_ring_used(ring));
    ring->read += len;
}

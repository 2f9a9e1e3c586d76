/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Votes of the children of a quorum node, and reports of those that lose them. */
#include "qemu/osdep.h"

#include "block/filters/quorum-internal.h"
#include "qemu/aio.h"

/* ---- reports ---- */

#define REPORT_EVERY_NS (1000 * NS_PER_MS)

typedef struct Report {
    QuorumReport r;
    char *node_name;
} Report;

static void (*report_cb)(const QuorumReport *report);
static AioContext *main_ctx;

void main_fn quorum_set_report_cb(void (*cb)(const QuorumReport *report))
{
    report_cb = cb;
    main_ctx = aio_context_current();
}

static void main_fn send_report(void *opaque)
{
    Report *report = opaque;

    report_cb(&report->r);
    g_free(report->node_name);
    g_free(report);
}

/* Is it time for another one? */
static bool may_report(int64_t *last_ns)
{
    int64_t now = clock_ns(), last = __atomic_load_n(last_ns, __ATOMIC_RELAXED);

    return (last == 0 || now - last >= REPORT_EVERY_NS) &&
           __atomic_compare_exchange_n(last_ns, &last, now, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

void any_fn quorum_report(BlockDriverState *bs, int i, QuorumOp op, int error, int64_t offset,
                          int64_t bytes)
{
    QuorumState *s = bs->opaque;
    bool failure = i < 0;

    if (!report_cb || !may_report(&s->reported_ns[failure ? QUORUM_MAX_CHILDREN : i])) {
        return;
    }
    Report *report = g_new0(Report, 1);
    report->node_name = g_strdup(failure ? bs->node_name : s->children[i]->bs->node_name);
    report->r = (QuorumReport){
        .failure = failure, .node_name = report->node_name, .op = op,
        .error = error ? g_strerror(-error) : NULL,     /* glib keeps it */
        .sector = offset / 512, .sectors = DIV_ROUND_UP(offset + bytes, 512) - offset / 512,
    };
    aio_bh_schedule_oneshot(main_ctx, send_report, report);
}

/* ---- votes ---- */

/* The error that most of those that failed had; of several, the first. */
static int most_frequent_error(const QuorumState *s, const int *rets)
{
    int best = 0, best_votes = 0;

    for (int i = 0; i < s->n; i++) {
        int votes = 0;
        for (int j = 0; j < s->n; j++) {
            votes += rets[j] == rets[i];
        }
        if (rets[i] < 0 && votes > best_votes) {
            best = rets[i];
            best_votes = votes;
        }
    }
    return best;
}

int any_fn quorum_vote_on_results(BlockDriverState *bs, const int *rets, QuorumOp op,
                                  int64_t offset, int64_t bytes)
{
    const QuorumState *s = bs->opaque;
    int successes = 0;

    for (int i = 0; i < s->n; i++) {
        successes += rets[i] == 0;
        if (rets[i] < 0) {
            quorum_report(bs, i, op, rets[i], offset, bytes);
        }
    }
    if (successes >= s->threshold) {
        return 0;
    }
    quorum_report(bs, -1, op, 0, offset, bytes);
    return most_frequent_error(s, rets);
}

int any_fn quorum_vote_on_data(const QuorumState *s, const int *rets, uint8_t *const *bufs,
                               int64_t bytes, int *ret_votes, bool *ret_bad)
{
    int winner = -1, version[QUORUM_MAX_CHILDREN];      /* who was the first with this data */

    *ret_votes = 0;
    for (int i = 0; i < s->n; i++) {
        int votes = 0;

        version[i] = rets[i] < 0 ? -1 : i;
        for (int j = 0; j < i && version[i] == i; j++) {
            if (version[j] == j && memcmp(bufs[i], bufs[j], bytes) == 0) {
                version[i] = j;
            }
        }
        for (int j = 0; j <= i; j++) {
            votes += version[i] >= 0 && version[j] == version[i];
        }
        /* Of two with as many votes, the first child's. */
        if (votes > *ret_votes || (votes == *ret_votes && votes > 0 && version[i] < winner)) {
            winner = version[i];
            *ret_votes = votes;
        }
    }
    for (int i = 0; i < s->n; i++) {
        ret_bad[i] = version[i] >= 0 && version[i] != winner;
    }
    return winner;
}

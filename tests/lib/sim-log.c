/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log, and what a power cut leaves of it. */
#include "qemu/osdep.h"

#include "sim-internal.h"

#define SECTOR 512

typedef struct SimPending {
    guint entry;
    guint ended_at;                 /* entry; 0: has not ended */
    bool durable;
    bool dropped;                   /* no sync makes it durable any more */
} SimPending;

static SimLog simlog;

/* ---- the log ---- */

static void entry_free(void *opaque)
{
    SimEntry *e = opaque;

    g_free(e->data);
    g_free(e->name);
    g_free(e->new_name);
    g_free(e);
}

static void inode_free(void *opaque)
{
    SimInode *n = opaque;

    if (n) {
        g_free(n->content.data);
    }
    g_free(n);
}

void sim_log_clear(void)
{
    if (simlog.entries) {
        g_ptr_array_unref(simlog.entries);
        g_ptr_array_unref(simlog.inodes);
        g_hash_table_unref(simlog.names);
        g_array_unref(simlog.pending);
    }
    simlog = (SimLog){
        .entries = g_ptr_array_new_with_free_func(entry_free),
        .inodes = g_ptr_array_new_with_free_func(inode_free),
        .names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        .pending = g_array_new(FALSE, FALSE, sizeof(SimPending)),
    };
    g_ptr_array_add(simlog.inodes, NULL);
}

guint sim_log_add(SimEntry e)
{
    g_ptr_array_add(simlog.entries, g_memdup2(&e, sizeof(e)));
    return simlog.entries->len - 1;
}

static void set_length(SimInode *n, int64_t length)
{
    if (length > n->room) {
        int64_t room = MAX(length, n->room * 2);
        n->content.data = g_realloc(n->content.data, room);
        memset(n->content.data + n->room, 0, room - n->room);
        n->room = room;
    }
    if (length < n->content.length) {
        memset(n->content.data + length, 0, n->content.length - length);
    }
    n->content.length = length;
}

int sim_log_new_file(const void *data, int64_t bytes)
{
    SimInode *n = g_new0(SimInode, 1);

    set_length(n, bytes);
    if (bytes) {
        memcpy(n->content.data, data, bytes);
    }
    g_ptr_array_add(simlog.inodes, n);
    return simlog.inodes->len - 1;
}

void sim_log_set_name(const char *name, int number)
{
    g_hash_table_replace(simlog.names, g_strdup(name), GINT_TO_POINTER(number + 1));
}

guint sim_log_length(void)
{
    return simlog.entries->len;
}

static const SimEntry *entry_at(guint i)
{
    return simlog.entries->pdata[i];
}

bool sim_log_note(guint pos, uint64_t *ret_note)
{
    const SimEntry *e = pos < simlog.entries->len ? entry_at(pos) : NULL;

    if (!e || e->kind != SIM_NOTE) {
        return false;
    }
    *ret_note = e->note;
    return true;
}

bool sim_log_is_sync(guint pos)
{
    const SimEntry *e = pos < simlog.entries->len ? entry_at(pos) : NULL;

    return e && e->kind == SIM_END && entry_at(e->of)->kind == SIM_SYNC;
}

/* Names that begin with a dot are random ones. */
uint64_t sim_log_hash(void)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (guint i = 0; i < simlog.entries->len; i++) {
        const SimEntry *e = entry_at(i);
        uint64_t words[] = { e->kind, e->file, e->linked, e->offset, e->bytes, e->of, e->note,
                             e->name && e->name[0] != '.' ? g_str_hash(e->name) : 0 };
        for (size_t k = 0; k < G_N_ELEMENTS(words); k++) {
            hash = (hash ^ words[k]) * UINT64_C(0x100000001b3);
        }
        for (int64_t k = 0; e->data && k < e->bytes; k++) {
            hash = (hash ^ e->data[k]) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

/* ---- applying it ---- */

/* Bytes [@from, @from + @bytes) of the change @e. */
static void apply(SimInode *n, const SimEntry *e, int64_t from, int64_t bytes)
{
    int64_t end = e->offset + from + bytes;

    switch (e->kind) {
    case SIM_TRUNCATE:
        set_length(n, e->offset);
        break;
    case SIM_GROW:
        set_length(n, MAX(n->content.length, e->offset));
        break;
    case SIM_WRITE:
        set_length(n, MAX(n->content.length, end));
        memcpy(n->content.data + e->offset + from, e->data + from, bytes);
        break;
    default:                        /* a hole does not make a file longer */
        end = MIN(end, n->content.length);
        if (end > e->offset + from) {
            memset(n->content.data + e->offset + from, 0, end - e->offset - from);
        }
        break;
    }
}

static void apply_name(GHashTable *names, const SimEntry *e)
{
    if (e->kind == SIM_LINK) {
        g_hash_table_replace(names, g_strdup(e->name), GINT_TO_POINTER(e->linked + 1));
    } else if (e->kind == SIM_RENAME) {
        void *number = g_hash_table_lookup(names, e->name);
        if (number) {
            g_hash_table_remove(names, e->name);
            g_hash_table_replace(names, g_strdup(e->new_name), number);
        }
    } else {
        g_hash_table_remove(names, e->name);
    }
}

/* Durable changes with nothing else of their file before them become part of it for good. */
static void fold(void)
{
    g_autoptr(GHashTable) blocked = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < simlog.pending->len; ) {
        SimPending *p = &g_array_index(simlog.pending, SimPending, i);
        const SimEntry *e = entry_at(p->entry);
        void *file = GINT_TO_POINTER(e->file);

        if (!p->durable || g_hash_table_contains(blocked, file)) {
            g_hash_table_add(blocked, file);
            i++;
            continue;
        }
        if (e->file == SIM_DIRECTORY) {
            apply_name(simlog.names, e);
        } else {
            apply(simlog.inodes->pdata[e->file], e, 0, e->bytes);
        }
        g_array_remove_index(simlog.pending, i);
    }
}

/* (L1) The sync that began as entry @sync has ended. */
static void end_sync(guint sync)
{
    for (guint i = 0; i < simlog.pending->len; i++) {
        SimPending *p = &g_array_index(simlog.pending, SimPending, i);
        bool same_file = entry_at(p->entry)->file == entry_at(sync)->file;
        p->durable |= same_file && !p->dropped && p->ended_at && p->ended_at < sync;
    }
    fold();
}

/* Sizes and names are of the file system's journal and not of the page cache. */
static void drop(int file)
{
    for (guint i = 0; i < simlog.pending->len; i++) {
        SimPending *p = &g_array_index(simlog.pending, SimPending, i);
        const SimEntry *e = entry_at(p->entry);
        p->dropped |= e->file == file && e->kind == SIM_WRITE && !p->durable;
    }
}

static void see(guint index)
{
    const SimEntry *e = entry_at(index);
    SimPending p = { index };

    if (e->kind == SIM_END && entry_at(e->of)->kind == SIM_SYNC) {
        end_sync(e->of);
    } else if (e->kind == SIM_DROP) {
        drop(e->file);
    } else if (e->kind == SIM_END) {
        for (guint i = 0; i < simlog.pending->len; i++) {
            SimPending *q = &g_array_index(simlog.pending, SimPending, i);
            if (q->entry == e->of) {
                q->ended_at = index;
                q->durable = entry_at(e->of)->durable;
            }
        }
        fold();
    } else if (e->kind < SIM_SYNC) {
        g_array_append_val(simlog.pending, p);
    }
}

/* ---- the cut ---- */

static void file_free(void *opaque)
{
    SimFile *f = opaque;

    g_free(f->data);
    g_free(f);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void apply_torn(SimInode *n, const SimEntry *e, uint64_t *state)
{
    for (int64_t pos = 0, bytes; pos < e->bytes; pos += bytes) {
        bytes = MIN(SECTOR - (e->offset + pos) % SECTOR, e->bytes - pos);
        if (next_random(state) & 1) {
            apply(n, e, pos, bytes);
        }
    }
}

/* (L2) for what is pending, on copies. */
static void apply_pending(GPtrArray *inodes, GHashTable *names, SimCut how, uint64_t *state)
{
    for (guint i = 0; i < simlog.pending->len; i++) {
        const SimPending *p = &g_array_index(simlog.pending, SimPending, i);
        const SimEntry *e = entry_at(p->entry);
        bool tear = how == SIM_CUT_TORN && !p->durable && e->kind == SIM_WRITE;
        bool there = p->durable || how == SIM_CUT_KEEP ||
                     (how != SIM_CUT_DROP && next_random(state) & 1);

        if (tear) {
            apply_torn(inodes->pdata[e->file], e, state);
        } else if (there && e->file == SIM_DIRECTORY) {
            apply_name(names, e);
        } else if (there) {
            apply(inodes->pdata[e->file], e, 0, e->bytes);
        }
    }
}

static GPtrArray *copy_inodes(void)
{
    GPtrArray *copy = g_ptr_array_new_with_free_func(inode_free);

    g_ptr_array_add(copy, NULL);
    for (guint i = 1; i < simlog.inodes->len; i++) {
        const SimInode *from = simlog.inodes->pdata[i];
        SimInode *n = g_new(SimInode, 1);
        n->content.length = n->room = from->content.length;
        n->content.data = g_memdup2(from->content.data, from->content.length);
        g_ptr_array_add(copy, n);
    }
    return copy;
}

GHashTable *sim_cut(guint pos, SimCut how, uint64_t seed)
{
    GHashTable *files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, file_free);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    void *name, *number;

    g_assert_cmpuint(pos, >=, simlog.seen);
    while (simlog.seen < pos) {
        see(simlog.seen++);
    }
    g_autoptr(GPtrArray) inodes = copy_inodes();
    g_hash_table_iter_init(&iter, simlog.names);
    while (g_hash_table_iter_next(&iter, &name, &number)) {
        g_hash_table_insert(names, g_strdup(name), number);
    }
    apply_pending(inodes, names, how, &seed);
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &name, &number)) {
        SimInode *n = inodes->pdata[GPOINTER_TO_INT(number) - 1];
        SimFile *f = g_new(SimFile, 1);
        *f = n->content;            /* only one name leads to a file */
        n->content.data = NULL;
        g_hash_table_insert(files, g_strdup(name), f);
    }
    return files;
}

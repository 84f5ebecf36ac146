/*
 *  OpenVPN -- An application to securely tunnel IP networks
 *             over a single TCP/UDP port, with support for SSL/TLS-based
 *             session authentication and key exchange,
 *             packet encryption, packet authentication, and
 *             packet compression.
 *
 *  Copyright (C) 2026 the ovpnha authors
 *
 *  This program is free software; you can redistribute it and/or modify
 *  it under the terms of the GNU General Public License version 2
 *  as published by the Free Software Foundation.
 *
 *  This program is distributed in the hope that it will be useful,
 *  but WITHOUT ANY WARRANTY; without even the implied warranty of
 *  MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
 *  GNU General Public License for more details.
 *
 *  You should have received a copy of the GNU General Public License along
 *  with this program; if not, write to the Free Software Foundation, Inc.,
 *  51 Franklin Street, Fifth Floor, Boston, MA 02110-1301 USA.
 */

/**
 * @file cluster_report.c
 * What a master tells every second, and at its end; see cluster_report.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "base64.h"
#include "cluster_client.h"
#include "cluster_mac.h"
#include "cluster_patience.h"
#include "cluster_quiesce.h"
#include "cluster_rekey.h"
#include "cluster_report.h"
#include "cluster_state.h"
#include "cluster_wait.h"
#include "manage.h"
#include "multi.h"
#include "ssl.h"

#include "memdbg.h"

/** Seconds between two reports of byte counts. */
#define BYTES_INTERVAL 10

/** Lines that may wait for the management client. */
#define CLOGGED_LINES 10000

/** Entries that are told in one line. */
#define HW_ENTRIES 45
#define BYTES_ENTRIES 37

/** Entries on their way to a line. */
struct report
{
    const char *name;
    size_t entry;                       /**< bytes of one */
    struct buffer buf;
    bool at_once;                       /**< lines are written at once, as long as
                                         *   somebody reads */
};

/** Milliseconds for which what this process says at its end may still be waited to be
 *  read; none: nobody reads it. */
static int patience = CLUSTER_PATIENCE_ALL;

static struct report
report_new(const char *name, size_t entry, int entries, struct gc_arena *gc)
{
    const struct report ret = {
        .name = name, .entry = entry, .buf = alloc_buf_gc(entry * entries, gc)
    };

    return ret;
}

/**
 * Write what waits for the management client. By itself OpenVPN writes no more than
 * a kilobyte of it at a time once there is a signal to end by.
 */
static void
write_out(void)
{
    while (management && management->connection.state == MS_CC_WAIT_WRITE && patience)
    {
        if (cluster_patience_wait(management->connection.sd_cli, &patience))
        {
            management_io(management);
        }
        else
        {
            patience = 0;
        }
    }
}

static void
report_flush(struct report *report)
{
    char *text = NULL;

    if (BLEN(&report->buf) > 0 && !(report->at_once && !patience)
        && openvpn_base64_encode(BPTR(&report->buf), BLEN(&report->buf), &text) > 0)
    {
        msg(M_CLIENT, ">CLUSTER:%s,%s", report->name, text);
        if (report->at_once)
        {
            write_out();
        }
    }
    free(text);
    report->buf.len = 0;
}

/**
 * Make room for one more entry.
 */
static struct buffer *
report_entry(struct report *report)
{
    if (buf_forward_capacity(&report->buf) < (int)report->entry)
    {
        report_flush(report);
    }
    return &report->buf;
}

static void
write_u64(struct buffer *buf, uint64_t value)
{
    buf_write_u32(buf, (uint32_t)(value >> 32));
    buf_write_u32(buf, (uint32_t)value);
}

static void
report_marks(struct multi_instance *mi, const struct cluster_client *cc, struct report *report)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(mi->context.c2.tls_multi, ks);

    for (int i = 0; i < n; ++i)
    {
        const packet_id_type id = ks[i]->crypto_options.packet_id.rec.id;
        if (id != ks[i]->cluster_ks->reported)
        {
            struct buffer *buf = report_entry(report);
            buf_write(buf, cc->uid, CLUSTER_UID_SIZE);
            buf_write(buf, ks[i]->cluster_ks->key.fp, CLUSTER_FP_SIZE);
            buf_write_u32(buf, id);
            ks[i]->cluster_ks->reported = id;
        }
    }
}

static void
report_bytes(const struct multi_instance *mi, struct cluster_client *cc, struct report *report)
{
    const counter_type sum = mi->context.c2.link_read_bytes + mi->context.c2.link_write_bytes;

    if (sum != cc->bytes_told)
    {
        struct buffer *buf = report_entry(report);
        buf_write(buf, cc->uid, CLUSTER_UID_SIZE);
        write_u64(buf, mi->context.c2.link_read_bytes);
        write_u64(buf, mi->context.c2.link_write_bytes);
        cc->bytes_told = sum;
    }
}

/**
 * Ask for the next round of packet ids, and say which holders were too slow
 * to be waited for.
 */
static void
report_ranges(struct multi_instance *mi, const struct cluster_client *cc)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(mi->context.c2.tls_multi, ks);
    struct cluster_holder holder;
    bool wanted = false;

    for (int i = 0; i < n; ++i)
    {
        struct packet_id_send *send = &ks[i]->crypto_options.packet_id.send;

        wanted |= cluster_range_round_wanted(send);
        while (cluster_range_stale(send, &holder))
        {
            struct gc_arena gc = gc_new();
            msg(M_CLIENT, ">CLUSTER:STALE,%s,%s,%s", cluster_hex(cc->uid, &gc),
                cluster_hex(ks[i]->cluster_ks->key.fp, &gc),
                format_hex_ex(holder.id, CLUSTER_HOLDER_SIZE, 0, 1, NULL, &gc));
            gc_free(&gc);
        }
    }
    if (wanted)
    {
        cluster_client_announce(mi, "range");
    }
}

/**
 * Tell of MAC addresses that were learnt since they were told last, in this
 * second's turn, or lost to another client.
 */
static void
report_macs(struct multi_instance *mi, struct cluster_client *cc)
{
    if (cluster_macs_due(mi))
    {
        cc->told.macs = cc->macs_serial;
        cc->macs_told = now;
        cluster_client_announce(mi, "macs");
    }
}

/**
 * Does the management client read too slowly? Counters can wait for it, since
 * what is not told now is told later.
 */
static bool
is_clogged(void)
{
    return management && management->connection.out
           && management->connection.out->size > CLOGGED_LINES;
}

/**
 * Is a renegotiation of this client under way?
 */
static bool
is_renegotiating(const struct multi_instance *mi)
{
    const struct key_state *ks = get_primary_key(mi->context.c2.tls_multi);

    return ks->key_id && ks->state >= S_INITIAL && ks->state < S_GENERATED_KEYS;
}

/**
 * Has this client not said a word to a renegotiation that was begun here, for so
 * long that it must be away? Whatever it says first, another server can answer.
 */
static bool
is_away(const struct multi_instance *mi)
{
    const struct key_state *ks = get_primary_key(mi->context.c2.tls_multi);

    return is_renegotiating(mi) && ks->state > S_INITIAL && now >= ks->initial + CLUSTER_AWAY_AFTER
           && ks->rec_reliable && !ks->rec_reliable->packet_id && reliable_empty(ks->rec_reliable);
}

/**
 * Has this client begun a session anew, whose user is not found good yet?
 */
static bool
is_deferred(const struct multi_instance *mi)
{
    const struct key_state *ks = get_primary_key(mi->context.c2.tls_multi);

    return ks->state > S_INITIAL && ks->state < S_GENERATED_KEYS;
}

/**
 * Has a session begun beside the one in use, or a first one? A hard reset was taken
 * then, or an answer to one is about to be sent.
 */
static bool
has_begun(const struct multi_instance *mi)
{
    const struct key_state *ks =
        &mi->context.c2.tls_multi->session[TM_INITIAL].key[KS_PRIMARY];

    return ks->state > S_INITIAL || session_id_defined(&ks->session_id_remote);
}

/**
 * Is a client in the middle of something that only this process can finish: its
 * connection, a renegotiation, or a session that it begins anew?
 */
static bool
is_shaking_hands(const struct multi_instance *mi)
{
    const struct tls_multi *multi = mi->context.c2.tls_multi;
    const struct cluster_client *cc = multi->cluster_client;

    return !cc || !(cc->announced || cc->apart) || cc->reply.held
           || ((is_renegotiating(mi) || is_deferred(mi)) && !is_away(mi))
           || has_begun(mi) || multi->multi_state < CAS_CONNECT_DONE;
}

int
cluster_report_handshakes(const struct multi_context *m)
{
    struct hash_iterator hi;
    struct hash_element *he;
    int n = cluster_quiesce_expected();

    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        const struct multi_instance *mi = he->value;
        n += cluster->role != CLUSTER_STANDBY && !mi->halt && is_shaking_hands(mi);
    }
    hash_iterator_free(&hi);
    return n;
}

/**
 * Renegotiate clients that wait for it, as many as the rate allows, and no
 * earlier than a handshake may still be under way with their newest key.
 */
static void
report_renegs(struct multi_context *m, struct multi_instance *mi,
              struct cluster_client *cc, int *budget)
{
    if (cc->reneg_wanted && *budget > 0 && cluster_reneg_possible(mi))
    {
        const int rate = cluster->reneg_rate;

        cluster_reneg(m, mi);
        cluster_wake(m, mi, (unsigned int)((int64_t)(rate - *budget) * 1000000 / rate));
        --*budget;
    }
}

/**
 * Say how many clients no other server can go on with, if it is another number
 * than last.
 */
static void
tell_apart(int apart)
{
    if (apart != cluster->apart)
    {
        cluster->apart = apart;
        msg(M_CLIENT, ">CLUSTER:APART,%d", apart);
    }
}

/**
 * Does nothing wait to be read from clients? Then it is not because this server
 * is busy that a client was not heard.
 */
static bool
is_all_read(const struct multi_context *m)
{
    struct pollfd fd = { .fd = m->top.c2.link_socket->sd, .events = POLLIN };

    return poll(&fd, 1, 0) == 0;
}

static void
report(struct multi_context *m)
{
    const bool clogged = is_clogged();
    const bool bytes_due = !clogged && now >= cluster->bytes_reported + BYTES_INTERVAL;
    struct gc_arena gc = gc_new();
    struct report marks = report_new("HW", CLUSTER_HW_SIZE, HW_ENTRIES, &gc);
    struct report bytes = report_new("BYTES", CLUSTER_BYTES_SIZE, BYTES_ENTRIES, &gc);
    int budget = cluster->reneg_rate - cluster->renegs;
    int apart = 0;
    struct hash_iterator hi;
    struct hash_element *he;

    cluster_quiesce_expire();
    cluster->read_all += is_all_read(m);
    cluster->renegs = 0;
    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        struct multi_instance *mi = he->value;
        struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;

        if (mi->halt || !cc || !cc->announced)
        {
            apart += !mi->halt && cc && cc->apart;
            continue;
        }
        if (!clogged)
        {
            report_marks(mi, cc, &marks);
        }
        report_ranges(mi, cc);
        report_macs(mi, cc);
        cluster_wait_expire(m, mi);
        cluster_heal(m, mi);
        cluster->renegs += is_renegotiating(mi);
        report_renegs(m, mi, cc, &budget);
        if (bytes_due)
        {
            report_bytes(mi, cc, &bytes);
        }
    }
    hash_iterator_free(&hi);

    tell_apart(apart);
    report_flush(&marks);
    report_flush(&bytes);
    if (bytes_due)
    {
        cluster->bytes_reported = now;
    }
    gc_free(&gc);
}

void
cluster_per_second(struct multi_context *m)
{
    if (cluster && cluster->role == CLUSTER_MASTER)
    {
        report(m);
    }
}

/**
 * Tell once more what was counted since the last report.
 *
 * @param bytes         is NULL if bytes are not to be told
 */
static void
report_rest(struct multi_context *m, struct report *marks, struct report *bytes)
{
    struct hash_iterator hi;
    struct hash_element *he;

    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        struct multi_instance *mi = he->value;
        struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;

        if (!mi->halt && cc && cc->announced)
        {
            report_marks(mi, cc, marks);
            if (bytes)
            {
                report_bytes(mi, cc, bytes);
            }
        }
    }
    hash_iterator_free(&hi);
}

void
cluster_report_last(struct multi_context *m)
{
    struct gc_arena gc = gc_new();
    struct report marks = report_new("HW", CLUSTER_HW_SIZE, HW_ENTRIES, &gc);

    report_rest(m, &marks, NULL);
    report_flush(&marks);
    gc_free(&gc);
}

void
cluster_report_end(struct multi_context *m)
{
    struct gc_arena gc = gc_new();
    struct report marks = report_new("HW", CLUSTER_HW_SIZE, HW_ENTRIES, &gc);
    struct report bytes = report_new("BYTES", CLUSTER_BYTES_SIZE, BYTES_ENTRIES, &gc);

    patience = CLUSTER_PATIENCE_ALL;
    if (cluster && cluster->role != CLUSTER_STANDBY)
    {
        marks.at_once = bytes.at_once = true;
        write_out();
        report_rest(m, &marks, &bytes);
        report_flush(&marks);
        report_flush(&bytes);
    }
    gc_free(&gc);
}

void
cluster_report_over(void)
{
    if (management)
    {
        msg(M_CLIENT, ">CLUSTER:END");
        write_out();
    }
}

#endif /* ifdef ENABLE_CLUSTER */

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
 * @file cluster.c
 * The role of this process; see cluster.h for what it rules.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include <ifaddrs.h>
#include <sys/prctl.h>

#include "cluster.h"
#include "cluster_address.h"
#include "cluster_announce.h"
#include "cluster_last_message.h"
#include "cluster_quiesce.h"
#include "cluster_report.h"
#include "crypto.h"
#include "forward.h"
#include "manage.h"
#include "multi.h"

#include "memdbg.h"

/** Most packets that wait to be sent when a master is held. */
#define HOLD_SENDS 1024

static uint32_t
uid_hash(const void *key, uint32_t iv)
{
    return hash_func(key, CLUSTER_UID_SIZE, iv);
}

static bool
uid_equal(const void *a, const void *b)
{
    return !memcmp(a, b, CLUSTER_UID_SIZE);
}

/**
 * The only place where the role changes.
 */
static void
set_role(enum cluster_role role)
{
    struct gc_arena gc = gc_new();

    cluster->role = role;
    cluster_range_forget();
    cluster->wait = false;
    cluster->wait_missed = 0;
    cluster->successor_until = 0;
    cluster->apart = 0;
    cluster_announce_end();
    cluster_quiesce_end();
    msg(M_INFO, "CLUSTER: role is %s now", cluster_role_name());
    if (management)
    {
        msg(M_CLIENT, ">CLUSTER:STATE,%s,%s", cluster_role_name(),
            format_hex_ex(cluster->holder.id, CLUSTER_HOLDER_SIZE, 0, 1, NULL, &gc));
    }
    gc_free(&gc);
}

static void
draw_holder(void)
{
    if (!rand_bytes(cluster->holder.id, CLUSTER_HOLDER_SIZE))
    {
        msg(M_FATAL, "CLUSTER: no randomness for a holder id");
    }
}

void
cluster_init(struct multi_context *m)
{
    if (!m->top.options.cluster)
    {
        return;
    }

    /* keys must not end up in a core file */
    if (prctl(PR_SET_DUMPABLE, 0))
    {
        msg(M_WARN | M_ERRNO, "CLUSTER: cannot forbid core dumps");
    }
    ALLOC_OBJ_CLEAR(cluster, struct cluster);
    cluster->uids = hash_init(m->top.options.real_hash_size, (uint32_t)get_random(),
                              uid_hash, uid_equal);
    strcpy(cluster->epoch, "-");
    cluster->read_all = 1;
    draw_holder();
    set_role(CLUSTER_STANDBY);
}

void
cluster_uninit(void)
{
    if (cluster)
    {
        cluster_report_over();
        hash_free(cluster->uids);
        cluster_range_forget();
        cluster_announce_end();
        free(cluster);
        cluster = NULL;
    }
}

static void
promote_keys(struct tls_multi *multi, bool overtake)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(multi, ks);

    for (int i = 0; i < n; ++i)
    {
        struct packet_id_send *send = &ks[i]->crypto_options.packet_id.send;
        if (overtake)
        {
            cluster_range_overtake(send);
        }
        cluster_range_promote(send);
    }
    cluster_advance_wraps(&multi->session[TM_ACTIVE]);
}

/**
 * Start an instance's timers: it has been heard of just now, and a ping is due
 * so that the client hears of us.
 */
static void
arm_timers(struct context *c)
{
    event_timeout_reset(&c->c2.ping_rec_interval);
    event_timeout_reset(&c->c2.inactivity_interval);
    c->c2.ping_send_interval.last = 0;
    reset_coarse_timers(c);
}

/**
 * --stale-routes-check must not hold the time as a standby against a route.
 */
static void
refresh_routes(struct multi_context *m)
{
    struct hash_iterator hi;
    struct hash_element *he;

    hash_iterator_init(m->vhash, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        ((struct multi_route *)he->value)->last_reference = now;
    }
    hash_iterator_free(&hi);
}

/**
 * Does the client wait for what only we can still tell it? Then it is told at
 * once.
 */
static bool
hasten_message(struct multi_instance *mi)
{
    struct key_state *ks = &mi->context.c2.tls_multi->session[TM_ACTIVE].key[KS_PRIMARY];

    if (!cluster_ks_imported(ks) || !cluster_last_message_due(ks))
    {
        return false;
    }
    cluster_last_message_hasten(ks);
    return true;
}

int
cluster_promote(struct multi_context *m, const char *epoch)
{
    const int n = hash_n_elements(m->iter);
    const bool overtake = cluster->role != CLUSTER_STANDBY
                          && strcmp(epoch ? epoch : "-", cluster->epoch);
    struct hash_iterator hi;
    struct hash_element *he;
    int i = 0;

    update_time();
    set_role(CLUSTER_MASTER);
    strncpynt(cluster->epoch, epoch ? epoch : "-", sizeof(cluster->epoch));

    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        struct multi_instance *mi = he->value;
        promote_keys(mi->context.c2.tls_multi, overtake);
        arm_timers(&mi->context);
        cluster_wake(m, mi, hasten_message(mi) ? 0 : (unsigned int)((int64_t)i * 1000000 / n));
        ++i;
    }
    hash_iterator_free(&hi);

    if (m->top.options.stale_routes_check_interval)
    {
        refresh_routes(m);
    }
    cluster_announce_begin(m);
    cluster_spare_serve(m);
    return n;
}

/**
 * Send what is about to be sent: it was read from clients or from the tun, and
 * who goes on does not have it.
 */
static void
send_output(struct multi_context *m)
{
    for (int i = 0; i < HOLD_SENDS; ++i)
    {
        if (m->pending && TUN_OUT(&m->pending->context))
        {
            multi_process_outgoing_tun(m, 0);
            continue;
        }
        struct multi_instance *mi = multi_process_outgoing_link_pre(m);
        if (!mi)
        {
            break;
        }
        multi_process_outgoing_link_dowork(m, mi, 0);
    }
    if (m->hmac_reply_dest && m->hmac_reply.len > 0)
    {
        m->top.c2.to_link = m->hmac_reply;
        m->top.c2.to_link_addr = m->hmac_reply_dest;
        process_outgoing_link(&m->top);
    }
}

/**
 * Drop what is about to be sent.
 */
static void
flush_output(struct multi_context *m)
{
    struct mbuf_item item;

    if (m->pending)
    {
        m->pending->context.c2.to_link.len = 0;
        m->pending->context.c2.to_tun.len = 0;
        multi_set_pending(m, NULL);
    }
    while (mbuf_extract_item(m->mbuf, &item))
    {
        mbuf_free_buf(item.buffer);
    }
    m->hmac_reply_dest = NULL;
}

int
cluster_hold(struct multi_context *m)
{
    struct hash_iterator hi;
    struct hash_element *he;

    send_output(m);
    set_role(CLUSTER_HELD);
    flush_output(m);
    m->earliest_wakeup = NULL;
    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        schedule_remove_entry(m->schedule, he->value);
    }
    hash_iterator_free(&hi);
    return hash_n_elements(m->iter);
}

/**
 * Is this the address that the socket is bound to?
 */
static bool
is_bound_to(const struct addrinfo *bound, const struct sockaddr *sa)
{
    struct openvpn_sockaddr local, here;

    if (sa->sa_family != bound->ai_family)
    {
        return false;
    }
    CLEAR(local);
    CLEAR(here);
    memcpy(&local.addr, bound->ai_addr, bound->ai_addrlen);
    memcpy(&here.addr, sa, bound->ai_addrlen);
    return addr_match(&local, &here);
}

/**
 * Is an address that the servers share on this host? The socket was bound
 * without asking. Yes, if that cannot be found out.
 */
static bool
has_address(const struct multi_context *m)
{
    const struct addrinfo *bound = m->top.c2.link_socket->info.lsa->bind_local;
    const struct cluster_addresses *addresses = &m->top.options.cluster_addresses;
    struct ifaddrs *all;
    bool found = false;

    if (!bound || bound->ai_addrlen > sizeof(struct sockaddr_in6) || getifaddrs(&all))
    {
        return true;
    }
    for (const struct ifaddrs *one = all; one && !found; one = one->ifa_next)
    {
        if (one->ifa_addr)
        {
            found = addresses->n ? cluster_addresses_have(addresses, one->ifa_addr)
                    : is_bound_to(bound, one->ifa_addr);
        }
    }
    freeifaddrs(all);
    return found;
}

bool
cluster_leave(struct multi_context *m)
{
    if (cluster && !cluster_silent() && (cluster_has_successor() || !has_address(m)))
    {
        msg(M_INFO, "CLUSTER: leaving without a word, %s",
            cluster_has_successor() ? "another server has the clients" : "the address is not here");
        cluster_hold(m);
    }
    if (cluster)
    {
        cluster->leaving = !cluster_silent();
        cluster_quiesce_end(); /* to a moved client a goodbye begins a renegotiation */
    }
    return cluster_silent();
}

int
cluster_demote(struct multi_context *m)
{
    const int n = hash_n_elements(m->iter);
    struct hash_iterator hi;
    struct hash_element *he;

    /* silent from here on, so that closing says nothing */
    cluster->role = CLUSTER_STANDBY;
    flush_output(m);
    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        struct multi_instance *mi = he->value;
        mi->did_iter = false;
        multi_close_instance(m, mi, false);
        hash_iterator_delete_element(&hi);
    }
    hash_iterator_free(&hi);

    draw_holder();
    strcpy(cluster->epoch, "-");
    set_role(CLUSTER_STANDBY);
    return n;
}

void
cluster_drain(struct multi_context *m, unsigned int status)
{
    if (cluster_spare_aside())
    {
        /* the poll that brought the hold may have seen more, which is not ours */
    }
    else if (status & SOCKET_READ)
    {
        read_incoming_link(&m->top);
    }
    else if (status & TUN_READ)
    {
        read_incoming_tun(&m->top);
        cluster_announce_keep(m);
    }
#ifdef ENABLE_ASYNC_PUSH
    else if (status & FILE_CLOSED)
    {
        multi_process_file_closed(m, 0);
    }
#endif
    m->top.c2.buf.len = 0;
}

void
cluster_limit_timeout(struct multi_context *m)
{
    struct timeval *timeout = &m->top.c2.timeval;

    if (!cluster || cluster->role != CLUSTER_MASTER)
    {
        return;
    }
    if (timeout->tv_sec >= 1)
    {
        m->earliest_wakeup = NULL;
        timeout->tv_sec = 1;
        timeout->tv_usec = 0;
    }
    if (cluster_announce_step(m, timeout))
    {
        m->earliest_wakeup = NULL;
    }
}

#endif /* ifdef ENABLE_CLUSTER */

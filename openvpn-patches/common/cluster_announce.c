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
 * @file cluster_announce.c
 * What a new master says to switches and clients; see cluster_announce.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_announce.h"
#include "cluster_client.h"
#include "cluster_frame.h"
#include "cluster_mac.h"
#include "cluster_state.h"
#include "multi.h"
#include "vlan.h"

#include "memdbg.h"

/** How often all of it is said. */
#define ROUNDS 2

/** Frames that are said at once, and the pause after them: 2,000 a second. */
#define FRAMES_AT_ONCE 100
#define PAUSE_USEC 50000

/** Seconds from the end of a round to the next one. */
#define ROUND_PAUSE 1

/** Most that is said in a round. */
#define MOST_ITEMS 65536

/** Questions that are remembered, for how many seconds, and bytes of one. */
#define QUESTIONS 64
#define QUESTION_AGE 3
#define QUESTION_MAX CLUSTER_FRAME_MAX

/** Where somebody is who wants to send to a client. */
struct question
{
    time_t asked;                       /**< 0: none */
    int vid;
    struct cluster_addr target;
    int len;
    uint8_t frame[QUESTION_MAX];
};

static struct question questions[QUESTIONS]; /* GLOBAL */

/** One thing to say. */
struct item
{
    bool to_client;                     /**< what the client is to know of us;
                                         *   else what others are of the client */
    uint32_t peer_id;                   /**< to_client */
    struct cluster_mac mac;             /**< else */
};

/** What is left to say. */
struct cluster_announce
{
    int n;
    int next;
    int rounds;                         /**< that are left, this one too */
    struct timeval due;                 /**< when it goes on */
    struct item items[];
};

/*
 * Questions
 */

void
cluster_announce_keep(struct multi_context *m)
{
    static unsigned int next = 0; /* GLOBAL */
    struct question *q = &questions[next % QUESTIONS];
    struct buffer frame = m->top.c2.buf;
    struct cluster_addr target;
    int vid = 0;

    if (TUNNEL_TYPE(m->top.c1.tuntap) != DEV_TYPE_TAP || BLEN(&frame) <= 0)
    {
        return;
    }
    if (m->top.options.vlan_tagging)
    {
        vid = vlan_decapsulate(&m->top, &frame);
    }
    if (vid >= 0 && BLEN(&frame) <= QUESTION_MAX && cluster_frame_question(&frame, &target))
    {
        q->asked = now;
        q->vid = vid;
        q->target = target;
        q->len = BLEN(&frame);
        memcpy(q->frame, BPTR(&frame), (size_t)q->len);
        ++next;
    }
}

/** Was it asked just now, for an address that this client has, in its VLAN? */
static bool
is_for(const struct question *q, const struct multi_context *m, const struct multi_instance *mi)
{
    const struct context_2 *c2 = &mi->context.c2;

    if (q->asked + QUESTION_AGE <= now
        || (m->top.options.vlan_tagging && q->vid != mi->context.options.vlan_pvid))
    {
        return false;
    }
    return q->target.family == AF_INET
           ? c2->push_ifconfig_defined
           && ntohl(q->target.ip.in4.s_addr) == c2->push_ifconfig_local
           : c2->push_ifconfig_ipv6_defined
           && IN6_ARE_ADDR_EQUAL(&q->target.ip.in6, &c2->push_ifconfig_ipv6_local);
}

/*
 * The list
 */

static int
count_items(struct multi_context *m)
{
    struct hash_iterator hi;
    struct hash_element *he;
    int n = 0;

    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        const struct multi_instance *mi = he->value;
        n += 1 + cluster_client_get(mi->context.c2.tls_multi)->macs.n;
    }
    hash_iterator_free(&hi);
    return min_int(n, MOST_ITEMS);
}

/**
 * The next of each client: first what it is told, then its addresses.
 *
 * @return false if there was nothing any more, or no room
 */
static bool
add_next_of_each(struct multi_context *m, struct cluster_announce *a, int depth, int room)
{
    struct hash_iterator hi;
    struct hash_element *he;
    const int before = a->n;

    hash_iterator_init(m->iter, &hi);
    while (a->n < room && (he = hash_iterator_next(&hi)))
    {
        const struct multi_instance *mi = he->value;
        const struct tls_multi *multi = mi->context.c2.tls_multi;
        const struct cluster_macs *macs = &multi->cluster_client->macs;

        if (!depth)
        {
            a->items[a->n++] = (struct item) { .to_client = true, .peer_id = multi->peer_id };
        }
        else if (depth <= macs->n)
        {
            a->items[a->n++] = (struct item) { .mac = macs->list[depth - 1] };
        }
    }
    hash_iterator_free(&hi);
    return a->n > before && a->n < room;
}

void
cluster_announce_begin(struct multi_context *m)
{
    const int room = count_items(m);

    cluster_announce_end();
    if (TUNNEL_TYPE(m->top.c1.tuntap) != DEV_TYPE_TAP || !room)
    {
        return;
    }
    struct cluster_announce *a = calloc(1, sizeof(*a) + (size_t)room * sizeof(struct item));
    check_malloc_return(a);
    for (int depth = 0; add_next_of_each(m, a, depth, room); ++depth)
    {
    }
    a->rounds = ROUNDS;
    cluster->announce = a;
}

void
cluster_announce_end(void)
{
    free(cluster->announce);
    cluster->announce = NULL;
}

/*
 * Saying it
 */

/** What comes from the tap has room before it, and is sent on with more. */
static void
begin_frame(const struct multi_context *m, struct buffer *work)
{
    ASSERT(buf_init(work, m->top.c2.frame.buf.headroom));
}

/** The MAC address of the own tap. */
static bool
own_mac(const struct multi_context *m, uint8_t *mac)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr;

    CLEAR(ifr);
    strncpynt(ifr.ifr_name, m->top.c1.tuntap->actual_name, sizeof(ifr.ifr_name));
    const bool known = fd >= 0 && !ioctl(fd, SIOCGIFHWADDR, &ifr);
    if (fd >= 0)
    {
        close(fd);
    }
    memcpy(mac, ifr.ifr_hwaddr.sa_data, CLUSTER_MAC_SIZE);
    return known;
}

/** Are the addresses of --ifconfig in the VLAN of this client? */
static bool
is_in_own_vlan(const struct multi_context *m, const struct multi_instance *mi)
{
    const struct options *o = &m->top.options;

    return !o->vlan_tagging || (o->vlan_accept != VLAN_ONLY_TAGGED
                                && o->vlan_pvid == mi->context.options.vlan_pvid);
}

static void
tell_client(struct multi_context *m, struct multi_instance *mi, struct buffer *work)
{
    const struct options *o = &m->top.options;
    uint8_t mac[CLUSTER_MAC_SIZE];
    struct in6_addr ipv6;
    struct in_addr ipv4;

    if (!is_in_own_vlan(m, mi) || !own_mac(m, mac))
    {
        return;
    }
    if (o->ifconfig_local && inet_pton(AF_INET, o->ifconfig_local, &ipv4) == 1)
    {
        begin_frame(m, work);
        cluster_frame_arp(work, mac, ipv4);
        multi_unicast(m, work, mi);
    }
    if (o->ifconfig_ipv6_local && inet_pton(AF_INET6, o->ifconfig_ipv6_local, &ipv6) == 1)
    {
        begin_frame(m, work);
        cluster_frame_advertisement(work, mac, &ipv6);
        multi_unicast(m, work, mi);
    }
}

/** What was asked while nobody served. */
static void
ask_client(struct multi_context *m, struct multi_instance *mi, struct buffer *work)
{
    for (int i = 0; i < QUESTIONS; ++i)
    {
        if (questions[i].asked && is_for(&questions[i], m, mi))
        {
            begin_frame(m, work);
            buf_write(work, questions[i].frame, questions[i].len);
            multi_unicast(m, work, mi);
        }
    }
}

/** As the client would send it, in its VLAN. */
static void
tell_others(struct multi_context *m, const struct cluster_mac *mac, struct buffer *work)
{
    const struct mroute_addr addr = cluster_mac_address(mac);
    const struct multi_route *route = hash_lookup(m->vhash, &addr);

    if (!route || !multi_route_defined(m, route))
    {
        return;
    }
    struct buffer *to_tun = &route->instance->context.c2.to_tun;
    const struct buffer kept = *to_tun;

    begin_frame(m, work);
    cluster_frame_rarp(work, mac->addr);
    *to_tun = *work;
    vlan_process_outgoing_tun(m, route->instance);
    if (BLEN(to_tun) > 0)
    {
        write_tun(m->top.c1.tuntap, BPTR(to_tun), BLEN(to_tun));
    }
    *to_tun = kept;
}

static void
say(struct multi_context *m, const struct item *item)
{
    struct gc_arena gc = gc_new();
    struct buffer work = alloc_buf_gc((size_t)BUF_SIZE(&m->top.c2.frame), &gc);

    if (!item->to_client)
    {
        tell_others(m, &item->mac, &work);
    }
    else if (m->instances[item->peer_id])
    {
        tell_client(m, m->instances[item->peer_id], &work);
        ask_client(m, m->instances[item->peer_id], &work);
    }
    gc_free(&gc);
}

/** What goes to clients waits in a queue that drops what is too much. */
static bool
has_room(const struct multi_context *m)
{
    return mbuf_len(m->mbuf) < m->mbuf->capacity / 2;
}

static void
go_on(struct multi_context *m, struct cluster_announce *a, const struct timeval *tv)
{
    struct timeval pause = { .tv_sec = 0, .tv_usec = PAUSE_USEC };

    for (int i = 0; i < FRAMES_AT_ONCE && a->next < a->n && has_room(m); ++i)
    {
        say(m, &a->items[a->next++]);
    }
    if (a->next == a->n)
    {
        a->next = 0;
        --a->rounds;
        pause = (struct timeval) { .tv_sec = ROUND_PAUSE };
    }
    a->due = *tv;
    tv_add(&a->due, &pause);
}

bool
cluster_announce_step(struct multi_context *m, struct timeval *timeout)
{
    struct cluster_announce *a = cluster->announce;
    struct timeval tv, left;

    if (!a || openvpn_gettimeofday(&tv, NULL))
    {
        return false;
    }
    tv_delta(&left, &tv, &a->due);
    /* later than that only after a leap of the clock */
    if (tv_ge(&tv, &a->due) || left.tv_sec > ROUND_PAUSE)
    {
        go_on(m, a, &tv);
        tv_delta(&left, &tv, &a->due);
    }
    if (!a->rounds)
    {
        cluster_announce_end();
        return false;
    }
    if (tv_ge(&left, timeout))
    {
        return false;
    }
    *timeout = left;
    return true;
}

#endif /* ifdef ENABLE_CLUSTER */

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
 * @file cluster_route.c
 * Virtual addresses and networks of clients; see cluster_route.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_route.h"
#include "cluster_state.h"
#include "multi.h"
#include "push.h"

#include "memdbg.h"

/** Milliseconds that deleting routes may take in a second. */
#define REAP_MS 100

/*
 * Who has an address
 */

static uint64_t
arrival(const struct multi_instance *mi)
{
    const struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;

    return cc ? cc->arrival : 0;
}

bool
cluster_keeps_address(const struct multi_instance *owner, struct multi_instance *mi)
{
    if (!cluster || owner == mi)
    {
        return false;
    }
    if (cluster->importing)
    {
        return owner && arrival(owner) > arrival(mi);
    }
    if (!arrival(mi) || (owner && arrival(owner) >= arrival(mi)))
    {
        cluster_client_get(mi->context.c2.tls_multi)->arrival = ++cluster->arrivals;
    }
    return false;
}

static const struct multi_instance *
owner_of(const struct multi_context *m, const struct mroute_addr *addr)
{
    const struct multi_route *route = hash_lookup(m->vhash, addr);

    return route && multi_route_defined(m, route) ? route->instance : NULL;
}

static const struct multi_instance *
owner_of_ipv4(const struct multi_context *m, in_addr_t network, int netbits)
{
    struct mroute_addr addr;

    CLEAR(addr);
    mroute_extract_in_addr_t(&addr, network);
    if (netbits >= 0)
    {
        addr.type |= MR_WITH_NETBITS;
        addr.netbits = (uint8_t)netbits;
    }
    return owner_of(m, &addr);
}

static const struct multi_instance *
owner_of_ipv6(const struct multi_context *m, struct in6_addr network, int netbits)
{
    struct mroute_addr addr;

    CLEAR(addr);
    addr.len = 16;
    addr.type = MR_ADDR_IPV6;
    addr.v6.addr = network;
    if (netbits >= 0)
    {
        addr.type |= MR_WITH_NETBITS;
        addr.netbits = (uint8_t)netbits;
        mroute_addr_mask_host_bits(&addr);
    }
    return owner_of(m, &addr);
}

/**
 * Has this instance its address, or a later one?
 */
static bool
holds(const struct multi_instance *owner, const struct multi_instance *mi)
{
    return owner == mi || (cluster->importing && owner && arrival(owner) > arrival(mi));
}

static bool
holds_networks(const struct multi_context *m, const struct multi_instance *mi)
{
    const struct options *o = &mi->context.options;
    bool all = true;

    for (const struct iroute *ir = o->iroutes; all && ir; ir = ir->next)
    {
        all = holds(owner_of_ipv4(m, ir->network, ir->netbits), mi);
    }
    for (const struct iroute_ipv6 *ir6 = o->iroutes_ipv6; all && ir6; ir6 = ir6->next)
    {
        all = holds(owner_of_ipv6(m, ir6->network, (int)ir6->netbits), mi);
    }
    return all;
}

uint32_t
cluster_routes_held(const struct multi_context *m, const struct multi_instance *mi)
{
    const struct context_2 *c2 = &mi->context.c2;
    uint32_t held = 0;

    if (c2->push_ifconfig_defined && holds(owner_of_ipv4(m, c2->push_ifconfig_local, -1), mi))
    {
        held |= CLUSTER_ROUTE_IPV4;
    }
    if (c2->push_ifconfig_ipv6_defined
        && holds(owner_of_ipv6(m, c2->push_ifconfig_ipv6_local, -1), mi))
    {
        held |= CLUSTER_ROUTE_IPV6;
    }
    if (holds_networks(m, mi))
    {
        held |= CLUSTER_ROUTE_NETWORKS;
    }
    return held;
}

/*
 * Import
 */

bool
cluster_routes_import(struct multi_context *m, struct multi_instance *mi,
                      const struct cluster_record *rec, struct cluster_reason *why)
{
    const struct context_2 *c2 = &mi->context.c2;
    uint32_t wanted = rec->routes & CLUSTER_ROUTE_NETWORKS;

    cluster->importing = true;
    if (c2->push_ifconfig_defined && (rec->routes & CLUSTER_ROUTE_IPV4))
    {
        multi_learn_in_addr_t(m, mi, c2->push_ifconfig_local, -1, true);
        wanted |= CLUSTER_ROUTE_IPV4;
    }
    if (c2->push_ifconfig_ipv6_defined && (rec->routes & CLUSTER_ROUTE_IPV6))
    {
        multi_learn_in6_addr(m, mi, c2->push_ifconfig_ipv6_local, -1, true);
        wanted |= CLUSTER_ROUTE_IPV6;
    }
    multi_add_iroutes(m, mi);
    remove_iroutes_from_push_route_list(&mi->context.options);

    const uint32_t missing = wanted & ~cluster_routes_held(m, mi);
    cluster->importing = false;
    return !missing || cluster_refuse(why, CLUSTER_CODE_DENIED, "--learn-address refuses the %s here",
                                      missing & CLUSTER_ROUTE_IPV4 ? "virtual address"
                                      : missing & CLUSTER_ROUTE_IPV6 ? "virtual IPv6 address"
                                      : "networks of --iroute");
}

/**
 * Let go of the pool's entry that an earlier client holds: another one got it
 * since.
 */
static bool
release_earlier(struct multi_context *m, const struct multi_instance *mi)
{
    const struct context_2 *c2 = &mi->context.c2;
    struct hash_iterator hi;
    struct hash_element *he;
    bool released = false;

    hash_iterator_init(m->iter, &hi);
    while (!released && (he = hash_iterator_next(&hi)))
    {
        struct multi_instance *other = he->value;
        const struct context_2 *theirs = &other->context.c2;

        if (other != mi && other->vaddr_handle >= 0 && arrival(other) <= arrival(mi)
            && ((c2->push_ifconfig_defined
                 && theirs->push_ifconfig_local == c2->push_ifconfig_local)
                || (c2->push_ifconfig_ipv6_defined
                    && !memcmp(&theirs->push_ifconfig_ipv6_local, &c2->push_ifconfig_ipv6_local,
                               sizeof(struct in6_addr)))))
        {
            ifconfig_pool_release(m->ifconfig_pool, other->vaddr_handle, true);
            other->vaddr_handle = -1;
            released = true;
        }
    }
    hash_iterator_free(&hi);
    return released;
}

void
cluster_pool_import(struct multi_context *m, struct multi_instance *mi,
                    const struct cluster_record *rec)
{
    const struct options *o = &mi->context.options;
    const struct in6_addr *ipv6 = rec->ifconfig_ipv6_defined && !o->push_ifconfig_ipv6_defined
                                  ? &rec->ifconfig_ipv6_local : NULL;
    const char *name = o->duplicate_cn ? NULL : rec->common_name;

    /* an address that was set by an option is none of the pool's */
    if (!m->ifconfig_pool || o->push_ifconfig_defined || !(rec->ifconfig_defined || ipv6))
    {
        return;
    }
    do
    {
        mi->vaddr_handle = ifconfig_pool_reserve(m->ifconfig_pool, rec->ifconfig_local, ipv6, name);
    }
    while (mi->vaddr_handle < 0 && release_earlier(m, mi));
}

/*
 * Clients that are gone
 */

bool
cluster_may_reap(struct timeval *begun)
{
    struct timeval tv;

    if (!cluster_silent() || openvpn_gettimeofday(&tv, NULL))
    {
        return true;
    }
    if (!begun->tv_sec)
    {
        *begun = tv;
    }
    const int64_t ms = (int64_t)(tv.tv_sec - begun->tv_sec) * 1000
                       + (tv.tv_usec - begun->tv_usec) / 1000;
    return ms >= 0 && ms < REAP_MS;
}

#endif /* ifdef ENABLE_CLUSTER */

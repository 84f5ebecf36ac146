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
 * @file cluster_mac.c
 * MAC addresses of clients; see cluster_mac.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_mac.h"
#include "cluster_state.h"
#include "multi.h"

#include "memdbg.h"

/*
 * The list
 */

static struct cluster_mac
mac_of(const struct mroute_addr *addr)
{
    struct cluster_mac mac;

    memcpy(mac.addr, addr->ether.addr, sizeof(mac.addr));
    mac.vid = addr->ether.vid;
    return mac;
}

static int
find_mac(const struct cluster_macs *macs, const struct cluster_mac *mac)
{
    for (int i = 0; i < macs->n; ++i)
    {
        if (macs->list[i].vid == mac->vid
            && !memcmp(macs->list[i].addr, mac->addr, sizeof(mac->addr)))
        {
            return i;
        }
    }
    return -1;
}

/**
 * The client whose list is to follow what is learnt, or NULL.
 */
static struct cluster_client *
client_of(struct multi_instance *mi, const struct mroute_addr *addr)
{
    const bool counts = cluster && !mi->halt && mi->context.c2.tls_multi
                        && (addr->type & MR_ADDR_MASK) == MR_ADDR_ETHER;

    return counts ? cluster_client_get(mi->context.c2.tls_multi) : NULL;
}

void
cluster_mac_learnt(struct multi_instance *mi, const struct mroute_addr *addr)
{
    struct cluster_client *cc = client_of(mi, addr);
    const struct cluster_mac mac = cc ? mac_of(addr) : (struct cluster_mac) { 0 };

    if (!cc || find_mac(&cc->macs, &mac) >= 0)
    {
        return;
    }
    if (!cluster_macs_add(&cc->macs, &mac))
    {
        msg(D_MULTI_ERRORS, "CLUSTER: more than %d MAC addresses behind a client, "
            "no standby is told of this one", CLUSTER_MACS_MAX);
        return;
    }
    ++cc->macs_serial;
}

void
cluster_mac_lost(struct multi_instance *mi, const struct mroute_addr *addr)
{
    struct cluster_client *cc = client_of(mi, addr);
    const struct cluster_mac mac = cc ? mac_of(addr) : (struct cluster_mac) { 0 };
    const int i = cc ? find_mac(&cc->macs, &mac) : -1;

    if (i >= 0)
    {
        cc->macs.list[i] = cc->macs.list[--cc->macs.n];
        ++cc->macs_serial;
    }
}

bool
cluster_macs_due(const struct multi_instance *mi)
{
    const struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;

    return cc && cc->macs_serial != cc->told.macs && cc->macs_told != now;
}

/*
 * Import
 */

struct mroute_addr
cluster_mac_address(const struct cluster_mac *mac)
{
    struct mroute_addr addr;

    CLEAR(addr);
    addr.type = MR_ADDR_ETHER;
    addr.len = sizeof(mac->addr) + sizeof(mac->vid);
    memcpy(addr.ether.addr, mac->addr, sizeof(mac->addr));
    addr.ether.vid = mac->vid;
    return addr;
}

static void
unlearn(struct multi_context *m, const struct multi_instance *mi, const struct cluster_mac *mac)
{
    const struct mroute_addr addr = cluster_mac_address(mac);
    struct multi_route *route = hash_lookup(m->vhash, &addr);

    if (route && route->instance == mi)
    {
        learn_address_script(m, NULL, "delete", &addr);
        hash_remove(m->vhash, &route->addr);
        multi_route_del(route);
    }
}

void
cluster_macs_import(struct multi_context *m, struct multi_instance *mi,
                    const struct cluster_record *rec)
{
    const struct cluster_macs *mine = &cluster_client_get(mi->context.c2.tls_multi)->macs;

    if (TUNNEL_TYPE(m->top.c1.tuntap) != DEV_TYPE_TAP)
    {
        return;
    }
    for (int i = mine->n - 1; i >= 0; --i)
    {
        if (find_mac(&rec->macs, &mine->list[i]) < 0)
        {
            unlearn(m, mi, &mine->list[i]);
        }
    }
    cluster->importing = true;
    for (int i = 0; i < rec->macs.n; ++i)
    {
        const struct mroute_addr addr = cluster_mac_address(&rec->macs.list[i]);
        multi_learn_addr(m, mi, &addr, 0);
    }
    cluster->importing = false;
}

#endif /* ifdef ENABLE_CLUSTER */

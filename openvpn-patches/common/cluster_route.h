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
 * @file cluster_route.h
 * Virtual addresses and networks of clients: who has them, here and on the
 * server that a client came from.
 *
 * OpenVPN gives an address that two clients claim to the one that learned it
 * last. A standby imports clients in any order, so each has its arrival: it
 * counts up over the whole cluster, and the later of two keeps the address. An
 * address that a client did not get on its own server (the script refused it,
 * a quota was used up, it is the server's own) it does not get here either.
 */

#ifndef CLUSTER_ROUTE_H
#define CLUSTER_ROUTE_H

#include "interval.h"

struct multi_context;
struct multi_instance;

#ifdef ENABLE_CLUSTER

#include "cluster_record.h"

/**
 * An instance is about to learn an address. While clients are imported one that
 * arrived later keeps it; else whoever learns it is the latest.
 *
 * @param owner         the instance that has the address, or NULL
 *
 * @return true if it is not to be learned
 */
bool cluster_keeps_address(const struct multi_instance *owner, struct multi_instance *mi);

/** Which addresses does this instance have (CLUSTER_ROUTE_)? */
uint32_t cluster_routes_held(const struct multi_context *m, const struct multi_instance *mi);

/**
 * Give a new instance the addresses that its record says it had.
 *
 * @return false if --learn-address refuses here what it allowed there
 */
bool cluster_routes_import(struct multi_context *m, struct multi_instance *mi,
                           const struct cluster_record *rec, struct cluster_reason *why);

/**
 * Take the addresses of the pool that a new instance has out of the pool. One
 * that the pool does not know, or that went to a later client, stays with it.
 */
void cluster_pool_import(struct multi_context *m, struct multi_instance *mi,
                         const struct cluster_record *rec);

/**
 * May more routes of clients that are gone be deleted in this second? Each can
 * cost a run of --learn-address, in which the server is deaf.
 *
 * @param begun         when the first was, zero before it
 */
bool cluster_may_reap(struct timeval *begun);

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_keeps_address(const struct multi_instance *owner, struct multi_instance *mi)
{
    return false;
}

static inline bool
cluster_may_reap(struct timeval *begun)
{
    return true;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_ROUTE_H */

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
 * @file cluster_mac.h
 * MAC addresses that clients of a --dev tap server were heard with.
 *
 * OpenVPN finds the client of a frame by its destination's MAC address, and
 * learns whose that is from frames that clients send: a client that is silent
 * after a takeover would not be reached. So each client has a list of what was
 * learnt of it. It is in its record, and what is learnt or lost is news for a
 * standby, which makes its own list and routes those of the record.
 *
 * Of two clients that were heard with one address the last has it. On a
 * standby, where records come in any order, that is told by their arrivals
 * (cluster_route.h): who takes an address from another has the later one from
 * then on.
 *
 * A client can have as many as --max-routes-per-client, and a list no more than
 * CLUSTER_MACS_MAX. However often it changes, it is told of once a second.
 */

#ifndef CLUSTER_MAC_H
#define CLUSTER_MAC_H

struct mroute_addr;
struct multi_context;
struct multi_instance;

#ifdef ENABLE_CLUSTER

#include "cluster_record.h"
#include "mroute.h"

/** @name Hooks
 *  @{ */

/** An address was learnt: if it is a MAC address, it is on the client's list. */
void cluster_mac_learnt(struct multi_instance *mi, const struct mroute_addr *addr);

/** The route to an address is about to be deleted. */
void cluster_mac_lost(struct multi_instance *mi, const struct mroute_addr *addr);

/** @} name Hooks */

/**
 * Is the list other than the one that was told, and may it be told by now?
 * Reading this does not count as telling it.
 */
bool cluster_macs_due(const struct multi_instance *mi);

/** The key of its route. */
struct mroute_addr cluster_mac_address(const struct cluster_mac *mac);

/** Make the routes of an imported client those of its record. One that
 *  --learn-address refuses here is left out. */
void cluster_macs_import(struct multi_context *m, struct multi_instance *mi,
                         const struct cluster_record *rec);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_mac_learnt(struct multi_instance *mi, const struct mroute_addr *addr)
{
}

static inline void
cluster_mac_lost(struct multi_instance *mi, const struct mroute_addr *addr)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_MAC_H */

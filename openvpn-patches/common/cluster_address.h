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
 * @file cluster_address.h
 * The addresses that the servers of a cluster share, of a server whose socket
 * is bound to any address (--cluster-address), and the one that a client
 * speaks to.
 *
 * Whatever is sent from such a socket needs a source address of its own: the
 * one that the client spoke to, since it believes no other. It is known from
 * the client's packets (--multihome) and travels with its record. A client that
 * speaks to another address of this host than the shared ones is served, and
 * stays with it: no other server has that address.
 */

#ifndef CLUSTER_ADDRESS_H
#define CLUSTER_ADDRESS_H

#include "buffer.h"

struct cluster_addr;
struct link_socket_actual;
struct sockaddr;

#ifdef ENABLE_CLUSTER

/** Most addresses that servers share. */
#define CLUSTER_ADDRESSES_MAX 8

/** The addresses, lowest first, IPv4 ones mapped into IPv6. */
struct cluster_addresses
{
    int n;                              /**< 0: the one of --local */
    struct in6_addr list[CLUSTER_ADDRESSES_MAX];
};

/** Add the address that \c text names. Returns NULL, or why it cannot be one. */
const char *cluster_addresses_add(struct cluster_addresses *addresses, const char *text);

/** Is there one of this family, AF_INET or AF_INET6? */
bool cluster_addresses_of_family(const struct cluster_addresses *addresses, sa_family_t family);

/** Is this one of them? */
bool cluster_addresses_have(const struct cluster_addresses *addresses, const struct sockaddr *sa);

/** All of them, separated by blanks; "-" without any. */
const char *cluster_addresses_print(const struct cluster_addresses *addresses,
                                    struct gc_arena *gc);

/**
 * The address that a client spoke to, as far as that is known.
 *
 * @param spoken_to     AF_UNSPEC if it is not
 */
void cluster_address_read(const struct link_socket_actual *actual, struct cluster_addr *spoken_to);

/**
 * Answer a client from the address that it spoke to, by whatever interface
 * leads to it.
 */
void cluster_address_write(struct link_socket_actual *actual,
                           const struct cluster_addr *spoken_to);

/**
 * Hold an address of a client against the family of our socket: one that has
 * IPv6 has IPv4 addresses mapped into it, one that has not cannot have others.
 *
 * @return false if there is no such address for this family
 */
bool cluster_address_fit(struct cluster_addr *addr, sa_family_t family);

/**
 * What answers this packet leaves by the interface that leads to the client, and
 * not by the one that the packet came by: that one may be gone, or lead nowhere
 * any more. OpenVPN 2.7 does so by itself.
 */
void cluster_address_route(struct link_socket_actual *from);

/** Was the same client heard here, and by another of our addresses? */
bool cluster_address_floats(const struct link_socket_actual *before,
                            const struct link_socket_actual *from);

/** Can the client at the other end go on with another server? */
bool cluster_address_moves(const struct cluster_addresses *addresses,
                           const struct link_socket_actual *actual);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_ADDRESS_H */

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
 * @file cluster_frame.h
 * Ethernet frames by which a server of --dev tap says where addresses are now.
 * Switches learn from the first, hosts from the other two.
 */

#ifndef CLUSTER_FRAME_H
#define CLUSTER_FRAME_H

#ifdef ENABLE_CLUSTER

#include "cluster_record.h"

/** Bytes that the longest of these frames has. */
#define CLUSTER_FRAME_MAX 86

/** @name Frames
 *  Each is written into an empty buffer with room for CLUSTER_FRAME_MAX bytes.
 *  @{ */

/** A host with this MAC address asks everybody for its IP address (RARP, RFC
 *  903): nobody answers, every switch on the way learns the port. */
void cluster_frame_rarp(struct buffer *out, const uint8_t *mac);

/** Gratuitous ARP: the IPv4 address is at this MAC address. */
void cluster_frame_arp(struct buffer *out, const uint8_t *mac, struct in_addr address);

/** Unsolicited neighbour advertisement (RFC 4861), likewise for IPv6. It
 *  overrides what is known, and says that the sender is a router. */
void cluster_frame_advertisement(struct buffer *out, const uint8_t *mac,
                                 const struct in6_addr *address);

/** @} name Frames */

/**
 * Does a frame ask where an address is: by ARP, or as a neighbour solicitation?
 *
 * @param target        receives the address; its port is 0
 */
bool cluster_frame_question(const struct buffer *frame, struct cluster_addr *target);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_FRAME_H */

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
 * @file cluster_announce.h
 * What a server of --dev tap says when it has become master, so that nobody
 * sends to the one before it.
 *
 * - For each MAC address that a client was heard with, a frame from there into
 *   the own tap: a bridge that the tap is in, and the switches behind it, learn
 *   that the address is here now.
 * - To each client, where the addresses of --ifconfig and --ifconfig-ipv6 are:
 *   the tap has a MAC address of its own on each server, unless --lladdr sets
 *   the same one.
 * - To each client, the questions for its own addresses that were asked at the
 *   tap while this server was silent: who asks repeats it after a second only.
 *
 * It is all said twice, since a frame may be lost. What must never happen is
 * that it floods anybody, however many clients and addresses there are: so
 * many frames at once, then a pause; each client's first address goes before
 * anybody's second, and there is a most that is said at all. Where an address
 * is, is looked up when its turn has come: nothing is said of a client that is
 * gone, or for one that an address has been taken from.
 */

#ifndef CLUSTER_ANNOUNCE_H
#define CLUSTER_ANNOUNCE_H

struct multi_context;
struct timeval;

#ifdef ENABLE_CLUSTER

/** Remember a frame that a silent server has read from its tap, if it is such a
 *  question, in the place of the oldest. */
void cluster_announce_keep(struct multi_context *m);

/** Begin, with the clients that there are; does nothing without --dev tap. */
void cluster_announce_begin(struct multi_context *m);

/** Say no more. */
void cluster_announce_end(void);

/**
 * Say what is due.
 *
 * @param timeout       until OpenVPN has something to do; lowered to when the
 *                      next frames are due
 *
 * @return true if it was lowered
 */
bool cluster_announce_step(struct multi_context *m, struct timeval *timeout);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_ANNOUNCE_H */

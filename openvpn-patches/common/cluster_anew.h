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
 * @file cluster_anew.h
 * A connected client begins a new session with a hard reset.
 *
 * That is what OpenVPN does when a handshake with a living or a lost server has
 * failed. The client believes that it is connected anew within its connection,
 * and three faults of OpenVPN itself follow from that:
 *
 * The server generates the data channel keys of such a session by another way
 * than those of the first one, without the dynamic tls-crypt key, which the
 * client makes. The next renegotiation then fails until hand-window has passed.
 * So that key is made here.
 *
 * A client asks again for what is pushed, and a server that has pushed it less
 * than 30 s ago does not answer. The client gives up after 11 s. It is answered
 * here. A client that takes it unasked gets it at once, as in a first session,
 * which makes up for the time that was spent on asking it, see cluster_doubt.h.
 *
 * A client of OpenVPN 2.7 whose data channel is in the kernel of Linux makes its
 * peer there anew, puts the new key where it is only received with, and takes
 * the end of the old peer for that of the new one: it says that it is connected
 * and sends nothing for minutes. No data packet reaches the process of such a
 * client, so that it cannot be told to reconnect by OCC_EXIT either. It is told
 * by RESTART, as soon as the new session can carry that. So is one that this node
 * had dropped before it was promoted, and to which it seems to be a new client.
 */

#ifndef CLUSTER_ANEW_H
#define CLUSTER_ANEW_H

#ifdef ENABLE_CLUSTER

/** @name What clients of OpenVPN 2.7 announce in IV_PROTO
 *  All of them the first, those whose data channel is in the kernel of Linux
 *  neither of the others.
 *  @{ */
#define CLUSTER_IV_DNS_OPTION_V2 (1u << 11)
#define CLUSTER_IV_DATA_EPOCH    (1u << 10)
#define CLUSTER_IV_PUSH_UPDATE   (1u << 12)
/** @} name What clients of OpenVPN 2.7 announce in IV_PROTO */

/** Seconds in which a client is told once only: one with a fixed port comes back
 *  to the same instance with a hard reset, and is sound then. */
#define CLUSTER_ANEW_ONCE 30

/** Clients that were dropped last and are remembered, and for how many seconds:
 *  as long as a handshake takes that they cannot finish, twice over. */
#define CLUSTER_ANEW_DROPPED 256
#define CLUSTER_ANEW_REMEMBERED 120

/** What a new session of a connected client calls for. */
struct cluster_anew
{
    bool begun;                         /**< nothing was pushed in it */
    bool push;                          /**< what is pushed is due as soon as it can be */
    bool due;                           /**< the client is to be told to reconnect */
    time_t told;                        /**< when that was due last, or 0 */
};

/** Is the data channel of a client that announces this in its kernel? */
static inline bool
cluster_anew_in_kernel(unsigned int iv_proto)
{
    return (iv_proto & CLUSTER_IV_DNS_OPTION_V2)
           && !(iv_proto & (CLUSTER_IV_DATA_EPOCH | CLUSTER_IV_PUSH_UPDATE));
}

/** A connected client begins a new session. */
static inline void
cluster_anew_note(struct cluster_anew *anew, unsigned int iv_proto, time_t when)
{
    anew->begun = true;
    if (cluster_anew_in_kernel(iv_proto) && (!anew->told || when >= anew->told + CLUSTER_ANEW_ONCE))
    {
        anew->due = true;
        anew->told = when;
    }
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_ANEW_H */

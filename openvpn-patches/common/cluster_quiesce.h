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
 * @file cluster_quiesce.h
 * A while in which nothing begins (cluster-quiesce).
 *
 * Only a process that no client is inside a handshake with can be followed by
 * another one without any client noticing. Where many clients connect and
 * renegotiate, there is hardly ever such a moment by chance. So one is made: what
 * would begin a connection, a session or a renegotiation is dropped before
 * anything has been noted of it, and what is under way goes on. The client sends
 * it again after two seconds, then after four more, and so on. What the server
 * would begin waits. The number that cluster_report_handshakes() gives only falls
 * then.
 *
 * A client that was answered just before is under way, too, though nothing is
 * remembered of it but that somebody was: it is let in by what it brings back, for
 * a second or two, and counted until then. Clients of before OpenVPN 2.6 send that
 * with an acknowledgement once only. Dropped, it would cost them their
 * hand-window. For the same reason a first packet is not answered meanwhile,
 * though that would be remembered by nobody: the answer would only lead to a
 * second packet that must be dropped.
 *
 * It ends by itself, with the role, with the management client, and when the server
 * says goodbye.
 */

#ifndef CLUSTER_QUIESCE_H
#define CLUSTER_QUIESCE_H

#include "cluster_state.h"
#include "otime.h"

struct buffer;

#ifdef ENABLE_CLUSTER

/** Most seconds that one cluster-quiesce counts for. */
#define CLUSTER_QUIESCE_MAX 60

/** Seconds of the clock after which nobody is expected any more to bring back what
 *  was answered. */
#define CLUSTER_QUIESCE_EXPECTED 1

/** @name Hooks
 *  @{ */

/** Does nothing begin now? */
static inline bool
cluster_quiesced(void)
{
    return cluster && cluster->quiesced_until && now <= cluster->quiesced_until;
}

/**
 * A packet came that would begin something.
 *
 * @return true if it is to be dropped, which is counted
 */
bool cluster_quiesce_drops(void);

/**
 * A packet came from where no client is. Likewise.
 *
 * @param buf           the packet, not empty
 */
bool cluster_quiesce_drops_first(const struct buffer *buf);

/** A first packet was answered, of which nothing is remembered. */
void cluster_quiesce_answered(void);

/** A client has an instance now by what it brought back. */
void cluster_quiesce_came(void);

/** @} name Hooks */

/** How many clients are let in yet, since they were answered just before. */
int cluster_quiesce_expected(void);

/** Begin nothing for so many seconds, or up to one more; 0 ends it. */
void cluster_quiesce_set(int seconds);

/** What comes may begin again. */
void cluster_quiesce_end(void);

/** Say so when its time is over. To be called every second. */
void cluster_quiesce_expire(void);

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_quiesced(void)
{
    return false;
}

static inline bool
cluster_quiesce_drops(void)
{
    return false;
}

static inline bool
cluster_quiesce_drops_first(const struct buffer *buf)
{
    return false;
}

static inline void
cluster_quiesce_answered(void)
{
}

static inline void
cluster_quiesce_came(void)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_QUIESCE_H */

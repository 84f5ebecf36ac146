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
 * @file cluster_reply.h
 * A reply that waits until another server can go on with the client; see
 * cluster_wait.h.
 */

#ifndef CLUSTER_REPLY_H
#define CLUSTER_REPLY_H

#ifdef ENABLE_CLUSTER

/** Seconds of the clock after which a reply goes out anyway. They are looked
 * at once a second. */
#define CLUSTER_REPLY_PATIENCE 2

/** Replies in a row that went out so, after which nobody waits: whoever should
 * release them hangs. The next release that comes ends that. */
#define CLUSTER_REPLY_MISSES 3

/** The reply that completes a client's connection, or the message that completes
 *  a renegotiation. */
struct cluster_reply
{
    bool held;                          /**< it waits */
    bool released;                      /**< it need not wait any more */
    time_t since;                       /**< when it began to wait */
};

/**
 * Reply now?
 *
 * @return true if the reply is to wait, which is noted
 */
static inline bool
cluster_reply_hold(struct cluster_reply *reply, time_t when)
{
    if (!reply->released && !reply->held)
    {
        reply->held = true;
        reply->since = when;
    }
    return !reply->released;
}

/** Has a reply waited for long enough? One that nobody will release has. */
static inline bool
cluster_reply_due(const struct cluster_reply *reply, bool waiting, time_t when)
{
    return reply->held && (!waiting || when >= reply->since + CLUSTER_REPLY_PATIENCE);
}

/**
 * No reply of this session needs to wait any more.
 *
 * @return true if one is to be sent now
 */
static inline bool
cluster_reply_release(struct cluster_reply *reply)
{
    const bool held = reply->held;

    reply->held = false;
    reply->released = true;
    return held;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_REPLY_H */
